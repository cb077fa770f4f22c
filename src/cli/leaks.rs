//! `sidereal leaks FILE.toml`: the checks of every run, and the counterfactual that is too dear for
//! every run.

use super::args::LeaksArguments;
use super::interrupt::cancel_on_interrupt;
use super::run::observers;
use super::{output, tables};
use crate::{Cache, Config, Plan, Registry};
use sidereal_core::observe::Fanout;
use sidereal_core::{Result, Run};
use sidereal_experiment::leaks::{Finding, Verdict, counterfactual, of_data};
use sidereal_experiment::stages::{Context, data};
use std::process::ExitCode;

pub fn leaks(registry: &Registry, a: LeaksArguments) -> Result<ExitCode> {
    let mut config = Config::load(&a.file)?;
    for assignment in &a.set {
        config.set(assignment)?;
    }
    config.set(&format!("train.max_steps={}", a.steps))?;
    let plan = Plan::resolve(registry, &config)?;
    let observer = Fanout(observers(a.quiet));
    let cancel = cancel_on_interrupt();
    let run = Run { seed: plan.seed, observer: &observer, cancel, threads: plan.threads };
    // Everything is made anew: a stage from the cache would tell what was, not what is.
    let folder = std::env::temp_dir().join(format!("sidereal-leaks-{}", std::process::id()));
    let cache = Cache::new(folder.join("cache"));
    let cx = Context { registry, plan: &plan, cache: &cache, run };
    let found = (|| -> Result<Vec<Finding>> {
        let data = data::data(&cx)?;
        let mut findings = of_data(&data, plan.split.built.order())?;
        findings.extend(counterfactual::of_plan(&cx, &data, &folder.join("work"))?);
        Ok(findings)
    })();
    let _ = std::fs::remove_dir_all(&folder);
    let findings: Vec<Finding> = found.map_err(|e| config.locate(e))?;
    match a.json {
        true => output::print_json(&findings)?,
        false => output::print(&text(&findings))?,
    }
    let leaks = findings.iter().any(|f| f.verdict == Verdict::Leak);
    Ok(if leaks { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn text(findings: &[Finding]) -> String {
    let mut table = tables::Table::default();
    table.row(["check", "verdict", "why"].map(String::from));
    for f in findings {
        let verdict = format!("{:?}", f.verdict).to_lowercase();
        table.row([f.check.clone(), verdict, f.text.clone()]);
    }
    table.text(0)
}
