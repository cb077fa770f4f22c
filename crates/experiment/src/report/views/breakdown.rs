//! A metric by group of users: popularity of the target, length of the history.
//!
//! Runs that are too old for these columns of `per_user.csv` still have the two groups of
//! popularity that `metrics.json` stores.

use super::super::collect::System;
use super::super::compare::user_values;
use super::super::per_user::PerUser;
use serde::{Deserialize, Serialize};
use sidereal_core::Result;
use sidereal_metrics::breakdown::{Groups, breakdown};
use sidereal_metrics::statistics::{Interval, Pairs, mean_interval};

/// Upper ends of the groups by training interactions of the target.
const POPULARITY: [u32; 6] = [0, 5, 20, 50, 100, 500];
/// Upper ends of the groups by items of the history.
const HISTORY: [u32; 6] = [2, 5, 10, 20, 50, 100];
/// Share of other samples of users whose interval holds the mean.
const LEVEL: f64 = 0.95;

/// What groups are made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// Training interactions of the rarest target.
    Popularity,
    /// Items of the history before the target.
    History,
}

/// A group of users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its range, as in `6-20`.
    pub range: String,
    /// Users in it.
    pub users: usize,
}

/// Means of one system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupMeans {
    /// Name of the system.
    pub system: String,
    /// One mean a group; nothing for a group without users.
    pub means: Vec<Option<f64>>,
    /// 95 % interval over users (Student) of each mean; nothing for groups with fewer than two
    /// users, or where no value a user is stored.
    pub intervals: Vec<Option<Interval>>,
}

/// A metric by groups of users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Breakdown {
    /// Name with cut-off.
    pub metric: String,
    /// What makes the groups.
    pub by: By,
    /// The groups, rising; those without users are left out.
    pub groups: Vec<Group>,
    /// Means over seeds and users.
    pub systems: Vec<GroupMeans>,
}

/// All breakdowns of a metric over systems of one protocol. Empty where no run has the columns.
pub fn breakdowns(systems: &[&System], metric: &str) -> Result<Vec<Breakdown>> {
    let mut out = Vec::new();
    for by in [By::Popularity, By::History] {
        let made = match by_columns(systems, metric, by)? {
            None if by == By::Popularity => stored(systems, metric),
            made => made,
        };
        out.extend(made);
    }
    Ok(out)
}

fn column(users: &PerUser, by: By) -> &[u32] {
    match by {
        By::Popularity => &users.popularity,
        By::History => &users.history,
    }
}

fn by_columns(systems: &[&System], metric: &str, by: By) -> Result<Option<Breakdown>> {
    // The first system that has the column: all have the same users.
    let users = systems.iter().filter_map(|s| s.per_user.as_ref());
    let Some(first) = users.clone().find(|u| !column(u, by).is_empty()) else { return Ok(None) };
    let (edges, from) = match by {
        By::Popularity => (POPULARITY, 0),
        By::History => (HISTORY, 1),
    };
    let of = column(first, by).iter().map(|v| edges.partition_point(|e| e < v) as u32).collect();
    let groups = Groups::new(ranges(&edges, from), of)?;
    let mut out = Breakdown { metric: metric.into(), by, groups: Vec::new(), systems: Vec::new() };
    let mut sizes: Vec<usize> = Vec::new();
    for system in systems {
        let same = system.per_user.as_ref().is_some_and(|u| u.users == first.users);
        let Some(values) = user_values(system, metric).filter(|_| same) else { continue };
        let means = breakdown(values, &groups)?;
        sizes = means.iter().map(|m| m.requests).collect();
        let kept = || (0..means.len()).filter(|&g| means[g].requests > 0);
        let intervals = kept().map(|g| interval(values, &groups, g)).collect::<Result<_>>()?;
        let means = kept().map(|g| means[g].mean).collect();
        out.systems.push(GroupMeans { system: system.name.clone(), means, intervals });
    }
    let named = ranges(&edges, from).into_iter().zip(sizes).filter(|(_, users)| *users > 0);
    out.groups = named.map(|(range, users)| Group { range, users }).collect();
    Ok((!out.systems.is_empty()).then_some(out))
}

