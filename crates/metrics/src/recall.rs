//! Recall@k = |targets in the first k items| / |targets|, mean over requests.
//!
//! The denominator is the number of targets even where it exceeds k.

use crate::metric::mean_over_requests;
use crate::{CutOff, Direction, EvalContext, Metric, Score, Truth};
use sidereal_core::{RankedLists, Result};

/// Recall at a cut-off.
#[derive(Debug, Clone)]
pub struct Recall {
    k: usize,
}

impl Recall {
    /// Fails when `k` is 0.
    pub fn new(options: CutOff) -> Result<Self> {
        Ok(Recall { k: options.checked("recall")? })
    }
}

impl Metric for Recall {
    fn name(&self) -> String {
        format!("recall@{}", self.k)
    }

    fn direction(&self) -> Direction {
        Direction::HigherIsBetter
    }

    fn evaluate(&self, lists: &RankedLists, truth: &Truth, ctx: &EvalContext<'_>) -> Result<Score> {
        mean_over_requests(lists, truth, ctx, self.k, |ranks, n_targets| {
            ranks.len() as f64 / n_targets as f64
        })
    }
}
