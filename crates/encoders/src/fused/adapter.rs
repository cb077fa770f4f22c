//! The adapter from semantic to collaborative vectors: a linear map and an adaptive LayerNorm.
//!
//! `h = W e_s + b`; `(a, t) = U e_s + u`; `e_t = (1 + a) * LN0(h) + t`, with `LN0` free of weights
//! (mean 0, variance 1, eps 1e-5) and products by element. `W` is `d_c x d_s`, `U` is `2 d_c x d_s`;
//! both are one matrix of `3 d_c` rows in the parameters. `U` and `u` start at zero, so the adapter
//! starts as a plain LayerNorm. Cost: `6 d_s d_c` operations a row forward, the same backward.

use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::kernels::math::{add_bias, add_rows, size};
use sidereal_nn::{Init, Params, Slot};

const EPS: f32 = 1e-5;

/// Where the weights lie.
#[derive(Debug, Clone, Copy)]
pub struct Adapter {
    /// `W`, then `U`: `3 d_c x d_s`.
    weight: Slot,
    /// `b`, then `u`: `3 d_c`.
    bias: Slot,
    inputs: usize,
    width: usize,
}

/// What rows keep between forward and backward; buffers are reused.
#[derive(Debug, Default)]
pub struct AdapterState {
    /// `LN0(h)`, `a` and `t` of each row: `rows x 3 d_c`.
    hidden: Vec<f32>,
    /// `1 / sqrt(var + eps)` of each row.
    factors: Vec<f32>,
    /// `e_t`: `rows x d_c`.
    output: Vec<f32>,
    /// Gradient of `hidden` before the LayerNorm.
    grads: Vec<f32>,
}

impl AdapterState {
    /// `e_t` of the last forward.
    pub fn output(&self) -> &[f32] {
        &self.output
    }
}

impl Adapter {
    /// Adds `adapter.norm` (`W`, `b`) and `adapter.scale` (`U`, `u`) to the parameters.
    pub fn new(params: &mut Params, inputs: usize, width: usize) -> Self {
        let start = Init::Uniform(1.0 / (inputs.max(1) as f32).sqrt());
        let w = params.add("adapter.norm.weight", &[width, inputs], start);
        let u = params.add("adapter.scale.weight", &[2 * width, inputs], Init::Zeros);
        let b = params.add("adapter.norm.bias", &[width], Init::Zeros);
        let v = params.add("adapter.scale.bias", &[2 * width], Init::Zeros);
        Adapter { weight: w.join(u), bias: b.join(v), inputs, width }
    }

    /// Maps `rows` rows of `x` (`rows x d_s`).
    pub fn forward(&self, weights: &[f32], x: &[f32], rows: usize, state: &mut AdapterState) {
        let (d, n, k) = (self.width, 3 * self.width, self.inputs);
        size(&mut state.hidden, rows * n);
        size(&mut state.factors, rows);
        size(&mut state.output, rows * d);
        let m = Mat::rows(self.weight.of(weights), k).t();
        gemm(rows, n, k, Mat::rows(x, k), m, &mut state.hidden, n, Write::Set);
        add_bias(&mut state.hidden, self.bias.of(weights));
        let rows = state.hidden.chunks_exact_mut(n).zip(state.output.chunks_exact_mut(d));
        for ((hidden, out), factor) in rows.zip(&mut state.factors) {
            let (h, at) = hidden.split_at_mut(d);
            let mean = h.iter().sum::<f32>() / d as f32;
            h.iter_mut().for_each(|v| *v -= mean);
            let variance = h.iter().map(|v| v * v).sum::<f32>() / d as f32;
            *factor = 1.0 / (variance + EPS).sqrt();
            h.iter_mut().for_each(|v| *v *= *factor);
            let (a, t) = at.split_at(d);
            for (((o, h), a), t) in out.iter_mut().zip(h).zip(a).zip(t) {
                *o = (1.0 + a) * *h + t;
            }
        }
    }

