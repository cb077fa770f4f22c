//! At which ranks a list holds its targets: the one pass over lists that every metric shares.
//!
//! A target's rank is the number of *distinct* items before its first occurrence. Few targets are
//! searched by vector compare (T L / 4 operations for T targets in L items), because most lists
//! miss them, and only the part before the last hit is de-duplicated. With more targets one stamp an
//! item tells targets and repeats apart in one pass, which collects both as bits, so that nothing
//! branches on an item. Where the distinct items themselves are wanted, one walk stamps all. No
//! allocation per request.

use sidereal_core::ItemId;

/// Targets up to which the list is searched for each.
const FEW: usize = 3;

/// Finds ranks; holds one stamp an item of the catalogue.
#[derive(Debug)]
pub(crate) struct RankFinder {
    /// `now` marks a target not yet seen in the list, `now + 1` an item seen. 16 bits, so that the
    /// stamps of a catalogue of ten thousand stay in the first cache.
    stamps: Vec<u16>,
    now: u16,
    places: Vec<u32>,
    ranks: Vec<u32>,
    hits: Vec<ItemId>,
    head: Vec<ItemId>,
}

/// What a list holds, up to the wanted rank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Found<'a> {
    /// 0-based ranks of the targets, ascending.
    pub ranks: &'a [u32],
    /// The targets at these ranks.
    pub hits: &'a [ItemId],
    /// The distinct items, empty unless wanted.
    pub head: &'a [ItemId],
}

impl RankFinder {
    pub(crate) fn new(n_items: usize) -> Self {
        RankFinder {
            stamps: vec![0; n_items],
            now: 0,
            places: Vec::new(),
            ranks: Vec::new(),
            hits: Vec::new(),
            head: Vec::new(),
        }
    }

