//! What trains: a [`Model`] gives named outputs and takes their gradients back; an [`Objective`]
//! stands between the two passes.

use crate::{Bag, Batch, Params};
use sidereal_core::Result;
use std::any::Any;

/// Whether a forward pass is for training (dropout on, drawn from `key`) or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Deterministic, no dropout.
    Evaluate,
    /// Dropout masks come from this key: forward and backward of a micro-batch share it.
    Train {
        /// Key of this micro-batch; see `sidereal_core::seed::key`.
        key: u64,
    },
}

/// Buffers of one worker: outputs and whatever the model keeps between forward and backward.
pub struct Workspace {
    /// Named outputs with gradients.
    pub bag: Bag,
    /// The model's own activations.
    pub scratch: Box<dyn Any + Send>,
}

/// A model with its own forward and backward pass over a micro-batch.
pub trait Model: Send + Sync {
    /// Parameters, one flat buffer.
    fn params(&self) -> &Params;

    /// Parameters, writable.
    fn params_mut(&mut self) -> &mut Params;

    /// Fresh buffers for one worker.
    fn workspace(&self) -> Workspace;

    /// Fills `workspace.bag` with outputs for `batch.targets`.
    fn forward(&self, batch: &Batch, pass: Pass, workspace: &mut Workspace) -> Result<()>;

    /// Adds the gradients of all parameters to `grads` (laid out as the parameters), from the
    /// gradients in `workspace.bag`. Follows a forward with the same batch and pass.
    fn backward(
        &self,
        batch: &Batch,
        pass: Pass,
        workspace: &mut Workspace,
        grads: &mut [f32],
    ) -> Result<()>;
}

/// What an objective reads beside the bag.
#[derive(Clone, Copy)]
pub struct ObjectiveInput<'a> {
    /// The micro-batch with its targets.
    pub batch: &'a Batch,
    /// Flat parameters, for objectives that compare with item vectors.
    pub weights: &'a [f32],
    /// Factor on every gradient: one over the number of targets of the whole batch.
    pub scale: f32,
    /// Key for negative samplers.
    pub key: u64,
}

/// Named terms of a loss as sums and counts, so that means over micro-batches are exact.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Terms(Vec<(String, f64, u64)>);

impl Terms {
    /// Adds to a term; the first term is the loss that is minimised and shown.
    pub fn add(&mut self, name: &str, sum: f64, count: u64) {
        self.add_where(|term| term == name, || name.to_string(), sum, count);
    }

    /// Adds to the term `{name}_{number}`; allocates only when it is new.
    pub fn add_numbered(&mut self, name: &str, number: usize, sum: f64, count: u64) {
        let is = |term: &str| {
            let rest = term.strip_prefix(name).and_then(|rest| rest.strip_prefix('_'));
            rest.and_then(|n| n.parse().ok()) == Some(number)
        };
        self.add_where(is, || format!("{name}_{number}"), sum, count);
    }

    /// Adds to the term that `is` finds, or to a new one named by `name`.
    fn add_where(
        &mut self,
        is: impl Fn(&str) -> bool,
        name: impl FnOnce() -> String,
        sum: f64,
        count: u64,
    ) {
        match self.0.iter_mut().find(|t| is(&t.0)) {
            Some(t) => {
                t.1 += sum;
                t.2 += count;
            }
            None => self.0.push((name(), sum, count)),
        }
    }

    /// Adds all terms of another micro-batch.
    pub fn merge(&mut self, other: &Terms) {
        for (name, sum, count) in &other.0 {
            self.add(name, *sum, *count);
        }
    }

    /// Forgets the sums, keeps the names.
    pub fn reset(&mut self) {
        for t in &mut self.0 {
            (t.1, t.2) = (0.0, 0);
        }
    }

    /// Sum and count of each term in order.
    pub fn sums(&self) -> impl Iterator<Item = (&str, f64, u64)> {
        self.0.iter().map(|(n, s, c)| (n.as_str(), *s, *c))
    }

    /// Mean of each term in order.
    pub fn means(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(n, s, c)| (n.as_str(), s / (*c).max(1) as f64))
    }

    /// Mean of the first term.
    pub fn loss(&self) -> f64 {
        self.means().next().map_or(0.0, |t| t.1)
    }
}

/// A training objective over named outputs.
pub trait Objective: Send + Sync {
    /// Adds its terms and, when `grads` is given, writes `scale` times the gradient of the loss
    /// into the fields of the bag; objectives that compare with item vectors also add to `grads`.
    fn evaluate(
        &self,
        input: &ObjectiveInput<'_>,
        bag: &mut Bag,
        grads: Option<&mut [f32]>,
        terms: &mut Terms,
    ) -> Result<()>;
}
