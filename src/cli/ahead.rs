//! What a sweep has before it, for people.

use super::tables::Table;
use crate::Registry;
use sidereal_core::{Cancel, Result};
use sidereal_experiment::Sweep;
use sidereal_experiment::sweep::{Lookout, Outlook, Row, Rung, SweepOptions, rung_folder};
use std::path::Path;

/// Looks at the cache and tries what was never measured. With a `scratch` folder nothing is written
/// but there.
pub fn look<'a>(
    registry: &'a Registry,
    sweep: &Sweep,
    options: &SweepOptions,
    cache: &'a Path,
    scratch: Option<&Path>,
    cancel: &'a Cancel,
) -> Result<Lookout<'a>> {
    let (mut out, selection) = (options.out.clone(), &options.selection);
    // What is known before a bracket is its first rung.
    let mut first = None;
    if let Some(halving) = &sweep.halving {
        out = out.join(rung_folder(halving, halving.from));
        first = Some(sweep.rung(halving, halving.from)?);
    }
    let sweep = first.as_ref().unwrap_or(sweep);
    let mut lookout =
        Lookout::new(registry, sweep, &out, selection, cache, options.budget, cancel)?;
    lookout.try_unknown(sweep, &out, scratch)?;
    Ok(lookout)
}

/// Seconds of a sweep; of a bracket, those of its first rung scaled to the others.
pub fn seconds(outlook: &Outlook, sweep: &Sweep) -> Option<f64> {
    let Some(halving) = &sweep.halving else { return outlook.seconds };
    let rungs = halving.rungs(sweep.cases.len());
    let work = |r: &Rung| r.resource as f64 * r.cases as f64;
    let first = rungs.first().map(work).filter(|w| *w > 0.0)?;
    Some(outlook.seconds? * rungs.iter().map(work).sum::<f64>() / first)
}

/// A line a kind of stage, then time and memory of the whole.
pub fn text(outlook: &Outlook, sweep: &Sweep, jobs: usize) -> String {
    if outlook.runs.is_empty() {
        return match &sweep.halving {
            None => "every run is done\n".into(),
            Some(_) => "every run of the first rung is done\n".into(),
        };
    }
    let mut bracket = String::new();
    if let Some(halving) = &sweep.halving {
        let rungs = halving.rungs(sweep.cases.len());
        let rungs = rungs.iter().map(|r| format!("{} with {}", r.cases, r.resource));
        let rungs = rungs.collect::<Vec<_>>().join(", ");
        let whole =
            seconds(outlook, sweep).map_or("time unknown".into(), |s| format!("about {}", time(s)));
        bracket = format!("cases by {}: {rungs}: {whole}; of these the first:\n", halving.resource);
    }
    let mut table = Table::default();
    table.row(["stage", "distinct", "cached", "each", "all"].map(String::from));
    for row in &outlook.rows {
        let all = match (row.seconds, row.unknown) {
            (Some(seconds), _) => time(seconds),
            (None, _) => "unknown".into(),
        };
        let cells = [row.distinct.to_string(), row.finished.to_string(), each(row), all];
        table.row(std::iter::once(row.stage.clone()).chain(cells));
    }
    let side = if jobs == 1 { String::new() } else { format!(", {jobs} side by side") };
    let runs = outlook.runs.len();
    let whole = whole(outlook, jobs);
    let rough = outlook.rows.iter().any(|r| r.rough > 0);
    let rough = if rough { "; ~: scaled from another component" } else { "" };
    let memory = match (outlook.largest, outlook.together) {
        (Some(one), Some(all)) if jobs > 1 => format!("{} a run, {} together", mib(one), mib(all)),
        (Some(one), _) => format!("{} a run", mib(one)),
        _ => "unknown".into(),
    };
    format!("{bracket}{}{runs} runs{side}: {whole}{rough}\nmemory: {memory}\n", table.text(0))
}

/// Time of all runs, or the part of it that is known.
fn whole(outlook: &Outlook, jobs: usize) -> String {
    if let Some(seconds) = outlook.seconds {
        return format!("about {}", time(seconds));
    }
    let known: f64 = outlook.rows.iter().filter_map(|r| r.seconds).sum();
    if known == 0.0 {
        return "time unknown".into();
    }
    let rest = outlook.rows.iter().filter(|r| r.unknown > 0);
    let rest: Vec<String> = rest.map(|r| format!("{} of {}", r.unknown, r.stage)).collect();
    format!("at least {} (not known: {})", time(known / jobs as f64), rest.join(", "))
}

fn each(row: &Row) -> String {
    let mark = if row.rough > 0 { "~" } else { "" };
    match row.each {
        _ if row.distinct == row.finished => "-".into(),
        None => "unknown".into(),
        Some([low, high]) if time(low) == time(high) => format!("{mark}{}", time(low)),
        Some([low, high]) => format!("{mark}{} to {}", time(low), time(high)),
    }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// `0.4 s`, `12 s`, `3 min`, `2.5 h`.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
