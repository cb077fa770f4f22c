//! Six accuracy metrics at six cut-offs, from lists and targets that the peer drew.

use crate::arm::{agreed, serve};
use serde_json::Value;
use sidereal::core::{ItemId, RankedLists};
use sidereal::metrics::{Accuracy, Truth, sweep};
use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// Sums in another order.
const LIMIT: f64 = 1e-12;

pub fn run(work: &Path, threads: usize, users: usize) -> Result<(), Box<dyn Error>> {
    let file = |what: &str| work.join(format!("metrics-{users}{what}"));
    let plan: Value = serde_json::from_slice(&std::fs::read(file(".json"))?)?;
    let number = |key: &str| plan[key].as_u64().ok_or(format!("no {key}"));
    let (n_items, length) = (number("n_items")? as usize, number("length")? as usize);
    let cut_offs: Vec<usize> = serde_json::from_value(plan["cut_offs"].clone())?;
    let offsets = std::fs::read(file("-offsets.bin"))?;
    let offsets: Vec<usize> =
        offsets.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as usize).collect();
    let targets: Vec<ItemId> = items(&std::fs::read(file("-targets.bin"))?).collect();
    // List by list, so that the peak of memory is that of the lists.
    let mut bytes = vec![0; 4 * length];
    let mut file_of_lists = BufReader::new(File::open(file("-lists.bin"))?);
    let (mut lists, mut truth) = (RankedLists::new(), Truth::new());
    for own in offsets.windows(2) {
        file_of_lists.read_exact(&mut bytes)?;
        lists.push(items(&bytes));
        truth.push(&targets[own[0]..own[1]])?;
    }
    drop((targets, offsets));
    let work = || sweep(&lists, &truth, n_items, &cut_offs, threads);
    let off = work()?.iter().map(|a| difference(a, &plan["means"])).fold(0.0, f64::max);
    serve(agreed(off, LIMIT)?, || {
        std::hint::black_box(work()?);
        Ok(())
    })
}

fn items(bytes: &[u8]) -> impl Iterator<Item = ItemId> {
    bytes.as_chunks::<4>().0.iter().map(|b| ItemId(u32::from_le_bytes(*b)))
}

/// Largest difference from the peer's means; NaN where one is missing.
fn difference(ours: &Accuracy, means: &Value) -> f64 {
    let figures = [
        ("recall", ours.recall),
        ("precision", ours.precision),
        ("ndcg", ours.ndcg),
        ("mrr", ours.mrr),
        ("map", ours.map),
        ("hit_rate", ours.hit_rate),
    ];
    let off = |(name, got): (&str, f64)| {
        (got - means[format!("{name}@{}", ours.k)].as_f64().unwrap_or(f64::NAN)).abs()
    };
    let worse = |a: f64, b: f64| if b.is_nan() || b > a { b } else { a };
    figures.into_iter().map(off).fold(0.0, worse)
}
