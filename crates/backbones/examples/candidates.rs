//! Candidates a second for one user of `hstu`: the history computed once (M-FALCON) against one full
//! forward a candidate.
//!
//! `cargo run --release -p sidereal-backbones --example candidates -- [history] [candidates]`

use sidereal_backbones::Backbone;
use sidereal_backbones::hstu::{Hstu, HstuOptions};
use sidereal_core::{ItemId, Result, Run};
use sidereal_nn::Batch;
use std::time::Instant;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter_map(|a| a.parse::<usize>().ok());
    let (n, m) = (arguments.next().unwrap_or(200), arguments.next().unwrap_or(2048));
    let options = HstuOptions {
        d_model: 64,
        layers: 4,
        heads: 2,
        d_qk: 32,
        d_v: 32,
        max_history: n + 1,
        ..HstuOptions::default()
    };
    let n_items = 10_000;
    let model = Hstu::new(options, n_items, 0)?;
    let history: Vec<ItemId> = (0..n).map(|i| ItemId((i * 31 % n_items) as u32)).collect();
    let candidates: Vec<ItemId> = (0..m).map(|i| ItemId((i * 17 % n_items) as u32)).collect();
    let run = Run::quiet(0);
    println!("history of {n} items, one thread");

    for micro_batch in [1, 16, 128, 512] {
        let best = |_| -> Result<f64> {
            let began = Instant::now();
            let session = model.candidates(&history, None)?;
            session.scores(&candidates, micro_batch, &run)?;
            Ok(began.elapsed().as_secs_f64())
        };
        let times: Vec<f64> = (0..5).map(best).collect::<Result<_>>()?;
        let seconds = times.into_iter().fold(f64::INFINITY, f64::min);
        let rate = m as f64 / seconds;
        println!("cached, micro-batches of {micro_batch:>3}: {rate:>10.0} candidates/s");
    }

    // A few are enough to know the rate.
    let some = &candidates[..m.min(64)];
    let mut seconds = f64::INFINITY;
    for _ in 0..3 {
        let began = Instant::now();
        for group in some.chunks(16) {
            let mut batch = Batch { item_offsets: vec![0], ..Batch::default() };
            for &candidate in group {
                batch.items.extend_from_slice(&history);
                batch.items.push(candidate);
                batch.item_offsets.push(batch.items.len() as u32);
            }
            model.queries(&batch)?;
        }
        seconds = seconds.min(began.elapsed().as_secs_f64());
    }
    println!("one forward a candidate:    {:>10.0} candidates/s", some.len() as f64 / seconds);
    Ok(())
}
