//! GRID's scaling of the vectors (arXiv 2507.22224): columns to mean 0 and variance 1, then rows to
//! length 1.
//!
//! Deviation: mean and variance are those of the training vectors instead of a batch's, so there is
//! no running average and training and use see the same values. A column without variance becomes
//! 0; a row of zeros stays.

use rayon::prelude::*;
use sidereal_core::{Error, Matrix, MatrixRef, Result};

/// Added to a variance, as in batch normalisation (arXiv 1502.03167).
const EPS: f64 = 1e-5;

/// Mean and inverse standard deviation of each column.
#[derive(Debug, Clone, PartialEq)]
pub struct Standardize {
    mean: Vec<f32>,
    inverse: Vec<f32>,
}

impl Standardize {
    /// Names of the tensors.
    pub(super) const NAMES: [&'static str; 2] = ["mean", "inverse_deviation"];

    /// Reads mean and variance off `N x D` vectors.
    pub fn fit(vectors: MatrixRef<'_>) -> Self {
        let (n, d) = (vectors.rows().max(1) as f64, vectors.cols());
        let mut mean = vec![0.0f64; d];
        let mut variance = vec![0.0f64; d];
        let rows = || vectors.data().chunks_exact(d.max(1));
        for row in rows() {
            mean.iter_mut().zip(row).for_each(|(m, v)| *m += f64::from(*v));
        }
        mean.iter_mut().for_each(|m| *m /= n);
        for row in rows() {
            for ((s, v), m) in variance.iter_mut().zip(row).zip(&mean) {
                *s += (f64::from(*v) - m) * (f64::from(*v) - m);
            }
        }
        Standardize {
            mean: mean.iter().map(|m| *m as f32).collect(),
            inverse: variance.iter().map(|s| (1.0 / (s / n + EPS).sqrt()) as f32).collect(),
        }
    }

    /// Scaled vectors.
    pub fn apply(&self, vectors: MatrixRef<'_>) -> Matrix {
        let mut out = vectors.to_owned();
        out.data_mut().par_chunks_mut(self.mean.len().max(1)).for_each(|row| {
            for ((v, m), i) in row.iter_mut().zip(&self.mean).zip(&self.inverse) {
                *v = (*v - m) * i;
            }
            let length = row.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt();
            if length > 0.0 {
                row.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
            }
        });
        out
    }

    /// Named rows to save.
    pub(super) fn tensors(&self) -> Vec<(String, Matrix)> {
        let row = |v: &[f32]| {
            let mut m = Matrix::zeros(1, v.len());
            m.data_mut().copy_from_slice(v);
            m
        };
        let [mean, inverse] = Self::NAMES;
        vec![(mean.into(), row(&self.mean)), (inverse.into(), row(&self.inverse))]
    }

    /// Reads what [`Standardize::tensors`] gives; `None` where it is not there.
    pub(super) fn from_tensors(tensors: &[(String, Matrix)], width: usize) -> Result<Option<Self>> {
        let find = |name| tensors.iter().find(|(n, _)| n == name).map(|(_, m)| m.data());
        let [mean, inverse] = Self::NAMES.map(find);
        match (mean, inverse) {
            (None, None) => Ok(None),
            (Some(m), Some(i)) if m.len() == width && i.len() == width => {
                Ok(Some(Standardize { mean: m.to_vec(), inverse: i.to_vec() }))
            }
            _ => Err(Error::mismatch(format!(
                "rq-vae: `{}` and `{}` must both have {width} values",
                Self::NAMES[0],
                Self::NAMES[1]
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_rows_by_hand() {
        // Column 0: mean 2, variance 4; column 1 never changes.
        let x = Matrix::new(4, 2, vec![0.0, 7.0, 4.0, 7.0, 0.0, 7.0, 4.0, 7.0]).unwrap();
        let scale = Standardize::fit(x.view());
        assert_eq!(scale.mean, [2.0, 7.0]);
        assert!((scale.inverse[0] - 0.5).abs() < 1e-5);
        assert_eq!(scale.apply(x.view()).data(), [-1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 1.0, 0.0]);
        let mean = Matrix::new(1, 2, vec![2.0, 7.0]).unwrap();
        assert_eq!(scale.apply(mean.view()).data(), [0.0, 0.0]);
        let named = scale.tensors();
        assert_eq!(Standardize::from_tensors(&named, 2).unwrap(), Some(scale));
        assert!(Standardize::from_tensors(&named[..1], 2).is_err());
        assert!(Standardize::from_tensors(&named, 3).is_err());
        assert_eq!(Standardize::from_tensors(&[], 3).unwrap(), None);
    }
}
