//! What one finished run left in its folder.

use super::log::Log;
use super::per_user::PerUser;
use crate::Config;
use crate::folder::CONFIG;
use crate::results::Results;
use crate::run::EXAMPLES_FILE;
use crate::serve::Example;
use crate::stages::{evaluation, training};
use serde_json::{Value, json};
use sidereal_core::{Error, Result, Run, files};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes that the header of a weights file may have; real ones have a few thousand.
const LONGEST_HEADER: u64 = 64 << 20;

/// Keys above the sections that change no result.
const FREE: [&str; 4] = ["seed", "threads", "cache", "device"];

/// What a run is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// By its folder.
    Folder(String),
    /// By its case.
    Case {
        /// Name of the sweep's folder.
        sweep: String,
        /// Name of the case, which may have any letters.
        case: String,
    },
}

/// A finished run.
#[derive(Debug, Clone)]
pub struct Record {
    /// The run folder.
    pub folder: PathBuf,
    /// What it is called.
    pub label: Label,
    /// Seed of the run.
    pub seed: u64,
    /// The resolved configuration without seed, threads, cache, device and the data's section.
    pub config: Value,
    /// Hash of the data set.
    pub data: Value,
    /// Versions of the stages' code.
    pub stages: Value,
    /// Metrics and protocol.
    pub results: Results,
    /// Values of each test case, where the run has them.
    pub per_user: Option<PerUser>,
    /// Losses, validations and times.
    pub log: Log,
    /// Weights of the model.
    pub parameters: Option<u64>,
    /// Most memory of the process, bytes.
    pub peak_memory: Option<u64>,
    /// A few test users with their recommendations.
    pub examples: Vec<Example>,
}

impl Record {
    /// Reads a finished run's folder.
    ///
    /// Errors: no configuration or no metrics, files that are damaged.
    pub fn read(folder: &Path, label: Label, run: &Run<'_>) -> Result<Self> {
        let mut config = Config::load(&folder.join(CONFIG))?.tree();
        let seed = config["seed"].as_u64().unwrap_or(0);
        if let Some(tree) = config.as_object_mut() {
            // What the data are is known by their content; where they lie is no part of a system.
            tree.retain(|key, _| !FREE.contains(&key.as_str()) && key != "data");
            if let Some(evaluate) = tree.get_mut("evaluate").and_then(Value::as_object_mut) {
                evaluate.remove("leak_check");
            }
        }
        let results: Results = files::read_json(&folder.join(evaluation::METRICS))?;
        let optional = |name: &str| -> Result<Option<Value>> {
            let path = folder.join(name);
            path.is_file().then(|| files::read_json(&path)).transpose()
        };
        let per_user = folder.join(evaluation::PER_USER);
        let per_user = per_user.is_file().then(|| PerUser::read(&per_user, run)).transpose()?;
        if let Some(table) = &per_user
            && let Some(cases) = results.protocol.test.as_ref().map(|t| t.cases)
            && cases != table.users.len() as u64
        {
            let message = format!("{} rows for {cases} test cases", table.users.len());
            return Err(Error::data(folder.join(evaluation::PER_USER), message));
        }
        let examples = folder.join(EXAMPLES_FILE);
        let examples = match examples.is_file() {
            true => files::read_json(&examples)?,
            false => Vec::new(),
        };
        let summary = optional("summary.json")?.unwrap_or_default();
        Ok(Record {
            folder: folder.into(),
            label,
            seed,
            config,
            data: optional("data.json")?.map_or(json!(null), |d| d["identity"]["dataset"].clone()),
            stages: optional("versions.json")?.map_or(json!(null), |v| v["stages"].clone()),
            results,
            per_user,
            log: Log::read(&folder.join("log.jsonl"), optional(training::SUMMARY)?)?,
            parameters: parameters(&folder.join(training::WEIGHTS))?,
            peak_memory: summary["peak_memory_bytes"].as_u64(),
            examples,
        })
    }

    /// The test metrics.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.results.test.get(name).copied()
    }
}

/// Numbers in a safetensors file, by its header; the weights are not read.
fn parameters(path: &Path) -> Result<Option<u64>> {
    if !path.is_file() {
        return Ok(None);
    }
    let mut file = File::open(path).map_err(|e| Error::read(path, e))?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|e| Error::read(path, e))?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER {
        let message = format!("a header of {length} bytes; expected at most {LONGEST_HEADER}");
        return Err(Error::data(path, message));
    }
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(|e| Error::read(path, e))?;
    let header: Value =
        serde_json::from_slice(&bytes).map_err(|e| Error::data(path, format!("header: {e}")))?;
    let size = |tensor: &Value| -> Option<u64> {
        let shape = tensor["shape"].as_array()?;
        shape.iter().try_fold(1u64, |n, d| n.checked_mul(d.as_u64()?))
    };
    Ok(header.as_object().map(|h| h.values().filter_map(size).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_counted_by_their_header() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        assert_eq!(parameters(&path).unwrap(), None);
        let header = r#"{"__metadata__":{"a":"b"},"x":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]},"y":{"dtype":"F32","shape":[],"data_offsets":[48,52]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(parameters(&path).unwrap(), Some(13));
        std::fs::write(&path, u64::MAX.to_le_bytes()).unwrap();
        assert!(parameters(&path).unwrap_err().to_string().contains("at most"));
        std::fs::write(&path, [1, 0]).unwrap();
        assert!(parameters(&path).is_err());
    }
}
