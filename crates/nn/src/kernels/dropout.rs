//! Dropout (Srivastava et al. 2014) from a counter-based generator: the mask is a hash of (key,
//! site, index), so backward draws the same mask again and nothing is stored. The backward pass of
//! `y = drop(x)` is `dx = drop(dy)` at the same site.

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

/// The mask of one part of a site; indices are counted from 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    seeds: [u32; 2],
    threshold: i32,
    scale: f32,
}

impl Keep {
    /// Factor of one value: 0 or `1 / (1 - rate)`. Two multiply and xor-shift rounds (constants of
    /// Wellons' lowbias32), with half of the 64-bit seed before each.
    #[inline(always)]
    pub(crate) fn at(self, index: u32) -> f32 {
        let mut h = index ^ self.seeds[0];
        h = (h ^ (h >> 16)).wrapping_mul(0x7FEB_352D) ^ self.seeds[1];
        h = (h ^ (h >> 15)).wrapping_mul(0x846C_A68B);
        let h = ((h ^ (h >> 16)) >> 1) as i32;
        if h >= self.threshold { self.scale } else { 0.0 }
    }
}

impl Dropout {
    /// Keeps everything.
    pub fn none() -> Self {
        Dropout { key: 0, threshold: 0, scale: 1.0 }
    }

