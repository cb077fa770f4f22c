//! Samplers against the exact law over identifiers, found by enumeration.

// Helpers outside of test functions unwrap as well.
#![allow(clippy::unwrap_used)]

mod support;

use sidereal_core::{Code, Run};
use sidereal_decoding::*;
use std::collections::{BTreeMap, BTreeSet};
use support::*;

/// Two levels, seven identifiers of one length.
const WIDTHS: [usize; 2] = [3, 4];

fn catalogue() -> BTreeSet<Vec<Code>> {
    [[0, 0], [0, 1], [0, 3], [1, 2], [2, 0], [2, 1], [2, 2]].map(|s| s.to_vec()).into()
}

fn trie(set: &BTreeSet<Vec<Code>>) -> Trie {
    Trie::from_sids(set.iter().map(Vec::as_slice)).unwrap()
}

/// A milder table than the random one: no probability is tiny.
fn mild(key: u64, prefix: &[Code], code: Code) -> f32 {
    random_logit(key, prefix, code) / 3.0
}

/// The same table at another temperature, as the law sees it.
fn mild_at_half(key: u64, prefix: &[Code], code: Code) -> f32 {
    mild(key, prefix, code) * 2.0
}

/// Probability of each identifier of the set, renormalised over the allowed codes of each step.
fn exact(logit: Logit, key: u64, widths: &[usize], set: &BTreeSet<Vec<Code>>) -> Vec<f64> {
    set.iter().map(|s| naive_sums(logit, key, widths, set, s).1.exp()).collect()
}

/// `sum (observed - expected)^2 / expected` stays below the 0.9999 quantile of chi-square with
/// `n - 1` degrees of freedom (Wilson-Hilferty), and nothing of probability 0 was seen. What is
/// expected less than 5 times counts together.
fn assert_frequencies(counts: &[f64], law: &[f64]) {
    assert_eq!(counts.len(), law.len());
    let n: f64 = counts.iter().sum();
    let mass: f64 = law.iter().sum();
    assert!((mass - 1.0).abs() < 1e-6, "the law sums to {mass}");
    let mut cells = vec![[0.0, 0.0]];
    for (&c, &p) in counts.iter().zip(law) {
        assert!(p > 0.0 || c == 0.0, "drawn at probability 0: {counts:?} {law:?}");
        if n * p >= 5.0 {
            cells.push([c, n * p]);
        } else {
            cells[0] = [cells[0][0] + c, cells[0][1] + n * p];
        }
    }
    cells.retain(|cell| cell[1] > 0.0);
    let chi: f64 = cells.iter().map(|[c, e]| (c - e).powi(2) / e).sum();
    let df = (cells.len() - 1).max(1) as f64;
    let quantile = df * (1.0 - 2.0 / (9.0 * df) + 3.719 * (2.0 / (9.0 * df)).sqrt()).powi(3);
    assert!(chi < quantile, "chi-square {chi} above {quantile}: {counts:?} of {n} against {law:?}");
}

/// How often each identifier of the set is the first of the list, over many requests of one key.
fn first_places(
    decoder: &dyn Decoder,
    logit: Logit,
    set: &BTreeSet<Vec<Code>>,
    widths: &[usize],
) -> Vec<f64> {
    let index = trie(set);
    let mut counts = vec![0.0; set.len()];
    for seed in 0..20 {
        let mut scorer = TableScorer::new(&[7; 1000], widths, logit);
        for list in decoder.decode(&mut scorer, &[&index], &Run::quiet(seed)).unwrap() {
            let first = list.iter().min_by_key(|h| h.provenance.draw().unwrap().index).unwrap();
            counts[set.iter().position(|s| *s == first.codes).unwrap()] += 1.0;
        }
    }
    counts
}

fn ancestral(o: AncestralOptions) -> Ancestral {
    Ancestral::new(o).unwrap()
}

