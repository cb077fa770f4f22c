//! Which systems may stand beside each other. [`Protocol::compare`](crate::Protocol::compare)
//! decides; its answers get the names of the systems here.
//!
//! Results of earlier versions do not record their data set. Then the hash of the data's file, which
//! every run folder has, stands for it.

use super::collect::System;
use super::record::Record;
use crate::protocol::{Comparison, Difference};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Keys that may differ and that a reader wants to know of; the seed, counts of the results and
/// what other programs record are none of them.
const TOLD: [&str; 3] = ["checkpoint", "few", "list_length"];
/// Digits of a hash: the first tell data sets apart as well as all of them.
const DIGITS: usize = 12;

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

/// Systems by what their figures mean.
#[derive(Debug, Clone, Default)]
pub struct Grounds {
    /// Number of each system's group: its members agree on all that decides.
    of: Vec<usize>,
    /// Whether members of two groups may be compared.
    comparable: Vec<Vec<bool>>,
    /// What forbids it where they may not, by name.
    pub mismatches: Vec<Mismatch>,
    /// What may differ, and what only some record, a sentence each.
    pub notes: Vec<String>,
}

impl Grounds {
    /// Compares the systems. Cost: a comparison of two protocols for each system and group.
    pub fn of(systems: &[System]) -> Self {
        let mut out = Grounds::default();
        // The first system of each group.
        let mut first: Vec<usize> = Vec::new();
        let equal = |c: &Comparison| c.comparable() && c.unrecorded.is_empty();
        for s in 0..systems.len() {
            let group = first.iter().position(|&f| equal(&between(&systems[f], &systems[s])));
            out.of.push(group.unwrap_or(first.len()));
            if group.is_none() {
                first.push(s);
            }
        }
        let members = |g: usize| systems.iter().zip(&out.of).filter(move |(_, of)| **of == g);
        let mut unrecorded: Vec<String> = Vec::new();
        out.comparable = vec![vec![true; first.len()]; first.len()];
        for a in 0..first.len() {
            for b in a + 1..first.len() {
                let found = between(&systems[first[a]], &systems[first[b]]);
                let may = found.comparable();
                (out.comparable[a][b], out.comparable[b][a]) = (may, may);
                for d in &found.decisive {
                    members(a).for_each(|(s, _)| side(&mut out.mismatches, &d.key, &d.first, s));
                    members(b).for_each(|(s, _)| side(&mut out.mismatches, &d.key, &d.second, s));
                }
                unrecorded.extend(found.unrecorded);
            }
        }
        let mut allowed = Vec::new();
        if let Some((base, others)) = systems.split_first() {
            for other in others {
                for d in between(base, other).minor.iter().filter(|d| told(&d.key)) {
                    side(&mut allowed, &d.key, &d.first, base);
                    side(&mut allowed, &d.key, &d.second, other);
                }
            }
        }
        out.mismatches.sort_by(|a, b| a.key.cmp(&b.key));
        out.notes.extend(allowed.iter().map(|m| format!("what may differ does: {}", m.text())));
        unrecorded.sort();
        unrecorded.dedup();
        if !unrecorded.is_empty() {
            let keys = unrecorded.join(", ");
            out.notes.push(format!("not every run records, so that nothing is said of it: {keys}"));
        }
        out
    }

    /// Whether figures of two systems, by their numbers, may be compared.
    pub fn comparable(&self, a: usize, b: usize) -> bool {
        self.comparable[self.of[a]][self.of[b]]
    }
}

fn told(key: &str) -> bool {
    TOLD.iter().any(|t| key.strip_prefix(t).is_some_and(|k| k.is_empty() || k.starts_with('.')))
}

/// What `compare` says of two systems; of their data by the hash where it has nothing to say.
fn between(a: &System, b: &System) -> Comparison {
    let (Some(a), Some(b)) = (a.runs.first(), b.runs.first()) else { return Comparison::default() };
    let mut found = a.results.protocol.compare(&b.results.protocol);
    let recorded = |r: &Record| r.results.protocol.dataset.is_some();
    if !(recorded(a) && recorded(b)) {
        found.unrecorded.retain(|key| key != "dataset");
        let hash = |r: &Record| -> Option<String> {
            Some(r.data.as_str()?.chars().take(DIGITS).collect())
        };
        match (hash(a), hash(b)) {
            (Some(first), Some(second)) if first != second => {
                found.decisive.push(Difference { key: "data set".into(), first, second });
            }
            (Some(_), Some(_)) | (None, None) => {}
            _ => found.unrecorded.push("dataset".into()),
        }
    }
    found
}

