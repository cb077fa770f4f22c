//! Small symmetric positive definite systems, in place and in f64.

/// Upper `R` with `R^T R = a` for a positive semidefinite `a` (`l x l`, of which the upper triangle
/// is read and replaced). A pivot of at most `floor` of its row becomes zero, and its row with it.
pub fn factor(a: &mut [f64], l: usize, floor: impl Fn(usize) -> f64) {
    for k in 0..l {
        let (head, tail) = a.split_at_mut((k + 1) * l);
        let row = &mut head[k * l..];
        let pivot = row[k];
        if pivot <= floor(k) || pivot <= f64::MIN_POSITIVE {
            row[k..].fill(0.0);
            continue;
        }
        let root = pivot.sqrt();
        for v in &mut row[k..] {
            *v /= root;
        }
        for (i, line) in tail.chunks_exact_mut(l).enumerate() {
            let i = k + 1 + i;
            let f = row[i];
            for (o, v) in line[i..].iter_mut().zip(&row[i..]) {
                *o -= f * v;
            }
        }
    }
}

/// Replaces `b` with `x` where `R^T R x = b`, for an `R` of [`factor`]. An unknown without a pivot
/// becomes zero.
pub fn solve(r: &[f64], l: usize, b: &mut [f64]) {
    let divide = |v: f64, pivot: f64| if pivot > 0.0 { v / pivot } else { 0.0 };
    for i in 0..l {
        b[i] = divide(b[i], r[i * l + i]);
        let (done, rest) = b.split_at_mut(i + 1);
        for (o, v) in rest.iter_mut().zip(&r[i * l + i + 1..(i + 1) * l]) {
            *o -= done[i] * v;
        }
    }
    for i in (0..l).rev() {
        let (head, known) = b.split_at_mut(i + 1);
        let sum: f64 = r[i * l + i + 1..(i + 1) * l].iter().zip(&*known).map(|(r, x)| r * x).sum();
        head[i] = divide(head[i] - sum, r[i * l + i]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use sidereal_core::seed::stream;

    #[test]
    fn solutions_satisfy_their_system() {
        let mut rng = stream(1, "solve-test", 0);
        for l in [1, 2, 5, 17] {
            let m: Vec<f64> = (0..(l + 2) * l).map(|_| rng.random::<f64>() - 0.5).collect();
            let at = |i: usize, j: usize| -> f64 {
                let ridge = if i == j { 0.1 } else { 0.0 };
                ridge + (0..l + 2).map(|k| m[k * l + i] * m[k * l + j]).sum::<f64>()
            };
            let mut a: Vec<f64> = (0..l * l).map(|c| at(c / l, c % l)).collect();
            let want: Vec<f64> = (0..l).map(|i| i as f64 - 1.5).collect();
            let mut b: Vec<f64> =
                (0..l).map(|i| (0..l).map(|j| at(i, j) * want[j]).sum()).collect();
            factor(&mut a, l, |_| 0.0);
            solve(&a, l, &mut b);
            for (x, y) in b.iter().zip(&want) {
                assert!((x - y).abs() < 1e-10, "{x} {y}");
            }
        }
    }

    #[test]
    fn unknowns_without_a_pivot_are_zero() {
        let mut a = [4.0, 0.0, 0.0, 0.0];
        factor(&mut a, 2, |_| 0.0);
        let mut b = [8.0, 1.0];
        solve(&a, 2, &mut b);
        assert_eq!(b, [2.0, 0.0]);
    }
}
