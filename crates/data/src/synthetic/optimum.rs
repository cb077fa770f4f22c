//! The best possible figures of a synthetic world under leave-one-out.
//!
//! For one target drawn from p, the expected Recall@K of a list is the sum of p over its first K
//! items, and the expected NDCG@K the sum of p / log2(rank + 1): both are largest for the items in
//! the order of p. *Expected* is the mean of that over the histories that did occur; *realised* is
//! what the same lists score on the targets that did occur. No recommender has a higher expected
//! figure; by luck one can have a higher realised one.

use super::World;
use super::oracle::top;
use serde::{Deserialize, Serialize};
use sidereal_core::{Result, Sequences};
use std::collections::BTreeMap;

/// Cut-offs at which the optimum is known.
pub const CUT_OFFS: [usize; 4] = [1, 5, 10, 20];

/// Users are drawn independently, so the first ones stand for all; more cost time only.
const MAX_CASES: usize = 10_000;

/// Which interaction of each user is held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holdout {
    /// The last; all before it is the history.
    Test,
    /// The last but one; all before it is the history.
    Valid,
}

/// Best possible value of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Mean over histories of the best expected value.
    pub expected: f64,
    /// Value of the oracle's lists on the targets that did occur.
    pub realised: f64,
    /// Standard error of the realised value around the expected one.
    pub standard_error: f64,
    /// Histories it was measured on.
    pub cases: u64,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    expected: f64,
    realised: f64,
    variance: f64,
}

impl Sums {
    /// Adds a case whose score has moments `mean` and `square`, and was `score`.
    fn add(&mut self, mean: f64, square: f64, score: f64) {
        self.expected += mean;
        self.realised += score;
        self.variance += (square - mean * mean).max(0.0);
    }

    fn best(self, cases: u64) -> Best {
        let n = cases.max(1) as f64;
        Best {
            expected: self.expected / n,
            realised: self.realised / n,
            standard_error: self.variance.sqrt() / n,
            cases,
        }
    }
}

/// Best possible `recall@K` and `ndcg@K` for K in [`CUT_OFFS`], by name. Users with fewer than
/// three interactions are left out, as leave-one-out leaves them out; of the others the first
/// 10,000 count.
pub fn optimum(
    world: &World,
    interactions: &Sequences,
    holdout: Holdout,
) -> Result<BTreeMap<String, Best>> {
    let mut recall = [Sums::default(); CUT_OFFS.len()];
    let mut ndcg = recall;
    let (mut p, mut order) = (Vec::new(), Vec::new());
    let mut cases = 0;
    let histories = interactions.iter().map(|(_, h)| h).filter(|h| h.len() >= 3);
    for history in histories.take(MAX_CASES) {
        cases += 1;
        let at = match holdout {
            Holdout::Test => history.len() - 1,
            Holdout::Valid => history.len() - 2,
        };
        world.fill_next_distribution(&history[..at], &mut p)?;
        top(&p, CUT_OFFS[CUT_OFFS.len() - 1], &mut order);
        // Moments of the scores, rank by rank, read off at each cut-off.
        let mut hit = (0.0, 0.0);
        let mut gain = (0.0, 0.0, 0.0);
        for (c, &k) in CUT_OFFS.iter().enumerate() {
            let from = if c == 0 { 0 } else { CUT_OFFS[c - 1] };
            for (rank, item) in order.iter().enumerate().take(k).skip(from) {
                let discount = 1.0 / (rank as f64 + 2.0).log2();
                let chance = p[item.index()];
                let found = f64::from(*item == history[at]);
                hit = (hit.0 + chance, hit.1 + found);
                gain.0 += chance * discount;
                gain.1 += chance * discount * discount;
                gain.2 += found * discount;
            }
            recall[c].add(hit.0, hit.0, hit.1);
            ndcg[c].add(gain.0, gain.1, gain.2);
        }
    }
    let mut best = BTreeMap::new();
    for (c, k) in CUT_OFFS.iter().enumerate() {
        best.insert(format!("recall@{k}"), recall[c].best(cases));
        best.insert(format!("ndcg@{k}"), ndcg[c].best(cases));
    }
    Ok(best)
}
