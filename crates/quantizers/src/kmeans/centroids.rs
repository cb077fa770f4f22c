//! The codebook of one level, prepared for nearest-code search.
//!
//! `argmin_k ||r - c_k||^2 = argmin_k (||c_k||^2 - 2 r.c_k)`: the products of a tile of rows with
//! all centroids are one dense product, the norms are known before. Cost `2 K D` operations a row;
//! the tile of `rows x K` scores stays in cache and the `N x K` matrix is never written. Where the
//! processor has products of 8-bit integers these come first, and leave few points to f32
//! (`sidereal_nn::kernels::screen`): the same codes up to ties within rounding, and distances that
//! are sums of squared differences instead of differences of squares.

use super::{LANES, squared_norm};
use sidereal_core::{Code, Matrix};
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::kernels::screen::{self, BLOCK, Screen, Screened};

/// Rows of a tile: the residuals of a tile (`TILE x D`) and its scores (`TILE x K`) share the
/// cache of one core.
pub(crate) const TILE: usize = 512;

/// Blocks that go straight to the product after one that was crowded.
const PATIENCE: usize = 7;

/// Working memory of [`Centroids::nearest`].
#[derive(Debug, Default)]
pub(crate) struct Search {
    scores: Vec<f32>,
    screen: screen::Scratch,
    /// Blocks that still go straight to the product.
    wait: usize,
}

impl Search {
    /// Forgets what was seen, so that codes depend on the rows that follow alone.
    pub(crate) fn begin(&mut self) {
        self.wait = 0;
    }
}

/// `K` centroids of width `D`.
#[derive(Debug, Clone, PartialEq)]
pub struct Centroids {
    values: Matrix,
    /// `D x K`: the layout that the product reads without repacking.
    transposed: Vec<f32>,
    norms: Vec<f32>,
    /// None where it does not pay.
    screen: Option<Screen>,
}

