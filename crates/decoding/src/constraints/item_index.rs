//! A SID table with its trie and the way from items to rows of the trie: what turns the items of a
//! request into a constraint.
//!
//! Memory beside the two: 4 bytes a row of the table, and 4 bytes an identifier where items share
//! identifiers. A request costs O(log) for each excluded item and, where it names the items that
//! may come back, one pass over these.

use super::{Rows, Subset, Trie};
use sidereal_core::{Error, ItemId, ItemSet, Result, SidTable};
use std::sync::Arc;

/// Items, their identifiers and the trie over these.
#[derive(Debug, Clone)]
pub struct ItemIndex {
    table: Arc<SidTable>,
    trie: Arc<Trie>,
    /// Row of the trie for each row of the table.
    row_of: Vec<u32>,
    /// First of the table's sorted rows that carries each identifier, and the end; empty where
    /// these are the rows of the trie themselves, because no identifier is shared.
    carriers: Vec<u32>,
}

impl ItemIndex {
    /// Indexes a table.
    ///
    /// Errors: more than [`Trie::new`] takes.
    pub fn new(table: Arc<SidTable>) -> Result<Self> {
        let trie = Arc::new(Trie::new(&table)?);
        ItemIndex::over(table, trie)
    }

    /// Indexes a table whose trie is at hand, as one from a file.
    ///
    /// Errors: a trie of another table.
    pub fn over(table: Arc<SidTable>, trie: Arc<Trie>) -> Result<Self> {
        trie.check_version(table.version())?;
        let mut row_of = vec![0; table.n_rows()];
        let mut carriers = Vec::new();
        let shared = trie.len() < table.n_rows();
        let mut row = 0u32;
        for (i, &r) in table.sorted_rows().iter().enumerate() {
            let sid = table.sid(r as usize);
            let new = i == 0 || table.sid(table.sorted_rows()[i - 1] as usize) != sid;
            row += u32::from(new && i > 0);
            if new && shared {
                carriers.push(i as u32);
            }
            row_of[r as usize] = row;
        }
        if shared {
            carriers.push(table.n_rows() as u32);
        }
        if trie.len() != table.n_rows().min(row as usize + 1) {
            return Err(Error::mismatch(format!(
                "a prefix index of {} identifiers does not fit a table of {}",
                trie.len(),
                table.n_rows().min(row as usize + 1)
            )));
        }
        Ok(ItemIndex { table, trie, row_of, carriers })
    }

    /// The table.
    pub fn table(&self) -> &Arc<SidTable> {
        &self.table
    }

    /// The trie over all identifiers of the table.
    pub fn trie(&self) -> &Arc<Trie> {
        &self.trie
    }

    /// Rows of the trie for the identifiers of an item.
    pub fn rows_of(&self, item: ItemId) -> impl Iterator<Item = u32> {
        let rows =
            if item.index() < self.table.n_items() { self.table.rows_of(item) } else { 0..0 };
        self.row_of[rows].iter().copied()
    }

    /// Items that carry the identifier of a row of the trie.
    pub fn items_at(&self, row: usize) -> impl Iterator<Item = ItemId> {
        let range = match self.carriers.as_slice() {
            _ if row >= self.trie.len() => 0..0,
            [] => row..row + 1,
            carriers => carriers[row] as usize..carriers[row + 1] as usize,
        };
        self.table.sorted_rows()[range].iter().map(|&r| self.table.item(r as usize))
    }

    /// Rows of the trie that an item of the set carries; all rows for no set.
    ///
    /// Worth keeping for requests that share a set.
    ///
    /// Errors: a set of a catalogue of another size.
    pub fn rows_among(&self, among: Option<&ItemSet>) -> Result<Rows> {
        let Some(among) = among else { return Ok(Rows::all(self.trie.len())) };
        among.check(self.table.n_items())?;
        // A row of the table is one item with one identifier.
        let at_most = match self.table.n_rows() == self.table.n_items() {
            true => among.len(),
            false => among.iter().map(|item| self.table.rows_of(item).len()).sum(),
        };
        let rows = among.iter().flat_map(|item| self.rows_of(item));
        Ok(Rows::only(self.trie.len(), at_most, rows))
    }

    /// The identifiers that lead to an item which may come back: of `among`, where there is a set,
    /// and not of `exclude`. An identifier stays while one of its items may come back, so the caller
    /// still drops the others when mapping back.
    ///
    /// Errors: a set of a catalogue of another size, an excluded item outside the catalogue.
    pub fn allowed(
        &self,
        among: Option<&ItemSet>,
        exclude: &[ItemId],
    ) -> Result<Subset<Arc<Trie>>> {
        self.allowed_of(self.rows_among(among)?, among, exclude)
    }

