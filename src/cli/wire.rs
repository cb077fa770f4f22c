//! Events of a sweep's run as lines of JSON: what a run tells the sweep that shows them.
//!
//! Progress comes at most ten times a second. Numbers for logs are not sent: a run writes its own.

use serde::{Deserialize, Serialize};
use sidereal_core::{Event, Observer};
use sidereal_experiment::STAGE;
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Time between two lines of progress.
const SHOW: Duration = Duration::from_millis(100);

/// A line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    Started {
        task: String,
        total: u64,
        unit: String,
    },
    Advanced {
        task: String,
        done: u64,
        numbers: Vec<(String, Option<f64>)>,
    },
    Finished {
        task: String,
    },
    Note(String),
    Warning(String),
    /// A stage is done.
    Stage(String),
    /// Why the run ended.
    Error(String),
}

impl Line {
    fn of(event: &Event<'_>) -> Option<Self> {
        Some(match event {
            Event::Started { task, total, unit } => {
                Line::Started { task: task.to_string(), total: *total, unit: unit.to_string() }
            }
            Event::Advanced { task, done, numbers } => {
                // JSON has no NaN.
                let number = |(name, value): &(&str, f64)| {
                    (name.to_string(), value.is_finite().then_some(*value))
                };
                let numbers = numbers.iter().map(number).collect();
                Line::Advanced { task: task.to_string(), done: *done, numbers }
            }
            Event::Finished { task } => Line::Finished { task: task.to_string() },
            Event::Note(text) => Line::Note(text.to_string()),
            Event::Warning(text) => Line::Warning(text.to_string()),
            Event::Scalars { group: STAGE, numbers, .. } => {
                Line::Stage(numbers.first()?.0.to_string())
            }
            _ => return None,
        })
    }

    /// Writes it to standard output. A sweep that does not read any more has ended, of which the
    /// run hears in another way.
    pub fn send(&self) {
        if let Ok(mut text) = serde_json::to_string(self) {
            text.push('\n');
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
    }

    /// Reads one.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Tells it to `observer` as the event that it was.
    pub fn tell(&self, observer: &dyn Observer) {
        match self {
            Line::Started { task, total, unit } => {
                observer.observe(&Event::Started { task, total: *total, unit });
            }
            Line::Advanced { task, done, numbers } => {
                let number = |n: &'_ (String, Option<f64>)| n.1.unwrap_or(f64::NAN);
                let numbers: Vec<(&str, f64)> =
                    numbers.iter().map(|n| (n.0.as_str(), number(n))).collect();
                observer.observe(&Event::Advanced { task, done: *done, numbers: &numbers });
            }
            Line::Finished { task } => observer.observe(&Event::Finished { task }),
            Line::Note(text) => observer.observe(&Event::Note(text)),
            Line::Warning(text) => observer.observe(&Event::Warning(text)),
            Line::Stage(_) | Line::Error(_) => {}
        }
    }
}

/// Sends what a run tells.
#[derive(Default)]
pub struct Sender {
    shown: Mutex<Option<Instant>>,
}

impl Observer for Sender {
    fn observe(&self, event: &Event<'_>) {
        let mut shown = self.shown.lock().unwrap_or_else(|e| e.into_inner());
        if matches!(event, Event::Advanced { .. }) {
            if shown.is_some_and(|at| at.elapsed() < SHOW) {
                return;
            }
            *shown = Some(Instant::now());
        }
        if let Some(line) = Line::of(event) {
            line.send();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Observer for Heard {
        fn observe(&self, event: &Event<'_>) {
            self.0.lock().unwrap().push(format!("{event:?}"));
        }
    }

    #[test]
    fn events_survive_the_way() {
        let numbers = &[("loss", 0.1 + 0.2), ("nan", f64::NAN)];
        let events = [
            Event::Started { task: "train", total: 7, unit: "examples" },
            Event::Advanced { task: "train", done: 3, numbers },
            Event::Finished { task: "train" },
            Event::Note("a \"word\"\nand more"),
            Event::Warning("ä"),
        ];
        let heard = Heard::default();
        for event in &events {
            let text = serde_json::to_string(&Line::of(event).unwrap()).unwrap();
            assert!(!text.contains('\n'));
            Line::read(&text).unwrap().tell(&heard);
        }
        let sent: Vec<String> = events.iter().map(|e| format!("{e:?}")).collect();
        assert_eq!(heard.0.into_inner().unwrap(), sent);
        let stage = Event::Scalars { group: STAGE, step: 0, numbers: &[("data", 1.0)] };
        assert_eq!(Line::of(&stage), Some(Line::Stage("data".into())));
        let log = Event::Scalars { group: "train", step: 0, numbers: &[("loss", 1.0)] };
        assert_eq!(Line::of(&log), None);
        assert_eq!(Line::read("thread panicked"), None);
    }
}
