//! Learning curves: means over seeds, at most a few hundred points.

use super::super::collect::System;
use super::super::log::{Point, mean, thin};
use serde::{Deserialize, Serialize};

/// Points of a curve of losses.
const POINTS: usize = 200;

/// The course of a system's training by epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// Name of the system.
    pub system: String,
    /// Training loss.
    pub loss: Vec<Point>,
    /// The metric on validation cases.
    pub valid: Vec<Point>,
}

/// Curves of the systems that have any.
pub fn curves(systems: &[System], metric: &str) -> Vec<Curves> {
    let of = |s: &System| {
        // Runs whose training came from the cache have no losses of their own.
        let losses: Vec<&[Point]> =
            s.runs.iter().map(|r| &r.log.loss[..]).filter(|l| !l.is_empty()).collect();
        let valid: Vec<&[Point]> =
            s.runs.iter().filter_map(|r| r.log.valid.get(metric)).map(Vec::as_slice).collect();
        Curves {
            system: s.name.clone(),
            loss: thin(&mean(&losses), POINTS),
            valid: thin(&mean(&valid), POINTS),
        }
    };
    let some = |c: &Curves| !c.loss.is_empty() || !c.valid.is_empty();
    systems.iter().map(of).filter(some).collect()
}
