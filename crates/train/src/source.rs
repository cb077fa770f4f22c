//! What the caller gives: rows to learn from and metrics to choose by.

use sidereal_core::{Result, Run};
use sidereal_nn::{Batch, Model};

/// The examples of a training set, by number.
pub trait Examples: Sync {
    /// Number of examples, at least one.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Work of example `i`, about the number of tokens the model sees; the unit of
    /// `train.micro_batch`.
    fn cost(&self, i: usize) -> usize;

    /// Replaces the content of `batch` by the examples `ids`, in their order.
    fn fill(&self, ids: &[usize], batch: &mut Batch) -> Result<()>;
}

/// Which way a metric improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Higher is better, as for recall.
    Maximize,
    /// Lower is better, as for a loss.
    Minimize,
}

/// Measures a model while it trains.
///
/// A decoder that needs more than a [`Model`] keeps a second model of its own and copies the
/// parameters into it.
pub trait Validate: Send {
    /// Named metrics of the model; the first one chooses the checkpoint unless `train.select`
    /// names another. An empty list keeps the last weights. Must not depend on anything but the
    /// model and the run's seed, or resumed runs will differ.
    fn validate(&mut self, model: &dyn Model, run: &Run<'_>) -> Result<Vec<(String, f64)>>;

    /// Which way a metric improves.
    fn goal(&self, _metric: &str) -> Goal {
        Goal::Maximize
    }
}

/// Validates nothing: training keeps the last weights.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoValidation;

impl Validate for NoValidation {
    fn validate(&mut self, _model: &dyn Model, _run: &Run<'_>) -> Result<Vec<(String, f64)>> {
        Ok(Vec::new())
    }
}
