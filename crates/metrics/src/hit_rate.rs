//! HitRate@k = 1 if any target is in the first k items, else 0; mean over requests.

use crate::metric::mean_over_requests;
use crate::{CutOff, Direction, EvalContext, Metric, Score, Truth};
use sidereal_core::{RankedLists, Result};

/// Hit rate at a cut-off; equals Recall where every request has one target.
#[derive(Debug, Clone)]
pub struct HitRate {
    k: usize,
}

impl HitRate {
    /// Fails when `k` is 0.
    pub fn new(options: CutOff) -> Result<Self> {
        Ok(HitRate { k: options.checked("hit-rate")? })
    }
}

impl Metric for HitRate {
    fn name(&self) -> String {
        format!("hit-rate@{}", self.k)
    }

    fn direction(&self) -> Direction {
        Direction::HigherIsBetter
    }

    fn evaluate(&self, lists: &RankedLists, truth: &Truth, ctx: &EvalContext<'_>) -> Result<Score> {
        mean_over_requests(lists, truth, ctx, self.k, |ranks, _| f64::from(!ranks.is_empty()))
    }
}
