//! `sidereal recommend RUN --user ID | --history a,b,c`.

use super::args::RecommendArguments;
use super::interrupt::cancel_on_interrupt;
use super::run::cache;
use super::{output, tables};
use crate::{Asker, Cache, Finished, Plan, Registry};
use sidereal_core::{Result, Run, Silent};
use sidereal_experiment::plan_of;
use std::process::ExitCode;

pub fn recommend(registry: &Registry, a: RecommendArguments) -> Result<ExitCode> {
    let mut changes = a.set;
    let mut plan = plan_of(registry, &a.folder, &changes)?;
    if narrower(&plan, a.k) {
        changes.push(format!("decoder.width={}", a.k));
        plan = plan_of(registry, &a.folder, &changes)?;
    }
    let cache = Cache::new(cache(&a.common, &plan));
    let run = Run {
        seed: plan.seed,
        observer: &Silent,
        cancel: cancel_on_interrupt(),
        threads: plan.threads,
    };
    let asker = match (a.asker.user, a.asker.history) {
        (Some(user), _) => Asker::User(user),
        (None, history) => Asker::History(history.unwrap_or_default()),
    };
    let finished = Finished::open(registry, &plan, &cache, &a.folder, run)?;
    let example = finished.recommend(&asker, a.k as usize)?;
    if a.common.json {
        output::print_json(&example)?;
    } else {
        let user = example.user.as_ref().map_or(String::new(), |u| format!("user {u}, "));
        let history = tables::history(&example);
        output::print(&format!("{user}{history}\n\n{}", tables::recommendations(&example)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the decoder gives fewer hypotheses than the items asked for.
fn narrower(plan: &Plan, k: u32) -> bool {
    let generative = plan.model.as_ref().and_then(|m| m.generative.as_ref());
    generative.is_some_and(|g| g.decoder.built.width() < k as usize)
}
