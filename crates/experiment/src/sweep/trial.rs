//! A short trial of a run, where nothing like it was ever measured: its data, vectors and IDs, a few
//! steps of training, a few cases of evaluation.
//!
//! Data, vectors and IDs are those of the run and stay in the cache, if the cache may be written.
//! The steps are real ones on the real data and are thrown away; the cases are validation cases.

use super::plan::{Stage, StageKind, stages};
use super::work::{Work, codes};
use crate::examples::TrainingExamples;
use crate::measured::Measured;
use crate::scoring::{Cases, answers};
use crate::stages::training::Trained;
use crate::stages::{Context, data, evaluation, sids};
use crate::{Cache, ModelPlan, Plan, Registry};
use serde_json::json;
use sidereal_backbones::BackboneContext;
use sidereal_core::{Result, Run, Silent};
use sidereal_train::source::NoValidation;
use sidereal_train::{Examples, TrainOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Steps of training.
const STEPS: u64 = 30;
/// Minutes of training after which no further step begins.
const MINUTES: f64 = 3.0 / 60.0;
/// Cases of evaluation.
const CASES: usize = 64;

/// Tries a plan and tells each measurement as it comes; `scratch` is an empty folder for
/// checkpoints. What is told before an error or a stop is of use.
pub fn trial(
    registry: &Registry,
    plan: &Plan,
    cache: &Cache,
    scratch: &Path,
    run: &Run<'_>,
    mut tell: impl FnMut(Measured),
) -> Result<()> {
    let run = Run { seed: plan.seed, observer: &Silent, threads: plan.threads, ..run.clone() };
    let cx = Context { registry, plan, cache, run };
    let all = stages(plan);
    let began = Instant::now();
    let data = data::data(&cx)?;
    let seconds = began.elapsed().as_secs_f64();
    let work = Work::of(registry, plan, &data)?;
    let mut told = |kind: StageKind, units: Option<f64>, seconds: f64, alike: bool| {
        if let Some(stage) = all.iter().find(|s| s.kind == kind) {
            tell(measured(stage, &work, units, plan.threads, seconds, alike));
        }
    };
    if !data.reused {
        told(StageKind::Data, None, seconds, true);
    }
    let Some(model) = &plan.model else { return Ok(()) };
    let mut table = None;
    if let Some(generative) = &model.generative {
        let began = Instant::now();
        let vectors = sids::Vectors::encode(&cx, generative, &data)?;
        if vectors.as_ref().is_some_and(|v| !v.reused()) {
            let seconds = began.elapsed().as_secs_f64();
            told(StageKind::Vectors, work.units(StageKind::Vectors), seconds, true);
        }
        let began = Instant::now();
        let made = sids::sids(&cx, generative, &data, vectors.as_ref())?;
        if !made.entry.reused {
            let seconds = began.elapsed().as_secs_f64();
            told(StageKind::Ids, work.units(StageKind::Ids), seconds, true);
        }
        table = Some(made.table);
    }
    let context =
        BackboneContext { sids: table.clone(), n_items: data.dataset.items.len(), seed: plan.seed };
    let mut backbone = registry.backbone(&model.backbone, &context, plan.engine)?;
    let examples = TrainingExamples::new(
        &data.train,
        model.train.augmentation,
        table.clone(),
        backbone.max_history(),
    );
    let (units, seconds) = {
        let objective = model.objective.built.as_ref();
        let model_ = backbone.as_model_mut();
        let options = options(model);
        let done = sidereal_train::train(
            model_,
            objective,
            &examples,
            &mut NoValidation,
            &options,
            scratch,
            &cx.run,
        )?;
        let n = examples.len().max(1);
        let cost = |i: u64| examples.cost((i as usize * n / 1024).min(n - 1)) as f64;
        // As the work of a whole training is counted, whatever the table's own length.
        let per_item = table.as_ref().map_or(1.0, |t| t.max_len() as f64 + 1.0);
        let items = (0..1024).map(cost).sum::<f64>() / 1024.0 / per_item;
        let tokens = done.examples as f64 * items * (codes(model) + 1.0);
        (tokens * work.per_token, done.seconds)
    };
    told(StageKind::Training, Some(units), seconds, false);
    let cases = Cases::some(&data.splits.valid, CASES, plan.evaluate.options.exclude_seen);
    if cases.is_empty() {
        return Ok(());
    }
    let trained = Trained {
        backbone: Arc::from(backbone),
        sids: table,
        identity: json!(null),
        chosen: json!(null),
    };
    let recommender = evaluation::recommender(&cx, &data, &evaluation::model(trained))?;
    let began = Instant::now();
    answers(recommender.as_ref(), &cases, plan.evaluate.list_length, &cx.run, "trial")?;
    let (seconds, units) = (began.elapsed().as_secs_f64(), cases.len() as f64 * work.per_case);
    told(StageKind::Evaluation, Some(units), seconds, false);
    Ok(())
}

/// The trainer's options with an end after a few steps.
fn options(model: &ModelPlan) -> TrainOptions {
    TrainOptions {
        max_steps: STEPS,
        max_minutes: Some(MINUTES),
        checkpoint_minutes: 0.0,
        checkpoint_steps: 0,
        select: String::new(),
        ..model.train.options.clone()
    }
}

/// A part of a stage is only as good as its work: it is `alike` to none.
fn measured(
    stage: &Stage,
    work: &Work,
    units: Option<f64>,
    threads: usize,
    seconds: f64,
    alike: bool,
) -> Measured {
    Measured {
        stage: stage.kind.name().into(),
        component: stage.component.clone(),
        alike: if alike { stage.alike.clone() } else { String::new() },
        work: units,
        parameters: work.parameters,
        threads,
        seconds,
        peak_memory: sidereal_train::peak_memory(),
    }
}