/// Puts a system to the side of a value.
fn side(found: &mut Vec<Mismatch>, key: &str, value: &str, system: &System) {
    let value = match serde_json::from_str(value) {
        Ok(Value::String(text)) => text,
        Ok(Value::Null) => "nothing".into(),
        _ => value.to_string(),
    };
    let at = found.iter().position(|m| m.key == key).unwrap_or_else(|| {
        found.push(Mismatch { key: key.into(), sides: Vec::new() });
        found.len() - 1
    });
    let sides = &mut found[at].sides;
    match sides.iter_mut().find(|s| s.value == value) {
        Some(side) if side.systems.contains(&system.name) => {}
        Some(side) => side.systems.push(system.name.clone()),
        None => sides.push(Side { value, systems: vec![system.name.clone()] }),
    }
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

    fn grounds(fakes: &[&Fake]) -> Grounds {
        let dir = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (f, fake) in fakes.iter().enumerate() {
            paths.push(dir.path().join(char::from(b'a' + f as u8).to_string()));
            write(&paths[f], &Fake { width: f as u64, ..(*fake).clone() });
        }
        Grounds::of(&collect(&paths, &Run::quiet(0)).unwrap().systems)
    }

    fn differ(a: &Fake, b: &Fake) -> Vec<String> {
        let found = grounds(&[a, b]);
        assert_eq!(found.comparable(0, 1), found.mismatches.is_empty());
        assert_eq!(found.comparable(0, 1), found.comparable(1, 0));
        found.mismatches.iter().map(Mismatch::text).collect()
    }

    fn with(protocol: Value) -> Fake {
        Fake { protocol, ..Fake::default() }
    }

    #[test]
    fn what_differs_is_named_with_both_sides() {
        let base = Fake::default();
        let wide = Fake { seed: 4, ..Fake::default() };
        assert!(differ(&base, &wide).is_empty());
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
        assert_eq!(peeked, ["checkpoint.on: valid (a) | test (b)"]);
        // The base is of a version that told nothing, and recorded as much.
        let told = differ(&base, &with(json!({"known": ["history", "target-time"]})));
        assert_eq!(told, [r#"known: nothing (a) | ["history","target-time"] (b)"#]);
        let data = Fake { data: "e".repeat(64), ..wide };
        assert_eq!(differ(&base, &data), ["data set: dddddddddddd (a) | eeeeeeeeeeee (b)"]);
    }

    #[test]
    fn what_is_recorded_of_the_data_counts_more_than_their_file() {
        let of = |dataset: &str, file: &str| Fake {
            protocol: json!({"dataset": dataset}),
            data: file.repeat(64),
            ..Fake::default()
        };
        assert!(differ(&of("00ff", "d"), &of("00ff", "e")).is_empty());
        let other = differ(&of("00ff", "d"), &of("0100", "d"));
        assert_eq!(other, ["dataset: 00ff (a) | 0100 (b)"]);
        let old = Fake { data: "e".repeat(64), ..Fake::default() };
        let old = differ(&of("00ff", "d"), &old);
        assert_eq!(old, ["data set: dddddddddddd (a) | eeeeeeeeeeee (b)"]);
    }

    #[test]
    fn two_that_agree_with_a_third_need_not_agree() {
        // The first does not say whether seen items were removed.
        let silent = with(json!({"seen_items": null, "list_length": 20}));
        let found = grounds(&[
            &silent,
            &with(json!({"seen_items": "kept"})),
            &with(json!({"seen_items": "removed"})),
            &with(json!({"seen_items": "removed"})),
        ]);
        let pairs = [(0, 1), (0, 2), (1, 2), (2, 3)];
        let may: Vec<bool> = pairs.iter().map(|&(a, b)| found.comparable(a, b)).collect();
        assert_eq!(may, [true, true, false, true]);
        let texts: Vec<String> = found.mismatches.iter().map(Mismatch::text).collect();
        assert_eq!(texts, ["seen_items: kept (b) | removed (c, d)"]);
        assert_eq!(
            found.notes,
            [
                "what may differ does: list_length: 20 (a) | 10 (b, c, d)",
                "not every run records, so that nothing is said of it: seen_items"
            ]
        );
    }
}