    /// Adds the gradients of the weights to `grads` from `dout`, that of `e_t`. Follows a forward of
    /// the same rows with the same state.
    pub fn backward(
        &self,
        x: &[f32],
        rows: usize,
        state: &mut AdapterState,
        dout: &[f32],
        grads: &mut [f32],
    ) {
        let (d, n, k) = (self.width, 3 * self.width, self.inputs);
        size(&mut state.grads, rows * n);
        let hidden = state.hidden.chunks_exact(n).zip(state.grads.chunks_exact_mut(n));
        for (((hidden, grad), dout), factor) in hidden.zip(dout.chunks_exact(d)).zip(&state.factors)
        {
            let (h, at) = hidden.split_at(d);
            let (dh, dat) = grad.split_at_mut(d);
            let (da, dt) = dat.split_at_mut(d);
            dt.copy_from_slice(dout);
            let (mut sum, mut along) = (0f32, 0f32);
            for i in 0..d {
                da[i] = dout[i] * h[i];
                dh[i] = dout[i] * (1.0 + at[i]);
                sum += dh[i];
                along += dh[i] * h[i];
            }
            // dh = r (g - mean(g) - n mean(g n)).
            let (mean, along) = (sum / d as f32, along / d as f32);
            for i in 0..d {
                dh[i] = factor * (dh[i] - mean - h[i] * along);
            }
        }
        let g = Mat::rows(&state.grads, n).t();
        let dw = self.weight.of_mut(grads);
        gemm(n, k, rows, g, Mat::rows(x, k), dw, k, Write::Add);
        add_rows(&state.grads, self.bias.of_mut(grads));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use sidereal_core::seed::stream;

    fn values(n: usize, index: u64) -> Vec<f32> {
        let mut rng = stream(4, "adapter-test", index);
        (0..n).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect()
    }

    #[test]
    fn starts_as_a_plain_layer_norm() {
        let mut params = Params::new(1);
        let adapter = Adapter::new(&mut params, 5, 8);
        let mut state = AdapterState::default();
        adapter.forward(params.values(), &values(15, 0), 3, &mut state);
        for row in state.output().chunks_exact(8) {
            let mean = row.iter().sum::<f32>() / 8.0;
            let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 8.0;
            assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-3, "{mean} {variance}");
        }
    }

    #[test]
    fn gradients_equal_differences() {
        let (inputs, width, rows) = (3, 4, 5);
        let mut params = Params::new(2);
        let adapter = Adapter::new(&mut params, inputs, width);
        let weights = values(params.len(), 1);
        let (x, dout) = (values(rows * inputs, 2), values(rows * width, 3));
        let mut state = AdapterState::default();
        // Sum of the output along `dout`, in f64 from the definition.
        let loss = |w: &[f64]| -> f64 {
            let (wd, inputs) = (width, inputs);
            let bias = 3 * wd * inputs;
            let mut sum = 0.0;
            for r in 0..rows {
                let line = |i: usize| -> f64 {
                    let products =
                        (0..inputs).map(|k| w[i * inputs + k] * f64::from(x[r * inputs + k]));
                    w[bias + i] + products.sum::<f64>()
                };
                let h: Vec<f64> = (0..wd).map(line).collect();
                let mean = h.iter().sum::<f64>() / wd as f64;
                let variance = h.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / wd as f64;
                for i in 0..wd {
                    let norm = (h[i] - mean) / (variance + f64::from(EPS)).sqrt();
                    let out = (1.0 + line(wd + i)) * norm + line(2 * wd + i);
                    sum += out * f64::from(dout[r * wd + i]);
                }
            }
            sum
        };
        adapter.forward(&weights, &x, rows, &mut state);
        let wide: Vec<f64> = weights.iter().map(|&v| f64::from(v)).collect();
        let got: f64 =
            state.output().iter().zip(&dout).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        assert!((got - loss(&wide)).abs() < 1e-4);
        let mut grads = vec![0.0; weights.len()];
        adapter.backward(&x, rows, &mut state, &dout, &mut grads);
        for i in 0..wide.len() {
            let (mut up, mut down) = (wide.clone(), wide.clone());
            up[i] += 1e-5;
            down[i] -= 1e-5;
            let want = (loss(&up) - loss(&down)) / 2e-5;
            assert!((f64::from(grads[i]) - want).abs() < 2e-4 * (1.0 + want.abs()), "{i}: {want}");
        }
    }
}