#[test]
fn independent_draws_follow_the_law() {
    let set = catalogue();
    let law = exact(mild, 7, &WIDTHS, &set);
    let one = ancestral(AncestralOptions { width: 1, ..Default::default() });
    assert_frequencies(&first_places(&one, mild, &set, &WIDTHS), &law);
    // 20000 draws of one request, counted by their copies.
    let many = ancestral(AncestralOptions { width: 20_000, ..Default::default() });
    let mut scorer = TableScorer::new(&[7, 8], &WIDTHS, mild);
    let lists = many.decode(&mut scorer, &[&trie(&set)], &Run::quiet(3)).unwrap();
    for (key, list) in [7, 8].into_iter().zip(&lists) {
        let law = exact(mild, key, &WIDTHS, &set);
        let mut counts = vec![0.0; set.len()];
        for h in list {
            let draw = h.provenance.draw().unwrap();
            let at = set.iter().position(|s| *s == h.codes).unwrap();
            counts[at] = f64::from(draw.copies);
            assert!((draw.log_prob - law[at].ln()).abs() < 1e-6);
            assert_eq!(draw.log_prob, h.log_prob_masked);
            assert_eq!(draw.weight, Some(f64::from(draw.copies) / 20_000.0));
        }
        assert_eq!(counts.iter().sum::<f64>(), 20_000.0);
        assert_frequencies(&counts, &law);
    }
}

#[test]
fn temperature_and_cuts_shape_the_law() {
    let set = catalogue();
    let half = ancestral(AncestralOptions { width: 1, temperature: 0.5, ..Default::default() });
    let law = exact(mild_at_half, 7, &WIDTHS, &set);
    assert_frequencies(&first_places(&half, mild, &set, &WIDTHS), &law);
    // The two best codes of each step.
    let two = ancestral(AncestralOptions { width: 1, top_k: 2, ..Default::default() });
    let mut kept = BTreeSet::new();
    for prefix in [vec![], vec![0], vec![1], vec![2]] {
        let next: BTreeSet<Code> =
            set.iter().filter(|s| s.starts_with(&prefix)).map(|s| s[prefix.len()]).collect();
        let mut next: Vec<Code> = next.into_iter().collect();
        next.sort_by(|a, b| mild(7, &prefix, *b).total_cmp(&mild(7, &prefix, *a)));
        next.truncate(2);
        kept.extend(next.iter().map(|c| [&prefix[..], &[*c]].concat()));
    }
    let rest: BTreeSet<Vec<Code>> =
        set.iter().filter(|s| kept.contains(*s) && kept.contains(&s[..1])).cloned().collect();
    assert!(rest.len() < set.len() && rest.len() > 1);
    let law = exact(mild, 7, &WIDTHS, &rest);
    let law: Vec<f64> =
        set.iter().map(|s| rest.iter().position(|r| r == s).map_or(0.0, |i| law[i])).collect();
    assert_frequencies(&first_places(&two, mild, &set, &WIDTHS), &law);
}

/// Probability of every ordered pair of different identifiers, drawn one after the other.
fn ordered_pairs(p: &[f64]) -> Vec<f64> {
    let n = p.len();
    (0..n * n)
        .map(|ij| (ij / n, ij % n))
        .map(|(i, j)| if i == j { 0.0 } else { p[i] * p[j] / (1.0 - p[i]) })
        .collect()
}

#[test]
fn draws_without_replacement_follow_the_law_of_pairs() {
    let set = catalogue();
    let index = trie(&set);
    let n = set.len();
    let law = ordered_pairs(&exact(mild, 7, &WIDTHS, &set));
    let beam = StochasticBeam::new(StochasticBeamOptions { width: 2, ..Default::default() });
    let without = ancestral(AncestralOptions {
        width: 2,
        replacement: Replacement::Without,
        ..Default::default()
    });
    for decoder in [&beam.unwrap() as &dyn Decoder, &without] {
        let mut counts = vec![0.0; n * n];
        for seed in 0..20 {
            let mut scorer = TableScorer::new(&[7; 1000], &WIDTHS, mild);
            for mut list in decoder.decode(&mut scorer, &[&index], &Run::quiet(seed)).unwrap() {
                list.sort_by_key(|h| h.provenance.draw().unwrap().index);
                let at = |h: &Hypothesis| set.iter().position(|s| *s == h.codes).unwrap();
                counts[at(&list[0]) * n + at(&list[1])] += 1.0;
            }
        }
        assert_frequencies(&counts, &law);
    }
}

