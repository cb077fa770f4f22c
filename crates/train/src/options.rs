//! The `[train]` section.

use serde::{Deserialize, Serialize};
use sidereal_core::{Error, Options, Result, Spec, options};
use sidereal_nn::optim::{Adam, AdamOptions, AdamW, AdamWOptions, Optimizer};
use sidereal_nn::schedule::Schedule;

/// Optimisers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerKind {
    /// Adam with weight decay on the weights (arXiv 1711.05101).
    #[default]
    Adamw,
    /// Adam with weight decay added to the gradients (arXiv 1412.6980); GRID's optimiser.
    Adam,
}

/// Shapes of the learning rate over the steps of all epochs, after a linear warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// Stays.
    #[default]
    Constant,
    /// Half a cosine down to `min_lr_ratio`.
    Cosine,
    /// A line down to `min_lr_ratio`.
    Linear,
    /// Falls as one over the root of the step, from `hold_steps` on.
    InverseSqrt,
}

options! {
    /// Options of the `[train]` section.
    pub struct TrainOptions {
        /// Passes over the examples, 1 and up.
        pub epochs: u64 = 20,
        /// Optimiser steps after which training ends, whatever the epochs say; 0: no limit.
        pub max_steps: u64 = 0,
        /// Minutes after which training ends, validation included, counted over all sessions of a
        /// resumed run; 0 or null: no limit.
        pub max_minutes: Option<f64> = None,
        /// Examples of a batch, 1 and up.
        pub batch: usize = 256,
        /// Batches whose gradients are averaged over all their targets for one step, 1 and up
        /// (GRID: 16).
        pub accumulate: usize = 1,
        /// Work of one micro-batch in tokens, 1 and up. Speed and rounding depend on it, nothing
        /// else; activations should fit the cache of a core.
        pub micro_batch: usize = 1024,
        /// Gradient buffers, 1 and up: the most threads that can work at once. Rounding depends on
        /// it, but not on the number of threads.
        pub lanes: usize = 4,
        /// adamw or adam.
        pub optimizer: OptimizerKind = OptimizerKind::Adamw,
        /// Learning rate after warm-up, above 0 (GRID: 0.001).
        pub lr: f64 = 1e-3,
        /// Weight decay, 0 and up (GRID: 0.0001 with adam).
        pub weight_decay: f64 = 0.0,
        /// Decay rates of both moments, 0 to below 1.
        pub betas: [f64; 2] = [0.9, 0.999],
        /// Added to the root of the second moment, above 0.
        pub eps: f64 = 1e-8,
        /// constant, cosine, linear or inverse-sqrt, over all steps of all epochs.
        pub schedule: ScheduleKind = ScheduleKind::Constant,
        /// Steps until the full learning rate.
        pub warmup_steps: u64 = 0,
        /// Steps until inverse-sqrt begins to fall (TIGER: 10000).
        pub hold_steps: u64 = 0,
        /// Smallest factor of cosine and linear, 0 to 1 (GRID: 0.1).
        pub min_lr_ratio: f64 = 0.0,
        /// Largest Euclidean norm of all gradients together, above 0; 0: no clipping.
        pub clip_norm: f64 = 1.0,
        /// Epochs between validations, fractions allowed; 0: one epoch.
        pub validate_every: f64 = 1.0,
        /// Steps between validations; 0: as `validate_every` says (GRID: 100).
        pub validate_steps: u64 = 0,
        /// Validations without a new best after which training ends; 0: never (GRID: 10).
        pub patience: u64 = 10,
        /// Metric that chooses the best weights, as in recall@10; empty: the first one.
        pub select: String = String::new(),
        /// Minutes between checkpoints, fractions allowed; 0: none by time.
        pub checkpoint_minutes: f64 = 1.0,
        /// Steps between checkpoints; 0: none by steps.
        pub checkpoint_steps: u64 = 0,
        /// Checkpoints kept, 1 and up; with two a damaged file costs little.
        pub keep: usize = 2,
        /// Steps between lines of the log, 1 and up.
        pub log_every: u64 = 20,
    }
}

/// Options that change no weight: a resumed run may change them.
pub(crate) const FREE: [&str; 5] =
    ["max_minutes", "checkpoint_minutes", "checkpoint_steps", "keep", "log_every"];

impl TrainOptions {
    /// Reads and checks the `[train]` table.
    pub fn read(spec: &Spec) -> Result<Self> {
        let options = TrainOptions::from_spec(spec)?;
        options.check()?;
        Ok(options)
    }

