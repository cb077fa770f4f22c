//! A trie that changes: a base, identifiers taken out of it, and a small trie of those added.
//!
//! A value of [`LiveIndex`] never changes under a request: a clone is a snapshot, made in O(1), and
//! an update leaves the clones alone. Adding costs the identifiers added so far (their trie is made
//! again), removing costs a search and, where clones share the marks of what is gone, a copy of
//! these: update in batches, and [`LiveIndex::compact`] when many have come.
//!
//! The state is the state of the base; the place in the small trie is searched again by the prefix,
//! in O(L log A) for L codes and A identifiers added.

use super::version::SetVersion;
use super::{Rows, Subset, Trie};
use crate::{Branch, Constraint, State};
use sidereal_core::{Code, Error, Result};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Identifiers that come and go.
#[derive(Debug, Clone)]
pub struct LiveIndex {
    base: Arc<Subset<Arc<Trie>>>,
    /// None of these is alive in the base.
    added: Arc<Trie>,
    version: SetVersion,
}

/// What an update changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// Identifiers that were not there before.
    pub inserted: usize,
    /// Identifiers that were there before.
    pub removed: usize,
}

impl LiveIndex {
    /// Begins with all identifiers of a trie; reads them once, for the version.
    ///
    /// Errors: none that a whole trie can give.
    pub fn new(base: Arc<Trie>) -> Result<Self> {
        let mut version = SetVersion::default();
        (0..base.len()).for_each(|row| version.add(base.sid(row)));
        let rows = Rows::all(base.len());
        let added = Arc::new(Trie::from_sids([])?);
        Ok(LiveIndex { base: Arc::new(Subset::new(base, rows)?), added, version })
    }

