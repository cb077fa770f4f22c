//! Items to vectors, kept as `embeddings.npy`.

use super::data::{Data, checksums, content};
use super::{Context, version};
use crate::cache::Key;
use crate::config::is_path;
use crate::{GenerativePlan, npy};
use serde_json::{Value, json};
use sidereal_core::{EncoderInput, Error, Matrix, Result};
use std::path::Path;

const FILE: &str = "embeddings.npy";

/// One vector an item.
pub struct Embeddings {
    /// Shape `N x D`.
    pub vectors: Matrix,
    /// What later stages depend on.
    pub identity: Value,
    /// Whether the cache had it.
    pub reused: bool,
}

/// Encodes the catalogue.
pub fn embeddings(cx: &Context<'_>, plan: &GenerativePlan, data: &Data) -> Result<Embeddings> {
    let encoder = &plan.encoder;
    let files = checksums(&encoder.built.files())?;
    let mut own = encoder.identity();
    if let (false, Some(options)) = (files.is_empty(), own["options"].as_object_mut()) {
        options.retain(|key, _| !is_path(key));
    }
    let inputs = json!({
        "data": data.identity,
        "encoder": own,
        "files": content(&files),
        "seed": cx.plan.seed,
    });
    let key = Key::new("embeddings", version::EMBEDDINGS, inputs);
    let mut fresh = None;
    let entry = cx.cache.get(&key, &cx.run, |folder: &Path| {
        let input = EncoderInput { items: &data.dataset.items, train: &data.train };
        let vectors = encoder.built.encode(&input, &cx.run)?;
        check(&vectors, data)?;
        npy::save(&folder.join(FILE), &vectors)?;
        fresh = Some(vectors);
        Ok(())
    })?;
    let vectors = match fresh {
        Some(vectors) => vectors,
        None => sidereal_encoders::precomputed::npy::read(&entry.path(FILE))?,
    };
    Ok(Embeddings { vectors, identity: entry.sum(FILE).into(), reused: entry.reused })
}

/// Encoders of other crates are held to the trait's promise.
fn check(vectors: &Matrix, data: &Data) -> Result<()> {
    let items = data.dataset.items.len();
    if vectors.rows() != items {
        let rows = vectors.rows();
        return Err(Error::mismatch(format!("the encoder gave {rows} vectors for {items} items")));
    }
    match vectors.view().first_not_finite() {
        None => Ok(()),
        Some(row) => Err(Error::NotFinite {
            what: format!("the encoder's vector of item {row}"),
            step: None,
            help: "every value must be a number within the range of f32".into(),
        }),
    }
}
