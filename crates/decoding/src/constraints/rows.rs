//! Some of the rows `0..n` of a prefix index, in whichever form is small.
//!
//! | form | when | bytes | next row |
//! |---|---|---|---|
//! | all but a sorted list E | few are gone (what a user has seen) | 4 E | O(log E) |
//! | only a sorted list K | few are left (candidates of a request) | 4 K | O(log K) |
//! | bitmap with a summary | neither (business filters) | n / 8 | O(n / 4096), mostly O(1) |
//!
//! Taking out one row moves the end of a list, or clears a bit.

use super::bits::Bits;
use super::trie::partition;

/// Lists of at most one row in this many are kept as lists.
const SPARSE: usize = 64;

/// Rows of a prefix index that are alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    n: usize,
    form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// All but these, ascending and distinct.
    Except(Vec<u32>),
    /// These, ascending and distinct.
    Only(Vec<u32>),
    Marked(Bits),
}

impl Rows {
    /// All of `0..n`.
    pub fn all(n: usize) -> Self {
        Rows { n, form: Form::Except(Vec::new()) }
    }

    /// All of `0..n` but those listed, in any order and with repeats; rows outside are no rows.
    pub fn except(n: usize, mut gone: Vec<u32>) -> Self {
        gone.sort_unstable();
        gone.dedup();
        gone.truncate(gone.partition_point(|&r| (r as usize) < n));
        if gone.len() * SPARSE <= n {
            return Rows { n, form: Form::Except(gone) };
        }
        let mut bits = Bits::new(n, |_| true);
        gone.iter().for_each(|&r| bits.clear(r as usize));
        Rows { n, form: Form::Marked(bits) }
    }

    /// Those listed, in any order and with repeats; rows outside of `0..n` are no rows. `at_most`
    /// is a bound on their number, which chooses the form.
    pub fn only(n: usize, at_most: usize, rows: impl Iterator<Item = u32>) -> Self {
        let rows = rows.filter(|&r| (r as usize) < n);
        if at_most.saturating_mul(SPARSE) <= n {
            let mut list: Vec<u32> = rows.collect();
            list.sort_unstable();
            list.dedup();
            return Rows { n, form: Form::Only(list) };
        }
        let mut bits = Bits::new(n, |_| false);
        rows.for_each(|r| bits.set(r as usize));
        Rows { n, form: Form::Marked(bits) }
    }

    /// Number of rows n, alive or not.
    pub fn total(&self) -> usize {
        self.n
    }

    /// Number of rows that are alive.
    pub fn len(&self) -> usize {
        match &self.form {
            Form::Except(gone) => self.n - gone.len(),
            Form::Only(rows) => rows.len(),
            Form::Marked(bits) => bits.count(),
        }
    }

    /// Whether none is alive.
    pub fn is_empty(&self) -> bool {
        self.next(0, self.n) == self.n
    }

    /// Whether `row` is alive.
    pub fn contains(&self, row: usize) -> bool {
        row < self.n && self.next(row, row + 1) == row
    }

    /// The first row alive from `from` on, or `end` if it comes first.
    pub fn next(&self, from: usize, end: usize) -> usize {
        let end = end.min(self.n);
        if from >= end {
            return end;
        }
        match &self.form {
            Form::Marked(bits) => bits.next(from, end),
            Form::Only(rows) => {
                let at = rows.partition_point(|&r| (r as usize) < from);
                rows.get(at).map_or(end, |&r| (r as usize).min(end))
            }
            Form::Except(gone) => {
                let at = gone.partition_point(|&r| (r as usize) < from);
                // Rows that are gone one after the other: their numbers grow as their places do.
                let run = partition(at, gone.len(), |i| gone[i] as usize == from + (i - at));
                (from + (run - at)).min(end)
            }
        }
    }

    /// Takes a row out; false when it was not alive.
    pub fn remove(&mut self, row: usize) -> bool {
        if !self.contains(row) {
            return false;
        }
        match &mut self.form {
            Form::Marked(bits) => bits.clear(row),
            Form::Only(rows) => {
                let at = rows.partition_point(|&r| (r as usize) < row);
                rows.remove(at);
            }
            Form::Except(gone) => {
                let at = gone.partition_point(|&r| (r as usize) < row);
                gone.insert(at, row as u32);
            }
        }
        true
    }

    /// Takes rows out, listed in any order and with repeats.
    pub fn remove_all(&mut self, mut gone: Vec<u32>) {
        match &mut self.form {
            Form::Marked(bits) => gone
                .iter()
                .filter(|&&r| (r as usize) < self.n)
                .for_each(|&r| bits.clear(r as usize)),
            Form::Only(rows) => {
                gone.sort_unstable();
                rows.retain(|r| gone.binary_search(r).is_err());
            }
            Form::Except(before) => {
                gone.append(before);
                *self = Rows::except(self.n, gone);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn every_form_equals_a_set(
            n in 1usize..9_000,
            few in proptest::collection::vec(0u32..9_100, 0..40),
            run in 0u32..9_000,
            taken in proptest::collection::vec(0usize..9_000, 0..20),
            probes in proptest::collection::vec((0usize..9_000, 0usize..9_200), 1..40),
        ) {
            // Some rows here and there, and a run of them.
            let mut listed = few.clone();
            listed.extend(run..run + 30);
            listed.extend(&few);
            let all: BTreeSet<usize> = (0..n).collect();
            let inside: BTreeSet<usize> =
                listed.iter().map(|&r| r as usize).filter(|&r| r < n).collect();
            let cases = [
                (Rows::except(n, listed.clone()), &all - &inside),
                (Rows::only(n, listed.len(), listed.iter().copied()), inside.clone()),
                (Rows::only(n, usize::MAX, listed.iter().copied()), inside),
                (Rows::all(n), all),
            ];
            for (mut rows, mut model) in cases {
                let mut at_once = rows.clone();
                at_once.remove_all(taken.iter().map(|&r| r as u32).collect());
                for &row in &taken {
                    prop_assert_eq!(rows.remove(row), model.remove(&row));
                }
                prop_assert_eq!((rows.len(), rows.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!(at_once.len(), rows.len());
                for &(from, end) in &probes {
                    prop_assert_eq!(at_once.next(from, end), rows.next(from, end));
                    let end = end.min(n);
                    let want = model.range(from..).next().copied().unwrap_or(end).min(end);
                    prop_assert_eq!(rows.next(from, end), want);
                    prop_assert_eq!(rows.contains(from), model.contains(&from));
                }
            }
        }
    }
}
