//! Dropout from a counter-based generator: the mask is a hash of (key, site, index), so backward
//! draws the same mask again and nothing is stored.

use crate::Pass;
use sidereal_core::seed::mix;

/// Dropout of one micro-batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    key: u64,
    /// Values whose 31-bit hash lies below are dropped.
    threshold: i32,
    /// `1 / (1 - rate)`.
    scale: f32,
}

/// A mixer of 32-bit counters (multiply, xor-shift; constants of MurmurHash3's finaliser).
#[inline(always)]
fn hash(index: u32, seed: u32) -> i32 {
    let mut h = index.wrapping_mul(0x9E37_79B1) ^ seed;
    h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
    h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
    ((h ^ (h >> 16)) >> 1) as i32
}

#[inline(always)]
fn keep(index: u32, seed: u32, threshold: i32, scale: f32) -> f32 {
    if hash(index, seed) >= threshold { scale } else { 0.0 }
}

impl Dropout {
    /// Keeps everything.
    pub fn none() -> Self {
        Dropout { key: 0, threshold: 0, scale: 1.0 }
    }

    /// Drops with probability `rate` (0 to below 1) while training.
    pub fn new(rate: f32, pass: Pass) -> Self {
        match pass {
            Pass::Train { key } if rate > 0.0 => Dropout {
                key,
                threshold: (f64::from(rate) * 2_147_483_648.0) as i32,
                scale: 1.0 / (1.0 - rate),
            },
            _ => Dropout::none(),
        }
    }

    /// Whether anything can be dropped.
    pub fn is_active(self) -> bool {
        self.threshold > 0
    }

    /// `1 / (1 - rate)`: the factor on what is kept.
    pub fn scale(self) -> f32 {
        self.scale
    }

    /// Seed of a site, and of a part of it.
    fn seed(self, site: u32, part: u64) -> u32 {
        mix(mix(self.key ^ (u64::from(site) << 32)) ^ part) as u32
    }

    /// Factor of one value: 0 or [`Dropout::scale`].
    pub fn keep(self, site: u32, index: u32) -> f32 {
        keep(index, self.seed(site, 0), self.threshold, self.scale)
    }

    /// Drops in place.
    pub fn apply(self, site: u32, x: &mut [f32]) {
        self.apply_part(site, 0, x);
    }

    /// Drops in place with the mask of one part of a site, as in one head of one sequence.
    pub fn apply_part(self, site: u32, part: u64, x: &mut [f32]) {
        if self.is_active() {
            mask(x, self.seed(site, part), self.threshold, self.scale);
        }
    }

    /// `dst = drop(src)`.
    pub fn apply_to(self, site: u32, src: &[f32], dst: &mut [f32]) {
        dst.copy_from_slice(src);
        self.apply(site, dst);
    }

    /// `out += drop(residual)`.
    pub fn add_to(self, site: u32, residual: &[f32], out: &mut [f32]) {
        if self.is_active() {
            add_masked(residual, out, self.seed(site, 0), self.threshold, self.scale);
        } else {
            super::math::axpy(1.0, residual, out);
        }
    }

    /// `x = drop(relu(x))`.
    pub fn relu(self, site: u32, x: &mut [f32]) {
        if self.is_active() {
            relu_masked(x, self.seed(site, 0), self.threshold, self.scale);
        } else {
            super::activation::relu(x);
        }
    }
}

simd! {
    fn mask(x: &mut [f32], seed: u32, threshold: i32, scale: f32) {
        for (i, v) in x.iter_mut().enumerate() {
            *v *= keep(i as u32, seed, threshold, scale);
        }
    }
}

simd! {
    fn add_masked(residual: &[f32], out: &mut [f32], seed: u32, threshold: i32, scale: f32) {
        for (i, (o, r)) in out.iter_mut().zip(residual).enumerate() {
            *o += *r * keep(i as u32, seed, threshold, scale);
        }
    }
}

simd! {
    fn relu_masked(x: &mut [f32], seed: u32, threshold: i32, scale: f32) {
        for (i, v) in x.iter_mut().enumerate() {
            let r = if *v > 0.0 { *v } else { 0.0 };
            *v = r * keep(i as u32, seed, threshold, scale);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_scale_and_independence_of_sites() {
        let n = 200_000;
        for rate in [0.1f32, 0.5] {
            let d = Dropout::new(rate, Pass::Train { key: 9 });
            let draw = |site| {
                let mut x = vec![1f32; n];
                d.apply(site, &mut x);
                x
            };
            let (a, b) = (draw(3), draw(4));
            let dropped = a.iter().filter(|x| **x == 0.0).count() as f64 / n as f64;
            assert!((dropped - f64::from(rate)).abs() < 0.005, "{dropped}");
            assert!(a.iter().all(|&x| x == 0.0 || x == 1.0 / (1.0 - rate)));
            let both = a.iter().zip(&b).filter(|(x, y)| **x == 0.0 && **y == 0.0).count();
            assert!((both as f64 / n as f64 - f64::from(rate * rate)).abs() < 0.005);
            assert_eq!(a, draw(3));
            assert_eq!(a[17], d.keep(3, 17));
        }
    }

    #[test]
    fn evaluation_keeps_everything() {
        assert!(!Dropout::new(0.5, Pass::Evaluate).is_active());
        let mut x = [1.0, -2.0];
        Dropout::none().add_to(0, &[1.0, 1.0], &mut x);
        assert_eq!(x, [2.0, -1.0]);
    }
}
