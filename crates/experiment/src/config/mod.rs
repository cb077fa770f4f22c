//! Experiment files: short TOML, with overrides from the command line.
//!
//! ```toml
//! seed = 0
//!
//! [data]
//! type = "folder"
//! path = "beauty"            # beside this file, or below the working directory
//! split = "leave-one-out"    # or { type = "ratio", test = 0.2 }
//!
//! [quantizer]
//! type = "rq-kmeans"
//! levels = [256, 256, 256]
//!
//! [decoder]
//! width = 20
//! ```
//!
//! Every section has a default, so a file holds only what the experiment is about. A section may
//! be written as a bare name, `quantizer = "random"`, which means its defaults. `a.b=value`
//! overrides one key; the value is read as TOML and, where it is none, as a string.

mod document;
mod plan;
mod print;
mod resolve;
mod sections;

pub use plan::{EvaluatePlan, GenerativePlan, ModelPlan, Part, Plan, TrainPlan};
pub(crate) use resolve::is_path;
pub use sections::{EvaluateOptions, SampleOptions, evaluate_docs, train_docs};

use serde_json::{Map, Value};
use sidereal_core::{Error, Result, component::nearest};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Sections in the order of the pipeline.
pub const SECTIONS: [&str; 12] = [
    "data",
    "encoder",
    "side",
    "quantizer",
    "identifier",
    "backbone",
    "objective",
    "train",
    "decoder",
    "reranker",
    "evaluate",
    "recommender",
];

/// Keys that stand above all sections.
const TOP_KEYS: [&str; 4] = ["seed", "threads", "device", "cache"];

/// Sections that may stand several times, `[[reranker]]`, and are kept as a list.
const LISTS: [&str; 1] = ["reranker"];

/// Sections without a component, which have no `type`.
const PLAIN_SECTIONS: [&str; 3] = ["side", "train", "evaluate"];

/// A configuration as written, with the place of every key.
#[derive(Debug, Clone)]
pub struct Config {
    /// Stem of the file: the default name of the run.
    pub name: String,
    root: Map<String, Value>,
    places: BTreeMap<String, String>,
    /// Folders of the files it was read from: where relative paths are looked for first.
    folders: Vec<PathBuf>,
}

