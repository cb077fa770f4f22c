//! The nearest orthogonal matrix: the orthogonal factor of the polar decomposition.
//!
//! For a square `M = U S V^T` it is `U V^T`, which maximises `tr(R^T M)` over orthogonal `R` and so
//! solves the orthogonal Procrustes problem `min |X R - Y|_F` with `M = X^T Y` (Schoenemann 1966).
//! Found by the dynamically weighted Halley iteration (Nakatsukasa, Bai and Gygi 2010, algorithm 1):
//!
//! `X <- (b / c) X + (a - b / c) X (I + c X^T X)^-1`
//!
//! with weights from a lower bound of the smallest singular value: about seven rounds of products
//! and one Cholesky factor instead of the sweeps of a singular value decomposition. Cost `7/3 D^3`
//! a round. Where `M` is singular its factor is not unique; `M + e |M| R_0` with `e = 1e-7` takes
//! the one near a given `R_0`, and lets the objective fall short by no more than that share.

use super::dense::{Dense, cholesky};

/// Weight of the matrix before, as a share of the length of `M`; also the first lower bound of the
/// singular values, small enough for the Cholesky form.
const NEAR: f64 = 1e-7;
/// Rounds at most; seven are enough unless rounding breaks the bound.
const ROUNDS: usize = 40;
/// Largest entry of `|X^T X - I|` at the end.
const CLOSE: f64 = 1e-12;

/// The orthogonal matrix nearest to the square `m`, near `before` (orthogonal, of the same shape)
/// where `m` leaves a choice; `before` itself for a matrix of zeros, and where `m` has values that
/// are not finite or the iteration does not converge.
///
/// # Panics
/// When the shapes differ: a mistake of the caller.
pub fn nearest_orthogonal(m: &Dense, before: &Dense) -> Dense {
    let d = m.rows();
    assert!(m.cols() == d && before.rows() == d && before.cols() == d, "square, of one shape");
    let length = m.data().iter().map(|v| v * v).sum::<f64>().sqrt();
    if length == 0.0 || !length.is_finite() {
        return before.clone();
    }
    let mut x = Dense::zeros(d, d);
    for ((x, m), r) in x.data_mut().iter_mut().zip(m.data()).zip(before.data()) {
        *x = m / length + NEAR * r;
    }
    let mut low = NEAR;
    for _ in 0..ROUNDS {
        let mut gram = x.gram();
        if off_identity(&gram) < CLOSE {
            return x;
        }
        let (a, b, c) = weights(low);
        for (i, row) in gram.data_mut().chunks_exact_mut(d).enumerate() {
            row.iter_mut().for_each(|v| *v *= c);
            row[i] += 1.0;
        }
        let factor = cholesky(&gram, 0.0);
        let mut y = x.clone();
        y.solve_upper(&factor);
        y.solve_upper_transposed(&factor);
        for (x, y) in x.data_mut().iter_mut().zip(y.data()) {
            *x = b / c * *x + (a - b / c) * y;
        }
        low = (low * (a + b * low * low) / (1.0 + c * low * low)).min(1.0);
    }
    before.clone()
}

/// The weights `a`, `b` and `c` for singular values from `low` to 1.
fn weights(low: f64) -> (f64, f64, f64) {
    let square = low * low;
    let d = (4.0 * (1.0 - square) / (square * square)).cbrt();
    let root = (1.0 + d).sqrt();
    let inner = 8.0 - 4.0 * d + 8.0 * (2.0 - square) / (square * root);
    let a = root + 0.5 * inner.max(0.0).sqrt();
    let b = (a - 1.0) * (a - 1.0) / 4.0;
    (a, b, a + b - 1.0)
}

/// Largest entry of `|g - I|`; infinite where an entry is NaN.
fn off_identity(g: &Dense) -> f64 {
    let mut worst = 0.0f64;
    for i in 0..g.rows() {
        for (j, v) in g.row(i).iter().enumerate() {
            let off = (v - f64::from(u8::from(i == j))).abs();
            worst = if off.is_nan() { f64::INFINITY } else { worst.max(off) };
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algebra::dense::eigen;
    use rand::Rng;
    use sidereal_core::seed::stream;

    fn random(d: usize, index: u64) -> Dense {
        let mut rng = stream(7, "polar-test", index);
        let mut m = Dense::zeros(d, d);
        m.data_mut().iter_mut().for_each(|v| *v = rng.random::<f64>() - 0.5);
        m
    }

    fn identity(d: usize) -> Dense {
        let mut m = Dense::zeros(d, d);
        (0..d).for_each(|i| m.row_mut(i)[i] = 1.0);
        m
    }

    fn apart(a: &Dense, b: &Dense) -> f64 {
        a.data().iter().zip(b.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn a_rotation_times_a_positive_matrix_gives_the_rotation_back() {
        for d in [1, 2, 3, 17, 64] {
            let mut q = random(d, d as u64);
            q.orthonormalize();
            let p = random(d, 100 + d as u64).gram();
            let got = nearest_orthogonal(&q.times(&p), &identity(d));
            // The smallest eigenvalue of p decides how much the matrix before weighs.
            let (values, _) = eigen(&p);
            let tolerance = 1e-11 + 1e-6 * values[0] / values[d - 1];
            assert!(apart(&got, &q) < tolerance, "{d}: {}", apart(&got, &q));
            assert!(off_identity(&got.gram()) < 1e-11);
        }
    }

    #[test]
    fn the_trace_is_the_sum_of_the_singular_values() {
        // tr(R^T M) = sum of the roots of the eigenvalues of M^T M, by another algorithm.
        let m = random(23, 5);
        let r = nearest_orthogonal(&m, &identity(23));
        let trace: f64 = m.data().iter().zip(r.data()).map(|(a, b)| a * b).sum();
        let want: f64 = eigen(&m.gram()).0.iter().map(|v| v.sqrt()).sum();
        assert!((trace - want).abs() < 1e-6 * want, "{trace} {want}");
    }

    #[test]
    fn singular_matrices_stay_near_the_one_before() {
        let d = 9;
        let mut before = random(d, 3);
        before.orthonormalize();
        assert!(apart(&nearest_orthogonal(&Dense::zeros(d, d), &before), &before) == 0.0);
        // Rank 2: the best trace is still reached, and the result is orthogonal.
        let (mut left, mut right) = (Dense::zeros(d, 2), Dense::zeros(2, d));
        left.data_mut().copy_from_slice(&random(d, 8).data()[..2 * d]);
        right.data_mut().copy_from_slice(&random(d, 9).data()[..2 * d]);
        let m = left.times(&right);
        let r = nearest_orthogonal(&m, &before);
        assert!(off_identity(&r.gram()) < 1e-11);
        let trace: f64 = m.data().iter().zip(r.data()).map(|(a, b)| a * b).sum();
        let want: f64 = eigen(&m.gram()).0.iter().map(|v| v.sqrt()).sum();
        assert!((trace - want).abs() < 1e-5 * want, "{trace} {want}");
        // A rotation of the whole space has determinant -1 as well: reflections are allowed.
        let mut flip = identity(3);
        flip.row_mut(1)[1] = -1.0;
        assert!(apart(&nearest_orthogonal(&flip, &identity(3)), &flip) < 1e-6);
        let mut bad = identity(3);
        bad.row_mut(0)[0] = f64::NAN;
        assert!(apart(&nearest_orthogonal(&bad, &flip), &flip) == 0.0);
    }
}
