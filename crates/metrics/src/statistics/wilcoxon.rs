//! Wilcoxon's signed-rank test (1945). Zero differences are left out, ties get their mean rank; the
//! statistic is the smaller of the two rank sums.
//!
//! Up to 50 differences other than 0 the p-value is exact, given the ties: the distribution of the
//! rank sum over all 2^n signs, by adding one rank after the other (n^2 additions a rank). Above, the
//! normal approximation with variance n(n+1)(2n+1)/24 - sum(t^3 - t)/48 and a continuity correction
//! of 1/2. SciPy's "exact" knows no ties, and its approximation corrects on request only.

use super::rank_sums::RankSums;
use super::special::normal_tail;
use super::{Pairs, Test};
use sidereal_core::Result;

/// Differences up to which all signs are counted.
const EXACT: usize = 50;

/// The two-sided test; p = 1 where all differences are 0.
pub fn wilcoxon(pairs: &Pairs) -> Result<Test> {
    let sums = RankSums::of(pairs);
    let smaller = sums.positive.min(sums.negative);
    let p = match sums.doubled.len() {
        0 => 1.0,
        n if n <= EXACT => exact(&sums.doubled, smaller),
        _ => approximate(&sums, smaller),
    };
    Ok(Test { statistic: smaller as f64 / 2.0, p })
}

/// Twice the share of sign assignments whose sum is at most `smaller`.
fn exact(doubled: &[u64], smaller: u64) -> f64 {
    let total: u64 = doubled.iter().sum();
    // Counts of subsets by their sum; below 2^53, so exact.
    let mut ways = vec![0.0f64; total as usize + 1];
    ways[0] = 1.0;
    for &rank in doubled {
        for sum in (rank as usize..ways.len()).rev() {
            ways[sum] += ways[sum - rank as usize];
        }
    }
    let tail: f64 = ways[..=smaller as usize].iter().sum();
    (2.0 * tail / (doubled.len() as f64).exp2()).min(1.0)
}

fn approximate(sums: &RankSums, smaller: u64) -> f64 {
    let n = sums.doubled.len() as f64;
    let mean = n * (n + 1.0) / 4.0;
    let variance = n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - sums.ties / 48.0;
    let away = (mean - smaller as f64 / 2.0 - 0.5).max(0.0);
    (2.0 * normal_tail(away / variance.sqrt())).min(1.0)
}
