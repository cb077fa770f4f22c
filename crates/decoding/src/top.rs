//! The K best extensions of one request, kept with a rising threshold.
//!
//! Candidates come in code order. A buffer of 2K is cut back to its K best whenever it is full, and
//! the K-th best score becomes the threshold below which a candidate is turned away with one
//! comparison: O(1) a candidate on average, and no allocation once the buffer has grown.

use crate::State;
use sidereal_core::Code;
use std::cmp::Ordering;

/// An extension of a prefix by one code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub score: f64,
    /// Row of the extended prefix among this level's rows, which lie in code order.
    pub row: u32,
    pub code: Code,
    pub state: State,
    pub full: f64,
    pub masked: f64,
}

/// Best first; equal scores in code order.
fn best_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.score.total_cmp(&a.score).then((a.row, a.code).cmp(&(b.row, b.code)))
}

pub(crate) struct Top {
    k: usize,
    buffer: Vec<Candidate>,
    threshold: f64,
}

impl Top {
    /// Keeps `k >= 1` candidates.
    pub fn new(k: usize) -> Self {
        Top { k, buffer: Vec::new(), threshold: f64::NEG_INFINITY }
    }

    pub fn clear(&mut self) {
        self.buffer.clear();
        self.threshold = f64::NEG_INFINITY;
    }

    /// Whether a score can still get in. An equal score cannot: it comes later in code order.
    #[inline]
    pub fn admits(&self, score: f64) -> bool {
        score > self.threshold
    }

    /// Adds a candidate that [`Top::admits`] let in; they come in ascending (row, code).
    pub fn push(&mut self, candidate: Candidate) {
        self.buffer.push(candidate);
        // A little slack keeps narrow beams from cutting back at every push.
        if self.buffer.len() >= 2 * self.k + 32 {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.buffer.len() > self.k {
            let (_, kth, _) = self.buffer.select_nth_unstable_by(self.k - 1, best_first);
            self.threshold = kth.score;
            self.buffer.truncate(self.k);
        }
    }

    /// The K best in code order.
    pub fn in_code_order(&mut self) -> &[Candidate] {
        self.cut();
        self.buffer.sort_unstable_by_key(|c| (c.row, c.code));
        &self.buffer
    }
}
