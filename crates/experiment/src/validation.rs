//! Which weights are kept: the model is measured on validation cases while it trains.

use crate::scoring::{self, Cases};
use crate::stages::data::Data;
use crate::{ModelPlan, Plan};
use rayon::prelude::*;
use serde_json::{Value, json};
use sidereal_backbones::{Backbone, DenseRecommender, GenerativeRecommender};
use sidereal_core::{Error, Recommender, Result, Run, SidTable, Silent};
use sidereal_data::EvalSet;
use sidereal_decoding::{Beam, BeamOptions};
use sidereal_metrics::{Classes, Direction, EvalContext, Metric, Need};
use sidereal_nn::{Batch, BatchBuilder, Model, Objective, ObjectiveInput, Pass, Terms};
use sidereal_train::{Goal, Validate};
use std::sync::Arc;

/// Cases whose loss is computed together.
const LOSS_ROWS: usize = 64;

/// How the checkpoint is chosen.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Name of the choosing metric, empty when there is nothing to choose by.
    pub name: String,
    /// What the choice depends on, for cache keys.
    pub identity: Value,
    width: u32,
    cases: usize,
    exclude_seen: bool,
}

impl Choice {
    /// The plan's choice.
    pub fn of(plan: &Plan, model: &ModelPlan, data: &Data) -> Self {
        let evaluate = &plan.evaluate;
        let all = data.splits.valid.len();
        let cases = match model.train.validate_cases {
            0 => all,
            n => n.min(all),
        };
        let name = match (&evaluate.select, cases) {
            (_, 0) => String::new(),
            (Some(metric), _) => metric.name(),
            (None, _) => "loss".into(),
        };
        // The rest of `[train]` is in the key of the training anyway.
        let identity = json!({"metric": evaluate.select_identity, "exclude_seen": evaluate.options.exclude_seen});
        let width = model.train.validate_width;
        Choice { name, identity, width, cases, exclude_seen: evaluate.options.exclude_seen }
    }

    /// For the protocol that stands beside every result.
    pub fn protocol(&self) -> Value {
        if self.name.is_empty() {
            return json!("last weights");
        }
        json!({"on": "valid", "by": self.name, "beam": self.width, "cases": self.cases})
    }
}

/// Measures a model on the validation cases.
pub struct Validation<'a> {
    plan: &'a Plan,
    model: &'a ModelPlan,
    data: &'a Data,
    sids: Option<Arc<SidTable>>,
    choice: &'a Choice,
    /// A model of the same shape: it takes the weights to measure, because recommenders share
    /// their model and the one in training is the trainer's.
    shadow: Option<Arc<dyn Backbone>>,
}

impl<'a> Validation<'a> {
    /// Measures as `choice` says.
    pub fn new(
        plan: &'a Plan,
        model: &'a ModelPlan,
        data: &'a Data,
        sids: Option<Arc<SidTable>>,
        choice: &'a Choice,
        shadow: Arc<dyn Backbone>,
    ) -> Result<Self> {
        Ok(Validation { plan, model, data, sids, choice, shadow: Some(shadow) })
    }

