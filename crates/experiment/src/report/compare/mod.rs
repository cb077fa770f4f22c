//! Systems against a base, metric by metric.
//!
//! Two kinds of chance are kept apart. *Users*: per-user values, averaged over the seeds of a
//! system, are resampled (intervals) and paired with those of the base (tests); both say what would
//! happen with other users and the same trained models. *Seeds*: the spread over seeds, and whether
//! the seeds of two systems overlap, say what would happen with another training. A verdict needs
//! both: p after Holm below the level, and no seed of one system between the seeds of the other. With
//! one seed of either the second cannot be known: what users show holds for those trained models
//! only, has a verdict of its own, and makes no winner.
//!
//! Families of Holm's correction: all systems against the base over all metrics shown; and, for the
//! winner, the best system against each other one over all metrics shown.
//!
//! Cost: resampling, `resamples x users` draws for every system, metric and comparison.

mod pairing;
mod statistics;
mod winners;

pub use pairing::{Ranges, paired_values, seed_ranges, user_values};
pub use statistics::Test;

use super::collect::System;
use super::protocol::Grounds;
use serde::{Deserialize, Serialize};
use sidereal_core::{Event, Result, Run};
use sidereal_metrics::Direction;
pub use sidereal_metrics::statistics::Interval;
use sidereal_metrics::statistics::Pairs;

/// How systems are compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Test over users.
    pub test: Test,
    /// Largest p after Holm that counts, in (0, 1).
    pub level: f64,
    /// Chance to find a difference of the size that is called detectable, in (0, 1).
    pub power: f64,
    /// Draws of the bootstrap, 100 and up.
    pub resamples: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { test: Test::default(), level: 0.05, power: 0.8, resamples: 1000 }
    }
}

/// A metric of one run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Seeded {
    /// The run's seed.
    pub seed: u64,
    /// Its value.
    pub value: f64,
}

/// What can be said of a system beside the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is the base.
    Base,
    /// Better than the base.
    Better,
    /// Worse than the base.
    Worse,
    /// Better than the base on these users; with one seed of either, nothing is known of other
    /// trainings.
    BetterOnUsers,
    /// Worse than the base in the same sense.
    WorseOnUsers,
    /// Neither is shown.
    Open,
    /// No test is possible: no values a user, other users, or another protocol.
    Untested,
}

/// A system minus the base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Of the means.
    pub value: f64,
    /// As a share of the base's mean, where that is not 0.
    pub relative: Option<f64>,
    /// 95 % interval over users.
    pub interval: Option<Interval>,
    /// Two-sided p over users.
    pub p: Option<f64>,
    /// The same after Holm.
    pub p_holm: Option<f64>,
    /// Cohen's d of the paired differences.
    pub effect: Option<f64>,
    /// Smallest difference that as many users show with the rules' level and power.
    pub detectable: Option<f64>,
    /// Users with a higher, a lower and the same value.
    pub users: Option<Users>,
    /// The seeds of one beside those of the other.
    pub seeds: Ranges,
}

/// Users by the sign of their difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// Above the base.
    pub higher: usize,
    /// Below the base.
    pub lower: usize,
    /// As the base.
    pub same: usize,
}

/// A system's values of one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the system.
    pub system: String,
    /// Value of each seed.
    pub seeds: Vec<Seeded>,
    /// Mean over seeds.
    pub mean: Option<f64>,
    /// Standard deviation over seeds, from two seeds.
    pub spread: Option<f64>,
    /// 95 % interval of the mean over users.
    pub interval: Option<Interval>,
    /// Beside the base; nothing for the base.
    pub difference: Option<Difference>,
    /// What that shows.
    pub verdict: Verdict,
}

/// All systems on one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricTable {
    /// Name with cut-off.
    pub metric: String,
    /// Which way is better, where the metric is known.
    pub direction: Option<Direction>,
    /// Rows in the order of the systems.
    pub rows: Vec<Row>,
    /// The system that is shown to be better than every other one, if any.
    pub winner: Option<String>,
}

/// A metric to compare.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Name with cut-off.
    pub name: String,
    /// Which way is better, where the metric is known.
    pub direction: Option<Direction>,
}

/// Mean, and standard deviation where there are several.
fn moments(values: &[f64]) -> (Option<f64>, Option<f64>) {
    let n = values.len() as f64;
    let mean = (!values.is_empty()).then(|| values.iter().sum::<f64>() / n);
    let squares = |m: f64| values.iter().map(|v| (v - m).powi(2)).sum::<f64>();
    let spread = mean.filter(|_| values.len() > 1).map(|m| (squares(m) / (n - 1.0)).sqrt());
    (mean, spread)
}

