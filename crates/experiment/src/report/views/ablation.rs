//! One factor at a time: which keys of a system's configuration differ from the base's.
//!
//! Where a section names another component, that is the change; the options of two components have
//! nothing to do with each other. Systems with the same changes are told apart by the options of
//! their components. `[evaluate]` is no factor: it changes no model, and what it says of the protocol
//! is compared there.

use super::super::collect::System;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A key that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Dotted key, as in `decoder.width`; a section alone is another component.
    pub key: String,
    /// The base's value; nothing where it has no such key.
    pub base: Option<String>,
    /// The system's value.
    pub value: Option<String>,
}

/// A system as a change of the base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ablation {
    /// Name of the system.
    pub system: String,
    /// Keys that differ, sorted; one key is one factor.
    pub changes: Vec<Change>,
    /// Options of the components that changed: those that both components have, with other values,
    /// and what tells systems with the same changes apart.
    pub options: Vec<Change>,
}

/// A configuration by key: a component's `type` under the name of its section.
pub fn options(config: &Value) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    flatten("", config, &mut flat);
    let named = |(key, value): (String, String)| {
        let section = key.strip_suffix(".type").map(str::to_string);
        (section.unwrap_or(key), value)
    };
    flat.into_iter().filter(|(k, _)| !k.starts_with("evaluate.")).map(named).collect()
}

fn flatten(at: &str, value: &Value, out: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                flatten(&at, value, out);
            }
        }
        Value::String(text) => drop(out.insert(at.into(), text.clone())),
        other => drop(out.insert(at.into(), other.to_string())),
    }
}

/// The sections that a key stands in, as in `side.domain` and `side` of `side.domain.column`.
fn above(key: &str) -> impl Iterator<Item = &str> {
    key.match_indices('.').map(|(at, _)| &key[..at])
}

/// Changes from one configuration to another.
pub fn changes(base: &Value, other: &Value) -> Vec<Change> {
    let (a, b) = (options(base), options(other));
    let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
    keys.sort();
    keys.dedup();
    let differs = |key: &str| a.get(key) != b.get(key);
    let shown = |key: &&&String| differs(key) && !above(key).any(differs);
    keys.iter().filter(shown).map(|k| change(k, &a, &b)).collect()
}

fn change(key: &str, a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Change {
    Change { key: key.into(), base: a.get(key).cloned(), value: b.get(key).cloned() }
}

/// All systems but the base as changes of it.
pub fn ablations(systems: &[System], base: usize) -> Vec<Ablation> {
    let of = &systems[base].runs[0].config;
    let others: Vec<&System> =
        systems.iter().enumerate().filter(|(s, _)| *s != base).map(|(_, s)| s).collect();
    let mut out: Vec<Ablation> = Vec::new();
    for system in &others {
        let changes = changes(of, &system.runs[0].config);
        out.push(Ablation { system: system.name.clone(), changes, options: Vec::new() });
    }
    let base = options(of);
    let flat: Vec<BTreeMap<String, String>> =
        others.iter().map(|s| options(&s.runs[0].config)).collect();
    for s in 0..out.len() {
        let twins: Vec<usize> =
            (0..out.len()).filter(|&t| out[t].changes == out[s].changes).collect();
        let inside = |key: &str| above(key).any(|a| out[s].changes.iter().any(|c| c.key == a));
        let telling = telling(&flat, &twins);
        let shown = |(key, value): &(&String, &String)| {
            let shared = base.get(*key).is_some_and(|b| b != *value);
            inside(key) && (shared || telling.contains(key))
        };
        let keys = flat[s].iter().filter(shown).map(|(key, _)| key);
        let found = keys.map(|key| change(key, &base, &flat[s])).collect();
        out[s].options = found;
    }
    out
}

/// Keys that tell configurations apart: one alone where that is enough, else all that differ.
fn telling<'a>(flat: &'a [BTreeMap<String, String>], twins: &[usize]) -> Vec<&'a String> {
    let distinct = |key: &String| {
        let mut values: Vec<Option<&String>> = twins.iter().map(|&t| flat[t].get(key)).collect();
        values.sort();
        values.dedup();
        values.len()
    };
    let mut keys: Vec<&String> = twins.iter().flat_map(|&t| flat[t].keys()).collect();
    keys.sort();
    keys.dedup();
    keys.retain(|k| distinct(k) > 1);
    match keys.iter().find(|k| distinct(k) == twins.len()) {
        Some(key) => vec![key],
        None => keys,
    }
}

