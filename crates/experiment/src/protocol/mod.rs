//! What a figure means, stored with every result: two results may stand in one table only when
//! their protocols agree ([`Protocol::compare`]).
//!
//! Frameworks differ in ways that move a metric by more than a new model does: full or sampled
//! ranking, seen items removed or kept, the split, the part that chose the checkpoint. So none of
//! it is implied; a field that is `None` is *not recorded*, which is neither equal nor different.
//! The JSON form is that of `metrics.json`. Results of earlier versions load, and keys that this
//! version does not know are kept.

mod compare;

pub use compare::{Comparison, Difference};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that decides what the metrics of a result mean.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Protocol {
    /// How histories were cut into training, validation and test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitUsed>,
    /// Whether every candidate was ranked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranking: Option<Ranking>,
    /// What could be recommended at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<Candidates>,
    /// What happened to items that the user has taken before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_items: Option<SeenItems>,
    /// What an item counts that stands in a list twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<Repeats>,
    /// What the recommender was told of a case. Anything of the target among it is a hint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<BTreeSet<Known>>,
    /// What chose the weights; `None` where nothing was trained, or nothing was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// Length of the lists that were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list_length: Option<u64>,
    /// Most training interactions of an item that counts as rare in `groups`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub few: Option<u32>,
    /// Each metric's name, crate and options.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, Value>,
    /// Sum over users' histories and item ids: whatever the files were called, the same
    /// interactions give the same sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Users of the data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<u64>,
    /// Items of the catalogue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<u64>,
    /// Interactions of the data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interactions: Option<u64>,
    /// Interactions that train.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training_interactions: Option<u64>,
    /// The validation cases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid: Option<Cases>,
    /// The test cases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Cases>,
    /// Seed of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Keys of other versions and programs.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A split by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SplitUsed {
    /// Name, as in `leave-one-out`.
    #[serde(rename = "type")]
    pub name: String,
    /// Its options.
    #[serde(flatten)]
    pub options: BTreeMap<String, Value>,
}

/// Which candidates were ranked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ranking {
    /// All of them.
    Full,
    /// The target among some: such figures are higher and do not order systems alike (Krichene
    /// and Rendle 2020). No run of this program writes it; results of others may.
    Sampled {
        /// Items beside the target.
        negatives: u64,
        /// How they were drawn, as in `uniform`.
        drawn: String,
    },
}

/// What could be recommended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Candidates {
    /// The catalogue.
    #[serde(rename = "every item of the catalogue")]
    Catalogue,
    /// Something else, in words.
    #[serde(untagged)]
    Other(String),
}

/// What happened to items of the user's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeenItems {
    /// They could be recommended.
    Kept,
    /// They were taken out of the lists.
    Removed,
}

/// What an item counts that stands in a list twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Repeats {
    /// Its first place counts.
    #[serde(rename = "an item counts at its first place")]
    FirstPlace,
    /// Something else, in words.
    #[serde(untagged)]
    Other(String),
}

/// A fact of a test case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    /// Which user it is.
    User,
    /// The items before the target.
    History,
    /// Their times.
    HistoryTimes,
    /// The time of the target: a hint, since it tells how long the user was away.
    TargetTime,
    /// Text or a preference that was matched to the target: an oracle (as in Mender's first axis).
    TargetText,
}

/// What chose the weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Checkpoint {
    /// The best by a metric on a part of the data.
    Best(Best),
    /// A rule in words, as in `last weights`.
    Rule(String),
}

/// A choice by a metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Best {
    /// The part: `valid`, or `test`, which makes the figures of the test worthless.
    pub on: String,
    /// The metric, or `loss`.
    #[serde(default)]
    pub by: String,
    /// Width of the beam that measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beam: Option<u64>,
    /// Cases that it was measured on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cases: Option<u64>,
}

/// Sizes of one part of the evaluation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cases {
    /// Number of cases.
    pub cases: u64,
    /// Cases whose history holds a target.
    pub targets_in_history: u64,
    /// Generated candidates that were no item; a result rather than a rule.
    pub invalid_candidates: u64,
    /// Lists in which every item has the same score, so that item numbers order them; a result
    /// too.
    #[serde(skip_serializing_if = "none")]
    pub tied_lists: u64,
}

fn none(count: &u64) -> bool {
    *count == 0
}

impl Protocol {
    /// The JSON form.
    pub fn tree(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Facts of the target among what the recommender was told.
    pub fn hints(&self) -> impl Iterator<Item = Known> + '_ {
        let hint = |k: &Known| matches!(k, Known::TargetTime | Known::TargetText);
        self.known.iter().flatten().copied().filter(hint)
    }
}

#[cfg(test)]
mod tests;