/// Compares all systems with the one numbered `base` on every metric.
///
/// Errors: a stop, resamples that cannot be drawn.
pub fn compare(
    systems: &[System],
    grounds: &Grounds,
    base: usize,
    metrics: &[Wanted],
    rules: &Rules,
    run: &Run<'_>,
) -> Result<Vec<MetricTable>> {
    let task = "compare";
    let total = (metrics.len() * systems.len()) as u64;
    run.emit(Event::Started { task, total, unit: "comparisons" });
    let mut tables = Vec::new();
    for (m, metric) in metrics.iter().enumerate() {
        let mut rows = Vec::new();
        for (s, system) in systems.iter().enumerate() {
            run.check()?;
            let comparable = grounds.comparable(s, base);
            rows.push(row(system, &systems[base], s == base, comparable, metric, rules, run)?);
            let done = (m * systems.len() + s + 1) as u64;
            run.emit(Event::Advanced { task, done, numbers: &[] });
        }
        let (metric, direction) = (metric.name.clone(), metric.direction);
        tables.push(MetricTable { metric, direction, rows, winner: None });
    }
    correct(&mut tables, rules)?;
    winners::winners(&mut tables, systems, grounds, rules, run)?;
    run.emit(Event::Finished { task });
    Ok(tables)
}

fn row(
    system: &System,
    base: &System,
    is_base: bool,
    comparable: bool,
    metric: &Wanted,
    rules: &Rules,
    run: &Run<'_>,
) -> Result<Row> {
    let name = &metric.name;
    let seeds: Vec<Seeded> = system
        .runs
        .iter()
        .filter_map(|r| Some(Seeded { seed: r.seed, value: r.metric(name)? }))
        .collect();
    let (mean, spread) = moments(&system.values(name));
    let values = user_values(system, name).unwrap_or_default();
    let values = statistics::pairs(values.iter().copied().filter(|v| v.is_finite()).collect())?;
    let interval = values.map(|v| statistics::interval(&v, rules, run)).transpose()?;
    let mut difference = None;
    if let (false, true, Some(mean), Some(of)) =
        (is_base, comparable, mean, moments(&base.values(name)).0)
    {
        let paired = statistics::pairs(paired_values(system, base, name).unwrap_or_default())?;
        let paired = paired.as_ref();
        let users = |p: &Pairs| Users {
            higher: p.differences().iter().filter(|d| **d > 0.0).count(),
            lower: p.differences().iter().filter(|d| **d < 0.0).count(),
            same: p.differences().iter().filter(|d| **d == 0.0).count(),
        };
        difference = Some(Difference {
            value: mean - of,
            relative: (of != 0.0).then(|| (mean - of) / of.abs()),
            interval: paired.map(|p| statistics::interval(p, rules, run)).transpose()?,
            p: paired.map(|p| statistics::p_value(p, rules.test, run)).transpose()?,
            p_holm: None,
            effect: paired.and_then(statistics::effect),
            detectable: paired.map(|p| statistics::smallest(p, rules)).transpose()?,
            users: paired.map(users),
            seeds: seed_ranges(&system.values(name), &base.values(name)),
        });
    }
    let verdict = if is_base { Verdict::Base } else { Verdict::Untested };
    Ok(Row { system: system.name.clone(), seeds, mean, spread, interval, difference, verdict })
}

/// Holm over all comparisons with the base, and what they show.
fn correct(tables: &mut [MetricTable], rules: &Rules) -> Result<()> {
    let mut all: Vec<&mut Difference> = tables
        .iter_mut()
        .flat_map(|t| &mut t.rows)
        .filter_map(|r| r.difference.as_mut().filter(|d| d.p.is_some()))
        .collect();
    let p: Vec<f64> = all.iter().filter_map(|d| d.p).collect();
    for (difference, p) in all.iter_mut().zip(statistics::corrected(&p)?) {
        difference.p_holm = Some(p);
    }
    for table in tables {
        let Some(direction) = table.direction else { continue };
        for row in &mut table.rows {
            let Some(difference) = &row.difference else { continue };
            let Some(p) = difference.p_holm else { continue };
            let better = direction.improves(difference.value, 0.0);
            row.verdict = match (difference.seeds, better) {
                _ if p >= rules.level => Verdict::Open,
                (Ranges::Overlap, _) => Verdict::Open,
                (Ranges::Apart, true) => Verdict::Better,
                (Ranges::Apart, false) => Verdict::Worse,
                (Ranges::Unknown, true) => Verdict::BetterOnUsers,
                (Ranges::Unknown, false) => Verdict::WorseOnUsers,
            };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
