//! Files to a data set and its split.
//!
//! The data set is cached by the reader's options and the content of its files, not by where they
//! lie. It depends on no seed, so that runs with several seeds share it. The split is cheap and is
//! made anew from the data set.

use super::{Context, dataset_file, version};
use crate::cache::{Checksum, Key};
use crate::config::{Part, is_path};
use serde::Serialize;
use serde_json::{Value, json};
use sidereal_core::{Event, Result, Run, Sequences};
use sidereal_data::{Dataset, Splits, Splitter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FILE: &str = "dataset.safetensors";

/// An input file of the run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InputFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Length and SHA-256.
    #[serde(flatten)]
    pub checksum: Checksum,
}

/// Data set and split.
pub struct Data {
    /// Catalogue, users, all interactions.
    pub dataset: Dataset,
    /// Training histories of all users.
    pub train: Arc<Sequences>,
    /// Training interactions of each item.
    pub popularity: Vec<u32>,
    /// Split; its training part lies in `train`.
    pub splits: Splits,
    /// Files that were read.
    pub files: Vec<InputFile>,
    /// What later stages depend on: the content and the split.
    pub identity: Value,
    /// Whether the cache had it.
    pub reused: bool,
}

/// Loads the plan's data.
pub fn data(cx: &Context<'_>) -> Result<Data> {
    let source = &cx.plan.source;
    let files = checksums(&source.built.files())?;
    let mut inputs = source.identity();
    inputs["files"] = content(&files);
    if let (false, Some(options)) = (files.is_empty(), inputs["options"].as_object_mut()) {
        options.retain(|key, _| !is_path(key));
    }
    let key = Key::new("data", version::DATA, inputs);
    // A reader gets no seed of the run.
    let run = Run { seed: 0, ..cx.run.clone() };
    let mut fresh = None;
    let entry = cx.cache.get(&key, &cx.run, |folder: &Path| {
        let dataset = source.built.load(&run)?;
        dataset_file::save(&folder.join(FILE), &dataset)?;
        fresh = Some(dataset);
        Ok(())
    })?;
    let dataset = match fresh {
        Some(dataset) => dataset,
        None => dataset_file::load(&entry.path(FILE))?,
    };
    warn(&dataset, &cx.run);
    let identity = json!({"dataset": entry.sum(FILE), "split": cx.plan.split.identity()});
    let data = Data::of(dataset, &cx.plan.split, identity)?;
    Ok(Data { files, reused: entry.reused, ..data })
}

impl Data {
    /// Splits a data set; `identity` stands for content and split in the keys of later stages.
    pub fn of(dataset: Dataset, split: &Part<dyn Splitter>, identity: Value) -> Result<Self> {
        let mut splits = split.built.split(&dataset)?;
        let train = Arc::new(std::mem::take(&mut splits.train));
        let popularity = train.popularity(dataset.items.len());
        let files = Vec::new();
        Ok(Data { dataset, train, popularity, splits, files, identity, reused: false })
    }
}

/// Checksums of input files, in the order given.
pub fn checksums(files: &[PathBuf]) -> Result<Vec<InputFile>> {
    files
        .iter()
        .map(|path| Ok(InputFile { path: path.clone(), checksum: Checksum::of(path)? }))
        .collect()
}

/// Names and sums of files, without the folders that they lie in.
pub fn content(files: &[InputFile]) -> Value {
    let name = |p: &Path| p.file_name().map(|n| n.to_string_lossy().into_owned());
    files.iter().map(|f| json!([name(&f.path), f.checksum.sha256])).collect()
}

fn warn(dataset: &Dataset, run: &Run<'_>) {
    let report = &dataset.report;
    for note in &report.notes {
        run.emit(Event::Note(note));
    }
    if report.bad_lines > 0 {
        let first = report.first_bad_lines.first().map_or("", String::as_str);
        let text = format!("{} bad lines were skipped, the first: {first}", report.bad_lines);
        run.emit(Event::Warning(&text));
    }
}
