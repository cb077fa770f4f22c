//! The feed-forward part of a Transformer block: plain (Vaswani et al., arXiv 1706.03762) or gated
//! (Shazeer, arXiv 2002.05202). The dropout after the output and the residual are the caller's.

use super::{Bias, Linear};
use crate::kernels::activation::{Activation, bias_relu_dropout, relu_backward, relu_dropout};
use crate::kernels::dropout::Dropout;
use crate::kernels::gate;
use crate::kernels::gemm::Write;
use crate::kernels::math::size;
use crate::{Init, Params};

/// Shape of a feed-forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedForwardShape {
    /// Width of the hidden layers.
    pub hidden: usize,
    /// Number of hidden layers between input and output, 1 and up; a gated one has one.
    pub hidden_layers: usize,
    /// Whether the matrices have biases; a gated one has none.
    pub bias: Bias,
    /// `None`: ReLU after each hidden layer. `f`: one hidden layer `f(wi_0 x) * wi_1 x`.
    pub gate: Option<Activation>,
}

impl FeedForwardShape {
    /// ReLU with biases, as GRID's blocks have them.
    pub fn biased(hidden: usize, hidden_layers: usize) -> Self {
        FeedForwardShape { hidden, hidden_layers, bias: Bias::With, gate: None }
    }

    /// One hidden layer with ReLU and without biases, T5's own.
    pub fn plain(hidden: usize) -> Self {
        FeedForwardShape { hidden, hidden_layers: 1, bias: Bias::Without, gate: None }
    }

    /// One gated hidden layer without biases: GELU (by tanh) is T5 1.1's, SiLU is SwiGLU.
    pub fn gated(hidden: usize, activation: Activation) -> Self {
        FeedForwardShape { hidden, hidden_layers: 1, bias: Bias::Without, gate: Some(activation) }
    }
}

/// Linear layers with ReLU or a gate between them; dropout on the last hidden layer.
#[derive(Debug, Clone)]
pub struct FeedForward {
    /// A gated one has two: `wi_0` and `wi_1` as one matrix, and `wo`.
    pub(super) layers: Vec<Linear>,
    pub(super) hidden: usize,
    pub(super) gate: Option<Activation>,
}

/// Hidden activations, kept for the backward pass.
#[derive(Debug, Default)]
pub struct FeedForwardState {
    hidden: Vec<Vec<f32>>,
    /// Both halves of a gated layer before the gate, `rows x 2 hidden`.
    halves: Vec<f32>,
    d_hidden: Vec<f32>,
    d_next: Vec<f32>,
}

impl FeedForward {
    /// Adds `{name}.wi`, `{name}.wm.0`, ... and `{name}.wo`; T5 names where there is one hidden
    /// layer. Gated: `{name}.wi_0`, `{name}.wi_1` and `{name}.wo`.
    pub fn new(params: &mut Params, name: &str, width: usize, shape: FeedForwardShape) -> Self {
        let uniform = |inputs: usize| Init::Uniform(1.0 / (inputs as f32).sqrt());
        let (f, bias, gate) = (shape.hidden, shape.bias, shape.gate);
        let mut layers = Vec::with_capacity(shape.hidden_layers + 1);
        if gate.is_some() {
            let mut half = |i: usize| {
                params.add(&format!("{name}.wi_{i}.weight"), &[f, width], uniform(width))
            };
            let both = half(0).join(half(1));
            layers.push(Linear::fused(both, width, 2 * f));
            let wo = format!("{name}.wo");
            layers.push(Linear::new(params, &wo, f, width, Bias::Without, uniform(f)));
            return FeedForward { layers, hidden: f, gate };
        }
        layers.push(Linear::new(params, &format!("{name}.wi"), width, f, bias, uniform(width)));
        for i in 1..shape.hidden_layers {
            let name = format!("{name}.wm.{}", i - 1);
            layers.push(Linear::new(params, &name, f, f, bias, uniform(f)));
        }
        layers.push(Linear::new(params, &format!("{name}.wo"), f, width, bias, uniform(f)));
        FeedForward { layers, hidden: f, gate }
    }

    /// Writes the output for `rows` rows of `x`.
    pub fn forward(
        &self,
        weights: &[f32],
        x: &[f32],
        rows: usize,
        dropout: Dropout,
        site: u32,
        state: &mut FeedForwardState,
        out: &mut [f32],
    ) {
        let last = self.layers.len() - 1;
        state.hidden.resize_with(last, Vec::new);
        if let Some(activation) = self.gate {
            let FeedForwardState { hidden, halves, .. } = state;
            size(halves, rows * 2 * self.hidden);
            size(&mut hidden[0], rows * self.hidden);
            self.layers[0].forward(weights, x, rows, halves);
            gate::forward(activation, halves, self.hidden, dropout, site, &mut hidden[0]);
            return self.layers[1].forward(weights, &hidden[0], rows, out);
        }
        for (i, layer) in self.layers[..last].iter().enumerate() {
            let (before, after) = state.hidden.split_at_mut(i);
            size(&mut after[0], rows * self.hidden);
            let (input, y) = (before.last().map_or(x, |h| h), &mut after[0][..]);
            layer.multiply(weights, input, rows, y, Write::Set);
            let drop = if i + 1 == last { dropout } else { Dropout::none() };
            match layer.bias {
                Some(b) => bias_relu_dropout(y, b.of(weights), drop, site),
                None => relu_dropout(y, drop, site),
            }
        }
        self.layers[last].forward(weights, &state.hidden[last - 1], rows, out);
    }

    /// Sets `dx` from `dy`; adds the gradients of the weights. Follows a forward with the same
    /// state.
    pub fn backward(
        &self,
        weights: &[f32],
        x: &[f32],
        dy: &[f32],
        rows: usize,
        dropout: Dropout,
        site: u32,
        state: &mut FeedForwardState,
        dx: &mut [f32],
        grads: &mut [f32],
    ) {
        let last = self.layers.len() - 1;
        let FeedForwardState { hidden, halves, d_hidden, d_next } = state;
        size(d_hidden, rows * self.hidden);
        let to_hidden = Some((&mut d_hidden[..], Write::Set));
        self.layers[last].backward(weights, &hidden[last - 1], dy, rows, to_hidden, grads);
        if let Some(activation) = self.gate {
            size(d_next, rows * 2 * self.hidden);
            gate::backward(activation, halves, self.hidden, dropout, site, d_hidden, d_next);
            let to_input = Some((dx, Write::Set));
            return self.layers[0].backward(weights, x, d_next, rows, to_input, grads);
        }
        size(d_next, rows * self.hidden);
        for i in (0..last).rev() {
            // Dropped values are zero in the output, so the output's sign is the whole mask.
            let scale = if i + 1 == last { dropout.scale() } else { 1.0 };
            relu_backward(&hidden[i], scale, d_hidden);
            if i == 0 {
                self.layers[0].backward(weights, x, d_hidden, rows, Some((dx, Write::Set)), grads);
                return;
            }
            let to_below = Some((&mut d_next[..], Write::Set));
            self.layers[i].backward(weights, &hidden[i - 1], d_hidden, rows, to_below, grads);
            std::mem::swap(d_hidden, d_next);
        }
    }
}
