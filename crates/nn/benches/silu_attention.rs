//! SiLU attention of HSTU (4 heads of 32, bias by position and time), forward and backward, beside
//! plain candle operations. Throughput is in operations of the causal products, so that `Gelem/s`
//! reads as GFLOP/s; `product` is a matrix product for comparison, on one thread.

#![allow(clippy::expect_used)]

use candle_core::{Device, Result, Tensor, Var};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::kernels::silu_attention::{
    BiasGrads, Grads, Place, PositionBias, Scratch, SiluAttention, Span, TimeBias, next_times,
    time_bucket,
};

const HEADS: usize = 4;
const WIDTH: usize = 32;
const BUCKETS: usize = 129;

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 2_654_435_761) % 1024) as f32 / 512.0 - 1.0).collect()
}

/// Rising, minutes to hours apart.
fn times(n: usize) -> Vec<i64> {
    (0..n as i64).map(|i| 1_500_000_000 + 3000 * i + (i * i * 977) % 2999).collect()
}

fn fused(c: &mut Criterion) {
    let mut group = c.benchmark_group("silu_attention");
    for n in [512, 2048, 8192] {
        let inner = HEADS * WIDTH;
        let (x, dout) = (values(n * 3 * inner), values(n * inner));
        let (position, time) = (values(n), values(BUCKETS));
        let spans = [Span { q: 0, q_len: n, k: 0, k_len: n }];
        let keys = times(n);
        let mut queries = keys.clone();
        next_times(&mut queries, &spans);
        let [qp, kp, vp] = [0, 1, 2].map(|i| Place { ld: 3 * inner, offset: i * inner });
        let op = Place { ld: inner, offset: 0 };
        let (mut out, mut dx) = (vec![0.0; n * inner], vec![0.0; x.len()]);
        let (mut dp, mut dt) = (vec![0.0; n], vec![0.0; BUCKETS]);
        let mut s = Scratch::default();
        for biased in [true, false] {
            let layer = SiluAttention {
                heads: HEADS,
                width: WIDTH,
                value_width: WIDTH,
                scale: 1.0,
                divisor: n as f32,
                position: biased.then_some(PositionBias { table: &position }),
                time: biased.then_some(TimeBias { table: &time, queries: &queries, keys: &keys }),
            };
            let what = if biased { "both biases" } else { "no bias" };
            for threads in [1, 2] {
                let flop = (n * n * inner) as u64;
                group.throughput(Throughput::Elements(2 * flop));
                group.bench_function(format!("{n} forward, {what}, {threads} threads"), |b| {
                    b.iter(|| {
                        layer.forward(&spans, &x, qp, &x, kp, vp, &mut out, op, threads, &mut s);
                    });
                });
                group.throughput(Throughput::Elements(5 * flop));
                group.bench_function(format!("{n} backward, {what}, {threads} threads"), |b| {
                    b.iter(|| {
                        let grads = Grads::Joint(&mut dx);
                        let tables = BiasGrads {
                            position: biased.then_some(&mut dp[..]),
                            time: biased.then_some(&mut dt[..]),
                        };
                        layer.backward(
                            &spans, &x, qp, &x, kp, vp, &dout, op, grads, tables, threads, &mut s,
                        );
                    });
                });
            }
        }
    }
}

/// Plain candle operations on all pairs; candle takes the threads that it likes.
fn composition(c: &mut Criterion) {
    let mut group = c.benchmark_group("silu_attention in candle");
    for n in [512, 2048] {
        let cells = || (0..n).flat_map(|i| (0..n).map(move |j| (i, j)));
        let keys = times(n);
        let mut queries = keys.clone();
        next_times(&mut queries, &[Span { q: 0, q_len: n, k: 0, k_len: n }]);
        let distance: Vec<u32> = cells().map(|(i, j)| (n - 1 + j.min(i) - i) as u32).collect();
        let bucket: Vec<u32> =
            cells().map(|(i, j)| time_bucket(queries[i], keys[j], BUCKETS) as u32).collect();
        let mask: Vec<f32> = cells().map(|(i, j)| f32::from(j <= i) / n as f32).collect();
        let setup = || -> Result<_> {
            let part = |_| {
                let values = values(HEADS * n * WIDTH);
                Var::from_tensor(&Tensor::from_vec(values, (HEADS, n, WIDTH), &Device::Cpu)?)
            };
            let [q, k, v] = [part(0)?, part(1)?, part(2)?];
            let table = |len| Var::from_tensor(&Tensor::from_vec(values(len), len, &Device::Cpu)?);
            let index = |v: &[u32]| Tensor::from_slice(v, n * n, &Device::Cpu);
            let mask = Tensor::from_slice(&mask, (n, n), &Device::Cpu)?;
            Ok(([q, k, v], table(n)?, table(BUCKETS)?, index(&distance)?, index(&bucket)?, mask))
        };
        let ([q, k, v], position, time, distance, bucket, mask) = setup().expect("candle builds");
        let forward = || -> Result<Tensor> {
            let bias = (position.index_select(&distance, 0)? + time.index_select(&bucket, 0)?)?;
            let scores = q.matmul(&k.t()?)?.broadcast_add(&bias.reshape((n, n))?)?;
            scores.silu()?.broadcast_mul(&mask)?.matmul(&v)
        };
        let flop = (n * n * HEADS * WIDTH) as u64;
        group.throughput(Throughput::Elements(2 * flop));
        group.bench_function(format!("{n} forward"), |b| b.iter(|| forward().expect("candle")));
        group.throughput(Throughput::Elements(7 * flop));
        group.bench_function(format!("{n} forward and backward"), |b| {
            b.iter(|| forward().and_then(|o| o.sum_all()?.backward()).expect("candle"));
        });
    }
}

fn product(c: &mut Criterion) {
    let n = 512;
    let (a, b, mut out) = (values(n * n), values(n * n), vec![0.0; n * n]);
    let mut group = c.benchmark_group("product");
    group.throughput(Throughput::Elements(2 * (n * n * n) as u64));
    group.bench_function("512x512x512", |bench| {
        bench.iter(|| {
            gemm(n, n, n, Mat::rows(&a, n), Mat::rows(&b, n), &mut out, n, Write::Set);
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(std::time::Duration::from_millis(100))
        .measurement_time(std::time::Duration::from_millis(400));
    targets = fused, composition, product
}
criterion_main!(benches);
