//! Sixteen f32 values as one thing, for AVX-512, AVX2 and neither.
//!
//! A vector can only be made by unsafe functions, whose caller vouches for the instruction set;
//! arithmetic on vectors that exist is safe.

use crate::kernels::math::exp_one;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Values of a vector, whatever the instruction set.
pub(super) const LANES: usize = 16;

/// `2^f` for `-0.5 <= f <= 0.5` to 2e-7 relative: a fit at Chebyshev nodes, highest power first.
const POWER: [f32; 6] =
    [1.339_086_7e-3, 9.666_374e-3, 5.550_357e-2, 0.240_223_48, std::f32::consts::LN_2, 1.0];

/// Arguments of the sigmoid are clamped here, where it is 1.6e-38 or 1.
const LIMIT: f32 = 87.0;

/// Sixteen f32 values.
pub(super) trait Vector: Copy {
    /// All lanes `x`.
    ///
    /// # Safety
    /// The processor has the type's instruction set.
    unsafe fn splat(x: f32) -> Self;

    /// Sixteen values from `p`.
    ///
    /// # Safety
    /// As [`Vector::splat`], and sixteen values can be read at `p`.
    unsafe fn load(p: *const f32) -> Self;

    /// Writes all lanes to `p`.
    ///
    /// # Safety
    /// Sixteen values can be written at `p`.
    unsafe fn store(self, p: *mut f32);

    /// Sum.
    fn add(self, b: Self) -> Self;

    /// Product.
    fn mul(self, b: Self) -> Self;

    /// `self * b + c`.
    fn mul_add(self, b: Self, c: Self) -> Self;

    /// `c - self * b`.
    fn neg_mul_add(self, b: Self, c: Self) -> Self;

    /// `1 / (1 + e^-x)`, to 1e-6 relative.
    fn sigmoid(self) -> Self;

    /// The first `n` lanes; zeros behind.
    fn first(self, n: usize) -> Self;
}

/// One AVX-512 register; its instruction set is [`crate::kernels::Isa::V4`].
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Zmm(__m512);

#[cfg(target_arch = "x86_64")]
impl Vector for Zmm {
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Zmm(unsafe { _mm512_set1_ps(x) })
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller vouches for the instruction set and the values at `p`.
        Zmm(unsafe { _mm512_loadu_ps(p) })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller vouches for the place; a vector exists, so do the instructions.
        unsafe { _mm512_storeu_ps(p, self.0) }
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        // SAFETY: a vector exists, so do the instructions.
        Zmm(unsafe { _mm512_add_ps(self.0, b.0) })
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        // SAFETY: a vector exists, so do the instructions.
        Zmm(unsafe { _mm512_mul_ps(self.0, b.0) })
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: a vector exists, so do the instructions.
        Zmm(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn neg_mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: a vector exists, so do the instructions.
        Zmm(unsafe { _mm512_fnmadd_ps(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn sigmoid(self) -> Self {
        // SAFETY: a vector exists, so do the instructions.
        unsafe {
            // The larger of a NaN and a number is the second operand: NaNs pass through.
            let x = _mm512_max_ps(_mm512_set1_ps(-LIMIT), self.0);
            let scale = _mm512_set1_ps(-std::f32::consts::LOG2_E);
            let n = _mm512_roundscale_ps::<8>(_mm512_mul_ps(x, scale));
            let f = _mm512_fmsub_ps(x, scale, n);
            let mut p = _mm512_set1_ps(POWER[0]);
            for c in &POWER[1..] {
                p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(*c));
            }
            let one = _mm512_set1_ps(1.0);
            let d = _mm512_add_ps(one, _mm512_scalef_ps(p, n));
            // A reciprocal of 14 bits and one step of Newton's: half the time of a division.
            let r = _mm512_rcp14_ps(d);
            Zmm(_mm512_fmadd_ps(r, _mm512_fnmadd_ps(d, r, one), r))
        }
    }

    #[inline(always)]
    fn first(self, n: usize) -> Self {
        let mask = if n >= LANES { u16::MAX } else { (1u16 << n) - 1 };
        // SAFETY: a vector exists, so do the instructions.
        Zmm(unsafe { _mm512_maskz_mov_ps(mask, self.0) })
    }
}

/// Two AVX registers; their instruction set is [`crate::kernels::Isa::V3`].
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Ymm([__m256; 2]);

#[cfg(target_arch = "x86_64")]
impl Vector for Ymm {
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Ymm([unsafe { _mm256_set1_ps(x) }; 2])
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller vouches for the instruction set and the values at `p`.
        Ymm(unsafe { [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))] })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller vouches for the place; a vector exists, so do the instructions.
        unsafe {
            _mm256_storeu_ps(p, self.0[0]);
            _mm256_storeu_ps(p.add(8), self.0[1]);
        }
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        // SAFETY: a vector exists, so do the instructions.
        Ymm(unsafe { [_mm256_add_ps(self.0[0], b.0[0]), _mm256_add_ps(self.0[1], b.0[1])] })
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        // SAFETY: a vector exists, so do the instructions.
        Ymm(unsafe { [_mm256_mul_ps(self.0[0], b.0[0]), _mm256_mul_ps(self.0[1], b.0[1])] })
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: a vector exists, so do the instructions.
        Ymm(unsafe {
            [_mm256_fmadd_ps(self.0[0], b.0[0], c.0[0]), _mm256_fmadd_ps(self.0[1], b.0[1], c.0[1])]
        })
    }

