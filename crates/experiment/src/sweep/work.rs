//! How much work the stages of a run are, from its plan and its data.
//!
//! | stage | unit |
//! |---|---|
//! | vectors, IDs | an item |
//! | training | a floating-point operation: 6 a parameter and token, and the validations |
//! | evaluation | the same: 2 a parameter and code, of the history and of every hypothesis |
//!
//! Attention is left out, and of a generative model the vocabulary, which is small: the figures
//! scale what was measured of one model to another, they are no times.

use super::plan::StageKind;
use crate::examples::TrainingExamples;
use crate::probe::Probe;
use crate::stages::data::Data;
use crate::{ModelPlan, Plan, Registry};
use sidereal_backbones::{BackboneContext, Output};
use sidereal_core::Result;
use sidereal_data::EvalSet;
use sidereal_train::Examples;

/// Samples whose mean length stands for all.
const SAMPLES: usize = 4096;

/// Work of a run's stages.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    items: f64,
    training: f64,
    evaluation: f64,
    /// Operations of a token on the way forward and back.
    pub(crate) per_token: f64,
    /// Operations of a test case.
    pub(crate) per_case: f64,
    /// Parameters of the model, without the vocabulary of a generative one.
    pub parameters: Option<u64>,
}

impl Work {
    /// Of a plan on its data.
    pub fn of(registry: &Registry, plan: &Plan, data: &Data) -> Result<Self> {
        let items = data.dataset.items.len() as f64;
        let cases = (data.splits.valid.len() + data.splits.test.len()) as f64;
        let Some(model) = &plan.model else {
            let evaluation = cases * items;
            let (per_token, per_case) = (0.0, items);
            return Ok(Work {
                items,
                training: 0.0,
                evaluation,
                per_token,
                per_case,
                parameters: None,
            });
        };
        let probe = Probe::new(registry, &model.backbone, plan.seed, plan.engine)?;
        let parameters = parameters(registry, plan, model, &probe, data.dataset.items.len())?;
        let codes = codes(model);
        let width = match &model.generative {
            Some(g) => g.decoder.built.width() as f64,
            None => 0.0,
        };
        let history = mean_history(&data.splits.test, probe.max_history());
        let case = |width: f64| 2.0 * parameters as f64 * (history * (codes + 1.0) + width * codes);
        let (per_token, per_case) = (6.0 * parameters as f64, case(width));
        let examples =
            TrainingExamples::new(&data.train, model.train.augmentation, None, probe.max_history());
        let (n, options) = (examples.len(), &model.train.options);
        let taken = n.clamp(1, SAMPLES);
        let lengths = (0..n.min(SAMPLES)).map(|i| examples.cost(i * n / taken) as f64);
        // A separator stands before the codes of an item.
        let tokens = lengths.sum::<f64>() / taken as f64 * (codes + 1.0);
        let rows = (options.batch * options.accumulate) as f64;
        let steps_per_epoch = (n as f64 / rows).ceil();
        let steps = match options.max_steps {
            0 => options.epochs as f64 * steps_per_epoch,
            most => (options.epochs as f64 * steps_per_epoch).min(most as f64),
        };
        let every = match options.validate_steps {
            0 if options.validate_every > 0.0 => options.validate_every * steps_per_epoch,
            0 => steps_per_epoch,
            steps => steps as f64,
        };
        let validations = (steps / every.max(1.0)).ceil();
        let valid = match model.train.validate_cases {
            0 => data.splits.valid.len(),
            some => some.min(data.splits.valid.len()),
        };
        let validating = match (&plan.evaluate.select, &model.generative) {
            (Some(_), Some(_)) => f64::from(model.train.validate_width),
            _ => 0.0,
        };
        let passes = steps / steps_per_epoch.max(1.0);
        let training =
            passes * n as f64 * tokens * per_token + validations * valid as f64 * case(validating);
        let evaluation = cases * per_case;
        let parameters = Some(parameters as u64);
        Ok(Work { items, training, evaluation, per_token, per_case, parameters })
    }

    /// Units of a stage; none where no unit is known.
    pub fn units(&self, kind: StageKind) -> Option<f64> {
        match kind {
            StageKind::Data => None,
            StageKind::Vectors | StageKind::Ids => Some(self.items),
            StageKind::Training => Some(self.training),
            StageKind::Evaluation => Some(self.evaluation),
        }
    }
}

/// Codes of an item as far as the plan tells: those of the quantizer and one more; 0 where the
/// model names items by vectors.
pub(crate) fn codes(model: &ModelPlan) -> f64 {
    let Some(g) = &model.generative else { return 0.0 };
    let levels = g.quantizer.spec.options.get("levels").and_then(|l| l.as_array());
    levels.map_or(4.0, |l| l.len() as f64 + 1.0)
}

/// Parameters for `items` items: those over a handful and what each further one adds.
fn parameters(
    registry: &Registry,
    plan: &Plan,
    model: &ModelPlan,
    probe: &Probe,
    items: usize,
) -> Result<usize> {
    let few = probe.parameters();
    if model.output == Output::Codes {
        return Ok(few);
    }
    let n_items = crate::probe::ITEMS + 1;
    let context = BackboneContext { sids: None, n_items, seed: plan.seed };
    let more = registry.backbone(&model.backbone, &context, plan.engine)?.params().len();
    Ok(few + more.saturating_sub(few) * items.saturating_sub(crate::probe::ITEMS))
}

fn mean_history(set: &EvalSet, most: usize) -> f64 {
    let taken = set.len().min(SAMPLES);
    let of = |i: usize| set.history(i * set.len() / taken.max(1)).len().min(most) as f64;
    (0..taken).map(of).sum::<f64>() / taken.max(1) as f64
}
