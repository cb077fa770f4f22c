//! How a model scores next codes: a session that owns its cache while the model stays shared.
//!
//! A session answers in one of two ways: all logits of every row ([`CodeScorer::advance`]), or only
//! those of the codes that may follow, with the log-normaliser of each row
//! ([`CodeScorer::advance_to`]). The second is what a beam needs; an engine can then keep its logits
//! to itself, and leave out those that nobody asked for.

use crate::Levels;
use crate::ranking::check_logits;
use crate::softmax::log_sum_exp;
use sidereal_core::{Code, Result};

/// One hypothesis to score: which request it belongs to, which row of the previous call it
/// extends, and the code it appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Index of the request in the batch.
    pub request: u32,
    /// Row of the previous call that this one extends; ignored at level 0.
    pub parent: u32,
    /// Code appended to the parent; ignored at level 0.
    pub code: Code,
}

/// A decoding session over a batch of requests.
///
/// The first call scores level 0 and has exactly one row a request, in order; each later call
/// scores one level more. A parent may be extended by many rows or by none; rows of a request are
/// adjacent and in request order. A call at level 0 starts the session again, for decoders that
/// search twice.
pub trait CodeScorer {
    /// Number of requests in the batch.
    fn requests(&self) -> usize;

    /// Number of levels that can be scored.
    fn levels(&self) -> usize;

    /// Vocabulary of a level.
    fn width(&self, level: usize) -> usize;

    /// Writes the logits of the next code: `rows.len() x width(level)`, row-major. `logits` is
    /// cleared and resized by the callee and can be reused between calls.
    fn advance(&mut self, level: usize, rows: &[Row], logits: &mut Vec<f32>) -> Result<()>;

    /// Scores like [`CodeScorer::advance`], but writes only the logits of `wanted` (one list of
    /// codes a row of `rows`, each below [`CodeScorer::width`]) and, with [`Normalize::Full`], the
    /// log-normalisers of the rows. NaN and +inf make a normaliser NaN.
    ///
    /// Override it where that saves work; what it writes must be what `advance` gives, up to
    /// rounding.
    fn advance_to(
        &mut self,
        level: usize,
        rows: &[Row],
        wanted: &Wanted,
        normalize: Normalize,
        scores: &mut CodeScores,
    ) -> Result<()> {
        let width = self.width(level);
        let CodeScores { logits, normalizers, whole } = scores;
        self.advance(level, rows, whole)?;
        check_logits(whole.len(), rows.len(), width, level)?;
        logits.clear();
        normalizers.clear();
        for r in 0..rows.len() {
            let row = &whole[r * width..(r + 1) * width];
            let logit = |c: &Code| row.get(*c as usize).copied().unwrap_or(f32::NEG_INFINITY);
            logits.extend(wanted.row(r).iter().map(logit));
            if normalize == Normalize::Full {
                normalizers.push(log_sum_exp(row).unwrap_or(f64::NAN));
            }
        }
        Ok(())
    }

    /// The scores of all levels, where they depend on no code before them. Decoders that can rank
    /// everything by them need no search.
    fn independent(&self) -> Option<&Levels> {
        None
    }
}

/// Whether log-normalisers over the full vocabulary are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalize {
    /// `ln sum exp` of all logits of a row.
    Full,
    /// No: the caller normalises over the codes that it asks for.
    Chosen,
}

/// Codes that a decoder asks for, row by row.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    codes: Vec<Code>,
    /// End of each row's codes.
    ends: Vec<usize>,
}

impl Wanted {
    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.codes.clear();
        self.ends.clear();
    }

    /// Adds a row.
    pub fn push_row(&mut self, codes: impl IntoIterator<Item = Code>) {
        self.codes.extend(codes);
        self.ends.push(self.codes.len());
    }

    /// Number of codes before row `row`, which may be the number of rows.
    pub fn start(&self, row: usize) -> usize {
        row.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// Codes of a row.
    pub fn row(&self, row: usize) -> &[Code] {
        &self.codes[self.start(row)..self.ends[row]]
    }

    /// Number of codes in all.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether no code is asked for.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }
}

/// What [`CodeScorer::advance_to`] writes; reused between calls.
#[derive(Debug, Clone, Default)]
pub struct CodeScores {
    /// Logits of the wanted codes, row after row.
    pub logits: Vec<f32>,
    /// One log-normaliser a row, or none.
    pub normalizers: Vec<f64>,
    /// All logits, where they came that way.
    whole: Vec<f32>,
}
