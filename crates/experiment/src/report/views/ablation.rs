//! One factor at a time: which keys of a system's configuration differ from the base's.
//!
//! Where a section names another component, that is the change; the options of two components have
//! nothing to do with each other. `[evaluate]` is no factor: it changes no model, and what it says
//! of the protocol is compared there.

use super::super::collect::System;
use super::super::protocol::flatten;
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
}

/// A configuration by key: a section's `type` under the section's name.
pub fn options(config: &Value) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    flatten("", config, &mut flat);
    let named = |(key, value): (String, String)| {
        let section = key.strip_suffix(".type").filter(|s| !s.contains('.')).map(str::to_string);
        (section.unwrap_or(key), value)
    };
    flat.into_iter().filter(|(k, _)| !k.starts_with("evaluate.")).map(named).collect()
}

/// Changes from one configuration to another.
pub fn changes(base: &Value, other: &Value) -> Vec<Change> {
    let (a, b) = (options(base), options(other));
    let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
    keys.sort();
    keys.dedup();
    let differs = |key: &str| a.get(key) != b.get(key);
    let shown = |key: &&&String| {
        let section = key.split('.').next().unwrap_or_default();
        differs(key) && (section == key.as_str() || !differs(section))
    };
    let change = |key: &String| Change {
        key: key.clone(),
        base: a.get(key).cloned(),
        value: b.get(key).cloned(),
    };
    keys.iter().filter(shown).map(|k| change(k)).collect()
}

/// All systems but the base as changes of it.
pub fn ablations(systems: &[System], base: usize) -> Vec<Ablation> {
    let of = &systems[base].runs[0].config;
    let others = systems.iter().enumerate().filter(|(s, _)| *s != base);
    let ablation = |(_, s): (usize, &System)| Ablation {
        system: s.name.clone(),
        changes: changes(of, &s.runs[0].config),
    };
    others.map(ablation).collect()
}

impl Change {
    /// As in `decoder.width: 20 -> 50`.
    pub fn text(&self) -> String {
        let side = |v: &Option<String>| v.clone().unwrap_or_else(|| "unset".into());
        format!("{}: {} -> {}", self.key, side(&self.base), side(&self.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(a: Value, b: Value) -> Vec<String> {
        changes(&a, &b).iter().map(Change::text).collect()
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
        assert!(texts(base.clone(), base).is_empty());
    }
}
