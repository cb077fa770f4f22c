//! What answers requests: a finished run without the plan, the registry and the cache that it was
//! opened from, so that a service can own it and replace it by another.

use crate::stages::Context;
use crate::stages::data::Data;
use crate::stages::evaluation::Subject;
use serde_json::Value;
use sidereal_core::{ItemTable, Recommender, Sequences, SidTable, StringColumn};
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

/// A recommender and all that its requests and answers refer to.
pub struct Served {
    /// Name of the run.
    pub name: String,
    /// Items and users; runs over the same data can share them.
    pub catalogue: Arc<Catalogue>,
    /// IDs of the items, for generative models.
    pub sids: Option<Arc<SidTable>>,
    /// Answers.
    pub recommender: Box<dyn Recommender>,
    /// What happens to items of the history.
    pub seen: Seen,
    /// Seed of decoders that draw.
    pub seed: u64,
    /// Most hypotheses of a request, for generative models.
    pub width: Option<usize>,
}

impl Served {
    pub(crate) fn new(
        cx: &Context<'_>,
        data: Data,
        subject: &Subject,
        recommender: Box<dyn Recommender>,
    ) -> Self {
        let Data { dataset, popularity, identity, .. } = data;
        let generative = cx.plan.model.as_ref().and_then(|m| m.generative.as_ref());
        Served {
            name: cx.plan.name.clone(),
            catalogue: Arc::new(Catalogue {
                items: dataset.items,
                users: dataset.user_ids,
                histories: dataset.interactions,
                popularity,
                identity,
            }),
            sids: subject.sids().cloned(),
            recommender,
            seen: match cx.plan.evaluate.options.exclude_seen {
                true => Seen::Removed,
                false => Seen::Kept,
            },
            seed: cx.plan.seed,
            width: generative.map(|g| g.decoder.built.width()),
        }
    }
}
