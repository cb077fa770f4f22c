//! What answers hold. `openapi.json` describes the same types; a test compares them.

use serde::{Deserialize, Serialize};

/// The answer of `POST /v1/recommend`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The user, where the request named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Items of the history.
    pub history_length: usize,
    /// Distinct items, best first.
    pub items: Vec<AnswerItem>,
    /// Generated IDs that were no item.
    pub invalid: usize,
    /// Which run and table answered.
    pub version: Version,
    /// Where the time went.
    pub timing: Timing,
}

/// A recommended item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerItem {
    /// Source id.
    pub id: String,
    /// Title, or the id where there is none.
    pub title: String,
    /// What ordered the list; comparable within one answer only.
    pub score: f64,
    /// Semantic ID, as in `<a_1><b_7>`, of generative models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// How the search came to the ID, level by level, where the request asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Vec<Step>>,
}

/// One level of the way to an ID.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Level, from 0.
    pub level: usize,
    /// The code there, as in `<b_7>`.
    pub token: String,
    /// Items of the catalogue whose ID begins with the codes up to here.
    pub items: usize,
    /// Log-probability of the code among all codes of the level.
    pub log_prob: f64,
    /// Log-probability among the codes that were allowed.
    pub log_prob_allowed: f64,
    /// Place among the allowed codes, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// Codes that were allowed.
    pub allowed: u32,
    /// Sum of `log_prob` up to here.
    pub sum: f64,
}

/// Which run and which table answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// 1 at the start, and one more with every swap.
    pub generation: u64,
    /// Name of the run.
    pub run: String,
    /// Hash of the SID table, of generative models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
}

/// Where the time of an answer went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// Milliseconds until the model began.
    pub queue_ms: f64,
    /// Milliseconds of the model, for the whole batch.
    pub model_ms: f64,
    /// Requests in the batch.
    pub batch: usize,
}

/// An item of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueItem {
    /// Source id.
    pub id: String,
    /// Title, or the id where there is none.
    pub title: String,
    /// First semantic ID, of generative models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
}

/// The answer of `GET /v1/items`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// Best match first.
    pub items: Vec<CatalogueItem>,
    /// Items that match, those not shown too.
    pub total: usize,
    /// Which run and table answered.
    pub version: Version,
}

/// The answer of `GET /v1/users/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserHistory {
    /// Source id.
    pub user: String,
    /// Items of the whole history.
    pub history_length: usize,
    /// The most recent items, oldest first.
    pub history: Vec<CatalogueItem>,
    /// Which run and table answered.
    pub version: Version,
}

/// The answer of `GET /health` and `GET /ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// `ok`, or `draining` once the service stops.
    pub status: String,
    /// Which run and table would answer.
    pub version: Version,
}

/// The answer of `POST /admin/swap`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Swapped {
    /// What answers from now on.
    pub version: Version,
    /// What answered before.
    pub previous: Version,
}