    /// Targets among the first `k` distinct items. Items and targets must be in the catalogue,
    /// targets distinct.
    pub(crate) fn ranks(&mut self, list: &[ItemId], targets: &[ItemId], k: usize) -> Found<'_> {
        self.start();
        if targets.len() <= FEW {
            self.search(list, targets, k);
        } else {
            self.sweep(list, targets, k);
        }
        self.found()
    }

    /// The same with the distinct items themselves.
    pub(crate) fn items(&mut self, list: &[ItemId], targets: &[ItemId], k: usize) -> Found<'_> {
        self.start();
        self.walk(list, targets, k);
        self.found()
    }

    fn found(&self) -> Found<'_> {
        Found { ranks: &self.ranks, hits: &self.hits, head: &self.head }
    }

    fn start(&mut self) {
        self.ranks.clear();
        self.hits.clear();
        self.head.clear();
        if self.now >= u16::MAX - 2 {
            self.stamps.fill(0);
            self.now = 0;
        }
        self.now += 2;
    }

    fn search(&mut self, list: &[ItemId], targets: &[ItemId], k: usize) {
        self.places.clear();
        self.places.extend(targets.iter().filter_map(|&t| find(list, t)));
        self.places.sort_unstable();
        let (mut from, mut rank, seen) = (0, 0, self.now + 1);
        let stamps = &mut self.stamps[..];
        for &place in &self.places {
            // Places are first occurrences, so each is a new item.
            for item in &list[from..place as usize] {
                rank += usize::from(std::mem::replace(&mut stamps[item.index()], seen) != seen);
            }
            if rank >= k {
                return;
            }
            let item = list[place as usize];
            stamps[item.index()] = seen;
            self.ranks.push(rank as u32);
            self.hits.push(item);
            (from, rank) = (place as usize + 1, rank + 1);
        }
    }

    fn sweep(&mut self, list: &[ItemId], targets: &[ItemId], k: usize) {
        let (target, seen) = (self.now, self.now + 1);
        let stamps = &mut self.stamps[..];
        targets.iter().for_each(|t| stamps[t.index()] = target);
        // Distinct items before the word of 64.
        let mut before = 0;
        for items in list.chunks(64) {
            let (mut marks, mut repeats) = (0u64, 0u64);
            let mut look = |place: usize, item: ItemId| {
                let stamp = std::mem::replace(&mut stamps[item.index()], seen);
                marks |= u64::from(stamp == target) << place;
                repeats |= u64::from(stamp == seen) << place;
            };
            let (blocks, rest) = items.as_chunks::<8>();
            for (b, block) in blocks.iter().enumerate() {
                block.iter().enumerate().for_each(|(i, &item)| look(8 * b + i, item));
            }
            let start = items.len() - rest.len();
            rest.iter().enumerate().for_each(|(i, &item)| look(start + i, item));
            while marks != 0 {
                let place = marks.trailing_zeros();
                let rank = before + place - (repeats & ((1 << place) - 1)).count_ones();
                if rank as usize >= k {
                    return;
                }
                self.ranks.push(rank);
                self.hits.push(items[place as usize]);
                marks &= marks - 1;
            }
            before += items.len() as u32 - repeats.count_ones();
            if before as usize >= k {
                return;
            }
        }
    }

    fn walk(&mut self, list: &[ItemId], targets: &[ItemId], k: usize) {
        let (target, seen) = (self.now, self.now + 1);
        for t in targets {
            self.stamps[t.index()] = target;
        }
        for &item in list {
            if self.head.len() >= k {
                return;
            }
            let stamp = std::mem::replace(&mut self.stamps[item.index()], seen);
            if stamp == seen {
                continue;
            }
            if stamp == target {
                self.ranks.push(self.head.len() as u32);
                self.hits.push(item);
            }
            self.head.push(item);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn repeats_do_not_take_ranks() {
        let list = [3, 3, 7, 3, 1, 7, 2, 1].map(ItemId);
        let mut f = RankFinder::new(8);
        let mut ranks = |list: &[ItemId], t: &[u32], k| {
            let targets: Vec<_> = t.iter().copied().map(ItemId).collect();
            f.ranks(list, &targets, k).ranks.to_vec()
        };
        assert_eq!(ranks(&list, &[3], 9), [0]);
        assert_eq!(ranks(&list, &[1, 2], 9), [2, 3]);
        assert_eq!(ranks(&list, &[2, 7], 9), [1, 3]);
        assert_eq!(ranks(&list, &[2, 7], 3), [1]);
        assert!(ranks(&list, &[5], 9).is_empty());
        assert!(ranks(&[], &[5], 9).is_empty());
        assert_eq!(ranks(&list, &[0, 1, 2, 4, 5, 6], 9), [2, 3]);
    }

    #[test]
    fn stamps_survive_their_own_overflow() {
        let mut f = RankFinder::new(3);
        f.stamps = vec![1, 2, 3];
        f.now = u16::MAX - 2;
        let list = [0, 0, 1, 2].map(ItemId);
        assert_eq!(f.items(&list, &[ItemId(1)], 5).head, [0, 1, 2].map(ItemId));
        assert_eq!(f.items(&list, &[ItemId(1)], 5).ranks, [1]);
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            lists in proptest::collection::vec(proptest::collection::vec(0u32..60, 0..90), 1..4),
            targets in proptest::collection::btree_set(0u32..60, 1..12), k in 1usize..70) {
            let targets: Vec<_> = targets.into_iter().map(ItemId).collect();
            let mut finder = RankFinder::new(60);
            for list in lists {
                let list: Vec<_> = list.into_iter().map(ItemId).collect();
                let mut distinct: Vec<ItemId> = Vec::new();
                for &i in &list {
                    if !distinct.contains(&i) && distinct.len() < k {
                        distinct.push(i);
                    }
                }
                let ranks: Vec<u32> = (0..distinct.len() as u32)
                    .filter(|&r| targets.contains(&distinct[r as usize])).collect();
                let hits: Vec<ItemId> = ranks.iter().map(|&r| distinct[r as usize]).collect();
                let found = finder.ranks(&list, &targets, k);
                prop_assert_eq!((found.ranks, found.hits), (&ranks[..], &hits[..]));
                let found = finder.items(&list, &targets, k);
                prop_assert_eq!((found.ranks, found.hits), (&ranks[..], &hits[..]));
                prop_assert_eq!(found.head, &distinct[..]);
            }
        }
    }
}
