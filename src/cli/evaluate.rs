//! `sidereal evaluate RUN`; `--lists` is in `evaluate_lists.rs`.

use super::args::EvaluateArguments;
use super::interrupt::cancel_on_interrupt;
use super::run::{cache, metric_order, observers};
use super::{evaluate_lists, output, tables};
use crate::{Cache, Finished, Registry};
use sidereal_core::observe::Fanout;
use sidereal_core::{Error, Result, Run};
use sidereal_experiment::plan_of;
use std::process::ExitCode;

pub fn evaluate(registry: &Registry, a: EvaluateArguments) -> Result<ExitCode> {
    if let Some(file) = &a.lists.lists {
        return evaluate_lists::evaluate(registry, file, &a.lists, &a.common);
    }
    let Some(folder) = &a.folder else {
        let message = "name a run folder, or ranked lists with --lists".into();
        return Err(Error::ConfigAt { place: "evaluate".into(), message });
    };
    let plan = plan_of(registry, folder, &a.set)?;
    let cache = Cache::new(cache(&a.common, &plan));
    let observer = Fanout(observers(a.common.quiet));
    let run = Run {
        seed: plan.seed,
        observer: &observer,
        cancel: cancel_on_interrupt(),
        threads: plan.threads,
    };
    let evaluation = Finished::open(registry, &plan, &cache, folder, run)?.evaluate()?;
    match a.common.json {
        true => output::print_json(&evaluation.results)?,
        false => output::print(&tables::results(&evaluation.results, &metric_order(&plan)))?,
    }
    Ok(ExitCode::SUCCESS)
}