#[test]
fn importance_weights_estimate_means_without_bias() {
    let set = catalogue();
    let index = trie(&set);
    let p = exact(mild, 7, &WIDTHS, &set);
    let value = |sid: &[Code]| f64::from(1 + sid[0] * 5 + sid[1] * 3);
    let want: f64 = set.iter().zip(&p).map(|(s, p)| value(s) * p).sum();
    for (k, temperature) in [(1, 1.0), (3, 1.0), (5, 2.0)] {
        let options = StochasticBeamOptions { width: k, temperature, ..Default::default() };
        let beam = StochasticBeam::new(options).unwrap();
        let (mut sum, mut squares, mut ones, n) = (0.0, 0.0, 0.0, 20_000.0);
        for seed in 0..20 {
            let mut scorer = TableScorer::new(&[7; 1000], &WIDTHS, mild);
            for list in beam.decode(&mut scorer, &[&index], &Run::quiet(seed)).unwrap() {
                // To the law at temperature 1 by the ratio of the two.
                let weight = |h: &Hypothesis| {
                    let draw = h.provenance.draw().unwrap();
                    draw.weight.unwrap() * (h.log_prob_masked - draw.log_prob).exp()
                };
                let estimate: f64 = list.iter().map(|h| weight(h) * value(&h.codes)).sum();
                ones += list.iter().map(weight).sum::<f64>();
                sum += estimate;
                squares += estimate * estimate;
            }
        }
        let mean: f64 = sum / n;
        let error = ((squares / n - mean * mean) / n).sqrt();
        assert!((mean - want).abs() < 4.0 * error, "{k}: {mean} +- {error} for {want}");
        assert!((ones / n - 1.0).abs() < 0.05, "{k}: weights sum to {}", ones / n);
    }
}

#[test]
fn inclusion_probabilities_are_those_of_sequential_draws() {
    let set = catalogue();
    let index = trie(&set);
    let p = exact(mild, 7, &WIDTHS, &set);
    // Among three: first, second or third of sequential draws.
    let n = p.len();
    let mut want = vec![0.0; n];
    for i in 0..n {
        for j in (0..n).filter(|&j| j != i) {
            for k in (0..n).filter(|&k| k != i && k != j) {
                let q = p[i] * p[j] / (1.0 - p[i]) * p[k] / (1.0 - p[i] - p[j]);
                [i, j, k].into_iter().for_each(|x| want[x] += q);
            }
        }
    }
    let options = StochasticBeamOptions { width: 3, ..Default::default() };
    let beam = StochasticBeam::new(options).unwrap();
    let mut got = vec![0.0; n];
    for seed in 0..20 {
        let mut scorer = TableScorer::new(&[7; 1000], &WIDTHS, mild);
        for list in beam.decode(&mut scorer, &[&index], &Run::quiet(seed)).unwrap() {
            assert_eq!(list.len(), 3);
            list.iter().for_each(|h| got[set.iter().position(|s| *s == h.codes).unwrap()] += 1.0);
        }
    }
    for (g, w) in got.iter().zip(&want) {
        let error = (w * (1.0 - w) / 20_000.0f64).sqrt();
        assert!((g / 20_000.0 - w).abs() < 4.0 * error, "{got:?} for {want:?}");
    }
}

