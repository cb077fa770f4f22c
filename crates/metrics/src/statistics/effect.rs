//! Effect sizes of paired differences.

use super::Pairs;
use super::rank_sums::RankSums;

/// Cohen's d_z = mean / standard deviation of the differences. 0 where all are 0, infinite where
/// all are equal otherwise.
pub fn cohens_dz(pairs: &Pairs) -> f64 {
    match pairs.mean() {
        0.0 => 0.0,
        mean => mean / pairs.deviation(),
    }
}

/// Matched-pairs rank-biserial correlation (Kerby 2014): (W+ - W-) / (W+ + W-), from -1 to 1; 0
/// where all differences are 0.
pub fn rank_biserial(pairs: &Pairs) -> f64 {
    let sums = RankSums::of(pairs);
    let (plus, minus) = (sums.positive as f64, sums.negative as f64);
    if plus + minus == 0.0 { 0.0 } else { (plus - minus) / (plus + minus) }
}