    #[inline(always)]
    fn neg_mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: a vector exists, so do the instructions.
        Ymm(unsafe {
            [
                _mm256_fnmadd_ps(self.0[0], b.0[0], c.0[0]),
                _mm256_fnmadd_ps(self.0[1], b.0[1], c.0[1]),
            ]
        })
    }

    #[inline(always)]
    fn sigmoid(self) -> Self {
        // SAFETY: a vector exists, so do the instructions.
        unsafe {
            let mut out = self;
            for x in &mut out.0 {
                // The larger of a NaN and a number is the second operand: NaNs pass through.
                let y = _mm256_max_ps(_mm256_set1_ps(-LIMIT), *x);
                let y = _mm256_min_ps(_mm256_set1_ps(LIMIT), y);
                let scale = _mm256_set1_ps(-std::f32::consts::LOG2_E);
                let n = _mm256_round_ps::<8>(_mm256_mul_ps(y, scale));
                let f = _mm256_fmsub_ps(y, scale, n);
                let mut p = _mm256_set1_ps(POWER[0]);
                for c in &POWER[1..] {
                    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(*c));
                }
                // Times 2^n: n adds to the exponent.
                let n = _mm256_slli_epi32::<23>(_mm256_cvtps_epi32(n));
                let e = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), n));
                let one = _mm256_set1_ps(1.0);
                *x = _mm256_div_ps(one, _mm256_add_ps(one, e));
            }
            out
        }
    }

    #[inline(always)]
    fn first(self, n: usize) -> Self {
        // SAFETY: a vector exists, so do the instructions.
        unsafe {
            let lanes = _mm256_setr_ps(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0);
            let mut out = self;
            for (i, v) in out.0.iter_mut().enumerate() {
                let left = _mm256_set1_ps(n as f32 - 8.0 * i as f32);
                *v = _mm256_and_ps(*v, _mm256_cmp_ps::<_CMP_LT_OQ>(lanes, left));
            }
            out
        }
    }
}

/// Plain values, for every processor.
#[derive(Clone, Copy)]
pub(super) struct Values([f32; LANES]);

impl Values {
    #[inline(always)]
    fn at(self, f: impl Fn(usize) -> f32) -> Self {
        Values(std::array::from_fn(f))
    }
}

impl Vector for Values {
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Values([x; LANES])
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller vouches for sixteen values at `p`.
        Values(unsafe { p.cast::<[f32; LANES]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller vouches for room for sixteen values at `p`.
        unsafe { p.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        self.at(|i| self.0[i] + b.0[i])
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        self.at(|i| self.0[i] * b.0[i])
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        self.at(|i| self.0[i] * b.0[i] + c.0[i])
    }

    #[inline(always)]
    fn neg_mul_add(self, b: Self, c: Self) -> Self {
        self.at(|i| c.0[i] - self.0[i] * b.0[i])
    }

    #[inline(always)]
    fn sigmoid(self) -> Self {
        self.at(|i| 1.0 / (1.0 + exp_one(-self.0[i])))
    }

    #[inline(always)]
    fn first(self, n: usize) -> Self {
        self.at(|i| if i < n { self.0[i] } else { 0.0 })
    }
}

/// One line of cache: the unit of packed buffers, so that no vector lies across two lines.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line([f32; LANES]);

/// A reused buffer of f32 values that begins at a line.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<Line>);

impl Lines {
    /// Makes the buffer hold at least `n` values; contents are unspecified but initialised.
    pub(super) fn size(&mut self, n: usize) {
        let lines = n.div_ceil(LANES);
        if self.0.len() < lines {
            self.0.resize(lines, Line([0.0; LANES]));
        }
    }

    /// The values.
    pub(super) fn all(&self) -> &[f32] {
        // SAFETY: a line is sixteen f32 values without padding.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * LANES) }
    }

    /// The values, writable.
    pub(super) fn all_mut(&mut self) -> &mut [f32] {
        // SAFETY: a line is sixteen f32 values without padding, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * LANES) }
    }
}
