//! How a model scores next codes: a session that owns its cache while the model stays shared.

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
}
