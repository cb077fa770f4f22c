//! The normal distribution function by one polynomial, and GELU with the bias before it.
//!
//! GELU (Hendrycks and Gimpel, arXiv 1606.08415) is `x Phi(x)`. Here `Phi(x) = 1/2 + x R(x^2)` with
//! `R` a polynomial of degree 15 on `|x| <= 5.5`, fitted so that the largest `|x|` times error is
//! least: neither exponential nor division, 16 fused multiply-adds a value. `Phi` is right to
//! 1.5e-7; PyTorch's f32 error function reaches 1.1e-7. Below -5.5 the result is zero (true:
//! -1e-7 at most).

use super::activation::Activation;
use super::dropout::Dropout;
use super::math::add_bias;

/// Beyond this, `Phi` is 0 or 1 in f32.
const REACH: f32 = 5.5;

/// `R` in powers of `2 x^2 / REACH^2 - 1`, highest first.
const R: [f32; 16] = [
    -2.381_879_7e-4,
    6.331_354e-4,
    -5.236_139_4e-4,
    7.153_088e-4,
    -2.425_400_8e-3,
    4.627_461e-3,
    -6.815_802e-3,
    1.022_453_05e-2,
    -1.500_037_7e-2,
    2.036_553_6e-2,
    -2.604_805_9e-2,
    3.207_012_6e-2,
    -3.879_279_6e-2,
    4.773_763_6e-2,
    -6.417_233_5e-2,
    1.285_519_3e-1,
];

/// `Phi(x)`; NaN stays NaN. Written with `mul_add`, one instruction wherever kernels are
/// vectorised, so that rounding is the same on every instruction set.
#[inline(always)]
pub(crate) fn phi(x: f32) -> f32 {
    let c = x.clamp(-REACH, REACH);
    let u = (c * c).mul_add(2.0 / (REACH * REACH), -1.0);
    let mut p = R[0];
    for r in &R[1..] {
        p = p.mul_add(u, *r);
    }
    let phi = c.mul_add(p, 0.5);
    if x < -REACH { 0.0 } else { phi }
}

/// `x = f(x + bias)` for rows of `bias.len()` values.
pub fn bias_activation(x: &mut [f32], bias: &[f32], activation: Activation) {
    match activation {
        Activation::Gelu => bias_gelu(x, bias),
        Activation::Relu => super::activation::bias_relu_dropout(x, bias, Dropout::none(), 0),
        other => {
            add_bias(x, bias);
            other.forward(x);
        }
    }
}

simd! {
    fn bias_gelu(x: &mut [f32], bias: &[f32]) {
        for row in x.chunks_exact_mut(bias.len().max(1)) {
            for (v, b) in row.iter_mut().zip(bias) {
                let s = *v + *b;
                *v = s * phi(s);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Phi` in f64: `1/2 + phi(x) (x + x^3 / 3 + x^5 / 15 + ...)`, all terms of one sign.
    fn phi_f64(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        let mut n = 1.0;
        while term.abs() > 1e-18 * sum.abs() {
            n += 2.0;
            term *= x * x / n;
            sum += term;
        }
        0.5 + sum * (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
    }

    #[test]
    fn normal_distribution_against_its_series() {
        assert!((phi_f64(1.0) - 0.841_344_746_068_543).abs() < 1e-14);
        for i in -60_000..=60_000 {
            let x = i as f32 * 1e-4;
            let off = (f64::from(phi(x)) - phi_f64(f64::from(x))).abs();
            assert!(off < 1.6e-7, "{x}: off by {off:e}");
        }
        assert_eq!([phi(-40.0), phi(f32::NEG_INFINITY)], [0.0, 0.0]);
        assert!((phi(f32::INFINITY) - 1.0).abs() < 1.2e-7);
        assert!(phi(f32::NAN).is_nan());
    }

    #[test]
    fn bias_and_activation_in_one_pass() {
        let bias: Vec<f32> = (0..37).map(|i| i as f32 * 0.1 - 2.0).collect();
        let x: Vec<f32> = (0..3 * 37).map(|i| ((i * 29) % 83) as f32 * 0.1 - 4.0).collect();
        let tanh = |s: f64| {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (s + 0.044_715 * s * s * s);
            0.5 * s * (1.0 + u.tanh())
        };
        type Definition<'a> = &'a dyn Fn(f64) -> f64;
        let cases: [(Activation, Definition<'_>); 5] = [
            (Activation::Gelu, &|s| s * phi_f64(s)),
            (Activation::GeluTanh, &tanh),
            (Activation::Relu, &|s| s.max(0.0)),
            (Activation::Silu, &|s| s / (1.0 + (-s).exp())),
            (Activation::Sigmoid, &|s| 1.0 / (1.0 + (-s).exp())),
        ];
        for (activation, definition) in cases {
            let mut y = x.clone();
            bias_activation(&mut y, &bias, activation);
            for (i, y) in y.iter().enumerate() {
                let s = x[i] + bias[i % 37];
                let want = definition(f64::from(s));
                let limit = 4e-7
                    * f64::from(s.abs()).max(if activation == Activation::Sigmoid {
                        1.0
                    } else {
                        0.1
                    });
                assert!((f64::from(*y) - want).abs() <= limit, "{activation:?} {s}: {y} {want}");
            }
        }
        bias_activation(&mut [], &[], Activation::Gelu);
    }
}
