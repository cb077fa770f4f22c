//! Matrix products, attention, norms and losses on the shapes of TIGER and SASRec.

#![allow(clippy::expect_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sidereal_nn::Pass;
use sidereal_nn::kernels::activation::bias_relu_dropout;
use sidereal_nn::kernels::attention::{Attention, Grads, Mask, Place, RelativeBias, Scratch, Span};
use sidereal_nn::kernels::cross_entropy::{softmax_cross_entropy, streamed_cross_entropy};
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::kernels::norm::{rms_norm, rms_norm_backward};
use sidereal_nn::optim::{AdamW, AdamWOptions, Optimizer};
use std::hint::black_box;

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 2_654_435_761) % 1024) as f32 / 512.0 - 1.0).collect()
}

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("gemm");
    for (m, n, k) in [(640, 1024, 128), (640, 1024, 1024), (640, 128, 1024), (32, 1026, 128)] {
        let (a, b, mut out) = (values(m * k), values(k * n), values(m * n));
        group.throughput(Throughput::Elements(2 * (m * n * k) as u64));
        group.bench_function(format!("forward {m}x{n}x{k}"), |bench| {
            bench.iter(|| {
                let (a, b) = (Mat::rows(&a, k), Mat::rows(&b, k).t());
                gemm(m, n, k, a, b, &mut out, n, Write::Set);
            });
        });
        let mut dw = values(n * k);
        group.bench_function(format!("weight gradient {m}x{n}x{k}"), |bench| {
            bench.iter(|| {
                let (dy, x) = (Mat::rows(&out, n).t(), Mat::rows(&a, k));
                gemm(n, k, m, dy, x, &mut dw, k, Write::Add);
            });
        });
    }
}

fn attention(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention");
    let (heads, width) = (6, 64);
    let inner = heads * width;
    let cases = [
        ("encoder 80", 80, 80, Mask::Full),
        ("causal 80", 80, 80, Mask::Causal),
        ("cross 4x80", 4, 80, Mask::Full),
        ("decoder 4", 4, 4, Mask::Causal),
        ("one query 160", 1, 160, Mask::Full),
        ("causal 1024", 1024, 1024, Mask::Causal),
    ];
    for (name, q_len, k_len, mask) in cases {
        let count = (640 / k_len.max(q_len)).max(1);
        let spans: Vec<Span> =
            (0..count).map(|i| Span { q: i * q_len, q_len, k: i * k_len, k_len }).collect();
        let (q, kv) = (values(count * q_len * inner), values(count * k_len * 2 * inner));
        let (qp, op) = (Place { ld: inner, offset: 0 }, Place { ld: inner, offset: 0 });
        let (kp, vp) = (Place { ld: 2 * inner, offset: 0 }, Place { ld: 2 * inner, offset: inner });
        let reach = q_len.max(k_len);
        let table = values(heads * (2 * reach + 1));
        let mut out = vec![0.0; q.len()];
        let (mut dq, mut dkv) = (vec![0.0; q.len()], vec![0.0; kv.len()]);
        let mut dbias = vec![0.0; table.len()];
        let mut scratch = Scratch::default();
        group.throughput(Throughput::Elements((4 * count * q_len * k_len * inner) as u64));
        for rate in [0.0, 0.1] {
            let attention = Attention {
                heads,
                width,
                scale: 1.0,
                mask,
                bias: Some(RelativeBias { table: &table, reach }),
                dropout: Dropout::new(rate, Pass::Train { key: 1 }),
                site: 1,
            };
            group.bench_function(format!("{name} forward, dropout {rate}"), |b| {
                b.iter(|| {
                    attention.forward(&spans, &q, qp, &kv, kp, vp, &mut out, op, &mut scratch);
                });
            });
            group.bench_function(format!("{name} backward, dropout {rate}"), |b| {
                b.iter(|| {
                    let grads = Grads::Split { dq: &mut dq, dkv: &mut dkv };
                    let db = Some(&mut dbias[..]);
                    attention.backward(
                        &spans,
                        &q,
                        qp,
                        &kv,
                        kp,
                        vp,
                        &out,
                        op,
                        grads,
                        db,
                        &mut scratch,
                    );
                });
            });
        }
    }
}

fn elementwise(c: &mut Criterion) {
    let mut group = c.benchmark_group("elementwise");
    let (rows, d) = (640, 128);
    let (x, w) = (values(rows * d), values(d));
    let (mut y, mut inv, mut dw) = (vec![0.0; rows * d], vec![0.0; rows], vec![0.0; d]);
    group.throughput(Throughput::Elements((rows * d) as u64));
    group.bench_function("rms_norm", |b| b.iter(|| rms_norm(&x, &w, 1e-6, &mut y, &mut inv)));
    group.bench_function("rms_norm_backward", |b| {
        b.iter(|| rms_norm_backward(&x, &w, &inv, &x, &mut y, &mut dw, Write::Set));
    });
    let (mut h, bias) = (values(rows * 1024), values(1024));
    group.throughput(Throughput::Elements((rows * 1024) as u64));
    for rate in [0.0, 0.1] {
        let dropout = Dropout::new(rate, Pass::Train { key: 1 });
        group.bench_function(format!("bias_relu_dropout {rate}"), |b| {
            b.iter(|| bias_relu_dropout(&mut h, &bias, dropout, 1));
        });
    }
    let n = 4 << 20;
    let (mut weights, grads) = (values(n), values(n));
    let mut adam = AdamW::new(AdamWOptions::default(), n, "optimizer").expect("defaults are valid");
    group.throughput(Throughput::Elements(n as u64));
    for threads in [1, 2] {
        group.bench_function(format!("adamw, {threads} threads"), |b| {
            b.iter(|| adam.step(&mut weights, &grads, 1e-3, threads));
        });
    }
}

fn losses(c: &mut Criterion) {
    let mut group = c.benchmark_group("cross_entropy");
    let (rows, cols) = (128, 1026);
    let logits = values(rows * cols);
    let targets: Vec<u32> = (0..rows as u32).collect();
    let mut grad = vec![0.0; rows * cols];
    group.throughput(Throughput::Elements((rows * cols) as u64));
    group.bench_function("rows of 1026", |b| {
        b.iter(|| black_box(softmax_cross_entropy(&logits, cols, &targets, 1.0, Some(&mut grad))));
    });
    for n in [12_101, 100_000] {
        let (t, d) = (256, 64);
        let (q, items) = (values(t * d), values(n * d));
        let (mut dq, mut di) = (vec![0.0; t * d], vec![0.0; n * d]);
        let targets: Vec<u32> = (0..t as u32).collect();
        let mut scratch = Vec::new();
        group.throughput(Throughput::Elements((6 * t * n * d) as u64));
        group.bench_function(format!("{n} items"), |b| {
            b.iter(|| {
                let grads = Some((&mut dq[..], &mut di[..]));
                let s = &mut scratch;
                black_box(streamed_cross_entropy(&q, &items, d, &targets, 1.0, 1.0, grads, s))
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(100))
        .measurement_time(std::time::Duration::from_millis(400));
    targets = products, attention, elementwise, losses
}
criterion_main!(benches);
