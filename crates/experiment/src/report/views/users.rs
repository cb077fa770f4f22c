//! Users one by one: where the target stood, how values are distributed, and in whom two systems
//! differ most.

use super::super::collect::System;
use super::super::compare::{paired_values, user_values};
use super::super::log::Point;
use serde::{Deserialize, Serialize};

/// Users shown at each end.
const ENDS: usize = 8;
/// Steps of a distribution.
const STEPS: usize = 20;
/// Ranges of differences on each side of 0.
const SIDE: usize = 5;

/// A curve of a system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Name of the system.
    pub system: String,
    /// Its points.
    pub points: Vec<Point>,
}

/// How the values of a metric are distributed over users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Name with cut-off.
    pub metric: String,
    /// Share of users with at least a value.
    pub systems: Vec<Curve>,
}

/// Share of test cases whose target is among the first k items, for each k, over all seeds.
pub fn ranks(systems: &[&System]) -> Vec<Curve> {
    let tables = systems.iter().filter_map(|s| s.per_user.as_ref());
    let longest = tables.map(|u| u.found.len()).max().unwrap_or(0);
    let curve = |s: &&System| {
        let users = s.per_user.as_ref()?;
        let cases = users.users.len() as f64 * s.runs.len() as f64;
        let mut sum = 0;
        let point = |r: usize| {
            sum += users.found.get(r).copied().unwrap_or(0);
            Point { x: (r + 1) as f64, y: sum as f64 / cases }
        };
        let points: Vec<Point> = (0..longest).map(point).collect();
        (!points.is_empty()).then(|| Curve { system: s.name.clone(), points })
    };
    systems.iter().filter_map(curve).collect()
}

/// Share of users with at least a value: flat where users have either all or nothing.
pub fn distribution(systems: &[&System], metric: &str) -> Vec<Curve> {
    let values: Vec<(&System, Vec<f64>)> = systems
        .iter()
        .filter_map(|s| Some((*s, user_values(s, metric)?)))
        .map(|(s, v)| (s, v.iter().copied().filter(|v| v.is_finite()).collect()))
        .filter(|(_, v): &(&System, Vec<f64>)| !v.is_empty())
        .collect();
    let most = values.iter().flat_map(|(_, v)| v).copied().fold(0.0, f64::max);
    let least = values.iter().flat_map(|(_, v)| v).copied().fold(0.0, f64::min);
    if most <= least {
        return Vec::new();
    }
    let curve = |(system, mut values): (&System, Vec<f64>)| {
        values.sort_by(f64::total_cmp);
        let point = |i: usize| {
            let x = least + (most - least) * i as f64 / STEPS as f64;
            // Rounding must not push a value over the step that it stands on.
            let below = values.partition_point(|v| *v < x - 1e-9 * (most - least));
            Point { x, y: (values.len() - below) as f64 / values.len() as f64 }
        };
        Curve { system: system.name.clone(), points: (1..=STEPS).map(point).collect() }
    };
    values.into_iter().map(curve).collect()
}

/// A user in whom two systems differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserRow {
    /// Source id.
    pub user: String,
    /// Items of the history, where known.
    pub history: Option<u32>,
    /// Training interactions of the target, where known.
    pub popularity: Option<u32>,
    /// Rank of the target in the base's list (first seed); nothing where it is missed.
    pub base_rank: Option<u32>,
    /// Rank of the target in the system's list.
    pub rank: Option<u32>,
    /// System minus base, means over seeds.
    pub difference: f64,
}

/// Users of a range of differences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferenceBin {
    /// The range, as in `0.2 to 0.4`.
    pub range: String,
    /// Users in it.
    pub users: usize,
}

/// Two systems user by user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// Name of the system beside the base.
    pub system: String,
    /// Users by difference, falling ranges first below 0.
    pub bins: Vec<DifferenceBin>,
    /// Users that the system serves better, the largest difference first.
    pub higher: Vec<UserRow>,
    /// Users that the base serves better, the largest difference first.
    pub lower: Vec<UserRow>,
}

