//! One side of alternating least squares: the best rows `x` for fixed `y`.
//!
//! For a row of counts `r_i` over its n items, `(Y^T Y + lambda I + sum_i alpha r_i y_i y_i^T) x =
//! sum_i (1 + alpha r_i) y_i`. With `B = (Y^T Y + lambda I)^-1` and `Z = Y B` that is `x = Z_n^T w`
//! where `(diag(1 / (alpha r)) + Y_n Z_n^T) w = 1 + 1 / (alpha r)` (matrix inversion lemma), an
//! `n x n` system. A row takes the smaller one: `n^2 d + n^3 / 3` products against
//! `n d^2 / 2 + d^3 / 6`, and `Z` costs `N d^2` once.

use rayon::prelude::*;
use sidereal_nn::algebra::dense::Dense;
use sidereal_nn::algebra::solve::{factor, solve};
use sidereal_nn::algebra::sparse::Csr;

/// Rows solved as one piece of work.
const CHUNK: usize = 64;

/// Replaces the rows of `x` (`rows x d`) by the best ones for `counts` (`rows x cols`) and `y`
/// (`cols x d`). On the current pool; rows do not touch each other.
///
/// # Panics
/// When the shapes do not fit: a mistake of the caller.
pub fn solve_rows(counts: &Csr, y: &Dense, alpha: f64, lambda: f64, x: &mut Dense) {
    let d = y.cols();
    assert!(x.cols() == d && x.rows() == counts.rows() && y.rows() == counts.cols());
    let mut gram = y.gram();
    for k in 0..d {
        gram.row_mut(k)[k] += lambda;
    }
    let mut root = gram.clone();
    factor(root.data_mut(), d, |_| 0.0);
    let mut z = y.clone();
    z.data_mut().par_chunks_exact_mut(d).with_min_len(CHUNK).for_each(|row| {
        solve(root.data(), d, row);
    });
    let side = Side { counts, y, z: &z, gram: &gram, alpha };
    x.data_mut().par_chunks_mut(CHUNK * d).enumerate().for_each(|(chunk, block)| {
        let (mut a, mut w) = (Vec::new(), Vec::new());
        for (r, x) in block.chunks_exact_mut(d).enumerate() {
            side.solve(chunk * CHUNK + r, &mut a, &mut w, x);
        }
    });
}

struct Side<'a> {
    counts: &'a Csr,
    y: &'a Dense,
    /// `y (y^T y + lambda I)^-1`.
    z: &'a Dense,
    /// `y^T y + lambda I`.
    gram: &'a Dense,
    alpha: f64,
}

impl Side<'_> {
    fn solve(&self, row: usize, a: &mut Vec<f64>, w: &mut Vec<f64>, x: &mut [f64]) {
        if self.counts.row_len(row) < x.len() {
            self.by_items(row, a, w, x);
        } else {
            self.by_width(row, a, x);
        }
    }

    /// The `n x n` system.
    fn by_items(&self, row: usize, a: &mut Vec<f64>, w: &mut Vec<f64>, x: &mut [f64]) {
        let (items, counts) = self.counts.row(row);
        let n = items.len();
        a.clear();
        a.resize(n * n, 0.0);
        w.clear();
        for (i, (&p, &r)) in items.iter().zip(counts).enumerate() {
            let more = 1.0 / (self.alpha * f64::from(r));
            for (j, &q) in items.iter().enumerate().skip(i) {
                a[i * n + j] = dot(self.y.row(p as usize), self.z.row(q as usize));
            }
            a[i * n + i] += more;
            w.push(1.0 + more);
        }
        factor(a, n, |_| 0.0);
        solve(a, n, w);
        x.fill(0.0);
        for (&i, w) in items.iter().zip(&*w) {
            x.iter_mut().zip(self.z.row(i as usize)).for_each(|(x, z)| *x += w * z);
        }
    }

    /// The `d x d` system.
    fn by_width(&self, row: usize, a: &mut Vec<f64>, x: &mut [f64]) {
        let (items, counts) = self.counts.row(row);
        let d = x.len();
        a.clear();
        a.extend_from_slice(self.gram.data());
        x.fill(0.0);
        for (&item, &r) in items.iter().zip(counts) {
            let (y, more) = (self.y.row(item as usize), self.alpha * f64::from(r));
            for i in 0..d {
                let f = more * y[i];
                a[i * d + i..(i + 1) * d].iter_mut().zip(&y[i..]).for_each(|(o, y)| *o += f * y);
                x[i] += (1.0 + more) * y[i];
            }
        }
        factor(a, d, |_| 0.0);
        solve(a, d, x);
    }
}

