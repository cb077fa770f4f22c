//! Many runs from one file: each stage that several share runs once, each failure stays alone.
//!
//! | file of the sweep's folder | holds |
//! |---|---|
//! | `CASE/seed-N/` | the run folders |
//! | `summary.json` | every run with its metrics and the health of its IDs |
//! | `table.md` | a line a case: mean and spread over the seeds |
//!
//! Runs are ordered by seed, then by case, so that the first seed gives a whole table early. A run
//! whose folder holds results of the same experiment is not run again, so a sweep that was stopped
//! goes on with the same command.

mod file;
mod summary;

pub use file::{Case, Sweep};
pub use summary::{CaseRow, Column, Kind, Mixed, RunRow, State, Summary};

use crate::{Existing, Plan, Registry, RunOptions};
use sidereal_core::{Cancel, Error, Observer, Result, files};
use std::path::{Path, PathBuf};

/// Where a sweep goes.
#[derive(Debug, Clone)]
pub struct SweepOptions {
    /// The sweep's folder.
    pub out: PathBuf,
    /// Finished stages of this and other runs.
    pub cache: PathBuf,
}

/// Resolves every run before the first begins, so that a wrong name costs no time.
pub fn check(registry: &Registry, sweep: &Sweep) -> Result<()> {
    let seed = sweep.seeds.first().copied().unwrap_or(0);
    for case in &sweep.cases {
        let config = case.with_seed(seed)?;
        Plan::resolve(registry, &config).map_err(|e| name_case(e, &case.name))?;
    }
    Ok(())
}

/// Puts the case before an error of its configuration.
fn name_case(error: Error, case: &str) -> Error {
    match error {
        Error::ConfigAt { place, message } => {
            Error::ConfigAt { place, message: format!("case `{case}`: {message}") }
        }
        other => other,
    }
}

/// Runs everything; `observers` makes the listeners of a run, `done` hears of each finished one.
///
/// Errors: only what concerns the sweep as a whole, such as a stop; failed runs are rows of the
/// summary.
pub fn sweep(
    registry: &Registry,
    sweep: &Sweep,
    options: &SweepOptions,
    observers: impl Fn() -> Vec<Box<dyn Observer>>,
    cancel: &Cancel,
    mut done: impl FnMut(&RunRow) -> Result<()>,
) -> Result<Summary> {
    let mut summary = Summary { name: sweep.name.clone(), runs: Vec::new() };
    for &seed in &sweep.seeds {
        for case in &sweep.cases {
            let folder = options.out.join(case.folder()).join(format!("seed-{seed}"));
            let row = match one(registry, case, seed, &folder, options, observers(), cancel) {
                Ok(()) => RunRow::finished(&case.name, seed, &folder)?,
                Err(e @ Error::Cancelled(_)) => return Err(e),
                Err(e) => RunRow::failed(&case.name, seed, &folder, &e),
            };
            done(&row)?;
            summary.runs.push(row);
            // After every run: what is done so far is there to read.
            files::write_json(&options.out.join("summary.json"), &summary)?;
            let table = summary.to_markdown();
            files::write_bytes(&options.out.join("table.md"), table.as_bytes())?;
        }
    }
    Ok(summary)
}

fn one(
    registry: &Registry,
    case: &Case,
    seed: u64,
    folder: &Path,
    options: &SweepOptions,
    observers: Vec<Box<dyn Observer>>,
    cancel: &Cancel,
) -> Result<()> {
    let config = case.with_seed(seed)?;
    let plan = Plan::resolve(registry, &config)?;
    let run = RunOptions {
        out: folder.to_path_buf(),
        existing: Existing::Resume,
        cache: options.cache.clone(),
    };
    if crate::folder::finished(folder, &plan)? {
        return Ok(());
    }
    crate::run(registry, &plan, &run, observers, cancel.clone()).map(drop)
}
