//! Checks and limits on gradients.

use crate::kernels::simd;

/// Values whose squares are summed together before sums are added up: fixed, so that a norm is
/// the same bits whatever the caller does.
const CHUNK: usize = 4096;

simd! {
    /// Sum of squares in f64, in eight fixed lanes.
    fn squares(v: &[f32]) -> f64 {
        let (chunks, rest) = v.as_chunks::<8>();
        let mut lanes = [0f64; 8];
        for x in chunks {
            for i in 0..8 {
                let x = f64::from(x[i]);
                lanes[i] += x * x;
            }
        }
        let mut total = 0.0;
        for l in lanes {
            total += l;
        }
        for &x in rest {
            total += f64::from(x) * f64::from(x);
        }
        total
    }
}

/// Euclidean norm.
pub fn norm(v: &[f32]) -> f64 {
    v.chunks(CHUNK).map(squares).sum::<f64>().sqrt()
}

simd! {
    fn scale(v: &mut [f32], factor: f32) {
        v.iter_mut().for_each(|x| *x *= factor);
    }
}

/// Shrinks `grads` to norm `max_norm` when they are longer; gives the norm they had. A norm that
/// is not finite leaves them as they are, for the caller to refuse.
pub fn clip_by_norm(grads: &mut [f32], max_norm: f64) -> f64 {
    let norm = norm(grads);
    if norm > max_norm && norm.is_finite() {
        scale(grads, (max_norm / norm) as f32);
    }
    norm
}

simd! {
    /// Whether any value is NaN or infinite: `x * 0` is 0 for every finite value and NaN else.
    fn any_not_finite(v: &[f32]) -> bool {
        let (chunks, rest) = v.as_chunks::<16>();
        let mut lanes = [0f32; 16];
        for x in chunks {
            for i in 0..16 {
                lanes[i] += x[i] * 0.0;
            }
        }
        lanes.iter().any(|x| x.is_nan()) || rest.iter().any(|x| !x.is_finite())
    }
}

/// Index of the first value that is NaN or infinite.
pub fn first_not_finite(v: &[f32]) -> Option<usize> {
    let chunk = v.chunks(CHUNK).position(any_not_finite)?;
    let start = chunk * CHUNK;
    v[start..].iter().position(|x| !x.is_finite()).map(|i| start + i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_only_what_is_too_long() {
        let mut g = [3.0, 0.0, -4.0];
        assert_eq!(clip_by_norm(&mut g, 10.0), 5.0);
        assert_eq!(g, [3.0, 0.0, -4.0]);
        assert_eq!(clip_by_norm(&mut g, 1.0), 5.0);
        assert!((norm(&g) - 1.0).abs() < 1e-6);
        assert!((g[0] - 0.6).abs() < 1e-6);
        let mut bad = [f32::NAN, 1.0];
        assert!(clip_by_norm(&mut bad, 1.0).is_nan());
        assert_eq!(bad[1], 1.0);
        assert_eq!(clip_by_norm(&mut [], 1.0), 0.0);
        // Squares of large values leave f32 but not f64.
        assert!((norm(&[1e30, 1e30]) - 2f64.sqrt() * 1e30).abs() < 1e24);
    }

    #[test]
    fn finds_the_first_value_that_is_not_finite() {
        let mut v = vec![1e38f32; 3 * CHUNK + 5];
        assert_eq!(first_not_finite(&v), None);
        for at in [3 * CHUNK + 4, 2 * CHUNK, CHUNK - 1, 0] {
            v[at] = if at % 2 == 0 { f32::NAN } else { f32::NEG_INFINITY };
            assert_eq!(first_not_finite(&v), Some(at));
        }
        assert_eq!(first_not_finite(&[]), None);
    }
}
