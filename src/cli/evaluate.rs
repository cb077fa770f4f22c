//! `sidereal evaluate RUN`.

use super::args::EvaluateArguments;
use super::interrupt::cancel_on_interrupt;
use super::run::{cache, metric_order, observers};
use super::{output, tables};
use crate::{Cache, Finished, Registry};
use sidereal_core::observe::Fanout;
use sidereal_core::{Result, Run};
use sidereal_experiment::plan_of;
use std::process::ExitCode;

pub fn evaluate(registry: &Registry, a: EvaluateArguments) -> Result<ExitCode> {
    let plan = plan_of(registry, &a.folder, &a.set)?;
    let cache = Cache::new(cache(&a.common, &plan));
    let observer = Fanout(observers(a.common.quiet));
    let run = Run {
        seed: plan.seed,
        observer: &observer,
        cancel: cancel_on_interrupt(),
        threads: plan.threads,
    };
    let evaluation = Finished::open(registry, &plan, &cache, &a.folder, run)?.evaluate()?;
    match a.common.json {
        true => output::print_json(&evaluation.results)?,
        false => output::print(&tables::results(&evaluation.results, &metric_order(&plan)))?,
    }
    Ok(ExitCode::SUCCESS)
}