impl Config {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self> {
        let mut config = Config::read(path)?;
        config.check_names()?;
        Ok(config)
    }

    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::InvalidData => Error::ConfigAt {
                place: path.display().to_string(),
                message: "not a text file (UTF-8)".into(),
            },
            _ => Error::read(path, e),
        })?;
        let mut config = Config::document(&text, &path.display().to_string())?;
        config.name = path.file_stem().map_or("run".into(), |s| s.to_string_lossy().into_owned());
        config.folders = vec![path.parent().map_or_else(PathBuf::new, Path::to_path_buf)];
        Ok(config)
    }

    /// Reads text; `name` stands for the file in errors.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let mut config = Config::document(text, name)?;
        config.check_names()?;
        Ok(config)
    }

    fn document(text: &str, name: &str) -> Result<Self> {
        let document = document::parse(text, name)?;
        Ok(Config {
            name: "run".into(),
            root: document.root,
            places: document.places,
            folders: Vec::new(),
        })
    }

    /// Overrides a key: `assignment` is `a.b=value`.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let place = format!("--set {assignment}");
        let wrong =
            |message: &str| Error::ConfigAt { place: place.clone(), message: message.into() };
        let (key, text) =
            assignment.split_once('=').ok_or_else(|| wrong("expected key=value, as in seed=1"))?;
        self.put(key, document::value(text.trim()), &place)
    }

    /// Puts a value at a dotted key; `place` stands for it in errors.
    pub(crate) fn put(&mut self, key: &str, value: Value, place: &str) -> Result<()> {
        let wrong =
            |message: &str| Error::ConfigAt { place: place.into(), message: message.into() };
        let path: Vec<&str> = key.split('.').map(str::trim).collect();
        if path.iter().any(|p| p.is_empty()) {
            return Err(wrong("expected a dotted key, as in decoder.width"));
        }
        let mut table = &mut self.root;
        let mut parts = path[..path.len() - 1].iter();
        while let Some(part) = parts.next() {
            let entry = table.entry(*part).or_insert_with(|| Value::Object(Map::new()));
            // A component written as a bare name becomes a table with that `type`.
            if let Value::String(name) = entry {
                *entry = Value::Object(Map::from_iter([("type".into(), name.as_str().into())]));
            }
            // `reranker.0.lambda` is a key of the first section of several.
            let entry = match entry {
                Value::Array(list) => {
                    let n = list.len();
                    let at = parts.next().and_then(|i| i.parse::<usize>().ok());
                    let message = || format!("`{part}` needs a number from 0 to {}", n.max(1) - 1);
                    at.and_then(|i| list.get_mut(i)).ok_or_else(|| wrong(&message()))?
                }
                entry => entry,
            };
            table =
                entry.as_object_mut().ok_or_else(|| wrong(&format!("`{part}` is no section")))?;
        }
        table.insert(path[path.len() - 1].to_string(), value);
        for end in 1..path.len() {
            self.places.entry(path[..end].join(".")).or_insert_with(|| place.into());
        }
        self.places.insert(path.join("."), place.into());
        self.check_names()
    }

    /// Takes a section out of a document that is more than an experiment; the rest is one.
    pub(crate) fn split(path: &Path, section: &str) -> Result<(Self, Option<Value>)> {
        let mut config = Config::read(path)?;
        let taken = config.root.remove(section);
        config.check_names()?;
        Ok((config, taken))
    }

    /// Puts every key of `other` over this configuration's; relative paths are looked for beside
    /// the other's file first.
    pub(crate) fn overlay(&mut self, other: &Config) -> Result<()> {
        for (key, value) in &other.root {
            match (self.root.get_mut(key).and_then(Value::as_object_mut), value) {
                // Another component has other options: its section replaces the old one.
                (Some(old), Value::Object(new)) if !new.contains_key("type") => {
                    old.extend(new.clone());
                }
                _ => drop(self.root.insert(key.clone(), value.clone())),
            }
        }
        self.places.extend(other.places.clone());
        self.folders.splice(0..0, other.folders.iter().cloned());
        self.check_names()
    }

    /// Where a key stands.
    pub(crate) fn place(&self, key: &str) -> Option<&str> {
        self.places.get(key).map(String::as_str)
    }

    /// A path written in this file, from its folder.
    pub(crate) fn beside(&self, path: &str) -> PathBuf {
        self.folders.first().map_or_else(|| path.into(), |folder| folder.join(path))
    }

    /// Refuses unknown sections and turns bare component names into tables.
    fn check_names(&mut self) -> Result<()> {
        let known = || TOP_KEYS.iter().chain(&SECTIONS).copied();
        for (key, value) in &mut self.root {
            let error = if !known().any(|k| k == key) {
                Error::UnknownOption {
                    key: key.clone(),
                    known: known().map(str::to_string).collect(),
                    nearest: nearest(key, known()),
                }
            } else if LISTS.contains(&key.as_str()) {
                match list_of(key, value) {
                    Ok(()) => continue,
                    Err(error) => error,
                }
            } else if TOP_KEYS.contains(&key.as_str()) || value.is_object() {
                continue;
            } else if let (Value::String(name), false) =
                (&*value, PLAIN_SECTIONS.contains(&key.as_str()))
            {
                *value = Value::Object(Map::from_iter([("type".into(), name.as_str().into())]));
                continue;
            } else {
                Error::config(key, format!("expected a section `[{key}]`, got {value}"))
            };
            return Err(locate(error, &self.places));
        }
        Ok(())
    }

    /// Puts the place of the key at fault before an error of the configuration.
    pub fn locate(&self, error: Error) -> Error {
        locate(error, &self.places)
    }

    /// Everything as written.
    pub fn tree(&self) -> Value {
        Value::Object(self.root.clone())
    }

    /// A section as written, if it is.
    fn section(&self, name: &str) -> Option<&Map<String, Value>> {
        self.root.get(name).and_then(Value::as_object)
    }

    /// The tables of a section that may stand several times.
    fn list(&self, name: &str) -> impl Iterator<Item = &Map<String, Value>> {
        let parts = self.root.get(name).and_then(Value::as_array);
        parts.into_iter().flatten().filter_map(Value::as_object)
    }

    /// Where a relative path leads: beside the files, else below the working directory.
    fn find(&self, path: &str) -> Option<PathBuf> {
        let beside = self.folders.iter().map(|folder| folder.join(path));
        beside.chain([PathBuf::from(path)]).find(|p| p.exists()).and_then(|p| p.canonicalize().ok())
    }
}

/// Makes a list of tables of what stands for a section of several: one table or name, or a list.
fn list_of(key: &str, value: &mut Value) -> Result<()> {
    if !value.is_array() {
        *value = Value::Array(vec![value.take()]);
    }
    for (i, part) in value.as_array_mut().into_iter().flatten().enumerate() {
        match part {
            Value::Object(_) => {}
            Value::String(name) => {
                let name = Value::from(name.as_str());
                *part = Value::Object(Map::from_iter([("type".into(), name)]));
            }
            other => {
                let message = format!("expected a name or a section `[[{key}]]`, got {other}");
                return Err(Error::config(format!("{key}[{i}]"), message));
            }
        }
    }
    Ok(())
}

