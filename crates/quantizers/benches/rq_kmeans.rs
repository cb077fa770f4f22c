//! One Lloyd iteration of a level, a level of bounded sizes, and codes of three levels, at 20,000
//! vectors of width 256 on two threads.

use criterion::{Criterion, criterion_group, criterion_main};
use sidereal_core::{Codebook, Matrix, QuantizerInput, Result, Run, seed};
use sidereal_quantizers::{
    BalancedRqKMeans, BalancedRqKMeansOptions, RqKMeans, RqKMeansOptions, kmeans::Start,
};
use std::hint::black_box;

const ROWS: usize = 20_000;
const DIM: usize = 256;

fn vectors() -> Matrix {
    let mut x = Matrix::zeros(ROWS, DIM);
    for (i, v) in x.data_mut().iter_mut().enumerate() {
        *v = (seed::mix(i as u64) >> 40) as f32 / (1 << 24) as f32 - 0.5;
    }
    x
}

fn benches(c: &mut Criterion) {
    let run = Run { threads: 2, ..Run::quiet(1) };
    let x = vectors();
    let input = QuantizerInput::vectors(x.view());
    let level = |iterations| -> Result<RqKMeans> {
        RqKMeans::new(RqKMeansOptions {
            levels: vec![256],
            iterations,
            tolerance: 0.0,
            start: Start::Random,
            ..Default::default()
        })
    };
    let balanced = BalancedRqKMeans::new(BalancedRqKMeansOptions {
        levels: vec![256],
        iterations: 1,
        ..Default::default()
    });
    let three = RqKMeansOptions { iterations: 1, ..Default::default() };
    let three = RqKMeans::new(three).and_then(|q| q.fit_residual(&input, &run));
    let (Ok(one), Ok(balanced), Ok(three)) = (level(1), balanced, three) else {
        panic!("the options of the benchmark are valid");
    };
    let mut group = c.benchmark_group("rq-kmeans");
    group.sample_size(10);
    group.bench_function("level", |b| b.iter(|| black_box(one.fit_residual(&input, &run))));
    group.bench_function("balanced", |b| b.iter(|| black_box(balanced.fit_capacity(&input, &run))));
    group.bench_function("codes", |b| b.iter(|| black_box(three.quantize(&input))));
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
