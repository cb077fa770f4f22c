//! What a sweep has before it: its distinct stages, which of them are finished, what the others
//! will take.
//!
//! Whether a stage is finished is asked of the cache by the stages themselves, over a cache that
//! makes nothing. Times and memory come from what was measured (`measured.rs`).

use super::plan::{Stage, StageKind};
use super::schedule::{Budget, Schedule};
use super::work::Work;
use super::{Job, Selection, Sweep, trial};
use crate::measured::{Basis, History, Measured};
use crate::stages::data::{self, Data};
use crate::stages::evaluation::{self, Subject};
use crate::stages::training::{self, Training};
use crate::stages::{Context, sids};
use crate::{Cache, Plan, Registry};
use serde::Serialize;
use sidereal_core::{Cancel, Error, Result, Run, SidTable};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longest trial: what it did not come to by then stays unknown.
const DEADLINE: Duration = Duration::from_secs(30);

/// A run that is not done.
struct Ahead {
    case: String,
    seed: u64,
    stages: Vec<Stage>,
    work: Option<Work>,
    threads: usize,
    lanes: usize,
}

/// A line of the outlook: all stages of a kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Which stages.
    pub stage: String,
    /// Distinct ones that runs need.
    pub distinct: usize,
    /// Those that the cache has.
    pub finished: usize,
    /// Seconds of the quickest and the slowest that must be made, where any is known.
    pub each: Option<[f64; 2]>,
    /// Seconds of all that must be made; none where one is not known.
    pub seconds: Option<f64>,
    /// Those that must be made and of which nothing is known.
    pub unknown: usize,
    /// Those whose time is scaled from another component.
    pub rough: usize,
}

/// Memory that a run is expected to take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunMemory {
    /// The case.
    pub case: String,
    /// The seed.
    pub seed: u64,
    /// Bytes; none where nothing like it was measured.
    pub bytes: Option<u64>,
}

/// What is ahead.
#[derive(Debug, Clone, Serialize)]
pub struct Outlook {
    /// A line a kind of stage, in the order of the work.
    pub rows: Vec<Row>,
    /// Runs that are not done.
    pub runs: Vec<RunMemory>,
    /// Seconds of the sweep with the runs side by side that were asked for.
    pub seconds: Option<f64>,
    /// Bytes of the largest run.
    pub largest: Option<u64>,
    /// Bytes of the largest runs that may run side by side.
    pub together: Option<u64>,
}

/// Looks ahead at the selected runs of a sweep.
pub struct Lookout<'a> {
    registry: &'a Registry,
    cache: &'a Path,
    cancel: &'a Cancel,
    budget: Budget,
    ahead: Vec<Ahead>,
    finished: BTreeSet<String>,
    history: History,
}

impl<'a> Lookout<'a> {
    /// Sees what is finished below `cache`; nothing is made.
    pub fn new(
        registry: &'a Registry,
        sweep: &Sweep,
        out: &Path,
        selection: &Selection,
        cache: &'a Path,
        budget: Budget,
        cancel: &'a Cancel,
    ) -> Result<Self> {
        let mut lookout = Lookout {
            registry,
            cache,
            cancel,
            budget,
            ahead: Vec::new(),
            finished: BTreeSet::new(),
            history: History::read(cache),
        };
        let mut known = Known::default();
        for job in sweep.jobs(out).filter(|j| selection.has(&j.case.name, j.seed)) {
            // A run that cannot begin will say why when its turn comes.
            let Ok(plan) = job.plan(registry) else { continue };
            if !job.finished(&plan).unwrap_or(false) {
                lookout.look(&job, &plan, &mut known)?;
            }
        }
        Ok(lookout)
    }

    fn context<'c>(&self, plan: &'c Plan, cache: &'c Cache) -> Context<'c>
    where
        'a: 'c,
    {
        let run =
            Run { cancel: self.cancel.clone(), threads: plan.threads, ..Run::quiet(plan.seed) };
        Context { registry: self.registry, plan, cache, run }
    }

    fn look(&mut self, job: &Job<'_>, plan: &Plan, known: &mut Known) -> Result<()> {
        let all = job.stages(plan);
        let cache = Cache::finished(self.cache);
        let cx = self.context(plan, &cache);
        let data = known.data(&cx);
        let there = data.as_ref().map_or(0, |data| known.there(&cx, data, &all));
        cx.run.check()?;
        self.finished.extend(all[..there].iter().map(|s| s.id.clone()));
        let work = match &data {
            Some(data) => known.work(&cx, data, &all).ok(),
            None => None,
        };
        self.ahead.push(Ahead {
            case: job.case.name.clone(),
            seed: job.seed,
            stages: all,
            work,
            threads: plan.threads,
            lanes: plan.model.as_ref().map_or(0, |m| m.train.options.lanes),
        });
        Ok(())
    }