    /// Refuses values outside their range.
    pub fn check(&self) -> Result<()> {
        let refuse = |key: &str, value: &dyn std::fmt::Display, allowed: &str| {
            Err(Error::config(format!("train.{key}"), format!("{value}; allowed: {allowed}")))
        };
        for (key, value) in [
            ("epochs", self.epochs),
            ("batch", self.batch as u64),
            ("accumulate", self.accumulate as u64),
            ("micro_batch", self.micro_batch as u64),
            ("lanes", self.lanes as u64),
            ("keep", self.keep as u64),
            ("log_every", self.log_every),
        ] {
            if value == 0 {
                return refuse(key, &value, "1 and up");
            }
        }
        if self.lanes > 256 {
            return refuse("lanes", &self.lanes, "1 to 256; each holds a copy of all gradients");
        }
        if self.batch.checked_mul(self.accumulate).is_none_or(|rows| rows > u32::MAX as usize) {
            return refuse("accumulate", &self.accumulate, "batch * accumulate below 4294967296");
        }
        for (key, value) in [("lr", self.lr), ("eps", self.eps)] {
            if !(value > 0.0 && value.is_finite()) {
                return refuse(key, &value, "finite numbers above 0");
            }
        }
        for (key, value) in [
            ("max_minutes", self.max_minutes.unwrap_or(0.0)),
            ("weight_decay", self.weight_decay),
            ("clip_norm", self.clip_norm),
            ("validate_every", self.validate_every),
            ("checkpoint_minutes", self.checkpoint_minutes),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return refuse(key, &value, "finite numbers from 0");
            }
        }
        for beta in self.betas {
            if !(0.0..1.0).contains(&beta) {
                return refuse("betas", &beta, "two numbers from 0 to below 1");
            }
        }
        if !(0.0..=1.0).contains(&self.min_lr_ratio) {
            return refuse("min_lr_ratio", &self.min_lr_ratio, "0 to 1");
        }
        Ok(())
    }

    /// The time budget in seconds.
    pub(crate) fn budget(&self) -> Option<f64> {
        self.max_minutes.filter(|m| *m > 0.0).map(|m| m * 60.0)
    }

    /// A fresh optimiser for `len` parameters.
    pub(crate) fn build_optimizer(&self, len: usize) -> Result<Box<dyn Optimizer>> {
        let [beta1, beta2] = self.betas.map(|b| b as f32);
        let (lr, eps, weight_decay) = (self.lr as f32, self.eps as f32, self.weight_decay as f32);
        Ok(match self.optimizer {
            OptimizerKind::Adamw => {
                let options = AdamWOptions { lr, beta1, beta2, eps, weight_decay };
                Box::new(AdamW::new(options, len, "train")?)
            }
            OptimizerKind::Adam => {
                let options = AdamOptions { lr, beta1, beta2, eps, weight_decay };
                Box::new(Adam::new(options, len, "train")?)
            }
        })
    }

    /// The learning-rate schedule over `total` steps.
    pub(crate) fn build_schedule(&self, total: u64) -> Schedule {
        let TrainOptions { warmup_steps, hold_steps, min_lr_ratio: min_ratio, .. } = *self;
        // A run may end within its warm-up.
        let total_steps = total.max(warmup_steps.saturating_add(1));
        match self.schedule {
            ScheduleKind::Constant => Schedule::Constant { warmup_steps },
            ScheduleKind::Cosine => Schedule::Cosine { warmup_steps, total_steps, min_ratio },
            ScheduleKind::Linear => Schedule::Linear { warmup_steps, total_steps, min_ratio },
            ScheduleKind::InverseSqrt => Schedule::InverseSqrt { warmup_steps, hold_steps },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, value: impl Into<serde_json::Value>) -> Result<TrainOptions> {
        TrainOptions::read(&Spec::new("train", "train").with(key, value))
    }

    #[test]
    fn every_range_is_checked_and_named() {
        assert_eq!(read("lr", 0.5).unwrap().lr, 0.5);
        assert_eq!(read("max_minutes", serde_json::Value::Null).unwrap().budget(), None);
        assert_eq!(read("max_minutes", 0).unwrap().budget(), None);
        assert_eq!(read("max_minutes", 1.5).unwrap().budget(), Some(90.0));
        for (key, value) in [
            ("epochs", 0.into()),
            ("batch", 0.into()),
            ("batch", (-1).into()),
            ("accumulate", 0.into()),
            ("accumulate", u64::MAX.into()),
            ("micro_batch", 0.into()),
            ("lanes", 0.into()),
            ("lanes", 1000.into()),
            ("keep", 0.into()),
            ("log_every", 0.into()),
            ("lr", 0.0.into()),
            ("eps", 0.0.into()),
            ("max_minutes", (-1.0).into()),
            ("weight_decay", (-0.1).into()),
            ("clip_norm", (-1.0).into()),
            ("validate_every", (-1.0).into()),
            ("checkpoint_minutes", (-1.0).into()),
            ("betas", vec![0.9, 1.0].into()),
            ("betas", vec![0.9].into()),
            ("min_lr_ratio", 1.1.into()),
            ("optimizer", "sgd".into()),
            ("schedule", "step".into()),
        ] {
            let value: serde_json::Value = value;
            let e = read(key, value.clone()).unwrap_err().to_string();
            assert!(e.contains(&format!("train.{key}")), "{key} = {value}: {e}");
        }
        let e = read("epoch", 3).unwrap_err().to_string();
        assert!(e.contains("did you mean `epochs`"), "{e}");
    }
}
