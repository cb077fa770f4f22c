//! Which part of a joined vector decides its distances.
//!
//! `rho_P = corr(|z_i - z_j|, |p_i - p_j|)` over random pairs of items: near 1 for a part that rules,
//! near 0 for one that is not heard. The measure is a reconstruction; the paper (arXiv 2502.06269)
//! names the effect.

use rand::Rng;
use rayon::prelude::*;
use sidereal_core::{Matrix, seed};

/// Pairs drawn at most.
const PAIRS: usize = 20_000;

/// Pearson correlation of the distances of two sets of N vectors over drawn pairs; none where either
/// has no spread or there are fewer than two items. On the current pool.
///
/// # Panics
/// When the numbers of rows differ: a mistake of the caller.
pub fn dominance(joined: &Matrix, part: &Matrix, seed: u64) -> Option<f64> {
    let n = joined.rows();
    assert_eq!(n, part.rows(), "one vector an item on both sides");
    if n < 2 {
        return None;
    }
    let mut rng = seed::stream(seed, "fused-dominance", 0);
    let pairs: Vec<[usize; 2]> = (0..PAIRS)
        .map(|_| {
            let (i, j) = (rng.random_range(0..n), rng.random_range(0..n - 1));
            [i, j + usize::from(j >= i)]
        })
        .collect();
    let distances = |m: &Matrix| -> Vec<f64> {
        let distance = |&[i, j]: &[usize; 2]| {
            let squares = m.row(i).iter().zip(m.row(j)).map(|(a, b)| f64::from(a - b).powi(2));
            squares.sum::<f64>().sqrt()
        };
        pairs.par_iter().map(distance).collect()
    };
    correlation(&distances(joined), &distances(part))
}

fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let product = |a: &[f64], ma: f64, b: &[f64], mb: f64| -> f64 {
        a.iter().zip(b).map(|(x, y)| (x - ma) * (y - mb)).sum()
    };
    let spread = (product(a, ma, a, ma) * product(b, mb, b, mb)).sqrt();
    (spread > 0.0).then(|| product(a, ma, b, mb) / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlations_by_hand() {
        let near = |a: Option<f64>, b: f64| assert!((a.unwrap() - b).abs() < 1e-12, "{a:?} {b}");
        near(correlation(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]), 1.0);
        near(correlation(&[1.0, 2.0, 3.0], &[1.0, 0.0, -1.0]), -1.0);
        // Deviations (-1, 0, 1) and (-1, 2, -1) / 3 are orthogonal.
        near(correlation(&[1.0, 2.0, 3.0], &[0.0, 1.0, 0.0]), 0.0);
        assert_eq!(correlation(&[1.0, 2.0], &[3.0, 3.0]), None);
    }

    #[test]
    fn degenerate_input_has_no_value() {
        let same = Matrix::new(4, 1, vec![2.0; 4]).unwrap();
        let line = Matrix::new(4, 1, vec![0.0, 1.0, 5.0, 9.0]).unwrap();
        assert_eq!(dominance(&line, &same, 1), None);
        assert!((dominance(&line, &line, 1).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(dominance(&Matrix::zeros(1, 2), &Matrix::zeros(1, 1), 1), None);
    }
}
