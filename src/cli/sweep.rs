//! `sidereal sweep FILE.toml`.

use super::ahead;
use super::args::SweepArguments;
use super::child;
use super::interrupt::cancel_on_interrupt;
use super::wire::{Line, Sender};
use super::{output, tables};
use crate::Registry;
use sidereal_core::{Cancel, Error, Observer, Result, Silent};
use sidereal_experiment::sweep::{
    Budget, Job, Lookout, Place, RunRow, RungResult, Selection, State, Summary, SweepOptions,
    check, halve, run_here, rung_folder,
};
use sidereal_experiment::{Sweep, default_cache, default_out};
use sidereal_train::Board;
use std::fmt::Write;
use std::path::Path;
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
    if sweep.halving.is_some() && !(a.case.is_empty() && a.seed.is_empty()) {
        return Err(Error::ConfigAt {
            place: if a.case.is_empty() { "--seed" } else { "--case" }.into(),
            message: "[sweep.halving] chooses between all cases by all seeds".into(),
        });
    }
    let selected =
        || sweep.jobs(&options.out).filter(|j| options.selection.has(&j.case.name, j.seed));
    let cache = a.common.cache.clone().unwrap_or_else(default_cache);
    if a.dry_run {
        return dry_run(registry, sweep, &a, &options, &cache, cancel);
    }
    let total = match &sweep.halving {
        None => selected().count(),
        Some(halving) => {
            let rungs = halving.rungs(sweep.cases.len());
            (rungs.iter().map(|r| r.cases).sum::<usize>() + 1) * sweep.seeds.len()
        }
    };
    let quiet = a.common.quiet || a.common.json;
    let mut lookout = match quiet && a.memory.is_none() {
        true => None,
        false => {
            let look = ahead::look(registry, sweep, &options, &cache, None, cancel);
            Some(look.map_err(with_advice)?)
        }
    };
    let mut expected = None;
    if let Some(outlook) = lookout.as_ref().filter(|l| !l.is_empty()).map(Lookout::outlook) {
        if !quiet {
            output::print(&format!("{}\n", ahead::text(&outlook, sweep, options.budget.jobs)))?;
        }
        outlook.check(a.memory)?;
        expected = ahead::seconds(&outlook, sweep);
    }
    let mut done = 0;
    let board = (!quiet).then(Board::new);
    board.iter().for_each(|board| board.overall(overall(0, total, expected)));
    let heard = |row: &RunRow| {
        done += 1;
        let Some(board) = &board else { return Ok(()) };
        board.overall(overall(done, total, expected));
        board.above(|| output::print(&format!("{done}/{total}  {}\n", line(row))))
    };
    let parent = child::Parent { sweep: &a, out: &options.out, cache: &cache, cancel };
    let run = |job: &Job<'_>, place: &Place<'_>, rung: Option<u64>| {
        let on = rung.map_or(String::new(), |r| format!(", rung {r}"));
        let name = format!("{}, seed {}{on}", job.case.name, job.seed);
        let line = board.as_ref().map(|board| board.line(&name));
        let shown = line.as_ref().map_or(&Silent as &dyn Observer, |line| line);
        parent.run(job, place, rung, shown)
    };
    let summary = match &sweep.halving {
        None => {
            let run = |job: &Job<'_>, place: &Place<'_>| run(job, place, None);
            sidereal_experiment::sweep::sweep(
                registry,
                sweep,
                &options,
                lookout.as_mut(),
                run,
                heard,
            )
        }
        Some(halving) => {
            let look = |rung: &Sweep, at: &SweepOptions| match a.memory {
                None => Ok(None),
                Some(_) => {
                    let all = &options.selection;
                    Lookout::new(registry, rung, &at.out, all, &cache, at.budget, cancel).map(Some)
                }
            };
            halve(registry, sweep, halving, &options, look, run, heard)
        }
    };
    drop(board);
    let summary = summary.map_err(with_advice)?;
    match a.common.json {
        true => output::print_json(&summary)?,
        false => output::print(&report(&summary, &options.out))?,
    }
    match failures(&summary, &options.selection, total, &parent) {
        None => Ok(ExitCode::SUCCESS),
        Some(text) => Err(Error::mismatch(text)),
    }
}

/// What people read at the end: the rungs, the cases, what was chosen, what may not be compared.
fn report(summary: &Summary, out: &Path) -> String {
    let aligned = |rows: Vec<Vec<String>>| {
        let mut table = tables::Table::default();
        rows.into_iter().for_each(|row| table.row(row));
        table.text(0)
    };
    let bracket = summary.bracket.as_ref();
    let rungs = bracket.map_or(String::new(), |b| format!("\n{}", aligned(b.cells())));
    let cases = aligned(summary.cells());
    let verdict = summary.verdict().map_or(String::new(), |v| format!("\n{v}\n"));
    let mixed: String = summary.mixed().iter().map(|m| format!("{m}\n")).collect();
    format!("{rungs}\n{cases}{verdict}{mixed}\n{}\n", out.display())
}