/// The objective. Terms of pairs without an interaction are `(x . y)^2`, whose sum over all pairs is
/// the product of the two Gram matrices: `nnz d + (U + N) d^2` operations.
pub fn loss(counts: &Csr, x: &Dense, y: &Dense, alpha: f64, lambda: f64) -> f64 {
    let (gx, gy) = (x.gram(), y.gram());
    let all = dot(gx.data(), gy.data());
    let lengths: f64 = (0..x.cols()).map(|k| gx.row(k)[k] + gy.row(k)[k]).sum();
    let pieces: Vec<f64> = (0..counts.rows().div_ceil(CHUNK))
        .into_par_iter()
        .map(|chunk| {
            let mut sum = 0.0;
            for u in chunk * CHUNK..((chunk + 1) * CHUNK).min(counts.rows()) {
                let (items, rs) = counts.row(u);
                for (&i, &r) in items.iter().zip(rs) {
                    let s = dot(x.row(u), y.row(i as usize));
                    sum += (1.0 + alpha * f64::from(r)) * (1.0 - s).powi(2) - s * s;
                }
            }
            sum
        })
        .collect();
    all + pieces.iter().sum::<f64>() + lambda * lengths
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four sums at a time; the order is fixed.
    let (ca, ra) = a.as_chunks::<4>();
    let (cb, rb) = b.as_chunks::<4>();
    let mut lanes = [0f64; 4];
    for (x, y) in ca.iter().zip(cb) {
        for i in 0..4 {
            lanes[i] += x[i] * y[i];
        }
    }
    lanes.iter().sum::<f64>() + ra.iter().zip(rb).map(|(x, y)| x * y).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_nn::algebra::svd::gaussian;

    /// Rows of 0, 1, 3 and 5 items of 5; some met twice or more.
    fn counts() -> Csr {
        let columns = vec![2, 0, 2, 4, 0, 1, 2, 3, 4];
        let values = vec![1.0, 2.0, 1.0, 1.0, 1.0, 3.0, 1.0, 1.0, 2.0];
        Csr::from_parts(5, vec![0, 0, 1, 4, 9], columns, values)
    }

    /// The objective over every pair, from its definition.
    fn naive(counts: &Csr, x: &Dense, y: &Dense, alpha: f64, lambda: f64) -> f64 {
        let mut sum = 0.0;
        for u in 0..x.rows() {
            for i in 0..y.rows() {
                let (items, rs) = counts.row(u);
                let at = items.iter().position(|&c| c as usize == i);
                let r = at.map_or(0.0, |at| f64::from(rs[at]));
                let s: f64 = x.row(u).iter().zip(y.row(i)).map(|(a, b)| a * b).sum();
                sum += (1.0 + alpha * r) * (f64::from(u8::from(r > 0.0)) - s).powi(2);
            }
        }
        let length = |m: &Dense| m.data().iter().map(|v| v * v).sum::<f64>();
        sum + lambda * (length(x) + length(y))
    }

    #[test]
    fn both_systems_end_where_the_slope_is_zero() {
        let (counts, alpha, lambda) = (counts(), 7.0, 0.3);
        // Width 2: rows of 3 and 5 items take the d x d system. Width 6: none does.
        for d in [2, 6] {
            let y = gaussian(5, d, 3, "als-test");
            let mut x = Dense::zeros(4, d);
            solve_rows(&counts, &y, alpha, lambda, &mut x);
            assert!(x.row(0).iter().all(|v| *v == 0.0));
            let at = |x: &Dense| naive(&counts, x, &y, alpha, lambda);
            let here = at(&x);
            assert!((here - loss(&counts, &x, &y, alpha, lambda)).abs() < 1e-9 * here);
            for i in 0..4 * d {
                let (mut up, mut down) = (x.clone(), x.clone());
                up.data_mut()[i] += 1e-4;
                down.data_mut()[i] -= 1e-4;
                // The objective is a parabola: no slope at its least value, and it rises.
                let slope = (at(&up) - at(&down)) / 2e-4;
                assert!(slope.abs() < 1e-6, "width {d}, value {i}: {slope}");
                assert!(at(&up) > here && at(&down) > here);
            }
        }
    }

    #[test]
    fn one_number_by_hand() {
        // One user, two items y = 1 and y = 2, of which the first was met twice: with alpha 3 and
        // lambda 1, (1 + 4 + 1 + 6) x = 7.
        let counts = Csr::from_parts(2, vec![0, 1], vec![0], vec![2.0]);
        let mut y = Dense::zeros(2, 1);
        y.data_mut().copy_from_slice(&[1.0, 2.0]);
        let mut x = Dense::zeros(1, 1);
        solve_rows(&counts, &y, 3.0, 1.0, &mut x);
        assert!((x.data()[0] - 7.0 / 12.0).abs() < 1e-12);
    }

    #[test]
    fn sweeps_lower_the_loss() {
        let (users, mut y) = (counts(), gaussian(5, 2, 9, "als-test"));
        let (items, mut x) = (users.transpose(), Dense::zeros(4, 2));
        let mut last = f64::INFINITY;
        for _ in 0..20 {
            solve_rows(&users, &y, 2.0, 0.1, &mut x);
            let middle = loss(&users, &x, &y, 2.0, 0.1);
            solve_rows(&items, &x, 2.0, 0.1, &mut y);
            let now = loss(&users, &x, &y, 2.0, 0.1);
            assert!(middle <= last + 1e-12 && now <= middle + 1e-12);
            last = now;
        }
    }
}
