//! Vectors to codes, codes to the finished SID table.
//!
//! | file | holds |
//! |---|---|
//! | `sids.safetensors` | the table |
//! | `codebook.safetensors` | the quantizer's tensors |
//! | `sids.json` | `{item: ["<a_1>", ...]}`, where every item has one ID |
//! | `sid_report.json` | usage, entropy, collisions, reconstruction error |

use super::data::Data;
use super::embeddings::Embeddings;
use super::{Context, version};
use crate::GenerativePlan;
use crate::cache::{Entry, Key};
use serde_json::{Value, json};
use sidereal_core::{Event, IdentifierInput, QuantizerInput, Result, SidTable, files};
use sidereal_quantizers::{SidReport, load_sids, save_codebook, save_sids};
use std::path::Path;
use std::sync::Arc;

/// Name of the table's file.
pub const TABLE: &str = "sids.safetensors";
/// Name of the codebook's file.
pub const CODEBOOK: &str = "codebook.safetensors";
/// Name of the index that other programs read.
pub const INDEX: &str = "sids.json";
/// Name of the report.
pub const REPORT: &str = "sid_report.json";

/// The finished table.
pub struct Sids {
    /// IDs of all items.
    pub table: Arc<SidTable>,
    /// The files.
    pub entry: Entry,
}

impl Sids {
    /// What later stages depend on.
    pub fn identity(&self) -> Value {
        identity(&self.table)
    }
}

/// What depends on a table depends on its content alone.
pub fn identity(table: &SidTable) -> Value {
    format!("{:016x}", table.version()).into()
}

/// Quantizes and identifies the catalogue.
pub fn sids(
    cx: &Context<'_>,
    plan: &GenerativePlan,
    data: &Data,
    embeddings: &Embeddings,
) -> Result<Sids> {
    let inputs = json!({
        "embeddings": embeddings.identity(),
        // Collision policies may look at the training popularity.
        "data": data.identity,
        "quantizer": plan.quantizer.identity(),
        "identifier": plan.identifier.identity(),
        "seed": cx.plan.seed,
    });
    let key = Key::new("sids", version::SIDS, inputs);
    let entry = cx.cache.get(&key, &cx.run, |folder: &Path| {
        let vectors = embeddings.vectors()?.view();
        let input = QuantizerInput::vectors(vectors);
        let codebook = plan.quantizer.built.fit(&input, &cx.run)?;
        let codes = codebook.quantize(&input)?;
        let table = plan.identifier.built.identify(
            &IdentifierInput {
                codes: &codes,
                popularity: &data.popularity,
                codebook: codebook.as_ref(),
                vectors,
            },
            &cx.run,
        )?;
        let report = SidReport::of_codes(&codes, codebook.widths())?.with_reconstruction(
            &codes,
            codebook.as_ref(),
            vectors,
        )?;
        let report = json!({"codes": report, "ids": SidReport::of_table(&table)?});
        save_sids(&folder.join(TABLE), &table)?;
        save_codebook(&folder.join(CODEBOOK), codebook.as_ref())?;
        files::write_json(&folder.join(REPORT), &report)?;
        match table.to_index_json() {
            Ok(index) => files::write_json(&folder.join(INDEX), &index),
            Err(why) => {
                cx.run.emit(Event::Warning(&format!("{INDEX} is not written: {why}")));
                Ok(())
            }
        }
    })?;
    let table = Arc::new(load_sids(&entry.path(TABLE))?);
    Ok(Sids { table, entry })
}
