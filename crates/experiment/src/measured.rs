//! What stages took on this machine: `measured.jsonl` of the cache, a line a stage that was made.
//!
//! Lines are only ever added, each by one write, so several processes may add at once; a line that
//! a kill cut is passed over. Nothing of a result depends on the file.

use crate::sweep::Stage;
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Name of the file.
const FILE: &str = "measured.jsonl";

/// Newest measurements that an estimate looks at.
const NEWEST: usize = 5;

/// A stage as it was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Its name in a plan; empty for the rest of a run: loading, checking, examples.
    pub stage: String,
    /// Its main component.
    pub component: String,
    /// Work that is the same but for the seed has the same text.
    pub alike: String,
    /// Units of work, see [`Work`](crate::sweep::Work), where they are known.
    pub work: Option<f64>,
    /// Parameters of the model, where there is one.
    pub parameters: Option<u64>,
    /// Threads.
    pub threads: usize,
    /// Seconds.
    pub seconds: f64,
    /// The most memory that the process had taken when the stage was done, where known.
    pub peak_memory: Option<u64>,
}

impl Measured {
    /// Adds a line to the cache `root`. What cannot be written is missed by later estimates alone.
    pub fn add(&self, root: &Path) {
        let Ok(mut text) = serde_json::to_string(self) else { return };
        text.push('\n');
        let file = OpenOptions::new().create(true).append(true).open(root.join(FILE));
        let _ = file.and_then(|mut f| f.write_all(text.as_bytes()));
    }
}

/// How near a measurement is to what is estimated from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// The same stage with another seed.
    Same,
    /// The same component, scaled by the work.
    Component,
    /// Another component, scaled by the work.
    Other,
}

/// What is expected of a stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Seconds.
    pub seconds: f64,
    /// What it rests on.
    pub basis: Basis,
}

/// All measurements of a cache, oldest first.
#[derive(Debug, Clone, Default)]
pub struct History {
    all: Vec<Measured>,
}

impl History {
    /// Reads those of the cache `root`; none where there is no file.
    pub fn read(root: &Path) -> Self {
        let path: PathBuf = root.join(FILE);
        let text = std::fs::read(path).unwrap_or_default();
        let lines = text.split(|b| *b == b'\n');
        History { all: lines.filter_map(|l| serde_json::from_slice(l).ok()).collect() }
    }

    /// Adds measurements that no file has.
    pub fn extend(&mut self, more: impl IntoIterator<Item = Measured>) {
        self.all.extend(more);
    }

    /// Whether the component of a stage was ever measured.
    pub fn knows(&self, stage: &Stage) -> bool {
        self.of(stage.kind.name()).any(|m| m.component == stage.component)
    }

    /// Seconds of a stage of `work` units on `threads` threads, in the best way there is: the
    /// median of the newest measurements of the same stage, else of the same component by its work,
    /// else of any. More threads are taken to work as much faster.
    pub fn seconds(&self, stage: &Stage, work: Option<f64>, threads: usize) -> Option<Estimate> {
        let of = || self.of(stage.kind.name());
        let on = |m: &Measured| m.seconds * m.threads as f64 / threads.max(1) as f64;
        let same = newest(of().filter(|m| m.alike == stage.alike), threads, on);
        let same = same.map(|seconds| Estimate { seconds, basis: Basis::Same });
        let work = work.filter(|w| *w > 0.0);
        let scaled = |m: &Measured| on(m) / m.work.unwrap_or(f64::NAN);
        let by = |basis, component: Option<&str>| {
            let has = |m: &&Measured| {
                m.work.is_some_and(|w| w > 0.0) && component.is_none_or(|c| m.component == c)
            };
            let rate = newest(of().filter(has), threads, scaled)?;
            Some(Estimate { seconds: rate * work?, basis })
        };
        same.or_else(|| by(Basis::Component, Some(&stage.component)))
            .or_else(|| by(Basis::Other, None))
    }

    /// Seconds of a run beside its stages.
    pub fn rest(&self) -> Option<f64> {
        newest(self.of(""), 0, |m| m.seconds)
    }

