//! Random catalogues and scorers: index, constraints and decoders against naive models.

// Helpers outside of test functions unwrap as well.
#![allow(clippy::unwrap_used)]

mod support;

use proptest::prelude::*;
use sidereal_core::{Code, Result, Run};
use sidereal_decoding::*;
use std::collections::BTreeSet;
use support::*;

const WIDTHS: [usize; 4] = [5, 4, 6, 3];

/// Identifiers of 1 to 4 codes, or of 4 codes only.
fn catalogues() -> impl Strategy<Value = BTreeSet<Vec<Code>>> {
    let sid = |least: usize| {
        (least..=4, (0u32..5, 0u32..4, 0u32..6, 0u32..3))
            .prop_map(|(len, (a, b, c, d))| vec![a, b, c, d][..len].to_vec())
    };
    prop_oneof![
        proptest::collection::btree_set(sid(1), 0..60),
        proptest::collection::btree_set(sid(4), 0..120),
    ]
}

fn trie(set: &BTreeSet<Vec<Code>>) -> Trie {
    Trie::from_sids(set.iter().map(Vec::as_slice)).unwrap()
}

/// Codes of the set that follow a prefix.
fn naive_children(set: &BTreeSet<Vec<Code>>, prefix: &[Code]) -> Vec<Code> {
    let next = set.iter().filter(|s| s.len() > prefix.len() && s.starts_with(prefix));
    next.map(|s| s[prefix.len()]).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Walks a constraint from the root and compares it with a set everywhere.
fn assert_same(constraint: &dyn Constraint, set: &BTreeSet<Vec<Code>>) {
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
        for code in 0..7 {
            let want = branches.iter().find(|b| b.code == code).map(|b| b.state);
            assert_eq!(constraint.step(&prefix, state, code), want);
        }
        for b in branches {
            todo.push(([&prefix[..], &[b.code]].concat(), b.state));
        }
    }
    assert_eq!(accepted, set.len());
}

fn assert_close(got: &[Hypothesis], want: &[Hypothesis]) {
    assert_eq!(codes(got), codes(want));
    for (g, w) in got.iter().zip(want) {
        assert!((g.score - w.score).abs() < 1e-12 && g.valid && w.valid);
        assert!((g.log_prob_full - w.log_prob_full).abs() < 1e-12);
        assert!((g.log_prob_masked - w.log_prob_masked).abs() < 1e-12);
    }
}

fn options(width: u32, masked: bool) -> BeamOptions {
    let score = if masked { ScoreRule::Masked } else { ScoreRule::Full };
    BeamOptions { width, score, ..Default::default() }
}

/// Counts the rows that it is asked about.
struct Asked(TableScorer, usize);

impl CodeScorer for Asked {
    fn requests(&self) -> usize {
        self.0.requests()
    }

    fn levels(&self) -> usize {
        self.0.levels()
    }

    fn width(&self, level: usize) -> usize {
        self.0.width(level)
    }

    fn advance(&mut self, level: usize, rows: &[Row], logits: &mut Vec<f32>) -> Result<()> {
        self.1 += rows.len();
        self.0.advance(level, rows, logits)
    }
}

