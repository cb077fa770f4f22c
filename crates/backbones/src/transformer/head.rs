//! From hidden states to scores of codes.
//!
//! `levels`: a matrix for each level, softmax over the codes of the level (GRID, arXiv 2507.22224).
//! `joint`: one matrix over the rows of the whole token table, softmax over all of them, as language
//! models have it. `tied`: the token table itself, with states times `width^-1/2` (T5, arXiv
//! 1910.10683). The columns of a level begin with its own codes, whatever the kind, so that code
//! `c` is column `c`; tokens of other levels compete but are never valid.

use sidereal_core::{Error, Result};
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::{Init, Params, Slot};
use std::ops::Range;

/// Names of the kinds, as options spell them.
const KINDS: [&str; 3] = ["levels", "joint", "tied"];

/// Refuses a name that is no kind.
pub(crate) fn check_kind(kind: &str) -> Result<()> {
    if KINDS.contains(&kind) {
        return Ok(());
    }
    let message = format!("`{kind}`; allowed: \"{}\"", KINDS.join("\", \""));
    Err(Error::config("backbone.head", message))
}

/// Matrix and columns of one level.
#[derive(Debug, Clone)]
pub(super) struct Level {
    /// `rows x width`.
    pub(super) slot: Slot,
    /// Rows of the matrix in the order of the columns.
    pub(super) pieces: Vec<Range<usize>>,
    pub(super) cols: usize,
}

/// Scores of all levels.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(super) levels: Vec<Level>,
    pub(super) width: usize,
    /// Factor on hidden states.
    pub(super) scale: f32,
}

impl Head {
    /// `table` holds the tokens, level `h` in rows `first[h]..first[h] + codes[h]`.
    pub(crate) fn new(
        params: &mut Params,
        kind: &str,
        width: usize,
        codes: &[usize],
        first: &[u32],
        table: Slot,
    ) -> Result<Self> {
        check_kind(kind)?;
        let init = Init::Uniform(1.0 / (width as f32).sqrt());
        let levels = codes.iter().enumerate();
        if kind == "levels" {
            let levels = levels.map(|(h, &cols)| Level {
                slot: params.add(&format!("heads.{h}.weight"), &[cols, width], init),
                pieces: std::iter::once(0..cols).collect(),
                cols,
            });
            return Ok(Head { levels: levels.collect(), width, scale: 1.0 });
        }
        let rows = table.len / width;
        let (slot, scale) = match kind {
            "tied" => (table, 1.0 / (width as f32).sqrt()),
            _ => (params.add("lm_head.weight", &[rows, width], init), 1.0),
        };
        let levels = levels.map(|(h, &codes)| {
            let (start, end) = (first[h] as usize, first[h] as usize + codes);
            let pieces = [start..end, 0..start, end..rows];
            let pieces = pieces.into_iter().filter(|p| !p.is_empty()).collect();
            Level { slot, pieces, cols: rows }
        });
        Ok(Head { levels: levels.collect(), width, scale })
    }

    /// Columns of a level: its codes, then whatever else competes.
    pub(crate) fn cols(&self, level: usize) -> usize {
        self.levels[level].cols
    }

    /// Scales hidden states before [`Head::scores`], and their gradients after
    /// [`Head::backward`].
    pub(crate) fn scale(&self, states: &mut [f32]) {
        if self.scale != 1.0 {
            states.iter_mut().for_each(|x| *x *= self.scale);
        }
    }

    /// Scores of `rows` states, `ld` apart: `rows x cols`.
    pub(crate) fn scores(
        &self,
        w: &[f32],
        level: usize,
        states: &[f32],
        ld: usize,
        rows: usize,
        out: &mut [f32],
    ) {
        let Level { slot, pieces, cols } = &self.levels[level];
        let (d, matrix) = (self.width, slot.of(w));
        let mut at = 0;
        for piece in pieces {
            let part = Mat::rows(&matrix[piece.start * d..piece.end * d], d).t();
            if rows > 0 {
                let (x, n) = (Mat::rows(states, ld), piece.len());
                gemm(rows, n, d, x, part, &mut out[at..], *cols, Write::Set);
            }
            at += piece.len();
        }
    }

    /// Sets the gradients of `rows` states from those of their scores, and adds those of the
    /// matrix.
    pub(crate) fn backward(
        &self,
        w: &[f32],
        level: usize,
        states: &[f32],
        ld: usize,
        rows: usize,
        dy: &[f32],
        dx: &mut [f32],
        grads: &mut [f32],
    ) {
        if rows == 0 {
            return;
        }
        let Level { slot, pieces, cols } = &self.levels[level];
        let (d, matrix, x) = (self.width, slot.of(w), Mat::rows(states, ld));
        let mut at = 0;
        for piece in pieces {
            let (n, range) = (piece.len(), piece.start * d..piece.end * d);
            let dy = Mat::rows(&dy[at..], *cols);
            let write = if at == 0 { Write::Set } else { Write::Add };
            gemm(n, d, rows, dy.t(), x, &mut slot.of_mut(grads)[range.clone()], d, Write::Add);
            gemm(rows, d, n, dy, Mat::rows(&matrix[range], d), dx, ld, write);
            at += n;
        }
    }
}
