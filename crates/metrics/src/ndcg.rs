//! NDCG@k (Järvelin and Kekäläinen 2002), binary and graded.
//!
//! DCG@k = sum over found targets of g / log2(rank + 1), ranks from 1; the ideal list has its
//! min(k, |targets|) first places filled with the targets of the largest gains. `ndcg` has g = 1;
//! with one target its ideal is 1. With gains in the truth, `ndcg-linear` has g = gain (trec_eval,
//! ranx `ndcg`, scikit-learn) and `ndcg-exponential` g = 2^gain - 1 (Burges et al. 2005, ranx
//! `ndcg_burges`, Elliot, whose gain is rating - threshold + 1); without gains all three agree.

use crate::metric::at_k;
use crate::{Form, Formula, Judged};
use std::sync::LazyLock;

at_k! {
    /// Normalised discounted cumulative gain at a cut-off; gains of the truth are ignored.
    Ndcg, "ndcg", HigherIsBetter, [],
    |name: &str, k, _| Ok(Form::mean(name, k, Binary))
}

at_k! {
    /// NDCG whose gains are those of the truth.
    NdcgLinear, "ndcg-linear", HigherIsBetter, [],
    |name: &str, k, _| Ok(Form::mean(name, k, Graded(|gain| gain)))
}

at_k! {
    /// NDCG with gains 2^g - 1 for gains g of the truth.
    NdcgExponential, "ndcg-exponential", HigherIsBetter, [],
    |name: &str, k, _| Ok(Form::mean(name, k, Graded(|gain| gain.exp2() - 1.0)))
}

struct Binary;

impl Formula for Binary {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        let table = &*DISCOUNTS;
        let targets = judged.targets.len();
        let discount = |_, rank| table.at(rank as usize);
        judged.over_hits(cut_offs, values, discount, |dcg, k| dcg / table.sum(targets.min(k)));
    }
}

struct Graded(fn(f64) -> f64);

impl Formula for Graded {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        let Some(gains) = judged.gains else {
            return Binary.values(judged, cut_offs, values);
        };
        let table = &*DISCOUNTS;
        let mut best: Vec<f64> = gains.iter().map(|&g| (self.0)(f64::from(g))).collect();
        best.sort_by(|a, b| b.total_cmp(a));
        let mut ideal = Vec::with_capacity(best.len() + 1);
        ideal.push(0.0);
        for (rank, gain) in best.iter().enumerate() {
            ideal.push(ideal[rank] + gain * table.at(rank));
        }
        let gain =
            |hit: usize, rank| (self.0)(judged.gain(judged.hits[hit])) * table.at(rank as usize);
        judged.over_hits(cut_offs, values, gain, |dcg, k| dcg / ideal[best.len().min(k)]);
    }
}

/// Discounts of the first ranks and their running sums.
pub(crate) static DISCOUNTS: LazyLock<Discounts> = LazyLock::new(Discounts::new);

/// Discounts 1 / log2(rank + 2) for 0-based ranks, and their running sums.
pub(crate) struct Discounts {
    at: Vec<f64>,
    sums: Vec<f64>,
}

impl Discounts {
    /// Ranks in the table; later ones are computed.
    const LENGTH: usize = 1024;

    fn new() -> Self {
        let at: Vec<f64> = (0..Self::LENGTH).map(discount).collect();
        // Summed in the order of a DCG, so that a perfect list scores exactly 1.
        let mut sums = vec![0.0];
        for d in &at {
            sums.push(sums[sums.len() - 1] + d);
        }
        Discounts { at, sums }
    }

    /// Discount of a rank.
    pub(crate) fn at(&self, rank: usize) -> f64 {
        self.at.get(rank).copied().unwrap_or_else(|| discount(rank))
    }

    /// Sum of the discounts of the first `n` ranks.
    pub(crate) fn sum(&self, n: usize) -> f64 {
        let start = self.sums[n.min(Self::LENGTH)];
        (Self::LENGTH..n).fold(start, |sum, rank| sum + discount(rank))
    }
}

fn discount(rank: usize) -> f64 {
    1.0 / (rank as f64 + 2.0).log2()
}