proptest! {
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
    fn exhaustive_equals_the_definition(set in catalogues(), key in 0u64..1000) {
        let exact = Exhaustive::new(ExhaustiveOptions { width: 500, ..Default::default() }).unwrap();
        let got = exact.decode(&mut TableScorer::random(&[key], &WIDTHS), &[&trie(&set)], &Run::quiet(0)).unwrap();
        let want = brute_force(random_logit, key, &WIDTHS, &set);
        prop_assert_eq!(got[0].len(), want.len());
        for (h, (sid, full, masked)) in got[0].iter().zip(&want) {
            // Sums that differ by less than f32 exponentials resolve could swap.
            prop_assert!((h.score - full).abs() < 2e-6);
            if &h.codes == sid {
                prop_assert!((h.log_prob_masked - masked).abs() < 2e-6);
            }
        }
        let fixed = set.iter().all(|s| s.len() == 4);
        let mass: f64 = got[0].iter().map(|h| h.log_prob_masked.exp()).sum();
        prop_assert!(set.is_empty() || !fixed || (mass - 1.0).abs() < 1e-5, "mass {mass}");
    }

    #[test]
    fn a_wide_beam_is_exhaustive(set in catalogues(), key in 0u64..1000, masked: bool, coarse: bool) {
        let trie = trie(&set);
        let logit: Logit = if coarse { coarse_logit } else { random_logit };
        let scorer = || TableScorer::new(&[key, key + 1], &WIDTHS, logit);
        let score = options(1, masked).score;
        for alpha in [0.0, 0.7] {
            let width = set.len().max(1) as u32;
            let exact = Exhaustive::new(ExhaustiveOptions {
                width, score, length_normalization: alpha, ..Default::default()
            }).unwrap().decode(&mut scorer(), &[&trie], &Run::quiet(0)).unwrap();
            let wide = Beam::new(BeamOptions { width, score, length_normalization: alpha, ..Default::default() })
                .unwrap().decode(&mut scorer(), &[&trie], &Run::quiet(0)).unwrap();
            for (w, e) in wide.iter().zip(&exact) {
                assert_close(w, e);
                prop_assert_eq!(w.len(), set.len());
            }
        }
    }

    #[test]
    fn beams_give_distinct_members_in_order_and_batches_change_nothing(
        set in catalogues(),
        keys in proptest::collection::vec(0u64..50, 1..6),
        width in 1u32..12,
        masked: bool,
        gone in 0usize..30,
    ) {
        let trie = trie(&set);
        let beam = Beam::new(options(width, masked)).unwrap();
        // Request i lacks the first i * gone / 4 identifiers: constraints differ in the batch.
        let withouts: Vec<_> = (0..keys.len())
            .map(|i| Without::new(&trie, set.iter().take(i * gone / 4).map(Vec::as_slice)))
            .collect();
        let constraints: Vec<&dyn Constraint> = withouts.iter().map(|w| w as _).collect();
        let batch = beam.decode(&mut TableScorer::new(&keys, &WIDTHS, coarse_logit), &constraints, &Run::quiet(0));
        let batch = batch.unwrap();
        for (i, list) in batch.iter().enumerate() {
            let left: BTreeSet<_> = set.iter().skip(i * gone / 4).collect();
            let distinct: BTreeSet<_> = list.iter().map(|h| &h.codes).collect();
            prop_assert_eq!(distinct.len(), list.len());
            prop_assert!(list.len() <= width as usize);
            prop_assert!(!list.is_empty() || left.is_empty());
            prop_assert!(list.iter().all(|h| h.valid && left.contains(&h.codes)));
            let ordered = |w: &[Hypothesis]| w[0].score > w[1].score
                || (w[0].score == w[1].score && w[0].codes < w[1].codes);
            prop_assert!(list.windows(2).all(ordered));
            let mut alone = TableScorer::new(&keys[i..=i], &WIDTHS, coarse_logit);
            let alone = beam.decode(&mut alone, &constraints[i..=i], &Run::quiet(0)).unwrap();
            prop_assert_eq!(&alone[0], list);
        }
    }

    #[test]
    fn ranked_sums_find_the_same_and_ask_for_less(
        set in catalogues(),
        keys in proptest::collection::vec(0u64..50, 1..6),
        width in 1u32..12,
        masked: bool,
        coarse: bool,
        gone in 0usize..30,
    ) {
        let trie = trie(&set);
        let left = Without::new(&trie, set.iter().take(gone).map(Vec::as_slice));
        let logit: Logit = if coarse { coarse_logit } else { random_logit };
        let decode = |sums| {
            let beam = Beam::new(BeamOptions { sums, ..options(width, masked) }).unwrap();
            let mut scorer = Asked(TableScorer::new(&keys, &WIDTHS, logit), 0);
            let found = beam.decode(&mut scorer, &[&left], &Run::quiet(0)).unwrap();
            (found, scorer.1)
        };
        let ((both, all), (ranked, fewer)) = (decode(Sums::Both), decode(Sums::Ranked));
        for (r, b) in ranked.iter().zip(&both) {
            prop_assert_eq!(codes(r), codes(b));
            for (r, b) in r.iter().zip(b) {
                // Bit for bit: a settled step adds ln 1.
                prop_assert_eq!(r.score, b.score);
                let (kept, other) = match masked {
                    true => (r.log_prob_masked, r.log_prob_full),
                    false => (r.log_prob_full, r.log_prob_masked),
                };
                prop_assert!(kept == b.score && other.is_nan());
            }
        }
        prop_assert!(fewer <= all && (masked || fewer == all));
        // Where each first code has one identifier, only the first level is scored.
        let lone = set.iter().filter(|s| set.iter().filter(|t| t[0] == s[0]).count() == 1);
        let lone = Trie::from_sids(lone.map(Vec::as_slice)).unwrap();
        let beam = Beam::new(BeamOptions { sums: Sums::Ranked, ..options(width, true) }).unwrap();
        let mut scorer = Asked(TableScorer::new(&keys, &WIDTHS, logit), 0);
        beam.decode(&mut scorer, &[&lone], &Run::quiet(0)).unwrap();
        prop_assert_eq!(scorer.1, keys.len());
    }

    #[test]
    fn free_beams_mark_members(set in catalogues(), key in 0u64..1000, width in 1u32..500) {
        let free = FreeBeam::new(options(width, false)).unwrap();
        let got = free.decode(&mut TableScorer::random(&[key], &WIDTHS), &[&trie(&set)], &Run::quiet(0)).unwrap();
        prop_assert_eq!(got[0].len(), (width as usize).min(360));
        prop_assert!(got[0].iter().all(|h| h.valid == set.contains(&h.codes)));
    }
}
