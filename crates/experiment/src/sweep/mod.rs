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
//!
//! How a run is run is for the caller to say: [`run_here`] runs it in this process and turns a panic
//! into its error; the command line gives each a process of its own, so that one that is killed for
//! want of memory ends alone too.

mod file;
mod points;
mod summary;

pub use file::{Case, Sweep};
pub use summary::{CaseRow, Column, Kind, Mixed, RunRow, State, Summary};

use crate::{Existing, Plan, Registry, RunOptions};
use sidereal_core::component::nearest;
use sidereal_core::{Cancel, Error, Observer, Result, files};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Where a sweep goes.
#[derive(Debug, Clone)]
pub struct SweepOptions {
    /// The sweep's folder.
    pub out: PathBuf,
    /// Which runs are run.
    pub selection: Selection,
}

/// Some runs of a sweep; an empty list takes all.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Names of cases.
    pub cases: Vec<String>,
    /// Seeds.
    pub seeds: Vec<u64>,
}

impl Selection {
    /// Refuses cases and seeds that the sweep does not have.
    pub fn check(&self, sweep: &Sweep) -> Result<()> {
        let names = || sweep.cases.iter().map(|c| c.name.as_str());
        if let Some(name) = self.cases.iter().find(|n| names().all(|known| known != *n)) {
            return Err(Error::UnknownName {
                kind: "case".into(),
                name: name.clone(),
                known: names().map(String::from).collect(),
                nearest: nearest(name, names()),
            });
        }
        match self.seeds.iter().find(|s| !sweep.seeds.contains(s)) {
            None => Ok(()),
            Some(seed) => {
                let message = format!("{seed} is none of the sweep's: {:?}", sweep.seeds);
                Err(Error::config("sweep.seeds", message))
            }
        }
    }

    /// Whether a run is among these.
    pub fn has(&self, case: &str, seed: u64) -> bool {
        (self.cases.is_empty() || self.cases.iter().any(|c| c == case))
            && (self.seeds.is_empty() || self.seeds.contains(&seed))
    }
}

/// One run of a sweep.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The case.
    pub case: &'a Case,
    /// The seed.
    pub seed: u64,
    /// The run folder.
    pub folder: PathBuf,
}

impl Job<'_> {
    /// Checks the experiment and builds its parts.
    pub fn plan(&self, registry: &Registry) -> Result<Plan> {
        Plan::resolve(registry, &self.case.with_seed(self.seed)?)
    }
}

impl Sweep {
    /// All runs in the order of the work, below the folder `out`.
    pub fn jobs(&self, out: &Path) -> impl Iterator<Item = Job<'_>> {
        self.seeds.iter().flat_map(move |&seed| {
            self.cases.iter().map(move |case| {
                let folder = out.join(case.folder()).join(format!("seed-{seed}"));
                Job { case, seed, folder }
            })
        })
    }
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

/// Runs what is selected and not done yet: `run` runs one, `done` hears of each that is over.
///
/// The summary also has the runs beside the selection that finished earlier. Errors: only what
/// concerns the sweep as a whole, such as a stop ([`Error::Cancelled`] from `run`); failed runs are
/// rows of the summary.
pub fn sweep(
    registry: &Registry,
    sweep: &Sweep,
    options: &SweepOptions,
    mut run: impl FnMut(&Job<'_>) -> Result<()>,
    mut done: impl FnMut(&RunRow) -> Result<()>,
) -> Result<Summary> {
    options.selection.check(sweep)?;
    let mut summary = Summary { name: sweep.name.clone(), runs: Vec::new() };
    for job in sweep.jobs(&options.out) {
        let (case, seed, folder) = (&job.case.name, job.seed, &job.folder);
        let finished = job.plan(registry).and_then(|p| crate::folder::finished(folder, &p));
        let selected = options.selection.has(case, seed);
        let ended = match finished {
            Ok(false) if selected => run(&job),
            Ok(true) => Ok(()),
            Err(e) if selected => Err(e),
            _ => continue,
        };
        let row = match ended.and_then(|()| RunRow::finished(case, seed, folder)) {
            Ok(row) => row,
            Err(e @ Error::Cancelled(_)) => return Err(e),
            Err(e) => RunRow::failed(case, seed, folder, &e),
        };
        if selected {
            done(&row)?;
        }
        summary.runs.push(row);
        // After every run: what is done so far is there to read.
        files::write_json(&options.out.join("summary.json"), &summary)?;
        let table = summary.to_markdown();
        files::write_bytes(&options.out.join("table.md"), table.as_bytes())?;
    }
    Ok(summary)
}

/// Runs one in this process; a panic is its error. `cache` holds finished stages.
///
/// Memory that cannot be had ends the whole process: only a process of its own helps there.
pub fn run_here(
    registry: &Registry,
    job: &Job<'_>,
    cache: &Path,
    observers: Vec<Box<dyn Observer>>,
    cancel: &Cancel,
) -> Result<()> {
    let run = || {
        let plan = job.plan(registry)?;
        let options = RunOptions {
            out: job.folder.clone(),
            existing: Existing::Resume,
            cache: cache.to_path_buf(),
        };
        crate::run(registry, &plan, &options, observers, cancel.clone()).map(drop)
    };
    // What the run held is dropped with it; files appear whole or not at all.
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(Error::mismatch(format!("the run panicked, which is a bug: {text}")))
    })
}
