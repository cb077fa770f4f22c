//! What answers requests: a finished run without the plan, the registry and the cache that it was
//! opened from, so that a service can own it and replace it by another.

use serde_json::Value;
use sidereal_backbones::GenerativeRecommender;
use sidereal_core::{
    ItemTable, Recommender, Request, Response, Result, Run, Sequences, SidTable, StringColumn,
};
use sidereal_decoding::explain::Path;
use std::sync::Arc;

/// Items and users of a run.
pub struct Catalogue {
    /// The items, N.
    pub items: ItemTable,
    /// Source ids of the U users.
    pub users: StringColumn,
    /// All interactions of every user, those of validation and test too.
    pub histories: Sequences,
    /// Training interactions of each item.
    pub popularity: Vec<u32>,
    /// Hashes of the content and the split: equal catalogues have equal identities.
    pub identity: Value,
}

/// Whether items of the history may be recommended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// They may.
    Kept,
    /// They are excluded (`evaluate.exclude_seen`).
    Removed,
}

/// Says how recommendations came about.
pub trait Explainer: Send + Sync {
    /// The ways of the recommended IDs through the levels, for each request those of its response
    /// in order.
    fn explain(
        &self,
        requests: &[Request<'_>],
        responses: &[Response],
        run: &Run<'_>,
    ) -> Result<Vec<Vec<Path>>>;
}

impl Explainer for GenerativeRecommender {
    fn explain(
        &self,
        requests: &[Request<'_>],
        responses: &[Response],
        run: &Run<'_>,
    ) -> Result<Vec<Vec<Path>>> {
        GenerativeRecommender::explain(self, requests, responses, run)
    }
}

/// A recommender and all that its requests and answers refer to.
pub struct Served {
    /// What answers call the run.
    pub name: String,
    /// Items and users; runs over the same data can share them.
    pub catalogue: Arc<Catalogue>,
    /// IDs of the items, for generative models.
    pub sids: Option<Arc<SidTable>>,
    /// Answers.
    pub recommender: Arc<dyn Recommender>,
    /// Says how its answers came about, for generative models.
    pub explainer: Option<Arc<dyn Explainer>>,
    /// What happens to items of the history.
    pub seen: Seen,
    /// Seed of decoders that draw.
    pub seed: u64,
    /// Most hypotheses of a request, for generative models.
    pub width: Option<usize>,
}
