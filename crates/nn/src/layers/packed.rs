//! Layers of a finished model: weights packed once, no gradients, no dropout.
//!
//! A packed layer is a copy: it does not follow later changes of the weights.

use super::{FeedForward, Linear};
use crate::kernels::activation::{Activation, bias_relu_dropout, relu_dropout};
use crate::kernels::dropout::Dropout;
use crate::kernels::gate;
use crate::kernels::gemm::{Mat, Packed, Write, gemm_packed, pack, packed_len};
use crate::kernels::math::{add_bias, size};
use std::ops::Range;

/// `y = x W^T + b` with a packed `W^T`.
#[derive(Debug, Clone)]
pub struct PackedLinear {
    inputs: usize,
    outputs: usize,
    /// `inputs x outputs`, packed.
    data: Vec<f32>,
    /// Empty without a bias.
    bias: Vec<f32>,
}

impl PackedLinear {
    /// From a matrix `outputs x inputs`, without a bias.
    pub fn new(weight: &[f32], inputs: usize) -> Self {
        let outputs = weight.len() / inputs.max(1);
        let mut data = vec![0.0; packed_len(inputs, outputs)];
        pack(inputs, outputs, Mat::rows(weight, inputs).t(), &mut data);
        PackedLinear { inputs, outputs, data, bias: Vec::new() }
    }

    /// Values of a row of the result.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Sets `y` to, or adds to it, the result for `rows` rows of `x`; rows of `y` are `ld` apart.
    pub fn forward(&self, x: &[f32], rows: usize, y: &mut [f32], ld: usize, write: Write) {
        self.multiply(x, rows, y, ld, write);
        if !self.bias.is_empty() {
            y.chunks_mut(ld).take(rows).for_each(|y| add_bias(&mut y[..self.outputs], &self.bias));
        }
    }

    /// Without the bias.
    fn multiply(&self, x: &[f32], rows: usize, y: &mut [f32], ld: usize, write: Write) {
        let b = Packed { k: self.inputs, n: self.outputs, data: &self.data };
        gemm_packed(rows, Mat::rows(x, self.inputs), b, y, ld, write);
    }
}

impl Linear {
    /// The layer with packed weights.
    pub fn pack(&self, weights: &[f32]) -> PackedLinear {
        let bias = self.bias.map_or(Vec::new(), |b| b.of(weights).to_vec());
        PackedLinear { bias, ..PackedLinear::new(self.weight.of(weights), self.inputs) }
    }

    /// Some of the outputs of a layer without a bias, as a layer.
    pub fn pack_outputs(&self, weights: &[f32], outputs: Range<usize>) -> PackedLinear {
        let rows = outputs.start * self.inputs..outputs.end * self.inputs;
        PackedLinear::new(&self.weight.of(weights)[rows], self.inputs)
    }
}

/// Hidden activations of a [`PackedFeedForward`], reused.
#[derive(Debug, Default)]
pub struct PackedScratch {
    hidden: Vec<f32>,
    next: Vec<f32>,
}

/// A [`FeedForward`] with packed weights.
#[derive(Debug, Clone)]
pub struct PackedFeedForward {
    layers: Vec<PackedLinear>,
    hidden: usize,
    gate: Option<Activation>,
}

impl FeedForward {
    /// The layers with packed weights.
    pub fn pack(&self, weights: &[f32]) -> PackedFeedForward {
        let layers = self.layers.iter().map(|l| l.pack(weights)).collect();
        PackedFeedForward { layers, hidden: self.hidden, gate: self.gate }
    }
}

impl PackedFeedForward {
    /// Adds the output for `rows` rows of `x` to `y`.
    pub fn add(&self, x: &[f32], rows: usize, scratch: &mut PackedScratch, y: &mut [f32]) {
        let PackedScratch { hidden, next } = scratch;
        let (f, none) = (self.hidden, Dropout::none());
        let [inner @ .., last] = &self.layers[..] else { return };
        for (i, layer) in inner.iter().enumerate() {
            let input = if i == 0 { x } else { &hidden[..] };
            size(next, rows * layer.outputs);
            layer.multiply(input, rows, next, layer.outputs, Write::Set);
            match self.gate {
                Some(activation) => {
                    size(hidden, rows * f);
                    gate::forward(activation, next, f, none, 0, hidden);
                }
                None => {
                    match layer.bias.is_empty() {
                        true => relu_dropout(next, none, 0),
                        false => bias_relu_dropout(next, &layer.bias, none, 0),
                    }
                    std::mem::swap(hidden, next);
                }
            }
        }
        last.forward(hidden, rows, y, last.outputs, Write::Add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Bias, FeedForwardShape, FeedForwardState};
    use crate::{Init, Params};

    fn ramp(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 29 + 3) % 53) as f32 / 26.0 - 1.0).collect()
    }

    #[test]
    fn equals_the_layer() {
        let mut params = Params::new(1);
        let layer = Linear::new(&mut params, "l", 20, 50, Bias::With, Init::Normal(1.0));
        let (w, x) = (params.values(), ramp(7 * 20));
        let mut want = vec![0.0; 7 * 50];
        layer.forward(w, &x, 7, &mut want);
        let mut got = ramp(7 * 60);
        layer.pack(w).forward(&x, 7, &mut got, 60, Write::Set);
        for (got, want) in got.chunks(60).zip(want.chunks(50)) {
            assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5));
        }
        // Some outputs are columns of the whole.
        let plain = Linear::new(&mut params, "p", 20, 50, Bias::Without, Init::Normal(1.0));
        let w = params.values();
        plain.forward(w, &x, 7, &mut want);
        let mut some = vec![0.0; 7 * 16];
        plain.pack_outputs(w, 20..36).forward(&x, 7, &mut some, 16, Write::Set);
        for (some, want) in some.chunks(16).zip(want.chunks(50)) {
            assert!(some.iter().zip(&want[20..36]).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }

    #[test]
    fn feed_forwards_of_every_shape() {
        let gelu = FeedForwardShape::gated(24, Activation::GeluTanh);
        for shape in [
            FeedForwardShape::plain(24),
            FeedForwardShape::biased(24, 1),
            FeedForwardShape::biased(24, 3),
            gelu,
        ] {
            let mut params = Params::new(2);
            let layer = FeedForward::new(&mut params, "f", 12, shape);
            let (w, x, before) = (params.values(), ramp(5 * 12), ramp(5 * 12));
            let mut want = vec![0.0; 5 * 12];
            let mut state = FeedForwardState::default();
            layer.forward(w, &x, 5, Dropout::none(), 0, &mut state, &mut want);
            let (packed, mut scratch) = (layer.pack(w), PackedScratch::default());
            // Twice: what the first call left behind must not show.
            for _ in 0..2 {
                let mut got = before.clone();
                packed.add(&x, 5, &mut scratch, &mut got);
                for ((g, w), b) in got.iter().zip(&want).zip(&before) {
                    assert!((g - b - w).abs() < 1e-5, "{shape:?}");
                }
            }
        }
    }
}
