//! Diverse beams, best of n, explanations; and what every decoder must keep to, on random
//! catalogues and by hand.

// Helpers outside of test functions unwrap as well.
#![allow(clippy::unwrap_used)]

mod support;

use proptest::prelude::*;
use sidereal_core::{Catalog, Code, Run, Spec, serde_json::json};
use sidereal_decoding::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use support::*;

const WIDTHS: [usize; 3] = [5, 4, 6];

fn trie(set: &BTreeSet<Vec<Code>>) -> Trie {
    Trie::from_sids(set.iter().map(Vec::as_slice)).unwrap()
}

fn catalog() -> Catalog<dyn Decoder> {
    let mut catalog: Catalog<dyn Decoder> = Catalog::new("decoder");
    register(&mut catalog).unwrap();
    catalog
}

fn build(spec: Spec) -> Box<dyn Decoder> {
    catalog().build(&spec, &()).unwrap()
}

fn named(name: &str) -> Spec {
    Spec::new("decoder", name)
}

/// Every decoder of this crate that stays inside the constraint, at a width.
fn constrained(width: u32) -> Vec<(&'static str, Box<dyn Decoder>)> {
    let with = |name| named(name).with("width", width);
    let best = |draws: &str| {
        with("best-of-n")
            .with("draws", json!({"type": draws, "width": width}))
            .with("fallback", json!({"type": "beam", "width": width}))
    };
    vec![
        ("beam", build(with("beam"))),
        ("exhaustive", build(with("exhaustive"))),
        ("diverse-beam", build(with("diverse-beam").with("groups", 1))),
        ("groups", build(with("diverse-beam").with("groups", width).with("diversity", 0.3))),
        ("ancestral", build(with("ancestral"))),
        ("without", build(with("ancestral").with("replacement", "without"))),
        ("cut", build(with("ancestral").with("top_k", 3).with("top_p", 0.9))),
        ("stochastic-beam", build(with("stochastic-beam"))),
        ("annealed", build(with("annealed"))),
        ("best-of-n", build(best("ancestral"))),
        ("best-of-beam", build(best("annealed"))),
    ]
}

/// Hypotheses without where they come from.
fn without_provenance(lists: Vec<Vec<Hypothesis>>) -> Vec<Vec<Hypothesis>> {
    let plain = |h: Hypothesis| Hypothesis { provenance: Provenance::Beam, ..h };
    lists.into_iter().map(|list| list.into_iter().map(plain).collect()).collect()
}

/// Levels that know nothing of each other, and say so or not.
struct Apart {
    levels: Levels,
    shown: bool,
}

impl CodeScorer for Apart {
    fn requests(&self) -> usize {
        self.levels.requests()
    }

    fn levels(&self) -> usize {
        self.levels.levels()
    }

    fn width(&self, level: usize) -> usize {
        self.levels.width(level)
    }

    fn advance(
        &mut self,
        level: usize,
        rows: &[Row],
        logits: &mut Vec<f32>,
    ) -> sidereal_core::Result<()> {
        self.levels.advance(level, rows, logits)
    }

    fn independent(&self) -> Option<&Levels> {
        self.shown.then_some(&self.levels)
    }
}

