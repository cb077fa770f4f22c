//! The prefixes of all IDs as nested groups of items: what every figure of the report counts.
//!
//! Items lie in the order of their IDs, so a group (the items of one prefix) is a range of places,
//! and the groups of the next length split it in order. An ID that ends is a group of its own
//! beside those that go on. Of an item with several IDs the first counts; IDs that are sets count
//! in their stored, ascending order.
//!
//! Memory `N` words a length, cost `O(N L)` after the table's own sort.

use sidereal_core::{Code, SidTable};
use std::ops::Range;

/// Stands for the group of an item that has no ID.
pub const NO_GROUP: u32 = u32::MAX;

/// Groups of items by prefix, for all lengths from 0 to the longest ID.
#[derive(Debug, Clone, PartialEq)]
pub struct Prefixes {
    /// Items with an ID, in the order of their IDs.
    order: Vec<u32>,
    lengths: Vec<Groups>,
}

/// The groups of one prefix length, in the order of the IDs.
#[derive(Debug, Clone, PartialEq)]
struct Groups {
    /// Group of each item of the catalogue.
    label: Vec<u32>,
    /// First place of each group in the order of items, and the end of the last.
    starts: Vec<u32>,
}

impl Prefixes {
    /// Of a table.
    pub fn of(table: &SidTable) -> Self {
        let first = |row: usize| row == 0 || table.item(row - 1) != table.item(row);
        let rows: Vec<usize> =
            table.sorted_rows().iter().map(|&r| r as usize).filter(|&r| first(r)).collect();
        let longest = table.max_len();
        // Places where a new group of each length begins: one comparison of neighbours each.
        let shared: Vec<usize> =
            rows.windows(2).map(|w| common(table.sid(w[0]), table.sid(w[1]), longest)).collect();
        let order: Vec<u32> = rows.iter().map(|&r| table.item(r).0).collect();
        let lengths = (0..=longest)
            .map(|l| {
                let mut starts: Vec<u32> = if order.is_empty() { vec![] } else { vec![0] };
                starts.extend((0..shared.len()).filter(|&p| shared[p] < l).map(|p| p as u32 + 1));
                Groups::new(&order, starts, table.n_items())
            })
            .collect();
        Prefixes { order, lengths }
    }

    /// Items of the catalogue N.
    pub fn n_items(&self) -> usize {
        self.lengths.first().map_or(0, |g| g.label.len())
    }

    /// Items with an ID, in the order of their IDs.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Length of the longest ID.
    pub fn longest(&self) -> usize {
        self.lengths.len() - 1
    }

    /// Number of prefixes of a length; one of length 0, distinct IDs at the longest.
    pub fn groups(&self, length: usize) -> usize {
        self.lengths[length].starts.len() - 1
    }

    /// Group of every item by prefixes of a length; [`NO_GROUP`] where it has no ID.
    pub fn labels(&self, length: usize) -> &[u32] {
        &self.lengths[length].label
    }

    /// Places of a group in [`Prefixes::order`].
    pub fn places(&self, length: usize, group: usize) -> Range<usize> {
        let starts = &self.lengths[length].starts;
        starts[group] as usize..starts[group + 1] as usize
    }

    /// Sizes of all groups of a length.
    pub fn sizes(&self, length: usize) -> impl Iterator<Item = usize> {
        self.lengths[length].starts.windows(2).map(|w| (w[1] - w[0]) as usize)
    }

    /// Codes that two items share from the first on; the longest length for equal IDs.
    pub fn shared(&self, a: u32, b: u32) -> usize {
        let same = |l: usize| self.labels(l)[a as usize] == self.labels(l)[b as usize];
        (1..=self.longest()).take_while(|&l| same(l)).count()
    }

    /// Lengths whose groups differ from those of the length before, from 0 on: a digit that splits
    /// nothing carries nothing.
    pub fn splitting(&self) -> Vec<usize> {
        let splits = |l: &usize| *l == 0 || self.groups(*l) > self.groups(*l - 1);
        (0..=self.longest()).filter(splits).collect()
    }

