//! A trie cut down to some of its rows: filters, candidates and exclusions of a request, without
//! building another trie.
//!
//! A prefix owns one range of rows, so it leads somewhere exactly while one row of its range is
//! alive, and finding that row is one look into [`Rows`]. There are no dead ends, whatever is
//! taken out and whenever. A state is the range from its first row that is alive. Expanding costs
//! one look a child that is alive; dead children are skipped, not visited.

use super::{Rows, Trie};
use crate::TrieRows;
use crate::{Branch, Constraint, State};
use sidereal_core::{Code, Error, Result};
use std::borrow::Borrow;

/// The rows of a trie that are alive. `T` owns the trie or points to it: `&Trie`, `Arc<Trie>`.
///
/// More can be taken out between the steps of a decoder: its states stay good.
#[derive(Debug, Clone)]
pub struct Subset<T> {
    trie: T,
    rows: Rows,
}

impl<T: Borrow<Trie>> Subset<T> {
    /// `trie` with these rows alive.
    ///
    /// Errors: rows of an index of another size.
    pub fn new(trie: T, rows: Rows) -> Result<Self> {
        let (wanted, got) = (trie.borrow().len(), rows.total());
        if wanted != got {
            return Err(Error::mismatch(format!(
                "{got} rows, alive or not, do not fit a prefix index of {wanted} identifiers"
            )));
        }
        Ok(Subset { trie, rows })
    }

    /// Takes an identifier out; false when it was not there.
    pub fn remove(&mut self, sid: &[Code]) -> bool {
        match self.trie.borrow().row_of(sid) {
            Some(row) => self.rows.remove(row),
            None => false,
        }
    }

    /// Whether `sid` is a whole identifier that is alive.
    pub fn contains(&self, sid: &[Code]) -> bool {
        self.trie.borrow().row_of(sid).is_some_and(|row| self.rows.contains(row))
    }

    /// Rows that are alive.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// The whole trie.
    pub fn trie(&self) -> &Trie {
        self.trie.borrow()
    }
}

impl<T: Borrow<Trie> + Send + Sync> Constraint for Subset<T> {
    fn root(&self) -> State {
        let n = self.trie().len();
        Trie::pack(self.rows.next(0, n), n)
    }

    fn expand(&self, prefix: &[Code], state: State, out: &mut Vec<Branch>) {
        let (trie, level) = (self.trie(), prefix.len());
        let (lo, hi) = trie.below(level, state);
        let mut row = self.rows.next(lo, hi);
        while row < hi {
            let next = trie.next_child(level, row, hi);
            out.push(Branch { code: trie.code(row, level), state: Trie::pack(row, next) });
            row = self.rows.next(next, hi);
        }
    }

    fn accepts(&self, prefix: &[Code], state: State) -> bool {
        let (lo, _) = self.trie().unpack(state);
        self.trie().accepts(prefix, state) && self.rows.contains(lo)
    }

    fn step(&self, prefix: &[Code], state: State, code: Code) -> Option<State> {
        let (lo, hi) = self.trie().unpack(self.trie().step(prefix, state, code)?);
        let first = self.rows.next(lo, hi);
        (first < hi).then(|| Trie::pack(first, hi))
    }

    fn continues(&self, prefix: &[Code], state: State) -> bool {
        let (lo, hi) = self.trie().below(prefix.len(), state);
        self.rows.next(lo, hi) < hi
    }

    fn trie_rows(&self) -> Option<TrieRows<'_>> {
        Some(TrieRows { trie: self.trie(), alive: Some(&self.rows) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_another_index_are_refused() {
        let trie = Trie::from_sids([&[1, 2][..], &[1, 3]]).unwrap();
        let e = Subset::new(&trie, Rows::all(3)).unwrap_err().to_string();
        assert!(e.contains("3 rows") && e.contains("2 identifiers"), "{e}");
    }

    #[test]
    fn states_stay_good_while_identifiers_go() {
        let ids: [&[Code]; 4] = [&[5], &[5, 1], &[5, 2], &[7, 0]];
        let trie = Trie::from_sids(ids).unwrap();
        let mut left = Subset::new(&trie, Rows::all(4)).unwrap();
        let five = left.step(&[], left.root(), 5).unwrap();
        assert!(left.accepts(&[5], five) && left.continues(&[5], five));
        assert!(left.remove(&[5]) && !left.remove(&[5]) && !left.remove(&[6]));
        assert!(!left.accepts(&[5], five) && left.continues(&[5], five));
        assert!(left.remove(&[5, 1]) && left.remove(&[5, 2]));
        assert!(!left.continues(&[5], five));
        let mut out = Vec::new();
        left.expand(&[], left.root(), &mut out);
        assert_eq!(out.iter().map(|b| b.code).collect::<Vec<_>>(), [7]);
        assert!(left.remove(&[7, 0]) && !left.continues(&[], left.root()));
    }
}
