//! Item encoders: text, precomputed and sentence-transformer vectors.
//!
//! | name | from | needs |
//! |---|---|---|
//! | `lsa` | TF-IDF of the item text and a truncated SVD | nothing |
//! | `lightgcn` | the graph of training interactions (arXiv 2002.02126) | interactions |
//! | `precomputed` | a `.npy` or safetensors file | the file |
//! | `sentence-transformer` | a BERT-like model in the sentence-transformers layout | its folder |
//!
//! [`register`] makes all of them known by name.

pub mod collaborative;
pub mod hub;
pub mod lightgcn;
pub mod lsa;
pub mod precomputed;
mod rows;
pub mod sentence_transformer;
pub mod text;
mod threads;

pub use collaborative::Factors;
pub use lightgcn::{LightGcn, LightGcnOptions};
pub use lsa::{Lsa, LsaOptions};
pub use precomputed::{Precomputed, PrecomputedOptions};
pub use sentence_transformer::{SentenceTransformer, SentenceTransformerOptions};
pub use text::ItemText;

use sidereal_core::{Catalog, Entry, Error, ItemEncoder, Result};

/// Section of the config that holds an encoder; prefixes keys in errors.
pub(crate) const SECTION: &str = "encoder";

/// Registers the encoders of this crate.
pub fn register(catalog: &mut Catalog<dyn ItemEncoder>) -> Result<()> {
    let origin = env!("CARGO_PKG_NAME");
    catalog.add(Entry::new(
        "lightgcn",
        origin,
        "User and item vectors smoothed over the interaction graph, trained with BPR (arXiv 2002.02126).",
        |options: LightGcnOptions, _: &()| {
            Ok(Box::new(LightGcn::new(options)?) as Box<dyn ItemEncoder>)
        },
    ))?;
    catalog.add(Entry::new(
        "lsa",
        origin,
        "TF-IDF of the item text, reduced by a randomized truncated SVD (arXiv 0909.4061).",
        |options: LsaOptions, _: &()| Ok(Box::new(Lsa::new(options)?) as Box<dyn ItemEncoder>),
    ))?;
    catalog.add(Entry::new(
        "precomputed",
        origin,
        "Vectors from a .npy or safetensors file, one row an item in item order.",
        |options: PrecomputedOptions, _: &()| {
            Ok(Box::new(Precomputed::new(options)?) as Box<dyn ItemEncoder>)
        },
    ))?;
    catalog.add(Entry::new(
        "sentence-transformer",
        origin,
        "A BERT-like text model in the sentence-transformers layout (arXiv 1908.10084).",
        |options: SentenceTransformerOptions, _: &()| {
            Ok(Box::new(SentenceTransformer::new(options)?) as Box<dyn ItemEncoder>)
        },
    ))
}

/// `encoder.<name>`.
pub(crate) fn key(name: &str) -> String {
    format!("{SECTION}.{name}")
}

/// Refuses a whole number outside `low..=high`.
pub(crate) fn check_range(name: &str, value: usize, low: usize, high: usize) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::config(key(name), format!("{value} is outside {low}..={high}")))
}

/// Refuses a number outside `low..=high`, and NaN.
pub(crate) fn check_number(name: &str, value: f32, low: f32, high: f32) -> Result<()> {
    if value >= low && value <= high {
        return Ok(());
    }
    let least = if low == f32::MIN_POSITIVE { "above 0".into() } else { format!("{low} and up") };
    let most = if high == f32::MAX { String::new() } else { format!(", at most {high}") };
    Err(Error::config(key(name), format!("{value} is out of range; allowed: {least}{most}")))
}
