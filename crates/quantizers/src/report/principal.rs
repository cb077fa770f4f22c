//! The first two principal components of item vectors: where items lie on a map.
//!
//! Subspace iteration on the covariance (`D x D`) of at most 8192 evenly spaced rows; all rows are
//! projected. A component's largest weight is positive, so that maps do not flip. Cost `N D^2`.

use sidereal_core::{Error, MatrixRef, Result};
use sidereal_nn::algebra::dense::Dense;

const ROWS: usize = 8192;
const ITERATIONS: usize = 60;

/// Coordinates of all rows, `N x 2` row-major; vectors of one dimension have a second one of 0.
///
/// Errors: a value that is not finite.
pub fn components(vectors: MatrixRef<'_>) -> Result<Vec<[f64; 2]>> {
    if let Some(row) = vectors.first_not_finite() {
        return Err(Error::input(format!("map of items: the vector of item {row} is not finite")));
    }
    let (n, dim) = (vectors.rows(), vectors.cols());
    let mut mean = vec![0.0; dim];
    for i in 0..n {
        mean.iter_mut().zip(vectors.row(i)).for_each(|(m, v)| *m += f64::from(*v) / n as f64);
    }
    let stride = n.div_ceil(ROWS).max(1);
    let mut sample = Dense::zeros(n.div_ceil(stride), dim);
    for r in 0..sample.rows() {
        let centred = vectors.row(r * stride).iter().zip(&mean).map(|(v, m)| f64::from(*v) - m);
        sample.row_mut(r).iter_mut().zip(centred).for_each(|(x, v)| *x = v);
    }
    let covariance = sample.gram();
    let k = dim.min(2);
    // Any start that is not orthogonal to the components; no draw is worth a seed here.
    let mut basis = Dense::zeros(dim, k);
    for (i, v) in basis.data_mut().iter_mut().enumerate() {
        *v = sidereal_core::seed::mix(i as u64 + 1) as f64 / u64::MAX as f64 - 0.5;
    }
    for _ in 0..ITERATIONS {
        basis = covariance.times(&basis);
        basis.orthonormalize();
    }
    for c in 0..k {
        let column = || (0..dim).map(|d| basis.row(d)[c]);
        let largest = column().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0);
        if largest < 0.0 {
            (0..dim).for_each(|d| basis.row_mut(d)[c] *= -1.0);
        }
    }
    let place = |i: usize| {
        let mut at = [0.0; 2];
        for (d, v) in vectors.row(i).iter().enumerate() {
            let centred = f64::from(*v) - mean[d];
            at.iter_mut().zip(basis.row(d)).for_each(|(a, b)| *a += centred * b);
        }
        at
    };
    Ok((0..n).map(place).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::Matrix;

    #[test]
    fn the_longest_directions_come_first() {
        // Variance 100 along (0, 1, 0), 9 along (1, 0, 1) / sqrt 2, none elsewhere.
        let rows: Vec<f32> = (0..200)
            .flat_map(|i| {
                let a = if i % 2 == 0 { 3.0 } else { -3.0 };
                let b = if i / 2 % 2 == 0 { 10.0 } else { -10.0 };
                [a / 2f32.sqrt() + 5.0, b - 2.0, a / 2f32.sqrt()]
            })
            .collect();
        let x = Matrix::new(200, 3, rows).unwrap();
        let places = components(x.view()).unwrap();
        assert!((places[0][0] - 10.0).abs() < 1e-4 && (places[0][1] - 3.0).abs() < 1e-4);
        assert!((places[3][0] + 10.0).abs() < 1e-4 && (places[3][1] + 3.0).abs() < 1e-4);
    }

    #[test]
    fn degenerate_vectors() {
        let of = |rows, cols, v: Vec<f32>| components(Matrix::new(rows, cols, v).unwrap().view());
        assert_eq!(of(0, 3, vec![]).unwrap(), Vec::<[f64; 2]>::new());
        assert_eq!(of(2, 1, vec![1.0, 3.0]).unwrap(), [[-1.0, 0.0], [1.0, 0.0]]);
        assert_eq!(of(2, 2, vec![4.0; 4]).unwrap(), [[0.0; 2]; 2]);
        assert!(of(1, 1, vec![f32::NAN]).is_err());
    }
}
