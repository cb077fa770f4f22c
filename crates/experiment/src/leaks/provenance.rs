//! What each stage read, recorded where it reads, and held against what it should have read.
//!
//! A record lies beside the stage's files in the cache, so it is that of the work which was done,
//! not of the run that reuses it: vectors of other data, put into the cache or left there by a key
//! that forgot something, have the record of other data.

use super::{Content, Finding, Verdict};
use crate::cache::Entry;
use crate::stages::data::Data;
use serde::{Deserialize, Serialize};
use sidereal_core::{EncoderInput, Error, Result, files};
use sidereal_data::EvalSet;
use std::collections::BTreeMap;
use std::path::Path;

/// Name of the record's file, in cache entries and in the run folder.
pub const PROVENANCE: &str = "provenance.json";

/// Something that a stage can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// Histories to learn from.
    Histories,
    /// Ids and texts of the catalogue.
    Items,
    /// Interactions of each item.
    Popularity,
    /// Cases that choose the checkpoint.
    Choosing,
}

/// What one stage read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The stage, as in `embeddings`.
    pub stage: String,
    /// Sums and sizes of what it read.
    pub read: BTreeMap<Input, Content>,
}

impl Provenance {
    /// A stage that has read nothing yet.
    pub fn new(stage: &str) -> Self {
        Provenance { stage: stage.into(), read: BTreeMap::new() }
    }

    /// Adds what encoders, quantizers and identifiers get.
    pub fn catalogue(mut self, input: &EncoderInput<'_>) -> Self {
        self.read.insert(Input::Histories, Content::of_histories(input.train));
        self.read.insert(Input::Items, Content::of_items(input.items));
        self
    }

    /// Adds histories.
    pub fn histories(mut self, histories: &sidereal_core::Sequences) -> Self {
        self.read.insert(Input::Histories, Content::of_histories(histories));
        self
    }

    /// Adds interactions of each item.
    pub fn popularity(mut self, counts: &[u32]) -> Self {
        self.read.insert(Input::Popularity, Content::of_counts(counts));
        self
    }

    /// Adds the cases that choose the checkpoint.
    pub fn choosing(mut self, cases: &EvalSet) -> Self {
        self.read.insert(Input::Choosing, Content::of_cases(cases));
        self
    }

    /// Writes the record into a cache entry.
    pub fn save(&self, folder: &Path) -> Result<()> {
        files::write_json(&folder.join(PROVENANCE), self)
    }

    /// The record of a cache entry; an entry of an earlier version has none.
    pub fn of_entry(stage: &str, entry: &Entry) -> Result<Self> {
        match entry.has(PROVENANCE) {
            true => files::read_json(&entry.path(PROVENANCE)),
            false => Ok(Provenance::new(stage)),
        }
    }
}

/// What stages may read, and what they must not.
pub struct Expected {
    rightful: BTreeMap<Input, Content>,
    /// Things that explain a wrong sum, by name.
    known: Vec<Named>,
}

struct Named {
    input: Input,
    content: Content,
    name: &'static str,
}

impl Expected {
    /// Sums of the parts of `data`.
    pub fn of(data: &Data) -> Self {
        let n = data.dataset.items.len();
        let all = &data.dataset.interactions;
        let rightful = BTreeMap::from([
            (Input::Histories, Content::of_histories(&data.train)),
            (Input::Items, Content::of_items(&data.dataset.items)),
            (Input::Popularity, Content::of_counts(&data.train.popularity(n))),
            (Input::Choosing, Content::of_cases(&data.splits.valid)),
        ]);
        let whole = "all interactions, those of validation and test included";
        let known = vec![
            Named { input: Input::Histories, content: Content::of_histories(all), name: whole },
            Named {
                input: Input::Popularity,
                content: Content::of_counts(&all.popularity(n)),
                name: whole,
            },
            Named {
                input: Input::Choosing,
                content: Content::of_cases(&data.splits.test),
                name: "the test cases",
            },
        ];
        Expected { rightful, known }
    }

    /// The finding `read-by-STAGE`.
    pub fn judge(&self, provenance: &Provenance) -> Finding {
        let check = format!("read-by-{}", provenance.stage);
        if provenance.read.is_empty() {
            let text = "the cached stage is older than records of what was read; without it in the \
                        cache it is made again";
            return Finding::new(&check, Verdict::Unknown, text);
        }
        let wrong: Vec<String> = provenance
            .read
            .iter()
            .filter(|(input, content)| self.rightful.get(input) != Some(content))
            .map(|(&input, content)| self.explain(input, content))
            .collect();
        match wrong.is_empty() {
            true => {
                let text = match provenance.read.contains_key(&Input::Choosing) {
                    true => "the training part, and the validation cases to choose by",
                    false => "the training part",
                };
                Finding::new(&check, Verdict::Clean, text)
            }
            false => Finding::new(&check, Verdict::Leak, wrong.join("; ")),
        }
    }

    fn explain(&self, input: Input, content: &Content) -> String {
        let (what, unit) = match input {
            Input::Histories => ("the training histories", "interactions"),
            Input::Items => ("the catalogue", "items"),
            Input::Popularity => ("the training counts", "items"),
            Input::Choosing => ("the validation cases", "cases"),
        };
        let known = self.known.iter().find(|k| k.input == input && k.content == *content);
        let read = match known {
            Some(known) => known.name.to_string(),
            None => format!("other data ({} {unit})", content.size),
        };
        let size = self.rightful.get(&input).map_or(0, |c| c.size);
        format!("it read {read} instead of {what} ({size} {unit})")
    }
}

/// The record of a run folder: one of each stage.
pub fn of_folder(folder: &Path) -> Result<Vec<Provenance>> {
    let path = folder.join(PROVENANCE);
    match path.is_file() {
        true => files::read_json(&path),
        false => Err(Error::data(path, "the run is older than records of what was read")),
    }
}
