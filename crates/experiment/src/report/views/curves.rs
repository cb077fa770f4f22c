//! Learning curves: means over seeds, at most a few hundred points.

use super::super::collect::System;
use super::super::log::{Point, mean, thin};
use serde::{Deserialize, Serialize};
use sidereal_metrics::statistics::Interval;

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
    /// The lowest and the highest seed at each point of `valid`; empty for one seed.
    pub valid_seeds: Vec<Interval>,
}

/// Curves of the systems that have any.
pub fn curves(systems: &[System], metric: &str) -> Vec<Curves> {
    let of = |s: &System| {
        // Runs whose training came from the cache have no losses of their own.
        let losses: Vec<&[Point]> =
            s.runs.iter().map(|r| &r.log.loss[..]).filter(|l| !l.is_empty()).collect();
        let valid: Vec<&[Point]> =
            s.runs.iter().filter_map(|r| r.log.valid.get(metric)).map(Vec::as_slice).collect();
        let means = mean(&valid);
        let several = valid.len() > 1 && means.len() <= POINTS;
        Curves {
            system: s.name.clone(),
            loss: thin(&mean(&losses), POINTS),
            valid: thin(&means, POINTS),
            valid_seeds: match several {
                true => means.iter().map(|p| extent(&valid, p.x)).collect(),
                false => Vec::new(),
            },
        }
    };
    let some = |c: &Curves| !c.loss.is_empty() || !c.valid.is_empty();
    systems.iter().map(of).filter(some).collect()
}

/// The lowest and the highest of the curves at a place that all of them have.
fn extent(curves: &[&[Point]], x: f64) -> Interval {
    let at = curves.iter().flat_map(|c| c.iter()).filter(|p| p.x == x).map(|p| p.y);
    Interval {
        low: at.clone().fold(f64::INFINITY, f64::min),
        high: at.fold(f64::NEG_INFINITY, f64::max),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::collect::collect;
    use super::super::super::synthetic::{Fake, write};
    use super::*;
    use sidereal_core::Run;

    #[test]
    fn means_lie_between_the_seeds() {
        let dir = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (seed, values) in [(0, [0.1, 0.4]), (1, [0.2, 0.2]), (2, [0.6, 0.3])] {
            paths.push(dir.path().join(format!("a-{seed}")));
            write(&paths[seed], &Fake { seed: seed as u64, ..Fake::default() });
            let at = |e: usize| format!(r#"{{"epoch": {e}, "metrics": [["m", {}]]}}"#, values[e]);
            let training = format!(r#"{{"validations": [{}, {}]}}"#, at(0), at(1));
            std::fs::write(paths[seed].join("training.json"), training).unwrap();
        }
        let of = |n: usize| curves(&collect(&paths[..n], &Run::quiet(0)).unwrap().systems, "m");
        let made = of(3).remove(0);
        assert!((made.valid[0].y - 0.3).abs() < 1e-12 && (made.valid[1].y - 0.3).abs() < 1e-12);
        let ends: Vec<(f64, f64)> = made.valid_seeds.iter().map(|i| (i.low, i.high)).collect();
        assert_eq!(ends, [(0.1, 0.6), (0.2, 0.4)]);
        assert!(of(1)[0].valid_seeds.is_empty());
        assert!(curves(&collect(&paths, &Run::quiet(0)).unwrap().systems, "other").is_empty());
    }
}
