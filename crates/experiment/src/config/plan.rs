//! What a configuration resolves to: components that are built, and every option with its value.

use super::{EvaluateOptions, SECTIONS, print::print};
use crate::baselines::BaselineContext;
use serde_json::{Map, Value, json};
use sidereal_backbones::Output;
use sidereal_core::{Identifier, ItemEncoder, Quantizer, Sequences, Spec};
use sidereal_data::{Augment, Source, Splitter};
use sidereal_decoding::Decoder;
use sidereal_metrics::Metric;
use sidereal_nn::{Engine, Objective};
use sidereal_rerank::Reranker;
use sidereal_train::TrainOptions;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A component, ready to work.
pub struct Part<T: ?Sized> {
    /// Name and all options.
    pub spec: Spec,
    /// Crate that registered it.
    pub origin: String,
    /// The component.
    pub built: Box<T>,
}

impl<T: ?Sized> Part<T> {
    /// What decides its work: name, crate and options.
    pub fn identity(&self) -> Value {
        identity(&self.spec, &self.origin)
    }
}

pub(super) fn identity(spec: &Spec, origin: &str) -> Value {
    json!({"type": spec.name, "origin": origin, "options": spec.options})
}

/// A whole experiment, checked and ready to run.
pub struct Plan {
    /// Name of the run.
    pub name: String,
    /// Seed of all random streams.
    pub seed: u64,
    /// Worker threads; changes no result.
    pub threads: usize,
    /// What runs the model: fused blocks, or a network in candle operations on a device.
    pub engine: Engine,
    /// Cache folder, where the configuration names one.
    pub cache: Option<PathBuf>,
    /// Reader of the data.
    pub source: Part<dyn Source>,
    /// Split of the data.
    pub split: Part<dyn Splitter>,
    /// What learns and recommends; none where `[recommender]` stands.
    pub model: Option<ModelPlan>,
    /// The recommender that needs no training.
    pub baseline: Option<Spec>,
    /// What orders the recommender's candidates again, first to last.
    pub rerankers: Vec<Part<dyn Reranker>>,
    /// Metrics and protocol.
    pub evaluate: EvaluatePlan,
    /// Sections that were written but have no part in this run.
    pub unused: Vec<String>,
    pub(super) resolved: Map<String, Value>,
}

/// A model and how it is trained.
pub struct ModelPlan {
    /// Name and options of the backbone; it is built when the vocabulary is known.
    pub backbone: Spec,
    /// Crate that registered the backbone.
    pub backbone_origin: String,
    /// How the backbone names items.
    pub output: Output,
    /// The loss.
    pub objective: Part<dyn Objective>,
    /// Samples, validation and the trainer's options.
    pub train: TrainPlan,
    /// What a generative model needs; none for dense retrievers.
    pub generative: Option<GenerativePlan>,
}

impl ModelPlan {
    /// What decides the backbone: name, crate and options.
    pub fn backbone_identity(&self) -> Value {
        identity(&self.backbone, &self.backbone_origin)
    }
}

/// Semantic IDs and their decoding.
pub struct GenerativePlan {
    /// Items to vectors.
    pub encoder: Part<dyn ItemEncoder>,
    /// Vectors to codes.
    pub quantizer: Part<dyn Quantizer>,
    /// Named side inputs of the quantizer, by the encoders that make them.
    pub side: BTreeMap<String, Part<dyn ItemEncoder>>,
    /// Codes to IDs.
    pub identifier: Part<dyn Identifier>,
    /// Search for IDs.
    pub decoder: Part<dyn Decoder>,
}

/// `[train]`, resolved.
pub struct TrainPlan {
    /// The trainer's options.
    pub options: TrainOptions,
    /// Which runs of a history are samples.
    pub augmentation: Augment,
    /// Width of the validating beam.
    pub validate_width: u32,
    /// Validation cases, 0 for all.
    pub validate_cases: usize,
    /// All keys with their values.
    pub resolved: Map<String, Value>,
}

/// `[evaluate]`, resolved.
pub struct EvaluatePlan {
    /// Metrics in the order of the table.
    pub metrics: Vec<Box<dyn Metric>>,
    /// Name and options of each metric, for cache keys.
    pub identities: Vec<Value>,
    /// Chooses the checkpoint; none for the loss.
    pub select: Option<Box<dyn Metric>>,
    /// Name and options of the choosing metric.
    pub select_identity: Value,
    /// Cut-off of the choosing metric.
    pub select_k: Option<usize>,
    /// The options as written.
    pub options: EvaluateOptions,
    /// Length of the lists to ask for: the largest cut-off.
    pub list_length: usize,
}

impl Plan {
    /// The resolved configuration as TOML.
    pub fn to_toml(&self) -> String {
        print(&self.resolved, &SECTIONS)
    }

    /// Every key with its value, without those that change no result (`threads`, `cache`, the
    /// number of a GPU).
    pub fn resolved(&self) -> Map<String, Value> {
        let mut map = self.resolved.clone();
        map.remove("threads");
        map.remove("cache");
        map.remove("device");
        if self.engine != Engine::default() {
            map.insert("device".into(), self.engine.kind().into());
        }
        map
    }

    /// What a recommender that needs no training is built from.
    pub fn baseline_context(
        &self,
        train: Arc<Sequences>,
        n_items: usize,
        extras: BTreeMap<String, Value>,
    ) -> BaselineContext {
        BaselineContext { train, n_items, extras, seed: self.seed }
    }
}
