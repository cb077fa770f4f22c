//! One optimiser step: rows sorted by cost, cut into micro-batches, gradients by lanes, clipping,
//! update. Everything is reused from step to step.

use crate::options::TrainOptions;
use crate::plan::cut;
use crate::source::Examples;
use sidereal_core::{Error, Result, seed};
use sidereal_nn::lanes::{Compute, Lanes};
use sidereal_nn::optim::{Optimizer, clip_by_norm, first_not_finite};
use sidereal_nn::{Batch, Model, Objective, Terms};
use std::ops::Range;

const HELP: &str = "lower train.lr, lower train.clip_norm or raise train.warmup_steps; the last \
                    checkpoint is good";

/// An example of a step.
struct Row {
    cost: usize,
    place: usize,
    id: usize,
}

/// Buffers of the training step.
pub(crate) struct Stepper {
    lanes: Lanes,
    threads: usize,
    batches: Vec<Batch>,
    /// Cost and key of each batch that is used.
    costs: Vec<u64>,
    keys: Vec<u64>,
    /// Cost, place in the shuffled order, and number of each example of the step.
    order: Vec<Row>,
    ids: Vec<usize>,
    row_costs: Vec<usize>,
    runs: Vec<Range<usize>>,
    seed: u64,
    /// Terms of the last step.
    pub(crate) terms: Terms,
}

impl Stepper {
    pub(crate) fn new(model: &dyn Model, lanes: usize, threads: usize, seed: u64) -> Self {
        Stepper {
            lanes: Lanes::new(lanes, model),
            threads: threads.max(1),
            batches: Vec::new(),
            costs: Vec::new(),
            keys: Vec::new(),
            order: Vec::new(),
            ids: Vec::new(),
            row_costs: Vec::new(),
            runs: Vec::new(),
            seed,
            terms: Terms::default(),
        }
    }

    /// Learns from the examples `ids`; returns the gradients' norm before clipping. Without any
    /// target nothing changes.
    pub(crate) fn step(
        &mut self,
        model: &mut dyn Model,
        objective: &dyn Objective,
        examples: &dyn Examples,
        optimizer: &mut dyn Optimizer,
        options: &TrainOptions,
        ids: &[u32],
        step: u64,
        lr: f64,
    ) -> Result<f64> {
        self.terms.reset();
        let targets = self.fill(examples, options, ids, step)?;
        if targets == 0 {
            return Ok(0.0);
        }
        let (batches, costs, keys) = (&self.batches[..self.keys.len()], &self.costs, &self.keys);
        let scale = (1.0 / targets as f64) as f32;
        let (_, terms) = self.lanes.run(
            &*model,
            objective,
            batches,
            costs,
            keys,
            scale,
            self.threads,
            Compute::Gradients,
        )?;
        self.terms.merge(terms);
        let grads = self.lanes.grads_mut();
        let limit = if options.clip_norm > 0.0 { options.clip_norm } else { f64::INFINITY };
        let norm = clip_by_norm(grads, limit);
        let bad_term = self.terms.means().find(|t| !t.1.is_finite()).map(|t| t.0.to_string());
        if bad_term.is_some() || !norm.is_finite() {
            let what = blame(&*model, grads, bad_term);
            return Err(Error::NotFinite { what, step: Some(step + 1), help: HELP.into() });
        }
        optimizer.step(model.params_mut().values_mut(), grads, lr as f32, self.threads);
        Ok(norm)
    }

    /// Fills micro-batches, leaving out those without a target; returns the number of targets.
    fn fill(
        &mut self,
        examples: &dyn Examples,
        options: &TrainOptions,
        ids: &[u32],
        step: u64,
    ) -> Result<usize> {
        // Rows of like cost together: micro-batches come out even. The shuffled order decides
        // among equals.
        self.order.clear();
        let rows = ids.iter().map(|&i| i as usize).enumerate();
        self.order.extend(rows.map(|(place, id)| Row { cost: examples.cost(id), place, id }));
        self.order.sort_unstable_by_key(|row| (row.cost, row.place));
        self.ids.clear();
        self.ids.extend(self.order.iter().map(|row| row.id));
        self.row_costs.clear();
        self.row_costs.extend(self.order.iter().map(|row| row.cost));
        self.costs.clear();
        self.keys.clear();
        let mut targets = 0;
        cut(&self.row_costs, options.micro_batch, options.lanes, &mut self.runs);
        for (j, run) in self.runs.iter().cloned().enumerate() {
            let used = self.keys.len();
            if self.batches.len() == used {
                self.batches.push(Batch::default());
            }
            examples.fill(&self.ids[run.clone()], &mut self.batches[used])?;
            let found = self.batches[used].targets.len();
            if found > 0 {
                targets += found;
                self.costs.push(self.row_costs[run].iter().map(|&c| c as u64).sum());
                let number = (step << 32).wrapping_add(j as u64);
                self.keys.push(seed::key(self.seed, "dropout", number));
            }
        }
        Ok(targets)
    }
}

/// What went wrong first: a weight, a gradient or a term of the loss.
fn blame(model: &dyn Model, grads: &[f32], term: Option<String>) -> String {
    let params = model.params();
    if let Some(i) = first_not_finite(params.values()) {
        return format!("parameter `{}`", params.name_at(i));
    }
    match (first_not_finite(grads), term) {
        (Some(i), Some(term)) => {
            format!("`{term}` with the gradient of `{}`", params.name_at(i))
        }
        (Some(i), None) => format!("the gradient of `{}`", params.name_at(i)),
        (None, Some(term)) => format!("`{term}` of the objective"),
        (None, None) => "the norm of the gradients".to_string(),
    }
}
