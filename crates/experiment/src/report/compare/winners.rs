//! The best system of each metric, where it is better than every other one.

use super::pairing::{Ranges, paired_values, seed_ranges};
use super::{MetricTable, Rules, statistics};
use crate::report::collect::System;
use crate::report::protocol::Grounds;
use sidereal_core::{Result, Run};

/// A comparison of a metric's best system with another one.
struct Duel {
    table: usize,
    p: f64,
    seeds: Ranges,
}

/// The best system of each metric wins when it is better than every other one by the same rule.
pub(super) fn winners(
    tables: &mut [MetricTable],
    systems: &[System],
    grounds: &Grounds,
    rules: &Rules,
    run: &Run<'_>,
) -> Result<()> {
    let mut duels: Vec<Duel> = Vec::new();
    let mut best: Vec<Option<usize>> = Vec::new();
    for (t, table) in tables.iter().enumerate() {
        let leader = leader(table);
        best.push(None);
        let Some(leader) = leader else { continue };
        let name = &table.metric;
        let rivals: Vec<usize> =
            (0..systems.len()).filter(|&s| s != leader && table.rows[s].mean.is_some()).collect();
        if rivals.is_empty() || rivals.iter().any(|&s| !grounds.comparable(s, leader)) {
            continue;
        }
        let duel = |s: usize| -> Result<Option<Duel>> {
            let values = paired_values(&systems[leader], &systems[s], name).unwrap_or_default();
            let Some(paired) = statistics::pairs(values)? else { return Ok(None) };
            let seeds = seed_ranges(&systems[leader].values(name), &systems[s].values(name));
            let p = statistics::p_value(&paired, rules.test, run)?;
            Ok(Some(Duel { table: t, p, seeds }))
        };
        let found: Option<Vec<Duel>> =
            rivals.iter().map(|&s| duel(s)).collect::<Result<Vec<_>>>()?.into_iter().collect();
        if let Some(found) = found {
            best[t] = Some(leader);
            duels.extend(found);
        }
    }
    let p: Vec<f64> = duels.iter().map(|d| d.p).collect();
    for (duel, p) in duels.iter().zip(statistics::corrected(&p)?) {
        if p >= rules.level || duel.seeds != Ranges::Apart {
            best[duel.table] = None;
        }
    }
    for (table, best) in tables.iter_mut().zip(best) {
        table.winner = best.map(|s| systems[s].name.clone());
    }
    Ok(())
}

/// The system with the best mean.
fn leader(table: &MetricTable) -> Option<usize> {
    let direction = table.direction?;
    let means = table.rows.iter().enumerate().filter_map(|(s, r)| Some((s, r.mean?)));
    means.reduce(|a, b| if direction.improves(b.1, a.1) { b } else { a }).map(|(s, _)| s)
}