fn locate(error: Error, places: &BTreeMap<String, String>) -> Error {
    let mut key = match &error {
        Error::Config { key, .. } | Error::UnknownOption { key, .. } => key.clone(),
        Error::UnknownName { kind, .. } if kind == "split" => "data.split".into(),
        Error::UnknownName { kind, .. } => format!("{kind}.type"),
        _ => return error,
    };
    if key == "metric" || key.starts_with("metric.") {
        key = "evaluate.metrics".into();
    }
    // A default that does not fit is reported at the section that it belongs to, an entry of a list
    // that was set as a whole at the list.
    loop {
        if let Some(place) = places.get(&key) {
            return Error::ConfigAt { place: place.clone(), message: error.to_string() };
        }
        match key.rfind(['.', '[']) {
            Some(end) => key.truncate(end),
            None => return error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config> {
        Config::parse(text, "x.toml")
    }

    #[test]
    fn unknown_sections_name_the_nearest_and_the_line() {
        let e = parse("seed = 1\n[quantiser]\ntype = \"random\"\n").unwrap_err().to_string();
        assert!(e.starts_with("x.toml:2: ") && e.contains("did you mean `quantizer`"), "{e}");
        let e = parse("train = 3").unwrap_err().to_string();
        assert!(e.contains("x.toml:1") && e.contains("[train]"), "{e}");
        assert!(parse("train = \"fast\"").is_err());
    }

    #[test]
    fn bare_names_stand_for_components() {
        let c = parse("quantizer = \"random\"").unwrap();
        assert_eq!(c.section("quantizer").unwrap()["type"], "random");
    }

    #[test]
    fn overrides() {
        let mut c = parse("[data]\ntype = \"csv\"\nsplit = \"ratio\"\n").unwrap();
        c.set("data.split.valid=0.2").unwrap();
        c.set("quantizer=random").unwrap();
        c.set("decoder.width = 7").unwrap();
        let data = c.section("data").unwrap();
        assert_eq!(data["split"]["type"], "ratio");
        assert_eq!(data["split"]["valid"], 0.2);
        assert_eq!(c.section("quantizer").unwrap()["type"], "random");
        assert_eq!(c.section("decoder").unwrap()["width"], 7);
        let error = |c: &mut Config, s: &str| c.set(s).unwrap_err().to_string();
        assert!(error(&mut c, "seed").contains("key=value"));
        assert!(error(&mut c, ".a=1").contains("dotted key"));
        c.set("seed=3").unwrap();
        assert!(error(&mut c, "seed.x=1").contains("`seed` is no section"));
        assert!(error(&mut c, "decodre.width=1").contains("did you mean `decoder`"));
    }

    #[test]
    fn sections_that_stand_several_times() {
        let c = parse("[[reranker]]\ntype = \"a\"\nx = 1\n\n[[reranker]]\ntype = \"b\"\n").unwrap();
        let types = |c: &Config| -> Vec<String> {
            c.list("reranker").map(|t| t["type"].as_str().unwrap().to_string()).collect()
        };
        assert_eq!(types(&c), ["a", "b"]);
        let place = |key: &str| c.locate(Error::config(key, "?")).to_string();
        assert!(place("reranker[0].x").starts_with("x.toml:3: "));
        assert!(place("reranker[1].x").starts_with("x.toml:5: "), "{}", place("reranker[1].x"));
        for text in ["reranker = \"a\"", "reranker = [\"a\"]", "reranker = { type = \"a\" }"] {
            assert_eq!(types(&parse(text).unwrap()), ["a"]);
        }
        let e = parse("seed = 1\nreranker = [1]").unwrap_err().to_string();
        assert!(e.starts_with("x.toml:2: ") && e.contains("[[reranker]]"), "{e}");
        let mut c = parse("reranker = [\"a\", \"b\"]").unwrap();
        c.set("reranker.1.lambda=0.3").unwrap();
        assert_eq!(c.list("reranker").nth(1).unwrap()["lambda"], 0.3);
        let e = c.set("reranker.2.lambda=0.3").unwrap_err().to_string();
        assert!(e.contains("0 to 1"), "{e}");
        assert!(c.set("reranker.lambda=0.3").is_err());
        c.set("reranker=c").unwrap();
        assert_eq!(types(&c), ["c"]);
    }

    #[test]
    fn places_of_parents_stand_for_defaults() {
        let c = parse("[quantizer]\ntype = \"x\"\n").unwrap();
        let e = c.locate(Error::config("quantizer.levels", "too large"));
        assert_eq!(e.to_string(), "x.toml:1: config key `quantizer.levels`: too large");
        let e = c.locate(Error::UnknownName {
            kind: "quantizer".into(),
            name: "x".into(),
            known: vec![],
            nearest: None,
        });
        assert!(e.to_string().starts_with("x.toml:2: unknown quantizer"));
        assert!(!c.locate(Error::config("seed", "?")).to_string().contains("x.toml"));
    }
}