impl Centroids {
    /// Takes centroids of shape `K x D`.
    pub fn new(values: Matrix) -> Self {
        let transposed = vec![0.0; values.rows() * values.cols()];
        let norms = vec![0.0; values.rows()];
        let mut out = Centroids { norms, values, transposed, screen: None };
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
        self.screen = if screen::pays(k, d) { Screen::new(self.values.data(), d) } else { None };
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

    /// Nearest code of each row of `tile` (`codes.len() x D`), ties to the lowest, and its squared
    /// distance.
    pub(crate) fn nearest(
        &self,
        tile: &[f32],
        search: &mut Search,
        codes: &mut [Code],
        distances: &mut [f32],
    ) {
        search.begin();
        let step = self.step();
        let outputs = codes.chunks_mut(step).zip(distances.chunks_mut(step));
        for (rows, (codes, distances)) in tile.chunks(step * self.dim()).zip(outputs) {
            self.go_on(rows, &[], search, codes, distances);
        }
    }

    /// Rows at a time of [`Centroids::go_on`].
    pub(crate) fn step(&self) -> usize {
        if self.screen.is_some() { BLOCK } else { TILE }
    }

    /// [`Centroids::nearest`] of at most [`Centroids::step`] rows, after others since
    /// [`Search::begin`]; `ahead` are vectors that come next, fetched into the cache meanwhile.
    pub(crate) fn go_on(
        &self,
        rows: &[f32],
        ahead: &[f32],
        search: &mut Search,
        codes: &mut [Code],
        distances: &mut [f32],
    ) {
        match &self.screen {
            Some(screen) if search.wait == 0 => {
                let (points, scratch) = (self.values.data(), &mut search.screen);
                match screen.nearest(points, rows, ahead, scratch, codes, distances) {
                    Screened::Found => return,
                    Screened::Crowded => search.wait = PATIENCE,
                }
            }
            _ => search.wait = search.wait.saturating_sub(1),
        }
        self.nearest_of_all(rows, &mut search.scores, codes, distances);
    }

    /// The same by the product with all centroids.
    fn nearest_of_all(
        &self,
        tile: &[f32],
        scores: &mut Vec<f32>,
        codes: &mut [Code],
        distances: &mut [f32],
    ) {
        let (rows, k, dim) = (codes.len(), self.width(), self.dim());
        scores.resize(rows * k, 0.0);
        let (a, b) = (Mat::rows(tile, dim), Mat::rows(&self.transposed, k));
        gemm(rows, k, dim, a, b, scores, k, Write::Set);
        let outputs = codes.iter_mut().zip(distances);
        for ((dots, row), (code, distance)) in
            scores.chunks_exact_mut(k).zip(tile.chunks_exact(dim)).zip(outputs)
        {
            let (nearest, best) = argmin(dots, &self.norms);
            // Rounding may leave a tiny negative number where the distance is zero.
            (*code, *distance) = (nearest, (best + squared_norm(row)).max(0.0));
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
        let (mut codes, mut distances) = (vec![9; rows], vec![0.0; rows]);
        c.nearest(tile, &mut Search::default(), &mut codes, &mut distances);
        (codes, distances)
    }

    #[test]
    fn ties_go_to_the_lowest_code() {
        let (codes, distances) = nearest(&[0.0, 10.0, 10.0], 1, &[5.0, 7.0, -1.0]);
        assert_eq!(codes, [0, 1, 0]);
        assert_eq!(distances, [25.0, 9.0, 1.0]);
    }

    /// Codes and distances of both ways beside distances in f64.
    fn check(values: &[f32], dim: usize, tile: &[f32]) {
        let c = Centroids::new(Matrix::new(values.len() / dim, dim, values.to_vec()).unwrap());
        let rows = tile.len() / dim;
        let (mut codes, mut distances) = (vec![9; rows], vec![0.0; rows]);
        for all in [false, true] {
            if all {
                c.nearest_of_all(tile, &mut Vec::new(), &mut codes, &mut distances);
            } else {
                c.nearest(tile, &mut Search::default(), &mut codes, &mut distances);
            }
            for (i, r) in tile.chunks(dim).enumerate() {
                let square = |(r, c): (&f32, &f32)| (f64::from(*r) - f64::from(*c)).powi(2);
                let d = values.chunks(dim).map(|c| r.iter().zip(c).map(square).sum::<f64>());
                let d: Vec<f64> = d.collect();
                let low = d.iter().copied().fold(f64::INFINITY, f64::min);
                // Differences of squares lose what the squares have more than their difference.
                let length = r.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
                let slack = 1e-6 * if all || c.screen.is_none() { low + length } else { low };
                assert!(d[codes[i] as usize] <= low + slack, "row {i}");
                assert!((f64::from(distances[i]) - low).abs() <= 3.0 * slack + 1e-30, "row {i}");
            }
        }
    }

    #[test]
    fn agrees_with_distances_written_out() {
        for (k, dim) in
            [(1, 5), (15, 5), (16, 5), (17, 5), (40, 5), (256, 64), (257, 67), (300, 130)]
        {
            let at = |i: usize, s: u64| {
                (sidereal_core::seed::mix(s + i as u64) >> 40) as f32 / (1 << 24) as f32 - 0.5
            };
            let values: Vec<f32> = (0..k * dim).map(|i| at(i, 1 << 40)).collect();
            let mut tile: Vec<f32> = (0..200 * dim).map(|i| at(i, 1 << 50)).collect();
            check(&values, dim, &tile);
            // A block whose rows are all alike far from the others.
            tile[64 * dim..128 * dim].fill(30.0);
            check(&values, dim, &tile);
        }
    }

    /// Rows that 8 bits cannot tell apart go through the product, in the same tile as others.
    #[test]
    fn crowded_blocks_are_looked_at_in_full() {
        let (k, dim) = (64, 256);
        let mut values = vec![0f32; k * dim];
        values.iter_mut().step_by(dim).enumerate().for_each(|(i, v)| *v = i as f32 / 64.0);
        let mut tile = vec![0f32; 2000 * dim];
        for (i, row) in tile.chunks_exact_mut(dim).enumerate() {
            row[0] = i as f32 / 2000.0;
            row[1] = if i < 300 { 500.0 } else { 0.0 };
        }
        let (codes, _) = nearest(&values, dim, &tile);
        for (i, &code) in codes.iter().enumerate() {
            let (at, low) = (i as f32 / 2000.0, code as f32 / 64.0);
            let slack = if i < 300 { 0.26 } else { 1e-5 };
            assert!((at - low).abs() <= 0.5 / 64.0 + slack || code == 63, "row {i}: {code}");
        }
    }
}
