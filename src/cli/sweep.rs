//! `sidereal sweep FILE.toml`.

use super::args::SweepArguments;
use super::child;
use super::interrupt::cancel_on_interrupt;
use super::run::observers;
use super::{output, tables};
use crate::Registry;
use sidereal_core::{Cancel, Error, Result};
use sidereal_experiment::sweep::{RunRow, Selection, State, SweepOptions, check, run_here};
use sidereal_experiment::{Sweep, default_cache, default_out};
use std::fmt::Write;
use std::process::ExitCode;

pub fn sweep(registry: &Registry, a: SweepArguments) -> Result<ExitCode> {
    let mut sweep = Sweep::load(&a.file)?;
    a.set.iter().try_for_each(|assignment| sweep.set(assignment))?;
    if a.child {
        return child(registry, &sweep, &a);
    }
    go(registry, &sweep, a, &cancel_on_interrupt())
}

/// Runs a sweep whose overrides are made; `run` does it too.
pub fn go(
    registry: &Registry,
    sweep: &Sweep,
    a: SweepArguments,
    cancel: &Cancel,
) -> Result<ExitCode> {
    check(registry, sweep)?;
    let options = options(sweep, &a);
    options.selection.check(sweep)?;
    let selected =
        || sweep.jobs(&options.out).filter(|j| options.selection.has(&j.case.name, j.seed));
    if a.dry_run {
        return dry_run(sweep, &options.selection);
    }
    let total = selected().count();
    let quiet = a.common.quiet || a.common.json;
    let mut done = 0;
    let heard = |row: &RunRow| {
        done += 1;
        match quiet {
            true => Ok(()),
            false => output::print(&format!("{done}/{total}  {}\n", line(row))),
        }
    };
    let cache = a.common.cache.clone().unwrap_or_else(default_cache);
    let parent = child::Parent { sweep: &a, out: &options.out, cache: &cache, cancel };
    let summary =
        sidereal_experiment::sweep::sweep(registry, sweep, &options, |job| parent.run(job), heard)
            .map_err(with_advice)?;
    match a.common.json {
        true => output::print_json(&summary)?,
        false => {
            let mut table = tables::Table::default();
            summary.cells().into_iter().for_each(|row| table.row(row));
            let mixed: String = summary.mixed().iter().map(|m| format!("{m}\n")).collect();
            let out = options.out.display();
            output::print(&format!("\n{}{mixed}\n{out}\n", table.text(0)))?;
        }
    }
    let failed: Vec<&RunRow> = summary
        .runs
        .iter()
        .filter(|r| r.state != State::Finished && options.selection.has(&r.case, r.seed))
        .collect();
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!("{} of {total} runs failed", failed.len());
    for row in failed {
        let State::Failed(error) = &row.state else { continue };
        let again = parent.command_line(&row.case, row.seed);
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {}, seed {}: {error}\n    again: {again}", row.case, row.seed);
    }
    Err(Error::mismatch(text))
}

fn options(sweep: &Sweep, a: &SweepArguments) -> SweepOptions {
    SweepOptions {
        out: a.out.clone().unwrap_or_else(|| default_out(&sweep.name)),
        selection: Selection { cases: a.case.clone(), seeds: a.seed.clone() },
    }
}

/// The one run that a sweep gave to this process.
fn child(registry: &Registry, sweep: &Sweep, a: &SweepArguments) -> Result<ExitCode> {
    let options = options(sweep, a);
    options.selection.check(sweep)?;
    let cancel = child::cancel_with_parent();
    let cache = a.common.cache.clone().unwrap_or_else(default_cache);
    for job in sweep.jobs(&options.out).filter(|j| options.selection.has(&j.case.name, j.seed)) {
        if let Err(error) = run_here(registry, &job, &cache, observers(a.common.quiet), &cancel) {
            // Standard output is how the sweep hears of it.
            output::print(&error.to_string())?;
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A finished run on one line.
fn line(row: &RunRow) -> String {
    let name = format!("{}, seed {}", row.case, row.seed);
    match &row.state {
        State::Failed(error) => format!("{name}: failed: {error}"),
        State::Finished => {
            let metrics = row.test.iter().map(|(name, value)| format!("{name} {value:.4}"));
            format!("{name}: {}", metrics.collect::<Vec<_>>().join("  "))
        }
    }
}

fn dry_run(sweep: &Sweep, selection: &Selection) -> Result<ExitCode> {
    let mut table = tables::Table::default();
    table.row(["case".to_string(), "seeds".into()]);
    for case in &sweep.cases {
        let seeds = sweep.seeds.iter().filter(|&&seed| selection.has(&case.name, seed));
        let seeds: Vec<String> = seeds.map(u64::to_string).collect();
        if !seeds.is_empty() {
            table.row([case.name.clone(), seeds.join(", ")]);
        }
    }
    output::print(&table.text(0))?;
    Ok(ExitCode::SUCCESS)
}

/// Says how to go on.
fn with_advice(error: Error) -> Error {
    match error {
        Error::Cancelled(text) => {
            Error::Cancelled(format!("{text}; the same command goes on where this one stopped"))
        }
        other => other,
    }
}
