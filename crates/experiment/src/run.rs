//! A whole run on one screen: stages in order, each through the cache, results into the folder.

use crate::folder::{CHECKPOINTS, Existing, RunFolder};
use crate::leaks::Guard;
use crate::leaks::provenance::PROVENANCE;
use crate::measured::Measured;
use crate::results::Results;
use crate::serve::{Example, examples};
use crate::stages::evaluation::{self, Subject};
use crate::stages::{Context, data, sids, training, versions};
use crate::sweep::{self, Work};
use crate::{Cache, Plan, Registry};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sidereal_core::observe::Fanout;
use sidereal_core::{Cancel, Event, Observer, Result, Run, files};
use sidereal_train::{JsonlLog, TensorBoard};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Users whose recommendations are kept with a run.
const EXAMPLES: usize = 6;

/// Group of the event that tells that a stage is done: its name with the seconds that it took, and
/// `reused`, 1 where the cache had it.
pub const STAGE: &str = "stage";

/// Name of the file with their recommendations.
pub const EXAMPLES_FILE: &str = "examples.json";

/// Where a run goes.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The run folder.
    pub out: PathBuf,
    /// What to do with what is there.
    pub existing: Existing,
    /// Finished stages of this and other runs.
    pub cache: PathBuf,
}

/// What a finished run comes to.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The run folder.
    pub folder: PathBuf,
    /// What `metrics.json` holds.
    pub results: Results,
    /// A few users with their recommendations.
    pub examples: Vec<Example>,
    /// Stages in order.
    pub stages: Vec<StageTime>,
    /// Seconds of the whole run.
    pub seconds: f64,
    /// Peak memory of the process in bytes, where known.
    pub peak_memory: Option<u64>,
}

/// Time of a stage.
#[derive(Debug, Clone, Serialize)]
pub struct StageTime {
    /// Name of the stage.
    pub stage: &'static str,
    /// Seconds.
    pub seconds: f64,
    /// Whether the cache had it.
    pub reused: bool,
}

/// Runs an experiment; `observers` hear every event, beside the log files of the folder.
pub fn run(
    registry: &Registry,
    plan: &Plan,
    options: &RunOptions,
    observers: Vec<Box<dyn Observer>>,
    cancel: Cancel,
) -> Result<Outcome> {
    with_context(registry, plan, options, observers, cancel, |cx, folder, stages, guard, data| {
        evaluate(cx, folder, stages, guard, data, options)
    })
}

/// What a run that ended with training comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validated {
    /// The metric that chose the checkpoint.
    pub metric: String,
    /// Its value on the validation cases.
    pub value: f64,
    /// The step of the checkpoint.
    pub step: u64,
    /// Seconds of the run.
    pub seconds: f64,
}

impl Validated {
    /// Its file in the run folder.
    pub const FILE: &'static str = "valid.json";
}

/// Runs the stages of `plan` up to training: how good the model is on the validation cases, without
/// a look at the test cases.
///
/// Errors: those of a run; a plan without a model, data without validation cases.
pub fn validate(
    registry: &Registry,
    plan: &Plan,
    options: &RunOptions,
    observers: Vec<Box<dyn Observer>>,
    cancel: Cancel,
) -> Result<Validated> {
    let began = Instant::now();
    with_context(
        registry,
        plan,
        options,
        observers,
        cancel,
        |cx, folder, stages, mut guard, data| {
            train(cx, &data, folder, stages, &mut guard)?;
            let found: Value = files::read_json(&folder.path(training::SUMMARY))?;
            let metric = found["select"].as_str().unwrap_or_default();
            let metrics = found["best"]["metrics"].as_array().map_or(&[][..], Vec::as_slice);
            let value =
                metrics.iter().find(|pair| pair[0] == metric).and_then(|pair| pair[1].as_f64());
            let Some(value) = value else {
                let message = "there is no validation case, so nothing tells how good a model is";
                return Err(sidereal_core::Error::input(message));
            };
            let step = found["best"]["step"].as_u64().unwrap_or(0);
            let seconds = began.elapsed().as_secs_f64();
            let found = Validated { metric: metric.into(), value, step, seconds };
            files::write_json(&folder.path(Validated::FILE), &found)?;
            drop_checkpoints(folder);
            Ok(found)
        },
    )
}

