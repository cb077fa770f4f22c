//! Users per second of six cut-offs on top-100 lists: `cargo run --release -p sidereal-metrics
//! --example throughput [USERS] [THREADS]`.

use sidereal_core::{ItemId, RankedLists, Result, seed};
use sidereal_metrics::{CutOff, EvalContext, Metric, Recall, Truth, sweep};
use std::time::Instant;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter_map(|a| a.parse().ok());
    let users = arguments.next().unwrap_or(200_000usize);
    let threads = arguments.next().unwrap_or(2);
    let (n_items, length) = (12_101u64, 100u64);
    for most in [1, 20u64] {
        let (mut lists, mut truth) = (RankedLists::new(), Truth::new());
        for u in 0..users as u64 {
            // A stride walk through the catalogue: distinct items, cheap to make.
            let start = seed::key(1, "list", u);
            let stride = 1 + 2 * (start >> 40) % 90;
            let item = |p: u64| ItemId(((start % n_items + p * stride) % n_items) as u32);
            lists.push((0..length).map(item));
            // One target in four stands somewhere in the list.
            let draw = |t: u64| seed::key(1, "target", 32 * u + t);
            let targets: Vec<_> =
                (0..1 + draw(31) % most).map(|t| item(draw(t) % (4 * length))).collect();
            truth.push(&targets)?;
        }
        for threads in [1, threads] {
            let mut best = f64::INFINITY;
            for _ in 0..15 {
                let start = Instant::now();
                let n = n_items as usize;
                let figures = sweep(&lists, &truth, n, &[1, 5, 10, 20, 50, 100], threads)?;
                best = best.min(start.elapsed().as_secs_f64());
                std::hint::black_box(figures);
            }
            let rate = users as f64 / best / 1e6;
            println!(
                "1 to {most} targets, {threads} threads, 6 cut-offs x 6 metrics: {rate:.2} M users/s"
            );
        }
        let context = EvalContext::new(n_items as usize, &[]);
        let recall = Recall::new(CutOff { k: 10 })?;
        let start = Instant::now();
        let score = recall.evaluate(&lists, &truth, &context)?;
        let rate = users as f64 / start.elapsed().as_secs_f64() / 1e6;
        println!(
            "{} = {:.4}: {rate:.2} M users/s with per-user values",
            recall.name(),
            score.value
        );
    }
    Ok(())
}
