//! Activations in place, and their backward passes.
//!
//! GELU (Hendrycks and Gimpel, arXiv 1606.08415) exactly, through the error function, and by its
//! tanh approximation; SiLU (arXiv 1702.03118).

use super::dropout::{Dropout, Keep};
use super::gelu::phi;
use super::math::exp_one;

/// A function of single values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x Phi(x)`; see [`super::gelu`].
    Gelu,
    /// `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`.
    GeluTanh,
    /// `x / (1 + e^-x)`.
    Silu,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
}

impl Activation {
    /// `x = f(x)`.
    pub fn forward(self, x: &mut [f32]) {
        match self {
            Activation::Relu => relu(x),
            Activation::Gelu => gelu(x),
            Activation::GeluTanh => gelu_tanh(x),
            Activation::Silu => silu(x),
            Activation::Sigmoid => sigmoid_in_place(x),
        }
    }

    /// `dy = dy f'(x)` from the values before the activation.
    pub fn backward(self, x: &[f32], dy: &mut [f32]) {
        assert_eq!(x.len(), dy.len(), "one gradient a value");
        match self {
            Activation::Relu => relu_backward(x, 1.0, dy),
            Activation::Gelu => gelu_backward(x, dy),
            Activation::GeluTanh => gelu_tanh_backward(x, dy),
            Activation::Silu => silu_backward(x, dy),
            Activation::Sigmoid => sigmoid_backward(x, dy),
        }
    }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp_one(-x))
}

const ROOT_2_OVER_PI: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

simd! {
    fn sigmoid_in_place(x: &mut [f32]) {
        for v in x.iter_mut() {
            *v = sigmoid(*v);
        }
    }
}

simd! {
    fn sigmoid_backward(x: &[f32], dy: &mut [f32]) {
        for (g, &x) in dy.iter_mut().zip(x) {
            let s = sigmoid(x);
            *g *= s * (1.0 - s);
        }
    }
}

simd! {
    /// `x = max(x, 0)`.
    pub fn relu(x: &mut [f32]) {
        for v in x.iter_mut() {
            *v = if *v > 0.0 { *v } else { 0.0 };
        }
    }
}

simd! {
    fn gelu(x: &mut [f32]) {
        for v in x.iter_mut() {
            *v *= phi(*v);
        }
    }
}

simd! {
    fn gelu_backward(x: &[f32], dy: &mut [f32]) {
        for (g, &x) in dy.iter_mut().zip(x) {
            *g *= phi(x) + x * exp_one(-0.5 * x * x) * (0.5 * ROOT_2_OVER_PI);
        }
    }
}

simd! {
    fn gelu_tanh(x: &mut [f32]) {
        for v in x.iter_mut() {
            // (1 + tanh u) / 2 is the sigmoid of 2 u.
            *v *= sigmoid(2.0 * ROOT_2_OVER_PI * (*v + CUBIC * *v * *v * *v));
        }
    }
}

simd! {
    fn gelu_tanh_backward(x: &[f32], dy: &mut [f32]) {
        for (g, &x) in dy.iter_mut().zip(x) {
            let s = sigmoid(2.0 * ROOT_2_OVER_PI * (x + CUBIC * x * x * x));
            let slope = 2.0 * ROOT_2_OVER_PI * (1.0 + 3.0 * CUBIC * x * x);
            *g *= s + x * s * (1.0 - s) * slope;
        }
    }
}

simd! {
    fn silu(x: &mut [f32]) {
        for v in x.iter_mut() {
            *v *= sigmoid(*v);
        }
    }
}

simd! {
    fn silu_backward(x: &[f32], dy: &mut [f32]) {
        for (g, &x) in dy.iter_mut().zip(x) {
            let s = sigmoid(x);
            *g *= s + x * s * (1.0 - s);
        }
    }
}

/// `x = drop(relu(x))`.
pub fn relu_dropout(x: &mut [f32], dropout: Dropout, site: u32) {
    match dropout.keeper(site, 0) {
        Some(keep) => relu_masked(x, keep),
        None => relu(x),
    }
}

/// `x = drop(relu(x + bias))` for rows of `bias.len()` values: one pass instead of three.
pub fn bias_relu_dropout(x: &mut [f32], bias: &[f32], dropout: Dropout, site: u32) {
    match dropout.keeper(site, 0) {
        Some(keep) => bias_relu_masked(x, bias, keep),
        None => bias_relu(x, bias),
    }
}

simd! {
    fn relu_masked(x: &mut [f32], keep: Keep) {
        for (i, v) in x.iter_mut().enumerate() {
            let r = if *v > 0.0 { *v } else { 0.0 };
            *v = r * keep.at(i as u32);
        }
    }
}

simd! {
    fn bias_relu_masked(x: &mut [f32], bias: &[f32], keep: Keep) {
        let cols = bias.len().max(1);
        for (r, row) in x.chunks_exact_mut(cols).enumerate() {
            let first = (r * cols) as u32;
            for (i, (v, b)) in row.iter_mut().zip(bias).enumerate() {
                let s = *v + *b;
                let s = if s > 0.0 { s } else { 0.0 };
                *v = s * keep.at(first.wrapping_add(i as u32));
            }
        }
    }
}

simd! {
    fn bias_relu(x: &mut [f32], bias: &[f32]) {
        for row in x.chunks_exact_mut(bias.len().max(1)) {
            for (v, b) in row.iter_mut().zip(bias) {
                let s = *v + *b;
                *v = if s > 0.0 { s } else { 0.0 };
            }
        }
    }
}

simd! {
    /// Gradient through `y = drop(relu(x))` from the output: what was dropped or negative is zero
    /// there, so its sign is the whole mask. `scale` is [`Dropout::scale`].
    pub fn relu_backward(y: &[f32], scale: f32, dy: &mut [f32]) {
        for (g, y) in dy.iter_mut().zip(y) {
            *g = if *y > 0.0 { *g * scale } else { 0.0 };
        }
    }
}
