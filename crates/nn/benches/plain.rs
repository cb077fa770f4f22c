//! Each fused kernel, forward and backward, beside straightforward candle operations.
//!
//! Throughput: operations of matrix products where there are any, else bytes.
//! `RAYON_NUM_THREADS=1 cargo bench -p sidereal-nn --bench plain`: ours are single-threaded by
//! design, candle's products are not.

#![allow(missing_docs, clippy::expect_used)]

mod cases;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn kernels(c: &mut Criterion) {
    for mut case in cases::all() {
        let mut group = c.benchmark_group(case.name);
        group.throughput(match case.flop {
            0.0 => Throughput::Bytes(case.bytes as u64),
            flop => Throughput::Elements(flop as u64),
        });
        group.bench_function("fused", |b| b.iter(&mut case.fused));
        group.bench_function("candle", |b| b.iter(&mut case.plain));
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(std::time::Duration::from_millis(100))
        .measurement_time(std::time::Duration::from_millis(400));
    targets = kernels
}
criterion_main!(benches);
