//! Finished runs compared.
//!
//! | file | holds |
//! |---|---|
//! | `collect.rs` | paths to systems: runs that differ in the seed only |
//! | `record.rs`, `per_user.rs`, `log.rs` | what a run left in its folder |
//! | `protocol.rs` | which systems may be compared, with their names |
//! | `compare/` | means, spreads, intervals, tests, verdicts |
//! | `views/` | the same from other sides: factors, curves, costs, groups, users, examples |
//! | `metrics.rs`, `names.rs` | which metrics, and their direction; short names |

pub mod collect;
pub mod compare;
pub mod log;
mod metrics;
pub mod names;
pub mod per_user;
pub mod protocol;
pub mod record;
pub mod views;

#[cfg(test)]
pub(crate) mod synthetic;

use crate::Registry;
use collect::{Collection, System, collect};
use compare::{MetricTable, Rules, Wanted, compare};
use metrics::wanted;
use protocol::{Grounds, Mismatch};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sidereal_core::component::nearest;
use sidereal_core::{Error, Result, Run};
use std::path::PathBuf;
use views::ablation::{Ablation, ablations};
use views::breakdown::{Breakdown, breakdowns};
use views::choice::{Choice, choice};
use views::cost::{Cost, costs};
use views::curves::{Curves, curves};
use views::examples::{UserExample, examples};
use views::responses::{Response, responses};
use views::users::{Curve, Distribution, Pair, distribution, pair, ranks};

/// Version of the report's JSON: raised when a key changes its meaning or goes.
pub const FORMAT: u32 = 2;

/// What to do with runs that must not be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mixed {
    /// Refuse them.
    #[default]
    Refuse,
    /// Show them beside each other, with no test between them, and say what differs.
    Show,
}

/// What a report is about.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReportOptions {
    /// Name of the system that all others are compared with; by default the first.
    pub base: Option<String>,
    /// Metrics in order, the first of them the one that views show; by default all, with the one
    /// that chose the checkpoint in front.
    pub metrics: Vec<String>,
    /// Other data or another protocol.
    pub mixed: Mixed,
    /// How systems are compared.
    pub rules: Rules,
}

/// A run of a system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunOf {
    /// The run folder.
    pub folder: PathBuf,
    /// Its seed.
    pub seed: u64,
}

/// A system and its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SystemRuns {
    /// Name in every table.
    pub name: String,
    /// Runs by seed.
    pub runs: Vec<RunOf>,
}

/// Everything that a report says. Its JSON has these keys and a format number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// Name of the base.
    pub base: String,
    /// The metric that views show.
    pub metric: String,
    /// Test, level, power and resamples.
    pub rules: RulesUsed,
    /// Test users of the base.
    pub users: Option<usize>,
    /// Protocol of the base.
    pub protocol: Value,
    /// Properties of data and protocol that differ; empty unless they were allowed to.
    pub mixed: Vec<Mismatch>,
    /// What was left out, and what to keep in mind.
    pub notes: Vec<String>,
    /// Systems in order.
    pub systems: Vec<SystemRuns>,
    /// One table a metric.
    pub metrics: Vec<MetricTable>,
    /// Validation beside test, for the systems that may be compared with the base.
    pub choice: Option<Choice>,
    /// Each system as a change of the base.
    pub ablations: Vec<Ablation>,
    /// The metric against options with a number.
    pub responses: Vec<Response>,
    /// What systems cost.
    pub costs: Vec<Cost>,
    /// Learning curves.
    pub curves: Vec<Curves>,
    /// Metrics by groups of users.
    pub breakdowns: Vec<Breakdown>,
    /// Share of targets among the first k items.
    pub ranks: Vec<Curve>,
    /// How values are distributed over users, for metrics that have a value a user.
    pub distributions: Vec<Distribution>,
    /// The other systems beside the base, user by user.
    pub pairs: Vec<Pair>,
    /// Recommendations for the same users.
    pub examples: Vec<UserExample>,
}

/// The rules as they were used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RulesUsed {
    /// Test over users.
    pub test: compare::Test,
    /// Largest p after Holm that counts.
    pub level: f64,
    /// Power of the detectable difference.
    pub power: f64,
    /// Draws of the bootstrap.
    pub resamples: u64,
}

