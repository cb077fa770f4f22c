//! Item encoders: vectors of texts, files, interactions and several of them.
//!
//! | name | from | needs |
//! |---|---|---|
//! | `lsa` | TF-IDF of the item text and a truncated SVD | nothing |
//! | `als` | alternating least squares over interactions (Hu et al. 2008) | interactions |
//! | `fused` | several encoders, joined or aligned (arXiv 2502.06269) | what they need |
//! | `graph-smoothed` | another encoder, smoothed over co-occurrence | interactions |
//! | `graphsage` | another encoder's vectors in a graph network (MMGRec, arXiv 2404.16555) | interactions |
//! | `item2vec` | the company of items in histories (arXiv 1603.04259) | interactions |
//! | `labels` | a column of the catalogue as class numbers | the column |
//! | `lightgcn` | the graph of training interactions (arXiv 2002.02126) | interactions |
//! | `precomputed` | a `.npy` or safetensors file | the file |
//! | `svd` | a truncated SVD of the normalised user-item matrix | interactions |
//! | `sentence-transformer` | a BERT-like model in the sentence-transformers layout | its folder |
//!
//! [`register`] makes all of them known by name.

pub mod als;
pub mod collaborative;
mod epochs;
pub mod fused;
pub mod graph_smoothed;
pub mod graphsage;
pub mod hub;
pub mod item2vec;
pub mod labels;
pub mod lightgcn;
pub mod lsa;
pub mod precomputed;
mod rows;
pub mod sentence_transformer;
pub mod svd;
pub mod text;
mod threads;

pub use als::{Als, AlsOptions};
pub use collaborative::Factors;
pub use fused::{Fused, FusedMode, FusedOptions, Fusion};
pub use graph_smoothed::{GraphSmoothed, GraphSmoothedOptions};
pub use graphsage::{GraphSage, GraphSageOptions};
pub use item2vec::{Item2Vec, Item2VecOptions};
pub use labels::{Labels, LabelsOptions};
pub use lightgcn::{LightGcn, LightGcnOptions};
pub use lsa::{Lsa, LsaOptions};
pub use precomputed::{Precomputed, PrecomputedOptions};
pub use sentence_transformer::{SentenceTransformer, SentenceTransformerOptions};
pub use svd::{InteractionSvd, SvdOptions};
pub use text::ItemText;

use sidereal_core::{Catalog, Entry, Error, ItemEncoder, Result};

/// Section of the config that holds an encoder; prefixes keys in errors.
pub(crate) const SECTION: &str = "encoder";

/// Registers the encoders of this crate.
pub fn register(catalog: &mut Catalog<dyn ItemEncoder>) -> Result<()> {
    let origin = env!("CARGO_PKG_NAME");
    catalog.add(Entry::new(
        "als",
        origin,
        "Matrix factorisation of implicit feedback by alternating least squares (Hu et al. 2008).",
        |options: AlsOptions, _: &()| Ok(Box::new(Als::new(options)?) as Box<dyn ItemEncoder>),
    ))?;
    catalog.add(Entry::composite(
        "fused",
        origin,
        "Vectors of several encoders as one, joined or aligned (PRORec / UNGER, arXiv 2502.06269).",
        |options: FusedOptions, _: &(), all| {
            Ok(Box::new(Fused::new(options, all)?) as Box<dyn ItemEncoder>)
        },
    ))?;
    catalog.add(Entry::composite(
        "graph-smoothed",
        origin,
        "Vectors of another encoder, smoothed over the co-occurrence graph (arXiv 1810.05997).",
        |options: GraphSmoothedOptions, _: &(), all| {
            Ok(Box::new(GraphSmoothed::new(options, all)?) as Box<dyn ItemEncoder>)
        },
    ))?;
    catalog.add(Entry::composite(
        "graphsage",
        origin,
        "Vectors of another encoder in a graph network trained with BPR (MMGRec, arXiv 2404.16555).",
        |options: GraphSageOptions, _: &(), all| {
            Ok(Box::new(GraphSage::new(options, all)?) as Box<dyn ItemEncoder>)
        },
    ))?;
    catalog.add(Entry::new(
        "labels",
        origin,
        "A column of the catalogue as class numbers, for side inputs of quantizers.",
        |options: LabelsOptions, _: &()| Ok(Box::new(Labels::new(options)?) as Box<dyn ItemEncoder>),
    ))?;
    catalog.add(Entry::new(
        "item2vec",
        origin,
        "Skip-gram with negative sampling over histories (arXiv 1603.04259).",
        |options: Item2VecOptions, _: &()| {
            Ok(Box::new(Item2Vec::new(options)?) as Box<dyn ItemEncoder>)
        },
    ))?;
    catalog.add(Entry::new(
        "svd",
        origin,
        "Truncated SVD of the normalised user-item matrix (arXiv 0909.4061).",
        |options: SvdOptions, _: &()| {
            Ok(Box::new(InteractionSvd::new(options)?) as Box<dyn ItemEncoder>)
        },
    ))?;
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