    /// Memory of a run that makes these stages, the last ones of a run with a model of `parameters`
    /// on `lanes` gradient buffers: the most that was measured of any of them. Another number of
    /// parameters changes it by the buffers that hold them.
    pub fn memory<'a>(
        &self,
        stages: impl IntoIterator<Item = &'a Stage>,
        parameters: Option<u64>,
        lanes: usize,
    ) -> Option<u64> {
        let mut most: Option<u64> = None;
        for stage in stages {
            let of = || self.of(stage.kind.name()).filter(|m| m.peak_memory.is_some());
            let peak = |m: &Measured| {
                // Weights, their twin for validation, the best, two moments, gradients.
                let buffers = 4 * (5 + lanes as i64);
                let more = match (parameters, m.parameters) {
                    (Some(now), Some(then)) => (now as i64).saturating_sub(then as i64) * buffers,
                    _ => 0,
                };
                m.peak_memory.unwrap_or(0).saturating_add_signed(more)
            };
            let all = of().filter(|m| m.alike == stage.alike).map(peak).max();
            let all =
                all.or_else(|| of().filter(|m| m.component == stage.component).map(peak).max());
            most = most.max(all.or_else(|| of().map(peak).max()));
        }
        most
    }

    fn of<'a>(&'a self, stage: &'a str) -> impl DoubleEndedIterator<Item = &'a Measured> {
        self.all.iter().filter(move |m| m.stage == stage)
    }
}

/// Median over the newest measurements, those on as many threads where there are any.
fn newest<'a>(
    all: impl DoubleEndedIterator<Item = &'a Measured>,
    threads: usize,
    value: impl Fn(&Measured) -> f64,
) -> Option<f64> {
    let all: Vec<&Measured> = all.rev().collect();
    let alike: Vec<&Measured> = all.iter().copied().filter(|m| m.threads == threads).collect();
    let chosen = if alike.is_empty() { all } else { alike };
    let mut values: Vec<f64> = chosen.into_iter().take(NEWEST).map(value).collect();
    values.sort_by(f64::total_cmp);
    (!values.is_empty()).then(|| values[values.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::StageKind;

    fn measured(component: &str, alike: &str, work: f64, threads: usize, seconds: f64) -> Measured {
        Measured {
            stage: "training".into(),
            component: component.into(),
            alike: alike.into(),
            work: Some(work),
            parameters: Some(1000),
            threads,
            seconds,
            peak_memory: Some(seconds as u64 * 1_000_000),
        }
    }

    fn stage(component: &str, alike: &str) -> Stage {
        let (component, alike) = (component.into(), alike.into());
        Stage { kind: StageKind::Training, component, id: String::new(), alike }
    }

    #[test]
    fn the_nearest_measurement_speaks() {
        let dir = tempfile::tempdir().unwrap();
        for m in [
            measured("causal", "a", 10.0, 2, 4.0),
            measured("causal", "b", 30.0, 2, 6.0),
            measured("causal", "b", 30.0, 1, 99.0),
            measured("tiger", "c", 10.0, 2, 20.0),
        ] {
            m.add(dir.path());
        }
        let path = dir.path().join(FILE);
        let mut text = std::fs::read(&path).unwrap();
        text.extend(b"{\"stage\": \"trai");
        std::fs::write(&path, text).unwrap();
        let history = History::read(dir.path());
        let get = |stage: &Stage, work, threads| {
            history.seconds(stage, work, threads).map(|e| (e.seconds, e.basis))
        };
        assert_eq!(get(&stage("causal", "a"), None, 2), Some((4.0, Basis::Same)));
        assert_eq!(get(&stage("causal", "b"), None, 1), Some((99.0, Basis::Same)));
        // No measurement on four threads: twice as many are twice as fast.
        assert_eq!(get(&stage("causal", "a"), None, 4), Some((2.0, Basis::Same)));
        // 0.4 and 0.2 a unit; of two the larger.
        assert_eq!(get(&stage("causal", "x"), Some(5.0), 2), Some((2.0, Basis::Component)));
        assert_eq!(get(&stage("tiger", "x"), Some(5.0), 2), Some((10.0, Basis::Component)));
        assert_eq!(get(&stage("hstu", "x"), Some(5.0), 2).unwrap().1, Basis::Other);
        assert_eq!(get(&stage("hstu", "x"), None, 2), None);
        assert!(history.knows(&stage("tiger", "")) && !history.knows(&stage("hstu", "")));
        assert_eq!(History::read(&dir.path().join("none")).rest(), None);
    }

    #[test]
    fn memory_is_the_most_of_any_stage_and_grows_with_the_model() {
        let mut history = History::default();
        history
            .extend([measured("causal", "a", 1.0, 2, 4.0), measured("causal", "b", 1.0, 2, 6.0)]);
        let get = |alike: &str, parameters, lanes| {
            history.memory([&stage("causal", alike)], parameters, lanes)
        };
        assert_eq!(get("a", Some(1000), 4), Some(4_000_000));
        assert_eq!(get("x", None, 4), Some(6_000_000));
        // Ten times the parameters in nine buffers of four bytes.
        assert_eq!(get("a", Some(10_000), 4), Some(4_000_000 + 9000 * 9 * 4));
        assert_eq!(history.memory([], None, 4), None);
    }
}
