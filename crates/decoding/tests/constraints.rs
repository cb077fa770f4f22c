//! Every constraint over a thousand random catalogues against a set: codes that follow, no dead
//! ends, single steps, whole identifiers.

// Helpers outside of test functions unwrap as well.
#![allow(clippy::unwrap_used)]

mod support;

use proptest::prelude::*;
use sidereal_core::Code;
use sidereal_decoding::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use support::catalogues::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn trie_equals_a_set(set in catalogues()) {
        let trie = trie(&set);
        assert_same(&trie, &set);
        prop_assert_eq!(trie.len(), set.len());
        for (row, sid) in set.iter().enumerate() {
            prop_assert_eq!(&trie.sid(row).collect::<Vec<_>>(), sid);
            for d in 0..=sid.len() {
                let below = set.iter().filter(|s| s.starts_with(&sid[..d])).count();
                prop_assert_eq!(trie.count(trie.find(&sid[..d]).unwrap()), below);
            }
        }
        // Insertion order and repeats do not matter; content does.
        let again = Trie::from_sids(set.iter().chain(&set).rev().map(Vec::as_slice)).unwrap();
        prop_assert_eq!(&again, &trie);
        let fewer = Trie::from_sids(set.iter().skip(1).map(Vec::as_slice)).unwrap();
        prop_assert_eq!(fewer.version() == trie.version(), set.is_empty());
    }

    #[test]
    fn wide_tries_equal_a_set(
        set in proptest::collection::btree_set(proptest::collection::vec(0u32..200_000, 2), 1..300)
    ) {
        let trie = trie(&set);
        let mut branches = Vec::new();
        trie.expand(&[], trie.root(), &mut branches);
        let first: Vec<Code> = branches.iter().map(|b| b.code).collect();
        prop_assert_eq!(first, naive_children(&set, &[]));
        prop_assert!(set.iter().all(|s| trie.contains(s)));
    }

    #[test]
    fn subsets_equal_the_smaller_set(
        set in catalogues(),
        keep in proptest::collection::vec(0u32..120, 0..120),
        picks in proptest::collection::vec(0usize..120, 0..90),
        form in 0usize..3,
    ) {
        let trie = trie(&set);
        let kept = |r: usize| keep.contains(&(r as u32));
        let rows = match form {
            0 => Rows::only(trie.len(), 0, keep.iter().copied()),
            1 => Rows::only(trie.len(), usize::MAX, keep.iter().copied()),
            _ => Rows::except(trie.len(), (0..120).filter(|&r| !kept(r as usize)).collect()),
        };
        let mut left: BTreeSet<Vec<Code>> =
            set.iter().enumerate().filter(|&(r, _)| kept(r)).map(|(_, s)| s.clone()).collect();
        let mut subset = Subset::new(&trie, rows).unwrap();
        assert_same(&subset, &left);
        for pick in &picks {
            let Some(sid) = set.iter().nth(*pick) else { continue };
            prop_assert_eq!(subset.remove(sid), left.remove(sid));
        }
        assert_same(&subset, &left);
        prop_assert_eq!(subset.rows().len(), left.len());
    }

    #[test]
    fn without_equals_the_smaller_set(
        set in catalogues(),
        picks in proptest::collection::vec(0usize..120, 0..90),
    ) {
        let trie = trie(&set);
        let mut left = set.clone();
        let mut without = Without::new(&trie, []);
        for (i, pick) in picks.iter().enumerate() {
            let Some(sid) = set.iter().nth(*pick) else { continue };
            prop_assert_eq!(without.remove(sid), left.remove(sid));
            if i % 8 == 0 {
                assert_same(&without, &left);
            }
        }
        assert_same(&without, &left);
        prop_assert_eq!(without.removed(), set.len() - left.len());
        // Over a constraint that already lacks some, only the rest goes.
        let nested = Without::new(&without, set.iter().skip(3).map(Vec::as_slice));
        let rest = left.iter().filter(|s| set.iter().take(3).any(|x| x == *s)).cloned().collect();
        assert_same(&nested, &rest);
    }

    #[test]
    fn both_equals_the_intersection(a in catalogues(), b in catalogues(), c in catalogues()) {
        // Catalogues that share some identifiers, and some prefixes only.
        let a: BTreeSet<_> = &a | &c;
        let b: BTreeSet<_> = &b | &c;
        let common: BTreeSet<_> = &a & &b;
        let (a, b) = (trie(&a), trie(&b));
        assert_same(&Both::new(&a, &b), &common);
        let rows = a.rows_accepted(&b);
        prop_assert_eq!(rows.len(), common.len());
        assert_same(&Subset::new(&a, rows).unwrap(), &common);
        // Nested, and with one that is no trie.
        let some: BTreeSet<_> = common.iter().skip(2).cloned().collect();
        let without = Without::new(&b, common.iter().take(2).map(Vec::as_slice));
        assert_same(&Both::new(&without, &a), &some);
        let four = Unconstrained::new(vec![5, 4, 6, 3]);
        let long: BTreeSet<_> = some.into_iter().filter(|s| s.len() == 4).collect();
        assert_same(&Both::new(Both::new(&a, &without), four), &long);
    }

    #[test]
    fn a_live_index_equals_the_set_it_came_to(
        start in catalogues(),
        updates in proptest::collection::vec((catalogues(), catalogues(), 0usize..9), 0..6),
    ) {
        let mut live = LiveIndex::new(Arc::new(trie(&start))).unwrap();
        let mut set = start.clone();
        let mut snapshots = vec![(live.clone(), set.clone())];
        for (remove, insert, act) in &updates {
            // Most of what is removed is there, and some of it is put in again.
            let remove: BTreeSet<_> =
                remove.iter().chain(set.iter().skip(*act).step_by(3)).cloned().collect();
            let changes = live
                .update(remove.iter().map(Vec::as_slice), insert.iter().map(Vec::as_slice))
                .unwrap();
            let gone = remove.iter().filter(|s| set.remove(*s)).count();
            let new = insert.iter().filter(|s| set.insert(s.to_vec())).count();
            prop_assert_eq!(changes, Changes { inserted: new, removed: gone });
            if *act == 0 {
                live.compact().unwrap();
                prop_assert_eq!(live.pending(), 0);
            }
            prop_assert_eq!(live.version(), trie(&set).version());
            snapshots.push((live.clone(), set.clone()));
        }
        // All of them now, so that updates that reach into clones show.
        for (live, set) in &snapshots {
            assert_same(live, set);
            prop_assert_eq!((live.len(), live.is_empty()), (set.len(), set.is_empty()));
            prop_assert!(set.iter().all(|s| live.contains(s)));
            prop_assert_eq!(live.version(), trie(set).version());
        }
    }

    #[test]
    fn a_set_index_equals_containment(
        sets in proptest::collection::vec(proptest::collection::vec(0u32..8, 1..5), 0..8),
        scale in prop_oneof![Just(1u32), Just(1_000)],
    ) {
        let sorted = |s: &[Code]| {
            let mut s = s.to_vec();
            s.sort_unstable();
            s
        };
        let sets: BTreeSet<Vec<Code>> = sets
            .iter()
            .map(|s| sorted(&s.iter().map(|c| c * scale).collect::<Vec<_>>()))
            .collect();
        // All orders of all codes: the sequences that a set may be written as.
        let mut sequences = BTreeSet::new();
        let mut todo: Vec<(Vec<Code>, Vec<Code>)> =
            sets.iter().map(|s| (vec![], s.clone())).collect();
        while let Some((before, left)) = todo.pop() {
            for i in 0..left.len() {
                let mut rest = left.clone();
                let code = rest.remove(i);
                todo.push(([&before[..], &[code]].concat(), rest));
            }
            if left.is_empty() {
                sequences.insert(before);
            }
        }
        // From sets whose codes stand in descending order.
        let given: Vec<Vec<Code>> =
            sets.iter().map(|s| s.iter().rev().copied().collect()).collect();
        let index = SetIndex::new(given.iter().map(Vec::as_slice)).unwrap();
        assert_same(&index, &sequences);
        for chosen in &sets {
            let count = |of: &[Code], c: Code| of.iter().filter(|&&x| x == c).count();
            let holds = |s: &&Vec<Code>| chosen.iter().all(|&c| count(s, c) >= count(chosen, c));
            let want: Vec<Vec<Code>> = sets.iter().filter(holds).cloned().collect();
            prop_assert_eq!(index.containing(chosen).collect::<Vec<_>>(), want);
        }
    }
}