    /// Drops with probability `rate` (0 to below 1) while training.
    pub fn new(rate: f32, pass: Pass) -> Self {
        debug_assert!((0.0..1.0).contains(&rate), "a dropout rate is 0 to below 1, not {rate}");
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

    /// The mask of one part of a site; none when nothing is dropped.
    pub(crate) fn keeper(self, site: u32, part: u64) -> Option<Keep> {
        let seed = mix(mix(self.key ^ (u64::from(site) << 32)) ^ part);
        let seeds = [seed as u32, (seed >> 32) as u32];
        self.is_active().then_some(Keep { seeds, threshold: self.threshold, scale: self.scale })
    }

    /// Factor of one value: 0 or [`Dropout::scale`].
    pub fn keep(self, site: u32, index: u32) -> f32 {
        self.keep_part(site, 0, index)
    }

    /// Factor of one value of a part of a site. In attention, part `span * heads + head` holds the
    /// weight of query `i` and key `j` at index `i * k_len + j`.
    pub fn keep_part(self, site: u32, part: u64, index: u32) -> f32 {
        self.keeper(site, part).map_or(1.0, |k| k.at(index))
    }

    /// The mask of the first `out.len()` values of a part of a site, for networks that multiply by
    /// it themselves: 1 where a value is kept, with factor [`Dropout::scale`], 0 where it is not.
    pub fn mask_part(self, site: u32, part: u64, out: &mut [u8]) {
        match self.keeper(site, part) {
            Some(keep) => mask_bytes(out, keep),
            None => out.fill(1),
        }
    }

    /// Drops in place.
    pub fn apply(self, site: u32, x: &mut [f32]) {
        if let Some(keep) = self.keeper(site, 0) {
            mask(x, keep);
        }
    }

    /// `dst = drop(src)`.
    pub fn apply_to(self, site: u32, src: &[f32], dst: &mut [f32]) {
        assert_eq!(src.len(), dst.len(), "dropout keeps the shape");
        match self.keeper(site, 0) {
            Some(keep) => mask_to(src, dst, keep),
            None => dst.copy_from_slice(src),
        }
    }

    /// `out += drop(residual)`.
    pub fn add_to(self, site: u32, residual: &[f32], out: &mut [f32]) {
        assert_eq!(residual.len(), out.len(), "dropout keeps the shape");
        match self.keeper(site, 0) {
            Some(keep) => add_masked(residual, out, keep),
            None => super::math::axpy(1.0, residual, out),
        }
    }

    /// `x = drop(relu(x))`; see [`super::activation::relu_dropout`].
    pub fn relu(self, site: u32, x: &mut [f32]) {
        super::activation::relu_dropout(x, self, site);
    }
}

simd! {
    fn mask_bytes(out: &mut [u8], keep: Keep) {
        for (i, v) in out.iter_mut().enumerate() {
            *v = u8::from(keep.at(i as u32) != 0.0);
        }
    }
}

simd! {
    fn mask(x: &mut [f32], keep: Keep) {
        for (i, v) in x.iter_mut().enumerate() {
            *v *= keep.at(i as u32);
        }
    }
}

simd! {
    fn mask_to(src: &[f32], dst: &mut [f32], keep: Keep) {
        for (i, (d, s)) in dst.iter_mut().zip(src).enumerate() {
            *d = *s * keep.at(i as u32);
        }
    }
}

simd! {
    fn add_masked(residual: &[f32], out: &mut [f32], keep: Keep) {
        for (i, (o, r)) in out.iter_mut().zip(residual).enumerate() {
            *o += *r * keep.at(i as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_scale_and_independence() {
        let n = 200_000;
        for rate in [0.1f32, 0.5] {
            let draw = |key, site| {
                let mut x = vec![1f32; n];
                Dropout::new(rate, Pass::Train { key }).apply(site, &mut x);
                x
            };
            let p = f64::from(rate);
            // Five standard deviations.
            let near = |count: usize, n: usize, p: f64| {
                let share = count as f64 / n as f64;
                assert!((share - p).abs() < 5.0 * (p * (1.0 - p) / n as f64).sqrt(), "{share} {p}");
            };
            let a = draw(9, 3);
            near(a.iter().filter(|x| **x == 0.0).count(), n, p);
            assert!(a.iter().all(|&x| x == 0.0 || x == 1.0 / (1.0 - rate)));
            assert_eq!(a, draw(9, 3));
            for other in [draw(9, 4), draw(10, 3)] {
                let both = a.iter().zip(&other).filter(|(x, y)| **x == 0.0 && **y == 0.0);
                near(both.count(), n, p * p);
            }
            // Neighbours at any power of two do not know of each other.
            for lag in (0..12).map(|s| 1 << s) {
                let pairs = a.iter().zip(&a[lag..]).filter(|(x, y)| **x == 0.0 && **y == 0.0);
                near(pairs.count(), n - lag, p * p);
            }
        }
    }

    #[test]
    fn all_ways_draw_one_mask() {
        let d = Dropout::new(0.4, Pass::Train { key: 1 });
        let x: Vec<f32> = (0..77).map(|i| i as f32 - 30.5).collect();
        let want: Vec<f32> = (0..77).map(|i| x[i] * d.keep(5, i as u32)).collect();
        let mut a = x.clone();
        d.apply(5, &mut a);
        let mut b = vec![9.0; 77];
        d.apply_to(5, &x, &mut b);
        let mut c = vec![0.0; 77];
        d.add_to(5, &x, &mut c);
        let mut r = x.clone();
        d.relu(5, &mut r);
        assert_eq!(a, want);
        assert_eq!(b, want);
        for part in [0, 3] {
            let mut bytes = [7u8; 77];
            d.mask_part(5, part, &mut bytes);
            for (i, &byte) in bytes.iter().enumerate() {
                assert_eq!(f32::from(byte) * d.scale(), d.keep_part(5, part, i as u32));
            }
            Dropout::none().mask_part(5, part, &mut bytes);
            assert_eq!(bytes, [1; 77]);
        }
        for i in 0..77 {
            assert_eq!(c[i], want[i]);
            assert_eq!(r[i], want[i].max(0.0));
        }
    }

    #[test]
    fn evaluation_keeps_everything() {
        assert!(!Dropout::new(0.5, Pass::Evaluate).is_active());
        assert!(!Dropout::new(0.0, Pass::Train { key: 1 }).is_active());
        let mut x = [1.0, -2.0];
        Dropout::none().add_to(0, &[1.0, 1.0], &mut x);
        assert_eq!(x, [2.0, -1.0]);
    }
}
