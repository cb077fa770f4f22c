//! Squared differences, and their gradient in the same pass.

use super::math::dot_body;

/// Values whose squares are summed in f32 before the sums are added in f64.
const BLOCK: usize = 1024;

/// Sum of `(y - t)^2`; writes `factor (y - t)` to `dy`.
///
/// # Panics
/// When the slices differ in length: a mistake of the caller.
pub fn squared_error(y: &[f32], t: &[f32], factor: f32, dy: &mut [f32]) -> f64 {
    assert!(y.len() == t.len() && y.len() == dy.len(), "one target and one gradient a value");
    let blocks = y.chunks(BLOCK).zip(t.chunks(BLOCK)).zip(dy.chunks_mut(BLOCK));
    blocks.map(|((y, t), dy)| f64::from(block(y, t, factor, dy))).sum()
}

simd! {
    fn block(y: &[f32], t: &[f32], factor: f32, dy: &mut [f32]) -> f32 {
        for ((d, y), t) in dy.iter_mut().zip(y).zip(t) {
            *d = *y - *t;
        }
        let sum = dot_body(dy, dy);
        for d in dy.iter_mut() {
            *d *= factor;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_gradients_of_every_length() {
        for n in (0..40).chain([BLOCK - 1, BLOCK, 3 * BLOCK + 5]) {
            let y: Vec<f32> = (0..n).map(|i| ((i * 7) % 11) as f32).collect();
            let t: Vec<f32> = (0..n).map(|i| ((i * 5) % 13) as f32).collect();
            let want: f32 = y.iter().zip(&t).map(|(a, b)| (a - b) * (a - b)).sum();
            let mut dy = vec![9.0; n];
            assert_eq!(squared_error(&y, &t, 0.5, &mut dy), f64::from(want));
            assert!(dy.iter().zip(y.iter().zip(&t)).all(|(d, (a, b))| *d == 0.5 * (a - b)));
        }
    }
}
