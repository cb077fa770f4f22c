//! Items to vectors, kept as `embeddings.npy`.

use super::data::{Data, checksums, content};
use super::{Context, version};
use crate::cache::{Entry, Key};
use crate::config::{Part, is_path};
use crate::leaks::Provenance;
use serde_json::{Value, json};
use sidereal_core::{EncoderInput, Error, ItemEncoder, Matrix, Result};
use sidereal_nn::vector_file::npy;
use std::cell::OnceCell;
use std::path::Path;

const FILE: &str = "embeddings.npy";

/// One vector an item.
pub struct Embeddings {
    entry: Entry,
    vectors: OnceCell<Matrix>,
}

impl Embeddings {
    /// Shape `N x D`; read when they are needed, because cached IDs need no vectors.
    pub fn vectors(&self) -> Result<&Matrix> {
        if let Some(vectors) = self.vectors.get() {
            return Ok(vectors);
        }
        let vectors = npy::read(&self.entry.path(FILE))?;
        Ok(self.vectors.get_or_init(|| vectors))
    }

    /// What later stages depend on.
    pub fn identity(&self) -> Value {
        self.entry.sum(FILE).into()
    }

    /// What the encoder read.
    pub fn provenance(&self) -> Result<Provenance> {
        Provenance::of_entry("embeddings", &self.entry)
    }

    /// Whether the cache had it.
    pub fn reused(&self) -> bool {
        self.entry.reused
    }
}

/// Encodes the catalogue.
pub fn embeddings(
    cx: &Context<'_>,
    encoder: &Part<dyn ItemEncoder>,
    data: &Data,
) -> Result<Embeddings> {
    let files = checksums(&encoder.built.files())?;
    let mut own = encoder.identity();
    if !files.is_empty() {
        without_paths(&mut own);
    }
    let inputs = json!({
        "data": data.identity,
        "encoder": own,
        "files": content(&files),
        "seed": encoder.built.seeded().then_some(cx.plan.seed),
    });
    let key = Key::new("embeddings", version::EMBEDDINGS, inputs);
    let fresh = OnceCell::new();
    let entry = cx.cache.get(&key, &cx.run, |folder: &Path| {
        let input = EncoderInput { items: &data.dataset.items, train: &data.train };
        Provenance::new("embeddings").catalogue(&input).save(folder)?;
        let vectors = encoder.built.encode(&input, &cx.run).map_err(|e| match e {
            // Nothing was computed yet that could blow up: the input is at fault.
            Error::NotFinite { .. } => Error::input(e.to_string()),
            other => other,
        })?;
        check(&vectors, data)?;
        npy::save(&folder.join(FILE), &vectors)?;
        fresh.get_or_init(|| vectors);
        Ok(())
    })?;
    Ok(Embeddings { entry, vectors: fresh })
}

/// The content of files decides, not where they are: takes paths out of a component's identity.
pub(crate) fn without_paths(identity: &mut Value) {
    match identity {
        Value::Object(map) => {
            map.retain(|key, value| !(is_path(key) && value.is_string()));
            map.values_mut().for_each(without_paths);
        }
        Value::Array(parts) => parts.iter_mut().for_each(without_paths),
        _ => {}
    }
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
