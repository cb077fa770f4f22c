//! The training step of an RQ-VAE of TIGER's widths (768-512-256-128-32 and back, 3 x 256 codes,
//! 1,024 rows, AdamW), fused and in plain candle operations; and its parts.

#![allow(clippy::expect_used)]

#[path = "../tests/candle/mod.rs"]
mod candle;

use candle::Composition;
use candle_core::{Device, Tensor};
use candle_nn::optim::{self, Optimizer as _};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sidereal_nn::kernels::activation::Activation;
use sidereal_nn::optim::{AdamW, AdamWOptions, Optimizer};
use sidereal_quantizers::rq_vae::{
    BatchRows, EncoderForm, Estimator, RqVaeLoss, RqVaeModel, RqVaeShape, RqVaeStep,
};

const ROWS: usize = 1024;
const WIDTH: usize = 768;

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 2_654_435_761) % 1024) as f32 / 512.0 - 1.0).collect()
}

fn model() -> RqVaeModel {
    let hidden = vec![512, 256, 128];
    let levels = vec![256; 3];
    let activation = Activation::Relu;
    let shape = RqVaeShape {
        input: WIDTH,
        hidden,
        latent: 32,
        levels,
        activation,
        decoder_activation: activation,
        encoder: EncoderForm::Plain,
    };
    RqVaeModel::new(shape, 1).expect("the widths are valid")
}

fn steps(c: &mut Criterion) {
    let mut group = c.benchmark_group("rq-vae step");
    group.throughput(Throughput::Elements(ROWS as u64));
    let x = values(ROWS * WIDTH);
    let threads = rayon::current_num_threads();
    let options = AdamWOptions::default();
    for estimator in [
        Estimator::ResidualPath,
        Estimator::StraightThrough,
        Estimator::Rotation,
        Estimator::Gumbel,
    ] {
        let mut model = model();
        let mut step = RqVaeStep::new(&model);
        let len = model.params().len();
        let mut adam = AdamW::new(options.clone(), len, "optimizer").expect("valid");
        let loss = RqVaeLoss { estimator, ..Default::default() };
        group.bench_function(format!("fused, {estimator:?}"), |b| {
            b.iter(|| {
                step.run(&model, BatchRows::all(&x, WIDTH), loss, 1).expect("finite");
                adam.step(model.params_mut().values_mut(), step.grads(), 1e-3, threads);
            });
        });
    }
    let model = model();
    let plain = Composition::new(&model, model.encoder(), model.decoder()).expect("same shapes");
    let x = Tensor::from_slice(&x, (ROWS, WIDTH), &Device::Cpu).expect("rows x width");
    let params = optim::ParamsAdamW { lr: 1e-3, ..Default::default() };
    let mut adam = optim::AdamW::new(plain.vars.clone(), params).expect("variables");
    let loss = RqVaeLoss { estimator: Estimator::ResidualPath, ..Default::default() };
    group.bench_function("candle, ResidualPath", |b| {
        b.iter(|| {
            let loss = plain.loss(&x, loss).expect("shapes fit");
            adam.backward_step(&loss).expect("gradients");
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_millis(1500));
    targets = steps
}
criterion_main!(benches);
