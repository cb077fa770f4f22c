//! Any constraint with identifiers taken away: members of a slate already chosen, draws already
//! made.
//!
//! Prefixes that no longer lead to any identifier are found when an identifier is removed, so that
//! `expand` never offers a dead branch. Removing costs one path through the inner constraint and
//! one expansion for each prefix that dies; expanding costs the inner expansion and a binary
//! search. Over a trie, [`Subset`](crate::Subset) does the same by rows: cheaper, and the way for
//! all that a request excludes; this one is for decoders, which do not know what they are given.

use super::trie::partition;
use crate::{Branch, Constraint, State};
use sidereal_core::Code;
use std::ops::Range;

/// Another constraint without some of its identifiers. `C` owns the inner constraint or points to
/// it: `&Trie`, `Arc<Trie>`, `&dyn Constraint`, another `Without`.
///
/// More can be removed between the steps of a decoder: states stay those of the inner constraint.
#[derive(Debug, Clone)]
pub struct Without<C> {
    inner: C,
    /// Identifiers taken away.
    removed: Prefixes,
    /// Prefixes with no identifier left at or below them.
    dead: Prefixes,
    count: usize,
}

impl<C: Constraint> Without<C> {
    /// `inner` without the given identifiers; those it does not accept are ignored.
    pub fn new<'s>(inner: C, sids: impl IntoIterator<Item = &'s [Code]>) -> Self {
        let mut without =
            Without { inner, removed: Prefixes::default(), dead: Prefixes::default(), count: 0 };
        for sid in sids {
            without.remove(sid);
        }
        without
    }

    /// Takes one more identifier away; false when it was not there.
    pub fn remove(&mut self, sid: &[Code]) -> bool {
        let mut states = Vec::with_capacity(sid.len() + 1);
        states.push(self.inner.root());
        for (d, &code) in sid.iter().enumerate() {
            match self.inner.step(&sid[..d], states[d], code) {
                Some(state) => states.push(state),
                None => return false,
            }
        }
        if !self.inner.accepts(sid, states[sid.len()]) || !self.removed.insert(sid) {
            return false;
        }
        self.count += 1;
        // From the identifier up: a prefix dies when it is no identifier any more and the dead
        // prefixes below it are all its children.
        let mut children = Vec::new();
        for d in (1..=sid.len()).rev() {
            let prefix = &sid[..d];
            if self.accepts(prefix, states[d]) {
                break;
            }
            children.clear();
            self.inner.expand(prefix, states[d], &mut children);
            if children.len() > self.dead.children(prefix).len() {
                break;
            }
            self.dead.insert(prefix);
        }
        true
    }

    /// Number of identifiers taken away.
    pub fn removed(&self) -> usize {
        self.count
    }
}

impl<C: Constraint> Constraint for Without<C> {
    fn root(&self) -> State {
        self.inner.root()
    }

    fn expand(&self, prefix: &[Code], state: State, out: &mut Vec<Branch>) {
        let from = out.len();
        self.inner.expand(prefix, state, out);
        let mut dead = self.dead.children(prefix);
        if dead.is_empty() {
            return;
        }
        let level = prefix.len() + 1;
        let mut kept = from;
        for i in from..out.len() {
            // Both sides ascend and every dead child is a branch of the inner constraint.
            if !dead.is_empty() && self.dead.row(level, dead.start)[level - 1] == out[i].code {
                dead.start += 1;
            } else {
                out[kept] = out[i];
                kept += 1;
            }
        }
        out.truncate(kept);
    }

    fn accepts(&self, prefix: &[Code], state: State) -> bool {
        self.inner.accepts(prefix, state) && !self.removed.contains(prefix)
    }

    fn step(&self, prefix: &[Code], state: State, code: Code) -> Option<State> {
        let level = prefix.len() + 1;
        let dead = self.dead.children(prefix);
        let at = partition(dead.start, dead.end, |r| self.dead.row(level, r)[level - 1] < code);
        if at < dead.end && self.dead.row(level, at)[level - 1] == code {
            return None;
        }
        self.inner.step(prefix, state, code)
    }

    fn continues(&self, prefix: &[Code], state: State) -> bool {
        let dead = self.dead.children(prefix).len();
        if dead == 0 {
            return self.inner.continues(prefix, state);
        }
        let mut branches = Vec::new();
        self.inner.expand(prefix, state, &mut branches);
        branches.len() > dead
    }
}

