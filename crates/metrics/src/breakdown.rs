//! Means of a per-request metric by group of requests, as in Recall on rarely seen items.

use crate::Truth;
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, Result, Sequences};

/// A group for each of R requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    names: Vec<String>,
    of: Vec<u32>,
}

/// Mean of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupMean {
    /// The group's name, as in `1-5`.
    pub group: String,
    /// Requests in the group.
    pub requests: usize,
    /// Mean over them; nothing for an empty group.
    pub mean: Option<f64>,
}

impl Groups {
    /// Names of groups and the group of each request. Fails when a request names no group.
    pub fn new(names: Vec<String>, of: Vec<u32>) -> Result<Self> {
        if let Some(r) = of.iter().position(|&g| g as usize >= names.len()) {
            return Err(Error::mismatch(format!(
                "request {r} is in group {}, but there are {}",
                of[r],
                names.len()
            )));
        }
        Ok(Groups { names, of })
    }

    /// Groups by training interactions of the target: with `edges = [0, 5]` the groups are `0`
    /// (never seen), `1-5` and `6+`. A request with several targets belongs to its rarest one.
    /// `popularity` holds one count an item; `edges` must rise.
    pub fn by_popularity(truth: &Truth, popularity: &[u32], edges: &[u32]) -> Result<Self> {
        let names = edge_names("popularity", edges)?;
        let mut of = Vec::with_capacity(truth.len());
        for r in 0..truth.len() {
            let mut rarest = u32::MAX;
            for item in truth.get(r) {
                let count = popularity.get(item.index()).ok_or_else(|| {
                    Error::mismatch(format!(
                        "target {} of request {r} has no popularity: {} counts were given",
                        item.0,
                        popularity.len()
                    ))
                })?;
                rarest = rarest.min(*count);
            }
            of.push(edges.partition_point(|&e| e < rarest) as u32);
        }
        Ok(Groups { names, of })
    }

    /// Groups by activity of the users: the length of the history of each request, with the edges
    /// of [`Groups::by_popularity`].
    pub fn by_activity(histories: &Sequences, edges: &[u32]) -> Result<Self> {
        let names = edge_names("activity", edges)?;
        let of = |w: &[u64]| edges.partition_point(|&e| u64::from(e) < w[1] - w[0]) as u32;
        Ok(Groups { names, of: histories.offsets().windows(2).map(of).collect() })
    }

    /// Groups by popularity class of the target, as in `head`, `mid` and `tail`: items sorted by
    /// popularity (ties to the lower item) are cut where they have the `shares` of all training
    /// interactions, which must rise within 0 to 1; the item that crosses a cut belongs to the group
    /// before it. One name more than shares. A request with several targets belongs to its rarest
    /// one.
    pub fn by_share(
        truth: &Truth,
        popularity: &[u32],
        shares: &[f64],
        names: &[&str],
    ) -> Result<Self> {
        let class = share_classes(popularity, shares)?;
        if names.len() != shares.len() + 1 {
            return Err(Error::mismatch(format!(
                "{} names for {} groups of popularity",
                names.len(),
                shares.len() + 1
            )));
        }
        let mut of = Vec::with_capacity(truth.len());
        for r in 0..truth.len() {
            let mut classes = truth.get(r).iter().map(|t| class.get(t.index()));
            let rarest = classes.try_fold(0, |rarest, class| Some(rarest.max(*class?)));
            of.push(rarest.ok_or_else(|| no_popularity(r, popularity.len()))?);
        }
        Ok(Groups { names: names.iter().map(|n| n.to_string()).collect(), of })
    }

    /// Names of the groups.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Group of each request.
    pub fn of(&self) -> &[u32] {
        &self.of
    }
}

fn edge_names(what: &str, edges: &[u32]) -> Result<Vec<String>> {
    if edges.is_empty() || edges.windows(2).any(|w| w[0] >= w[1]) {
        return Err(Error::mismatch(format!(
            "{what} edges {edges:?} must rise and be at least one, as in [0, 5]"
        )));
    }
    let mut names = Vec::with_capacity(edges.len() + 1);
    let mut low = 0u64;
    for &edge in edges {
        names.push(if low == u64::from(edge) { low.to_string() } else { format!("{low}-{edge}") });
        low = u64::from(edge) + 1;
    }
    names.push(format!("{low}+"));
    Ok(names)
}

/// The group of each item: the number of cuts that lie at or before its start.
fn share_classes(popularity: &[u32], shares: &[f64]) -> Result<Vec<u32>> {
    let inside = shares.iter().all(|s| *s > 0.0 && *s < 1.0);
    if !inside || shares.windows(2).any(|w| w[0] >= w[1]) {
        return Err(Error::mismatch(format!(
            "shares {shares:?} must rise within 0 to 1, as in [0.5, 0.8]"
        )));
    }
    let mut order: Vec<u32> = (0..popularity.len() as u32).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(popularity[i as usize]));
    let total = popularity.iter().map(|&c| u64::from(c)).sum::<u64>() as f64;
    let (mut before, mut class) = (0u64, vec![0; popularity.len()]);
    for item in order {
        let passed = shares.partition_point(|s| s * total <= before as f64);
        class[item as usize] = passed as u32;
        before += u64::from(popularity[item as usize]);
    }
    Ok(class)
}

