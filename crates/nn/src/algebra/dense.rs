//! Tall dense matrices in f64: Gram matrix, orthonormal basis, small singular value problem. See
//! [`super::polar`] for the nearest orthogonal matrix.
//!
//! The basis is Cholesky QR done twice (Fukaya et al. 2014; Yamamoto et al. 2015): two passes over
//! the rows instead of one per column, and as orthogonal as Householder while columns are
//! independent to about 1e-7. A column that depends on the ones before becomes zero. The small
//! problem is one-sided Jacobi (Hestenes 1958) on a Cholesky factor (Veselic and Hari 1989).

use super::solve::factor;
use rayon::prelude::*;

/// Rows are cut into at most this many pieces; fixed, so that sums do not depend on threads.
const PIECES: usize = 64;
/// Fewest rows in a piece.
const MIN_ROWS: usize = 512;
/// A column whose part outside the earlier ones is below this share (squared) depends on them.
const DEPENDENT: f64 = 1e-13;
/// Sweeps of Jacobi; convergence is quadratic and takes about eight.
const SWEEPS: usize = 60;

/// Dense `rows x cols` in f64, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    rows: usize,
    cols: usize,
    data: Vec<f64>,
}

impl Dense {
    /// All zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Dense { rows, cols, data: vec![0.0; rows * cols] }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// Row `i`, writable.
    pub fn row_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// All values, row after row.
    pub fn data(&self) -> &[f64] {
        &self.data
    }

    /// All values, writable.
    pub fn data_mut(&mut self) -> &mut [f64] {
        &mut self.data
    }

    fn piece(&self) -> usize {
        self.rows.div_ceil(PIECES).max(MIN_ROWS)
    }

    /// `self^T self` (cols x cols). Cost `rows cols^2`.
    pub fn gram(&self) -> Dense {
        let l = self.cols;
        let partial: Vec<Vec<f64>> = self
            .data
            .par_chunks(self.piece() * l)
            .map(|block| {
                let mut g = vec![0.0; l * l];
                // Four rows at a time: four products for each load and store of the sum.
                let mut quads = block.chunks_exact(4 * l);
                for quad in &mut quads {
                    let (a, rest) = quad.split_at(l);
                    let (b, rest) = rest.split_at(l);
                    let (c, d) = rest.split_at(l);
                    for i in 0..l {
                        let (x, y, z, w) = (a[i], b[i], c[i], d[i]);
                        let rest = a[i..].iter().zip(&b[i..]).zip(&c[i..]).zip(&d[i..]);
                        for (o, (((p, q), r), s)) in g[i * l + i..(i + 1) * l].iter_mut().zip(rest)
                        {
                            *o += x * p + y * q + z * r + w * s;
                        }
                    }
                }
                for row in quads.remainder().chunks_exact(l) {
                    for i in 0..l {
                        for (o, p) in g[i * l + i..(i + 1) * l].iter_mut().zip(&row[i..]) {
                            *o += row[i] * p;
                        }
                    }
                }
                g
            })
            .collect();
        let mut g = Dense::zeros(l, l);
        for p in &partial {
            for (o, v) in g.data.iter_mut().zip(p) {
                *o += v;
            }
        }
        for i in 0..l {
            for j in 0..i {
                g.data[i * l + j] = g.data[j * l + i];
            }
        }
        g
    }

    /// Makes the columns an orthonormal basis of their span; dependent columns become zero.
    pub fn orthonormalize(&mut self) {
        for _ in 0..2 {
            let r = cholesky(&self.gram(), DEPENDENT);
            self.solve_upper(&r);
        }
    }

    /// `self * R^-1` for an upper triangle; columns with a zero pivot become zero.
    pub(crate) fn solve_upper(&mut self, r: &Dense) {
        let (l, piece) = (self.cols, self.piece());
        self.data.par_chunks_mut(piece * l).for_each(|block| {
            for row in block.chunks_exact_mut(l) {
                for i in 0..l {
                    let pivot = r.data[i * l + i];
                    let q = if pivot > 0.0 { row[i] / pivot } else { 0.0 };
                    row[i] = q;
                    if q != 0.0 {
                        let (rest, line) = (&mut row[i + 1..], &r.data[i * l + i + 1..(i + 1) * l]);
                        for (o, v) in rest.iter_mut().zip(line) {
                            *o -= q * v;
                        }
                    }
                }
            }
        });
    }

    /// `self * R^-T` for an upper triangle without a zero pivot.
    pub(crate) fn solve_upper_transposed(&mut self, r: &Dense) {
        let (l, piece) = (self.cols, self.piece());
        self.data.par_chunks_mut(piece * l).for_each(|block| {
            for row in block.chunks_exact_mut(l) {
                for i in (0..l).rev() {
                    let line = &r.data[i * l..(i + 1) * l];
                    let above: f64 =
                        row[i + 1..].iter().zip(&line[i + 1..]).map(|(z, v)| z * v).sum();
                    row[i] = (row[i] - above) / line[i];
                }
            }
        });
    }

    /// `self * x` for a small `x` (cols x k).
    pub fn times(&self, x: &Dense) -> Dense {
        let mut out = Dense::zeros(self.rows, x.cols);
        out.data.par_chunks_mut(64 * x.cols).enumerate().for_each(|(chunk, block)| {
            for (r, row) in block.chunks_exact_mut(x.cols).enumerate() {
                for (i, &q) in self.row(chunk * 64 + r).iter().enumerate() {
                    for (o, v) in row.iter_mut().zip(x.row(i)) {
                        *o += q * v;
                    }
                }
            }
        });
        out
    }
}

