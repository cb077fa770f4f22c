//! A process for each run of a sweep, so that whatever ends a run ends it alone: an error, a panic,
//! the system that kills it for want of memory. The memory of a run is free again before the next.
//!
//! A child is this program with `sweep --child` and one case and seed. It writes its error to
//! standard output; progress goes to the standard error that both share. Its standard input is a
//! pipe from the sweep: when that closes, the sweep has been stopped or killed, and the child stops
//! at its next safe point.

use super::args::SweepArguments;
use sidereal_core::{Cancel, Error, Result};
use sidereal_experiment::sweep::Job;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
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
    /// Runs one in a process of its own.
    pub fn run(&self, job: &Job<'_>) -> Result<()> {
        let stopped = || Error::Cancelled("on request".into());
        if self.cancel.is_cancelled() {
            return Err(stopped());
        }
        let fail = |e| Error::other("starting a run of the sweep", e);
        let program = std::env::current_exe().map_err(fail)?;
        let mut command = Command::new(program);
        command.args(self.arguments(&job.case.name, job.seed)).arg("--child");
        command.arg("--out").arg(self.out).arg("--cache").arg(self.cache);
        if self.sweep.common.quiet || self.sweep.common.json {
            command.arg("--quiet");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(fail)?;
        let (status, said) = self.wait(&mut child).map_err(fail)?;
        match status.success() {
            true => Ok(()),
            false if self.cancel.is_cancelled() => Err(stopped()),
            false if said.trim().is_empty() => Err(Error::mismatch(end(status))),
            false => Err(Error::mismatch(said.trim())),
        }
    }

    /// How the child ended, and what it said.
    fn wait(&self, child: &mut Child) -> std::io::Result<(ExitStatus, String)> {
        let mut pipe = child.stdin.take();
        let mut out = child.stdout.take();
        std::thread::scope(|scope| {
            // Read while it works: a pipe that nobody empties would stop it.
            let reader = scope.spawn(move || {
                let mut bytes = Vec::new();
                if let Some(out) = &mut out {
                    // What was read before a fault is all there is to tell.
                    let _ = out.read_to_end(&mut bytes);
                }
                String::from_utf8_lossy(&bytes).into_owned()
            });
            let status = loop {
                if let Some(status) = child.try_wait()? {
                    break status;
                }
                if self.cancel.is_cancelled() {
                    pipe = None;
                }
                std::thread::sleep(LOOK);
            };
            drop(pipe);
            Ok((status, reader.join().unwrap_or_default()))
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