/// A system beside the base, user by user; nothing where users cannot be paired.
pub fn pair(system: &System, base: &System, metric: &str) -> Option<Pair> {
    let differences = paired_values(system, base, metric)?;
    let (a, b) = (system.per_user.as_ref()?, base.per_user.as_ref()?);
    if differences.len() != a.users.len() {
        // Values are missing for some users: which is which is not known here.
        return None;
    }
    let known = |rank: Option<&u32>| rank.copied().filter(|r| *r > 0);
    let row = |&u: &usize| UserRow {
        user: a.users[u].clone(),
        history: a.history.get(u).or(b.history.get(u)).copied(),
        popularity: a.popularity.get(u).or(b.popularity.get(u)).copied(),
        base_rank: known(b.ranks.get(u)),
        rank: known(a.ranks.get(u)),
        difference: differences[u],
    };
    let mut order: Vec<usize> = (0..differences.len()).collect();
    // Equal differences in the order of the file.
    order.sort_by(|x, y| differences[*y].total_cmp(&differences[*x]).then(x.cmp(y)));
    let higher: Vec<UserRow> =
        order.iter().take(ENDS).filter(|u| differences[**u] > 0.0).map(row).collect();
    order.sort_by(|x, y| differences[*x].total_cmp(&differences[*y]).then(x.cmp(y)));
    let lower = order.iter().take(ENDS).filter(|u| differences[**u] < 0.0).map(row).collect();
    Some(Pair { system: system.name.clone(), bins: bins(&differences), higher, lower })
}

/// Differences in equal ranges below and above 0, and 0 itself.
fn bins(differences: &[f64]) -> Vec<DifferenceBin> {
    let most = differences.iter().map(|d| d.abs()).fold(0.0, f64::max);
    if most == 0.0 {
        return vec![DifferenceBin { range: "0".into(), users: differences.len() }];
    }
    let mut counts = [0; 2 * SIDE + 1];
    for d in differences {
        let step = (d.abs() / most * SIDE as f64).ceil().min(SIDE as f64) as usize;
        counts[if *d < 0.0 { SIDE - step } else { SIDE + step }] += 1;
    }
    let edge = |i: usize| {
        let v = format!("{:.2}", most * i as f64 / SIDE as f64);
        v.trim_end_matches('0').trim_end_matches('.').to_string()
    };
    let name = |i: usize| match i {
        i if i + 1 == SIDE => format!("-{} to 0", edge(1)),
        i if i < SIDE => format!("-{} to -{}", edge(SIDE - i), edge(SIDE - i - 1)),
        SIDE => "0".into(),
        i => format!("{} to {}", edge(i - SIDE - 1), edge(i - SIDE)),
    };
    let bin = |(i, &users): (usize, &usize)| DifferenceBin { range: name(i), users };
    counts.iter().enumerate().map(bin).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::collect::{Collection, collect};
    use super::super::super::synthetic::{Fake, write};
    use super::*;
    use sidereal_core::Run;

    fn two(a: &[u8], b: &[u8]) -> Collection {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("a"), dir.path().join("b")];
        write(&paths[0], &Fake { hits: a.to_vec(), ..Fake::default() });
        write(&paths[1], &Fake { hits: b.to_vec(), width: 50, ..Fake::default() });
        collect(&paths, &Run::quiet(0)).unwrap()
    }

    #[test]
    fn users_in_whom_systems_differ() {
        let found = two(&[1, 0, 1, 0], &[0, 1, 1, 0]);
        let made = pair(&found.systems[1], &found.systems[0], "recall@10").unwrap();
        assert_eq!((made.higher.len(), made.lower.len()), (1, 1));
        let first = &made.higher[0];
        assert_eq!((first.user.as_str(), first.rank, first.base_rank), ("u1", Some(2), None));
        assert_eq!((first.history, first.popularity, first.difference), (Some(2), Some(1), 1.0));
        assert_eq!(made.lower[0].user, "u0");
        let counts: Vec<usize> = made.bins.iter().map(|b| b.users).collect();
        assert_eq!(counts, [1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1]);
        assert_eq!((&made.bins[0].range[..], &made.bins[10].range[..]), ("-1 to -0.8", "0.8 to 1"));
        let same = pair(&found.systems[0], &found.systems[0], "recall@10").unwrap();
        assert_eq!((same.bins.len(), same.bins[0].users), (1, 4));
    }

    #[test]
    fn shares_of_users() {
        let found = two(&[1, 1, 0, 0], &[0, 0, 0, 0]);
        let systems: Vec<&System> = found.systems.iter().collect();
        let ranks = ranks(&systems);
        let points: Vec<(f64, f64)> = ranks[0].points.iter().map(|p| (p.x, p.y)).collect();
        assert_eq!(points, [(1.0, 0.25), (2.0, 0.5)]);
        let shares = distribution(&systems, "recall@10");
        assert!(shares[0].points.iter().all(|p| p.y == 0.5));
        assert!(shares[1].points.iter().all(|p| p.y == 0.0));
        assert!(distribution(&systems[1..], "recall@10").is_empty());
    }
}