    /// Tries the first run of each kind of model that was never measured. Its data, vectors and IDs
    /// go to the cache, or below `scratch` where one is given, which must be empty.
    pub fn try_unknown(&mut self, sweep: &Sweep, out: &Path, scratch: Option<&Path>) -> Result<()> {
        let mut tried: BTreeSet<String> = BTreeSet::new();
        let mut measured: Vec<Measured> = Vec::new();
        for (at, job) in self.unknown(sweep, out) {
            let Some(last) =
                self.ahead[at].stages.iter().rev().find(|s| s.kind <= StageKind::Training)
            else {
                continue;
            };
            if !tried.insert(last.component.clone()) {
                continue;
            }
            let cache = match scratch {
                Some(folder) => Cache::beside(self.cache, folder.join("cache")),
                None => Cache::new(self.cache),
            };
            let name = format!("sidereal-trial-{}", std::process::id());
            let checkpoints = match scratch {
                Some(folder) => folder.join("checkpoints"),
                None => std::env::temp_dir().join(name),
            };
            let Ok(plan) = job.plan(self.registry) else { continue };
            let tell = |m: Measured| {
                if scratch.is_none() {
                    m.add(self.cache);
                }
                measured.push(m);
            };
            // What it told before an error is of use; the run itself will say what is wrong.
            let ended = within(DEADLINE, self.cancel, |cancel| {
                let run = Run { cancel, ..Run::quiet(plan.seed) };
                super::caught(|| {
                    trial::trial(self.registry, &plan, &cache, &checkpoints, &run, tell)
                })
            });
            if ended.is_ok() && scratch.is_none() {
                let made = self.ahead[at].stages.iter().filter(|s| s.kind < StageKind::Training);
                self.finished.extend(made.map(|s| s.id.clone()));
            }
            let _ = std::fs::remove_dir_all(&checkpoints);
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled("on request".into()));
            }
            if self.ahead[at].work.is_none() {
                // The data are there now, at least for this look.
                let cx = self.context(&plan, &cache);
                if let Ok(data) = data::data(&cx) {
                    let work = Work::of(self.registry, &plan, &data)?;
                    self.ahead
                        .iter_mut()
                        .filter(|a| a.work.is_none())
                        .for_each(|a| a.work = Some(work.clone()));
                }
            }
        }
        self.history.extend(measured);
        Ok(())
    }

    /// Runs with a stage that nothing is known of.
    fn unknown<'s>(&self, sweep: &'s Sweep, out: &Path) -> Vec<(usize, Job<'s>)> {
        let find = |at: usize| {
            let a = &self.ahead[at];
            let job = sweep.jobs(out).find(|j| j.case.name == a.case && j.seed == a.seed)?;
            let open = a.stages.iter().filter(|s| !self.finished.contains(&s.id));
            let unknown =
                open.filter(|s| s.kind >= StageKind::Training).any(|s| !self.history.knows(s));
            unknown.then_some((at, job))
        };
        (0..self.ahead.len()).filter_map(find).collect()
    }

    /// Whether every selected run is done.
    pub fn is_empty(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Reads again what was measured.
    pub fn refresh(&mut self) {
        self.history = History::read(self.cache);
    }

    /// Stages that are there.
    pub(super) fn finished(&self) -> impl Iterator<Item = &str> {
        self.finished.iter().map(String::as_str)
    }

    /// Bytes that a run is expected to take.
    pub(super) fn memory_of(&self, job: &Job<'_>) -> Option<u64> {
        let of = |a: &&Ahead| a.case == job.case.name && a.seed == job.seed;
        self.memory(self.ahead.iter().find(of)?)
    }

    /// Threads that a run has while others run.
    fn threads(&self, a: &Ahead) -> usize {
        let peers = self.budget.jobs.min(self.ahead.len()).max(1);
        a.threads.min((self.budget.cores / peers).max(1))
    }

    fn memory(&self, a: &Ahead) -> Option<u64> {
        // A run whose stages are all there still loads the last.
        let open = |s: &&Stage| !self.finished.contains(&s.id) || a.stages.last() == Some(s);
        let open = a.stages.iter().filter(open);
        self.history.memory(open, a.work.as_ref().and_then(|w| w.parameters), a.lanes)
    }

    /// What is ahead, as far as it is known.
    pub fn outlook(&self) -> Outlook {
        let mut seconds: BTreeMap<&str, Option<f64>> = BTreeMap::new();
        let mut rows = Vec::new();
        for kind in StageKind::ALL {
            let mut row = Row {
                stage: kind.to_string(),
                distinct: 0,
                finished: 0,
                each: None,
                seconds: Some(0.0),
                unknown: 0,
                rough: 0,
            };
            let mut seen = BTreeSet::new();
            for a in &self.ahead {
                let Some(stage) = a.stages.iter().find(|s| s.kind == kind) else { continue };
                if !seen.insert(stage.id.as_str()) {
                    continue;
                }
                row.distinct += 1;
                if self.finished.contains(&stage.id) {
                    row.finished += 1;
                    seconds.insert(&stage.id, Some(0.0));
                    continue;
                }
                let work = a.work.as_ref().and_then(|w| w.units(kind));
                let estimate = self.history.seconds(stage, work, self.threads(a));
                let s = estimate.map(|e| e.seconds);
                seconds.insert(&stage.id, s);
                row.seconds = row.seconds.zip(s).map(|(a, b)| a + b);
                row.unknown += usize::from(s.is_none());
                row.rough += usize::from(estimate.is_some_and(|e| e.basis == Basis::Other));
                if let Some(s) = s {
                    let [low, high] = row.each.unwrap_or([s, s]);
                    row.each = Some([low.min(s), high.max(s)]);
                }
            }
            if row.distinct > 0 {
                rows.push(row);
            }
        }
        let memory: Vec<Option<u64>> = self.ahead.iter().map(|a| self.memory(a)).collect();
        let run = |(a, bytes): (&Ahead, &Option<u64>)| RunMemory {
            case: a.case.clone(),
            seed: a.seed,
            bytes: *bytes,
        };
        let mut largest: Option<Vec<u64>> = memory.iter().copied().collect();
        if let Some(all) = &mut largest {
            all.sort_unstable_by(|a, b| b.cmp(a));
        }
        let side_by_side = |all: &Vec<u64>| all.iter().take(self.budget.jobs).sum();
        let together: Option<u64> = largest.as_ref().map(side_by_side);
        Outlook {
            rows,
            runs: self.ahead.iter().zip(&memory).map(run).collect(),
            seconds: self.simulate(&seconds, &memory),
            largest: largest.and_then(|all| all.first().copied()),
            together: together
                .zip(Some(self.budget.memory.unwrap_or(u64::MAX)))
                .map(|(t, b)| t.min(b)),
        }
    }

    /// Goes through the schedule with the times that are expected.
    fn simulate(
        &self,
        seconds: &BTreeMap<&str, Option<f64>>,
        memory: &[Option<u64>],
    ) -> Option<f64> {
        let rest = self.history.rest().unwrap_or(0.0);
        let mut schedule = Schedule::new(self.budget);
        self.finished.iter().for_each(|id| schedule.finish(id));
        for (at, a) in self.ahead.iter().enumerate() {
            schedule.add(at, a.stages.clone());
        }
        let mut made = self.finished.clone();
        // Of each run the time at which its present stage ends, and the stage.
        let mut running: BTreeMap<usize, (f64, usize)> = BTreeMap::new();
        let mut now = 0.0;
        loop {
            while let Some(start) = schedule.next(|run| memory[run]) {
                running.insert(start.run, (now + rest, 0));
            }
            let first = running.iter().min_by(|a, b| a.1.0.total_cmp(&b.1.0));
            let Some((&run, &(time, stage))) = first else { return Some(now) };
            now = time;
            let stages = &self.ahead[run].stages;
            if stage > 0 {
                let done = &stages[stage - 1];
                schedule.passed(run, done.kind);
                made.insert(done.id.clone());
            }
            match stages.get(stage) {
                Some(next) => {
                    let takes = match made.contains(&next.id) {
                        true => 0.0,
                        false => seconds.get(next.id.as_str()).copied().flatten()?,
                    };
                    running.insert(run, (now + takes, stage + 1));
                }
                None => {
                    schedule.ended(run);
                    running.remove(&run);
                }
            }
        }
    }
}

