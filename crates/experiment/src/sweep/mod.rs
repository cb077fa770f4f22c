//! Many runs from one file: each stage that several share runs once, each failure stays alone.
//!
//! | file of the sweep's folder | holds |
//! |---|---|
//! | `CASE/seed-N/` | the run folders |
//! | `summary.json` | every run with its metrics and the health of its IDs |
//! | `table.md` | a line a case: mean and spread over the seeds |
//!
//! Runs are ordered by seed, then by case, so that the first seed gives a whole table early; several
//! may run side by side (`schedule.rs`), which changes no result. A run whose folder holds results of the same experiment is not run again, so a sweep that was stopped
//! goes on with the same command.
//!
//! How a run is run is for the caller to say: [`run_here`] runs it in this process and turns a panic
//! into its error; the command line gives each a process of its own, so that one that is killed for
//! want of memory ends alone too.

mod file;
mod halving;
mod outlook;
mod plan;
mod points;
mod schedule;
mod summary;
mod trial;
mod work;

pub use file::{Aim, Case, Sweep, Until};
pub use halving::{
    Bracket, Choice, Halving, Rung, RungResult, Standing, halve, rung_folder, survivors,
};
pub use outlook::{Lookout, Outlook, Row, RunMemory};
pub use plan::{Stage, StageKind, stages};
pub use schedule::Budget;
pub use summary::{CaseRow, Chosen, Column, Kind, Mixed, RunRow, State, Summary};
pub use trial::trial;
pub use work::Work;

use crate::run::Validated;
use crate::stages::evaluation::METRICS;
use crate::{Existing, Plan, Registry, RunOptions};
use schedule::Schedule;
use sidereal_core::component::nearest;
use sidereal_core::{Cancel, Error, Observer, Result, files};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

/// Where a sweep goes.
#[derive(Debug, Clone)]
pub struct SweepOptions {
    /// The sweep's folder.
    pub out: PathBuf,
    /// Which runs are run.
    pub selection: Selection,
    /// What runs side by side may take.
    pub budget: Budget,
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
    /// How far it goes.
    pub until: Until,
}

impl Job<'_> {
    /// Checks the experiment and builds its parts.
    pub fn plan(&self, registry: &Registry) -> Result<Plan> {
        Plan::resolve(registry, &self.case.with_seed(self.seed)?)
    }

    /// Whether its folder holds the results of `plan`, which is its own.
    fn finished(&self, plan: &Plan) -> Result<bool> {
        let file = match self.until {
            Until::Training => Validated::FILE,
            Until::Evaluation => METRICS,
        };
        crate::folder::finished(&self.folder, plan, file)
    }

    /// What it has still to make, in the order of the work.
    fn stages(&self, plan: &Plan) -> Vec<Stage> {
        let mut all = stages(plan);
        all.retain(|s| self.until == Until::Evaluation || s.kind <= StageKind::Training);
        all
    }
}

impl Sweep {
    /// All runs in the order of the work, below the folder `out`.
    pub fn jobs(&self, out: &Path) -> impl Iterator<Item = Job<'_>> {
        self.seeds.iter().flat_map(move |&seed| {
            self.cases.iter().map(move |case| {
                let folder = out.join(case.folder()).join(format!("seed-{seed}"));
                Job { case, seed, folder, until: self.until }
            })
        })
    }
}

/// Resolves every run before the first begins, so that a wrong name costs no time.
pub fn check(registry: &Registry, sweep: &Sweep) -> Result<()> {
    let seed = sweep.seeds.first().copied().unwrap_or(0);
    for case in &sweep.cases {
        let config = case.with_seed(seed)?;
        let plan = Plan::resolve(registry, &config).map_err(|e| name_case(e, &case.name))?;
        if let (Some(_), None) = (&sweep.halving, &plan.model) {
            let message = format!("case `{}` has no model that could train longer", case.name);
            return Err(Error::config("sweep.halving", message));
        }
    }
    if sweep.halving.is_some() {
        Choice::required(registry, sweep)?;
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

/// What a run of a sweep has beside its job.
pub struct Place<'a> {
    /// Threads: its share of the cores.
    pub threads: usize,
    passed: &'a (dyn Fn(StageKind) + Sync),
}

impl Place<'_> {
    /// Tells that the run is done with a stage, so that others that need it may begin.
    pub fn passed(&self, stage: StageKind) {
        (self.passed)(stage);
    }
}

/// What the runs tell the sweep.
enum Heard {
    Passed(usize, StageKind),
    Ended(usize, Result<()>),
}

