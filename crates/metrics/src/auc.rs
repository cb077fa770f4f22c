//! AUC of lists: the chance that a target stands before an item that is no target.
//!
//! Only the first k distinct items of a list are ordered; all others of the catalogue are tied
//! behind them, and a tie counts one half. With lists of the whole catalogue this is the usual AUC.
//! `auc` is the mean over requests; `gauc` weighs requests by their number of targets (Zhu et al.
//! 2017, RecBole's GAUC). A request whose targets are the whole catalogue has 1/2.
//!
//! [`auc`] and [`gauc`] take scores and labels instead.

use crate::metric::at_k;
use crate::{EvalContext, Form, Formula, Judged, Reads};
use sidereal_core::{Error, Result};
use std::collections::BTreeMap;

at_k! {
    /// Area under the ROC curve of lists.
    Auc, "auc", HigherIsBetter, [],
    |name: &str, k, context: &EvalContext<'a>| {
        Ok(Form::mean(name, k, Area { n_items: context.n_items, weight: |_| 1 }))
    }
}

at_k! {
    /// Area under the ROC curve, requests weighed by their targets.
    Gauc, "gauc", HigherIsBetter, [],
    |name: &str, k, context: &EvalContext<'a>| {
        let weight = |judged: &Judged<'_>| judged.targets.len() as u64;
        Ok(Form::mean(name, k, Area { n_items: context.n_items, weight }))
    }
}

struct Area {
    n_items: usize,
    weight: fn(&Judged<'_>) -> u64,
}

impl Formula for Area {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        let targets = judged.targets.len();
        let others = self.n_items - targets;
        for (&k, value) in cut_offs.iter().zip(values) {
            let hits = judged.hits_within(k);
            let listed = judged.head.len().min(k);
            // Twice the pairs in the right order: ties are one half.
            let before = |(hit, &rank): (usize, &u32)| 2 * (others - (rank as usize - hit));
            let listed_pairs: usize = judged.ranks[..hits].iter().enumerate().map(before).sum();
            let tied = (targets - hits) * (others - (listed - hits));
            let pairs = 2 * targets * others;
            *value = if pairs == 0 { 0.5 } else { (listed_pairs + tied) as f64 / pairs as f64 };
        }
    }

    fn weight(&self, judged: &Judged<'_>) -> u64 {
        (self.weight)(judged)
    }

    fn reads(&self) -> Reads {
        Reads::Items
    }
}

/// AUC of scored examples, ties counted one half (Mann-Whitney); none where one label is missing.
/// Cost: a sort. Fails when lengths differ or a score is NaN.
pub fn auc(scores: &[f64], positive: &[bool]) -> Result<Option<f64>> {
    same_length("labels", positive.len(), scores.len())?;
    if let Some(at) = scores.iter().position(|s| s.is_nan()) {
        return Err(Error::input(format!("score {at} is NaN")));
    }
    let pairs = scores.iter().copied().zip(positive.iter().copied()).collect();
    Ok(area(pairs))
}

/// The mean AUC of groups of examples (as of one user) weighed by their number of examples (Zhou
/// et al., arXiv 1706.06978); groups with one label only are left out. None where all are.
/// Fails as [`auc`] does.
pub fn gauc(scores: &[f64], positive: &[bool], groups: &[u32]) -> Result<Option<f64>> {
    same_length("groups", groups.len(), scores.len())?;
    auc(scores, positive)?;
    let mut of: BTreeMap<u32, Vec<(f64, bool)>> = BTreeMap::new();
    for (i, group) in groups.iter().enumerate() {
        of.entry(*group).or_default().push((scores[i], positive[i]));
    }
    let (mut sum, mut weight) = (0.0, 0.0);
    for examples in of.into_values() {
        let n = examples.len() as f64;
        if let Some(value) = area(examples) {
            sum += n * value;
            weight += n;
        }
    }
    Ok((weight > 0.0).then(|| sum / weight))
}

fn same_length(what: &str, got: usize, scores: usize) -> Result<()> {
    if got != scores {
        return Err(Error::mismatch(format!("{got} {what} for {scores} scores")));
    }
    Ok(())
}

fn area(mut examples: Vec<(f64, bool)>) -> Option<f64> {
    // -0.0 and 0.0 are one score.
    examples.iter_mut().for_each(|e| e.0 += 0.0);
    examples.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut negatives, mut twice) = (0u128, 0u128);
    for tied in examples.chunk_by(|a, b| a.0 == b.0) {
        let positive = tied.iter().filter(|e| e.1).count() as u128;
        let negative = tied.len() as u128 - positive;
        twice += positive * (2 * negatives + negative);
        negatives += negative;
    }
    let positives = examples.len() as u128 - negatives;
    let pairs = positives * negatives;
    (pairs > 0).then(|| twice as f64 / (2 * pairs) as f64)
}
