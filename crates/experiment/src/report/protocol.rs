//! What must be equal before figures may stand beside each other: data and protocol.
//!
//! Kept apart from this: which checkpoint rule, list length, rerankers and seed a run had. They
//! belong to the system. That a checkpoint was chosen on the test part does not: it is a difference.

use super::collect::System;
use crate::protocol::Checkpoint;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A property that not all systems share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mismatch {
    /// Its name, as in `split.type`.
    pub key: String,
    /// Its values, in the order of the systems.
    pub sides: Vec<Side>,
}

/// Systems that agree on a property.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// The value.
    pub value: String,
    /// Names of the systems.
    pub systems: Vec<String>,
}

/// Keys of the stored protocol that are no part of the comparison.
/// Earlier versions did not record `known`, `dataset` and `metrics`: hints among what is known are
/// looked at below, data sets are known by the run folder, metrics by their names.
const OWN: [&str; 12] = [
    "seed",
    "list_length",
    "checkpoint",
    "few",
    "valid",
    "test.invalid_candidates",
    "test.tied_lists",
    "rerankers",
    "known",
    "known_of_target",
    "dataset",
    "metrics",
];

/// Everything about a system's figures that must be equal to another's.
pub type Terms = BTreeMap<String, String>;

/// Data and protocol of a system, flat.
pub fn terms(system: &System) -> Terms {
    let mut out = Terms::new();
    let Some(first) = system.runs.first() else { return out };
    let protocol = &first.results.protocol;
    flatten("", &protocol.tree(), &mut out);
    out.retain(|key, _| {
        let own =
            |own: &str| key == own || key.strip_prefix(own).is_some_and(|k| k.starts_with('.'));
        !OWN.iter().any(|o| own(o))
    });
    if let Some(Checkpoint::Best(best)) = &protocol.checkpoint
        && best.on != "valid"
    {
        out.insert("checkpoint chosen on".into(), best.on.clone());
    }
    let hints: Vec<String> = protocol.hints().map(|k| format!("{k:?}")).collect();
    if !hints.is_empty() {
        out.insert("told of the target".into(), hints.join(", "));
    }
    // The first digits tell data sets apart as well as all of them.
    let data = first.data.as_str().map_or("unknown".into(), |d| d.chars().take(12).collect());
    out.insert("data set".into(), data);
    out
}

pub(super) fn flatten(at: &str, value: &Value, out: &mut Terms) {
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

/// The properties that differ, by name.
pub fn mismatches(systems: &[System]) -> Vec<Mismatch> {
    let all: Vec<Terms> = systems.iter().map(terms).collect();
    let mut keys: Vec<&String> = all.iter().flat_map(BTreeMap::keys).collect();
    keys.sort();
    keys.dedup();
    let mut out = Vec::new();
    for key in keys {
        let mut sides: Vec<Side> = Vec::new();
        for (system, terms) in systems.iter().zip(&all) {
            let value = terms.get(key).map_or("nothing", String::as_str);
            match sides.iter_mut().find(|s| s.value == value) {
                Some(side) => side.systems.push(system.name.clone()),
                None => {
                    sides.push(Side { value: value.into(), systems: vec![system.name.clone()] });
                }
            }
        }
        if sides.len() > 1 {
            out.push(Mismatch { key: key.clone(), sides });
        }
    }
    out
}

impl Mismatch {
    /// As in `seen_items: kept (a, b) | removed (c)`.
    pub fn text(&self) -> String {
        let side = |s: &Side| {
            let named = s.systems.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            let more = s.systems.len().saturating_sub(3);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{} ({named}{more})", s.value)
        };
        format!("{}: {}", self.key, self.sides.iter().map(side).collect::<Vec<_>>().join(" | "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::collect::collect;
    use super::super::synthetic::{Fake, write};
    use super::*;
    use serde_json::json;
    use sidereal_core::Run;

    fn differ(a: &Fake, b: &Fake) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("a"), dir.path().join("b")];
        write(&paths[0], a);
        write(&paths[1], b);
        let found = collect(&paths, &Run::quiet(0)).unwrap();
        mismatches(&found.systems).iter().map(Mismatch::text).collect()
    }

    #[test]
    fn what_differs_is_named_with_both_sides() {
        let base = Fake::default();
        let wide = Fake { width: 50, seed: 4, ..Fake::default() };
        assert!(differ(&base, &wide).is_empty());
        let with = |protocol: Value| Fake { protocol, ..wide.clone() };
        let seen = differ(&base, &with(json!({"seen_items": "removed"})));
        assert_eq!(seen, ["seen_items: kept (a) | removed (b)"]);
        let split = differ(&base, &with(json!({"split": {"type": "ratio", "test": 0.2}})));
        assert_eq!(
            split,
            ["split.test: nothing (a) | 0.2 (b)", "split.type: leave-one-out (a) | ratio (b)"]
        );
        // A recommender without training chose nothing, a longer list is another system.
        let other = json!({"checkpoint": null, "list_length": 20, "rerankers": [{"type": "mmr"}]});
        assert!(differ(&base, &with(other)).is_empty());
        let peeked = differ(&base, &with(json!({"checkpoint": {"on": "test"}})));
        assert_eq!(peeked, ["checkpoint chosen on: nothing (a) | test (b)"]);
        let told = differ(&base, &with(json!({"known": ["history", "target-time"]})));
        assert_eq!(told, ["told of the target: nothing (a) | TargetTime (b)"]);
        let data = Fake { data: "e".repeat(64), ..wide };
        assert_eq!(differ(&base, &data), ["data set: dddddddddddd (a) | eeeeeeeeeeee (b)"]);
    }
}
