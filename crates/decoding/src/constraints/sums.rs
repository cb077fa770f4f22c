//! Sums over the codes of every row of a trie.

use super::Trie;
use super::trie::{Column, Starts};
use crate::levels::LogProbs;
use crate::softmax::offered;
use sidereal_core::{Code, Result};

/// Rows that are summed side by side: one sum waits for its last addition, four do not.
const ABREAST: usize = 4;

impl Trie {
    /// Whether [`Trie::sums`] can answer for so many levels: all rows have one length, which they
    /// cover.
    pub(crate) fn has_sums(&self, levels: usize) -> bool {
        matches!(self.starts, Starts::Fixed(len) if len > 0 && len <= levels)
    }

    /// Calls `visit` with each row, in order, and the sum of the log-probabilities of its codes,
    /// added from the first level on. Nothing where [`Trie::has_sums`] does not hold.
    ///
    /// Errors: a code that the model does not score.
    pub(crate) fn sums(&self, table: &LogProbs, visit: impl FnMut(usize, f64)) -> Result<()> {
        let Starts::Fixed(len) = self.starts else { return Ok(()) };
        match &self.codes {
            Column::Narrow(codes) => sums(codes, len, table, visit),
            Column::Wide(codes) => sums(codes, len, table, visit),
        }
    }
}

fn sums<C: Copy + Into<Code>>(
    codes: &[C],
    len: usize,
    table: &LogProbs,
    mut visit: impl FnMut(usize, f64),
) -> Result<()> {
    let LogProbs { values, starts } = table;
    let mut blocks = codes.chunks_exact(len * ABREAST);
    let mut row = 0;
    for block in &mut blocks {
        let mut sums = [0f64; ABREAST];
        for (level, ends) in starts.windows(2).take(len).enumerate() {
            let level_values = &values[ends[0]..ends[1]];
            for (i, sum) in sums.iter_mut().enumerate() {
                let code: Code = block[i * len + level].into();
                match level_values.get(code as usize) {
                    Some(value) => *sum += value,
                    None => offered(code, level_values.len(), level)?,
                }
            }
        }
        for sum in sums {
            visit(row, sum);
            row += 1;
        }
    }
    for sid in blocks.remainder().chunks_exact(len) {
        let mut sum = 0.0;
        for (level, (ends, &code)) in starts.windows(2).zip(sid).enumerate() {
            let code: Code = code.into();
            offered(code, ends[1] - ends[0], level)?;
            sum += values[ends[0] + code as usize];
        }
        visit(row, sum);
        row += 1;
    }
    Ok(())
}
