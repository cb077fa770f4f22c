//! How a model scores the next member of a set.

use sidereal_core::{Code, Result};
use std::ops::Range;

/// One partial set to score: a row of the previous call and the member it adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetRow {
    /// Index of the request in the batch.
    pub request: u32,
    /// Row of the previous call that this one extends; ignored at step 0.
    pub parent: u32,
    /// Codebook of the member; ignored at step 0.
    pub codebook: u32,
    /// The member, a code of that codebook; ignored at step 0.
    pub code: Code,
}

/// A decoding session over a batch of requests, as [`CodeScorer`](crate::CodeScorer) but for the
/// order: a row says which codebook it used, and the answer is about all of them.
///
/// Step 0 has exactly one row a request, in order, and begins anew, so that a session can be walked
/// through more than once. Rows of a request are adjacent and in request order.
pub trait SetScorer {
    /// Number of requests in the batch.
    fn requests(&self) -> usize;

    /// Number of codebooks M.
    fn codebooks(&self) -> usize;

    /// Codes of a codebook, as the SID table writes them: those of sets lie in ranges of their own.
    fn codes(&self, codebook: usize) -> Range<Code>;

    /// Writes the logits of the next member: `rows.len() x sum of the codebooks' codes`, row-major,
    /// codebook after codebook. Those of codebooks that a row has used are not read. `logits` is
    /// cleared and resized by the callee and can be reused between calls.
    fn advance(&mut self, step: usize, rows: &[SetRow], logits: &mut Vec<f32>) -> Result<()>;
}

/// Where the codebooks lie in a row of logits.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    codes: Vec<Range<Code>>,
    /// Start of each codebook, and the end of the last.
    starts: Vec<usize>,
}

impl Layout {
    pub fn of(scorer: &dyn SetScorer) -> Self {
        let codes: Vec<Range<Code>> = (0..scorer.codebooks()).map(|m| scorer.codes(m)).collect();
        let mut starts = vec![0];
        for range in &codes {
            let width = range.end.saturating_sub(range.start) as usize;
            starts.push(starts.last().copied().unwrap_or(0) + width);
        }
        Layout { codes, starts }
    }

    /// Number of codebooks.
    pub fn codebooks(&self) -> usize {
        self.codes.len()
    }

    /// Logits a row.
    pub fn width(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// The logits of a codebook within a row.
    pub fn part<'a>(&self, row: &'a [f32], codebook: usize) -> &'a [f32] {
        &row[self.starts[codebook]..self.starts[codebook + 1]]
    }

    /// Place of a code within its codebook's logits, if it has one.
    pub fn place(&self, codebook: usize, code: Code) -> Option<usize> {
        let range = &self.codes[codebook];
        range.contains(&code).then(|| (code - range.start) as usize)
    }
}