/// [0] is an identifier and the prefix of two; ending there is as probable as an average code.
#[test]
fn identifiers_that_go_on_have_their_share() {
    let set: BTreeSet<Vec<Code>> = [vec![0], vec![0, 0], vec![0, 1, 2], vec![2], vec![2, 1]].into();
    let widths = [3, 3, 3];
    let p = |prefix: &[Code], code, among: &[Code]| {
        let e = |c| f64::from(mild(7, prefix, c)).exp();
        e(code) / among.iter().map(|&c| e(c)).sum::<f64>()
    };
    let (zero, two) = (p(&[], 0, &[0, 2]), p(&[], 2, &[0, 2]));
    let law = [
        zero / 3.0,
        zero * 2.0 / 3.0 * p(&[0], 0, &[0, 1]),
        zero * 2.0 / 3.0 * p(&[0], 1, &[0, 1]),
        two / 2.0,
        two / 2.0,
    ];
    let one = ancestral(AncestralOptions { width: 1, ..Default::default() });
    assert_frequencies(&first_places(&one, mild, &set, &widths), &law);
    let options = StochasticBeamOptions { width: 3, ..Default::default() };
    let beam = StochasticBeam::new(options).unwrap();
    assert_frequencies(&first_places(&beam, mild, &set, &widths), &law);
    let all = StochasticBeam::new(StochasticBeamOptions { width: 9, ..Default::default() });
    let mut scorer = TableScorer::new(&[7], &widths, mild);
    let list = &all.unwrap().decode(&mut scorer, &[&trie(&set)], &Run::quiet(0)).unwrap()[0];
    let weights: f64 = list.iter().map(|h| h.provenance.draw().unwrap().weight.unwrap()).sum();
    assert!(list.len() == 5 && (weights - 1.0).abs() < 1e-6);
    // The sums of the model know no end.
    for h in list {
        let (full, masked) = naive_sums(mild, 7, &widths, &set, &h.codes);
        assert!((h.log_prob_full - full).abs() < 1e-6 && (h.log_prob_masked - masked).abs() < 1e-6);
    }
}

fn annealed(o: AnnealedOptions) -> Annealed {
    Annealed::new(o).unwrap()
}

#[test]
fn the_schedule_of_zerogr() {
    let a = annealed(AnnealedOptions { width: 100, ..Default::default() });
    let want = [
        (0, 0.0),
        (1, 0.04127),
        (5, 0.22286),
        (10, 0.47417),
        (20, 0.94834),
        (30, 1.25563),
        (50, 1.46334),
        (99, 1.49997),
    ];
    for (i, t) in want {
        assert!((a.temperature(i) - t).abs() < 1e-5, "{i}: {} for {t}", a.temperature(i));
    }
    assert_eq!(a.temperature(0), 0.0);
    assert!((1..100).all(|i| a.temperature(i) > a.temperature(i - 1)));
    let b = annealed(AnnealedOptions {
        width: 100,
        max_temperature: 1.0,
        midpoint: 0.5,
        ..Default::default()
    });
    for (i, t) in [(25, 0.0701), (50, 0.5), (75, 0.9299)] {
        assert!((b.temperature(i) - t).abs() < 1e-4, "{i}: {}", b.temperature(i));
    }
}

#[test]
fn annealing_at_zero_is_greedy_search_with_removal() {
    let set = catalogue();
    let index = trie(&set);
    for (key, logit) in [(1, random_logit as Logit), (2, random_logit), (3, coarse_logit)] {
        let cold =
            annealed(AnnealedOptions { width: 9, max_temperature: 0.0, ..Default::default() });
        let mut scorer = TableScorer::new(&[key], &WIDTHS, logit);
        let got = &cold.decode(&mut scorer, &[&index], &Run::quiet(0)).unwrap()[0];
        let mut left = Without::new(&index, []);
        let mut want = Vec::new();
        let one = Beam::new(BeamOptions { width: 1, ..Default::default() }).unwrap();
        for _ in 0..set.len() {
            let mut scorer = TableScorer::new(&[key], &WIDTHS, logit);
            let list = one.decode(&mut scorer, &[&left], &Run::quiet(0)).unwrap();
            left.remove(&list[0][0].codes);
            want.push(list[0][0].codes.clone());
        }
        assert_eq!(codes(got), want);
        for (rank, h) in got.iter().enumerate() {
            assert_eq!(h.score, 1.0 / (rank + 1) as f64);
            assert_eq!(h.provenance.draw().unwrap().log_prob, 0.0);
        }
        // The first draw is greedy at any schedule.
        let warm = annealed(AnnealedOptions { width: 4, ..Default::default() });
        let mut scorer = TableScorer::new(&[key; 9], &WIDTHS, logit);
        let lists = warm.decode(&mut scorer, &[&index], &Run::quiet(0)).unwrap();
        assert!(lists.iter().all(|l| l[0].codes == want[0] && l.len() == 4));
    }
}

