//! One pass of LightGCN's propagation over a graph of Beauty's size (22,363 users, 12,101 items,
//! 153,776 edges), and a whole training step.
#![allow(clippy::unwrap_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::Rng;
use sidereal_core::seed::stream;
use sidereal_encoders::collaborative::Sampler;
use sidereal_encoders::lightgcn::propagation::Propagation;
use sidereal_encoders::lightgcn::step::Step;
use sidereal_nn::algebra::sparse::Csr;
use std::hint::black_box;

const USERS: usize = 22_363;
const ITEMS: usize = 12_101;
const EDGES: usize = 153_776;
const LAYERS: usize = 3;
const WIDTH: usize = 64;

/// Users of seven items each, of which those with low numbers are met most.
fn graph() -> Csr {
    let mut rng = stream(1, "propagation-bench", 0);
    let (mut offsets, mut columns) = (vec![0], Vec::new());
    for u in 0..USERS {
        let mut row: Vec<u32> = (0..(u + 1) * EDGES / USERS - u * EDGES / USERS)
            .map(|_| (rng.random::<f64>().powi(2) * ITEMS as f64) as u32)
            .collect();
        row.sort_unstable();
        row.dedup();
        columns.extend(row);
        offsets.push(columns.len());
    }
    let values = vec![1.0; columns.len()];
    Csr::from_parts(ITEMS, offsets, columns, values)
}

fn propagation(c: &mut Criterion) {
    let graph = graph();
    let p = Propagation::new(&graph, LAYERS);
    let mut rng = stream(1, "propagation-bench", 1);
    let x: Vec<f32> = (0..p.nodes() * WIDTH).map(|_| rng.random::<f32>() - 0.5).collect();
    let (mut spare, mut out) = (x.clone(), x.clone());
    let triples = Sampler::new(&graph).unwrap().draw(1, "bench", 0, 8192);
    let mut step = Step::new(&p, WIDTH, 1e-4);
    for threads in [1, 2] {
        let pool = sidereal_nn::parallel::pool(threads).unwrap();
        let mut group = c.benchmark_group(format!("LightGCN, {threads} threads"));
        group.sample_size(10);
        let flop = 4 * LAYERS * graph.nnz() * WIDTH;
        group.throughput(Throughput::Elements(flop as u64));
        group.bench_function("propagation", |b| {
            pool.install(|| b.iter(|| p.apply(black_box(&x), WIDTH, &mut spare, &mut out)));
        });
        group.bench_function("step of 8192 triples", |b| {
            pool.install(|| b.iter(|| black_box(step.run(&x, &triples))));
        });
        group.finish();
    }
}

criterion_group!(benches, propagation);
criterion_main!(benches);