fn catalogues() -> impl Strategy<Value = BTreeSet<Vec<Code>>> {
    let sid = |least: usize| {
        (least..=3, (0u32..5, 0u32..4, 0u32..6))
            .prop_map(|(len, (a, b, c))| vec![a, b, c][..len].to_vec())
    };
    prop_oneof![
        proptest::collection::btree_set(sid(1), 0..40),
        proptest::collection::btree_set(sid(3), 0..80),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_decoder_keeps_its_contract(
        set in catalogues(),
        keys in proptest::collection::vec(0u64..50, 1..4),
        width in 1u32..14,
        coarse: bool,
        seed in 0u64..1000,
        gone in 0usize..20,
    ) {
        let index = trie(&set);
        let logit: Logit = if coarse { coarse_logit } else { random_logit };
        let scorer = || TableScorer::new(&keys, &WIDTHS, logit);
        // Request i lacks the first i * gone / 4 identifiers.
        let withouts: Vec<_> = (0..keys.len())
            .map(|i| Without::new(&index, set.iter().take(i * gone / 4).map(Vec::as_slice)))
            .collect();
        let constraints: Vec<&dyn Constraint> = withouts.iter().map(|w| w as _).collect();
        for (name, decoder) in constrained(width) {
            let run = Run::quiet(seed);
            let lists = decoder.decode(&mut scorer(), &constraints, &run).unwrap();
            prop_assert_eq!(&lists, &decoder.decode(&mut scorer(), &constraints, &run).unwrap());
            prop_assert_eq!(lists.len(), keys.len());
            for (i, list) in lists.iter().enumerate() {
                let left: BTreeSet<_> = set.iter().skip(i * gone / 4).cloned().collect();
                let distinct: BTreeSet<_> = list.iter().map(|h| &h.codes).collect();
                prop_assert_eq!(distinct.len(), list.len(), "{}", name);
                prop_assert!(list.len() <= (width as usize).min(left.len()), "{}", name);
                prop_assert!(!list.is_empty() || left.is_empty(), "{}", name);
                let repeats = matches!(name, "ancestral" | "cut" | "groups" | "best-of-n" | "best-of-beam");
                let narrow = matches!(name, "beam" | "diverse-beam");
                if !repeats && !narrow {
                    prop_assert_eq!(list.len(), (width as usize).min(left.len()), "{}", name);
                }
                let ordered = |w: &[Hypothesis]| w[0].score > w[1].score
                    || (w[0].score == w[1].score && w[0].codes < w[1].codes);
                prop_assert!(list.windows(2).all(ordered), "{}", name);
                let copies: u32 =
                    list.iter().filter_map(|h| h.provenance.draw()).map(|d| d.copies).sum();
                prop_assert!(copies <= width);
                let independent = matches!(name, "ancestral" | "cut");
                prop_assert!(!independent || left.is_empty() || copies == width);
                for h in list {
                    prop_assert!(h.valid && left.contains(&h.codes), "{}", name);
                    let (full, masked) = naive_sums(logit, keys[i], &WIDTHS, &left, &h.codes);
                    prop_assert!((h.log_prob_full - full).abs() < 2e-6, "{}", name);
                    prop_assert!((h.log_prob_masked - masked).abs() < 2e-6, "{}", name);
                }
            }
        }
    }

    #[test]
    fn scores_of_all_levels_at_once_rank_as_the_walk_does(
        set in catalogues(),
        requests in 1usize..4,
        width in 1u32..14,
        seed in 0u64..1000,
        coarse: bool,
        impossible in 0usize..4,
        gone in 0usize..30,
    ) {
        let index = trie(&set);
        let mut rows = Rows::all(index.len());
        rows.remove_all((0..gone as u32).map(|i| i * 3).collect());
        let cut = Subset::new(&index, rows).unwrap();
        let logit: Logit = if coarse { coarse_logit } else { random_logit };
        let level = |(h, &codes): (usize, &usize)| -> Vec<f32> {
            (0..requests * codes).map(|i| logit(seed + h as u64, &[], i as Code)).collect()
        };
        let mut levels: Vec<Vec<f32>> = WIDTHS.iter().enumerate().map(level).collect();
        (0..impossible).for_each(|i| levels[i % 3][i] = f32::NEG_INFINITY);
        let levels = Levels::new(requests, levels).unwrap();
        let exhaustive = build(named("exhaustive").with("width", width));
        for constraint in [&index as &dyn Constraint, &cut] {
            let decode = |shown| {
                let mut scorer = Apart { levels: levels.clone(), shown };
                exhaustive.decode(&mut scorer, &[constraint], &Run::quiet(0)).unwrap()
            };
            let (rows, walk) = (decode(true), decode(false));
            prop_assert_eq!(rows.len(), walk.len());
            for (a, b) in rows.iter().flatten().zip(walk.iter().flatten()) {
                prop_assert_eq!((&a.codes, a.score.to_bits()), (&b.codes, b.score.to_bits()));
            }
            for (a, b) in rows.iter().zip(&walk) {
                prop_assert_eq!(a.len(), b.len());
            }
        }
    }

    #[test]
    fn wide_enough_finds_everything(set in catalogues(), key in 0u64..1000, seed in 0u64..100) {
        let index = trie(&set);
        let width = set.len().max(1) as u32 + 3;
        let scorer = || TableScorer::random(&[key], &WIDTHS);
        let run = Run::quiet(seed);
        let all = build(named("exhaustive").with("width", width));
        let all = without_provenance(all.decode(&mut scorer(), &[&index], &run).unwrap());
        for spec in [
            named("stochastic-beam"),
            named("annealed"),
            named("ancestral").with("replacement", "without"),
            named("diverse-beam").with("groups", 1).with("diversity", 2.0),
            named("best-of-n").with("fallback", json!({"type": "exhaustive", "width": width})),
        ] {
            let name = spec.name.clone();
            let decoder = build(spec.with("width", width));
            let lists = decoder.decode(&mut scorer(), &[&index], &run).unwrap();
            let found: BTreeSet<_> = lists[0].iter().map(|h| h.codes.clone()).collect();
            prop_assert_eq!(&found, &set, "{}", &name);
            if matches!(&name[..], "ancestral" | "diverse-beam" | "best-of-n") {
                prop_assert_eq!(&codes(&lists[0]), &codes(&all[0]), "{}", name);
            }
            if name == "stochastic-beam" {
                let weights: f64 =
                    lists[0].iter().map(|h| h.provenance.draw().unwrap().weight.unwrap()).sum();
                prop_assert!(set.is_empty() || (weights - 1.0).abs() < 1e-5, "{}", weights);
            }
        }
    }

    #[test]
    fn one_group_or_no_penalty_is_a_beam(
        set in catalogues(),
        keys in proptest::collection::vec(0u64..50, 1..4),
        width in 1u32..8,
        coarse: bool,
        masked: bool,
    ) {
        let index = trie(&set);
        let logit: Logit = if coarse { coarse_logit } else { random_logit };
        let score = if masked { "masked" } else { "full" };
        let decode = |spec: Spec| {
            let mut scorer = TableScorer::new(&keys, &WIDTHS, logit);
            let decoder = build(spec.with("score", score).with("length_normalization", 0.7));
            without_provenance(decoder.decode(&mut scorer, &[&index], &Run::quiet(0)).unwrap())
        };
        let beam = decode(named("beam").with("width", width));
        let one = named("diverse-beam").with("width", width).with("groups", 1);
        prop_assert_eq!(&decode(one.with("diversity", 9.0)), &beam);
        let three = named("diverse-beam").with("width", 3 * width).with("groups", 3);
        prop_assert_eq!(&decode(three.with("diversity", 0.0)), &beam);
    }

    #[test]
    fn cold_samplers_are_greedy(set in catalogues(), key in 0u64..1000, coarse: bool, seed in 0u64..9) {
        let index = trie(&set);
        let logit: Logit = if coarse { coarse_logit } else { random_logit };
        let decode = |spec: Spec| {
            let mut scorer = TableScorer::new(&[key], &WIDTHS, logit);
            codes(&build(spec).decode(&mut scorer, &[&index], &Run::quiet(seed)).unwrap()[0])
        };
        let greedy = decode(named("beam").with("width", 1));
        for name in ["ancestral", "stochastic-beam"] {
            prop_assert_eq!(&decode(named(name).with("temperature", 0.0).with("width", 7)), &greedy);
        }
        let mut first = decode(named("annealed").with("width", 7));
        first.truncate(1);
        prop_assert_eq!(&first, &greedy);
        // Close to 0 is the same, where logits differ and identifiers do not go on.
        if !coarse && set.iter().all(|s| s.len() == 3) {
            prop_assert_eq!(&decode(named("ancestral").with("temperature", 1e-6)), &greedy);
            prop_assert_eq!(&decode(named("ancestral").with("top_k", 1)), &greedy);
            prop_assert_eq!(&decode(named("ancestral").with("top_p", 1e-6)), &greedy);
        }
    }

    #[test]
    fn explanations_add_up(
        set in catalogues(),
        keys in proptest::collection::vec(0u64..50, 1..4),
        strangers in proptest::collection::vec((0u32..5, 0u32..4, 0u32..6), 0..5),
    ) {
        let index = trie(&set);
        // The identifiers of the catalogue and some that may not be there.
        let mut asked: Vec<Vec<Code>> = set.iter().cloned().collect();
        asked.extend(strangers.iter().map(|&(a, b, c)| vec![a, b, c]));
        asked.reverse();
        let asked: Vec<Vec<Vec<Code>>> = vec![asked; keys.len()];
        let mut scorer = TableScorer::random(&keys, &WIDTHS);
        let paths = explain(&mut scorer, &[&index], &asked, &Run::quiet(0)).unwrap();
        for ((key, sids), paths) in keys.iter().zip(&asked).zip(&paths) {
            prop_assert_eq!(sids.len(), paths.len());
            for (sid, path) in sids.iter().zip(paths) {
                prop_assert_eq!(path.valid, set.contains(sid));
                prop_assert!(!path.steps.is_empty());
                for (d, step) in path.steps.iter().enumerate() {
                    let next: BTreeSet<Code> = set
                        .iter()
                        .filter(|s| s.len() > d && s.starts_with(&sid[..d]))
                        .map(|s| s[d])
                        .collect();
                    prop_assert_eq!((step.code, step.allowed as usize), (sid[d], next.len()));
                    let x = |c: Code| random_logit(*key, &sid[..d], c);
                    let rank = next.contains(&sid[d]).then(|| {
                        1 + next.iter().filter(|&&c| x(c) > x(sid[d])).count() as u32
                    });
                    prop_assert_eq!(step.rank, rank);
                    prop_assert_eq!(rank.is_some(), step.sum_masked > f64::NEG_INFINITY);
                }
                let last = path.steps.last().unwrap();
                prop_assert!(last.rank.is_none() || path.steps.len() == sid.len());
                if path.valid {
                    let (full, masked) = naive_sums(random_logit, *key, &WIDTHS, &set, sid);
                    prop_assert!((last.sum_full - full).abs() < 2e-6);
                    prop_assert!((last.sum_masked - masked).abs() < 2e-6);
                }
            }
        }
    }
}

/// One level of four codes, .4 .3 .2 .1; then two more codes, .6 .4, whatever came before.
fn four(_: u64, prefix: &[Code], code: Code) -> f32 {
    match (prefix.len(), code) {
        (0, c) => [0.4f32, 0.3, 0.2, 0.1][c as usize].ln(),
        (_, c) => [0.6f32, 0.4][c as usize].ln(),
    }
}

#[test]
fn groups_avoid_codes_of_groups_before() {
    let index = trie(&all_sequences(&[4, 2]));
    let decode = |groups: u32, diversity: f64| {
        let options = DiverseBeamOptions { width: 2, groups, diversity, ..Default::default() };
        let mut scorer = TableScorer::new(&[0], &[4, 2], four);
        DiverseBeam::new(options)
            .unwrap()
            .decode(&mut scorer, &[&index], &Run::quiet(0))
            .unwrap()
            .remove(0)
    };
    // One beam of two: .24 and .18 at the end, after 0 and 1.
    assert_eq!(codes(&decode(1, 5.0)), [[0, 0], [1, 0]]);
    // ln .4 - .2 = -1.116 beats ln .3 = -1.204, and ln .6 - .2 = -.711 beats ln .4 = -.916: the
    // second group follows the first.
    assert_eq!(codes(&decode(2, 0.2)), [[0, 0]]);
    // ln .4 - .3 loses to ln .3; ln .6 - .3 = -.811 still beats ln .4.
    let list = decode(2, 0.3);
    assert_eq!(codes(&list), [[0, 0], [1, 0]]);
    assert_eq!(list[1].provenance, Provenance::Group { group: 1 });
    assert!((list[1].score - (0.3f64 * 0.6).ln()).abs() < 1e-6, "no penalty in the score");
    // ln .6 - .5 loses to ln .4 too.
    assert_eq!(codes(&decode(2, 0.5)), [[0, 0], [1, 1]]);
    let refused = |width, groups, diversity| {
        let options = DiverseBeamOptions { width, groups, diversity, ..Default::default() };
        DiverseBeam::new(options).unwrap_err().to_string()
    };
    let e = refused(10, 3, 0.5);
    assert!(e.contains("decoder.groups") && e.contains("divisor of decoder.width = 10"), "{e}");
    assert!(refused(10, 0, 0.5).contains("got 0"));
    assert!(refused(10, 5, f64::NAN).contains("decoder.diversity"));
    assert!(refused(10, 5, -1.0).contains("got -1"));
}

fn three_lines(_: u64, _: &[Code], code: Code) -> f32 {
    [0.5f32, 0.3, 0.2][code as usize].ln()
}

fn best_of(n: u32, width: u32, reward: impl Reward + 'static) -> BestOfN {
    let draws = Ancestral::new(AncestralOptions { width: n, ..Default::default() }).unwrap();
    let beam = Beam::new(BeamOptions { width, ..Default::default() }).unwrap();
    let options = BestOfNOptions { width, ..Default::default() };
    BestOfN::new(options, Box::new(draws), Box::new(beam)).unwrap().with_reward(Arc::new(reward))
}

#[test]
fn best_of_n_selects_by_the_law_of_order_statistics() {
    // G = (.5, .3, .2), rewards 0 < 1 < 2: with n = 2 the law is (.25, .39, .36); n = 1 gives G.
    let index = trie(&all_sequences(&[3]));
    let rising = |_: usize, h: &Hypothesis| f64::from(h.codes[0]);
    for (n, law) in [(1, [0.5, 0.3, 0.2]), (2, [0.25, 0.39, 0.36])] {
        let best = best_of(n, 1, rising);
        let mut counts = [0.0f64; 3];
        for seed in 0..20 {
            let mut scorer = TableScorer::new(&[0; 1000], &[3], three_lines);
            for list in best.decode(&mut scorer, &[&index], &Run::quiet(seed)).unwrap() {
                assert_eq!((list.len(), list[0].score), (1, f64::from(list[0].codes[0])));
                assert!(list[0].provenance.draw().is_some());
                counts[list[0].codes[0] as usize] += 1.0;
            }
        }
        for (c, p) in counts.iter().zip(law) {
            let error = (p * (1.0 - p) / 20_000.0f64).sqrt();
            assert!((c / 20_000.0 - p).abs() < 4.0 * error, "n = {n}: {counts:?}");
        }
    }
}

#[test]
fn uniform_rewards_have_their_mean_at_n_over_n_plus_one() {
    // 1000 codes of equal probability, reward = code / 1000: nearly uniform on (0, 1).
    let index = trie(&all_sequences(&[1000]));
    let flat: Logit = |_, _, _| 0.0;
    let best = best_of(4, 1, |_: usize, h: &Hypothesis| (f64::from(h.codes[0]) + 0.5) / 1000.0);
    let mut sum = 0.0;
    for seed in 0..4 {
        let mut scorer = TableScorer::new(&[0; 5000], &[1000], flat);
        let lists = best.decode(&mut scorer, &[&index], &Run::quiet(seed)).unwrap();
        sum += lists.iter().map(|l| l[0].score).sum::<f64>();
    }
    // The deviation of the largest of four uniforms is .163.
    assert!((sum / 20_000.0 - 0.8).abs() < 3.0 * 0.163 / 20_000f64.sqrt(), "{}", sum / 20_000.0);
}

#[test]
fn rejected_draws_fall_back_to_the_beam() {
    let index = trie(&all_sequences(&[3]));
    let decode = |best: BestOfN| {
        let mut scorer = TableScorer::new(&[0], &[3], three_lines);
        best.decode(&mut scorer, &[&index], &Run::quiet(0)).unwrap().remove(0)
    };
    let drawn = |h: &Hypothesis| h.provenance.draw().is_some();
    let never = move |_: usize, h: &Hypothesis| if drawn(h) { f64::NEG_INFINITY } else { 1.0 };
    let list = decode(best_of(8, 2, never));
    assert_eq!(codes(&list), [[0], [1]]);
    assert!(list.iter().all(|h| h.provenance == Provenance::Fallback));
    // Equal rewards: code order. The beam fills what one draw leaves empty.
    let list = decode(best_of(1, 3, |_: usize, _: &Hypothesis| 0.0));
    assert_eq!(codes(&list), [[0], [1], [2]]);
    assert_eq!(list.iter().filter(|h| h.provenance == Provenance::Fallback).count(), 2);
    // Everything is rejected: the beam is served all the same.
    let list = decode(best_of(4, 1, |_: usize, _: &Hypothesis| f64::NEG_INFINITY));
    assert_eq!((codes(&list), list[0].score), (vec![vec![0]], f64::NEG_INFINITY));
    // Free draws that are no identifiers count for nothing.
    let one = Trie::from_sids([&[2][..]]).unwrap();
    let spec = named("best-of-n").with("draws", "free-beam").with("width", 1);
    let spec = spec.with("fallback", "exhaustive");
    let mut scorer = TableScorer::new(&[0, 0], &[3], three_lines);
    let lists = build(spec).decode(&mut scorer, &[&one], &Run::quiet(0)).unwrap();
    assert!(lists.iter().all(|l| codes(l) == [[2]]));

    let mut scorer = TableScorer::new(&[0], &[3], three_lines);
    let nan = best_of(1, 1, |_: usize, _: &Hypothesis| f64::NAN);
    let e = nan.decode(&mut scorer, &[&index], &Run::quiet(0)).unwrap_err().to_string();
    assert!(e.contains("the reward of") && e.contains("request 0"), "{e}");
}

#[test]
fn fallback_is_asked_for_the_requests_that_need_it() {
    /// Counts the rows it scores.
    struct Counting(TableScorer, Vec<usize>);
    impl CodeScorer for Counting {
        fn requests(&self) -> usize {
            self.0.requests()
        }
        fn levels(&self) -> usize {
            self.0.levels()
        }
        fn width(&self, level: usize) -> usize {
            self.0.width(level)
        }
        fn advance(
            &mut self,
            level: usize,
            rows: &[Row],
            logits: &mut Vec<f32>,
        ) -> sidereal_core::Result<()> {
            self.1.push(rows.len());
            self.0.advance(level, rows, logits)
        }
    }
    let index = trie(&all_sequences(&[3, 3]));
    let first = |request: usize, _: &Hypothesis| if request == 0 { f64::NEG_INFINITY } else { 0.0 };
    let best = best_of(1, 1, first);
    let mut scorer = Counting(TableScorer::random(&[1, 2, 3], &[3, 3]), Vec::new());
    let lists = best.decode(&mut scorer, &[&index], &Run::quiet(0)).unwrap();
    assert_eq!(scorer.1, [3, 3, 3, 1]);
    assert_eq!(lists[0][0].provenance, Provenance::Fallback);
    assert!(lists[1][0].provenance.draw().is_some() && lists[2][0].provenance.draw().is_some());
    // The second search changes nothing for the others.
    let mut scorer = TableScorer::random(&[1, 2, 3], &[3, 3]);
    let free = best_of(1, 1, |_: usize, _: &Hypothesis| 0.0);
    let all = free.decode(&mut scorer, &[&index], &Run::quiet(0)).unwrap();
    assert_eq!(all[1..], lists[1..]);
}

#[test]
fn impossible_codes_and_dead_ends() {
    let ids: [&[Code]; 4] = [&[0, 0], &[0, 1], &[1, 0], &[1, 1]];
    let index = Trie::from_sids(ids).unwrap();
    // 0: code 1 is impossible; 1: nothing may follow; 2: nothing follows code 0; 3: all is possible.
    let logit: Logit = |key, prefix, code| match (key, prefix, code) {
        (0, _, 1) | (1, _, _) | (2, [0], _) => f32::NEG_INFINITY,
        _ => 0.0,
    };
    for (name, decoder) in constrained(6) {
        let mut scorer = TableScorer::new(&[0, 1, 2, 3], &[2, 2], logit);
        let got = decoder.decode(&mut scorer, &[&index], &Run::quiet(2)).unwrap();
        assert_eq!(codes(&got[0]), [[0, 0]], "{name}");
        assert!(got[1].is_empty(), "{name}");
        assert!(got[2].iter().all(|h| h.codes[0] == 1), "{name}");
        assert!(!got[3].is_empty(), "{name}");
        assert!(got.iter().flatten().all(|h| h.score.is_finite()), "{name}");
        let provenances = got.iter().flatten().filter_map(|h| h.provenance.draw());
        assert!(provenances.into_iter().all(|d| d.log_prob <= 1e-12 && d.index < 6), "{name}");
    }
}

#[test]
fn small_catalogues_and_batches() {
    let none = Trie::from_sids([]).unwrap();
    let lone = Trie::from_sids([&[1, 2, 0][..]]).unwrap();
    for (name, decoder) in constrained(3) {
        let decode = |keys: &[u64], index: &Trie| {
            let mut scorer = TableScorer::random(keys, &[3, 3, 3]);
            decoder.decode(&mut scorer, &[index], &Run::quiet(0)).unwrap()
        };
        assert_eq!(decode(&[1, 2], &none), [vec![], vec![]], "{name}");
        assert!(decode(&[], &lone).is_empty(), "{name}");
        for list in decode(&[1, 2], &lone) {
            assert_eq!(codes(&list), [[1, 2, 0]], "{name}");
            assert!(list[0].log_prob_masked.abs() < 1e-12 && list[0].log_prob_full < -0.1);
        }
        let mut shallow = TableScorer::random(&[0], &[3, 3]);
        let e = decoder.decode(&mut shallow, &[&lone], &Run::quiet(0)).unwrap_err().to_string();
        assert!(e.contains("longer than the 2 levels"), "{name}: {e}");
        let nan: Logit = |_, _, _| f32::NAN;
        let mut scorer = TableScorer::new(&[0], &[3, 3, 3], nan);
        let e = decoder.decode(&mut scorer, &[&lone], &Run::quiet(0)).unwrap_err().to_string();
        assert!(e.contains("request 0 at level 0"), "{name}: {e}");
        let mut scorer = TableScorer::random(&[0, 1, 2], &[3, 3, 3]);
        let e = decoder.decode(&mut scorer, &[&lone, &lone], &Run::quiet(0)).unwrap_err();
        assert!(e.to_string().contains("2 constraints for 3 requests"), "{name}: {e}");
        let run = Run::quiet(0);
        run.cancel.cancel();
        let mut scorer = TableScorer::random(&[0], &[3, 3, 3]);
        assert!(decoder.decode(&mut scorer, &[&lone], &run).is_err(), "{name} goes on");
    }
}

#[test]
fn what_a_request_gets_depends_on_its_place_alone() {
    let index = trie(&all_sequences(&WIDTHS));
    for (name, decoder) in constrained(5) {
        let decode = |keys: &[u64]| {
            let mut scorer = TableScorer::random(keys, &WIDTHS);
            decoder.decode(&mut scorer, &[&index], &Run::quiet(4)).unwrap()
        };
        assert_eq!(decode(&[1, 2, 3])[1], decode(&[7, 2])[1], "{name}");
    }
    // Equal requests at different places get other draws, and other seeds too.
    let sampler = build(named("ancestral").with("width", 20));
    let decode = |seed| {
        let mut scorer = TableScorer::random(&[1, 1], &WIDTHS);
        sampler.decode(&mut scorer, &[&index], &Run::quiet(seed)).unwrap()
    };
    assert_ne!(decode(0)[0], decode(0)[1]);
    assert_ne!(decode(0)[0], decode(1)[0]);
}

#[test]
fn an_explanation_by_hand() {
    let ids: [&[Code]; 4] = [&[0, 0], &[1, 0], &[1, 1], &[3, 1]];
    let index = Trie::from_sids(ids).unwrap();
    let sids: Vec<Vec<Code>> = vec![vec![1, 1], vec![2, 0], vec![0, 1]];
    let mut scorer = TableScorer::new(&[0], &[4, 2], four);
    let paths = explain(&mut scorer, &[&index], &[sids], &Run::quiet(0)).unwrap();
    let [good, foreign, wrong] = &paths[0][..] else { panic!("{paths:?}") };
    let close = |a: f64, b: f64| (a - b).abs() < 1e-6;
    let [first, second] = &good.steps[..] else { panic!("{good:?}") };
    assert!(good.valid && first.rank == Some(2) && first.allowed == 3);
    assert!(close(first.log_prob_full, 0.3f64.ln()) && close(first.log_prob_masked, 0.375f64.ln()));
    assert!(second.rank == Some(2) && second.allowed == 2);
    assert!(close(second.sum_full, 0.12f64.ln()) && close(second.sum_masked, 0.15f64.ln()));
    assert!(!foreign.valid && foreign.steps.len() == 1 && foreign.steps[0].rank.is_none());
    assert_eq!(foreign.steps[0].log_prob_masked, f64::NEG_INFINITY);
    assert!(!wrong.valid && wrong.steps.len() == 2);
    assert_eq!((wrong.steps[1].rank, wrong.steps[1].allowed), (None, 1));

    let refused = |sids: Vec<Vec<Vec<Code>>>| {
        let mut scorer = TableScorer::new(&[0], &[4, 2], four);
        explain(&mut scorer, &[&index], &sids, &Run::quiet(0)).unwrap_err().to_string()
    };
    assert!(refused(vec![vec![vec![0, 0, 0]]]).contains("3 codes: the model scores 1 to 2"));
    assert!(refused(vec![vec![vec![]]]).contains("0 codes"));
    assert!(refused(vec![]).contains("0 requests to explain for 1"));
}

#[test]
fn options_by_name() {
    let catalog = catalog();
    let refused = |spec: Spec| catalog.build(&spec, &()).err().unwrap().to_string();
    for name in ["diverse-beam", "ancestral", "stochastic-beam", "annealed", "best-of-n"] {
        assert_eq!(catalog.build(&named(name), &()).unwrap().width(), 50, "{name}");
        let e = refused(named(name).with("width", 0));
        assert!(e.contains("decoder.width") && e.contains("1 to 1048576"), "{name}: {e}");
        assert!(refused(named(name).with("widht", 1)).contains("did you mean `width`"));
    }
    for (key, value) in [("max_temperature", -1.0), ("steepness", 0.0), ("midpoint", 1.5)] {
        let e = refused(named("annealed").with(key, value));
        assert!(e.contains(&format!("decoder.{key}")) && e.contains("allowed"), "{e}");
    }
    let e = refused(named("best-of-n").with("width", 60));
    assert!(e.contains("decoder.fallback.width") && e.contains("60 and up"), "{e}");
    let spec = named("best-of-n").with("draws", json!({"type": "annealed", "midpoint": 0.5}));
    let resolved = catalog.resolve(&spec).unwrap();
    assert_eq!(resolved["draws"]["steepness"], 10.0);
    assert_eq!(resolved["fallback"]["type"], "beam");
    let spec = named("best-of-n").with("draws", json!({"type": "annealed", "midpiont": 0.5}));
    assert!(refused(spec).contains("decoder.draws.midpiont"));
}

#[test]
fn equal_mean_log_probabilities_tie_under_length_normalization() {
    // One code of probability 1/2 against two of 1/2 each: the means agree.
    let ids: [&[Code]; 2] = [&[0, 1], &[1]];
    let index = Trie::from_sids(ids).unwrap();
    let halves: Logit = |_, _, _| 0.0;
    let decode = |name: &str, alpha: f64| {
        let decoder = build(named(name).with("length_normalization", alpha).with("width", 50));
        let mut scorer = TableScorer::new(&[0], &[2, 2], halves);
        codes(&decoder.decode(&mut scorer, &[&index], &Run::quiet(0)).unwrap()[0])
    };
    for name in ["beam", "diverse-beam", "ancestral", "best-of-n", "exhaustive"] {
        assert_eq!(decode(name, 0.0), [vec![1], vec![0, 1]], "{name}: the shorter wins");
        assert_eq!(decode(name, 1.0), [vec![0, 1], vec![1]], "{name}: equal, so code order");
    }
}

#[test]
fn common_samples_of_a_peaked_model_repeat_and_a_beam_does_not() {
    // ReRe: G = 16 and a top probability of .9.
    let index = trie(&all_sequences(&[20]));
    let peaked: Logit = |_, _, code| if code == 0 { 171f32.ln() } else { 0.0 };
    let mean = |name: &str| {
        let mut scorer = TableScorer::new(&[0; 500], &[20], peaked);
        let decoder = build(named(name).with("width", 16));
        let lists = decoder.decode(&mut scorer, &[&index], &Run::quiet(0)).unwrap();
        lists.iter().map(|l| l.len() as f64 / 16.0).sum::<f64>() / 500.0
    };
    assert_eq!((mean("beam"), mean("annealed")), (1.0, 1.0));
    // Exactly: (1 - .1^16 + 19 (1 - (1 - .1/19)^16)) / 16.
    let rare = 19.0 * (1.0 - (1.0 - 0.1f64 / 19.0).powi(16));
    let want = (1.0 + rare) / 16.0;
    assert!((mean("ancestral") - want).abs() < 0.02 && want < 0.2, "{}", mean("ancestral"));
}

#[test]
fn provenance_as_json() {
    let draw = Draw { index: 3, copies: 2, log_prob: -0.5, weight: None };
    let json = |p: Provenance| sidereal_core::serde_json::to_value(p).unwrap();
    assert_eq!(json(Provenance::Beam), json!({"by": "beam"}));
    assert_eq!(json(Provenance::Group { group: 1 }), json!({"by": "group", "group": 1}));
    assert_eq!(
        json(Provenance::Draw(draw)),
        json!({"by": "draw", "index": 3, "copies": 2, "log_prob": -0.5, "weight": null})
    );
}
