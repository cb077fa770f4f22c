//! What `metrics.json` holds. It has no times and no paths: the same run gives the same bytes.

use crate::leaks::LeakCheck;
use crate::protocol::Protocol;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Metrics by name, and the protocol that they were taken under.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// On the validation cases.
    pub valid: BTreeMap<String, f64>,
    /// On the test cases.
    pub test: BTreeMap<String, f64>,
    /// Split, candidates, seen items, choice of the checkpoint, sizes.
    #[serde(default)]
    pub protocol: Protocol,
    /// Whether anything of the targets reached what was trained; none in results of other
    /// programs and earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leak_check: Option<LeakCheck>,
    /// By training interactions of the target, for each part.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, Vec<Group>>,
    /// Best possible values where the data's source knows them, for each part.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub optimum: BTreeMap<String, BTreeMap<String, Optimum>>,
}

/// Metrics of the cases whose target has a number of training interactions in a range.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The range, as in `0-5`.
    pub items: String,
    /// Cases in the group.
    pub cases: u64,
    /// Means over them.
    pub values: BTreeMap<String, f64>,
}

/// Best possible value of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Optimum {
    /// Its expectation: no recommender's is higher.
    pub expected: f64,
    /// What the best lists score on the targets that did occur.
    pub realised: f64,
    /// Standard error of the realised value around the expected one.
    pub standard_error: f64,
    /// Histories it was measured on.
    pub cases: u64,
}

impl Results {
    /// Keys whose values differ, as `test.recall@10: 0.1 -> 0.2`. What an earlier version did not
    /// record of the protocol is no difference, nor are the sentences of the leak check.
    pub fn differences(&self, other: &Results) -> Vec<String> {
        let tree = |r: &Results| serde_json::to_value(r).unwrap_or_default();
        let mut out = Vec::new();
        differences("", &tree(self), &tree(other), &mut out);
        out.retain(|d| {
            let recorded = !d.contains(": null -> ") && !d.ends_with(" -> null");
            (recorded || !d.starts_with("protocol.")) && !d.starts_with("leak_check")
        });
        out
    }
}

/// Collects the leaves at which two trees differ.
pub fn differences(at: &str, a: &Value, b: &Value, out: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let mut keys: Vec<_> = x.keys().chain(y.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                let side = |m: &serde_json::Map<String, Value>| m.get(key).cloned();
                let (x, y) = (side(x).unwrap_or(Value::Null), side(y).unwrap_or(Value::Null));
                differences(&at, &x, &y, out);
            }
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            for (i, (x, y)) in x.iter().zip(y).enumerate() {
                differences(&format!("{at}[{i}]"), x, y, out);
            }
        }
        _ if a != b => out.push(format!("{at}: {a} -> {b}")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_name_their_keys() {
        let a = json!({"test": {"r": 0.1, "n": 2}, "list": [1, 2], "gone": null});
        let b = json!({"test": {"r": 0.2, "n": 2}, "list": [1, 3], "new": true});
        let mut out = Vec::new();
        differences("", &a, &b, &mut out);
        assert_eq!(out, ["list[1]: 2 -> 3", "new: null -> true", "test.r: 0.1 -> 0.2"]);
        let mut none = Vec::new();
        differences("", &a, &a, &mut none);
        assert!(none.is_empty());
    }

    #[test]
    fn the_file_has_its_three_parts() {
        let results = Results {
            valid: BTreeMap::from([("recall@10".into(), 0.25)]),
            protocol: Protocol {
                ranking: Some(crate::protocol::Ranking::Full),
                ..Protocol::default()
            },
            ..Results::default()
        };
        let tree = serde_json::to_value(&results).unwrap();
        let keys: Vec<_> = tree.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["protocol", "test", "valid"]);
        assert_eq!(serde_json::from_value::<Results>(tree).unwrap(), results);
    }
}
