//! Signed ranks of differences: zeros left out, ties at their mean rank.

use super::Pairs;

/// Rank sums, in half ranks so that mean ranks stay whole numbers.
pub(super) struct RankSums {
    /// Twice the sum of the ranks of positive differences.
    pub positive: u64,
    /// Twice the sum of the ranks of negative differences.
    pub negative: u64,
    /// Twice the rank of each difference that is not 0, ascending.
    pub doubled: Vec<u64>,
    /// sum of t^3 - t over groups of t ties.
    pub ties: f64,
}

impl RankSums {
    pub(super) fn of(pairs: &Pairs) -> Self {
        let mut sizes: Vec<(f64, bool)> = pairs
            .differences()
            .iter()
            .filter(|&&d| d != 0.0)
            .map(|&d| (d.abs(), d > 0.0))
            .collect();
        sizes.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut sums = RankSums {
            positive: 0,
            negative: 0,
            doubled: Vec::with_capacity(sizes.len()),
            ties: 0.0,
        };
        for tied in sizes.chunk_by(|a, b| a.0 == b.0) {
            let before = sums.doubled.len() as u64;
            let n = tied.len() as u64;
            // Ranks before + 1 ..= before + n have the mean before + (n + 1) / 2.
            let doubled = 2 * before + n + 1;
            let positive = tied.iter().filter(|t| t.1).count() as u64;
            sums.positive += doubled * positive;
            sums.negative += doubled * (n - positive);
            sums.doubled.extend(std::iter::repeat_n(doubled, tied.len()));
            sums.ties += (n as f64).powi(3) - n as f64;
        }
        sums
    }
}
