//! Random catalogues, and constraints against the set of identifiers that they stand for.

use proptest::prelude::*;
use sidereal_core::Code;
use sidereal_decoding::{Constraint, Trie};
use std::collections::BTreeSet;

/// Identifiers of 1 to 4 codes, or of 4 codes only.
pub fn catalogues() -> impl Strategy<Value = BTreeSet<Vec<Code>>> {
    let sid = |least: usize| {
        (least..=4, (0u32..5, 0u32..4, 0u32..6, 0u32..3))
            .prop_map(|(len, (a, b, c, d))| vec![a, b, c, d][..len].to_vec())
    };
    prop_oneof![
        proptest::collection::btree_set(sid(1), 0..60),
        proptest::collection::btree_set(sid(4), 0..120),
    ]
}

pub fn trie(set: &BTreeSet<Vec<Code>>) -> Trie {
    Trie::from_sids(set.iter().map(Vec::as_slice)).unwrap()
}

/// Codes of the set that follow a prefix.
pub fn naive_children(set: &BTreeSet<Vec<Code>>, prefix: &[Code]) -> Vec<Code> {
    let next = set.iter().filter(|s| s.len() > prefix.len() && s.starts_with(prefix));
    next.map(|s| s[prefix.len()]).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Walks a constraint from the root and compares it with a set everywhere.
pub fn assert_same(constraint: &dyn Constraint, set: &BTreeSet<Vec<Code>>) {
    let mut todo = vec![(vec![], constraint.root())];
    let mut accepted = 0;
    while let Some((prefix, state)) = todo.pop() {
        let mut branches = Vec::new();
        constraint.expand(&prefix, state, &mut branches);
        let got: Vec<Code> = branches.iter().map(|b| b.code).collect();
        assert_eq!(got, naive_children(set, &prefix), "children of {prefix:?}");
        assert_eq!(constraint.accepts(&prefix, state), set.contains(&prefix), "{prefix:?}");
        assert_eq!(constraint.continues(&prefix, state), !got.is_empty(), "{prefix:?}");
        accepted += usize::from(set.contains(&prefix));
        for code in (0..7).chain(got.iter().flat_map(|&c| [c, c + 1])) {
            let want = branches.iter().find(|b| b.code == code).map(|b| b.state);
            assert_eq!(constraint.step(&prefix, state, code), want);
        }
        for b in branches {
            todo.push(([&prefix[..], &[b.code]].concat(), b.state));
        }
    }
    assert_eq!(accepted, set.len());
}
