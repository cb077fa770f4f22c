//! A progress bar on standard error: rate, numbers that matter now, remaining time.
//!
//! Without a terminal there is no bar but a line now and then, so that a log file of a batch job
//! stays readable.

use indicatif::{ProgressDrawTarget, ProgressStyle};
use sidereal_core::{Event, Observer};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Time between two lines without a terminal.
const LINE: Duration = Duration::from_secs(10);

/// Shows events to people. A task within a task hides the outer one until it ends; notes and
/// warnings go above the bar.
pub struct ProgressBar {
    /// The innermost task comes last.
    tasks: Mutex<Vec<Task>>,
    terminal: bool,
}

struct Task {
    name: String,
    unit: String,
    total: u64,
    began: Instant,
    /// When and where work was first seen: a resumed task does not start at 0.
    first: Option<Seen>,
    printed: Instant,
    last: String,
    bar: indicatif::ProgressBar,
}

#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    done: u64,
}

impl Default for ProgressBar {
    fn default() -> Self {
        Self::new()
    }
}

impl ProgressBar {
    /// A bar if standard error is a terminal, else a line every ten seconds.
    pub fn new() -> Self {
        ProgressBar { tasks: Mutex::default(), terminal: std::io::stderr().is_terminal() }
    }

    fn say(&self, tasks: &[Task], line: &str) {
        match tasks.last() {
            Some(t) if self.terminal => t.bar.suspend(|| eprintln!("{line}")),
            _ => eprintln!("{line}"),
        }
    }

    fn start(&self, name: &str, total: u64, unit: &str) -> Task {
        let bar = match (self.terminal, total) {
            (false, _) => indicatif::ProgressBar::hidden(),
            (true, 0) => indicatif::ProgressBar::new_spinner(),
            (true, n) => indicatif::ProgressBar::new(n),
        };
        if self.terminal {
            bar.set_draw_target(target());
            let template = match total {
                0 => "{prefix} {spinner} {msg}",
                _ => "{prefix} {bar:24} {percent:>3}% {msg}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar.set_prefix(name.to_string());
        }
        let now = Instant::now();
        Task {
            name: name.into(),
            unit: unit.into(),
            total,
            began: now,
            first: None,
            printed: now,
            last: String::new(),
            bar,
        }
    }
}

fn target() -> ProgressDrawTarget {
    ProgressDrawTarget::stderr_with_hz(5)
}

impl Observer for ProgressBar {
    fn observe(&self, event: &Event<'_>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(|e| e.into_inner());
        match event {
            Event::Started { task, total, unit } => {
                if let Some(outer) = tasks.last() {
                    outer.bar.set_draw_target(ProgressDrawTarget::hidden());
                }
                tasks.push(self.start(task, *total, unit));
            }
            Event::Advanced { task, done, numbers } => {
                let Some(t) = tasks.iter_mut().find(|t| t.name == *task) else { return };
                t.advance(*done, numbers, Instant::now());
                t.bar.set_position(*done);
                t.bar.set_message(t.last.clone());
                if !self.terminal && t.printed.elapsed() >= LINE {
                    t.printed = Instant::now();
                    eprintln!("{}: {}", t.name, t.last);
                }
            }
            Event::Finished { task } => {
                let Some(at) = tasks.iter().position(|t| t.name == *task) else { return };
                let t = tasks.remove(at);
                t.bar.finish_and_clear();
                match tasks.last() {
                    Some(outer) if self.terminal => outer.bar.set_draw_target(target()),
                    Some(_) => {}
                    None => {
                        let took = clock(t.began.elapsed().as_secs_f64());
                        let comma = if t.last.is_empty() { "" } else { ", " };
                        eprintln!("{}: {took}{comma}{}", t.name, t.last);
                    }
                }
            }
            Event::Note(text) => self.say(&tasks, text),
            Event::Warning(text) => self.say(&tasks, &format!("warning: {text}")),
            _ => {}
        }
    }
}

impl Task {
    fn advance(&mut self, done: u64, numbers: &[(&str, f64)], now: Instant) {
        let first = *self.first.get_or_insert(Seen { at: now, done });
        let base = match done > first.done {
            true => first,
            false => Seen { at: self.began, done: 0 },
        };
        let seconds = now.duration_since(base.at).as_secs_f64();
        let rate = (done - base.done.min(done)) as f64 / seconds;
        let mut parts = vec![match self.total {
            0 => format!("{done} {}", self.unit),
            total => format!("{done}/{total} {}", self.unit),
        }];
        // A rate over less than this is noise.
        if seconds > 0.5 && done > first.done {
            parts.push(format!("{}/s", number(rate)));
        }
        parts.extend(numbers.iter().map(|(name, value)| format!("{name} {}", number(*value))));
        if seconds > 0.5 && done > first.done && self.total > done {
            parts.push(format!("{} left", clock((self.total - done) as f64 / rate)));
        }
        self.last = parts.join(", ");
    }
}

/// About four digits.
fn number(v: f64) -> String {
    match v.abs() {
        a if !a.is_finite() => v.to_string(),
        a if a >= 1000.0 || a == 0.0 => format!("{v:.0}"),
        a if a >= 100.0 => format!("{v:.1}"),
        a if a >= 10.0 => format!("{v:.2}"),
        a if a >= 1e-3 => format!("{v:.4}"),
        _ => format!("{v:.2e}"),
    }
}

/// `7s`, `3m05s`, `2h07m`.
fn clock(seconds: f64) -> String {
    // Casting saturates: an endless wait shows as a very long one.
    let s = seconds.max(0.0) as u64;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        _ => format!("{}h{:02}m", s / 3600, s / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_rest_count_from_where_a_resumed_task_began() {
        let bar = ProgressBar { tasks: Mutex::default(), terminal: false };
        let mut t = bar.start("train", 1000, "examples");
        let start = Instant::now();
        t.advance(500, &[], start);
        assert_eq!(t.last, "500/1000 examples");
        t.advance(600, &[("loss", 7.25)], start + Duration::from_secs(10));
        assert_eq!(t.last, "600/1000 examples, 10.00/s, loss 7.2500, 40s left");
        t.advance(400, &[], start + Duration::from_secs(20));
        assert_eq!(t.last, "400/1000 examples");
    }

    #[test]
    fn tasks_may_nest() {
        let bar = ProgressBar { tasks: Mutex::default(), terminal: false };
        let start = |task| bar.observe(&Event::Started { task, total: 10, unit: "rows" });
        let advance = |task| bar.observe(&Event::Advanced { task, done: 4, numbers: &[] });
        start("outer");
        start("inner");
        advance("inner");
        bar.observe(&Event::Finished { task: "inner" });
        advance("outer");
        assert_eq!(bar.tasks.lock().unwrap()[0].last, "4/10 rows");
        bar.observe(&Event::Finished { task: "outer" });
        advance("outer");
        assert!(bar.tasks.lock().unwrap().is_empty());
    }

    #[test]
    fn short_forms() {
        let shown: Vec<String> =
            [0.0, 12345.6, 123.45, 12.345, 0.04123, 1.5e-7, f64::NAN].map(number).into();
        assert_eq!(shown, ["0", "12346", "123.5", "12.35", "0.0412", "1.50e-7", "NaN"]);
        assert_eq!([7.9, 185.0, 7620.0].map(clock), ["7s", "3m05s", "2h07m"]);
    }
}
