//! Counters and histograms in atomics, and their text for Prometheus (exposition format 0.0.4).

use crate::answer::Version;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Statuses that have a counter of their own; others share one.
const STATUSES: [u16; 14] = [200, 400, 403, 404, 405, 408, 409, 413, 415, 422, 431, 500, 503, 504];

/// Upper bounds of the times, in seconds.
const SECONDS: [f64; 14] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
/// Upper bounds of the sizes of batches.
const SIZES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// Values in buckets.
pub struct Histogram {
    bounds: &'static [f64],
    buckets: Vec<AtomicU64>,
    /// Millionths, so that a sum needs no lock.
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds, buckets, sum: AtomicU64::new(0) }
    }

    /// Counts a value.
    pub fn observe(&self, value: f64) {
        self.buckets[self.bounds.partition_point(|&b| b < value)].fetch_add(1, Relaxed);
        self.sum.fetch_add((value * 1e6) as u64, Relaxed);
    }

    /// Values counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|b| b.load(Relaxed)).sum()
    }

    fn write(&self, out: &mut String, name: &str, help: &str) {
        head(out, name, "histogram", help);
        let mut below = 0;
        for (bound, bucket) in self.bounds.iter().zip(&self.buckets) {
            below += bucket.load(Relaxed);
            line(out, &format!("{name}_bucket{{le=\"{bound}\"}}"), below as f64);
        }
        below += self.buckets[self.bounds.len()].load(Relaxed);
        line(out, &format!("{name}_bucket{{le=\"+Inf\"}}"), below as f64);
        line(out, &format!("{name}_sum"), self.sum.load(Relaxed) as f64 / 1e6);
        line(out, &format!("{name}_count"), below as f64);
    }
}

/// Everything that is counted.
pub struct Metrics {
    /// Answers by route and status; the last route is all that have no name, the last status all
    /// that have none of their own.
    answers: Vec<[AtomicU64; STATUSES.len() + 1]>,
    routes: Vec<&'static str>,
    /// Time of recommendations, from the head of the request to the answer.
    pub seconds: Histogram,
    /// Time of the model, a batch.
    pub model_seconds: Histogram,
    /// Requests a batch.
    pub batches: Histogram,
    /// Requests refused because the queue was full.
    pub queue_full: AtomicU64,
    /// Connections refused because too many were open.
    pub too_many_connections: AtomicU64,
    /// Requests given up before they were answered.
    pub timed_out: AtomicU64,
    /// Requests that the model never began, because their time was over or their client gone.
    pub dropped: AtomicU64,
    /// Open connections.
    pub connections: AtomicU64,
    /// Swaps that took place.
    pub swaps: AtomicU64,
    /// Swaps that were refused or failed.
    pub failed_swaps: AtomicU64,
    /// Lines that the log was too slow for.
    pub lost_lines: AtomicU64,
}

/// What is no counter and is looked up when it is asked for.
pub struct Gauges<'a> {
    /// Requests that wait for the model.
    pub queue: usize,
    /// Most that may.
    pub capacity: usize,
    /// What answers now.
    pub version: &'a Version,
}

impl Metrics {
    /// All zero, for these routes.
    pub fn new(routes: impl IntoIterator<Item = &'static str>) -> Self {
        let routes: Vec<&str> = routes.into_iter().chain(["other"]).collect();
        let zero = || AtomicU64::new(0);
        Metrics {
            answers: routes.iter().map(|_| std::array::from_fn(|_| zero())).collect(),
            routes,
            seconds: Histogram::new(&SECONDS),
            model_seconds: Histogram::new(&SECONDS),
            batches: Histogram::new(&SIZES),
            queue_full: zero(),
            too_many_connections: zero(),
            timed_out: zero(),
            dropped: zero(),
            connections: zero(),
            swaps: zero(),
            failed_swaps: zero(),
            lost_lines: zero(),
        }
    }

    /// Counts an answer.
    pub fn answered(&self, route: &str, status: u16) {
        let r = self.routes.iter().position(|&r| r == route).unwrap_or(self.routes.len() - 1);
        let s = STATUSES.iter().position(|&s| s == status).unwrap_or(STATUSES.len());
        self.answers[r][s].fetch_add(1, Relaxed);
    }