/// Titles as a shop has them: words that repeat, one title the beginning of another.
fn titles() -> BTreeSet<String> {
    const BRANDS: [&str; 7] =
        ["Maybelline", "L'Oréal Paris", "e.l.f.", "NYX", "Burt's Bees", "資生堂", "OPI"];
    const KINDS: [&str; 6] =
        ["Lip Balm", "Nail Polish", "Mascara", "Volume Mascara", "Hand Cream", "Eye Shadow"];
    const MORE: [&str; 6] =
        ["", ", 2 oz", " (Pack of 2)", " - Waterproof", ", 2 oz (Pack of 3)", " Refill"];
    let mut titles = BTreeSet::new();
    for i in 0..7 * 6 * 6 * 10 {
        let number = if i / 252 == 0 { String::new() } else { format!(" No. {}", i / 252 * 7) };
        titles.insert(format!(
            "{} {}{number}{}",
            BRANDS[i % 7],
            KINDS[i / 7 % 6],
            MORE[i / 42 % 6]
        ));
    }
    titles
}

#[test]
fn titles_as_bytes_and_as_words() {
    let titles = titles();
    assert_eq!(titles.len(), 2_520);
    let bytes: BTreeSet<Vec<Code>> =
        titles.iter().map(|t| t.bytes().map(Code::from).collect()).collect();
    // Words numbered through over a vocabulary larger than 16 bits, as tokenizers have it.
    let words: BTreeSet<&str> = titles.iter().flat_map(|t| t.split(' ')).collect();
    let number = |w: &str| (words.range(..w).count() * 1_000 + 3) as Code;
    let words: BTreeSet<Vec<Code>> =
        titles.iter().map(|t| t.split(' ').map(number).collect()).collect();
    for set in [bytes, words] {
        let trie = trie(&set);
        assert_eq!(trie.len(), 2_520);
        assert!(set.iter().all(|s| trie.contains(s)));
        // Every prefix once, with the codes behind it from neighbours in order.
        let mut behind: std::collections::BTreeMap<&[Code], BTreeSet<Code>> = Default::default();
        for sid in &set {
            for d in 0..sid.len() {
                behind.entry(&sid[..d]).or_default().insert(sid[d]);
            }
        }
        for (prefix, want) in &behind {
            let state = trie.find(prefix).unwrap();
            let mut out = Vec::new();
            trie.expand(prefix, state, &mut out);
            assert!(out.iter().map(|b| b.code).eq(want.iter().copied()));
            assert_eq!(trie.accepts(prefix, state), set.contains(*prefix));
        }
    }
}

#[test]
fn a_million_identifiers_take_nine_bytes_each() {
    let code = |i: u64| (sidereal_core::seed::mix(i) % 1_024) as Code;
    let codes: Vec<Code> = (0..4_000_000).map(code).collect();
    let trie = Trie::from_codes(&codes, 4).unwrap();
    // 2 bytes a code, and bits at the levels where neighbours share codes.
    assert!(trie.len() > 999_000 && trie.bytes() < 9 * trie.len());
    assert!(codes.chunks(4).step_by(97).all(|sid| trie.contains(sid)));
    let mut sid = [0; 4];
    let absent = (0..1_000u64).filter(|&i| {
        sid.iter_mut().zip(0..).for_each(|(c, j)| *c = code(5_000_000 + 4 * i + j));
        !trie.contains(&sid)
    });
    // One in 2^40 / 10^6 is there by chance.
    assert!(absent.count() >= 999);
    assert!(trie.sid(0).le(trie.sid(1)) && trie.sid(trie.len()).next().is_none());
}
