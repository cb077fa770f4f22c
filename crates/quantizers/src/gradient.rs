//! How a gradient passes the choice of a code.
//!
//! The code `q` of a residual `r` is found by an argmin, which has no useful derivative. A strategy
//! puts a vector `q~` in the place of `q`: equal in value, so that all that follows sees the code,
//! but with a Jacobian `J = dq~ / dr` of its own.
//!
//! | strategy | `q~` | `J` |
//! |---|---|---|
//! | [`StraightThrough`] | `r + sg(q - r)` | `I` |
//! | [`RotationTrick`] | `a [r - 2 (r.s) s + 2 (r.r^) q^]` | `a (I - 2 s s' + 2 q^ r^')` |
//!
//! with `sg` for stop-gradient, `a = |q| / |r|`, `r^ = r / |r|`, `q^ = q / |q|` and
//! `s = (r^ + q^) / |r^ + q^|`, all four held fixed. The rotation turns the gradient as it turns
//! `r` onto `q`, so the angle between gradient and vector stays the same (arXiv 2410.06424).
//!
//! Rows are of width D. Cost: `O(D)` a row, nothing stored; lengths and products are f64.

/// A gradient's way past the argmin, one row of width D at a time.
pub trait GradientStrategy: Send + Sync {
    /// Writes `q~` to `out`: the code's vector, bit by bit.
    ///
    /// # Panics
    /// When the slices differ in length: a mistake of the caller.
    fn forward(&self, _residual: &[f32], code: &[f32], out: &mut [f32]) {
        out.copy_from_slice(code);
    }

    /// Writes the vector-Jacobian product `J' dout` to `dresidual`. The code gets nothing: it
    /// learns from the loss of its level alone (see [`crate::rvq`]).
    ///
    /// # Panics
    /// When the slices differ in length: a mistake of the caller.
    fn backward(&self, residual: &[f32], code: &[f32], dout: &[f32], dresidual: &mut [f32]);
}

/// The gradient passes as it is (arXiv 1308.3432, as in VQ-VAE).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StraightThrough;

impl GradientStrategy for StraightThrough {
    fn backward(&self, _residual: &[f32], _code: &[f32], dout: &[f32], dresidual: &mut [f32]) {
        dresidual.copy_from_slice(dout);
    }
}

/// The gradient is scaled and turned as the residual is to become its code (arXiv 2410.06424).
///
/// Where the formula has no value:
///
/// - `r` of length [`SHORTEST`] or less has no direction to turn from: `J = I`, as in
///   [`StraightThrough`].
/// - `q` of length [`SHORTEST`] or less: `a` is taken as 0, so `J = 0`, which is the limit from
///   every side.
/// - `q^ = -r^` (to within [`OPPOSITE`]): every half turn through `r^` leads to `q^`. None of their
///   planes is preferred, so `s` is taken as 0: `J = a (I - 2 r^ r^')`, the reflection that takes
///   `r` to `q` and leaves all that is orthogonal to them alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RotationTrick;

/// Vectors of this length or less have no direction.
pub const SHORTEST: f64 = 1e-12;

/// Directions whose sum has this length or less are opposite.
pub const OPPOSITE: f64 = 1e-6;

impl GradientStrategy for RotationTrick {
    fn backward(&self, residual: &[f32], code: &[f32], dout: &[f32], dresidual: &mut [f32]) {
        for len in [code.len(), dout.len(), dresidual.len()] {
            assert_eq!(len, residual.len(), "a residual, its code and gradients have one width");
        }
        let (r, q) = (length(residual), length(code));
        if r <= SHORTEST {
            return dresidual.copy_from_slice(dout);
        }
        if q <= SHORTEST {
            return dresidual.fill(0.0);
        }
        // Along the unit vectors u = r^ and v = q^: dr = a [g - 2 (g.s) s + 2 (g.v) u].
        let directions =
            || residual.iter().zip(code).map(move |(x, y)| (f64::from(*x) / r, f64::from(*y) / q));
        let (mut sum, mut on_sum, mut on_code) = (0.0, 0.0, 0.0);
        for ((u, v), g) in directions().zip(dout) {
            let g = f64::from(*g);
            sum += (u + v) * (u + v);
            on_sum += g * (u + v);
            on_code += g * v;
        }
        // 2 (g.s) s = 2 (g.(u + v)) (u + v) / |u + v|^2.
        let along = if sum.sqrt() <= OPPOSITE { 0.0 } else { 2.0 * on_sum / sum };
        let scale = q / r;
        for (((u, v), g), d) in directions().zip(dout).zip(dresidual) {
            *d = (scale * (f64::from(*g) - along * (u + v) + 2.0 * on_code * u)) as f32;
        }
    }
}

