//! Products of many rows with small weights, over the current pool.
//!
//! Rows are cut into pieces of [`ROWS`]; gradients of weights are summed in the order of pieces.

use rayon::prelude::*;
use sidereal_nn::Slot;
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::kernels::math::{add_bias, add_rows};

/// Rows in a piece of work.
pub const ROWS: usize = 2048;

/// A weight of shape `outputs x inputs`.
#[derive(Debug, Clone, Copy)]
pub struct Linear {
    /// Where it lies.
    pub weight: Slot,
    /// Width of its input.
    pub inputs: usize,
    /// Width of its output.
    pub outputs: usize,
}

impl Linear {
    /// `y (+)= x W^T`.
    pub fn forward(&self, weights: &[f32], x: &[f32], y: &mut [f32], write: Write) {
        let w = Mat::rows(self.weight.of(weights), self.inputs).t();
        product(x, self.inputs, w, y, self.outputs, write);
    }

    /// `dx (+)= dy W`.
    pub fn input_gradient(&self, weights: &[f32], dy: &[f32], dx: &mut [f32], write: Write) {
        let w = Mat::rows(self.weight.of(weights), self.inputs);
        product(dy, self.outputs, w, dx, self.inputs, write);
    }

    /// Adds `dy^T x` to the weight's place in `grads`.
    pub fn weight_gradient(&self, x: &[f32], dy: &[f32], grads: &mut [f32]) {
        let (k, n) = (self.inputs, self.outputs);
        let pieces: Vec<Vec<f32>> = dy
            .par_chunks(ROWS * n)
            .zip(x.par_chunks(ROWS * k))
            .map(|(dy, x)| {
                let mut out = vec![0f32; n * k];
                let rows = dy.len() / n;
                gemm(n, k, rows, Mat::rows(dy, n).t(), Mat::rows(x, k), &mut out, k, Write::Set);
                out
            })
            .collect();
        let grad = self.weight.of_mut(grads);
        for piece in &pieces {
            grad.iter_mut().zip(piece).for_each(|(g, v)| *g += v);
        }
    }
}

/// `c (+)= a b` for rows of `k` and `n` values.
fn product(a: &[f32], k: usize, b: Mat<'_>, c: &mut [f32], n: usize, write: Write) {
    c.par_chunks_mut(ROWS * n).zip(a.par_chunks(ROWS * k)).for_each(|(c, a)| {
        gemm(a.len() / k, n, k, Mat::rows(a, k), b, c, n, write);
    });
}

/// Adds a bias to every row.
pub fn bias(weights: &[f32], slot: Slot, y: &mut [f32]) {
    let bias = slot.of(weights);
    y.par_chunks_mut(ROWS * bias.len()).for_each(|block| add_bias(block, bias));
}

/// Adds the sum of rows to the bias' place in `grads`.
pub fn bias_gradient(slot: Slot, dy: &[f32], grads: &mut [f32]) {
    let sum = |block: &[f32]| {
        let mut out = vec![0f32; slot.len];
        add_rows(block, &mut out);
        out
    };
    let pieces: Vec<Vec<f32>> = dy.par_chunks(ROWS * slot.len).map(sum).collect();
    for piece in &pieces {
        slot.of_mut(grads).iter_mut().zip(piece).for_each(|(g, v)| *g += v);
    }
}
