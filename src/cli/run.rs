//! `sidereal run FILE.toml...`.

use super::args::{Common, RunArguments, SweepArguments};
use super::interrupt::cancel_on_interrupt;
use super::{output, tables};
use crate::{Config, Existing, Outcome, Plan, Registry, RunOptions};
use sidereal_core::{Cancel, Error, Observer, Result};
use sidereal_experiment::{Sweep, default_cache, default_out};
use sidereal_train::ProgressBar;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub fn run(registry: &Registry, a: RunArguments) -> Result<ExitCode> {
    let cancel = cancel_on_interrupt();
    if let [file] = &a.files[..] {
        return one(registry, &a, file, a.out.clone(), &cancel);
    }
    let mut failed = Vec::new();
    for file in &a.files {
        let name = file.file_stem().unwrap_or_default();
        let out = a.out.as_ref().map(|out| out.join(name));
        match one(registry, &a, file, out, &cancel) {
            Ok(_) => {}
            Err(e @ Error::Cancelled(_)) => return Err(e),
            Err(e) => {
                failed.push(file.display().to_string());
                // Standard error may be closed; the summary below still counts the file.
                let _ = output::write_error(&e);
            }
        }
    }
    match failed.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Err(Error::mismatch(format!(
            "{} of {} files failed: {}",
            failed.len(),
            a.files.len(),
            failed.join(", ")
        ))),
    }
}

/// One file: an experiment, or a sweep.
fn one(
    registry: &Registry,
    a: &RunArguments,
    file: &Path,
    out: Option<PathBuf>,
    cancel: &Cancel,
) -> Result<ExitCode> {
    if let Some(mut sweep) = Sweep::find(file)? {
        if a.overwrite {
            return Err(Error::ConfigAt {
                place: "--overwrite".into(),
                message: format!("{} is a sweep, whose runs are never replaced", file.display()),
            });
        }
        a.set.iter().try_for_each(|assignment| sweep.set(assignment))?;
        let arguments = SweepArguments {
            file: file.to_path_buf(),
            out,
            case: Vec::new(),
            seed: Vec::new(),
            set: a.set.clone(),
            jobs: 1,
            memory: None,
            child: false,
            threads: usize::MAX,
            rung: None,
            dry_run: false,
            common: a.common.clone(),
        };
        return super::sweep::go(registry, &sweep, arguments, cancel);
    }
    let mut config = Config::load(file)?;
    for assignment in &a.set {
        config.set(assignment)?;
    }
    let plan = Plan::resolve(registry, &config)?;
    let options = RunOptions {
        out: out.unwrap_or_else(|| default_out(&plan.name)),
        existing: match (a.resume, a.overwrite) {
            (true, _) => Existing::Resume,
            (_, true) => Existing::Overwrite,
            _ => Existing::Refuse,
        },
        cache: cache(&a.common, &plan),
    };
    let outcome = crate::run(registry, &plan, &options, observers(a.common.quiet), cancel.clone())
        .map_err(|e| config.locate(with_advice(e)))?;
    match a.common.json {
        true => output::print_json(&outcome)?,
        false => output::print(&report(&outcome, &plan))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The cache folder: argument, configuration, default.
pub fn cache(common: &Common, plan: &Plan) -> PathBuf {
    cache_folder(common.cache.clone(), plan)
}

/// The cache folder where `argument` is what the command line says.
pub fn cache_folder(argument: Option<PathBuf>, plan: &Plan) -> PathBuf {
    argument.or_else(|| plan.cache.clone()).unwrap_or_else(default_cache)
}

/// Who shows the progress.
pub fn observers(quiet: bool) -> Vec<Box<dyn Observer>> {
    match quiet {
        true => Vec::new(),
        false => vec![Box::new(ProgressBar::new())],
    }
}

/// Says how to go on, where the stage that was stopped did not.
fn with_advice(error: Error) -> Error {
    match error {
        Error::Cancelled(text) if !text.contains("--resume") => {
            Error::Cancelled(format!("{text}; run the same command with --resume to go on"))
        }
        other => other,
    }
}

/// Names of the metrics in the order of the configuration.
pub fn metric_order(plan: &Plan) -> Vec<String> {
    plan.evaluate.metrics.iter().map(|m| m.name()).collect()
}

/// What people read at the end.
pub fn report(outcome: &Outcome, plan: &Plan) -> String {
    let mut out = String::from("\n");
    out.push_str(&tables::examples(&outcome.examples));
    out.push_str(&tables::results(&outcome.results, &metric_order(plan)));
    if let Some(check) = &outcome.results.leak_check {
        out.push_str(&format!("\n{check}\n"));
    }
    let stages: Vec<String> = outcome
        .stages
        .iter()
        .map(|s| match s.reused {
            true => format!("{} cached", s.stage),
            false => format!("{} {:.1} s", s.stage, s.seconds),
        })
        .collect();
    let memory =
        outcome.peak_memory.map_or(String::new(), |b| format!(", peak memory {} MiB", b >> 20));
    out.push_str(&format!(
        "\n{:.1} s ({}){memory}\nrun folder: {}\n",
        outcome.seconds,
        stages.join(", "),
        outcome.folder.display()
    ));
    out
}
