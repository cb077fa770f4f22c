//! Layers that know where their weights live in the flat buffer.

use crate::kernels::gemm::{Mat, Write, gemm};
use crate::kernels::math::add_rows;
use crate::kernels::norm;
use crate::{Init, Params, Slot};

mod feed_forward;
mod packed;

pub use feed_forward::{FeedForward, FeedForwardShape, FeedForwardState};
pub use packed::{PackedFeedForward, PackedLinear, PackedScratch};

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
