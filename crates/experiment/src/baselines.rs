//! Recommenders without training, for the first rows of every table.

use serde_json::Value;
use sidereal_backbones::MostPopular;
use sidereal_core::{Catalog, Entry, Error, Options, Recommender, Result, Sequences, Spec};
use sidereal_data::synthetic::{Oracle, SyntheticOptions, World};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a recommender without training may know: the training part, never the targets.
#[derive(Debug, Clone)]
pub struct BaselineContext {
    /// Training histories of all users.
    pub train: Arc<Sequences>,
    /// Number of items N.
    pub n_items: usize,
    /// Facts that only the source of the data knows.
    pub extras: BTreeMap<String, Value>,
    /// The run's seed.
    pub seed: u64,
}

sidereal_core::options! {
    /// `most-pop` has no options.
    pub struct MostPopOptions {}
}

sidereal_core::options! {
    /// `oracle` has no options.
    pub struct OracleOptions {}
}

/// Registers `most-pop` and `oracle`.
pub fn register(catalog: &mut Catalog<dyn Recommender, BaselineContext>) -> Result<()> {
    let origin = env!("CARGO_PKG_NAME");
    catalog.add(Entry::new(
        "most-pop",
        origin,
        "The items with the most training interactions, the same for everyone.",
        |_: MostPopOptions, c: &BaselineContext| {
            let popularity = c.train.popularity(c.n_items);
            Ok(Box::new(MostPopular::new(&popularity)) as Box<dyn Recommender>)
        },
    ))?;
    catalog.add(Entry::new(
        "oracle",
        origin,
        "The best possible recommender of a synthetic world: it knows the true probabilities.",
        |_: OracleOptions, c: &BaselineContext| {
            let world = c.extras.get("world").and_then(Value::as_object).ok_or_else(|| {
                Error::config("recommender.type", "`oracle` needs [data] type = \"synthetic\"")
            })?;
            let spec =
                Spec { section: "data".into(), name: "synthetic".into(), options: world.clone() };
            let world = World::new(SyntheticOptions::from_spec(&spec)?)?;
            Ok(Box::new(Oracle::new(world)) as Box<dyn Recommender>)
        },
    ))
}
