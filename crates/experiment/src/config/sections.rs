//! Keys of the sections that are no components.

use crate::leaks::LeakPolicy;
use serde_json::Value;
use sidereal_core::{OptionDoc, Options};
use sidereal_data::Augment;
use sidereal_train::TrainOptions;

sidereal_core::options! {
    /// Keys of `[train]` that concern samples and validation; the others are the trainer's.
    pub struct SampleOptions {
        /// Which runs of a history are samples: contiguous (GRID), prefix or packed. Unset: packed
        /// where the backbone learns every position in one pass, else contiguous.
        pub augmentation: Option<Augment> = None,
        /// Width of the beam that validates, 1 and up. It is not `decoder.width`, so that another
        /// decoder needs no new training.
        pub validate_width: u32 = 10,
        /// Validation cases that choose the checkpoint, spread evenly; 0 takes all.
        pub validate_cases: usize = 0,
    }
}

sidereal_core::options! {
    /// Keys of `[evaluate]`.
    pub struct EvaluateOptions {
        /// Metrics as `name@k`, or tables with a `type`.
        pub metrics: Vec<Value> = default_metrics(),
        /// Metric on the validation part that chooses the checkpoint, or "loss".
        pub select: String = "ndcg@10".to_string(),
        /// Whether items of a user's history are removed from the user's list (GRID: no).
        pub exclude_seen: bool = false,
        /// Most training interactions of an item with few of them: results are also given for
        /// targets up to and above it. 0 separates items that were never seen.
        pub few: u32 = 5,
        /// What a leak of targets into training does: error (it ends the run), warn, or off
        /// (nothing is checked).
        pub leak_check: LeakPolicy = LeakPolicy::Error,
    }
}

fn default_metrics() -> Vec<Value> {
    ["recall@5", "recall@10", "ndcg@5", "ndcg@10", "mrr@10", "coverage@10"].map(Value::from).into()
}

/// All keys of `[train]`. The trainer's own `select` is not among them: `evaluate.select` is.
pub fn train_docs() -> Vec<OptionDoc> {
    let mut docs = TrainOptions::describe();
    docs.retain(|d| d.name != "select");
    docs.extend(SampleOptions::describe());
    docs
}

/// All keys of `[evaluate]`.
pub fn evaluate_docs() -> Vec<OptionDoc> {
    EvaluateOptions::describe()
}
