//! Layers that know where their weights live in the flat buffer.

use crate::kernels::activation::{bias_relu_dropout, relu_backward, relu_dropout};
use crate::kernels::dropout::Dropout;
use crate::kernels::gemm::{Mat, Write, gemm};
use crate::kernels::math::{add_rows, size};
use crate::kernels::norm;
use crate::{Init, Params, Slot};

/// Whether a linear layer adds a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bias {
    /// `y = x W^T + b`.
    With,
    /// `y = x W^T`.
    Without,
}

/// A matrix `outputs x inputs` and an optional bias.
#[derive(Debug, Clone, Copy)]
pub struct Linear {
    weight: Slot,
    bias: Option<Slot>,
    inputs: usize,
    outputs: usize,
}

impl Linear {
    /// Adds `{name}.weight` and, with a bias, `{name}.bias`, which starts like the weight.
    pub fn new(
        params: &mut Params,
        name: &str,
        inputs: usize,
        outputs: usize,
        bias: Bias,
        init: Init,
    ) -> Self {
        let weight = params.add(&format!("{name}.weight"), &[outputs, inputs], init);
        let bias =
            (bias == Bias::With).then(|| params.add(&format!("{name}.bias"), &[outputs], init));
        Linear { weight, bias, inputs, outputs }
    }

    /// Several matrices of the same input that lie one after the other, as one.
    pub fn fused(weight: Slot, inputs: usize, outputs: usize) -> Self {
        assert_eq!(weight.len, inputs * outputs, "a fused matrix is outputs x inputs");
        Linear { weight, bias: None, inputs, outputs }
    }

    /// `y = x W^T` for `rows` rows: the bias is left to the caller, who fuses it.
    fn multiply(&self, weights: &[f32], x: &[f32], rows: usize, y: &mut [f32], write: Write) {
        let (i, o) = (self.inputs, self.outputs);
        gemm(rows, o, i, Mat::rows(x, i), Mat::rows(self.weight.of(weights), i).t(), y, o, write);
    }

    /// `y = x W^T + b` for `rows` rows.
    pub fn forward(&self, weights: &[f32], x: &[f32], rows: usize, y: &mut [f32]) {
        let write = match self.bias {
            Some(b) => {
                y.chunks_exact_mut(self.outputs).for_each(|row| row.copy_from_slice(b.of(weights)));
                Write::Add
            }
            None => Write::Set,
        };
        self.multiply(weights, x, rows, y, write);
    }

    /// Adds the gradients of weight and bias; sets or adds that of `x` where it is asked for.
    pub fn backward(
        &self,
        weights: &[f32],
        x: &[f32],
        dy: &[f32],
        rows: usize,
        dx: Option<(&mut [f32], Write)>,
        grads: &mut [f32],
    ) {
        let (i, o) = (self.inputs, self.outputs);
        let g = Mat::rows(dy, o);
        gemm(o, i, rows, g.t(), Mat::rows(x, i), self.weight.of_mut(grads), i, Write::Add);
        if let Some(b) = self.bias {
            add_rows(&dy[..rows * o], b.of_mut(grads));
        }
        if let Some((dx, write)) = dx {
            gemm(rows, i, o, g, Mat::rows(self.weight.of(weights), i), dx, i, write);
        }
    }
}

/// RMSNorm; see [`norm::rms_norm`].
#[derive(Debug, Clone, Copy)]
pub struct RmsNorm {
    weight: Slot,
    /// Width of a row.
    pub width: usize,
    eps: f32,
}

impl RmsNorm {
    /// Adds `{name}.weight`, all ones.
    pub fn new(params: &mut Params, name: &str, width: usize, eps: f32) -> Self {
        RmsNorm { weight: params.add(&format!("{name}.weight"), &[width], Init::Ones), width, eps }
    }

    /// `y = norm(x)`; `inv` takes one value a row.
    pub fn forward(&self, weights: &[f32], x: &[f32], y: &mut [f32], inv: &mut [f32]) {
        norm::rms_norm(x, self.weight.of(weights), self.eps, y, inv);
    }

