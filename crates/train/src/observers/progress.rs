//! A progress bar on standard error: rate, numbers that matter now, remaining time.
//!
//! Without a terminal there is no bar but a line now and then, so that a log file of a batch job
//! stays readable.

use super::course::Course;
use indicatif::{ProgressDrawTarget, ProgressStyle};
use sidereal_core::{Event, Observer};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Time between two lines without a terminal.
pub(super) const LINE: Duration = Duration::from_secs(10);

/// Shows events to people. A task within a task hides the outer one until it ends; notes and
/// warnings go above the bar.
pub struct ProgressBar {
    /// The innermost task comes last.
    tasks: Mutex<Vec<Task>>,
    terminal: bool,
}

struct Task {
    course: Course,
    printed: Instant,
    bar: indicatif::ProgressBar,
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
        Task { course: Course::new(name, total, unit), printed: Instant::now(), bar }
    }
}

pub(super) fn target() -> ProgressDrawTarget {
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
                let Some(t) = tasks.iter_mut().find(|t| t.course.name == *task) else { return };
                t.course.advance(*done, numbers, Instant::now());
                t.bar.set_position(*done);
                t.bar.set_message(t.course.last.clone());
                if !self.terminal && t.printed.elapsed() >= LINE {
                    t.printed = Instant::now();
                    eprintln!("{}: {}", t.course.name, t.course.last);
                }
            }
            Event::Finished { task } => {
                let Some(at) = tasks.iter().position(|t| t.course.name == *task) else { return };
                let t = tasks.remove(at);
                t.bar.finish_and_clear();
                match tasks.last() {
                    Some(outer) if self.terminal => outer.bar.set_draw_target(target()),
                    Some(_) => {}
                    None => eprintln!("{}", t.course.ended()),
                }
            }
            Event::Note(text) => self.say(&tasks, text),
            Event::Warning(text) => self.say(&tasks, &format!("warning: {text}")),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(bar.tasks.lock().unwrap()[0].course.last, "4/10 rows");
        bar.observe(&Event::Finished { task: "outer" });
        advance("outer");
        assert!(bar.tasks.lock().unwrap().is_empty());
    }
}
