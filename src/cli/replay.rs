//! `sidereal replay RUN`: the same run once more, with nothing reused, and a comparison.

use super::args::ReplayArguments;
use super::interrupt::cancel_on_interrupt;
use super::output;
use super::run::observers;
use crate::{Existing, Registry, Results, RunOptions};
use serde_json::json;
use sidereal_core::{Error, Result, files};
use sidereal_experiment::plan_of;
use std::fmt::Write;
use std::process::ExitCode;

pub fn replay(registry: &Registry, a: ReplayArguments) -> Result<ExitCode> {
    let plan = plan_of(registry, &a.folder, &[])?;
    let metrics = a.folder.join("metrics.json");
    if !metrics.is_file() {
        return Err(Error::data(&a.folder, "the run has no metrics.json: it is not finished"));
    }
    let before: Results = files::read_json(&metrics)?;
    let out = a.out.unwrap_or_else(|| a.folder.join("replay"));
    let options =
        RunOptions { cache: out.join("cache"), out: out.clone(), existing: Existing::Overwrite };
    let outcome = crate::run(registry, &plan, &options, observers(a.quiet), cancel_on_interrupt())?;
    let differences = before.differences(&outcome.results);
    if a.json {
        let equal = differences.is_empty();
        output::print_json(&json!({"equal": equal, "differences": differences, "folder": out}))?;
    } else if differences.is_empty() {
        let text = format!("equal: all metrics are those of {}\n", a.folder.display());
        output::print(&text)?;
    } else {
        let mut text = format!("{} values differ (run -> replay):\n", differences.len());
        differences.iter().for_each(|d| {
            let _ = writeln!(text, "  {d}");
        });
        if plan.model.as_ref().is_some_and(|m| m.train.options.max_minutes.is_some()) {
            text.push_str(
                "train.max_minutes ends a training at a step that depends on the machine\n",
            );
        }
        output::print(&text)?;
    }
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
