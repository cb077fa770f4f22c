//! The perceptron equals the plain candle composition and its own differences.

#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor, Var};
use rand::Rng;
use sidereal_core::seed;
use sidereal_nn::kernels::activation::Activation;
use sidereal_nn::kernels::gemm::Write;
use sidereal_nn::{Mlp, MlpState, Params};

const ALL: [Activation; 5] = [
    Activation::Relu,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Silu,
    Activation::Sigmoid,
];

fn random(n: usize, key: u64) -> Vec<f32> {
    let mut rng = seed::stream(key, "test", n as u64);
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn close(got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * (1.0 + w.abs()), "at {i}: {g}, expected {w}");
    }
}

fn activated(x: &Tensor, activation: Activation) -> Tensor {
    match activation {
        Activation::Relu => x.relu(),
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::Silu => x.silu(),
        Activation::Sigmoid => candle_nn::ops::sigmoid(x),
    }
    .unwrap()
}

#[test]
fn equals_candle_for_every_activation_and_depth() {
    for activation in ALL {
        for (widths, rows) in [(&[7, 5][..], 3), (&[19, 33, 16, 4], 21), (&[3, 1, 8], 1)] {
            let mut params = Params::new(5);
            let mlp = Mlp::new(&mut params, "m", widths, activation);
            let x = random(rows * widths[0], 1);
            let out = widths[widths.len() - 1];
            let dy = random(rows * out, 2);

            let input = Var::from_slice(&x, (rows, widths[0]), &Device::Cpu).unwrap();
            let mut h = input.as_tensor().clone();
            let mut vars = Vec::new();
            for (i, layer) in mlp.layers().iter().enumerate() {
                let shape = (layer.outputs, layer.inputs);
                let (w, b) = (layer.weight.of(params.values()), layer.bias.of(params.values()));
                let w = Var::from_slice(w, shape, &Device::Cpu).unwrap();
                let b = Var::from_slice(b, (1, layer.outputs), &Device::Cpu).unwrap();
                h = h.matmul(&w.t().unwrap()).unwrap().broadcast_add(&b).unwrap();
                if i + 1 < mlp.layers().len() {
                    h = activated(&h, activation);
                }
                vars.push((w, b));
            }
            let g = Tensor::from_slice(&dy, (rows, out), &Device::Cpu).unwrap();
            let want = (&h * g).unwrap().sum_all().unwrap().backward().unwrap();

            let (mut state, mut grads) = (MlpState::default(), vec![0.25; params.len()]);
            // Buffers of another batch must not matter.
            mlp.forward(params.values(), &random(40 * widths[0], 3), 40, &mut state);
            mlp.forward(params.values(), &x, rows, &mut state);
            close(state.output(), &flat(&h), 1e-5);
            state.output_and_grad().grad.copy_from_slice(&dy);
            let mut dx = vec![1.0; x.len()];
            let into = Some((&mut dx[..], Write::Add));
            mlp.backward(params.values(), &x, rows, &mut state, into, &mut grads);
            let one_more: Vec<f32> =
                flat(want.get(&input).unwrap()).iter().map(|v| v + 1.0).collect();
            close(&dx, &one_more, 1e-5);
            let unchanged = |v: &[f32]| v.iter().map(|g| g - 0.25).collect::<Vec<_>>();
            for (layer, (w, b)) in mlp.layers().iter().zip(&vars) {
                close(&unchanged(layer.weight.of(&grads)), &flat(want.get(w).unwrap()), 1e-5);
                close(&unchanged(layer.bias.of(&grads)), &flat(want.get(b).unwrap()), 1e-5);
            }

            // Some rows of a weight alone, set or added.
            for (i, layer) in mlp.layers().iter().enumerate() {
                let part = layer.outputs / 2..layer.outputs;
                let mut dw = vec![3.0; part.len() * layer.inputs];
                let whole = unchanged(layer.weight.of(&grads));
                mlp.weight_gradient(i, part.clone(), &x, rows, &state, &mut dw, Write::Set);
                close(&dw, &whole[part.start * layer.inputs..], 1e-5);
            }
        }
    }
}

#[test]
fn differences_of_a_smooth_loss() {
    let widths = [6, 9, 5, 3];
    for activation in [Activation::Gelu, Activation::Silu] {
        let mut params = Params::new(9);
        let mlp = Mlp::new(&mut params, "m", &widths, activation);
        let (rows, mut state) = (4, MlpState::default());
        let (x, dy) = (random(rows * 6, 4), random(rows * 3, 5));
        let mut grads = vec![0.0; params.len()];
        mlp.forward(params.values(), &x, rows, &mut state);
        state.output_and_grad().grad.copy_from_slice(&dy);
        mlp.backward(params.values(), &x, rows, &mut state, None, &mut grads);
        let mut loss = |w: &[f32]| -> f64 {
            mlp.forward(w, &x, rows, &mut state);
            let y = state.output();
            y.iter().zip(&dy).map(|(y, g)| f64::from(*y) * f64::from(*g)).sum()
        };
        for i in (0..params.len()).step_by(7) {
            let mut w = params.values().to_vec();
            w[i] += 5e-3;
            let up = loss(&w);
            w[i] -= 1e-2;
            let slope = (up - loss(&w)) / 1e-2;
            assert!((slope - f64::from(grads[i])).abs() < 2e-3, "{i}: {slope} {}", grads[i]);
        }
    }
}

#[test]
fn no_rows_give_no_gradient() {
    let mut params = Params::new(1);
    let mlp = Mlp::new(&mut params, "m", &[4, 3, 2], Activation::Relu);
    let (mut state, mut grads) = (MlpState::default(), vec![0.0; params.len()]);
    mlp.forward(params.values(), &[], 0, &mut state);
    assert!(state.output().is_empty());
    mlp.backward(params.values(), &[], 0, &mut state, None, &mut grads);
    assert!(grads.iter().all(|g| *g == 0.0));
}
