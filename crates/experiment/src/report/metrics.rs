//! Which metrics a report shows, in which order, and which way is better.

use super::collect::System;
use super::compare::Wanted;
use crate::Registry;
use serde_json::Value;
use sidereal_core::component::nearest;
use sidereal_core::{Error, Result, Spec};

/// Metrics to show: those asked for, or all with the deciding one in front.
pub(super) fn wanted(
    registry: &Registry,
    systems: &[System],
    base: usize,
    asked: &[String],
) -> Result<Vec<Wanted>> {
    let mut known: Vec<Wanted> = Vec::new();
    let ordered = std::iter::once(base).chain(0..systems.len()).map(|s| &systems[s]);
    for system in ordered {
        let config = &system.runs[0].config;
        for entry in config["evaluate"]["metrics"].as_array().into_iter().flatten() {
            if let Some(metric) = directed(registry, entry)
                && !known.iter().any(|k| k.name == metric.name)
            {
                known.push(metric);
            }
        }
    }
    // Only what was measured; and what was measured under a name that nobody registered.
    let measured = |name: &str| systems.iter().any(|s| !s.values(name).is_empty());
    known.retain(|k| measured(&k.name));
    for name in systems.iter().flat_map(|s| &s.runs).flat_map(|r| r.results.test.keys()) {
        if !known.iter().any(|k| k.name == *name) {
            known.push(Wanted { name: name.clone(), direction: None });
        }
    }
    if asked.is_empty() {
        let select = systems[base].runs[0].config["evaluate"]["select"].as_str().unwrap_or("");
        known.sort_by_key(|k| k.name != select);
        return Ok(known);
    }
    let find = |name: &String| {
        known.iter().find(|k| k.name == *name).cloned().ok_or_else(|| Error::UnknownName {
            kind: "metric".into(),
            name: name.clone(),
            known: known.iter().map(|k| k.name.clone()).collect(),
            nearest: nearest(name, known.iter().map(|k| k.name.as_str())),
        })
    };
    asked.iter().map(find).collect()
}

/// A metric of the configuration with its direction, where this program knows it.
fn directed(registry: &Registry, entry: &Value) -> Option<Wanted> {
    let spec = match entry {
        Value::String(name) => Spec::from_short("metric", name),
        Value::Object(table) => Spec::from_table("metric", table.clone()),
        _ => return None,
    };
    let metric = registry.metrics.build(&spec.ok()?, &()).ok()?;
    Some(Wanted { name: metric.name(), direction: Some(metric.direction()) })
}
