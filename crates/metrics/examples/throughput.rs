//! Users per second of six cut-offs on top-100 lists: `cargo run --release -p sidereal-metrics
//! --example throughput`.

use sidereal_core::{ItemId, RankedLists, Result, seed};
use sidereal_metrics::{CutOff, EvalContext, Metric, Recall, Truth, sweep};
use std::time::Instant;

fn main() -> Result<()> {
    let (users, n_items, length) = (200_000u64, 100_000u64, 100u64);
    let (mut lists, mut targets) = (RankedLists::new(), Vec::new());
    for u in 0..users {
        // A stride walk through the catalogue: distinct items, cheap to make.
        let start = seed::key(1, "list", u);
        let stride = 1 + 2 * (start >> 40) % 4999;
        let item = |p: u64| ItemId(((start % n_items + p * stride) % n_items) as u32);
        lists.push((0..length).map(item));
        // One user in four has the target somewhere in the list.
        targets.push(item(seed::key(1, "target", u) % (4 * length)));
    }
    let truth = Truth::single(&targets);
    let n_items = n_items as usize;
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        let figures = sweep(&lists, &truth, n_items, &[1, 5, 10, 20, 50, 100])?;
        best = best.min(start.elapsed().as_secs_f64());
        std::hint::black_box(figures);
    }
    println!("sweep, 6 cut-offs x 4 metrics: {:.1} M users/s", users as f64 / best / 1e6);
    let context = EvalContext { n_items, popularity: &[] };
    let recall = Recall::new(CutOff { k: 10 })?;
    let start = Instant::now();
    let score = recall.evaluate(&lists, &truth, &context)?;
    let rate = users as f64 / start.elapsed().as_secs_f64() / 1e6;
    println!("{} = {:.4}: {rate:.1} M users/s with per-user values", recall.name(), score.value);
    Ok(())
}
