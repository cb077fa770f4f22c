//! A multi-layer perceptron: linear layers with an activation between them and none after the last.
//!
//! `h_0 = x`, `h_i = f(h_{i-1} W_i^T + b_i)` for all layers but the last, which has no `f`. Shapes:
//! `x` is `rows x widths[0]`, `h_i` is `rows x widths[i]`, `W_i` is `widths[i] x widths[i-1]`.
//! Cost: `2 rows sum(widths[i-1] widths[i])` operations forward, the same again for the gradients
//! of the weights and of the values each. Bias and activation are one pass after the product.
//!
//! Backward has two halves, because they are split between threads differently: [`Mlp::values`]
//! needs all weights and one micro-batch, [`Mlp::weight_gradient`] needs all micro-batches and may
//! be asked for a few outputs of a layer. [`Mlp::backward`] is both for one micro-batch. The
//! gradient of `x` costs a product and is made only where it is asked for.

use crate::kernels::activation::{Activation, bias_relu_dropout};
use crate::kernels::dropout::Dropout;
use crate::kernels::gemm::{Mat, Write, gemm};
use crate::kernels::math::{add_bias, add_rows, size};
use crate::{Init, Params, Slot};
use std::ops::Range;

/// One linear layer: where it lies and how large it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MlpLayer {
    /// `outputs x inputs` values.
    pub weight: Slot,
    /// `outputs` values.
    pub bias: Slot,
    /// Width of its input.
    pub inputs: usize,
    /// Width of its output.
    pub outputs: usize,
}

/// Linear layers with an activation between them.
#[derive(Debug, Clone)]
pub struct Mlp {
    layers: Vec<MlpLayer>,
    activation: Activation,
}

/// What a micro-batch keeps between forward and backward; buffers are reused.
#[derive(Debug, Default)]
pub struct MlpState {
    /// Output of each layer, after the activation.
    outputs: Vec<Vec<f32>>,
    /// The same before the activation, where its slope cannot be told from the output.
    before: Vec<Vec<f32>>,
    /// Gradient of each layer's output, before the activation.
    grads: Vec<Vec<f32>>,
}

impl MlpState {
    /// Output of the last forward, `rows x` the last width.
    pub fn output(&self) -> &[f32] {
        self.outputs.last().map_or(&[], |v| v)
    }

    /// The same, writable, for what stands behind the last layer; no backward pass reads it.
    pub fn output_mut(&mut self) -> &mut [f32] {
        self.outputs.last_mut().map_or(&mut [], |v| v)
    }

    /// Where the output's gradient is to be written before a backward, beside the output.
    pub fn output_and_grad(&mut self) -> OutputAndGrad<'_> {
        let output = self.outputs.last().map_or(&[][..], |v| v);
        let grad = self.grads.last_mut().map_or(&mut [][..], |v| v);
        OutputAndGrad { output, grad }
    }
}

/// The output of an [`Mlp`] and its gradient.
#[derive(Debug)]
pub struct OutputAndGrad<'a> {
    /// `rows x` the last width.
    pub output: &'a [f32],
    /// The same shape, to be written.
    pub grad: &'a mut [f32],
}

