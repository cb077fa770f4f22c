//! The loss of one level of residual vector quantization, with its gradients.
//!
//! For N residuals `r_i` of width D and codes `c_i = argmin_k |r_i - C[k]|^2`, `q_i = C[c_i]`:
//!
//! `loss = sum_i |sg(r_i) - q_i|^2 + b |r_i - sg(q_i)|^2`
//!
//! with `sg` for stop-gradient, a sum over rows and columns, and `b = 0.25` in GRID's R-VQ
//! (arXiv 2507.22224) and in VQ-VAE (arXiv 1711.00937). The first term moves the codebook, the
//! second one the residuals:
//!
//! `dC[k] = 2 sum_{c_i = k} (C[k] - r_i)`, `dr_i = 2 b (r_i - q_i)`.
//!
//! A converged level of k-means is a fixed point: every centroid is the mean of its rows, so `dC`
//! is zero. Cost: `2 N K D` operations for the codes, `O(N D)` for the rest.

use crate::kmeans::Centroids;
use crate::kmeans::centroids::{Search, TILE};
use crate::residual::check_vectors;
use rayon::prelude::*;
use sidereal_core::{Code, Error, Matrix, MatrixRef, Result};

/// What [`level_loss`] gives.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelLoss {
    /// The loss, summed over rows and columns.
    pub loss: f64,
    /// Nearest code of each row, ties to the lowest.
    pub codes: Vec<Code>,
    /// Gradient in the codebook, shape `K x D`; zero for codes that no row chose.
    pub codebook_gradient: Matrix,
    /// Gradient of the commitment term in the residuals, shape `N x D`.
    pub commitment_gradient: Matrix,
}

/// Loss and gradients of one level; `beta` weighs the commitment term, 0 and up.
///
/// The number of threads changes no bit of the result.
///
/// Errors: no residuals, values that are not finite or too large, a codebook of another width or
/// without codes, a `beta` that is negative or not finite.
pub fn level_loss(residuals: MatrixRef<'_>, codebook: &Centroids, beta: f64) -> Result<LevelLoss> {
    check_vectors(residuals)?;
    let (n, dim, width) = (residuals.rows(), residuals.cols(), codebook.width());
    if width == 0 || codebook.dim() != dim {
        return Err(Error::mismatch(format!(
            "a codebook of {width} codes of width {} for residuals of width {dim}",
            codebook.dim()
        )));
    }
    check_vectors(codebook.values().view())?;
    if !(beta.is_finite() && beta >= 0.0) {
        return Err(Error::config("beta", format!("{beta}; allowed: finite numbers from 0")));
    }
    let mut codes: Vec<Code> = vec![0; n];
    let mut commitment_gradient = Matrix::zeros(n, dim);
    let tiles = codes
        .par_chunks_mut(TILE)
        .zip(commitment_gradient.data_mut().par_chunks_mut(TILE * dim))
        .zip(residuals.data().par_chunks(TILE * dim));
    let squares: Vec<f64> = tiles
        .map_init(Default::default, |scratch: &mut (Search, Vec<f32>), ((codes, grad), rows)| {
            let (search, distances) = scratch;
            distances.resize(codes.len(), 0.0);
            codebook.nearest(rows, search, codes, distances);
            tile_loss(codebook, codes, rows, beta, grad)
        })
        .collect();
    // In the order of the tiles, whoever did them.
    let square: f64 = squares.iter().sum();
    Ok(LevelLoss {
        loss: (1.0 + beta) * square,
        codebook_gradient: codebook_gradient(residuals, codebook, &codes),
        codes,
        commitment_gradient,
    })
}

/// Sum of `|r - q|^2` over the rows of a tile; writes their `2 b (r - q)`.
fn tile_loss(
    codebook: &Centroids,
    codes: &[Code],
    rows: &[f32],
    beta: f64,
    grad: &mut [f32],
) -> f64 {
    let (dim, factor) = (codebook.dim(), (2.0 * beta) as f32);
    let mut square = 0.0;
    for ((code, r), g) in codes.iter().zip(rows.chunks_exact(dim)).zip(grad.chunks_exact_mut(dim)) {
        for ((g, r), q) in g.iter_mut().zip(r).zip(codebook.row(*code)) {
            let difference = r - q;
            square += f64::from(difference) * f64::from(difference);
            *g = factor * difference;
        }
    }
    square
}

