//! Each fused kernel's share of what this machine can do, as a Markdown table.
//!
//! `cargo run --release -p sidereal-nn --example roofline`. One thread. The roofs are measured
//! first: the rate of a 1024 x 1024 x 192 product, which lies in the second-level cache, and the
//! bandwidth of adding one buffer of 256 MiB to another. The least time of a kernel is that of its products at the one, or
//! of its bytes at the other, whichever is longer; a kernel whose data stay in cache can take less
//! than the second.

#![allow(clippy::expect_used)]

#[path = "../benches/cases/mod.rs"]
mod cases;

use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::kernels::math::axpy;
use std::hint::black_box;
use std::time::Instant;

/// Seconds of one call: the median of at least five, after one unseen.
fn seconds(mut work: impl FnMut()) -> f64 {
    work();
    let began = Instant::now();
    let mut times = Vec::new();
    while times.len() < 5 || began.elapsed().as_secs_f64() < 0.3 {
        let start = Instant::now();
        work();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    // candle's products use the pool; ours are single-threaded.
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("one pool");
    let (m, n, k) = (1024, 1024, 192);
    let (a, b, mut c) = (cases::values(m * k), cases::values(k * n), vec![0.0; m * n]);
    let product = seconds(|| {
        gemm(m, n, k, Mat::rows(&a, k), Mat::rows(&b, n), &mut c, n, Write::Set);
    });
    let flops = 2.0 * (m * n * k) as f64 / product;
    let (source, mut target) = (vec![1f32; 64 << 20], vec![0f32; 64 << 20]);
    let add = seconds(|| axpy(1.0, black_box(&source), black_box(&mut target)));
    let bandwidth = 12.0 * source.len() as f64 / add;
    drop((source, target));
    println!("matrix products {:.0} GFLOP/s, memory {:.0} GB/s\n", flops / 1e9, bandwidth / 1e9);
    println!(
        "| kernel, forward and backward | µs | GFLOP/s | GB/s | share of the roof | candle µs | candle / ours |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for case in cases::all() {
        let (ours, theirs) = (seconds(case.fused), seconds(case.plain));
        let least = (case.flop / flops).max(case.bytes / bandwidth);
        let rate = match case.flop {
            0.0 => "-".to_string(),
            flop => format!("{:.0}", flop / ours / 1e9),
        };
        println!(
            "| {} | {:.1} | {rate} | {:.1} | {:.0} % | {:.1} | {:.1} |",
            case.name,
            ours * 1e6,
            case.bytes / ours / 1e9,
            100.0 * least / ours,
            theirs * 1e6,
            theirs / ours,
        );
    }
}
