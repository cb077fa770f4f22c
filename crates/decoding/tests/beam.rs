//! Beam search against hand-made cases and full enumeration.

// Helpers outside of test functions unwrap as well.
#![allow(clippy::unwrap_used)]

mod support;

use sidereal_core::{Catalog, Code, Error, Run, Spec, serde_json};
use sidereal_decoding::*;
use std::collections::BTreeSet;
use support::*;

fn beam(width: u32, score: ScoreRule) -> Beam {
    Beam::new(BeamOptions { width, score, ..Default::default() }).unwrap()
}

fn free(width: u32) -> FreeBeam {
    FreeBeam::new(BeamOptions { width, ..Default::default() }).unwrap()
}

fn trie(set: &BTreeSet<Vec<Code>>) -> Trie {
    Trie::from_sids(set.iter().map(Vec::as_slice)).unwrap()
}

/// Two digits: prefixes .40, .35, .25; the best leaf is .25 * .90 = .225 below the third.
fn hidden_leaf(_: u64, prefix: &[Code], code: Code) -> f32 {
    let p: f32 = match (prefix, code) {
        ([], 0) => 0.40,
        ([], 1) => 0.35,
        ([], 2) => 0.25,
        ([0], 0) => 0.50,
        ([0], _) => 0.25,
        ([1], _) => 1.0 / 3.0,
        ([2], 1) => 0.90,
        _ => 0.05,
    };
    p.ln()
}

#[test]
fn a_narrow_beam_misses_the_leaf_below_the_third_prefix() {
    let index = trie(&all_sequences(&[3, 3]));
    let scorer = || TableScorer::new(&[0], &[3, 3], hidden_leaf);
    for constrained in [true, false] {
        let decode = |k| match constrained {
            true => beam(k, ScoreRule::Full).decode(&mut scorer(), &[&index], &Run::quiet(0)),
            false => free(k).decode(&mut scorer(), &[&index], &Run::quiet(0)),
        };
        let two = decode(2).unwrap();
        assert_eq!(two[0][0].codes, [0, 0]);
        assert!((two[0][0].score.exp() - 0.20).abs() < 1e-6);
        assert!(two[0].iter().all(|h| h.codes != [2, 1]));
        let three = decode(3).unwrap();
        assert_eq!(three[0][0].codes, [2, 1]);
        assert!((three[0][0].score.exp() - 0.225).abs() < 1e-6);
    }
    let exact = Exhaustive::new(ExhaustiveOptions::default()).unwrap();
    let all = exact.decode(&mut scorer(), &[&index], &Run::quiet(0)).unwrap();
    assert_eq!((all[0].len(), &all[0][0].codes[..]), (9, &[2, 1][..]));
    assert!(all[0].iter().all(|h| h.provenance == Provenance::Exhaustive));
    let found = beam(2, ScoreRule::Full).decode(&mut scorer(), &[&index], &Run::quiet(0)).unwrap();
    assert!(found[0].iter().all(|h| h.provenance == Provenance::Beam));
}

#[test]
fn a_beam_as_wide_as_the_space_equals_enumeration() {
    let widths = [4, 3, 5];
    let space = all_sequences(&widths);
    for key in 0..5 {
        let want = brute_force(random_logit, key, &widths, &space);
        let got = free(64)
            .decode(&mut TableScorer::random(&[key], &widths), &[&trie(&space)], &Run::quiet(0))
            .unwrap();
        assert_eq!(got[0].len(), 60);
        for (h, (sid, full, _)) in got[0].iter().zip(&want) {
            assert_eq!(&h.codes, sid);
            assert!((h.score - full).abs() < 1e-6 && h.valid);
            assert_eq!((h.log_prob_full, h.log_prob_masked), (h.score, h.score));
        }
        let mass: f64 = got[0].iter().map(|h| h.score.exp()).sum();
        assert!((mass - 1.0).abs() < 1e-6);
    }
}