fn no_popularity(request: usize, counts: usize) -> Error {
    Error::mismatch(format!(
        "a target of request {request} has no popularity: {counts} counts were given"
    ))
}

/// Mean of the means of groups that are not empty: every group one vote (macro), where the mean over
/// requests gives every request one (micro). None where all are empty.
pub fn macro_mean(groups: &[GroupMean]) -> Option<f64> {
    let means: Vec<f64> = groups.iter().filter_map(|g| g.mean).collect();
    (!means.is_empty()).then(|| means.iter().sum::<f64>() / means.len() as f64)
}

/// Means of per-request values by group, in the order of the groups.
pub fn breakdown(per_user: &[f64], groups: &Groups) -> Result<Vec<GroupMean>> {
    if per_user.len() != groups.of.len() {
        return Err(Error::mismatch(format!(
            "{} values for {} requests in groups",
            per_user.len(),
            groups.of.len()
        )));
    }
    let mut sums = vec![(0usize, 0.0f64); groups.names.len()];
    for (&g, value) in groups.of.iter().zip(per_user) {
        let (n, sum) = &mut sums[g as usize];
        *n += 1;
        *sum += value;
    }
    Ok(groups
        .names
        .iter()
        .zip(sums)
        .map(|(name, (n, sum))| GroupMean {
            group: name.clone(),
            requests: n,
            mean: (n > 0).then(|| sum / n as f64),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::ItemId;

    #[test]
    fn recall_on_cold_few_and_many() {
        let mut truth = Truth::new();
        for targets in [&[0u32][..], &[1], &[2], &[3], &[3, 1], &[4]] {
            truth.push(&targets.iter().copied().map(ItemId).collect::<Vec<_>>()).unwrap();
        }
        let groups = Groups::by_popularity(&truth, &[0, 1, 5, 6, 9], &[0, 5]).unwrap();
        assert_eq!(groups.names(), ["0", "1-5", "6+"]);
        assert_eq!(groups.of(), [0, 1, 1, 2, 1, 2]);
        let means = breakdown(&[1.0, 0.0, 1.0, 1.0, 0.5, 0.0], &groups).unwrap();
        let figures: Vec<_> = means.iter().map(|m| (m.requests, m.mean)).collect();
        assert_eq!(figures, [(1, Some(1.0)), (3, Some(0.5)), (2, Some(0.5))]);
    }

    #[test]
    fn head_mid_and_tail() {
        let truth = Truth::single(&[0, 1, 2, 3, 4].map(ItemId));
        // Sorted 10, 6, 2, 1, 1 of 20: the head ends with the first, the middle with the second.
        let names = ["head", "mid", "tail"];
        let groups = Groups::by_share(&truth, &[2, 10, 6, 1, 1], &[0.5, 0.75], &names).unwrap();
        assert_eq!(groups.of(), [2, 0, 1, 2, 2]);
        assert!(Groups::by_share(&truth, &[1; 5], &[0.9, 0.5], &names).is_err());
        assert!(Groups::by_share(&truth, &[1; 5], &[0.5], &names).is_err());
        assert!(Groups::by_share(&truth, &[1; 3], &[0.5, 0.8], &names).is_err());
        let mut histories = Sequences::default();
        [0usize, 2, 5].iter().for_each(|&n| histories.push(&vec![ItemId(0); n]));
        let users = Groups::by_activity(&histories, &[0, 4]).unwrap();
        assert_eq!((users.of(), users.names()[2].as_str()), (&[0, 1, 2][..], "5+"));
        assert!(Groups::by_activity(&histories, &[]).is_err());
    }

    #[test]
    fn empty_groups_have_no_mean_and_misfits_are_errors() {
        let truth = Truth::single(&[ItemId(0)]);
        let groups = Groups::by_popularity(&truth, &[7], &[2, 5]).unwrap();
        assert_eq!(groups.names(), ["0-2", "3-5", "6+"]);
        assert_eq!(breakdown(&[1.0], &groups).unwrap()[0].mean, None);
        assert!(breakdown(&[], &groups).is_err());
        assert!(Groups::by_popularity(&truth, &[7], &[5, 5]).is_err());
        assert!(Groups::by_popularity(&truth, &[7], &[]).is_err());
        assert!(Groups::by_popularity(&truth, &[], &[0]).is_err());
        assert!(Groups::new(vec!["a".into()], vec![0, 1]).is_err());
    }
}
