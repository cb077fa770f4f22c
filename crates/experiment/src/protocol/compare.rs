//! Two protocols side by side: what forbids to compare their figures, and what is only worth
//! knowing.

use super::Protocol;
use crate::results::differences;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Keys that must agree, with the part of each that decides (empty: all of it).
const DECIDE: [(&str, &[&str]); 14] = [
    ("split", &[]),
    ("ranking", &[]),
    ("candidates", &[]),
    ("seen_items", &[]),
    ("repeats", &[]),
    ("known", &[]),
    ("dataset", &[]),
    ("users", &[]),
    ("items", &[]),
    ("interactions", &[]),
    ("training_interactions", &[]),
    ("valid", &["cases", "targets_in_history"]),
    ("test", &["cases", "targets_in_history"]),
    ("metrics", &[]),
];

/// Keys that may differ from row to row of a table. Of `checkpoint` the part that chose must not be
/// the test on one side only.
const MAY_DIFFER: [&str; 4] = ["checkpoint", "list_length", "few", "seed"];

/// One key with both values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Difference {
    /// Dotted key, as in `split.type`.
    pub key: String,
    /// Value of the first, as JSON.
    pub first: String,
    /// Value of the second, as JSON.
    pub second: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} and {}", self.key, self.first, self.second)
    }
}

/// How two protocols relate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Differences that forbid to compare the figures.
    pub decisive: Vec<Difference>,
    /// Differences that a reader may want to know: seed, choice of the checkpoint.
    pub minor: Vec<Difference>,
    /// Keys that only one side records, so that nothing can be said.
    pub unrecorded: Vec<String>,
}

impl Comparison {
    /// Whether the figures may stand in one table. What is not recorded does not forbid it.
    pub fn comparable(&self) -> bool {
        self.decisive.is_empty()
    }
}

impl fmt::Display for Comparison {
    /// One line, as in `not comparable: seen_items: "kept" and "removed"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |d: &[Difference]| d.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut parts = Vec::new();
        if !self.decisive.is_empty() {
            parts.push(format!("not comparable: {}", list(&self.decisive).join("; ")));
        } else {
            parts.push("comparable".into());
        }
        if !self.minor.is_empty() {
            parts.push(format!("they also differ in {}", list(&self.minor).join("; ")));
        }
        if !self.unrecorded.is_empty() {
            parts.push(format!("recorded by one side only: {}", self.unrecorded.join(", ")));
        }
        f.write_str(&parts.join(". "))
    }
}

impl Protocol {
    /// What differs between this protocol and another. Metrics are compared by the names that both
    /// have.
    pub fn compare(&self, other: &Protocol) -> Comparison {
        let (a, b) = (self.tree(), other.tree());
        let mut out = Comparison::default();
        for (key, parts) in DECIDE {
            let (x, y) = (part(&a[key], parts), part(&b[key], parts));
            let (x, y) = match key {
                "metrics" => (common(&x, &y), common(&y, &x)),
                _ => (x, y),
            };
            match (x.is_null(), y.is_null()) {
                (false, false) => leaves(key, &x, &y, &mut out.decisive),
                (true, true) => {}
                // Versions that recorded nothing of it never gave a hint.
                _ if key == "known" && self.hints().chain(other.hints()).next().is_some() => {
                    leaves(key, &x, &y, &mut out.decisive);
                }
                _ => out.unrecorded.push(key.into()),
            }
        }
        for key in MAY_DIFFER {
            leaves(key, &a[key], &b[key], &mut out.minor);
        }
        let on = |t: &Value| t["checkpoint"]["on"] == "test";
        if on(&a) != on(&b) {
            leaves(
                "checkpoint.on",
                &a["checkpoint"]["on"],
                &b["checkpoint"]["on"],
                &mut out.decisive,
            );
            out.minor.retain(|d| d.key != "checkpoint.on");
        }
        for (key, x) in &self.other {
            if let Some(y) = other.other.get(key) {
                leaves(key, x, y, &mut out.minor);
            }
        }
        out
    }
}

/// The named members of a tree, all of it where none is named.
fn part(tree: &Value, names: &[&str]) -> Value {
    match tree.as_object() {
        Some(map) if !names.is_empty() => {
            let mut map = map.clone();
            map.retain(|key, _| names.contains(&key.as_str()));
            map.into()
        }
        _ => tree.clone(),
    }
}

/// The members of `a` whose keys `b` has too.
fn common(a: &Value, b: &Value) -> Value {
    match (a.as_object(), b.as_object()) {
        (Some(a), Some(b)) => {
            let mut both = a.clone();
            both.retain(|key, _| b.contains_key(key));
            both.into()
        }
        _ => a.clone(),
    }
}

fn leaves(key: &str, a: &Value, b: &Value, out: &mut Vec<Difference>) {
    let mut found = Vec::new();
    differences(key, a, b, &mut found);
    out.extend(found.iter().map(|line| {
        let (key, values) = line.split_once(": ").unwrap_or((line, ""));
        let (first, second) = values.split_once(" -> ").unwrap_or((values, ""));
        Difference { key: key.into(), first: first.into(), second: second.into() }
    }));
}