    /// Takes identifiers out, then puts others in. Those that are not there, or there already, do
    /// not count. Nothing changes on an error.
    ///
    /// Errors: an empty identifier to put in, more identifiers than a [`Trie`] takes.
    pub fn update<'a>(
        &mut self,
        remove: impl IntoIterator<Item = &'a [Code]>,
        insert: impl IntoIterator<Item = &'a [Code]>,
    ) -> Result<Changes> {
        let (mut base, mut version) = (self.base.clone(), self.version);
        let (mut changes, mut small_changed) = (Changes::default(), false);
        let before: Vec<Vec<Code>> =
            (0..self.added.len()).map(|row| self.added.sid(row).collect()).collect();
        let mut small: BTreeSet<&[Code]> = before.iter().map(Vec::as_slice).collect();
        for sid in remove {
            let was_small = small.remove(sid);
            // A base that is shared with a clone is copied at the first removal, once.
            let was_base = base.contains(sid) && Arc::make_mut(&mut base).remove(sid);
            if was_small || was_base {
                small_changed |= was_small;
                version.remove(sid.iter().copied());
                changes.removed += 1;
            }
        }
        for sid in insert {
            if sid.is_empty() {
                return Err(Error::input("prefix index: an identifier has no code"));
            }
            if !base.contains(sid) && small.insert(sid) {
                small_changed = true;
                version.add(sid.iter().copied());
                changes.inserted += 1;
            }
        }
        if small_changed {
            self.added = Arc::new(Trie::from_sids(small)?);
        }
        self.base = base;
        self.version = version;
        Ok(changes)
    }

    /// Makes one trie of base and changes. Clones keep theirs. The answers stay the same; states
    /// of decoders at work do not carry over.
    ///
    /// Errors: more identifiers than a [`Trie`] takes.
    pub fn compact(&mut self) -> Result<()> {
        let (trie, rows) = (self.base.trie(), self.base.rows());
        let (mut codes, mut ends) = (Vec::new(), Vec::new());
        let mut row = rows.next(0, trie.len());
        while row < trie.len() {
            codes.extend(trie.sid(row));
            ends.push(codes.len());
            row = rows.next(row + 1, trie.len());
        }
        for row in 0..self.added.len() {
            codes.extend(self.added.sid(row));
            ends.push(codes.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let sids = starts.zip(&ends).map(|(start, &end)| &codes[start..end]);
        let live = LiveIndex::new(Arc::new(Trie::from_sids(sids)?))?;
        *self = live;
        Ok(())
    }

    /// Number of identifiers.
    pub fn len(&self) -> usize {
        self.base.rows().len() + self.added.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.base.rows().is_empty() && self.added.is_empty()
    }

    /// Whether `sid` is there, whole.
    pub fn contains(&self, sid: &[Code]) -> bool {
        self.base.contains(sid) || self.added.contains(sid)
    }

    /// Changes since the last compaction: identifiers gone from the base and identifiers added.
    pub fn pending(&self) -> usize {
        self.base.rows().total() - self.base.rows().len() + self.added.len()
    }

    /// Hash of the set: that of [`Trie::from_sids`] over the same identifiers, however it came
    /// about.
    pub fn version(&self) -> u64 {
        self.version.value()
    }

    /// The place in the small trie.
    fn small(&self, prefix: &[Code]) -> Option<State> {
        if self.added.is_empty() { None } else { self.added.find(prefix) }
    }
}

/// No place in the base.
const NOWHERE: State = State(0);

impl Constraint for LiveIndex {
    fn root(&self) -> State {
        self.base.root()
    }

    fn expand(&self, prefix: &[Code], state: State, out: &mut Vec<Branch>) {
        let from = out.len();
        self.base.expand(prefix, state, out);
        let Some(small) = self.small(prefix) else { return };
        let base_end = out.len();
        self.added.expand(prefix, small, out);
        // Both parts ascend; a code of both goes on in the base, where the prefix finds the other.
        out[base_end..].iter_mut().for_each(|branch| branch.state = NOWHERE);
        out[from..].sort_by_key(|branch| branch.code);
        let mut kept = from;
        for i in from..out.len() {
            if i == from || out[i].code != out[kept - 1].code {
                out[kept] = out[i];
                kept += 1;
            }
        }
        out.truncate(kept);
    }

    fn accepts(&self, prefix: &[Code], state: State) -> bool {
        self.base.accepts(prefix, state)
            || self.small(prefix).is_some_and(|small| self.added.accepts(prefix, small))
    }

    fn step(&self, prefix: &[Code], state: State, code: Code) -> Option<State> {
        self.base.step(prefix, state, code).or_else(|| {
            self.added.step(prefix, self.small(prefix)?, code)?;
            Some(NOWHERE)
        })
    }

    fn continues(&self, prefix: &[Code], state: State) -> bool {
        self.base.continues(prefix, state)
            || self.small(prefix).is_some_and(|small| self.added.continues(prefix, small))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(live: &LiveIndex) -> Vec<Vec<Code>> {
        let mut found = Vec::new();
        let mut todo = vec![(vec![], live.root())];
        while let Some((prefix, state)) = todo.pop() {
            let mut out = Vec::new();
            live.expand(&prefix, state, &mut out);
            todo.extend(out.iter().map(|b| ([&prefix[..], &[b.code]].concat(), b.state)));
            if live.accepts(&prefix, state) {
                found.push(prefix);
            }
        }
        found.sort();
        found
    }

    #[test]
    fn snapshots_keep_what_they_saw() {
        let base = Arc::new(Trie::from_sids([&[1, 1][..], &[1, 2], &[3]]).unwrap());
        let mut live = LiveIndex::new(base).unwrap();
        let before = live.clone();
        let changes = live.update([&[1, 2][..], &[9]], [&[1, 5][..], &[1, 1], &[3, 0]]).unwrap();
        assert_eq!(changes, Changes { inserted: 2, removed: 1 });
        assert_eq!((live.len(), live.pending(), live.is_empty()), (4, 3, false));
        let want = [vec![1, 1], vec![1, 5], vec![3], vec![3, 0]];
        assert_eq!(all(&live), want);
        assert_eq!(all(&before), [vec![1, 1], vec![1, 2], vec![3]]);
        let at_once = Trie::from_sids(want.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(live.version(), at_once.version());
        assert_ne!(live.version(), before.version());
        // One that left the base comes back, and the version with it.
        let mut back = live.clone();
        back.update([&[1, 5][..], &[3, 0]], [&[1, 2][..]]).unwrap();
        assert_eq!((back.version(), all(&back)), (before.version(), all(&before)));
        live.compact().unwrap();
        assert_eq!(
            (live.pending(), live.version(), all(&live)),
            (0, at_once.version(), want.into())
        );
    }

    #[test]
    fn nothing_changes_on_an_error() {
        let mut live = LiveIndex::new(Arc::new(Trie::from_sids([]).unwrap())).unwrap();
        live.update([], [&[1][..]]).unwrap();
        let version = live.version();
        let e = live.update([&[1][..]], [&[][..]]).unwrap_err().to_string();
        assert!(e.contains("no code"), "{e}");
        assert_eq!((live.version(), live.len()), (version, 1));
        live.update([&[1][..]], []).unwrap();
        assert!(live.is_empty() && !live.continues(&[], live.root()));
        assert_eq!(live.version(), Trie::from_sids([]).unwrap().version());
    }
}
