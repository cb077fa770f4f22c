//! Random catalogues and scorers: decoders against naive models.

// Helpers outside of test functions unwrap as well.
#![allow(clippy::unwrap_used)]

mod support;

use proptest::prelude::*;
use sidereal_core::{Result, Run};
use sidereal_decoding::*;
use std::collections::BTreeSet;
use support::catalogues::*;
use support::*;

const WIDTHS: [usize; 4] = [5, 4, 6, 3];

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
