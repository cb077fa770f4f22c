//! Samples to a trained model.
//!
//! The weights depend on data, split, SID table, backbone, objective, the trainer's options, the
//! metric that chooses the checkpoint, and the seed; not on `[decoder]`: validation has a beam of
//! its own (`train.validate_width`). Checkpoints of an unfinished training lie in the run folder,
//! below the hash of all that, so that a checkpoint of another training is never continued.

use super::data::Data;
use super::{Context, sids, version};
use crate::ModelPlan;
use crate::cache::{Entry, Key};
use crate::examples::TrainingExamples;
use crate::leaks::Provenance;
use crate::validation::{Choice, Validation};
use serde_json::{Map, Value, json};
use sidereal_backbones::{Backbone, BackboneContext};
use sidereal_core::{Error, Event, Result, SidTable, files};
use sidereal_quantizers::load_sids;
use sidereal_train::TrainOptions;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Name of the weights' file.
pub const WEIGHTS: &str = "model.safetensors";
/// Name of the file that says what the weights are for.
pub const MODEL_CONFIG: &str = "config.json";
/// Name of the training's summary.
pub const SUMMARY: &str = "training.json";

/// Options of `[train]` that change no weight at all.
pub(crate) const WITHOUT_EFFECT: [&str; 4] =
    ["checkpoint_minutes", "checkpoint_steps", "keep", "log_every"];
/// And one that only ends the training earlier.
const TIME: &str = "max_minutes";

/// Whether a run that is continued may have another value of a key of `[train]`.
pub fn may_change(key: &str) -> bool {
    key == TIME || WITHOUT_EFFECT.contains(&key)
}

/// A trained model.
#[derive(Clone)]
pub struct Trained {
    /// The model with its best weights.
    pub backbone: Arc<dyn Backbone>,
    /// The table that it was trained with.
    pub sids: Option<Arc<SidTable>>,
    /// What later stages depend on.
    pub identity: Value,
    /// How the checkpoint was chosen, for the protocol.
    pub chosen: Value,
}

/// A trained model and the files that it came in.
pub struct Training {
    /// The model.
    pub trained: Trained,
    /// The files.
    pub entry: Entry,
}

impl Training {
    /// What training read, and what chose the checkpoint.
    pub fn provenance(&self) -> Result<Provenance> {
        Provenance::of_entry("training", &self.entry)
    }
}

/// Trains the plan's model; unfinished work lies below `checkpoints`.
pub fn training(
    cx: &Context<'_>,
    plan: &ModelPlan,
    data: &Data,
    table: Option<Arc<SidTable>>,
    checkpoints: &Path,
) -> Result<Training> {
    let choice = Choice::of(cx.plan, plan, data);
    let inputs = |without: &[&str]| {
        let mut train = plan.train.resolved.clone();
        train.retain(|key, _| !without.contains(&key.as_str()));
        let mut inputs = json!({
            "data": data.identity,
            "sids": table.as_deref().map(sids::identity),
            "backbone": plan.backbone_identity(),
            "objective": plan.objective.identity(),
            "train": train,
            "select": choice.identity,
            "seed": cx.plan.seed,
        });
        super::add_engine(&mut inputs, cx.plan.engine);
        inputs
    };
    let key = Key::new("training", version::TRAINING, inputs(&WITHOUT_EFFECT));
    // More minutes go on from the same checkpoints.
    let ever_changing: Vec<&str> = WITHOUT_EFFECT.into_iter().chain([TIME]).collect();
    let same_work = Key::new("training", version::TRAINING, inputs(&ever_changing));
    let folder = checkpoints.join(same_work.name());
    let entry = cx
        .cache
        .get(&key, &cx.run, |out: &Path| train(cx, plan, data, &table, &choice, &folder, out))?;
    let trained = Trained {
        backbone: load(cx, plan, data, &table, &entry.path(WEIGHTS))?,
        sids: table,
        identity: identity(plan, entry.sum(WEIGHTS)),
        chosen: choice.protocol(),
    };
    Ok(Training { trained, entry })
}

/// What depends on a model depends on its shape and its weights.
fn identity(plan: &ModelPlan, weights: &str) -> Value {
    json!({"backbone": plan.backbone_identity(), "weights": weights})
}

