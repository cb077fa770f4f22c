//! `sidereal sids RUN_OR_TABLE...`: are these semantic IDs any good?

mod page;
mod report;
mod text;

use super::args::SidsArguments;
use super::interrupt::cancel_on_interrupt;
use super::output;
use super::run::observers;
use crate::{Plan, Registry};
use report::Report;
use sidereal_core::observe::Fanout;
use sidereal_core::{Error, Result, Run, files};
use sidereal_experiment::default_cache;
use sidereal_experiment::ids::{Opener, run_folders};
use sidereal_quantizers::export;
use sidereal_quantizers::report::correlations;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

/// Name of the report for programs.
const JSON: &str = "report.json";
/// Name of the report for people.
const PAGE: &str = "report.html";

pub fn sids(registry: &Registry, a: SidsArguments) -> Result<ExitCode> {
    let observer = Fanout(observers(a.common.quiet || a.common.json));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let run = Run { seed: 0, observer: &observer, cancel: cancel_on_interrupt(), threads };
    let cache = |plan: &Plan| -> PathBuf {
        a.common.cache.clone().or_else(|| plan.cache.clone()).unwrap_or_else(default_cache)
    };
    let opener = Opener { registry, cache: &cache, run };
    let ground = a.config.as_ref().map(|file| opener.ground_of(file)).transpose()?.map(Rc::new);
    if a.validate {
        return validate(&opener, &a, ground.as_ref());
    }
    let mut subjects = Vec::new();
    for path in &a.subjects {
        subjects.push(opener.open(path, ground.as_ref())?);
    }
    if let Some(file) = &a.export {
        let [subject] = &subjects[..] else {
            let message = format!("{} tables; one can be written to a file", subjects.len());
            return Err(Error::ConfigAt { place: "--export".into(), message });
        };
        export(file, &subject.table)?;
    }
    let report = Report::of(&subjects, &opener.run)?;
    if let Some(out) = &a.out {
        files::write_json(&out.join(JSON), &report)?;
        let page = page::page(&subjects, &report)?;
        files::write_bytes(&out.join(PAGE), page.as_bytes())?;
    }
    match a.common.json {
        true => output::print_json(&report)?,
        false => {
            let written = a.out.as_ref().map(|out| out.join(PAGE).display().to_string());
            let written = written.map_or(String::new(), |path| format!("\n{path}\n"));
            output::print(&format!("{}{written}", text::report(&report)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn validate(
    opener: &Opener<'_>,
    a: &SidsArguments,
    ground: Option<&Rc<sidereal_experiment::ids::Ground>>,
) -> Result<ExitCode> {
    let mut runs = Vec::new();
    for path in &a.subjects {
        if path.is_file() {
            runs.extend(opener.measurements(path)?);
            continue;
        }
        for folder in run_folders(path)? {
            runs.push(opener.measurement(&folder, &a.metric, ground)?);
        }
    }
    let found = correlations(&runs, opener.run.seed)?;
    if let Some(out) = &a.out {
        files::write_json(&out.join("validation.json"), &found)?;
    }
    match a.common.json {
        true => output::print_json(&found)?,
        false => output::print(&text::validation(&found, runs.len(), &a.metric))?,
    }
    Ok(ExitCode::SUCCESS)
}
