//! At which ranks a list holds its targets: the one pass over lists that every accuracy metric
//! shares.
//!
//! A target's rank is the number of *distinct* items before its first occurrence. Most lists miss
//! their targets, so a list is first searched by vector compare (T L / 4 operations for T targets
//! in L items) and only the part before the last hit is de-duplicated, with one stamp an item.
//! No allocation per request.

use sidereal_core::ItemId;

pub(crate) struct RankFinder {
    distinct: Distinct,
    positions: Vec<u32>,
}

impl RankFinder {
    pub(crate) fn new(n_items: usize) -> Self {
        RankFinder { distinct: Distinct::new(n_items), positions: Vec::new() }
    }

    /// 0-based ranks of the targets that the list holds, ascending. Items must be in the catalogue
    /// and targets distinct.
    pub(crate) fn ranks(&mut self, list: &[ItemId], targets: &[ItemId]) -> &[u32] {
        self.positions.clear();
        self.positions.extend(targets.iter().filter_map(|&t| find(list, t)));
        let Some(last) = self.positions.iter().max().copied() else { return &[] };
        self.positions.sort_unstable();
        self.distinct.start();
        let (mut rank, mut next) = (0, 0);
        for (p, &item) in list[..=last as usize].iter().enumerate() {
            if !self.distinct.insert(item) {
                continue;
            }
            // A first occurrence of a target is an insertion, so no hit is stepped over.
            if self.positions[next] == p as u32 {
                self.positions[next] = rank;
                next += 1;
            }
            rank += 1;
        }
        &self.positions
    }
}

/// Place of the first `target` in the list.
fn find(list: &[ItemId], target: ItemId) -> Option<u32> {
    const BLOCK: usize = 32;
    let mut start = 0;
    // Whole blocks without early exit compile to vector compares.
    for block in list.chunks(BLOCK) {
        if block.iter().fold(false, |any, &i| any | (i == target)) {
            return block.iter().position(|&i| i == target).map(|p| (start + p) as u32);
        }
        start += BLOCK;
    }
    None
}

/// A set of items that empties in constant time.
pub(crate) struct Distinct {
    stamps: Vec<u32>,
    now: u32,
}

impl Distinct {
    pub(crate) fn new(n_items: usize) -> Self {
        Distinct { stamps: vec![0; n_items], now: 0 }
    }

    /// Empties the set.
    pub(crate) fn start(&mut self) {
        if self.now == u32::MAX {
            self.stamps.fill(0);
            self.now = 0;
        }
        self.now += 1;
    }

    /// Adds an item of the catalogue; whether it was new.
    pub(crate) fn insert(&mut self, item: ItemId) -> bool {
        std::mem::replace(&mut self.stamps[item.index()], self.now) != self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn repeats_do_not_take_ranks() {
        let list = [3, 3, 7, 3, 1, 7, 2, 1].map(ItemId);
        let mut f = RankFinder::new(8);
        assert_eq!(f.ranks(&list, &[3].map(ItemId)), [0]);
        assert_eq!(f.ranks(&list, &[1, 2].map(ItemId)), [2, 3]);
        assert_eq!(f.ranks(&list, &[2, 7].map(ItemId)), [1, 3]);
        assert!(f.ranks(&list, &[ItemId(5)]).is_empty());
        assert!(f.ranks(&[], &[ItemId(5)]).is_empty());
    }

    #[test]
    fn stamps_survive_their_own_overflow() {
        let mut d = Distinct { stamps: vec![1, 0], now: u32::MAX };
        d.start();
        assert!(d.insert(ItemId(0)) && !d.insert(ItemId(0)) && d.insert(ItemId(1)));
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            lists in proptest::collection::vec(proptest::collection::vec(0u32..60, 0..90), 1..4),
            targets in proptest::collection::btree_set(0u32..60, 1..12)) {
            let targets: Vec<_> = targets.into_iter().map(ItemId).collect();
            let mut finder = RankFinder::new(60);
            for list in lists {
                let list: Vec<_> = list.into_iter().map(ItemId).collect();
                let mut distinct: Vec<ItemId> = Vec::new();
                for &i in &list {
                    if !distinct.contains(&i) {
                        distinct.push(i);
                    }
                }
                let expected: Vec<u32> = (0..distinct.len() as u32)
                    .filter(|&r| targets.contains(&distinct[r as usize])).collect();
                prop_assert_eq!(finder.ranks(&list, &targets), expected);
            }
        }
    }
}
