//! The stages of a run, one file each: data, embeddings, SIDs, training, evaluation.
//!
//! A stage is a function from the outputs of earlier stages to its own, and is cached by what it
//! was made from. It does not depend on what comes later: another decoder never trains again,
//! another backbone never quantizes again.

pub mod data;
pub mod dataset_file;
pub mod embeddings;
pub mod evaluation;
pub mod reranking;
pub mod sids;
pub mod training;

use crate::{Cache, Plan, Registry};
use serde_json::{Value, json};
use sidereal_core::Run;
use sidereal_nn::Engine;

/// What every stage gets: the plan, where finished stages are, and the run.
pub struct Context<'a> {
    /// All components.
    pub registry: &'a Registry,
    /// The experiment.
    pub plan: &'a Plan,
    /// Finished stages.
    pub cache: &'a Cache,
    /// Seed, observer, stop flag, threads.
    pub run: Run<'a>,
}

/// Adds what rounding depends on to a key; the usual engine is left out.
pub(crate) fn add_engine(inputs: &mut Value, engine: Engine) {
    if engine != Engine::default() {
        inputs["device"] = engine.kind().into();
    }
}

/// Versions of the stages' code, part of every cache key: raise one when its stage gives other
/// results for the same inputs.
pub mod version {
    /// Reading, filtering, splitting.
    pub const DATA: u32 = 1;
    /// Item vectors.
    pub const EMBEDDINGS: u32 = 2;
    /// Quantization and identifiers.
    pub const SIDS: u32 = 3;
    /// Training.
    pub const TRAINING: u32 = 1;
    /// Recommendation and metrics.
    pub const EVALUATION: u32 = 3;
}

/// All versions, for `versions.json`.
pub fn versions() -> Value {
    json!({
        "data": version::DATA,
        "embeddings": version::EMBEDDINGS,
        "sids": version::SIDS,
        "training": version::TRAINING,
        "evaluation": version::EVALUATION,
    })
}