/// Runs what is selected and not done yet: `run` runs one, on a thread of its own, `done` hears of
/// each that is over. `lookout` tells which stages are there, and what memory a run will take.
///
/// The summary also has the runs beside the selection that finished earlier. Errors: only what
/// concerns the sweep as a whole, such as a stop ([`Error::Cancelled`] from `run`), and then once
/// all runs that had begun are over; failed runs are rows of the summary.
pub fn sweep(
    registry: &Registry,
    sweep: &Sweep,
    options: &SweepOptions,
    mut lookout: Option<&mut Lookout<'_>>,
    run: impl Fn(&Job<'_>, &Place<'_>) -> Result<()> + Sync,
    mut done: impl FnMut(&RunRow) -> Result<()>,
) -> Result<Summary> {
    options.selection.check(sweep)?;
    let jobs: Vec<Job<'_>> = sweep.jobs(&options.out).collect();
    let choice = match sweep.aim {
        Aim::Choose => Choice::of(registry, sweep)?,
        Aim::Compare => None,
    };
    let rows = vec![None; jobs.len()];
    let mut table = Table { name: &sweep.name, out: &options.out, choice, rows };
    let mut schedule = Schedule::new(options.budget);
    lookout.iter().flat_map(|l| l.finished()).for_each(|id| schedule.finish(id));
    for (at, job) in jobs.iter().enumerate() {
        let selected = options.selection.has(&job.case.name, job.seed);
        let ended = match job.plan(registry).and_then(|p| Ok((job.finished(&p)?, job.stages(&p)))) {
            Ok((true, _)) => Ok(()),
            Ok((false, stages)) => {
                if selected {
                    schedule.add(at, stages);
                }
                continue;
            }
            Err(e) => Err(e),
        };
        if selected || ended.is_ok() {
            let row = table.set(at, job, ended);
            if selected {
                done(row)?;
            }
        }
    }
    table.write()?;
    let (tell, hear) = mpsc::channel();
    let mut stopped = None;
    std::thread::scope(|scope| {
        loop {
            let memory = memory(&jobs, &schedule, options.budget, &mut lookout);
            for (&at, &bytes) in &memory {
                let Some(most) = options.budget.memory.filter(|most| bytes > *most) else {
                    continue;
                };
                if schedule.withdraw(at) {
                    let job = &jobs[at];
                    let error = outlook::too_large(&job.case.name, job.seed, bytes, most);
                    let row = table.set(at, job, Err(error));
                    if let Err(e) = done(row).and_then(|()| table.write()) {
                        stopped.get_or_insert(e);
                    }
                }
            }
            while stopped.is_none()
                && let Some(start) = schedule.next(|at| memory.get(&at).copied())
            {
                let (at, job, tell, run) = (start.run, &jobs[start.run], tell.clone(), &run);
                scope.spawn(move || {
                    // Nobody listens once the sweep is over, and then nobody needs to know.
                    let passed = |stage| drop(tell.send(Heard::Passed(at, stage)));
                    let place = Place { threads: start.threads, passed: &passed };
                    let ended = caught(|| run(job, &place));
                    drop(tell.send(Heard::Ended(at, ended)));
                });
            }
            if schedule.idle() {
                break;
            }
            match hear.recv() {
                Ok(Heard::Passed(at, stage)) => schedule.passed(at, stage),
                Ok(Heard::Ended(at, Err(e @ Error::Cancelled(_)))) => {
                    schedule.ended(at);
                    stopped.get_or_insert(e);
                }
                Ok(Heard::Ended(at, ended)) => {
                    schedule.ended(at);
                    let row = table.set(at, &jobs[at], ended);
                    // After every run: what is done so far is there to read.
                    if let Err(e) = done(row).and_then(|()| table.write()) {
                        stopped.get_or_insert(e);
                    }
                }
                // The sweep holds a sender itself.
                Err(mpsc::RecvError) => break,
            }
        }
    });
    match stopped {
        Some(error) => Err(error),
        None => Ok(table.summary()),
    }
}

/// Bytes that runs are expected to take, as far as they are known by now; empty without a budget.
fn memory(
    jobs: &[Job<'_>],
    schedule: &Schedule,
    budget: Budget,
    lookout: &mut Option<&mut Lookout<'_>>,
) -> BTreeMap<usize, u64> {
    let (Some(_), Some(lookout)) = (budget.memory, lookout) else { return BTreeMap::new() };
    lookout.refresh();
    schedule.all().filter_map(|at| Some((at, lookout.memory_of(&jobs[at])?))).collect()
}

/// Rows of the summary as they come, in the order of the work.
struct Table<'a> {
    name: &'a str,
    out: &'a Path,
    choice: Option<Choice>,
    rows: Vec<Option<RunRow>>,
}

impl Table<'_> {
    fn set(&mut self, at: usize, job: &Job<'_>, ended: Result<()>) -> &RunRow {
        let (case, seed, folder) = (&job.case.name, job.seed, &job.folder);
        let row = ended.and_then(|()| match job.until {
            Until::Training => RunRow::validated(case, seed, folder),
            Until::Evaluation => RunRow::finished(case, seed, folder),
        });
        self.rows[at].insert(row.unwrap_or_else(|e| RunRow::failed(case, seed, folder, &e)))
    }

    fn summary(&self) -> Summary {
        let runs = self.rows.iter().flatten().cloned().collect();
        Summary { runs, choice: self.choice.clone(), ..Summary::new(self.name) }
    }

    fn write(&self) -> Result<()> {
        let summary = self.summary();
        files::write_json(&self.out.join("summary.json"), &summary)?;
        files::write_bytes(&self.out.join("table.md"), summary.to_markdown().as_bytes())
    }
}

/// Runs one in this process, on at most `threads` threads; a panic is its error. `cache` holds
/// finished stages.
///
/// Memory that cannot be had ends the whole process: only a process of its own helps there.
pub fn run_here(
    registry: &Registry,
    job: &Job<'_>,
    cache: &Path,
    threads: usize,
    observers: Vec<Box<dyn Observer>>,
    cancel: &Cancel,
) -> Result<()> {
    caught(|| {
        let mut plan = job.plan(registry)?;
        // The folder has the threads of the file: a share of the cores is no part of an experiment.
        plan.threads = plan.threads.min(threads);
        let options = RunOptions {
            out: job.folder.clone(),
            existing: Existing::Resume,
            cache: cache.to_path_buf(),
        };
        let cancel = cancel.clone();
        match job.until {
            Until::Training => {
                crate::run::validate(registry, &plan, &options, observers, cancel).map(drop)
            }
            Until::Evaluation => crate::run(registry, &plan, &options, observers, cancel).map(drop),
        }
    })
}

/// A panic as an error. What the work held is dropped with it; files appear whole or not at all.
fn caught(work: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(Error::mismatch(format!("the run panicked, which is a bug: {text}")))
    })
}