    /// [`ItemIndex::allowed`] where the [`ItemIndex::rows_among`] of the set are at hand.
    ///
    /// Errors: an excluded item outside the catalogue.
    pub fn allowed_of(
        &self,
        mut rows: Rows,
        among: Option<&ItemSet>,
        exclude: &[ItemId],
    ) -> Result<Subset<Arc<Trie>>> {
        let mut gone = exclude.to_vec();
        gone.sort_unstable();
        gone.dedup();
        if let Some(last) = gone.last().filter(|i| i.index() >= self.table.n_items()) {
            return Err(Error::input(format!(
                "cannot exclude item {}: the catalogue has {} items",
                last.0,
                self.table.n_items()
            )));
        }
        let stays = |item: ItemId| {
            among.is_none_or(|among| among.contains(item)) && gone.binary_search(&item).is_err()
        };
        let dead: Vec<u32> = gone
            .iter()
            .flat_map(|&item| self.rows_of(item))
            .filter(|&row| !self.items_at(row as usize).any(stays))
            .collect();
        rows.remove_all(dead);
        Subset::new(self.trie.clone(), rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Constraint, accepts_sid};
    use proptest::prelude::*;
    use sidereal_core::{Code, CodeOrder};
    use std::collections::BTreeSet;

    fn items(ids: &[u32]) -> Vec<ItemId> {
        ids.iter().copied().map(ItemId).collect()
    }

    #[test]
    fn shared_identifiers_stay_while_an_item_needs_them() {
        let rows = [(ItemId(0), &[1, 2][..]), (ItemId(1), &[1, 2]), (ItemId(2), &[1, 3])];
        let table = SidTable::new(3, CodeOrder::Sequence, rows).unwrap();
        let index = ItemIndex::new(Arc::new(table)).unwrap();
        let left = |among: Option<&ItemSet>, exclude: &[u32]| {
            let left = index.allowed(among, &items(exclude)).unwrap();
            (accepts_sid(&left, &[1, 2]), accepts_sid(&left, &[1, 3]))
        };
        assert_eq!(left(None, &[]), (true, true));
        assert_eq!(left(None, &[0, 2]), (true, false));
        assert_eq!(left(None, &[1, 0, 1]), (false, true));
        let one = ItemSet::from_items(3, [ItemId(1)]).unwrap();
        assert_eq!(left(Some(&one), &[]), (true, false));
        assert_eq!(left(Some(&one), &[0]), (true, false));
        assert_eq!(left(Some(&one), &[1]), (false, false));
        let e = index.allowed(None, &items(&[3])).unwrap_err().to_string();
        assert!(e.contains("item 3") && e.contains("3 items"), "{e}");
        let e = index.allowed(Some(&ItemSet::all(4)), &[]).unwrap_err().to_string();
        assert!(e.contains("of 4"), "{e}");
    }

    #[test]
    fn empty_tables_and_items_without_an_identifier() {
        let none: [(ItemId, &[Code]); 0] = [];
        let table = SidTable::new(2, CodeOrder::Sequence, none).unwrap();
        let index = ItemIndex::new(Arc::new(table)).unwrap();
        let all = ItemSet::all(2);
        let left = index.allowed(Some(&all), &items(&[0])).unwrap();
        assert!(!left.continues(&[], left.root()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn allowed_equals_the_definition(
            pairs in proptest::collection::btree_set(
                (0u32..30, proptest::collection::vec(0u32..4, 1..4)), 0..50),
            among in proptest::option::of(proptest::collection::btree_set(0u32..30, 0..30)),
            exclude in proptest::collection::vec(0u32..30, 0..20),
        ) {
            let rows = pairs.iter().map(|(item, sid)| (ItemId(*item), sid.as_slice()));
            let table = SidTable::new(30, CodeOrder::Sequence, rows).unwrap();
            let index = ItemIndex::new(Arc::new(table)).unwrap();
            let among = among.map(|s| ItemSet::from_items(30, s.into_iter().map(ItemId)).unwrap());
            let exclude = items(&exclude);
            let left = index.allowed(among.as_ref(), &exclude).unwrap();
            let comes_back = |item: u32| {
                among.as_ref().is_none_or(|a| a.contains(ItemId(item)))
                    && !exclude.contains(&ItemId(item))
            };
            let want: BTreeSet<&[Code]> =
                pairs.iter().filter(|p| comes_back(p.0)).map(|p| p.1.as_slice()).collect();
            let mut todo = vec![(vec![], left.root())];
            let mut got = BTreeSet::new();
            while let Some((prefix, state)) = todo.pop() {
                let mut out = Vec::new();
                left.expand(&prefix, state, &mut out);
                let next: Vec<Code> = out.iter().map(|b| b.code).collect();
                let below = want.iter().filter(|s| s.len() > prefix.len() && s.starts_with(&prefix));
                let below: BTreeSet<Code> = below.map(|s| s[prefix.len()]).collect();
                prop_assert_eq!(next, below.into_iter().collect::<Vec<_>>());
                prop_assert_eq!(left.continues(&prefix, state), !out.is_empty());
                for code in 0..5 {
                    let branch = out.iter().find(|b| b.code == code).map(|b| b.state);
                    prop_assert_eq!(left.step(&prefix, state, code), branch);
                }
                todo.extend(out.iter().map(|b| ([&prefix[..], &[b.code]].concat(), b.state)));
                if left.accepts(&prefix, state) {
                    got.insert(prefix);
                }
            }
            prop_assert_eq!(got.iter().map(Vec::as_slice).collect::<BTreeSet<_>>(), want);
        }
    }
}
