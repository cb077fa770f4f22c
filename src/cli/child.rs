//! A process for each run of a sweep, so that whatever ends a run ends it alone: an error, a panic,
//! the system that kills it for want of memory. The memory of a run is free again before the next.
//!
//! A child is this program with `sweep --child` and one case and seed. It tells what happens on
//! standard output, an event a line (`wire.rs`); the sweep shows it. Its standard input is a pipe
//! from the sweep: when that closes, the sweep has been stopped or killed, and the child stops at
//! its next safe point.

use super::args::SweepArguments;
use super::wire::Line;
use sidereal_core::{Cancel, Error, Observer, Result};
use sidereal_experiment::sweep::{Job, Place, StageKind};
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How often a sweep looks whether its run has ended or it was asked to stop.
const LOOK: Duration = Duration::from_millis(10);

/// What a sweep gives its runs.
pub struct Parent<'a> {
    /// The sweep as it was asked for.
    pub sweep: &'a SweepArguments,
    /// The sweep's folder.
    pub out: &'a Path,
    /// Finished stages.
    pub cache: &'a Path,
    /// Asks to stop.
    pub cancel: &'a Cancel,
}

impl Parent<'_> {
    /// Runs one in a process of its own, on a rung of successive halving where one is given; `shown`
    /// hears its events.
    pub fn run(
        &self,
        job: &Job<'_>,
        place: &Place<'_>,
        rung: Option<u64>,
        shown: &dyn Observer,
    ) -> Result<()> {
        let stopped = || Error::Cancelled("on request".into());
        if self.cancel.is_cancelled() {
            return Err(stopped());
        }
        let fail = |e| Error::other("starting a run of the sweep", e);
        let program = std::env::current_exe().map_err(fail)?;
        let mut command = Command::new(program);
        command.args(self.arguments(&job.case.name, job.seed)).arg("--child");
        command.arg("--out").arg(self.out).arg("--cache").arg(self.cache);
        command.args(rung.map(|resource| format!("--rung={resource}")));
        command.arg("--threads").arg(place.threads.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(fail)?;
        let hear = |line: &Line| match line {
            Line::Stage(name) => StageKind::of(name).into_iter().for_each(|s| place.passed(s)),
            line => line.tell(shown),
        };
        let (status, said) = self.wait(&mut child, &hear).map_err(fail)?;
        match status.success() {
            true => Ok(()),
            false if self.cancel.is_cancelled() => Err(stopped()),
            false if said.trim().is_empty() => Err(Error::mismatch(end(status))),
            false => Err(Error::mismatch(said.trim())),
        }
    }

    /// How the child ended, and the error that it told.
    fn wait(
        &self,
        child: &mut Child,
        hear: &dyn Fn(&Line),
    ) -> std::io::Result<(ExitStatus, String)> {
        let mut pipe = child.stdin.take();
        let out = child.stdout.take();
        std::thread::scope(|scope| {
            let (watched, cancel) = (&mut *child, self.cancel);
            let watcher = scope.spawn(move || -> std::io::Result<ExitStatus> {
                loop {
                    if let Some(status) = watched.try_wait()? {
                        return Ok(status);
                    }
                    if cancel.is_cancelled() {
                        drop(pipe.take());
                    }
                    std::thread::sleep(LOOK);
                }
            });
            let said = out.map(|out| listen(out, hear)).unwrap_or_default();
            let status = watcher.join().map_err(|_| std::io::Error::other("a panic"))??;
            Ok((status, said))
        })
    }

    /// `sweep FILE --case CASE --seed N` and the overrides.
    fn arguments(&self, case: &str, seed: u64) -> Vec<OsString> {
        let mut out: Vec<OsString> = vec!["sweep".into(), self.sweep.file.clone().into()];
        // One word each: names may begin with a dash.
        out.push(format!("--case={case}").into());
        out.push(format!("--seed={seed}").into());
        out.extend(self.sweep.set.iter().map(|s| format!("--set={s}").into()));
        out
    }

    /// The command that runs one again.
    pub fn command_line(&self, case: &str, seed: u64) -> String {
        let mut words = self.arguments(case, seed);
        if self.sweep.out.is_some() {
            words.extend(["--out".into(), self.out.into()]);
        }
        if self.sweep.common.cache.is_some() {
            words.extend(["--cache".into(), self.cache.into()]);
        }
        let words: Vec<String> = words.iter().map(|w| quoted(w)).collect();
        format!("sidereal {}", words.join(" "))
    }
}

/// Hears a child until it closes its standard output; gives the error that it told.
fn listen(out: ChildStdout, hear: &dyn Fn(&Line)) -> String {
    let mut error = String::new();
    // What was read before a fault is all there is to tell; other lines are for nobody.
    for text in BufReader::new(out).lines().map_while(std::io::Result::ok) {
        match Line::read(&text) {
            Some(Line::Error(text)) => error = text,
            Some(line) => hear(&line),
            None => {}
        }
    }
    error
}

/// A word as a shell takes it.
fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:".contains(c);
    match word.chars().all(plain) && !word.is_empty() {
        true => word.into_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// What a status without words means.
fn end(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return match signal {
            9 => "killed (signal 9), as the system does where memory runs out".into(),
            6 => "aborted (signal 6): no memory was to be had, or a bug".into(),
            other => format!("ended by signal {other}"),
        };
    }
    format!("ended without a word ({status})")
}

/// A flag that is raised when the sweep closes the pipe, and by Ctrl-C, which both hear.
pub fn cancel_with_parent() -> Cancel {
    let cancel = Cancel::default();
    let flag = cancel.clone();
    let interrupted = move || match flag.is_cancelled() {
        true => std::process::exit(130),
        false => flag.cancel(),
    };
    // Without a handler an interrupt ends the run at once, which is as good.
    let _ = ctrlc::set_handler(interrupted);
    let flag = cancel.clone();
    std::thread::spawn(move || {
        // A closed pipe and a broken one mean the same: nobody waits for this run.
        let _ = std::io::stdin().read(&mut [0]);
        flag.cancel();
    });
    cancel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted(OsStr::new("--seed=1")), "--seed=1");
        assert_eq!(quoted(OsStr::new("--case=it's $HOME")), r"'--case=it'\''s $HOME'");
        assert_eq!(quoted(OsStr::new("")), "''");
    }
}