#[test]
fn mass_of_the_catalogue() {
    let widths = [6, 5, 4];
    let space = all_sequences(&widths);
    for key in 0..5u64 {
        let table: BTreeSet<Vec<Code>> =
            space.iter().skip(key as usize).step_by(7).cloned().collect();
        let index = trie(&table);
        let scorer = || TableScorer::random(&[key], &widths);
        let checked =
            beam(200, ScoreRule::Masked).decode(&mut scorer(), &[&index], &Run::quiet(0)).unwrap();
        assert_eq!(checked[0].len(), table.len());
        assert!(checked[0].iter().all(|h| h.valid && table.contains(&h.codes)));
        let mass = |list: &[Hypothesis], f: fn(&Hypothesis) -> f64| -> f64 {
            list.iter().filter(|h| h.valid).map(|h| f(h).exp()).sum()
        };
        assert!((mass(&checked[0], |h| h.log_prob_masked) - 1.0).abs() < 1e-6);
        let unchecked = free(200).decode(&mut scorer(), &[&index], &Run::quiet(0)).unwrap();
        assert_eq!(unchecked[0].iter().filter(|h| h.valid).count(), table.len());
        let valid = mass(&unchecked[0], |h| h.log_prob_full);
        assert!(valid < 0.9, "most sequences are no items, valid mass {valid}");
        assert!((mass(&checked[0], |h| h.log_prob_full) - valid).abs() < 1e-9);
    }
}

#[test]
fn free_search_reports_what_is_not_in_the_catalogue() {
    let ids: [&[Code]; 1] = [&[0, 1]];
    let index = Trie::from_sids(ids).unwrap();
    let got = free(3)
        .decode(&mut TableScorer::new(&[0], &[3, 3], hidden_leaf), &[&index], &Run::quiet(0))
        .unwrap();
    assert_eq!(codes(&got[0]), [[2, 1], [0, 0], [1, 0]]);
    assert!(got[0].iter().all(|h| !h.valid));
}

#[test]
fn equal_scores_come_in_code_order() {
    let space = all_sequences(&[3, 3]);
    let flat: Logit = |_, _, _| 0.5;
    for width in [1, 2, 4, 9, 20] {
        let got = beam(width, ScoreRule::Full)
            .decode(&mut TableScorer::new(&[0, 1], &[3, 3], flat), &[&trie(&space)], &Run::quiet(0))
            .unwrap();
        let want: Vec<_> = space.iter().take(width as usize).cloned().collect();
        assert_eq!(codes(&got[0]), want);
        assert_eq!(got[0], got[1]);
    }
}

#[test]
fn a_lone_child_costs_nothing_when_masked() {
    let ids: [&[Code]; 2] = [&[0, 2, 1], &[1, 0, 0]];
    let index = Trie::from_sids(ids).unwrap();
    let got = beam(5, ScoreRule::Masked)
        .decode(&mut TableScorer::random(&[3], &[3, 3, 3]), &[&index], &Run::quiet(0))
        .unwrap();
    let first = |c: Code| f64::from(random_logit(3, &[], c));
    let want = -(1.0 + (first(1) - first(0)).exp()).ln();
    let zero = got[0].iter().find(|h| h.codes[0] == 0).unwrap();
    assert!((zero.score - want).abs() < 1e-6 && zero.score == zero.log_prob_masked);
    assert!(zero.log_prob_full < zero.log_prob_masked);
}

#[test]
fn an_identifier_that_goes_on_is_returned_and_continued() {
    // [0] is an identifier and the prefix of two more.
    let ids: [&[Code]; 4] = [&[0], &[0, 0], &[0, 1, 2], &[2]];
    let index = Trie::from_sids(ids).unwrap();
    let run = |alpha: f64| {
        Beam::new(BeamOptions { length_normalization: alpha, ..Default::default() })
            .unwrap()
            .decode(&mut TableScorer::random(&[8], &[3, 3, 3]), &[&index], &Run::quiet(0))
            .unwrap()
    };
    let plain = run(0.0);
    assert_eq!(plain[0].len(), 4);
    let score = |list: &[Hypothesis], sid: &[Code]| {
        list.iter().find(|h| h.codes == sid).map(|h| h.score).unwrap()
    };
    assert!(score(&plain[0], &[0]) > score(&plain[0], &[0, 0]));
    let normal = run(1.0);
    for h in &normal[0] {
        let sum = score(&plain[0], &h.codes);
        assert!((h.score - sum / h.codes.len() as f64).abs() < 1e-12);
        assert_eq!(h.log_prob_full, sum);
    }
    assert!(normal[0].windows(2).all(|w| w[0].score >= w[1].score));
}

