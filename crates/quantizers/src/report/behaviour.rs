//! Do items that follow each other share codes more often than chance has it?
//!
//! Over all neighbours (a, b), a != b, in the histories: `share[l]`, how many have at least l codes
//! in common. By chance, with the same numbers of every item before and after and still a != b:
//! `(sum_g out_g in_g - sum_i out_i in_i) / (n^2 - sum_i out_i in_i)` over prefixes g and items i.
//! Pointwise mutual information of "next to each other" and "same prefix": `log2(share / chance)`.
//!
//! Exact. Cost `O(T L)` for T interactions.

use super::prefixes::{NO_GROUP, Prefixes};
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, ItemId, Result, Sequences};

/// Shared prefixes of neighbours in histories.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BehaviourReport {
    /// Neighbours: two different items with IDs, one after the other.
    pub pairs: u64,
    /// One entry a prefix length, from 1.
    pub lengths: Vec<BehaviourLevel>,
}

/// Neighbours that share a prefix of one length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BehaviourLevel {
    /// Shared codes, at least.
    pub length: usize,
    /// Share of neighbours.
    pub share: f64,
    /// The same share if the second item did not depend on the first.
    pub chance: f64,
    /// `log2(share / chance)`; none where either is 0.
    pub pmi_bits: Option<f64>,
}

/// Neighbours of the histories: both with an ID, and different.
pub(crate) fn neighbours<'a>(
    prefixes: &'a Prefixes,
    train: &'a Sequences,
) -> impl Iterator<Item = (usize, usize)> + 'a {
    let known = prefixes.labels(0);
    let pair = |w: &[ItemId]| (w[0].index(), w[1].index());
    let pairs = train.iter().flat_map(move |(_, items)| items.windows(2).map(pair));
    pairs.filter(|&(a, b)| a != b && known[a] != NO_GROUP && known[b] != NO_GROUP)
}

/// Errors where histories name items outside the catalogue.
pub(crate) fn check(prefixes: &Prefixes, train: &Sequences) -> Result<()> {
    let n = prefixes.n_items();
    match train.all_items().iter().find(|i| i.index() >= n) {
        None => Ok(()),
        Some(item) => Err(Error::mismatch(format!(
            "SID report: the histories have item {}, the SID table {n} items",
            item.0
        ))),
    }
}

impl BehaviourReport {
    /// Of training histories; none without neighbours.
    ///
    /// Errors: an item outside the catalogue.
    pub fn of(prefixes: &Prefixes, train: &Sequences) -> Result<Option<Self>> {
        check(prefixes, train)?;
        let items = prefixes.n_items();
        let (mut before, mut after) = (vec![0u64; items], vec![0u64; items]);
        let mut shared = vec![0u64; prefixes.longest() + 1];
        for (a, b) in neighbours(prefixes, train) {
            before[a] += 1;
            after[b] += 1;
            shared[prefixes.shared(a as u32, b as u32)] += 1;
        }
        let pairs: u64 = shared.iter().sum();
        if pairs == 0 {
            return Ok(None);
        }
        let product = |x: &[u64], y: &[u64]| -> f64 {
            x.iter().zip(y).map(|(x, y)| *x as f64 * *y as f64).sum()
        };
        let same_item = product(&before, &after);
        let all = (pairs as f64).powi(2) - same_item;
        let level = |length: usize| {
            let groups = prefixes.groups(length);
            let gather = |counts: &[u64]| {
                let mut sums = vec![0u64; groups];
                for (&label, count) in prefixes.labels(length).iter().zip(counts) {
                    if label != NO_GROUP {
                        sums[label as usize] += count;
                    }
                }
                sums
            };
            let together = product(&gather(&before), &gather(&after)) - same_item;
            let share = shared[length..].iter().sum::<u64>() as f64 / pairs as f64;
            let chance = if all > 0.0 { together / all } else { 0.0 };
            let both = share > 0.0 && chance > 0.0;
            let pmi_bits = both.then(|| (share / chance).log2());
            BehaviourLevel { length, share, chance, pmi_bits }
        };
        Ok(Some(BehaviourReport { pairs, lengths: (1..=prefixes.longest()).map(level).collect() }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::prefixes::tests::table;
    use super::*;

    fn histories(of: &[&[u32]]) -> Sequences {
        let mut out = Sequences::default();
        for items in of {
            out.push(&items.iter().map(|&i| ItemId(i)).collect::<Vec<_>>());
        }
        out
    }

    #[test]
    fn three_items_by_hand() {
        // Neighbours: 0-1 (share 1), 1-2 (none), 0-1; repeats of an item are no neighbours.
        let p = Prefixes::of(&table(&[&[0, 0], &[0, 1], &[1, 0]]));
        let r = BehaviourReport::of(&p, &histories(&[&[0, 1, 1, 2], &[0, 1], &[2]])).unwrap();
        let r = r.unwrap();
        assert_eq!(r.pairs, 3);
        // before: 2, 1, 0; after: 0, 2, 1. Same item 2; groups 3 * 2 + 0 * 1 = 6; of 9 - 2.
        let l = &r.lengths[0];
        assert!((l.share - 2.0 / 3.0).abs() < 1e-15 && (l.chance - 4.0 / 7.0).abs() < 1e-15);
        assert!((l.pmi_bits.unwrap() - (7.0f64 / 6.0).log2()).abs() < 1e-12);
        assert_eq!((r.lengths[1].share, r.lengths[1].pmi_bits), (0.0, None));
    }

    #[test]
    fn chance_is_what_permuted_histories_give() {
        let ids: Vec<[u32; 1]> = (0..60).map(|i| [i % 3]).collect();
        let refs: Vec<&[u32]> = ids.iter().map(|i| &i[..]).collect();
        let p = Prefixes::of(&table(&refs));
        let draw = |i: u64| (sidereal_core::seed::mix(i) % 60) as u32;
        let long: Vec<u32> = (0..60_000).map(draw).collect();
        let r = BehaviourReport::of(&p, &histories(&[&long])).unwrap().unwrap();
        assert!(r.lengths[0].pmi_bits.unwrap().abs() < 0.02, "{r:?}");
    }

    #[test]
    fn nothing_and_strangers() {
        let p = Prefixes::of(&table(&[&[0]]));
        assert_eq!(BehaviourReport::of(&p, &histories(&[&[0], &[]])).unwrap(), None);
        let err = BehaviourReport::of(&p, &histories(&[&[0, 3]])).unwrap_err().to_string();
        assert!(err.contains("item 3"), "{err}");
    }
}
