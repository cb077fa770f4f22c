//! Mean average precision, in three forms that papers call MAP.
//!
//! AP@k sums the precision at the rank of each hit within k. It is divided by
//! - `map`: min(|targets|, k), so a perfect list has 1 (RecBole, Elliot's docstring);
//! - `map-trec`: |targets| (trec_eval `map_cut`, ranx, ir-measures).
//!
//! `map-elliot` is what Elliot v0.3.1 computes under the name MAP: (1/k) times the sum of the
//! precisions at *all* ranks 1..k. It is no average precision: a list that hits at every rank has 1,
//! and hits still count at ranks without one.

use crate::metric::at_k;
use crate::{Form, Formula, Judged};

at_k! {
    /// Mean average precision over min(targets, k).
    Map, "map", HigherIsBetter, [],
    |name: &str, k, _| Ok(Form::mean(name, k, AveragePrecision::Places))
}

at_k! {
    /// Mean average precision over the number of targets.
    MapTrec, "map-trec", HigherIsBetter, [],
    |name: &str, k, _| Ok(Form::mean(name, k, AveragePrecision::Targets))
}

at_k! {
    /// Mean of the precisions at all ranks, Elliot's MAP.
    MapElliot, "map-elliot", HigherIsBetter, [],
    |name: &str, k, _| Ok(Form::mean(name, k, AllPrecisions))
}

/// What the sum of precisions is divided by.
enum AveragePrecision {
    /// Targets that have a place: min(|targets|, k).
    Places,
    /// |targets|.
    Targets,
}

impl Formula for AveragePrecision {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        let targets = judged.targets.len();
        let precision = |hit: usize, rank: u32| (hit + 1) as f64 / (f64::from(rank) + 1.0);
        match self {
            AveragePrecision::Places => {
                judged.over_hits(cut_offs, values, precision, |sum, k| sum / targets.min(k) as f64)
            }
            AveragePrecision::Targets => {
                judged.over_hits(cut_offs, values, precision, |sum, _| sum / targets as f64)
            }
        }
    }
}

struct AllPrecisions;

impl Formula for AllPrecisions {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        // A hit at 0-based rank r adds 1/n to the precision of every n > r: H(k) - H(r).
        for (&k, value) in cut_offs.iter().zip(values) {
            let hits = judged.hits_within(k);
            let sum = judged.ranks[..hits].iter().fold(0.0, |s, &r| s + reciprocals(r as usize, k));
            *value = sum / k as f64;
        }
    }
}

/// 1/(r+1) + ... + 1/k.
fn reciprocals(r: usize, k: usize) -> f64 {
    /// Beyond, the asymptotic series of the harmonic numbers is exact in f64.
    const FAR: usize = 1 << 12;
    let series = |n: f64| n.ln() + 0.5 / n - 1.0 / (12.0 * n * n);
    let near: f64 = (r + 1..=k.min(FAR)).map(|n| 1.0 / n as f64).sum();
    if k > FAR { near + series(k as f64) - series(r.max(FAR) as f64) } else { near }
}

#[cfg(test)]
mod tests {
    use super::reciprocals;

    #[test]
    fn harmonic_sums() {
        assert_eq!(reciprocals(0, 4), 1.0 + 0.5 + 1.0 / 3.0 + 0.25);
        for (r, k) in [(0, 5000), (4000, 9000), (4500, 20_000), (7, 7)] {
            let plain: f64 = (r + 1..=k).map(|n| 1.0 / n as f64).sum();
            assert!((reciprocals(r, k) - plain).abs() < 1e-13, "{r} {k}");
        }
        assert!((reciprocals(0, 1_000_000_000_000) - 28.208_236_780_830_885).abs() < 1e-12);
    }
}