impl Mlp {
    /// Adds `{name}.0.weight`, `{name}.0.bias`, `{name}.1.weight`, ...: one layer from each width
    /// to the next, started uniformly in `+-1 / sqrt(inputs)` as in PyTorch.
    ///
    /// # Panics
    /// With fewer than two widths: a mistake of the model's code.
    pub fn new(params: &mut Params, name: &str, widths: &[usize], activation: Activation) -> Self {
        assert!(widths.len() > 1, "a layer has an input and an output");
        let layer = |(i, w): (usize, &[usize])| {
            let (inputs, outputs) = (w[0], w[1]);
            let init = Init::Uniform(1.0 / (inputs.max(1) as f32).sqrt());
            let weight = params.add(&format!("{name}.{i}.weight"), &[outputs, inputs], init);
            let bias = params.add(&format!("{name}.{i}.bias"), &[outputs], init);
            MlpLayer { weight, bias, inputs, outputs }
        };
        Mlp { layers: widths.windows(2).enumerate().map(layer).collect(), activation }
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[MlpLayer] {
        &self.layers
    }

    /// Runs `rows` rows of `x`; the result is [`MlpState::output`].
    pub fn forward(&self, weights: &[f32], x: &[f32], rows: usize, state: &mut MlpState) {
        let last = self.layers.len() - 1;
        state.outputs.resize_with(last + 1, Vec::new);
        state.before.resize_with(last, Vec::new);
        state.grads.resize_with(last + 1, Vec::new);
        for (i, layer) in self.layers.iter().enumerate() {
            let (below, here) = state.outputs.split_at_mut(i);
            let (input, y) = (below.last().map_or(x, |h| h), &mut here[0]);
            size(y, rows * layer.outputs);
            size(&mut state.grads[i], rows * layer.outputs);
            let (n, k) = (layer.outputs, layer.inputs);
            let w = Mat::rows(layer.weight.of(weights), k).t();
            gemm(rows, n, k, Mat::rows(input, k), w, y, n, Write::Set);
            let bias = layer.bias.of(weights);
            if i == last {
                add_bias(y, bias);
            } else if self.activation == Activation::Relu {
                bias_relu_dropout(y, bias, Dropout::none(), 0);
            } else {
                add_bias(y, bias);
                let before = &mut state.before[i];
                size(before, y.len());
                before.copy_from_slice(y);
                self.activation.forward(y);
            }
        }
    }

    /// From the gradient in [`MlpState::output_and_grad`] to those of all layers' outputs, and of
    /// `x` where it is asked for. Follows a forward with the same state.
    pub fn values(
        &self,
        weights: &[f32],
        rows: usize,
        state: &mut MlpState,
        dx: Option<(&mut [f32], Write)>,
    ) {
        for (i, layer) in self.layers.iter().enumerate().skip(1).rev() {
            let (below, here) = state.grads.split_at_mut(i);
            let into = &mut below[i - 1];
            layer.input_gradient(weights, &here[0], rows, into, Write::Set);
            // ReLU's slope is the sign of its output.
            let relu = self.activation == Activation::Relu;
            let at = if relu { &state.outputs[i - 1] } else { &state.before[i - 1] };
            self.activation.backward(at, into);
        }
        if let Some((dx, write)) = dx {
            self.layers[0].input_gradient(weights, &state.grads[0], rows, dx, write);
        }
    }

    /// Gradient of some rows of a layer's weight, shape `outputs.len() x inputs`. Follows
    /// [`Mlp::values`] with the same state.
    pub fn weight_gradient(
        &self,
        layer: usize,
        outputs: Range<usize>,
        x: &[f32],
        rows: usize,
        state: &MlpState,
        dweight: &mut [f32],
        write: Write,
    ) {
        let MlpLayer { inputs, outputs: n, .. } = self.layers[layer];
        let input = if layer == 0 { x } else { &state.outputs[layer - 1] };
        let dy = &state.grads[layer][outputs.start.min(rows * n)..];
        let (a, b) = (Mat::rows(dy, n).t(), Mat::rows(input, inputs));
        gemm(outputs.len(), inputs, rows, a, b, dweight, inputs, write);
    }

    /// Adds the gradient of a layer's bias. Follows [`Mlp::values`] with the same state.
    pub fn bias_gradient(&self, layer: usize, rows: usize, state: &MlpState, dbias: &mut [f32]) {
        add_rows(&state.grads[layer][..rows * self.layers[layer].outputs], dbias);
    }

    /// Adds the gradients of all weights and biases to `grads`; sets or adds that of `x` where it
    /// is asked for. Follows a forward with the same state.
    pub fn backward(
        &self,
        weights: &[f32],
        x: &[f32],
        rows: usize,
        state: &mut MlpState,
        dx: Option<(&mut [f32], Write)>,
        grads: &mut [f32],
    ) {
        self.values(weights, rows, state, dx);
        for (i, layer) in self.layers.iter().enumerate() {
            let dw = layer.weight.of_mut(grads);
            self.weight_gradient(i, 0..layer.outputs, x, rows, state, dw, Write::Add);
            self.bias_gradient(i, rows, state, layer.bias.of_mut(grads));
        }
    }
}

impl MlpLayer {
    /// `dx (+)= dy W`.
    fn input_gradient(
        &self,
        weights: &[f32],
        dy: &[f32],
        rows: usize,
        dx: &mut [f32],
        write: Write,
    ) {
        let (i, o) = (self.inputs, self.outputs);
        gemm(rows, i, o, Mat::rows(dy, o), Mat::rows(self.weight.of(weights), i), dx, i, write);
    }
}
