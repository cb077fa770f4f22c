//! A set of items of one catalogue, as a bitmap over item numbers: candidates of a request,
//! business filters, cold items.
//!
//! N / 8 bytes for N items, whatever the set holds; set operations go 64 items a step.

use crate::{Error, ItemId, Result};

/// A set of items of a catalogue of `n_items` items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemSet {
    n_items: usize,
    /// Bit `i % 64` of word `i / 64` is item `i`; bits from `n_items` on are zero.
    words: Vec<u64>,
}

impl ItemSet {
    /// The empty set.
    pub fn none(n_items: usize) -> Self {
        ItemSet { n_items, words: vec![0; n_items.div_ceil(64)] }
    }

    /// All items.
    pub fn all(n_items: usize) -> Self {
        ItemSet::none(n_items).not()
    }

    /// The items listed, in any order; repeats count once.
    ///
    /// Errors: an item outside the catalogue.
    pub fn from_items(n_items: usize, items: impl IntoIterator<Item = ItemId>) -> Result<Self> {
        let mut set = ItemSet::none(n_items);
        items.into_iter().try_for_each(|item| set.insert(item))?;
        Ok(set)
    }

    /// Adds an item.
    ///
    /// Errors: an item outside the catalogue.
    pub fn insert(&mut self, item: ItemId) -> Result<()> {
        if item.index() >= self.n_items {
            return Err(Error::input(format!(
                "item {} is outside the catalogue of {} items",
                item.0, self.n_items
            )));
        }
        self.words[item.index() / 64] |= 1 << (item.index() % 64);
        Ok(())
    }

    /// Takes an item out; nothing happens when it is not there.
    pub fn remove(&mut self, item: ItemId) {
        if item.index() < self.n_items {
            self.words[item.index() / 64] &= !(1 << (item.index() % 64));
        }
    }

    /// Whether the item is in the set; no for items outside the catalogue.
    pub fn contains(&self, item: ItemId) -> bool {
        let word = self.words.get(item.index() / 64).copied().unwrap_or(0);
        word >> (item.index() % 64) & 1 == 1
    }

    /// Number of items in the set; counts N / 64 words.
    pub fn len(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether the set has no item.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&w| w == 0)
    }

    /// Number of items of the catalogue, in the set or not.
    pub fn n_items(&self) -> usize {
        self.n_items
    }

    /// The items, ascending.
    pub fn iter(&self) -> impl Iterator<Item = ItemId> {
        self.words.iter().enumerate().flat_map(|(w, &word)| {
            let rest = |&word: &u64| Some(word & (word - 1)).filter(|&rest| rest != 0);
            std::iter::successors(Some(word).filter(|&word| word != 0), rest)
                .map(move |word| ItemId(w as u32 * 64 + word.trailing_zeros()))
        })
    }

    /// Items of both sets.
    ///
    /// Errors: sets of catalogues of different size.
    pub fn and(mut self, other: &ItemSet) -> Result<Self> {
        other.check(self.n_items)?;
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
        Ok(self)
    }

    /// Items of either set.
    ///
    /// Errors: sets of catalogues of different size.
    pub fn or(mut self, other: &ItemSet) -> Result<Self> {
        other.check(self.n_items)?;
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
        Ok(self)
    }

    /// Items that are not in the set.
    #[allow(clippy::should_implement_trait)] // `!set` reads worse than `set.not()` between the others
    pub fn not(mut self) -> Self {
        self.words.iter_mut().for_each(|w| *w = !*w);
        if let Some(last) = self.words.last_mut().filter(|_| !self.n_items.is_multiple_of(64)) {
            *last &= (1 << (self.n_items % 64)) - 1;
        }
        self
    }

    /// Refuses to go with a catalogue of another size.
    pub fn check(&self, n_items: usize) -> Result<()> {
        if self.n_items == n_items {
            return Ok(());
        }
        Err(Error::mismatch(format!(
            "a set of items of a catalogue of {} does not fit a catalogue of {n_items} items",
            self.n_items
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(n: usize, items: &BTreeSet<u32>) -> ItemSet {
        ItemSet::from_items(n, items.iter().copied().map(ItemId)).unwrap()
    }

    fn members(set: &ItemSet) -> BTreeSet<u32> {
        let items: Vec<u32> = set.iter().map(|i| i.0).collect();
        assert!(items.windows(2).all(|w| w[0] < w[1]), "ascending");
        assert_eq!((items.len(), items.is_empty()), (set.len(), set.is_empty()));
        items.into_iter().collect()
    }

    #[test]
    fn small_and_wrong_sets() {
        assert!(ItemSet::none(0).is_empty() && ItemSet::all(0).is_empty());
        for n in [1, 63, 64, 65, 128] {
            assert_eq!(ItemSet::all(n).len(), n);
            assert!(ItemSet::all(n).not().is_empty());
            assert!(!ItemSet::all(n).contains(ItemId(n as u32)));
        }
        let e = ItemSet::from_items(3, [ItemId(3)]).unwrap_err().to_string();
        assert!(e.contains("item 3") && e.contains("3 items"), "{e}");
        let e = ItemSet::all(3).and(&ItemSet::all(4)).unwrap_err().to_string();
        assert!(e.contains("of 4") && e.contains("of 3 items"), "{e}");
        let mut one = ItemSet::all(2);
        one.remove(ItemId(0));
        one.remove(ItemId(9));
        assert_eq!(members(&one), BTreeSet::from([1]));
    }

    proptest! {
        #[test]
        fn equals_a_tree_set(
            n in 1usize..300,
            a in proptest::collection::btree_set(0u32..300, 0..80),
            b in proptest::collection::btree_set(0u32..300, 0..80),
        ) {
            let cut = |s: BTreeSet<u32>| s.into_iter().filter(|&i| (i as usize) < n).collect();
            let (a, b): (BTreeSet<u32>, BTreeSet<u32>) = (cut(a), cut(b));
            let (x, y) = (set(n, &a), set(n, &b));
            prop_assert_eq!(&members(&x), &a);
            prop_assert!((0..400).all(|i| x.contains(ItemId(i)) == a.contains(&i)));
            prop_assert_eq!(members(&x.clone().and(&y).unwrap()), &a & &b);
            prop_assert_eq!(members(&x.clone().or(&y).unwrap()), &a | &b);
            let all: BTreeSet<u32> = (0..n as u32).collect();
            prop_assert_eq!(members(&x.not()), &all - &a);
        }
    }
}
