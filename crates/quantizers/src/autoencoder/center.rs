//! The scaling in front of the encoder: columns to mean 0, then everything by one number.
//!
//! `x' = (x - m) / s` with column means `m` and `s^2` the mean of all squares of `x - m`. One number
//! for all columns keeps squared distances in proportion and can be taken back, so the decoder gives
//! vectors as they came in, and learning rates mean the same whatever the unit of the vectors.

use rayon::prelude::*;
use sidereal_core::{Error, Matrix, MatrixRef, Result};

/// Column means and one scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Center {
    mean: Vec<f32>,
    scale: f32,
}

/// Names of the tensors.
pub(super) const NAMES: [&str; 2] = ["center.mean", "center.scale"];

/// Deviations below this are rounding, not variance.
const SMALLEST: f64 = 1e-30;

/// Rows that one task sums over.
const CHUNK: usize = 1024;

impl Center {
    /// Reads means and scale off `N x D` vectors; the scale is 1 where nothing varies.
    pub fn fit(vectors: MatrixRef<'_>) -> Self {
        let (n, d) = (vectors.rows().max(1) as f64, vectors.cols().max(1));
        let chunks = || vectors.data().par_chunks(CHUNK * d);
        let sums: Vec<Vec<f64>> = chunks()
            .map(|rows| {
                let mut sum = vec![0.0; d];
                for row in rows.chunks_exact(d) {
                    sum.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v));
                }
                sum
            })
            .collect();
        let mean: Vec<f32> =
            (0..d).map(|j| (sums.iter().map(|s| s[j]).sum::<f64>() / n) as f32).collect();
        let squares: Vec<f64> = chunks()
            .map(|rows| {
                let off = |(v, m): (&f32, &f32)| (f64::from(*v) - f64::from(*m)).powi(2);
                rows.chunks_exact(d).map(|r| r.iter().zip(&mean).map(off).sum::<f64>()).sum()
            })
            .collect();
        let scale = (squares.iter().sum::<f64>() / (n * d as f64)).sqrt();
        let scale = if scale > SMALLEST { scale as f32 } else { 1.0 };
        Center { mean, scale }
    }

    /// Scaled vectors.
    pub fn apply(&self, vectors: MatrixRef<'_>) -> Matrix {
        let mut out = vectors.to_owned();
        out.data_mut().par_chunks_mut(self.mean.len().max(1)).for_each(|row| {
            row.iter_mut().zip(&self.mean).for_each(|(v, m)| *v = (*v - m) / self.scale);
        });
        out
    }

    /// Takes the scaling back.
    pub fn invert(&self, scaled: &mut Matrix) {
        scaled.data_mut().par_chunks_mut(self.mean.len().max(1)).for_each(|row| {
            row.iter_mut().zip(&self.mean).for_each(|(v, m)| *v = *v * self.scale + m);
        });
    }

    /// Named rows to save.
    pub(super) fn tensors(&self) -> Vec<(String, Matrix)> {
        let row = |v: &[f32]| {
            let mut m = Matrix::zeros(1, v.len());
            m.data_mut().copy_from_slice(v);
            m
        };
        vec![(NAMES[0].into(), row(&self.mean)), (NAMES[1].into(), row(&[self.scale]))]
    }

    /// From the values of the named rows.
    pub(super) fn from_values(mean: &[f32], scale: &[f32]) -> Result<Self> {
        match scale {
            [s] if s.is_finite() && *s > 0.0 && mean.iter().all(|m| m.is_finite()) => {
                Ok(Center { mean: mean.to_vec(), scale: *s })
            }
            _ => Err(Error::mismatch("codebook: expected finite means and one scale above 0")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_rows_by_hand_and_back() {
        // Means 2 and 7; squares 4 + 4 + 0 over six values.
        let x = Matrix::new(3, 2, vec![0.0, 7.0, 4.0, 7.0, 2.0, 7.0]).unwrap();
        let center = Center::fit(x.view());
        assert_eq!(center.mean, [2.0, 7.0]);
        let s = (8.0f32 / 6.0).sqrt();
        assert!((center.scale - s).abs() < 1e-6);
        let mut y = center.apply(x.view());
        assert!((y.data()[0] + 2.0 / s).abs() < 1e-6 && y.data()[1] == 0.0);
        center.invert(&mut y);
        assert!(y.data().iter().zip(x.data()).all(|(a, b)| (a - b).abs() < 1e-6));
        let named = center.tensors();
        let values = |i: usize| named[i].1.data();
        assert_eq!(Center::from_values(values(0), values(1)).unwrap(), center);
        assert!(Center::from_values(&[1.0], &[0.0]).is_err());
        assert!(Center::from_values(&[f32::NAN], &[1.0]).is_err());
        let flat = Matrix::new(2, 1, vec![3.0, 3.0]).unwrap();
        assert_eq!(Center::fit(flat.view()).scale, 1.0);
    }
}