/// Of the mean of one group.
fn interval(values: &[f64], groups: &Groups, group: usize) -> Result<Option<Interval>> {
    let inside =
        values.iter().zip(groups.of()).filter(|(v, g)| **g as usize == group && v.is_finite());
    let inside: Vec<f64> = inside.map(|(v, _)| *v).collect();
    match inside.len() {
        0 | 1 => Ok(None),
        _ => mean_interval(&Pairs::of_differences(inside)?, LEVEL).map(Some),
    }
}

/// Names of groups: as in `0`, `1-5`, `6+`.
fn ranges(edges: &[u32], from: u32) -> Vec<String> {
    let mut low = from;
    let mut out = Vec::new();
    for &edge in edges {
        out.push(if low == edge { low.to_string() } else { format!("{low}-{edge}") });
        low = edge + 1;
    }
    out.push(format!("{low}+"));
    out
}

/// The groups that `metrics.json` has: means over the seeds.
fn stored(systems: &[&System], metric: &str) -> Option<Breakdown> {
    let groups = |s: &System| s.runs.first().and_then(|r| r.results.groups.get("test").cloned());
    let first = systems.iter().find_map(|s| groups(s))?;
    let mut out = Breakdown {
        metric: metric.into(),
        by: By::Popularity,
        groups: Vec::new(),
        systems: Vec::new(),
    };
    let kept: Vec<usize> = (0..first.len()).filter(|&g| first[g].cases > 0).collect();
    for &g in &kept {
        out.groups.push(Group { range: first[g].items.clone(), users: first[g].cases as usize });
    }
    for system in systems {
        let mean = |&g: &usize| {
            let of = |r: &super::super::record::Record| {
                let group =
                    r.results.groups.get("test")?.iter().find(|x| x.items == first[g].items)?;
                group.values.get(metric).copied()
            };
            let values: Vec<f64> = system.runs.iter().filter_map(of).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let means: Vec<Option<f64>> = kept.iter().map(mean).collect();
        if means.iter().any(Option::is_some) {
            let intervals = vec![None; means.len()];
            out.systems.push(GroupMeans { system: system.name.clone(), means, intervals });
        }
    }
    (!out.systems.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::super::super::collect::collect;
    use super::super::super::synthetic::{Fake, write};
    use super::*;
    use sidereal_core::Run;

    #[test]
    fn groups_by_history_and_popularity() {
        let dir = tempfile::tempdir().unwrap();
        // Histories 1, 2, 3, ..; popularity 0, 1, .., 6, 0: two users were never seen.
        let fake = Fake { hits: vec![1, 0, 1, 1, 0, 0, 1, 0], ..Fake::default() };
        write(&dir.path().join("a"), &fake);
        let found = collect(&[dir.path().join("a")], &Run::quiet(0)).unwrap();
        let systems: Vec<&System> = found.systems.iter().collect();
        let made = breakdowns(&systems, "recall@10").unwrap();
        let shape = |b: &Breakdown| -> Vec<(String, usize)> {
            b.groups.iter().map(|g| (g.range.clone(), g.users)).collect()
        };
        let at = |r: &str, n| (r.to_string(), n);
        assert_eq!(shape(&made[0]), [at("0", 2), at("1-5", 5), at("6-20", 1)]);
        assert_eq!(made[0].systems[0].means, [Some(0.5), Some(0.4), Some(1.0)]);
        let intervals = &made[0].systems[0].intervals;
        // 1 and 0: 0.5 with t = 12.7062 at one degree of freedom times 0.5; a single user has none.
        assert!((intervals[0].unwrap().high - 6.8531).abs() < 1e-3, "{intervals:?}");
        assert!(intervals[1].unwrap().low < 0.4 && intervals[2].is_none());
        assert_eq!(shape(&made[1]), [at("1-2", 2), at("3-5", 3), at("6-10", 3)]);
        assert_eq!(made[1].systems[0].means, [Some(0.5), Some(2.0 / 3.0), Some(1.0 / 3.0)]);
        assert!(breakdowns(&systems, "coverage@10").unwrap().is_empty());
        assert_eq!(ranges(&POPULARITY, 0)[..2], ["0", "1-5"]);
    }
}