/// `2 sum (C[k] - r_i)` over the rows of each code, in the order of the rows. Differences are added
/// rather than rows, so that little is lost where a level has converged far from the origin.
fn codebook_gradient(residuals: MatrixRef<'_>, codebook: &Centroids, codes: &[Code]) -> Matrix {
    let (dim, width) = (codebook.dim(), codebook.width());
    // Rows by code: rows_of[starts[k]..starts[k + 1]], rising.
    let mut starts = vec![0usize; width + 1];
    codes.iter().for_each(|&c| starts[c as usize + 1] += 1);
    (0..width).for_each(|k| starts[k + 1] += starts[k]);
    let mut rows_of = vec![0u32; codes.len()];
    let mut next = starts.clone();
    for (i, &c) in codes.iter().enumerate() {
        rows_of[next[c as usize]] = i as u32;
        next[c as usize] += 1;
    }
    let mut out = Matrix::zeros(width, dim);
    out.data_mut().par_chunks_mut(dim).enumerate().for_each_init(
        || vec![0.0f64; dim],
        |sum, (k, out)| {
            sum.fill(0.0);
            let centroid = codebook.values().row(k);
            for &i in &rows_of[starts[k]..starts[k + 1]] {
                for ((s, c), r) in sum.iter_mut().zip(centroid).zip(residuals.row(i as usize)) {
                    *s += f64::from(*c) - f64::from(*r);
                }
            }
            out.iter_mut().zip(&*sum).for_each(|(o, s)| *o = (2.0 * s) as f32);
        },
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn centroids(rows: usize, data: &[f32]) -> Centroids {
        Centroids::new(Matrix::new(rows, data.len() / rows, data.to_vec()).unwrap())
    }

    fn rows(cols: usize, data: &[f32]) -> MatrixRef<'_> {
        MatrixRef::new(data.len() / cols, cols, data).unwrap()
    }

    #[test]
    fn three_rows_by_hand() {
        // Codes 0, 10 and one that nobody chooses; squares 1 + 4 + 9 = 14.
        let book = centroids(3, &[0.0, 10.0, 99.0]);
        let got = level_loss(rows(1, &[1.0, -2.0, 7.0]), &book, 0.25).unwrap();
        assert_eq!(got.codes, [0, 0, 1]);
        assert_eq!(got.loss, 1.25 * 14.0);
        assert_eq!(got.codebook_gradient.data(), [2.0 * (-1.0 + 2.0), 2.0 * 3.0, 0.0]);
        assert_eq!(got.commitment_gradient.data(), [0.5, -1.0, -1.5]);
        let none = level_loss(rows(1, &[1.0, -2.0, 7.0]), &book, 0.0).unwrap();
        assert_eq!(none.loss, 14.0);
        assert_eq!(none.codebook_gradient, got.codebook_gradient);
        assert!(none.commitment_gradient.data().iter().all(|g| *g == 0.0));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let book = centroids(2, &[0.0, 1.0]);
        let says = |r: MatrixRef<'_>, book: &Centroids, beta| {
            level_loss(r, book, beta).unwrap_err().to_string()
        };
        assert!(says(rows(1, &[1.0, f32::NAN]), &book, 0.25).contains("row 1"));
        assert!(says(rows(1, &[]), &book, 0.25).contains("0 vectors"));
        assert!(says(rows(2, &[1.0, 2.0]), &book, 0.25).contains("width 2"));
        assert!(says(rows(1, &[1.0]), &centroids(1, &[f32::INFINITY]), 0.25).contains("inf"));
        assert!(
            says(rows(1, &[1.0]), &Centroids::new(Matrix::zeros(0, 1)), 0.25).contains("0 codes")
        );
        for beta in [-0.1, f64::NAN, f64::INFINITY] {
            assert!(says(rows(1, &[1.0]), &book, beta).contains("beta"));
        }
    }
}