    /// The same groups with other items in them: the item at place `p` goes to place `to[p]`.
    pub(crate) fn shuffled(&self, to: &[u32]) -> Self {
        let mut order = vec![0; self.order.len()];
        for (&item, &place) in self.order.iter().zip(to) {
            order[place as usize] = item;
        }
        let regroup = |g: &Groups| {
            let firsts = g.starts[..g.starts.len() - 1].to_vec();
            Groups::new(&order, firsts, g.label.len())
        };
        Prefixes { lengths: self.lengths.iter().map(regroup).collect(), order }
    }
}

impl Groups {
    fn new(order: &[u32], mut starts: Vec<u32>, n_items: usize) -> Self {
        starts.push(order.len() as u32);
        let mut label = vec![NO_GROUP; n_items];
        for (group, w) in starts.windows(2).enumerate() {
            for &item in &order[w[0] as usize..w[1] as usize] {
                label[item as usize] = group as u32;
            }
        }
        Groups { label, starts }
    }
}

/// Codes shared from the first on; `longest` when all are.
fn common(a: &[Code], b: &[Code], longest: usize) -> usize {
    (0..longest).find(|&l| a.get(l) != b.get(l)).unwrap_or(longest)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use sidereal_core::{CodeOrder, ItemId};

    /// A table of one ID an item.
    pub fn table(ids: &[&[Code]]) -> SidTable {
        let rows = ids.iter().enumerate().map(|(i, c)| (ItemId(i as u32), *c));
        SidTable::new(ids.len(), CodeOrder::Sequence, rows).unwrap()
    }

    #[test]
    fn groups_by_hand() {
        let p = Prefixes::of(&table(&[&[1, 0], &[0, 2], &[1], &[1, 0], &[0, 1]]));
        assert_eq!(p.order(), [4, 1, 2, 0, 3]);
        assert_eq!((p.groups(0), p.groups(1), p.groups(2)), (1, 2, 4));
        assert_eq!(p.labels(1), [1, 0, 1, 1, 0]);
        assert_eq!(p.labels(2), [3, 1, 2, 3, 0]);
        assert_eq!(p.sizes(2).collect::<Vec<_>>(), [1, 1, 1, 2]);
        assert_eq!(p.places(1, 1), 2..5);
        // `[1]` ends where `[1, 0]` goes on; equal IDs share all.
        assert_eq!((p.shared(0, 2), p.shared(0, 3), p.shared(0, 1)), (1, 2, 0));
        assert_eq!(p.splitting(), [0, 1, 2]);
        let turned = p.shuffled(&[4, 3, 2, 1, 0]);
        assert_eq!(turned.order(), [3, 0, 2, 1, 4]);
        assert_eq!(turned.labels(1), [0, 1, 1, 0, 1]);
    }

    #[test]
    fn gaps_several_ids_and_nothing() {
        let rows: [(ItemId, &[Code]); 3] =
            [(ItemId(2), &[1]), (ItemId(2), &[0]), (ItemId(0), &[0, 7])];
        let p = Prefixes::of(&SidTable::new(4, CodeOrder::Sequence, rows).unwrap());
        assert_eq!(p.labels(1), [0, NO_GROUP, 1, NO_GROUP]);
        assert_eq!(p.splitting(), [0, 1]);
        let none = Prefixes::of(&SidTable::new(3, CodeOrder::Sequence, []).unwrap());
        assert_eq!((none.n_items(), none.longest(), none.groups(0)), (3, 0, 0));
    }

    proptest! {
        #[test]
        fn groups_are_the_distinct_prefixes(ids in proptest::collection::vec(
            proptest::collection::vec(0u32..3, 1..5), 1..40)) {
            let ids: Vec<&[Code]> = ids.iter().map(Vec::as_slice).collect();
            let p = Prefixes::of(&table(&ids));
            for l in 0..=p.longest() {
                for i in 0..ids.len() {
                    for j in 0..ids.len() {
                        let same = (0..l).all(|k| ids[i].get(k) == ids[j].get(k));
                        prop_assert_eq!(same, p.labels(l)[i] == p.labels(l)[j]);
                    }
                }
                prop_assert_eq!(p.sizes(l).sum::<usize>(), ids.len());
            }
        }
    }
}
