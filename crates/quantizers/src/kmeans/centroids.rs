//! The codebook of one level, prepared for nearest-code search.
//!
//! `argmin_k ||r - c_k||^2 = argmin_k (||c_k||^2 - 2 r.c_k)`: the products of a tile of rows with
//! all centroids are one dense product, the norms are known before. Cost `2 K D` operations a row;
//! the tile of `rows x K` scores stays in cache and the `N x K` matrix is never written.

use super::{LANES, squared_norm};
use sidereal_core::{Code, Matrix};
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};

/// Rows of a tile: the residuals of a tile (`TILE x D`) and its scores (`TILE x K`) share the
/// cache of one core.
pub(crate) const TILE: usize = 512;

/// `K` centroids of width `D`.
#[derive(Debug, Clone, PartialEq)]
pub struct Centroids {
    values: Matrix,
    /// `D x K`: the layout that the product reads without repacking.
    transposed: Vec<f32>,
    norms: Vec<f32>,
}

impl Centroids {
    /// Takes centroids of shape `K x D`.
    pub fn new(values: Matrix) -> Self {
        let transposed = vec![0.0; values.rows() * values.cols()];
        let mut out = Centroids { norms: vec![0.0; values.rows()], values, transposed };
        out.prepare();
        out
    }

    /// Changes the centroids, then brings norms and layout up to date.
    pub fn update(&mut self, change: impl FnOnce(&mut Matrix)) {
        change(&mut self.values);
        self.prepare();
    }

    fn prepare(&mut self) {
        let (k, d) = (self.values.rows(), self.values.cols());
        // Blocks of 16 columns: each cache line of the target is written whole.
        for start in (0..k).step_by(LANES) {
            let end = (start + LANES).min(k);
            for j in 0..d {
                for i in start..end {
                    self.transposed[j * k + i] = self.values.data()[i * d + j];
                }
            }
        }
        for i in 0..k {
            self.norms[i] = squared_norm(self.values.row(i));
        }
    }

    /// Number of codes K.
    pub fn width(&self) -> usize {
        self.values.rows()
    }

    /// Length of a centroid D.
    pub fn dim(&self) -> usize {
        self.values.cols()
    }

    /// The centroids, shape `K x D`.
    pub fn values(&self) -> &Matrix {
        &self.values
    }

    /// Squared length of each centroid.
    pub(crate) fn norms(&self) -> &[f32] {
        &self.norms
    }

    /// The centroids alone.
    pub fn into_values(self) -> Matrix {
        self.values
    }

    /// The centroid of a code.
    pub fn row(&self, code: Code) -> &[f32] {
        self.values.row(code as usize)
    }

    /// Nearest code of each row of `tile` (`codes.len() x D`), ties to the lowest; `best` receives
    /// `||c||^2 - 2 r.c`, which is the squared distance less `||r||^2`. `scores` is scratch.
    pub(crate) fn nearest(
        &self,
        tile: &[f32],
        scores: &mut Vec<f32>,
        codes: &mut [Code],
        best: &mut [f32],
    ) {
        let (rows, k) = (codes.len(), self.width());
        scores.resize(rows * k, 0.0);
        let (a, b) = (Mat::rows(tile, self.dim()), Mat::rows(&self.transposed, k));
        gemm(rows, k, self.dim(), a, b, scores, k, Write::Set);
        for ((row, code), best) in scores.chunks_exact_mut(k).zip(codes).zip(best) {
            (*code, *best) = argmin(row, &self.norms);
        }
    }

    /// Squared distances of each row of `tile` (`rows x D`) to all centroids, into `out`
    /// (`rows x K`).
    pub(crate) fn distances(&self, tile: &[f32], out: &mut [f32]) {
        let (k, dim) = (self.width(), self.dim());
        let (a, b) = (Mat::rows(tile, dim), Mat::rows(&self.transposed, k));
        gemm(tile.len() / dim, k, dim, a, b, out, k, Write::Set);
        for (row, out) in tile.chunks_exact(dim).zip(out.chunks_exact_mut(k)) {
            let square = squared_norm(row);
            for (d, norm) in out.iter_mut().zip(&self.norms) {
                // Rounding may leave a tiny negative number where the distance is zero.
                *d = (norm - 2.0 * *d + square).max(0.0);
            }
        }
    }
}

/// First index of the smallest `norms[k] - 2 dots[k]`, and that value.
fn argmin(dots: &mut [f32], norms: &[f32]) -> (Code, f32) {
    let mut low = [f32::INFINITY; LANES];
    let whole = dots.len() / LANES * LANES;
    for (d, n) in dots[..whole].chunks_exact_mut(LANES).zip(norms.chunks_exact(LANES)) {
        for i in 0..LANES {
            let s = n[i] - 2.0 * d[i];
            d[i] = s;
            low[i] = if s < low[i] { s } else { low[i] };
        }
    }
    for (d, n) in dots[whole..].iter_mut().zip(&norms[whole..]) {
        let s = n - 2.0 * *d;
        *d = s;
        low[0] = if s < low[0] { s } else { low[0] };
    }
    let min = low.iter().copied().fold(f32::INFINITY, f32::min);
    (first_equal(dots, min) as Code, min)
}

/// First position of `value`; 0 when it is nowhere.
fn first_equal(values: &[f32], value: f32) -> usize {
    for (b, block) in values.chunks(LANES).enumerate() {
        // Without an early exit inside a block the comparison runs on whole registers.
        if block.iter().fold(false, |hit, &v| hit | (v == value)) {
            return b * LANES + block.iter().position(|&v| v == value).unwrap_or(0);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nearest(values: &[f32], dim: usize, tile: &[f32]) -> (Vec<Code>, Vec<f32>) {
        let c = Centroids::new(Matrix::new(values.len() / dim, dim, values.to_vec()).unwrap());
        let rows = tile.len() / dim;
        let (mut codes, mut best) = (vec![9; rows], vec![0.0; rows]);
        c.nearest(tile, &mut Vec::new(), &mut codes, &mut best);
        (codes, best)
    }

    #[test]
    fn ties_go_to_the_lowest_code() {
        let (codes, best) = nearest(&[0.0, 10.0, 10.0], 1, &[5.0, 7.0, -1.0]);
        assert_eq!(codes, [0, 1, 0]);
        assert_eq!(best, [0.0, 100.0 - 140.0, 0.0]);
    }

    #[test]
    fn agrees_with_distances_written_out() {
        for k in [1, 15, 16, 17, 40] {
            let dim = 5;
            let at = |i: usize, s: usize| ((i * s) % 101) as f32 / 10.0;
            let values: Vec<f32> = (0..k * dim).map(|i| at(i, 37)).collect();
            let tile: Vec<f32> = (0..50 * dim).map(|i| at(i, 53)).collect();
            let (codes, best) = nearest(&values, dim, &tile);
            for (i, r) in tile.chunks(dim).enumerate() {
                let d: Vec<f32> =
                    values.chunks(dim).map(|c| super::super::squared_distance(r, c)).collect();
                let low = d.iter().copied().fold(f32::INFINITY, f32::min);
                assert!(d[codes[i] as usize] <= low + 1e-4);
                assert!((best[i] + squared_norm(r) - low).abs() < 1e-3);
            }
        }
    }
}
