//! Learning curves and times of a run: `log.jsonl` and `training.json`.
//!
//! A run whose training or evaluation came from the cache has no lines of them in its log; then
//! validations and seconds come from `training.json`, which the cache keeps, and the rest is not
//! known.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sidereal_core::{Error, Result};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// A point of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Epoch, or whatever the axis is.
    pub x: f64,
    /// Value.
    pub y: f64,
}

/// What is known of a run's course.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log {
    /// Training loss by epoch.
    pub loss: Vec<Point>,
    /// Metrics on validation cases by epoch.
    pub valid: BTreeMap<String, Vec<Point>>,
    /// Seconds of training.
    pub training_seconds: Option<f64>,
    /// Most memory of the process that trained, bytes.
    pub training_memory: Option<f64>,
    /// Test users answered a second.
    pub users_per_second: Option<f64>,
}

impl Log {
    /// Reads the files; lines that are no JSON (a killed process) are passed over.
    pub fn read(log: &Path, training: Option<Value>) -> Result<Self> {
        let mut out = Log::default();
        if let Some(training) = training {
            out.training(&training);
        }
        if !log.is_file() {
            return Ok(out);
        }
        let file = std::fs::File::open(log).map_err(|e| Error::read(log, e))?;
        let mut test: Option<(f64, f64)> = None;
        for line in BufReader::new(file).split(b'\n') {
            let line = line.map_err(|e| Error::read(log, e))?;
            let Ok(event) = serde_json::from_slice::<Value>(&line) else { continue };
            match (event["event"].as_str(), event["task"].as_str(), event["group"].as_str()) {
                (Some("scalars"), _, Some("train")) => {
                    let x = event["epoch"].as_f64().or(event["step"].as_f64());
                    if let (Some(x), Some(y)) = (x, event["loss"].as_f64()) {
                        out.loss.push(Point { x, y });
                    }
                }
                (Some("started"), Some("test"), _) => {
                    test = event["time"].as_f64().zip(event["total"].as_f64());
                }
                (Some("finished"), Some("test"), _) => {
                    if let (Some((from, users)), Some(to)) = (test, event["time"].as_f64()) {
                        // Times have milliseconds; less is no measurement.
                        out.users_per_second = (to - from >= 1e-3).then(|| users / (to - from));
                    }
                }
                _ => {}
            }
        }
        Ok(out)
    }

    fn training(&mut self, training: &Value) {
        self.training_seconds = training["seconds"].as_f64();
        self.training_memory = training["peak_memory"].as_f64();
        for validation in training["validations"].as_array().into_iter().flatten() {
            let Some(x) = validation["epoch"].as_f64() else { continue };
            for pair in validation["metrics"].as_array().into_iter().flatten() {
                if let (Some(name), Some(y)) = (pair[0].as_str(), pair[1].as_f64()) {
                    self.valid.entry(name.into()).or_default().push(Point { x, y });
                }
            }
        }
    }
}

/// The mean of curves at the places that all of them have.
pub fn mean(curves: &[&[Point]]) -> Vec<Point> {
    let Some((first, rest)) = curves.split_first() else { return Vec::new() };
    let place = |p: &Point| {
        let at = |c: &&[Point]| c.binary_search_by(|q| q.x.total_cmp(&p.x)).ok().map(|i| c[i].y);
        let others: Option<Vec<f64>> = rest.iter().map(at).collect();
        let sum = p.y + others?.iter().sum::<f64>();
        Some(Point { x: p.x, y: sum / curves.len() as f64 })
    };
    first.iter().filter_map(place).collect()
}

/// At most `most` points: means of neighbours.
pub fn thin(curve: &[Point], most: usize) -> Vec<Point> {
    let size = curve.len().div_ceil(most.max(1)).max(1);
    let mean = |c: &[Point], of: fn(&Point) -> f64| c.iter().map(of).sum::<f64>() / c.len() as f64;
    curve.chunks(size).map(|c| Point { x: mean(c, |p| p.x), y: mean(c, |p| p.y) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn curves_and_times() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        let lines = [
            r#"{"event":"scalars","group":"train","epoch":0.5,"loss":3.0,"time":1.0}"#,
            r#"{"event":"scalars","group":"train","epoch":1.0,"loss":null,"time":1.0}"#,
            "{half",
            r#"{"event":"started","task":"test","total":100,"time":10.0}"#,
            r#"{"event":"finished","task":"test","time":10.5}"#,
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let training = json!({"seconds": 4.0, "peak_memory": 1024, "validations": [
            {"epoch": 1.0, "metrics": [["recall@10", 0.1], ["ndcg@10", null]]},
            {"epoch": 2.0, "metrics": [["recall@10", 0.2]]},
        ]});
        let log = Log::read(&path, Some(training)).unwrap();
        assert_eq!(log.loss, [Point { x: 0.5, y: 3.0 }]);
        assert_eq!(log.users_per_second, Some(200.0));
        assert_eq!((log.training_seconds, log.training_memory), (Some(4.0), Some(1024.0)));
        assert_eq!(log.valid["recall@10"], [Point { x: 1.0, y: 0.1 }, Point { x: 2.0, y: 0.2 }]);
        assert!(!log.valid.contains_key("ndcg@10"));
        assert_eq!(Log::read(&dir.path().join("none"), None).unwrap(), Log::default());
    }

    #[test]
    fn means_are_taken_where_all_have_a_point() {
        let curve = |ys: &[f64], from: f64| -> Vec<Point> {
            ys.iter().enumerate().map(|(i, &y)| Point { x: from + i as f64, y }).collect()
        };
        let (a, b) = (curve(&[1.0, 2.0, 3.0], 0.0), curve(&[4.0, 6.0], 1.0));
        assert_eq!(mean(&[&a, &b]), [Point { x: 1.0, y: 3.0 }, Point { x: 2.0, y: 4.5 }]);
        assert_eq!(mean(&[&a]), a);
        assert_eq!(thin(&a, 2), [Point { x: 0.5, y: 1.5 }, Point { x: 2.0, y: 3.0 }]);
        assert!(thin(&[], 2).is_empty() && mean(&[]).is_empty());
    }
}