    /// The set that the choosing cases are taken from.
    pub fn set(&self) -> &'a EvalSet {
        &self.data.splits.valid
    }

    fn cases(&self) -> Cases<'a> {
        Cases::some(self.set(), self.choice.cases, self.choice.exclude_seen)
    }

    /// Accuracy of the lists that the shadow gives.
    fn accuracy(&mut self, choosing: &dyn Metric, run: &Run<'_>) -> Result<Vec<(String, f64)>> {
        let shadow =
            self.shadow.take().ok_or_else(|| Error::mismatch("validation failed before"))?;
        let recommender: Box<dyn Recommender> = match &self.sids {
            Some(sids) => {
                let beam =
                    Beam::new(BeamOptions { width: self.choice.width, ..Default::default() })?;
                Box::new(GenerativeRecommender::new(shadow.clone(), Box::new(beam), sids.clone())?)
            }
            None => Box::new(DenseRecommender::new(shadow.clone())?),
        };
        let k = match self.sids {
            Some(_) => self.choice.width as usize,
            None => self.plan.evaluate.list_length.max(self.plan.evaluate.select_k.unwrap_or(0)),
        };
        // Quiet: the progress shown is the training's.
        let quiet = Run { observer: &Silent, ..run.clone() };
        let answers = scoring::answers(recommender.as_ref(), &self.cases(), k, &quiet, "validate")?;
        drop(recommender);
        self.shadow = Some(shadow);
        let (cases, evaluate) = (self.cases(), &self.plan.evaluate);
        let all = || evaluate.metrics.iter().map(AsRef::as_ref).chain([choosing]);
        let read = |need: Need| all().any(|m| m.needs().contains(&need));
        let classes = match read(Need::Categories) {
            true => self.data.dataset.items.column("categories").map(Classes::of_column),
            false => None,
        };
        let histories = read(Need::Histories).then(|| cases.histories());
        let context = EvalContext {
            train: Some(&self.data.train),
            histories: histories.as_ref(),
            categories: classes.as_ref(),
            ..EvalContext::new(self.data.dataset.items.len(), &self.data.popularity)
        };
        let truth = cases.truth()?;
        let value = |m: &dyn Metric| m.evaluate(&answers.lists, &truth, &context).map(|s| s.value);
        let mut values = vec![(choosing.name(), value(choosing)?)];
        // The others are for the log. Lists are as long as the validating beam is wide.
        // No vectors of the encoder are kept while a model trains.
        let others = self.plan.evaluate.metrics.iter().filter(|m| m.name() != choosing.name());
        let others = others.filter(|m| !m.needs().contains(&Need::Vectors));
        for metric in others {
            values.push((metric.name(), value(metric.as_ref())?));
        }
        Ok(values)
    }
}

impl Validate for Validation<'_> {
    fn validate(&mut self, model: &dyn Model, run: &Run<'_>) -> Result<Vec<(String, f64)>> {
        if self.choice.name.is_empty() {
            return Ok(Vec::new());
        }
        let plan = self.plan;
        let Some(choosing) = plan.evaluate.select.as_deref() else {
            let objective = self.model.objective.built.as_ref();
            let loss = self.loss(model, objective, run)?;
            return Ok(vec![("loss".into(), loss)]);
        };
        let shadow = self.shadow.as_mut().and_then(Arc::get_mut);
        let shadow = shadow.ok_or_else(|| Error::mismatch("validation failed before"))?;
        shadow.params_mut().values_mut().copy_from_slice(model.params().values());
        self.accuracy(choosing, run)
    }

    fn goal(&self, metric: &str) -> Goal {
        let metrics = self.plan.evaluate.metrics.iter().chain(&self.plan.evaluate.select);
        match metrics.into_iter().find(|m| m.name() == metric).map(|m| m.direction()) {
            Some(Direction::HigherIsBetter) => Goal::Maximize,
            Some(Direction::LowerIsBetter) => Goal::Minimize,
            None => Goal::Minimize,
        }
    }
}

impl Validation<'_> {
    /// Mean loss over the validation targets.
    fn loss(&self, model: &dyn Model, objective: &dyn Objective, run: &Run<'_>) -> Result<f64> {
        let cases = self.cases();
        let max_history = self.shadow.as_ref().map_or(1, |s| s.max_history());
        let builder = BatchBuilder::new(self.sids.clone(), max_history);
        let groups: Vec<usize> = (0..cases.len()).step_by(LOSS_ROWS).collect();
        let one = |&start: &usize| -> Result<Terms> {
            run.check()?;
            let mut batch = Batch::default();
            builder.clear(&mut batch);
            for c in start..(start + LOSS_ROWS).min(cases.len()) {
                let (request, targets) = (cases.request(c), cases.targets(c));
                for &target in targets {
                    builder.push_next(&mut batch, request.history, target)?;
                    if let Some(times) = request.times {
                        builder.push_times(&mut batch, times)?;
                    }
                    builder.push_user(&mut batch, request.user);
                }
            }
            let mut workspace = model.workspace();
            model.forward(&batch, Pass::Evaluate, &mut workspace)?;
            let weights = model.params().values();
            let input = ObjectiveInput { batch: &batch, weights, scale: 1.0, key: 0 };
            let mut terms = Terms::default();
            objective.evaluate(&input, &mut workspace.bag, None, &mut terms)?;
            Ok(terms)
        };
        let terms: Vec<Terms> = sidereal_nn::parallel::pool(run.threads)?
            .install(|| groups.par_iter().map(one).collect::<Result<_>>())?;
        let mut sum = Terms::default();
        terms.iter().for_each(|t| sum.merge(t));
        Ok(sum.loss())
    }
}
