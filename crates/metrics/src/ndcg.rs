//! NDCG@k with binary relevance (Järvelin and Kekäläinen 2002).
//!
//! DCG@k = sum over found targets of 1 / log2(rank + 1), ranks from 1; the ideal list has its
//! min(k, |targets|) first places filled with targets. With one target the ideal is 1.

use crate::metric::mean_over_requests;
use crate::{CutOff, Direction, EvalContext, Metric, Score, Truth};
use sidereal_core::{RankedLists, Result};

/// Normalised discounted cumulative gain at a cut-off; gains of the truth are ignored.
#[derive(Debug, Clone)]
pub struct Ndcg {
    k: usize,
}

impl Ndcg {
    /// Fails when `k` is 0.
    pub fn new(options: CutOff) -> Result<Self> {
        Ok(Ndcg { k: options.checked("ndcg")? })
    }
}

impl Metric for Ndcg {
    fn name(&self) -> String {
        format!("ndcg@{}", self.k)
    }

    fn direction(&self) -> Direction {
        Direction::HigherIsBetter
    }

    fn evaluate(&self, lists: &RankedLists, truth: &Truth, ctx: &EvalContext<'_>) -> Result<Score> {
        let table = Discounts::new(lists, truth);
        mean_over_requests(lists, truth, ctx, self.k, |ranks, n_targets| {
            // From +0.0: the sum of nothing would be -0.0.
            let dcg = ranks.iter().fold(0.0, |sum, &rank| sum + table.at(rank));
            dcg / table.ideal(n_targets.min(self.k))
        })
    }
}

/// Discounts 1 / log2(rank + 2) for 0-based ranks, and their running sums.
pub(crate) struct Discounts {
    at: Vec<f64>,
    sums: Vec<f64>,
}

impl Discounts {
    /// Tables long enough for every rank and every ideal list.
    pub(crate) fn new(lists: &RankedLists, truth: &Truth) -> Self {
        let longest = lists.iter().map(<[_]>::len).max().unwrap_or(0).max(truth.max_targets());
        let at: Vec<f64> = (0..longest).map(|rank| 1.0 / (rank as f64 + 2.0).log2()).collect();
        let mut sums = Vec::with_capacity(longest + 1);
        // Summed in the order of `dcg`, so that a perfect list scores exactly 1.
        let mut sum = 0.0;
        sums.push(sum);
        for d in &at {
            sum += d;
            sums.push(sum);
        }
        Discounts { at, sums }
    }

    pub(crate) fn at(&self, rank: u32) -> f64 {
        self.at[rank as usize]
    }

    /// DCG of a list whose first `n` places hold targets.
    pub(crate) fn ideal(&self, n: usize) -> f64 {
        self.sums[n]
    }
}
