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
    // All files are read request by request, so that the peak of memory is that of lists and truth.
    let open = |what: &str| std::io::Result::Ok(BufReader::new(File::open(file(what))?));
    let mut files = (open("-lists.bin")?, open("-offsets.bin")?, open("-targets.bin")?);
    let (mut lists, mut truth) = (RankedLists::new(), Truth::new());
    let (mut list, mut own, mut targets, mut offset) =
        (vec![0; 4 * length], vec![], vec![], [0; 8]);
    files.1.read_exact(&mut offset)?;
    let (mut start, mut n_targets) = (i64::from_le_bytes(offset), 0);
    for _ in 0..users {
        files.0.read_exact(&mut list)?;
        lists.push(items(&list));
        files.1.read_exact(&mut offset)?;
        let end = i64::from_le_bytes(offset);
        own.resize(4 * (end - start) as usize, 0);
        files.2.read_exact(&mut own)?;
        targets.clear();
        targets.extend(items(&own));
        truth.push(&targets)?;
        n_targets += targets.len();
        start = end;
    }
    // Ids and offsets as they lie in memory.
    let input = 4 * (users * length + n_targets) + 2 * 8 * (users + 1);
    let work = || sweep(&lists, &truth, n_items, &cut_offs, threads);
    let off = work()?.iter().map(|a| difference(a, &plan["means"])).fold(0.0, f64::max);
    let mut told = agreed(off, LIMIT)?;
    told.insert("input_mib".into(), (input as f64 / f64::from(1 << 20)).into());
    serve(told, || {
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
