//! MRR@k = 1 / rank of the first target (ranks from 1), 0 beyond k; mean over requests.

use crate::metric::mean_over_requests;
use crate::{CutOff, Direction, EvalContext, Metric, Score, Truth};
use sidereal_core::{RankedLists, Result};

/// Mean reciprocal rank, cut at k.
#[derive(Debug, Clone)]
pub struct Mrr {
    k: usize,
}

impl Mrr {
    /// Fails when `k` is 0.
    pub fn new(options: CutOff) -> Result<Self> {
        Ok(Mrr { k: options.checked("mrr")? })
    }
}

impl Metric for Mrr {
    fn name(&self) -> String {
        format!("mrr@{}", self.k)
    }

    fn direction(&self) -> Direction {
        Direction::HigherIsBetter
    }

    fn evaluate(&self, lists: &RankedLists, truth: &Truth, ctx: &EvalContext<'_>) -> Result<Score> {
        mean_over_requests(lists, truth, ctx, self.k, |ranks, _| {
            ranks.first().map_or(0.0, |&rank| 1.0 / (f64::from(rank) + 1.0))
        })
    }
}
