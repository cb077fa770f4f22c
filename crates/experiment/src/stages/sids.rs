//! Vectors to codes, codes (or other things) to the finished SID table.
//!
//! | file | holds |
//! |---|---|
//! | `sids.safetensors` | the table |
//! | `codebook.safetensors` | the quantizer's tensors |
//! | `sids.json` | `{item: ["<a_1>", ...]}`, where every item has one ID |
//! | `sid_report.json` | usage, collisions, reconstruction error, hierarchy, predictability |

use super::data::{Data, checksums, content};
use super::embeddings::{Embeddings, embeddings, without_paths};
use super::{Context, version};
use crate::GenerativePlan;
use crate::cache::{Entry, Key};
use crate::leaks::Provenance;
use serde_json::{Value, json};
use sidereal_core::{
    EncoderInput, Event, IdentifierInput, Matrix, MatrixRef, Quantized, QuantizerInput, Result,
    SidTable, files,
};
use sidereal_quantizers::{
    AnalysisInput, SidAnalysis, SidReport, load_sids, save_codebook, save_sids,
};
use std::collections::BTreeMap;
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

    /// What quantizer and identifier read.
    pub fn provenance(&self) -> Result<Provenance> {
        Provenance::of_entry("sids", &self.entry)
    }
}

/// What depends on a table depends on its content alone.
pub fn identity(table: &SidTable) -> Value {
    format!("{:016x}", table.version()).into()
}

/// Vectors to codes, codes to the table; `vectors` are none where the identifier reads no codes.
pub fn sids(
    cx: &Context<'_>,
    plan: &GenerativePlan,
    data: &Data,
    vectors: Option<&Vectors>,
) -> Result<Sids> {
    let files = checksums(&plan.identifier.built.files())?;
    let mut identifier = plan.identifier.identity();
    if !files.is_empty() {
        without_paths(&mut identifier);
    }
    let mut inputs = json!({
        // Identifiers may look at texts, histories and popularity.
        "data": data.identity,
        "identifier": identifier,
        "files": content(&files),
        "seed": cx.plan.seed,
    });
    if let Some(vectors) = vectors {
        inputs["embeddings"] = vectors.items.identity();
        inputs["quantizer"] = plan.quantizer.identity();
        inputs["side"] = vectors.side.iter().map(|(n, e)| (n.clone(), e.identity())).collect();
    }
    let key = Key::new("sids", version::SIDS, inputs);
    let entry = cx.cache.get(&key, &cx.run, |folder: &Path| {
        let read = Provenance::new("sids").catalogue(&catalogue(data));
        read.popularity(&data.popularity).save(folder)?;
        let (table, report) = match vectors {
            Some(vectors) => quantize(cx, plan, data, vectors, folder)?,
            None => {
                let input = IdentifierInput {
                    catalogue: catalogue(data),
                    popularity: &data.popularity,
                    quantized: None,
                };
                let table = plan.identifier.built.identify(&input, &cx.run)?;
                let report = analyse(cx, data, &table, None)?;
                (table, report)
            }
        };
        save_sids(&folder.join(TABLE), &table)?;
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

fn catalogue(data: &Data) -> EncoderInput<'_> {
    EncoderInput { items: &data.dataset.items, train: &data.train }
}

/// What is quantized.
pub struct Vectors {
    items: Embeddings,
    side: BTreeMap<String, Embeddings>,
}

impl Vectors {
    /// Encodes the catalogue, where the identifier reads codes.
    pub fn encode(cx: &Context<'_>, plan: &GenerativePlan, data: &Data) -> Result<Option<Self>> {
        if !plan.identifier.built.reads_codes() {
            return Ok(None);
        }
        let items = embeddings(cx, &plan.encoder, data)?;
        let encode = |(name, part)| Ok((String::clone(name), embeddings(cx, part, data)?));
        Ok(Some(Vectors { items, side: plan.side.iter().map(encode).collect::<Result<_>>()? }))
    }

    /// What later stages depend on.
    pub fn identity(&self) -> Value {
        let side = self.side.iter().map(|(n, e)| (n.clone(), e.identity()));
        json!({"items": self.items.identity(), "side": side.collect::<BTreeMap<_, _>>()})
    }

    /// What the encoders read, one record each.
    pub fn provenance(&self) -> Result<Vec<Provenance>> {
        let mut all = vec![self.items.provenance()?];
        for (name, side) in &self.side {
            let read = side.provenance()?.read;
            all.push(Provenance { stage: format!("side-{name}"), read });
        }
        Ok(all)
    }

    /// Whether the cache had them all.
    pub fn reused(&self) -> bool {
        self.items.reused() && self.side.values().all(Embeddings::reused)
    }
}

/// Fits the quantizer, writes its codebook and gives the table with its report.
fn quantize(
    cx: &Context<'_>,
    plan: &GenerativePlan,
    data: &Data,
    made: &Vectors,
    folder: &Path,
) -> Result<(SidTable, SidAnalysis)> {
    let vectors = made.items.vectors()?.view();
    let read = |(name, e): (&String, &Embeddings)| Ok((name.clone(), e.vectors()?.clone()));
    let side: BTreeMap<String, Matrix> = made.side.iter().map(read).collect::<Result<_>>()?;
    let catalogue = catalogue(data);
    let input = QuantizerInput { vectors, side: &side, catalogue: Some(catalogue) };
    let codebook = plan.quantizer.built.fit(&input, &cx.run)?;
    let codes = codebook.quantize(&input)?;
    let quantized = Quantized { codes: &codes, codebook: codebook.as_ref(), vectors };
    let input =
        IdentifierInput { catalogue, popularity: &data.popularity, quantized: Some(quantized) };
    let table = plan.identifier.built.identify(&input, &cx.run)?;
    let report = SidReport::of_codes(&codes, codebook.widths())?;
    let report = report.with_reconstruction(&codes, codebook.as_ref(), vectors)?;
    save_codebook(&folder.join(CODEBOOK), codebook.as_ref())?;
    let report = SidAnalysis { codes: Some(report), ..analyse(cx, data, &table, Some(vectors))? };
    Ok((table, report))
}

/// What the report says of the finished table.
fn analyse(
    cx: &Context<'_>,
    data: &Data,
    table: &SidTable,
    vectors: Option<MatrixRef<'_>>,
) -> Result<SidAnalysis> {
    let (items, train) = (Some(&data.dataset.items), Some(data.train.as_ref()));
    SidAnalysis::of(&AnalysisInput { table, items, train, vectors }, &cx.run)
}