/// The tree {[5,6], [5,7], [9]} of the paper, and [0] for the greedy first draw.
#[test]
fn hot_draws_are_uniform_over_children_not_over_leaves() {
    let ids: [&[Code]; 4] = [&[5, 6], &[5, 7], &[9], &[0]];
    let index = Trie::from_sids(ids).unwrap();
    let logit: Logit = |_, prefix, code| if prefix.is_empty() && code == 0 { 5.0 } else { 0.0 };
    let hot = annealed(AnnealedOptions { width: 50, max_temperature: 1e6, ..Default::default() });
    let mut counts = vec![0.0; 3];
    for seed in 0..10 {
        let mut scorer = TableScorer::new(&[0; 1000], &[10, 10], logit);
        for list in hot.decode(&mut scorer, &[&index], &Run::quiet(seed)).unwrap() {
            assert_eq!((list.len(), &list[0].codes[..]), (4, ids[3]));
            counts[ids.iter().position(|s| *s == list[1].codes).unwrap()] += 1.0;
        }
    }
    assert_frequencies(&counts, &[0.25, 0.25, 0.5]);
}

/// P(5) = .8, P(9) = .2, P(6|5) = P(7|5) = .5, and a greedy draw before.
fn two_to_one(_: u64, prefix: &[Code], code: Code) -> f32 {
    match (prefix, code) {
        ([], 5) => 0.8f32.ln(),
        ([], 9) => 0.2f32.ln(),
        _ => 0.0,
    }
}

#[test]
fn removal_is_not_sampling_without_replacement() {
    // T = 1 at the second draw: 2 draws, the rise at the first half.
    let ids: [&[Code]; 3] = [&[5, 6], &[5, 7], &[9, 0]];
    let index = Trie::from_sids(ids).unwrap();
    let options = AnnealedOptions { width: 2, ..Default::default() };
    let half = annealed(options.clone()).temperature(1);
    let max_temperature = options.max_temperature / half;
    let scheme = annealed(AnnealedOptions { max_temperature, ..options });
    assert!((scheme.temperature(1) - 1.0).abs() < 1e-9);
    let exact = StochasticBeam::new(StochasticBeamOptions { width: 2, ..Default::default() });
    let (mut second, mut given) = ([0.0; 2], [0.0; 2]);
    for seed in 0..10 {
        let scorer = || TableScorer::new(&[0; 1000], &[10, 10], two_to_one);
        for list in scheme.decode(&mut scorer(), &[&index], &Run::quiet(seed)).unwrap() {
            assert_eq!(list[0].codes, [5, 6]);
            second[usize::from(list[1].codes == [9, 0])] += 1.0;
            let p: f64 = if list[1].codes == [9, 0] { 0.2 } else { 0.8 };
            assert!((list[1].provenance.draw().unwrap().log_prob - p.ln()).abs() < 1e-6);
        }
        let beam = exact.as_ref().unwrap();
        for list in beam.decode(&mut scorer(), &[&index], &Run::quiet(seed)).unwrap() {
            if list[0].codes == [5, 6] {
                given[usize::from(list[1].codes == [9, 0])] += 1.0;
            }
        }
    }
    assert_frequencies(&second, &[0.8, 0.2]);
    assert_frequencies(&given, &[2.0 / 3.0, 1.0 / 3.0]);
}

