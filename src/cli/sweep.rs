//! `sidereal sweep FILE.toml`.

use super::args::SweepArguments;
use super::interrupt::cancel_on_interrupt;
use super::run::observers;
use super::{output, tables};
use crate::Registry;
use sidereal_core::{Error, Result};
use sidereal_experiment::sweep::{RunRow, State, SweepOptions, check};
use sidereal_experiment::{Sweep, default_cache, default_out};
use std::process::ExitCode;

pub fn sweep(registry: &Registry, a: SweepArguments) -> Result<ExitCode> {
    let sweep = Sweep::load(&a.file)?;
    check(registry, &sweep)?;
    let total = sweep.cases.len() * sweep.seeds.len();
    if a.dry_run {
        return dry_run(&sweep);
    }
    let options = SweepOptions {
        out: a.out.unwrap_or_else(|| default_out(&sweep.name)),
        cache: a.common.cache.clone().unwrap_or_else(default_cache),
    };
    let mut done = 0;
    let heard = |row: &RunRow| {
        done += 1;
        if a.common.quiet || a.common.json {
            return Ok(());
        }
        output::print(&format!("{done}/{total}  {}\n", line(row)))
    };
    let quiet = a.common.quiet || a.common.json;
    let cancel = cancel_on_interrupt();
    let listeners = || observers(quiet);
    let summary =
        sidereal_experiment::sweep::sweep(registry, &sweep, &options, listeners, &cancel, heard)
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
    let failed = summary.runs.iter().filter(|r| r.state != State::Finished).count();
    match failed {
        0 => Ok(ExitCode::SUCCESS),
        n => Err(Error::mismatch(format!("{n} of {total} runs failed; their errors stand above"))),
    }
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

fn dry_run(sweep: &Sweep) -> Result<ExitCode> {
    let mut table = tables::Table::default();
    table.row(["case".to_string(), "seeds".into()]);
    for case in &sweep.cases {
        let seeds: Vec<String> = sweep.seeds.iter().map(u64::to_string).collect();
        table.row([case.name.clone(), seeds.join(", ")]);
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
