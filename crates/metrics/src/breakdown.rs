//! Means of a per-request metric by group of requests, as in Recall on rarely seen items.

use crate::Truth;
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, Result};

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
        if edges.is_empty() || edges.windows(2).any(|w| w[0] >= w[1]) {
            return Err(Error::mismatch(format!(
                "popularity edges {edges:?} must rise and be at least one, as in [0, 5]"
            )));
        }
        let mut names = Vec::with_capacity(edges.len() + 1);
        let mut low = 0u64;
        for &edge in edges {
            names.push(if low == u64::from(edge) {
                low.to_string()
            } else {
                format!("{low}-{edge}")
            });
            low = u64::from(edge) + 1;
        }
        names.push(format!("{low}+"));
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

    /// Names of the groups.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Group of each request.
    pub fn of(&self) -> &[u32] {
        &self.of
    }
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