/// Draws one identifier after the other with removal, as the paper writes it: the whole law of the
/// ordered lists, by enumeration.
fn sequential_law(
    logit: Logit,
    temperatures: &[f64],
    left: &BTreeSet<Vec<Code>>,
    law: &mut BTreeMap<Vec<Vec<Code>>, f64>,
    so_far: Vec<Vec<Code>>,
    mass: f64,
) {
    let Some(&t) = temperatures.get(so_far.len()).filter(|_| !left.is_empty()) else {
        *law.entry(so_far).or_default() += mass;
        return;
    };
    for sid in left {
        let mut p = 1.0;
        for d in 0..sid.len() {
            let next: BTreeSet<Code> =
                left.iter().filter(|s| s.starts_with(&sid[..d])).map(|s| s[d]).collect();
            let x = |c: Code| f64::from(logit(7, &sid[..d], c));
            p *= if t == 0.0 {
                let best = next.iter().copied().reduce(|a, b| if x(b) > x(a) { b } else { a });
                f64::from(u8::from(best == Some(sid[d])))
            } else {
                let e = |c: Code| (x(c) / t).exp();
                e(sid[d]) / next.iter().map(|&c| e(c)).sum::<f64>()
            };
        }
        if p > 0.0 {
            let mut rest = left.clone();
            rest.remove(sid);
            let list = [&so_far[..], std::slice::from_ref(sid)].concat();
            sequential_law(logit, temperatures, &rest, law, list, mass * p);
        }
    }
}

#[test]
fn one_pass_has_the_law_of_one_draw_after_the_other() {
    let set: BTreeSet<Vec<Code>> =
        [[0, 0, 0], [0, 0, 1], [0, 2, 1], [1, 1, 1], [1, 1, 2]].map(|s| s.to_vec()).into();
    let options = AnnealedOptions { width: 4, steepness: 3.0, ..Default::default() };
    let scheme = annealed(options);
    let temperatures: Vec<f64> = (0..4).map(|i| scheme.temperature(i)).collect();
    let mut law = BTreeMap::new();
    sequential_law(mild, &temperatures, &set, &mut law, vec![], 1.0);
    let index = trie(&set);
    let mut counts: BTreeMap<Vec<Vec<Code>>, f64> = law.keys().map(|k| (k.clone(), 0.0)).collect();
    for seed in 0..20 {
        let mut scorer = TableScorer::new(&[7; 1000], &[3, 3, 3], mild);
        for list in scheme.decode(&mut scorer, &[&index], &Run::quiet(seed)).unwrap() {
            let list_codes = codes(&list);
            *counts.get_mut(&list_codes).expect("a list of probability 0") += 1.0;
        }
    }
    let (counts, law): (Vec<f64>, Vec<f64>) =
        (counts.into_values().collect(), law.into_values().collect());
    assert!(law.len() > 10);
    assert_frequencies(&counts, &law);
}

#[test]
fn annealing_beats_independent_draws_on_a_peaked_model() {
    // Half of the mass on one identifier: independent draws repeat it.
    let set = all_sequences(&[5, 5]);
    let peaked: Logit = |key, prefix, code| random_logit(key, prefix, code) * 1.5;
    let index = trie(&set);
    let keys: Vec<u64> = (0..100).collect();
    let decode = |d: &dyn Decoder| {
        let mut scorer = TableScorer::new(&keys, &[5, 5], peaked);
        let lists = d.decode(&mut scorer, &[&index], &Run::quiet(1)).unwrap();
        lists.iter().map(Vec::len).sum::<usize>()
    };
    let drawn = decode(&ancestral(AncestralOptions { width: 20, ..Default::default() }));
    let distinct = decode(&annealed(AnnealedOptions { width: 20, ..Default::default() }));
    assert_eq!(distinct, 2000);
    assert!(drawn < 1200, "{drawn} distinct of 2000 independent draws");
}
