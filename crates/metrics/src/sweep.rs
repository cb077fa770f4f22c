//! Accuracy at many cut-offs in one pass over the lists.
//!
//! The same figures as the single metrics, bit for bit, without per-request values: one search a
//! list, running sums for all cut-offs, f64 sums in request order. Cost: R L / 4 vector compares
//! plus C operations for each list that holds a target.

use crate::metric::check;
use crate::ndcg::Discounts;
use crate::ranks::RankFinder;
use crate::{CutOff, Truth};
use serde::{Deserialize, Serialize};
use sidereal_core::{RankedLists, Result};

/// Mean accuracy over all requests at one cut-off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// The cut-off.
    pub k: usize,
    /// As [`Recall`](crate::Recall).
    pub recall: f64,
    /// As [`Ndcg`](crate::Ndcg).
    pub ndcg: f64,
    /// As [`HitRate`](crate::HitRate).
    pub hit_rate: f64,
    /// As [`Mrr`](crate::Mrr).
    pub mrr: f64,
}

/// Accuracy at each of the cut-offs, in their order. Fails as [`Metric::evaluate`] does and on a
/// cut-off of 0.
///
/// [`Metric::evaluate`]: crate::Metric::evaluate
pub fn sweep(
    lists: &RankedLists,
    truth: &Truth,
    n_items: usize,
    cut_offs: &[usize],
) -> Result<Vec<Accuracy>> {
    check(lists, truth, n_items)?;
    let mut sums = Vec::with_capacity(cut_offs.len());
    for &k in cut_offs {
        let k = CutOff { k }.checked("recall")?;
        sums.push(Accuracy { k, recall: 0.0, ndcg: 0.0, hit_rate: 0.0, mrr: 0.0 });
    }
    let mut finder = RankFinder::new(n_items);
    let discounts = Discounts::new(lists, truth);
    for r in 0..lists.len() {
        let targets = truth.get(r);
        let ranks = finder.ranks(lists.get(r), targets);
        let Some(&first) = ranks.first() else { continue };
        for s in sums.iter_mut().filter(|s| (first as usize) < s.k) {
            let (mut hits, mut dcg) = (0u32, 0.0);
            for &rank in ranks.iter().take_while(|&&rank| (rank as usize) < s.k) {
                hits += 1;
                dcg += discounts.at(rank);
            }
            s.recall += f64::from(hits) / targets.len() as f64;
            s.ndcg += dcg / discounts.ideal(targets.len().min(s.k));
            s.hit_rate += 1.0;
            s.mrr += 1.0 / (f64::from(first) + 1.0);
        }
    }
    let n = lists.len() as f64;
    for s in &mut sums {
        for sum in [&mut s.recall, &mut s.ndcg, &mut s.hit_rate, &mut s.mrr] {
            *sum /= n;
        }
    }
    Ok(sums)
}
