//! A metric against an option with a number, as in the width of the beam: systems that agree on
//! everything else are one line.

use super::super::collect::System;
use super::ablation::options;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A system of a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResponsePoint {
    /// Name of the system.
    pub system: String,
    /// The option.
    pub x: f64,
    /// Mean of the metric.
    pub y: f64,
}

/// Systems that differ in one number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResponseLine {
    /// The first of them.
    pub system: String,
    /// Option and mean of the metric, rising.
    pub points: Vec<ResponsePoint>,
}

/// A metric against an option.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The option, as in `decoder.width`.
    pub key: String,
    /// One line a group of systems that agree on everything else.
    pub lines: Vec<ResponseLine>,
}

/// One response an option that some systems differ in alone.
pub fn responses(systems: &[&System], metric: &str) -> Vec<Response> {
    let all: Vec<BTreeMap<String, String>> = systems
        .iter()
        .map(|s| s.runs.first().map(|r| options(&r.config)).unwrap_or_default())
        .collect();
    let mut keys: Vec<&String> = all.iter().flat_map(BTreeMap::keys).collect();
    keys.sort();
    keys.dedup();
    let mut out = Vec::new();
    for key in keys {
        // Systems by what they have beside this option.
        let mut groups: Vec<(BTreeMap<String, String>, ResponseLine)> = Vec::new();
        for (&system, options) in systems.iter().zip(&all) {
            let mut rest = options.clone();
            let x = rest.remove(key).and_then(|v| v.parse::<f64>().ok());
            let values = system.values(metric);
            let (Some(x), false) = (x, values.is_empty()) else { continue };
            let y = values.iter().sum::<f64>() / values.len() as f64;
            let point = ResponsePoint { system: system.name.clone(), x, y };
            match groups.iter_mut().find(|g| g.0 == rest) {
                Some(group) => group.1.points.push(point),
                None => {
                    let line = ResponseLine { system: system.name.clone(), points: vec![point] };
                    groups.push((rest, line));
                }
            }
        }
        let mut lines: Vec<ResponseLine> = groups.into_iter().map(|g| g.1).collect();
        lines.iter_mut().for_each(|l| l.points.sort_by(|a, b| a.x.total_cmp(&b.x)));
        // Systems that differ in nothing that is an option, as in their texts, are no line.
        lines.retain(|l| l.points.windows(2).any(|w| w[0].x < w[1].x));
        if !lines.is_empty() {
            out.push(Response { key: key.clone(), lines });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::super::collect::collect;
    use super::super::super::synthetic::{Fake, write};
    use super::*;
    use sidereal_core::Run;

    #[test]
    fn systems_that_differ_in_one_number_are_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (width, hits) in [(50, vec![1, 1]), (10, vec![0, 0]), (20, vec![1, 0])] {
            paths.push(dir.path().join(format!("w{width}")));
            write(&paths[paths.len() - 1], &Fake { width, hits, ..Fake::default() });
        }
        let found = collect(&paths, &Run::quiet(0)).unwrap();
        let systems: Vec<&System> = found.systems.iter().collect();
        let made = responses(&systems, "recall@10");
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].key, "decoder.width");
        let points: Vec<(f64, f64)> = made[0].lines[0].points.iter().map(|p| (p.x, p.y)).collect();
        assert_eq!(points, [(10.0, 0.0), (20.0, 0.5), (50.0, 1.0)]);
        assert_eq!(made[0].lines[0].points[0].system, "w10");
        assert!(responses(&systems[..1], "recall@10").is_empty());
        // The same options twice, as under two protocols.
        assert!(responses(&[systems[0], systems[0]], "recall@10").is_empty());
    }
}