/// Opens the folder, the cache and the data, and does the rest.
fn with_context<T>(
    registry: &Registry,
    plan: &Plan,
    options: &RunOptions,
    observers: Vec<Box<dyn Observer>>,
    cancel: Cancel,
    rest: impl FnOnce(&Context<'_>, &RunFolder, &mut Stages<'_>, Guard<'_>, data::Data) -> Result<T>,
) -> Result<T> {
    let began = Instant::now();
    let folder = RunFolder::prepare(&options.out, plan, options.existing)?;
    let mut fanout = Fanout(observers);
    let log = folder.path("log.jsonl");
    fanout.0.push(match folder.continued {
        true => Box::new(JsonlLog::append(&log)?),
        false => Box::new(JsonlLog::create(&log)?),
    });
    fanout.0.push(Box::new(TensorBoard::create(&folder.path("tensorboard"))?));
    let cache = Cache::new(&options.cache);
    let run = Run { seed: plan.seed, observer: &fanout, cancel, threads: plan.threads };
    let cx = Context { registry, plan, cache: &cache, run };
    if !plan.unused.is_empty() {
        let sections: Vec<String> = plan.unused.iter().map(|s| format!("[{s}]")).collect();
        let text = format!("{} have no part in this run", sections.join(", "));
        cx.run.emit(Event::Note(&text));
    }
    files::write_json(&folder.path("versions.json"), &version_tree(plan))?;
    let mut stages = Stages { cx: &cx, began, times: Vec::new(), work: None };

    let data = data::data(&cx)?;
    stages.work = Work::of(registry, plan, &data).ok();
    stages.done("data", data.reused);
    evaluation::classes(&cx, &data)?;
    files::write_json(&folder.path("data.json"), &data_tree(&data))?;
    let guard = Guard::new(&cx, &data)?;
    rest(&cx, &folder, &mut stages, guard, data)
}

/// From the data to the results.
fn evaluate(
    cx: &Context<'_>,
    folder: &RunFolder,
    stages: &mut Stages<'_>,
    mut guard: Guard<'_>,
    data: data::Data,
    options: &RunOptions,
) -> Result<Outcome> {
    let subject = match evaluation::baseline(cx) {
        Some(baseline) => baseline,
        None => train(cx, &data, folder, stages, &mut guard)?,
    };
    let mut evaluated = evaluation::evaluation(cx, &data, &subject)?;
    guard.lists(&evaluated.results)?;
    stages.done("evaluation", evaluated.entry.reused);
    let recommender = evaluation::recommender(cx, &data, &subject)?;
    let examples = examples(cx, &data, recommender.as_ref(), subject.sids(), EXAMPLES)?;
    if evaluated.entry.has(evaluation::PER_USER) {
        folder.adopt(&evaluated.entry.path(evaluation::PER_USER))?;
    }
    let (check, provenance) = guard.finish();
    files::write_json(&folder.path(PROVENANCE), &provenance)?;
    evaluated.results.leak_check = Some(check);
    let outcome = Outcome {
        folder: options.out.clone(),
        results: evaluated.results,
        examples,
        stages: std::mem::take(&mut stages.times),
        seconds: stages.began.elapsed().as_secs_f64(),
        peak_memory: sidereal_train::peak_memory(),
    };
    files::write_json(&folder.path("summary.json"), &summary(&outcome, cx.plan, folder))?;
    files::write_json(&folder.path(EXAMPLES_FILE), &outcome.examples)?;
    // Last: a folder with results is a finished run.
    files::write_json(&folder.path(evaluation::METRICS), &outcome.results)?;
    measure_rest(cx, &outcome);
    drop_checkpoints(folder);
    Ok(outcome)
}

/// The stages of a plan with a model.
fn train(
    cx: &Context<'_>,
    data: &data::Data,
    folder: &RunFolder,
    stages: &mut Stages<'_>,
    guard: &mut Guard<'_>,
) -> Result<Subject> {
    let Some(plan) = &cx.plan.model else {
        return Err(sidereal_core::Error::mismatch("the plan has neither a model nor a baseline"));
    };
    let table = match &plan.generative {
        None => None,
        Some(generative) => {
            let vectors = sids::Vectors::encode(cx, generative, data)?;
            if let Some(vectors) = &vectors {
                stages.done("embeddings", vectors.reused());
                vectors.provenance()?.into_iter().try_for_each(|read| guard.stage(read))?;
            }
            let made = sids::sids(cx, generative, data, vectors.as_ref())?;
            stages.done("sids", made.entry.reused);
            guard.stage(made.provenance()?)?;
            for name in [sids::TABLE, sids::CODEBOOK, sids::INDEX, sids::REPORT] {
                if made.entry.has(name) {
                    folder.adopt(&made.entry.path(name))?;
                }
            }
            Some(made.table)
        }
    };
    let made = training::training(cx, plan, data, table, &folder.path(CHECKPOINTS))?;
    let summary: Option<Value> = files::read_json(&made.entry.path(training::SUMMARY)).ok();
    // What went on with earlier work tells nothing of a whole training.
    let whole = summary.is_none_or(|s| s["resumed_from"].is_null());
    stages.finish("training", made.entry.reused, whole && !made.entry.reused);
    guard.stage(made.provenance()?)?;
    for name in [training::WEIGHTS, training::MODEL_CONFIG, training::SUMMARY] {
        folder.adopt(&made.entry.path(name))?;
    }
    Ok(evaluation::model(made.trained))
}

struct Stages<'a> {
    cx: &'a Context<'a>,
    began: Instant,
    times: Vec<StageTime>,
    work: Option<Work>,
}