#[test]
fn impossible_codes_are_not_generated() {
    let ids: [&[Code]; 3] = [&[0, 0], &[0, 1], &[1, 1]];
    let index = Trie::from_sids(ids).unwrap();
    // Request 0 forbids code 1 everywhere; request 1 forbids everything at level 1.
    let logit: Logit = |key, prefix, code| match (key, prefix.len(), code) {
        (0, _, 1) | (1, 1, _) => f32::NEG_INFINITY,
        _ => 0.0,
    };
    let exact = Exhaustive::new(ExhaustiveOptions::default()).unwrap();
    for score in [ScoreRule::Full, ScoreRule::Masked] {
        for decoder in [&beam(5, score) as &dyn Decoder, &exact] {
            let mut scorer = TableScorer::new(&[0, 1, 2], &[2, 2], logit);
            let got = decoder.decode(&mut scorer, &[&index], &Run::quiet(0)).unwrap();
            assert_eq!(codes(&got[0]), [[0, 0]]);
            assert!(got[1].is_empty());
            assert_eq!(got[2].len(), 3);
            assert!(got.iter().flatten().all(|h| h.score.is_finite()));
        }
    }
}

#[test]
fn empty_catalogues_and_batches_give_empty_lists() {
    let none = Trie::from_sids([]).unwrap();
    let got = beam(3, ScoreRule::Full)
        .decode(&mut TableScorer::random(&[1, 2], &[3, 3]), &[&none], &Run::quiet(0))
        .unwrap();
    assert_eq!(got, [vec![], vec![]]);
    let got = beam(3, ScoreRule::Full)
        .decode(&mut TableScorer::random(&[], &[3]), &[&none], &Run::quiet(0))
        .unwrap();
    assert!(got.is_empty());
}

#[test]
fn errors_name_request_level_and_remedy() {
    let ids: [&[Code]; 2] = [&[0, 0], &[1, 2]];
    let index = Trie::from_sids(ids).unwrap();
    let fail = |widths: &[usize], logit: Logit, n: usize| {
        let keys: Vec<u64> = (0..3).collect();
        let constraints = vec![&index as &dyn Constraint; n];
        beam(2, ScoreRule::Full)
            .decode(&mut TableScorer::new(&keys, widths, logit), &constraints, &Run::quiet(0))
            .unwrap_err()
    };
    let nan: Logit = |key, prefix, _| if key == 2 && prefix.len() == 1 { f32::NAN } else { 0.0 };
    let e = fail(&[2, 3], nan, 1);
    assert!(matches!(e, Error::NotFinite { .. }));
    assert!(e.to_string().contains("request 2 at level 1"), "{e}");
    let inf: Logit = |_, _, code| if code == 0 { f32::INFINITY } else { 0.0 };
    assert!(fail(&[2, 3], inf, 1).to_string().contains("request 0 at level 0"));
    let narrow = fail(&[2, 2], |_, _, _| 0.0, 1).to_string();
    assert!(narrow.contains("code 2 at level 1") && narrow.contains("0 to 1"), "{narrow}");
    assert!(fail(&[2], |_, _, _| 0.0, 1).to_string().contains("1 levels"));
    assert!(fail(&[2, 3], |_, _, _| 0.0, 2).to_string().contains("2 constraints for 3 requests"));

    let small = Exhaustive::new(ExhaustiveOptions { limit: 5, ..Default::default() }).unwrap();
    let e = small
        .decode(
            &mut TableScorer::random(&[0], &[9, 9]),
            &[&Unconstrained::new(vec![9, 9])],
            &Run::quiet(0),
        )
        .unwrap_err()
        .to_string();
    assert!(e.contains("decoder.limit") && e.contains("more than 5 prefixes"), "{e}");
}

#[test]
fn decoders_by_name() {
    let mut catalog: Catalog<dyn Decoder> = Catalog::new("decoder");
    register(&mut catalog).unwrap();
    for name in ["beam", "free-beam", "exhaustive"] {
        let spec = Spec::new("decoder", name).with("width", 7).with("score", "masked");
        assert_eq!(catalog.build(&spec, &()).unwrap().width(), 7);
        assert_eq!(catalog.build(&Spec::new("decoder", name), &()).unwrap().width(), 50);
        assert_eq!(catalog.resolve(&Spec::new("decoder", name)).unwrap()["score"], "full");
        let refused = |key: &str, value: serde_json::Value| {
            catalog.build(&Spec::new("decoder", name).with(key, value), &()).err().unwrap()
        };
        let e = refused("width", 0.into()).to_string();
        assert!(e.contains("decoder.width") && e.contains("1 to 1048576"), "{e}");
        let e = refused("length_normalization", (-1.0).into()).to_string();
        assert!(e.contains("decoder.length_normalization") && e.contains("-1"), "{e}");
        assert!(refused("score", "half".into()).to_string().contains("decoder.score"));
    }
}
