//! Recall by group of items, as head, middle and tail, or cold and warm.

use crate::breakdown::GroupMean;
use crate::form::{Counter, Form, Reads};
use crate::{CutOff, Judged, Panel, Truth};
use sidereal_core::{Error, RankedLists, Result};

/// Recall by group of *items*: hits in the group within `k` over targets in the group, over all
/// requests, so that requests with targets of several groups count in each. `group_of` has one group
/// an item, below the number of `names`. `requests` of the result counts targets.
pub fn recall_by_item_group(
    lists: &RankedLists,
    truth: &Truth,
    k: usize,
    group_of: &[u32],
    names: &[&str],
) -> Result<Vec<GroupMean>> {
    if let Some(item) = group_of.iter().position(|&g| g as usize >= names.len()) {
        return Err(Error::mismatch(format!(
            "item {item} is in group {}, but there are {}",
            group_of[item],
            names.len()
        )));
    }
    let k = CutOff { k }.checked("recall")?;
    let counter = ByGroup { group_of, groups: names.len() };
    let figures = (0..names.len()).map(|g| {
        let figure = move |c: &[u64]| c[2 * g] as f64 / c[2 * g + 1] as f64;
        Form::counts("item group", k, counter, figure)
    });
    let targets = (0..names.len())
        .map(|g| Form::counts("item group", k, counter, move |c| c[2 * g + 1] as f64));
    let panel = Panel::of(figures.chain(targets).collect(), group_of.len());
    let scores = panel.evaluate(lists, truth, 1)?;
    let (means, targets) = scores.split_at(names.len());
    Ok(names
        .iter()
        .zip(means.iter().zip(targets))
        .map(|(name, (mean, targets))| GroupMean {
            group: name.to_string(),
            requests: targets.value as usize,
            mean: mean.value.is_finite().then_some(mean.value),
        })
        .collect())
}

/// Hits and targets of each group.
#[derive(Clone, Copy)]
struct ByGroup<'a> {
    group_of: &'a [u32],
    groups: usize,
}

impl Counter for ByGroup<'_> {
    fn counters(&self) -> usize {
        2 * self.groups
    }

    fn count(&self, judged: &Judged<'_>, k: usize, counts: &mut [u64]) {
        for hit in &judged.hits[..judged.hits_within(k)] {
            counts[2 * self.group_of[hit.index()] as usize] += 1;
        }
        for target in judged.targets {
            counts[2 * self.group_of[target.index()] as usize + 1] += 1;
        }
    }

    fn reads(&self) -> Reads {
        Reads::Ranks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breakdown::macro_mean;
    use sidereal_core::ItemId;

    #[test]
    fn items_of_several_groups() {
        let mut lists = RankedLists::new();
        lists.push([0, 1, 2].map(ItemId));
        lists.push([3].map(ItemId));
        let mut truth = Truth::new();
        truth.push(&[0, 3].map(ItemId)).unwrap();
        truth.push(&[3, 1].map(ItemId)).unwrap();
        let of = |k| recall_by_item_group(&lists, &truth, k, &[0, 0, 1, 1], &["a", "b"]).unwrap();
        let figures: Vec<_> = of(2).iter().map(|g| (g.requests, g.mean)).collect();
        assert_eq!(figures, [(2, Some(0.5)), (2, Some(0.5))]);
        assert_eq!(macro_mean(&of(2)), Some(0.5));
        assert!(recall_by_item_group(&lists, &truth, 0, &[0, 0, 1, 1], &["a", "b"]).is_err());
        assert!(recall_by_item_group(&lists, &truth, 2, &[0, 0, 1, 2], &["a", "b"]).is_err());
        let none = GroupMean { group: String::new(), requests: 0, mean: None };
        assert_eq!(macro_mean(&[none]), None);
    }
}