impl Stages<'_> {
    fn done(&mut self, stage: &'static str, reused: bool) {
        self.finish(stage, reused, !reused);
    }

    /// `measured`: the time is that of the whole stage.
    fn finish(&mut self, stage: &'static str, reused: bool, measured: bool) {
        let before: f64 = self.times.iter().map(|t| t.seconds).sum();
        let seconds = self.began.elapsed().as_secs_f64() - before;
        let step = self.times.len() as u64;
        let numbers = &[(stage, seconds), ("reused", f64::from(u8::from(reused)))];
        self.cx.run.emit(Event::Scalars { group: STAGE, step, numbers });
        self.times.push(StageTime { stage, seconds, reused });
        let planned = sweep::stages(self.cx.plan).into_iter().find(|s| s.kind.name() == stage);
        if let (true, Some(planned)) = (measured, planned) {
            let measured = Measured {
                stage: stage.into(),
                component: planned.component,
                alike: planned.alike,
                work: self.work.as_ref().and_then(|w| w.units(planned.kind)),
                parameters: self.work.as_ref().and_then(|w| w.parameters),
                threads: self.cx.run.threads,
                seconds,
                peak_memory: sidereal_train::peak_memory(),
            };
            measured.add(self.cx.cache.root());
        }
    }
}

/// What a run took beside the stages that it made.
fn measure_rest(cx: &Context<'_>, outcome: &Outcome) {
    let made: f64 = outcome.stages.iter().filter(|s| !s.reused).map(|s| s.seconds).sum();
    let measured = Measured {
        stage: String::new(),
        component: String::new(),
        alike: String::new(),
        work: None,
        parameters: None,
        threads: cx.run.threads,
        seconds: outcome.seconds - made,
        peak_memory: outcome.peak_memory,
    };
    measured.add(cx.cache.root());
}

/// Checkpoints of a training that ended for lack of time stay: more minutes may follow.
fn drop_checkpoints(folder: &RunFolder) {
    let summary: Option<Value> = files::read_json(&folder.path(training::SUMMARY)).ok();
    if summary.is_none_or(|s| s["stop"] != "time") {
        let _ = std::fs::remove_dir_all(folder.path(CHECKPOINTS));
    }
}

fn version_tree(plan: &Plan) -> Value {
    let mut components = serde_json::Map::new();
    let mut add = |section: &str, name: &str, origin: &str| {
        components.insert(section.into(), json!({"type": name, "crate": origin}));
    };
    add("data", &plan.source.spec.name, &plan.source.origin);
    add("split", &plan.split.spec.name, &plan.split.origin);
    if let Some(m) = &plan.model {
        add("backbone", &m.backbone.name, &m.backbone_origin);
        add("objective", &m.objective.spec.name, &m.objective.origin);
        if let Some(g) = &m.generative {
            add("encoder", &g.encoder.spec.name, &g.encoder.origin);
            add("quantizer", &g.quantizer.spec.name, &g.quantizer.origin);
            add("identifier", &g.identifier.spec.name, &g.identifier.origin);
            add("decoder", &g.decoder.spec.name, &g.decoder.origin);
        }
    }
    json!({
        "sidereal": env!("CARGO_PKG_VERSION"),
        "system": std::env::consts::OS,
        "processor": std::env::consts::ARCH,
        "stages": versions(),
        "components": components,
        "seed": plan.seed,
    })
}

fn data_tree(data: &data::Data) -> Value {
    json!({
        "identity": data.identity,
        "files": data.files,
        "report": data.dataset.report,
        "split": data.splits.report,
    })
}

fn summary(outcome: &Outcome, plan: &Plan, folder: &RunFolder) -> Value {
    json!({
        "seconds": outcome.seconds,
        "stages": outcome.stages,
        "peak_memory_bytes": outcome.peak_memory,
        "threads": plan.threads,
        "device": plan.engine.to_string(),
        "training": files::read_json::<Value>(&folder.path(training::SUMMARY)).ok(),
    })
}

/// The default run folder of a configuration.
pub fn default_out(plan_name: &str) -> PathBuf {
    Path::new("runs").join(plan_name)
}

/// The default cache folder.
pub fn default_cache() -> PathBuf {
    Path::new("runs").join("cache")
}
