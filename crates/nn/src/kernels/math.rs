//! Reductions and elementwise helpers. Sums run in sixteen fixed lanes, so that a slice has one
//! sum on a given instruction set whatever the thread.

/// Lanes of a reduction: one AVX-512 register of f32.
const LANES: usize = 16;

/// Makes `v` hold `n` values, reusing its memory; contents are unspecified but initialised.
pub fn size(v: &mut Vec<f32>, n: usize) {
    if v.len() != n {
        v.resize(n, 0.0);
    }
}

/// Makes `v` hold at least `n` values, never less than before; contents are unspecified but
/// initialised.
pub(crate) fn size_up(v: &mut Vec<f32>, n: usize) {
    if v.len() < n {
        v.resize(n, 0.0);
    }
}

/// Makes `v` hold `n` zeros, reusing its memory.
pub fn zeros(v: &mut Vec<f32>, n: usize) {
    v.clear();
    v.resize(n, 0.0);
}

#[inline(always)]
pub(crate) fn fold_add(lanes: [f32; LANES]) -> f32 {
    let mut l = lanes;
    let mut n = LANES / 2;
    while n > 0 {
        for i in 0..n {
            l[i] += l[i + n];
        }
        n /= 2;
    }
    l[0]
}

#[inline(always)]
pub(crate) fn dot_body(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let (ca, ra) = a.as_chunks::<LANES>();
    let (cb, rb) = b.as_chunks::<LANES>();
    let mut lanes = [0f32; LANES];
    for (x, y) in ca.iter().zip(cb) {
        for i in 0..LANES {
            lanes[i] += x[i] * y[i];
        }
    }
    fold_add(lanes) + ra.iter().zip(rb).map(|(x, y)| x * y).sum::<f32>()
}

/// Sum of `a b (c - shift)`.
#[inline(always)]
pub(crate) fn dot3_body(a: &[f32], b: &[f32], c: &[f32], shift: f32) -> f32 {
    let (ca, ra) = a.as_chunks::<LANES>();
    let (cb, rb) = b.as_chunks::<LANES>();
    let (cc, rc) = c.as_chunks::<LANES>();
    let mut lanes = [0f32; LANES];
    for ((x, y), z) in ca.iter().zip(cb).zip(cc) {
        for i in 0..LANES {
            lanes[i] += x[i] * y[i] * (z[i] - shift);
        }
    }
    let rest: f32 = ra.iter().zip(rb).zip(rc).map(|((x, y), z)| x * y * (z - shift)).sum();
    fold_add(lanes) + rest
}

#[inline(always)]
pub(crate) fn sum_body(v: &[f32]) -> f32 {
    let (chunks, rest) = v.as_chunks::<LANES>();
    let mut lanes = [0f32; LANES];
    for x in chunks {
        for i in 0..LANES {
            lanes[i] += x[i];
        }
    }
    fold_add(lanes) + rest.iter().sum::<f32>()
}

#[inline(always)]
pub(crate) fn max_body(v: &[f32]) -> f32 {
    let (chunks, rest) = v.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for x in chunks {
        for i in 0..LANES {
            lanes[i] = if x[i] > lanes[i] { x[i] } else { lanes[i] };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |m, &x| if x > m { x } else { m })
}

/// `e^x` to about 2e-7 relative: range reduction by ln 2 in two parts, then a polynomial of degree
/// six (coefficients of the Cephes library's expf).
#[inline(always)]
pub(crate) fn exp_one(x: f32) -> f32 {
    // A NaN passes through `clamp` and the polynomial; -inf ends at the smallest normal number.
    let x = x.clamp(-87.0, 88.0);
    // Adding 1.5 * 2^23 rounds to the nearest whole number and leaves it in the low bits.
    let shifted = x * std::f32::consts::LOG2_E + 12_582_912.0;
    let n = shifted - 12_582_912.0;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1] {
        p = p * r + c;
    }
    let p = p * r * r + r + 1.0;
    // All but the low nine bits leave on the left; they add to the exponent.
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

simd! {
    /// `out = a - b`.
    pub fn difference(a: &[f32], b: &[f32], out: &mut [f32]) {
        for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
            *o = a - b;
        }
    }
}

simd! {
    /// Sum of products of the common length.
    pub fn dot(a: &[f32], b: &[f32]) -> f32 { dot_body(a, b) }
}

simd! {
    /// Sum.
    pub fn sum(v: &[f32]) -> f32 { sum_body(v) }
}

simd! {
    /// Largest value; minus infinity for an empty slice; NaNs are passed over.
    pub fn max(v: &[f32]) -> f32 { max_body(v) }
}

simd! {
    /// `v = e^v`, to about 2e-7 relative; arguments are clamped to `-87..=88`.
    pub fn exp_in_place(v: &mut [f32]) {
        for x in v.iter_mut() {
            *x = exp_one(*x);
        }
    }
}

simd! {
    /// `y += a x`.
    pub fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y += a * *x;
        }
    }
}

simd! {
    /// Adds each row of `x` (`rows x out.len()`) to `out`.
    pub fn add_rows(x: &[f32], out: &mut [f32]) {
        for row in x.chunks_exact(out.len().max(1)) {
            for (o, v) in out.iter_mut().zip(row) {
                *o += *v;
            }
        }
    }
}

simd! {
    /// `x += bias` for rows of `bias.len()` values.
    pub fn add_bias(x: &mut [f32], bias: &[f32]) {
        for row in x.chunks_exact_mut(bias.len().max(1)) {
            for (v, b) in row.iter_mut().zip(bias) {
                *v += *b;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_against_f64() {
        for i in -8600..8790 {
            let x = i as f32 * 0.01;
            let want = f64::from(x).exp();
            let got = f64::from(exp_one(x));
            assert!(((got - want) / want).abs() < 3e-7, "{x}: {got} {want}");
        }
        assert!(exp_one(f32::NAN).is_nan());
        assert!(exp_one(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn reductions_of_every_length() {
        for n in 0..70usize {
            let v: Vec<f32> = (0..n).map(|i| ((i * 37) % 19) as f32 - 9.0).collect();
            assert_eq!(sum(&v), v.iter().sum::<f32>());
            assert_eq!(dot(&v, &v), v.iter().map(|x| x * x).sum::<f32>());
            assert_eq!(max(&v), v.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }
}