/// Runs that failed, and how to run them again.
fn failures(
    summary: &Summary,
    selection: &Selection,
    total: usize,
    parent: &child::Parent<'_>,
) -> Option<String> {
    let rungs = summary.bracket.iter().flat_map(|b| &b.rungs);
    let fallen: Vec<String> = rungs.flat_map(failed_on).collect();
    if !fallen.is_empty() {
        let list = fallen.join("; ");
        return Some(format!(
            "cases fell because a run failed: {list}; the same command tries them again"
        ));
    }
    let of = |r: &&RunRow| r.state != State::Finished && selection.has(&r.case, r.seed);
    let failed: Vec<&RunRow> = summary.runs.iter().filter(of).collect();
    let mut text = format!("{} of {total} runs failed", failed.len());
    for row in &failed {
        let State::Failed(error) = &row.state else { continue };
        let again = parent.command_line(&row.case, row.seed);
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {}, seed {}: {error}\n    again: {again}", row.case, row.seed);
    }
    (!failed.is_empty()).then_some(text)
}

/// Cases of a rung without a value.
fn failed_on(rung: &RungResult) -> Vec<String> {
    let failed = rung.cases.iter().filter(|c| c.valid.is_none());
    failed.map(|c| format!("{} at {}", c.case, rung.resource)).collect()
}

fn options(sweep: &Sweep, a: &SweepArguments) -> SweepOptions {
    SweepOptions {
        out: a.out.clone().unwrap_or_else(|| default_out(&sweep.name)),
        selection: Selection { cases: a.case.clone(), seeds: a.seed.clone() },
        budget: Budget { jobs: a.jobs.into(), memory: a.memory, ..Budget::default() },
    }
}

/// The one run that a sweep gave to this process.
fn child(registry: &Registry, sweep: &Sweep, a: &SweepArguments) -> Result<ExitCode> {
    let mut options = options(sweep, a);
    let sweep = match (&sweep.halving, a.rung) {
        (Some(halving), Some(resource)) => {
            options.out = options.out.join(rung_folder(halving, resource));
            sweep.rung(halving, resource)?
        }
        (Some(halving), None) => {
            Sweep { cases: sweep.with_resource(halving, halving.to)?, ..sweep.clone() }
        }
        (None, _) => sweep.clone(),
    };
    options.selection.check(&sweep)?;
    let cancel = child::cancel_with_parent();
    let cache = a.common.cache.clone().unwrap_or_else(default_cache);
    for job in sweep.jobs(&options.out).filter(|j| options.selection.has(&j.case.name, j.seed)) {
        let observers: Vec<Box<dyn Observer>> = vec![Box::new(Sender::default())];
        if let Err(error) = run_here(registry, &job, &cache, a.threads, observers, &cancel) {
            Line::Error(error.to_string()).send();
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
        State::Finished if row.test.is_empty() => {
            let metrics = row.valid.iter().map(|(name, value)| format!("valid {name} {value:.4}"));
            format!("{name}: {}", metrics.collect::<Vec<_>>().join("  "))
        }
        State::Finished => {
            let metrics = row.test.iter().map(|(name, value)| format!("{name} {value:.4}"));
            format!("{name}: {}", metrics.collect::<Vec<_>>().join("  "))
        }
    }
}

/// What stands behind the time on the line over all runs.
fn overall(done: usize, total: usize, expected: Option<f64>) -> String {
    let of = expected.map_or(String::new(), |s| format!(" of about {}", ahead::time(s)));
    format!("{of}, {done} of {total} runs done")
}

fn dry_run(
    registry: &Registry,
    sweep: &Sweep,
    a: &SweepArguments,
    options: &SweepOptions,
    cache: &Path,
    cancel: &Cancel,
) -> Result<ExitCode> {
    let scratch = std::env::temp_dir().join(format!("sidereal-dry-run-{}", std::process::id()));
    let looked = ahead::look(registry, sweep, options, cache, Some(&scratch), cancel);
    // What a trial made is of no use to anyone.
    let _ = std::fs::remove_dir_all(&scratch);
    let outlook = looked?.outlook();
    if a.common.json {
        output::print_json(&outlook)?;
    } else {
        let mut table = tables::Table::default();
        table.row(["case".to_string(), "seeds".into()]);
        for case in &sweep.cases {
            let has = |seed: &&u64| options.selection.has(&case.name, **seed);
            let seeds: Vec<String> = sweep.seeds.iter().filter(has).map(u64::to_string).collect();
            if !seeds.is_empty() {
                table.row([case.name.clone(), seeds.join(", ")]);
            }
        }
        let ahead = ahead::text(&outlook, sweep, options.budget.jobs);
        output::print(&format!("{}\n{ahead}", table.text(0)))?;
    }
    outlook.check(a.memory).map(|()| ExitCode::SUCCESS)
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