    /// The text that Prometheus reads.
    pub fn text(&self, gauges: &Gauges<'_>) -> String {
        let mut out = String::new();
        let name = "sidereal_requests_total";
        head(&mut out, name, "counter", "Answers by route and status.");
        for (route, counts) in self.routes.iter().zip(&self.answers) {
            for (s, count) in counts.iter().enumerate() {
                let count = count.load(Relaxed);
                let status = STATUSES.get(s).map_or("other".into(), u16::to_string);
                if count > 0 {
                    let labels = format!("{{route=\"{route}\",status=\"{status}\"}}");
                    line(&mut out, &format!("{name}{labels}"), count as f64);
                }
            }
        }
        let seconds = "From the head of a recommendation's request to its answer.";
        self.seconds.write(&mut out, "sidereal_request_seconds", seconds);
        self.model_seconds.write(&mut out, "sidereal_model_seconds", "Model, a batch.");
        self.batches.write(&mut out, "sidereal_batch_size", "Requests a batch.");
        let name = "sidereal_rejected_total";
        head(&mut out, name, "counter", "Refused with 503.");
        let rejected = [("queue", &self.queue_full), ("connections", &self.too_many_connections)];
        for (reason, count) in rejected {
            let labels = format!("{{reason=\"{reason}\"}}");
            line(&mut out, &format!("{name}{labels}"), count.load(Relaxed) as f64);
        }
        for (name, help, count) in [
            ("timed_out_total", "Given up before an answer.", &self.timed_out),
            ("dropped_total", "Never begun: too late, or the client had gone.", &self.dropped),
            ("swaps_total", "Swaps that took place.", &self.swaps),
            ("failed_swaps_total", "Swaps that were refused or failed.", &self.failed_swaps),
            ("lost_log_lines_total", "Lines that the log was too slow for.", &self.lost_lines),
        ] {
            let name = format!("sidereal_{name}");
            head(&mut out, &name, "counter", help);
            line(&mut out, &name, count.load(Relaxed) as f64);
        }
        for (name, help, value) in [
            ("connections", "Open connections.", self.connections.load(Relaxed)),
            ("queue_depth", "Requests that wait for the model.", gauges.queue as u64),
            ("queue_capacity", "Most that may wait.", gauges.capacity as u64),
            ("generation", "1, and one more with every swap.", gauges.version.generation),
        ] {
            let name = format!("sidereal_{name}");
            head(&mut out, &name, "gauge", help);
            line(&mut out, &name, value as f64);
        }
        let name = "sidereal_table_info";
        head(&mut out, name, "gauge", "Which run and SID table answer.");
        let run = label(&gauges.version.run);
        let table = gauges.version.table.as_deref().unwrap_or("none");
        line(&mut out, &format!("{name}{{run=\"{run}\",version=\"{table}\"}}"), 1.0);
        out
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, value: f64) {
    let _ = writeln!(out, "{name} {value}");
}

/// A label's value: backslash, quote and line break are escaped.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_all_counts() {
        let m = Metrics::new(["/a"]);
        m.answered("/a", 200);
        m.answered("/a", 200);
        m.answered("/b", 418);
        [0.0005, 0.001, 0.0011, 99.0].iter().for_each(|&s| m.seconds.observe(s));
        m.batches.observe(3.0);
        let version = Version { generation: 2, run: "a\"b".into(), table: Some("beef".into()) };
        let text = m.text(&Gauges { queue: 5, capacity: 9, version: &version });
        for line in [
            "sidereal_requests_total{route=\"/a\",status=\"200\"} 2",
            "sidereal_requests_total{route=\"other\",status=\"other\"} 1",
            "sidereal_request_seconds_bucket{le=\"0.001\"} 2",
            "sidereal_request_seconds_bucket{le=\"0.002\"} 3",
            "sidereal_request_seconds_bucket{le=\"30\"} 3",
            "sidereal_request_seconds_bucket{le=\"+Inf\"} 4",
            "sidereal_request_seconds_count 4",
            "sidereal_batch_size_bucket{le=\"2\"} 0",
            "sidereal_batch_size_bucket{le=\"4\"} 1",
            "sidereal_batch_size_sum 3",
            "sidereal_queue_depth 5",
            "sidereal_generation 2",
            "sidereal_table_info{run=\"a\\\"b\",version=\"beef\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        // Every sample belongs to a family that was announced.
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s));
            let known = |n: &str| text.contains(&format!("# TYPE {n} "));
            assert!(known(name) || family.is_some_and(known), "{line}");
        }
    }
}