/// Does work that hears a stop, its own and one when the time is over.
fn within<T>(time: Duration, cancel: &Cancel, work: impl FnOnce(Cancel) -> T) -> T {
    let (own, over) = (Cancel::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let began = Instant::now();
            while !over.load(Ordering::Relaxed) {
                if cancel.is_cancelled() || began.elapsed() > time {
                    own.cancel();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let done = work(own.clone());
        over.store(true, Ordering::Relaxed);
        done
    })
}

impl Outlook {
    /// Refuses a run that alone takes more than `memory`.
    pub fn check(&self, memory: Option<u64>) -> Result<()> {
        let Some(memory) = memory else { return Ok(()) };
        match self.runs.iter().find(|r| r.bytes.is_some_and(|b| b > memory)) {
            None => Ok(()),
            Some(run) => Err(too_large(&run.case, run.seed, run.bytes.unwrap_or(0), memory)),
        }
    }
}

/// A run that alone takes more memory than there is for all.
pub(super) fn too_large(case: &str, seed: u64, bytes: u64, memory: u64) -> Error {
    let mib = |b: u64| b.div_ceil(1 << 20);
    Error::ConfigAt {
        place: "--memory".into(),
        message: format!(
            "case `{case}`, seed {seed}: takes about {} MiB, more than the {} MiB of all runs; \
             allowed: {} MiB and up, or a smaller run (backbone, train.lanes)",
            mib(bytes),
            memory >> 20,
            mib(bytes)
        ),
    }
}

/// What was read last: runs that share it come one after the other more often than not.
#[derive(Default)]
struct Known {
    data: Option<(String, Option<Arc<Data>>)>,
    table: Option<(String, Option<Option<Arc<SidTable>>>)>,
    training: Option<(String, Option<Training>)>,
    work: BTreeMap<String, Work>,
}

impl Known {
    fn data(&mut self, cx: &Context<'_>) -> Option<Arc<Data>> {
        let key =
            serde_json::json!([cx.plan.source.identity(), cx.plan.split.identity()]).to_string();
        if self.data.as_ref().is_none_or(|d| d.0 != key) {
            self.data = Some((key, data::data(cx).ok().map(Arc::new)));
        }
        self.data.as_ref().and_then(|d| d.1.clone())
    }

    fn work(&mut self, cx: &Context<'_>, data: &Data, all: &[Stage]) -> Result<Work> {
        let key = all.last().map_or(String::new(), |s| s.alike.clone());
        if let Some(work) = self.work.get(&key) {
            return Ok(work.clone());
        }
        let work = Work::of(cx.registry, cx.plan, data)?;
        self.work.insert(key, work.clone());
        Ok(work)
    }

    /// How many stages from the first on the cache has.
    fn there(&mut self, cx: &Context<'_>, data: &Data, all: &[Stage]) -> usize {
        let id = |kind| all.iter().find(|s| s.kind == kind).map(|s| s.id.clone());
        let before = |kind| all.iter().take_while(|s| s.kind < kind).count();
        let subject = match &cx.plan.model {
            None => evaluation::baseline(cx),
            Some(model) => {
                let table = match &model.generative {
                    None => None,
                    Some(g) => {
                        let key = id(StageKind::Ids).unwrap_or_default();
                        if self.table.as_ref().is_none_or(|t| t.0 != key) {
                            let Ok(vectors) = sids::Vectors::encode(cx, g, data) else { return 1 };
                            let made = sids::sids(cx, g, data, vectors.as_ref());
                            self.table = Some((key, made.ok().map(|m| Some(m.table))));
                        }
                        match self.table.as_ref().and_then(|t| t.1.clone()) {
                            Some(table) => table,
                            None => return before(StageKind::Ids),
                        }
                    }
                };
                let key = id(StageKind::Training).unwrap_or_default();
                if self.training.as_ref().is_none_or(|t| t.0 != key) {
                    let nowhere = Path::new("");
                    let made = training::training(cx, model, data, table, nowhere).ok();
                    self.training = Some((key, made));
                }
                match self.training.as_ref().and_then(|t| t.1.as_ref()) {
                    Some(made) => Some(evaluation::model(made.trained.clone())),
                    None => return before(StageKind::Training),
                }
            }
        };
        if all.iter().all(|s| s.kind < StageKind::Evaluation) {
            return all.len();
        }
        let made = |subject: Subject| evaluation::evaluation(cx, data, &subject).is_ok();
        match subject.is_some_and(made) {
            true => all.len(),
            false => before(StageKind::Evaluation),
        }
    }
}
