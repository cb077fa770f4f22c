//! Principal components of the rows of a matrix.
//!
//! Rows are centred by their mean; the components are the eigenvectors of the covariance (D x D), so
//! the cost is `N D^2` and about `30 D^3` operations, all in f64. Each component's largest value over
//! the rows is positive, which fixes signs.

use super::dense::{Dense, eigen};
use super::svd::fix_signs;
use sidereal_core::{Matrix, Result};

/// Variances below this share of the largest count as zero.
const RANK: f64 = 1e-12;

/// Rows along their principal components.
#[derive(Debug, Clone)]
pub struct Pca {
    /// Shape `N x width`.
    pub rows: Matrix,
    /// How many components have any variance; less than `width` where the last columns are noise.
    pub rank: usize,
    /// Share of the variance that the kept components have, 0 to 1.
    pub kept: f64,
}

/// The rows of `x` along their `width` first principal components (at most its columns). On the
/// current pool.
pub fn pca(x: &Matrix, width: usize) -> Result<Pca> {
    let (n, d) = (x.rows(), x.cols());
    let width = width.min(d);
    let mut mean = vec![0f64; d];
    for i in 0..n {
        mean.iter_mut().zip(x.row(i)).for_each(|(m, v)| *m += f64::from(*v));
    }
    mean.iter_mut().for_each(|m| *m /= n.max(1) as f64);
    let mut centred = Dense::zeros(n, d);
    for i in 0..n {
        let row = centred.row_mut(i).iter_mut().zip(x.row(i)).zip(&mean);
        row.for_each(|((c, v), m)| *c = f64::from(*v) - m);
    }
    let (values, vectors) = eigen(&centred.gram());
    let mut first = Dense::zeros(d, width);
    for i in 0..d {
        first.row_mut(i).copy_from_slice(&vectors.row(i)[..width]);
    }
    let mut rows = centred.times(&first);
    fix_signs(&mut rows);
    let floor = RANK * values.first().copied().unwrap_or(0.0);
    let total: f64 = values.iter().sum();
    Ok(Pca {
        rows: Matrix::new(n, width, rows.data().iter().map(|&v| v as f32).collect())?,
        rank: values.iter().filter(|&&v| v > floor).count(),
        kept: if total > 0.0 { values[..width].iter().sum::<f64>() / total } else { 1.0 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_on_a_line_need_one_number() {
        // (1, 2) + t (3, 4) / 5 for t = -2, -1, 0, 3: the mean of t is 0.
        let at = |t: f32| [1.0 + 0.6 * t, 2.0 + 0.8 * t];
        let x = Matrix::new(4, 2, [-2f32, -1.0, 0.0, 3.0].map(at).concat()).unwrap();
        let got = pca(&x, 1).unwrap();
        assert_eq!(got.rank, 1);
        assert!((got.kept - 1.0).abs() < 1e-9);
        for (a, b) in got.rows.data().iter().zip([-2.0, -1.0, 0.0, 3.0]) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn full_width_keeps_all_distances() {
        let data: Vec<f32> = (0..21).map(|i| ((i * 13) % 17) as f32).collect();
        let x = Matrix::new(7, 3, data).unwrap();
        let y = pca(&x, 5).unwrap();
        assert_eq!((y.rows.cols(), y.rank), (3, 3));
        let distance = |m: &Matrix, i: usize, j: usize| -> f32 {
            m.row(i).iter().zip(m.row(j)).map(|(a, b)| (a - b).powi(2)).sum()
        };
        for i in 0..7 {
            for j in 0..7 {
                assert!((distance(&x, i, j) - distance(&y.rows, i, j)).abs() < 1e-3);
            }
        }
        // Two components keep less than three.
        let two = pca(&x, 2).unwrap().kept;
        assert!(two > 0.5 && two < 1.0);
        let same = Matrix::new(3, 2, vec![4.0; 6]).unwrap();
        assert_eq!(pca(&same, 2).unwrap().rank, 0);
    }
}
