//! What two constraints allow together.
//!
//! A code goes on only if some whole identifier of both lies behind it. Two prefixes can go on in
//! both and still meet nowhere, so every branch is followed, depth first, to the first identifier
//! that both accept: as a rule a few steps, in the worst case all common prefixes below the branch.
//! Where one side is a trie and many requests share the pair, [`Trie::rows_accepted`] looks once and
//! gives a [`Subset`](super::Subset), which looks no further.
//!
//! The state is that of the first; the second walks the prefix again, one step a code, so put the
//! one with the quicker `step` second.

use super::{Rows, Trie};
use crate::{Branch, Constraint, State};
use sidereal_core::Code;

/// The identifiers of both. Nest it for more than two.
#[derive(Debug, Clone)]
pub struct Both<A, B> {
    first: A,
    second: B,
}

impl<A: Constraint, B: Constraint> Both<A, B> {
    /// What `first` and `second` allow, each owned or pointed to.
    pub fn new(first: A, second: B) -> Self {
        Both { first, second }
    }
}

/// The state of a constraint after a prefix.
fn walk(constraint: &dyn Constraint, prefix: &[Code]) -> Option<State> {
    let step = |state, d: usize| constraint.step(&prefix[..d], state, prefix[d]);
    (0..prefix.len()).try_fold(constraint.root(), step)
}

/// A code and the states of both after it.
#[derive(Debug, Clone, Copy)]
struct Pair {
    code: Code,
    first: State,
    second: State,
}

/// Codes of both, ascending, with no look at what lies behind.
fn common(
    (a, first): (&dyn Constraint, State),
    (b, second): (&dyn Constraint, State),
    prefix: &[Code],
) -> Vec<Pair> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    a.expand(prefix, first, &mut left);
    b.expand(prefix, second, &mut right);
    let mut at = 0;
    let meets = |x: &Branch| {
        while right.get(at).is_some_and(|y| y.code < x.code) {
            at += 1;
        }
        let y = right.get(at).filter(|y| y.code == x.code)?;
        Some(Pair { code: x.code, first: x.state, second: y.state })
    };
    left.iter().filter_map(meets).collect()
}

/// Whether an identifier of both begins with `prefix`, whose states these are.
fn is_alive(
    (a, first): (&dyn Constraint, State),
    (b, second): (&dyn Constraint, State),
    prefix: &[Code],
) -> bool {
    let mut path = prefix.to_vec();
    // Pairs to look at and the length of the prefix that each follows.
    let mut todo: Vec<(usize, Pair)> = Vec::new();
    let (mut first, mut second) = (first, second);
    loop {
        if a.accepts(&path, first) && b.accepts(&path, second) {
            return true;
        }
        let next = common((a, first), (b, second), &path);
        todo.extend(next.into_iter().rev().map(|pair| (path.len(), pair)));
        let Some((len, pair)) = todo.pop() else { return false };
        path.truncate(len);
        path.push(pair.code);
        (first, second) = (pair.first, pair.second);
    }
}

impl<A: Constraint, B: Constraint> Constraint for Both<A, B> {
    fn root(&self) -> State {
        self.first.root()
    }

    fn expand(&self, prefix: &[Code], state: State, out: &mut Vec<Branch>) {
        let Some(second) = walk(&self.second, prefix) else { return };
        let mut path = prefix.to_vec();
        for pair in common((&self.first, state), (&self.second, second), prefix) {
            path.truncate(prefix.len());
            path.push(pair.code);
            if is_alive((&self.first, pair.first), (&self.second, pair.second), &path) {
                out.push(Branch { code: pair.code, state: pair.first });
            }
        }
    }

    fn accepts(&self, prefix: &[Code], state: State) -> bool {
        self.first.accepts(prefix, state)
            && walk(&self.second, prefix).is_some_and(|second| self.second.accepts(prefix, second))
    }

    fn step(&self, prefix: &[Code], state: State, code: Code) -> Option<State> {
        let first = self.first.step(prefix, state, code)?;
        let path = [prefix, &[code]].concat();
        let second = walk(&self.second, &path)?;
        is_alive((&self.first, first), (&self.second, second), &path).then_some(first)
    }

    fn continues(&self, prefix: &[Code], state: State) -> bool {
        let Some(second) = walk(&self.second, prefix) else { return false };
        let mut path = prefix.to_vec();
        common((&self.first, state), (&self.second, second), prefix).iter().any(|pair| {
            path.truncate(prefix.len());
            path.push(pair.code);
            is_alive((&self.first, pair.first), (&self.second, pair.second), &path)
        })
    }
}

impl Trie {
    /// Rows whose identifiers another constraint accepts too; with two tries, their intersection by
    /// merging. Follows the prefixes of both once.
    pub fn rows_accepted(&self, other: &dyn Constraint) -> Rows {
        let mut rows = Vec::new();
        let mut path = Vec::new();
        let mut todo: Vec<(usize, Pair)> = Vec::new();
        let (mut first, mut second) = (self.root(), other.root());
        loop {
            if self.accepts(&path, first) && other.accepts(&path, second) {
                rows.push(self.unpack(first).0 as u32);
            }
            let next = common((self, first), (other, second), &path);
            todo.extend(next.into_iter().rev().map(|pair| (path.len(), pair)));
            let Some((len, pair)) = todo.pop() else { break };
            path.truncate(len);
            path.push(pair.code);
            (first, second) = (pair.first, pair.second);
        }
        Rows::only(self.len(), rows.len(), rows.into_iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unconstrained;
    use crate::constraints::Subset;

    fn next(c: &dyn Constraint, prefix: &[Code]) -> Vec<Code> {
        let mut out = Vec::new();
        c.expand(prefix, walk(c, prefix).unwrap(), &mut out);
        out.iter().map(|b| b.code).collect()
    }

    #[test]
    fn prefixes_of_both_that_meet_nowhere_are_not_offered() {
        // Both know 1, 2; they part behind it.
        let a = Trie::from_sids([&[1, 2, 3][..], &[1, 5], &[4]]).unwrap();
        let b = Trie::from_sids([&[1, 2, 4][..], &[1, 5], &[4, 1]]).unwrap();
        let both = Both::new(&a, &b);
        assert_eq!((next(&both, &[]), next(&both, &[1])), (vec![1], vec![5]));
        assert!(both.step(&[], both.root(), 4).is_none());
        let rows = a.rows_accepted(&b);
        assert_eq!((rows.len(), rows.contains(1)), (1, true));
        assert_eq!(next(&Subset::new(&a, rows).unwrap(), &[]), [1]);
        // With everything of two codes, and nested.
        let free = Unconstrained::new(vec![9, 9]);
        assert_eq!(next(&Both::new(&free, &a), &[1]), [5]);
        assert_eq!(next(&Both::new(Both::new(&free, &a), &b), &[]), [1]);
        let none = Trie::from_sids([]).unwrap();
        assert!(!Both::new(&a, &none).continues(&[], a.root()));
        assert!(a.rows_accepted(&none).is_empty());
    }
}
