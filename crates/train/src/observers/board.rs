//! Progress of several runs on one screen: a line a run, and one over all of them below.
//!
//! Without a terminal each run has a line now and then, as with [`ProgressBar`](super::ProgressBar).

use super::course::Course;
use super::progress::{LINE, target};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use sidereal_core::{Event, Observer};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A screen that several runs share.
pub struct Board {
    screen: MultiProgress,
    overall: ProgressBar,
    terminal: bool,
}

impl Default for Board {
    fn default() -> Self {
        Self::new()
    }
}

impl Board {
    /// Lines on standard error that are written over if it is a terminal, else one now and then.
    pub fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let screen = MultiProgress::with_draw_target(target());
        let overall = match terminal {
            true => screen.add(line("{elapsed}{wide_msg}")),
            false => ProgressBar::hidden(),
        };
        if terminal {
            overall.enable_steady_tick(Duration::from_secs(1));
        }
        Board { screen, overall, terminal }
    }

    /// A line for a run; it goes when it is dropped.
    pub fn line(&self, name: &str) -> BoardLine<'_> {
        let bar = match self.terminal {
            true => self.screen.insert_before(&self.overall, line("{wide_msg}")),
            false => ProgressBar::hidden(),
        };
        bar.set_message(name.to_string());
        BoardLine { board: self, name: name.into(), bar, tasks: Mutex::default() }
    }

    /// Sets what stands behind the time on the line over all runs; only a terminal shows it.
    pub fn overall(&self, text: String) {
        self.overall.set_message(text);
    }

    /// Does something that writes to the terminal, and shows the lines below it again.
    pub fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        match self.terminal {
            true => self.screen.suspend(write),
            false => write(),
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.overall.finish_and_clear();
    }
}

fn line(template: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// The line of one run.
pub struct BoardLine<'a> {
    board: &'a Board,
    name: String,
    bar: ProgressBar,
    /// The innermost task comes last, with the time of its last line.
    tasks: Mutex<Vec<(Course, Instant)>>,
}

impl BoardLine<'_> {
    fn say(&self, text: &str) {
        self.board.above(|| eprintln!("{}: {text}", self.name));
    }
}

impl Drop for BoardLine<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        self.board.screen.remove(&self.bar);
    }
}

impl Observer for BoardLine<'_> {
    fn observe(&self, event: &Event<'_>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(|e| e.into_inner());
        match event {
            Event::Started { task, total, unit } => {
                tasks.push((Course::new(task, *total, unit), Instant::now()));
                self.bar.set_message(format!("{}  {task}", self.name));
            }
            Event::Advanced { task, done, numbers } => {
                let Some((course, said)) = tasks.iter_mut().find(|t| t.0.name == *task) else {
                    return;
                };
                course.advance(*done, numbers, Instant::now());
                let text = format!("{task}: {}", course.last);
                if !self.board.terminal && said.elapsed() >= LINE {
                    *said = Instant::now();
                    self.say(&text);
                }
                self.bar.set_message(format!("{}  {text}", self.name));
            }
            Event::Finished { task } => {
                let Some(at) = tasks.iter().position(|t| t.0.name == *task) else { return };
                let (course, _) = tasks.remove(at);
                if tasks.is_empty() && !self.board.terminal {
                    self.say(&course.ended());
                }
            }
            Event::Note(text) => self.say(text),
            Event::Warning(text) => self.say(&format!("warning: {text}")),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_the_innermost_task_of_its_run() {
        let screen = MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::hidden());
        let board = Board { overall: screen.add(line("{wide_msg}")), screen, terminal: true };
        let (a, b) = (board.line("a"), board.line("b"));
        a.observe(&Event::Started { task: "train", total: 10, unit: "rows" });
        a.observe(&Event::Advanced { task: "train", done: 4, numbers: &[("loss", 0.5)] });
        b.observe(&Event::Started { task: "data", total: 0, unit: "lines" });
        assert_eq!(a.bar.message(), "a  train: 4/10 rows, loss 0.5000");
        assert_eq!(b.bar.message(), "b  data");
        a.observe(&Event::Finished { task: "train" });
        assert!(a.tasks.lock().unwrap().is_empty());
        board.overall("1/2".into());
        assert_eq!(board.overall.message(), "1/2");
    }
}