fn length(v: &[f32]) -> f64 {
    v.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `J' g`.
    fn back(strategy: &dyn GradientStrategy, r: &[f32], q: &[f32], g: &[f32]) -> Vec<f32> {
        let mut d = vec![f32::NAN; r.len()];
        strategy.backward(r, q, g, &mut d);
        d
    }

    /// `J`, row by row: row `i` is `J' e_i`.
    fn jacobian(strategy: &dyn GradientStrategy, r: &[f32], q: &[f32]) -> Vec<Vec<f32>> {
        let unit = |i| (0..r.len()).map(|j| if i == j { 1.0 } else { 0.0 }).collect::<Vec<f32>>();
        (0..r.len()).map(|i| back(strategy, r, q, &unit(i))).collect()
    }

    fn value(strategy: &dyn GradientStrategy, r: &[f32], q: &[f32]) -> Vec<f32> {
        let mut out = vec![f32::NAN; r.len()];
        strategy.forward(r, q, &mut out);
        out
    }

    fn close(a: &[Vec<f32>], b: &[Vec<f32>]) -> bool {
        a.iter().flatten().zip(b.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-6)
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    fn wide(v: &[f32]) -> Vec<f64> {
        v.iter().map(|x| f64::from(*x)).collect()
    }

    fn unit(v: &[f64]) -> Vec<f64> {
        let n = dot(v, v).sqrt();
        v.iter().map(|x| x / n).collect()
    }

    /// `q~` as a function of `r`, with the four constants taken at `at`.
    fn rotated(at: &[f32], q: &[f32]) -> impl Fn(&[f64]) -> Vec<f64> + use<> {
        let (at, q) = (wide(at), wide(q));
        let a = (dot(&q, &q) / dot(&at, &at)).sqrt();
        let (r_hat, q_hat) = (unit(&at), unit(&q));
        let s = unit(&r_hat.iter().zip(&q_hat).map(|(a, b)| a + b).collect::<Vec<_>>());
        move |r| {
            let (rs, rr) = (dot(r, &s), dot(r, &r_hat));
            (0..r.len()).map(|i| a * (r[i] - 2.0 * rs * s[i] + 2.0 * rr * q_hat[i])).collect()
        }
    }

    #[test]
    fn a_quarter_turn_by_hand() {
        let (r, q) = ([1.0, 0.0], [0.0, 2.0]);
        assert_eq!(value(&RotationTrick, &r, &q), q);
        let want = [vec![0.0, -2.0], vec![2.0, 0.0]];
        let got = jacobian(&RotationTrick, &r, &q);
        assert!(close(&got, &want), "{got:?}");
        // A gradient at the code is turned back: J' maps (x, y) to (2 y, -2 x).
        let got = back(&RotationTrick, &r, &q, &[3.0, 5.0]);
        assert!(close(std::slice::from_ref(&got), &[vec![10.0, -6.0]]), "{got:?}");
    }

    #[test]
    fn straight_through_is_the_identity() {
        let (r, q) = ([1.0, 0.0], [0.0, 2.0]);
        assert_eq!(value(&StraightThrough, &r, &q), q);
        assert_eq!(jacobian(&StraightThrough, &r, &q), [[1.0, 0.0], [0.0, 1.0]]);
    }

    #[test]
    fn equal_vectors_change_nothing() {
        let r = [0.3, -2.0, 0.7];
        let identity = [vec![1.0, 0.0, 0.0], vec![0.0, 1.0, 0.0], vec![0.0, 0.0, 1.0]];
        assert!(close(&jacobian(&RotationTrick, &r, &r), &identity));
    }

    #[test]
    fn vectors_without_direction() {
        let (zero, v, g) = ([0.0f32; 2], [3.0, 4.0], [1.0, -2.0]);
        assert_eq!(back(&RotationTrick, &zero, &v, &g), g);
        assert_eq!(back(&RotationTrick, &zero, &zero, &g), g);
        assert_eq!(back(&RotationTrick, &v, &zero, &g), [0.0, 0.0]);
        // The limit that the last one stands for.
        let near = back(&RotationTrick, &v, &[1e-7, -1e-7], &g);
        assert!(near.iter().all(|d| d.abs() < 1e-6), "{near:?}");
        for strategy in [&RotationTrick as &dyn GradientStrategy, &StraightThrough] {
            assert_eq!(value(strategy, &zero, &v), v);
            assert_eq!(value(strategy, &v, &zero), zero);
            assert!(back(strategy, &[], &[], &[]).is_empty());
        }
        // Lengths whose squares do not fit f32.
        let got = back(&RotationTrick, &[1e-10, 0.0], &[0.0, 1e-10], &g);
        assert!(close(std::slice::from_ref(&got), &[vec![-2.0, -1.0]]), "{got:?}");
        let got = back(&RotationTrick, &[1e30, 0.0], &[0.0, 1e30], &g);
        assert!(close(std::slice::from_ref(&got), &[vec![-2.0, -1.0]]), "{got:?}");
    }

    #[test]
    fn opposite_vectors_are_reflected() {
        let (r, q) = ([2.0, 0.0, 0.0], [-6.0, 0.0, 0.0]);
        let j = jacobian(&RotationTrick, &r, &q);
        let want = [vec![-3.0, 0.0, 0.0], vec![0.0, 3.0, 0.0], vec![0.0, 0.0, 3.0]];
        assert!(close(&j, &want), "{j:?}");
        // Almost opposite: large nowhere, and still the formula.
        let (r, q, g) = ([1.0, 1e-4, 0.0], [-1.0, 1e-4, 0.0], [1.0, 2.0, 3.0]);
        let d = back(&RotationTrick, &r, &q, &g);
        // s = (0, 1, 0): half a turn in the plane of the first two axes.
        for (d, want) in d.iter().zip([-1.0, -2.0, 3.0]) {
            assert!((d - want).abs() < 1e-3, "{d} {want}");
        }
    }

    proptest! {
        #[test]
        fn differences_with_the_constants_held_fixed(
            rows in (1usize..9).prop_flat_map(|d| {
                let row = || prop::collection::vec(-3.0f32..3.0, d);
                (row(), row(), row(), row())
            }),
        ) {
            let (r, q, g, v) = rows;
            let (r_hat, q_hat) = (wide(&r), wide(&q));
            prop_assume!(dot(&r_hat, &r_hat) > 0.01 && dot(&q_hat, &q_hat) > 0.01);
            let sum: Vec<f64> =
                unit(&r_hat).iter().zip(unit(&q_hat)).map(|(a, b)| a + b).collect();
            prop_assume!(dot(&sum, &sum) > 1e-4);
            let f = rotated(&r, &q);
            // In value the rotation gives the code.
            for (a, b) in f(&wide(&r)).iter().zip(&wide(&q)) {
                prop_assert!((a - b).abs() < 1e-9);
            }
            prop_assert_eq!(&value(&RotationTrick, &r, &q), &q);
            // Its slope along v, seen by g: g . J v = v . J' g.
            let step = 1e-3;
            let at = |t: f64| {
                let r: Vec<f64> = wide(&r).iter().zip(&wide(&v)).map(|(r, v)| r + t * v).collect();
                dot(&f(&r), &wide(&g))
            };
            let numeric = (at(step) - at(-step)) / (2.0 * step);
            let back = back(&RotationTrick, &r, &q, &g);
            let analytic = dot(&wide(&back), &wide(&v));
            let a = (dot(&q_hat, &q_hat) / dot(&r_hat, &r_hat)).sqrt();
            prop_assert!((numeric - analytic).abs() < 1e-4 * (1.0 + a), "{numeric} {analytic}");
            // A scaled rotation: lengths are scaled by a, angles to r and q agree.
            let (g, d) = (wide(&g), wide(&back));
            prop_assert!((dot(&d, &d).sqrt() - a * dot(&g, &g).sqrt()).abs() < 1e-4 * (1.0 + a));
            prop_assert!((dot(&d, &wide(&r)) - dot(&g, &wide(&q))).abs() < 1e-3 * (1.0 + a));
        }
    }
}