/// Upper `R` with `R^T R = g` for a positive semidefinite `g`. A pivot below `drop` times its
/// diagonal entry becomes zero, and its row with it.
pub(crate) fn cholesky(g: &Dense, drop: f64) -> Dense {
    let l = g.cols;
    let mut r = g.clone();
    for i in 0..l {
        for j in 0..i {
            r.data[i * l + j] = 0.0;
        }
    }
    factor(&mut r.data, l, |k| drop * g.data[k * l + k]);
    r
}

/// Eigenvalues, largest first, and eigenvectors (columns) of a positive semidefinite `g`.
pub fn eigen(g: &Dense) -> (Vec<f64>, Dense) {
    let l = g.cols;
    // g = R^T R. Rotating the rows of R against each other leaves g as it is and ends with
    // orthogonal rows s_k u_k^T: eigenvalue s_k^2, eigenvector u_k.
    let mut w = cholesky(g, 1e-15).data;
    let norm2 = |row: &[f64]| row.iter().map(|v| v * v).sum::<f64>();
    let largest = w.chunks_exact(l).map(norm2).fold(0.0, f64::max);
    for _ in 0..SWEEPS {
        let mut rotated = false;
        for p in 0..l {
            for q in p + 1..l {
                let (head, tail) = w.split_at_mut(q * l);
                let (a, b) = (&mut head[p * l..(p + 1) * l], &mut tail[..l]);
                let (aa, bb) = (norm2(a), norm2(b));
                let ab: f64 = a.iter().zip(b.iter()).map(|(x, y)| x * y).sum();
                if ab.abs() <= 1e-15 * (aa * bb).sqrt() || ab.abs() <= 1e-30 * largest {
                    continue;
                }
                rotated = true;
                let zeta = (bb - aa) / (2.0 * ab);
                let t = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
                let c = 1.0 / (1.0 + t * t).sqrt();
                let s = c * t;
                for (x, y) in a.iter_mut().zip(b.iter_mut()) {
                    (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                }
            }
        }
        if !rotated {
            break;
        }
    }
    let values: Vec<f64> = w.chunks_exact(l).map(norm2).collect();
    let mut order: Vec<usize> = (0..l).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    let mut vectors = Dense::zeros(l, l);
    for (k, &from) in order.iter().enumerate() {
        let norm = values[from].sqrt();
        if norm > 0.0 {
            for i in 0..l {
                vectors.data[i * l + k] = w[from * l + i] / norm;
            }
        }
    }
    (order.iter().map(|&k| values[k]).collect(), vectors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use sidereal_core::seed::stream;

    fn random(rows: usize, cols: usize, index: u64) -> Dense {
        let mut rng = stream(3, "dense-test", index);
        let mut m = Dense::zeros(rows, cols);
        m.data.iter_mut().for_each(|v| *v = rng.random::<f64>() - 0.5);
        m
    }

    #[test]
    fn basis_is_orthonormal_and_spans_the_columns() {
        let a = random(1500, 23, 0);
        let mut q = a.clone();
        q.orthonormalize();
        let g = q.gram();
        for i in 0..23 {
            for j in 0..23 {
                let want = f64::from(u8::from(i == j));
                assert!((g.row(i)[j] - want).abs() < 1e-13, "{i} {j} {}", g.row(i)[j]);
            }
        }
        // Q (Q^T a) = a for every column of a; Q^T a is read off the Gram matrix of [Q a].
        let mut both = Dense::zeros(1500, 46);
        for i in 0..1500 {
            both.row_mut(i)[..23].copy_from_slice(q.row(i));
            both.row_mut(i)[23..].copy_from_slice(a.row(i));
        }
        let g = both.gram();
        let mut coefficients = Dense::zeros(23, 23);
        for i in 0..23 {
            coefficients.row_mut(i).copy_from_slice(&g.row(i)[23..]);
        }
        let back = q.times(&coefficients);
        for (x, y) in back.data().iter().zip(a.data()) {
            assert!((x - y).abs() < 1e-12);
        }
    }

    #[test]
    fn dependent_columns_become_zero() {
        let mut a = random(40, 4, 1);
        for i in 0..40 {
            let row = a.row_mut(i);
            row[2] = 2.0 * row[0] - row[1];
        }
        a.orthonormalize();
        let g = a.gram();
        let kept: Vec<f64> = (0..4).map(|i| g.row(i)[i].round()).collect();
        assert_eq!(kept, [1.0, 1.0, 0.0, 1.0]);
    }

    #[test]
    fn eigenvectors_rebuild_the_matrix() {
        let g = random(60, 17, 2).gram();
        let (values, vectors) = eigen(&g);
        assert!(values.windows(2).all(|w| w[0] >= w[1]));
        for i in 0..17 {
            for j in 0..17 {
                let v: f64 =
                    (0..17).map(|k| values[k] * vectors.row(i)[k] * vectors.row(j)[k]).sum();
                assert!((v - g.row(i)[j]).abs() < 1e-12 * values[0]);
            }
        }
        let trace: f64 = (0..17).map(|i| g.row(i)[i]).sum();
        assert!((values.iter().sum::<f64>() - trace).abs() < 1e-12 * trace);
    }

    #[test]
    fn eigen_of_a_known_matrix() {
        let mut g = Dense::zeros(2, 2);
        g.data.copy_from_slice(&[2.0, 1.0, 1.0, 2.0]);
        let (values, vectors) = eigen(&g);
        assert!((values[0] - 3.0).abs() < 1e-14 && (values[1] - 1.0).abs() < 1e-14);
        assert!((vectors.row(0)[0] - vectors.row(1)[0]).abs() < 1e-14);
        let (none, _) = eigen(&Dense::zeros(3, 3));
        assert_eq!(none, [0.0; 3]);
    }
}