/// Sorted code sequences, one flat table of rows for each length.
#[derive(Debug, Clone, Default)]
struct Prefixes {
    /// `by_len[l - 1]` holds rows of `l` codes.
    by_len: Vec<Vec<Code>>,
}

impl Prefixes {
    fn rows(&self, len: usize) -> usize {
        self.by_len.get(len.wrapping_sub(1)).map_or(0, |rows| rows.len() / len)
    }

    fn row(&self, len: usize, row: usize) -> &[Code] {
        &self.by_len[len - 1][row * len..(row + 1) * len]
    }

    /// Rows one code longer than `prefix` that begin with it.
    fn children(&self, prefix: &[Code]) -> Range<usize> {
        let (len, n) = (prefix.len() + 1, self.rows(prefix.len() + 1));
        let start = partition(0, n, |r| &self.row(len, r)[..len - 1] < prefix);
        let end = partition(start, n, |r| &self.row(len, r)[..len - 1] == prefix);
        start..end
    }

    fn contains(&self, sid: &[Code]) -> bool {
        let (len, n) = (sid.len(), self.rows(sid.len()));
        let at = partition(0, n, |r| self.row(len, r) < sid);
        at < n && self.row(len, at) == sid
    }

    /// False when it was there, or for the empty sequence.
    fn insert(&mut self, sid: &[Code]) -> bool {
        let (len, n) = (sid.len(), self.rows(sid.len()));
        let at = partition(0, n, |r| self.row(len, r) < sid);
        if len == 0 || (at < n && self.row(len, at) == sid) {
            return false;
        }
        while self.by_len.len() < len {
            self.by_len.push(Vec::new());
        }
        self.by_len[len - 1].splice(at * len..at * len, sid.iter().copied());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Trie, Unconstrained};

    fn branches(c: &dyn Constraint, prefix: &[Code]) -> Vec<Code> {
        let mut state = c.root();
        for d in 0..prefix.len() {
            state = c.step(&prefix[..d], state, prefix[d]).unwrap();
        }
        let mut out = Vec::new();
        c.expand(prefix, state, &mut out);
        out.iter().map(|b| b.code).collect()
    }

    #[test]
    fn dead_branches_disappear_up_to_the_root() {
        let ids: [&[Code]; 4] = [&[0, 1, 0], &[0, 1, 1], &[0, 2, 0], &[3, 0, 0]];
        let trie = Trie::from_sids(ids).unwrap();
        let mut left = Without::new(&trie, [&[0, 1, 0][..]]);
        assert_eq!(branches(&left, &[0]), [1, 2]);
        assert!(left.remove(&[0, 1, 1]));
        assert!(!left.remove(&[0, 1, 1]) && !left.remove(&[0, 1]) && !left.remove(&[9, 9, 9]));
        assert_eq!(branches(&left, &[0]), [2]);
        assert!(left.remove(&[0, 2, 0]));
        assert_eq!(branches(&left, &[]), [3]);
        assert!(left.remove(&[3, 0, 0]));
        assert!(branches(&left, &[]).is_empty() && !left.continues(&[], left.root()));
        assert_eq!(left.removed(), 4);
    }

    #[test]
    fn a_removed_identifier_may_still_lead_on() {
        let trie = Trie::from_sids([&[5][..], &[5, 1]]).unwrap();
        let mut left = Without::new(&trie, [&[5][..]]);
        let five = left.step(&[], left.root(), 5).unwrap();
        assert!(!left.accepts(&[5], five) && left.continues(&[5], five));
        left.remove(&[5, 1]);
        assert!(branches(&left, &[]).is_empty());
        // The other way round: the child goes, the identifier stays.
        let left = Without::new(&trie, [&[5, 1][..]]);
        assert!(left.accepts(&[5], five) && !left.continues(&[5], five));
        assert_eq!(branches(&left, &[]), [5]);
    }

    #[test]
    fn works_over_any_constraint_and_nests() {
        let free = Unconstrained::new(vec![2, 2]);
        let one = Without::new(&free, [&[0, 0][..]]);
        assert_eq!(branches(&one, &[0]), [1]);
        let boxed: Box<dyn Constraint> =
            Box::new(Without::new(std::sync::Arc::new(one.clone()), []));
        assert_eq!(branches(&boxed, &[0]), [1]);
        let two = Without::new(&one as &dyn Constraint, [&[0, 1][..], &[0, 0]]);
        assert_eq!((branches(&two, &[]), two.removed()), (vec![1], 1));
    }
}
