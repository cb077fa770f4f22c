//! What a training run comes to.

use serde::{Deserialize, Serialize};

/// One validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Optimiser steps before it.
    pub step: u64,
    /// Epochs before it, with fractions.
    pub epoch: f64,
    /// Named metrics in the order they came; NaN travels as null.
    #[serde(with = "metrics")]
    pub metrics: Vec<(String, f64)>,
}

mod metrics {
    //! JSON has no NaN: a metric without a value becomes null.
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(m: &[(String, f64)], s: S) -> Result<S::Ok, S::Error> {
        let pairs: Vec<_> = m.iter().map(|(n, v)| (n, v.is_finite().then_some(*v))).collect();
        pairs.serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(String, f64)>, D::Error> {
        let pairs = Vec::<(String, Option<f64>)>::deserialize(d)?;
        Ok(pairs.into_iter().map(|(n, v)| (n, v.unwrap_or(f64::NAN))).collect())
    }
}

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// All epochs (or `max_steps`) are done.
    Done,
    /// No new best for `patience` validations.
    Patience,
    /// `max_minutes` are used up.
    Time,
}

/// The result of [`train`](crate::train()). The model holds the best weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainSummary {
    /// Why training ended.
    pub stop: Stop,
    /// Optimiser steps.
    pub steps: u64,
    /// Epochs, with fractions.
    pub epochs: f64,
    /// Examples seen, with repeats.
    pub examples: u64,
    /// Seconds of training over all sessions, validation included.
    pub seconds: f64,
    /// All validations in order.
    pub validations: Vec<Validation>,
    /// The validation whose weights were kept; `None` without validation.
    pub best: Option<Validation>,
    /// The metric that chose them.
    pub select: Option<String>,
    /// Step of the checkpoint that this session began from.
    pub resumed_from: Option<u64>,
    /// Peak memory of the process in bytes, where known.
    pub peak_memory: Option<u64>,
}
