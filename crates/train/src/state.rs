//! The state of the loop beside tensors: all that a resumed run needs to go on as if nothing had
//! happened. Position in the epoch and order of examples follow from the step.

use crate::checkpoint::Checkpoint;
use crate::options::{FREE, TrainOptions};
use crate::summary::{Stop, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sidereal_core::{Error, Options, Result, seed};
use sidereal_nn::Params;

const VERSION: u32 = 1;

/// State of the loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    seed: u64,
    options: Map<String, Value>,
    examples: u64,
    parameters: u64,
    /// Hash of the names and shapes of all parameters, hexadecimal.
    layout: String,
    /// Optimiser steps done.
    pub(crate) step: u64,
    /// Steps that the optimiser counts; fewer where a batch had no target.
    pub(crate) optimizer_steps: u64,
    /// Seconds of all sessions.
    pub(crate) seconds: f64,
    pub(crate) validations: Vec<Validation>,
    /// Step of the last validation, also when it gave no metric.
    pub(crate) validated: u64,
    /// Index of the best validation.
    pub(crate) best: Option<usize>,
    /// Validations since the best.
    pub(crate) since_best: u64,
    /// Metric that chooses, once known.
    pub(crate) select: Option<String>,
    /// Sums since the last line of the log.
    pub(crate) window: Vec<(String, f64)>,
    /// Steps in the sums.
    pub(crate) window_steps: u64,
    pub(crate) stop: Option<Stop>,
}

impl State {
    pub(crate) fn new(options: &TrainOptions, examples: usize, params: &Params, seed: u64) -> Self {
        State {
            version: VERSION,
            seed,
            options: options.to_map(),
            examples: examples as u64,
            parameters: params.len() as u64,
            layout: layout(params),
            step: 0,
            optimizer_steps: 0,
            seconds: 0.0,
            validations: Vec::new(),
            validated: 0,
            best: None,
            since_best: 0,
            select: None,
            window: Vec::new(),
            window_steps: 0,
            stop: None,
        }
    }

    /// The state in a checkpoint, if it belongs to the same training as `fresh`.
    pub(crate) fn resume(fresh: &State, checkpoint: &Checkpoint) -> Result<State> {
        let path = checkpoint.path.display();
        let state: State = serde_json::from_str(&checkpoint.state)
            .map_err(|e| Error::data(&checkpoint.path, format!("state of another version: {e}")))?;
        let advice = "restore it, or delete the checkpoints to start afresh";
        if state.version != fresh.version {
            let message = format!("version {}, this is {VERSION}; {advice}", state.version);
            return Err(Error::data(&checkpoint.path, message));
        }
        if state.seed != fresh.seed {
            let message =
                format!("{}, but {path} was trained with {}; {advice}", fresh.seed, state.seed);
            return Err(Error::config("seed", message));
        }
        for (key, new) in fresh.options.iter().filter(|(k, _)| !FREE.contains(&k.as_str())) {
            let old = state.options.get(key).unwrap_or(&Value::Null);
            if old != new {
                let message = format!("{new}, but {path} was trained with {old}; {advice}");
                return Err(Error::config(format!("train.{key}"), message));
            }
        }
        if (state.parameters, &state.layout) != (fresh.parameters, &fresh.layout) {
            return Err(Error::mismatch(format!(
                "{path} holds {} parameters, the model has {} of other names or shapes: the \
                 backbone or the identifiers changed; delete the checkpoints to start afresh",
                state.parameters, fresh.parameters
            )));
        }
        if state.examples != fresh.examples {
            return Err(Error::mismatch(format!(
                "{path} was trained on {} examples, there are {} now; delete the checkpoints to \
                 start afresh",
                state.examples, fresh.examples
            )));
        }
        Ok(State { options: fresh.options.clone(), ..state })
    }

    pub(crate) fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|e| Error::other("writing the training state", e))
    }

    pub(crate) fn best(&self) -> Option<&Validation> {
        self.best.and_then(|i| self.validations.get(i))
    }

    /// Adds to a sum of the log.
    pub(crate) fn add(&mut self, name: &str, value: f64) {
        match self.window.iter_mut().find(|w| w.0 == name) {
            Some(w) => w.1 += value,
            None => self.window.push((name.to_string(), value)),
        }
    }
}

fn layout(params: &Params) -> String {
    let mut h = 0u64;
    for info in params.infos() {
        h = seed::key(h, &info.name, info.slot.offset as u64);
        h = info.shape.iter().fold(h, |h, &n| seed::mix(h.wrapping_add(n as u64)));
    }
    format!("{h:016x}")
}