impl Report {
    /// Reads and compares everything that `paths` hold: run folders and folders of sweeps.
    ///
    /// Errors: no finished run, damaged files, an unknown base or metric, other data or another
    /// protocol without [`Mixed::Show`], rules out of range.
    pub fn of(
        registry: &Registry,
        paths: &[PathBuf],
        options: &ReportOptions,
        run: &Run<'_>,
    ) -> Result<Self> {
        check(&options.rules)?;
        let Collection { systems, mut notes } = collect(paths, run)?;
        let base = base(&systems, options.base.as_deref())?;
        let grounds = Grounds::of(&systems);
        if let (false, Mixed::Refuse) = (grounds.mismatches.is_empty(), options.mixed) {
            let texts: Vec<String> = grounds.mismatches.iter().map(Mismatch::text).collect();
            return Err(Error::mismatch(format!(
                "the runs have no common ground, so their figures must not be compared; --mixed \
                 shows them beside each other all the same, without tests:\n  {}",
                texts.join("\n  ")
            )));
        }
        let metrics = wanted(registry, &systems, base, &options.metrics)?;
        let metric = metrics.first().map(|m| m.name.clone()).unwrap_or_default();
        let tables = compare(&systems, &grounds, base, &metrics, &options.rules, run)?;
        notes.extend(grounds.notes.iter().cloned());
        remarks(&systems, &metrics, &mut notes);
        let beside: Vec<usize> =
            (0..systems.len()).filter(|&s| grounds.comparable(s, base)).collect();
        let peers: Vec<&System> = beside.iter().map(|&s| &systems[s]).collect();
        let mut groups = Vec::new();
        for metric in &metrics {
            groups.extend(breakdowns(&peers, &metric.name)?);
        }
        let spread = |m: &Wanted| Distribution {
            metric: m.name.clone(),
            systems: distribution(&peers, &m.name),
        };
        Ok(Report {
            format: FORMAT,
            base: systems[base].name.clone(),
            rules: RulesUsed {
                test: options.rules.test,
                level: options.rules.level,
                power: options.rules.power,
                resamples: options.rules.resamples,
            },
            users: systems[base].per_user.as_ref().map(|u| u.users.len()),
            protocol: systems[base].runs[0].results.protocol.tree(),
            mixed: grounds.mismatches,
            notes,
            choice: metrics.first().and_then(|m| choice(&peers, &m.name, m.direction)),
            ablations: ablations(&systems, base),
            responses: responses(&peers, &metric),
            costs: costs(&systems),
            curves: curves(&systems, &metric),
            breakdowns: groups,
            ranks: ranks(&peers),
            distributions: metrics.iter().map(spread).filter(|d| !d.systems.is_empty()).collect(),
            pairs: beside
                .iter()
                .filter(|s| **s != base)
                .filter_map(|&s| pair(&systems[s], &systems[base], &metric))
                .collect(),
            examples: examples(&peers),
            systems: systems.iter().map(system_runs).collect(),
            metrics: tables,
            metric,
        })
    }
}

fn system_runs(system: &System) -> SystemRuns {
    let run = |r: &record::Record| RunOf { folder: r.folder.clone(), seed: r.seed };
    SystemRuns { name: system.name.clone(), runs: system.runs.iter().map(run).collect() }
}

fn check(rules: &Rules) -> Result<()> {
    let share = |key: &str, v: f64| match v > 0.0 && v < 1.0 {
        true => Ok(()),
        false => Err(Error::config(key, format!("{v} is out of range: above 0 and below 1"))),
    };
    share("level", rules.level)?;
    share("power", rules.power)?;
    match rules.resamples >= 100 {
        true => Ok(()),
        false => Err(Error::config(
            "resamples",
            format!("{} is out of range: 100 and up", rules.resamples),
        )),
    }
}

fn base(systems: &[System], name: Option<&str>) -> Result<usize> {
    let Some(name) = name else { return Ok(0) };
    let known = || systems.iter().map(|s| s.name.as_str());
    known().position(|n| n == name).ok_or_else(|| Error::UnknownName {
        kind: "system".into(),
        name: name.into(),
        known: known().map(str::to_string).collect(),
        nearest: nearest(name, known()),
    })
}

/// What a reader must know before believing the tables.
fn remarks(systems: &[System], metrics: &[Wanted], notes: &mut Vec<String>) {
    let single = systems.iter().filter(|s| s.runs.len() == 1).count();
    if single > 0 {
        notes.push(format!(
            "{single} of {} systems have one seed: what another training would give is not known",
            systems.len()
        ));
    }
    let stages = |s: &System| s.runs.iter().map(|r| r.stages.to_string()).collect::<Vec<_>>();
    let mut versions: Vec<String> = systems.iter().flat_map(stages).collect();
    versions.sort();
    versions.dedup();
    if versions.len() > 1 {
        let texts = versions.join(", ");
        notes.push(format!("the runs were made by different versions of the stages: {texts}"));
    }
    let unknown: Vec<&str> =
        metrics.iter().filter(|m| m.direction.is_none()).map(|m| m.name.as_str()).collect();
    if !unknown.is_empty() {
        notes.push(format!(
            "which way is better is not known for {}: no verdicts",
            unknown.join(", ")
        ));
    }
}