impl Trained {
    /// The model of a finished run's folder, with the SID table of the file `table` where one is
    /// named.
    pub fn open(
        cx: &Context<'_>,
        plan: &ModelPlan,
        data: &Data,
        folder: &Path,
        table: Option<&Path>,
    ) -> Result<Self> {
        let own = folder.join(sids::TABLE);
        let table = match (&plan.generative, table) {
            (Some(_), Some(other)) => Some(another_table(&own, other)?),
            (Some(_), None) => Some(Arc::new(load_sids(&own)?)),
            (None, None) => None,
            (None, Some(_)) => {
                return Err(Error::mismatch("the model scores items: it reads no SID table"));
            }
        };
        let weights = folder.join(WEIGHTS);
        let (sum, _) = crate::hash::of_file(&weights)?;
        Ok(Trained {
            backbone: load(cx, plan, data, &table, &weights)?,
            sids: table,
            identity: identity(plan, &sum),
            chosen: Choice::of(cx.plan, plan, data).protocol(),
        })
    }
}

/// The table of the file `other`, for a model that was trained with the table in `own`.
fn another_table(own: &Path, other: &Path) -> Result<Arc<SidTable>> {
    let (old, new) = (load_sids(own)?, load_sids(other)?);
    if (old.n_items(), old.widths(), old.order()) != (new.n_items(), new.widths(), new.order()) {
        let shape = |t: &SidTable| {
            format!("{} items, codes a level {:?}, {:?}", t.n_items(), t.widths(), t.order())
        };
        return Err(Error::data(
            other,
            format!(
                "the table does not fit the model: expected {}, got {}",
                shape(&old),
                shape(&new)
            ),
        ));
    }
    Ok(Arc::new(new))
}

fn build(
    cx: &Context<'_>,
    plan: &ModelPlan,
    data: &Data,
    table: &Option<Arc<SidTable>>,
) -> Result<Box<dyn Backbone>> {
    let n_items = data.dataset.items.len();
    let context = BackboneContext { sids: table.clone(), n_items, seed: cx.plan.seed };
    cx.registry.backbone(&plan.backbone, &context, cx.plan.engine)
}

fn load(
    cx: &Context<'_>,
    plan: &ModelPlan,
    data: &Data,
    table: &Option<Arc<SidTable>>,
    weights: &Path,
) -> Result<Arc<dyn Backbone>> {
    let mut backbone = build(cx, plan, data, table)?;
    backbone.params_mut().load_safetensors(weights)?;
    Ok(Arc::from(backbone))
}

fn train(
    cx: &Context<'_>,
    plan: &ModelPlan,
    data: &Data,
    table: &Option<Arc<SidTable>>,
    choice: &Choice,
    checkpoints: &Path,
    out: &Path,
) -> Result<()> {
    let mut backbone = build(cx, plan, data, table)?;
    let examples = TrainingExamples::new(
        &data.train,
        plan.train.augmentation,
        table.clone(),
        backbone.max_history(),
    );
    if sidereal_train::Examples::is_empty(&examples) {
        return Err(Error::input(
            "no training sample: every training history has fewer than two items",
        ));
    }
    let shadow = build(cx, plan, data, table)?;
    let mut validation =
        Validation::new(cx.plan, plan, data, table.clone(), choice, Arc::from(shadow))?;
    let read = Provenance::new("training").histories(examples.sequences());
    read.choosing(validation.set()).save(out)?;
    let options = TrainOptions { select: choice.name.clone(), ..plan.train.options.clone() };
    let summary = sidereal_train::train(
        backbone.as_model_mut(),
        plan.objective.built.as_ref(),
        &examples,
        &mut validation,
        &options,
        checkpoints,
        &cx.run,
    )?;
    if let Some(best) = &summary.best {
        let text = format!("the weights of step {} of {} are kept", best.step, summary.steps);
        cx.run.emit(Event::Note(&text));
    }
    let weights = backbone.params().to_safetensors(&BTreeMap::new())?;
    files::write_bytes(&out.join(WEIGHTS), &weights)?;
    files::write_json(&out.join(MODEL_CONFIG), &model_config(plan, data, table.as_deref()))?;
    files::write_json(&out.join(SUMMARY), &summary)
}

/// Name and options of the backbone, and the vocabulary that it was built for.
fn model_config(plan: &ModelPlan, data: &Data, table: Option<&SidTable>) -> Map<String, Value> {
    let mut config = plan.backbone.options.clone();
    config.insert("model_type".into(), plan.backbone.name.as_str().into());
    config.insert("n_items".into(), data.dataset.items.len().into());
    if let Some(table) = table {
        config.insert("sid_widths".into(), json!(table.widths()));
        config.insert("sid_version".into(), sids::identity(table));
    }
    config
}