    /// Sets or adds the gradient of `x`; adds that of the weight.
    pub fn backward(
        &self,
        weights: &[f32],
        x: &[f32],
        inv: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        write: Write,
        grads: &mut [f32],
    ) {
        let (w, dw) = (self.weight.of(weights), self.weight.of_mut(grads));
        norm::rms_norm_backward(x, w, inv, dy, dx, dw, write);
    }
}

/// LayerNorm; see [`norm::layer_norm`].
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm {
    weight: Slot,
    bias: Slot,
    /// Width of a row.
    pub width: usize,
    eps: f32,
}

impl LayerNorm {
    /// Adds `{name}.weight`, all ones, and `{name}.bias`, all zeros.
    pub fn new(params: &mut Params, name: &str, width: usize, eps: f32) -> Self {
        let weight = params.add(&format!("{name}.weight"), &[width], Init::Ones);
        let bias = params.add(&format!("{name}.bias"), &[width], Init::Zeros);
        LayerNorm { weight, bias, width, eps }
    }

    /// `y = norm(x)`; `stats` takes two values a row.
    pub fn forward(&self, weights: &[f32], x: &[f32], y: &mut [f32], stats: &mut [f32]) {
        let (w, b) = (self.weight.of(weights), self.bias.of(weights));
        norm::layer_norm(x, w, b, self.eps, y, stats);
    }

    /// Sets or adds the gradient of `x`; adds those of weight and bias.
    pub fn backward(
        &self,
        weights: &[f32],
        x: &[f32],
        stats: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        write: Write,
        grads: &mut [f32],
    ) {
        // Weight and bias are adjacent, so that one slice splits into both gradients.
        let both = self.weight.join(self.bias).of_mut(grads);
        let (dw, db) = both.split_at_mut(self.width);
        norm::layer_norm_backward(x, self.weight.of(weights), stats, dy, dx, dw, db, write);
    }
}

/// Shape of a feed-forward: `hidden_layers` layers of `hidden` values between input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedForwardShape {
    /// Width of the hidden layers.
    pub hidden: usize,
    /// Number of hidden layers, 1 and up.
    pub hidden_layers: usize,
    /// Whether the matrices have biases.
    pub bias: Bias,
}

impl FeedForwardShape {
    /// With biases, as GRID's blocks have them.
    pub fn biased(hidden: usize, hidden_layers: usize) -> Self {
        FeedForwardShape { hidden, hidden_layers, bias: Bias::With }
    }
}

/// Linear layers with ReLU between them; dropout on the last hidden layer. The dropout after the
/// output and the residual are the caller's.
#[derive(Debug, Clone)]
pub struct FeedForward {
    layers: Vec<Linear>,
    hidden: usize,
}

/// Hidden activations, kept for the backward pass.
#[derive(Debug, Default)]
pub struct FeedForwardState {
    hidden: Vec<Vec<f32>>,
    d_hidden: Vec<f32>,
    d_next: Vec<f32>,
}

impl FeedForward {
    /// Adds `{name}.wi`, `{name}.wm.0`, ... and `{name}.wo`; T5 names where there is one hidden
    /// layer.
    pub fn new(params: &mut Params, name: &str, width: usize, shape: FeedForwardShape) -> Self {
        let uniform = |inputs: usize| Init::Uniform(1.0 / (inputs as f32).sqrt());
        let (f, bias) = (shape.hidden, shape.bias);
        let mut layers =
            vec![Linear::new(params, &format!("{name}.wi"), width, f, bias, uniform(width))];
        for i in 1..shape.hidden_layers {
            let name = format!("{name}.wm.{}", i - 1);
            layers.push(Linear::new(params, &name, f, f, bias, uniform(f)));
        }
        layers.push(Linear::new(params, &format!("{name}.wo"), f, width, bias, uniform(f)));
        FeedForward { layers, hidden: f }
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
        _site: u32,
        state: &mut FeedForwardState,
        dx: &mut [f32],
        grads: &mut [f32],
    ) {
        let last = self.layers.len() - 1;
        let FeedForwardState { hidden, d_hidden, d_next } = state;
        size(d_hidden, rows * self.hidden);
        size(d_next, rows * self.hidden);
        let to_hidden = Some((&mut d_hidden[..], Write::Set));
        self.layers[last].backward(weights, &hidden[last - 1], dy, rows, to_hidden, grads);
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
