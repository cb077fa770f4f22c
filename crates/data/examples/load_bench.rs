//! Times a load: `load_bench FORMAT PATH [THREADS [REPEATS]]`, 5-core and leave-one-out.
//!
//! Prints one JSON object: counts, the median of the times in seconds, peak resident memory.

use sidereal_core::{Catalog, Result, Run, Spec};
use std::time::Instant;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [format, path, rest @ ..] = &args[..] else {
        eprintln!("usage: load_bench FORMAT PATH [THREADS [REPEATS]]");
        std::process::exit(2);
    };
    let number = |i: usize, default| rest.get(i).and_then(|s| s.parse().ok()).unwrap_or(default);
    let run = Run { threads: number(0, 2), ..Run::quiet(0) };
    let mut sources = Catalog::new("data");
    sidereal_data::register(&mut sources)?;
    let mut splits = Catalog::new("data.split");
    sidereal_data::register_splits(&mut splits)?;
    let spec = Spec::new("data", format)
        .with("path", path.as_str())
        .with("min_user", 5)
        .with("min_item", 5);
    let splitter = splits.build(&Spec::new("data.split", "leave-one-out"), &())?;
    let mut times = Vec::new();
    for _ in 0..number(1, 3).max(1) {
        let start = Instant::now();
        let data = sources.build(&spec, &())?.load(&run)?;
        let read = start.elapsed().as_secs_f64();
        let cut = splitter.split(&data)?;
        times.push((start.elapsed().as_secs_f64(), read));
        if times.len() == 1 {
            println!(
                "{{\"rows\": {}, \"users\": {}, \"items\": {}, \"train\": {}, \"test\": {},",
                data.report.interactions,
                data.report.users,
                data.report.items,
                cut.report.train_interactions,
                cut.report.test_cases
            );
        }
    }
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (total, read) = times[times.len() / 2];
    // Only where the kernel tells.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("unknown").trim();
    println!(" \"seconds\": {total:.3}, \"load_seconds\": {read:.3}, \"peak\": \"{peak}\"}}");
    Ok(())
}