impl Ablation {
    /// Its changes in a line, each with the options of its component, as in
    /// `quantizer: rvq -> table (path: a.json); train.lr: 0.1 -> 0.2`.
    pub fn text(&self) -> String {
        if self.changes.is_empty() {
            return "nothing but data or protocol".into();
        }
        let change = |change: &Change| {
            let own = |o: &Change| {
                let key = o.key.strip_prefix(&change.key)?.strip_prefix('.')?.to_string();
                // What the base has not, or what tells others apart, is no change.
                let from = o.base.clone().filter(|_| o.base != o.value);
                Some(Change { key, base: from, value: o.value.clone() })
            };
            let own: Vec<String> =
                self.options.iter().filter_map(own).map(|o| o.text("")).collect();
            match own.is_empty() {
                true => change.text("unset -> "),
                false => format!("{} ({})", change.text("unset -> "), own.join(", ")),
            }
        };
        self.changes.iter().map(change).collect::<Vec<_>>().join("; ")
    }
}

impl Change {
    /// As in `decoder.width: 20 -> 50`, of paths the file's name; with `nothing` before a value that
    /// the base has not.
    fn text(&self, nothing: &str) -> String {
        let short = |v: &str| v.rsplit('/').next().unwrap_or(v).to_string();
        let from = self.base.as_ref().map_or(nothing.into(), |b| format!("{} -> ", short(b)));
        let to = self.value.as_ref().map_or("unset".into(), |v| short(v));
        format!("{}: {from}{to}", self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::collect::collect;
    use super::super::super::synthetic::{Fake, write};
    use super::*;
    use serde_json::json;
    use sidereal_core::Run;

    fn texts(a: Value, b: Value) -> Vec<String> {
        changes(&a, &b).iter().map(|c| c.text("unset -> ")).collect()
    }

    #[test]
    fn another_component_is_one_change() {
        let base = json!({"quantizer": {"type": "rq-kmeans", "levels": [256, 256], "batch": 8},
                          "decoder": {"type": "beam", "width": 20}, "evaluate": {"few": 5}});
        let mut other = base.clone();
        other["quantizer"] = json!({"type": "rvq", "levels": [64], "lr": 0.1});
        assert_eq!(texts(base.clone(), other.clone()), ["quantizer: rq-kmeans -> rvq"]);
        other["decoder"]["width"] = json!(50);
        other["evaluate"]["few"] = json!(9);
        let two = ["decoder.width: 20 -> 50", "quantizer: rq-kmeans -> rvq"];
        assert_eq!(texts(base.clone(), other), two);
        let mut levels = base.clone();
        levels["quantizer"]["levels"] = json!([256, 256, 256]);
        levels["train"] = json!({"max_minutes": 3.0});
        let want =
            ["quantizer.levels: [256,256] -> [256,256,256]", "train.max_minutes: unset -> 3.0"];
        assert_eq!(texts(base.clone(), levels), want);
        let mut side = base.clone();
        side["side"] = json!({"domain": {"type": "labels", "column": "categories", "level": 1}});
        assert_eq!(texts(base.clone(), side), ["side.domain: unset -> labels"]);
        assert!(texts(base.clone(), base).is_empty());
    }

    #[test]
    fn systems_with_the_same_changes_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (name, decoder) in [
            ("base", "type = \"beam\"\nwidth = 20"),
            ("a", "type = \"greedy\"\nfile = \"a.json\"\nsame = 1"),
            ("b", "type = \"greedy\"\nfile = \"b.json\"\nsame = 1"),
            ("wide", "type = \"beam\"\nwidth = 50"),
            ("free", "type = \"free-beam\"\nwidth = 20\nlog = 1"),
            ("free-wide", "type = \"free-beam\"\nwidth = 50\nlog = 1"),
        ] {
            paths.push(dir.path().join(name));
            write(&paths[paths.len() - 1], &Fake::default());
            let config = format!("[data]\ntype = \"x\"\n[decoder]\n{decoder}\n");
            std::fs::write(paths[paths.len() - 1].join("config.toml"), config).unwrap();
        }
        let found = collect(&paths, &Run::quiet(0)).unwrap();
        let texts: Vec<String> = ablations(&found.systems, 0).iter().map(Ablation::text).collect();
        assert_eq!(
            texts,
            [
                "decoder: beam -> greedy (file: a.json)",
                "decoder: beam -> greedy (file: b.json)",
                "decoder.width: 20 -> 50",
                "decoder: beam -> free-beam (width: 20)",
                "decoder: beam -> free-beam (width: 20 -> 50)",
            ]
        );
    }
}
