//! `score-fusion`, `mmr` and the calibrated rerankers against hand-made and exhaustive answers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod common;

use common::{list, order, rerank};
use proptest::prelude::*;
use sidereal_core::{ItemId, MatrixRef};
use sidereal_rerank::{
    Calibrated, CalibratedCategoryOptions, CalibratedPopularityOptions, Fusion, Groups, Mmr,
    MmrOptions, Normalisation, ScoreFusion, ScoreFusionOptions, Side, Signal, Similarity,
};

fn fusion(options: ScoreFusionOptions) -> ScoreFusion {
    ScoreFusion::new(options).unwrap()
}

#[test]
fn weighted_fusion_by_hand() {
    // min-max: decoder 1, 0.75, 0; popularity ln 1, ln 8, ln 2 -> 0, 1, 1/3.
    let side = Side::default().with_popularity(&[0, 7, 1]);
    let (decoder, half) = (list(&[-1.0, -2.0, -5.0]), vec![0.5, 0.5]);
    let new = rerank(
        &fusion(ScoreFusionOptions { weights: half, ..Default::default() }),
        &decoder,
        &[],
        3,
        &side,
        0,
    )
    .unwrap();
    assert_eq!(order(&new), [1, 0, 2]);
    for (pick, expected) in new.picks.iter().zip([0.875, 0.5, 1.0 / 6.0]) {
        assert!((pick.score - expected).abs() < 1e-12, "{pick:?}");
    }
    assert_eq!((new.cost.candidates, new.cost.calls, new.comparable), (3, 0, 3));
}

#[test]
fn reciprocal_ranks_by_hand() {
    let options = ScoreFusionOptions {
        method: Fusion::ReciprocalRank,
        weights: vec![1.0, 1.0],
        ..Default::default()
    };
    // Ranks by the decoder 1, 2, 3; by popularity 2, 3, 1 (items 0 and 1 tie and keep their order).
    let side = Side::default().with_popularity(&[4, 4, 9]);
    let new = rerank(&fusion(options), &list(&[3.0, 2.0, 1.0]), &[], 3, &side, 0).unwrap();
    assert_eq!(order(&new), [0, 2, 1]);
    assert_eq!(new.picks[0].score, 1.0 / 61.0 + 1.0 / 62.0);
    assert_eq!(new.picks[1].score, 1.0 / 63.0 + 1.0 / 61.0);
}

#[test]
fn signals_of_the_history() {
    let vectors = [1.0, 0.0, 0.0, 2.0, -3.0, 0.0, 0.0, 0.0];
    let side = Side::default()
        .with_vectors(MatrixRef::new(4, 2, &vectors).unwrap())
        .unwrap()
        .with_categories(1, Groups::new(vec![0, 1, 0, 1]));
    let only = |signal| {
        fusion(ScoreFusionOptions {
            signals: vec![signal],
            weights: vec![1.0],
            normalisation: Normalisation::None,
            ..Default::default()
        })
    };
    let history = [0, 0, 1].map(ItemId);
    let scores = |signal, history: &[ItemId]| {
        let new = rerank(&only(signal), &list(&[0.0; 4]), history, 4, &side, 0).unwrap();
        let mut scores = [0.0; 4];
        new.picks.iter().for_each(|p| scores[p.index] = p.score);
        scores
    };
    // The mean is (2, 1) / 3.
    let expected = [2.0, 1.0, -2.0, 0.0].map(|x: f64| x / 5f64.sqrt());
    for (got, expected) in scores(Signal::Similarity, &history).iter().zip(expected) {
        assert!((got - expected).abs() < 1e-6);
    }
    assert_eq!(scores(Signal::Similarity, &[]), [0.0; 4]);
    assert_eq!(scores(Signal::Category, &history), [2.0 / 3.0, 1.0 / 3.0, 2.0 / 3.0, 1.0 / 3.0]);
    assert_eq!(scores(Signal::Category, &[]), [0.0; 4]);
    let outside = rerank(&only(Signal::Similarity), &list(&[0.0]), &[ItemId(4)], 1, &side, 0);
    assert!(outside.unwrap_err().to_string().contains("item 4 of 4"));
}

fn mmr(lambda: f64) -> Mmr {
    Mmr::new(MmrOptions { lambda, ..Default::default() }).unwrap()
}

#[test]
fn mmr_by_hand() {
    // Relevance 1, 0.9, 0.5, 0; items 0 and 1 are alike, 2 is at a right angle, 3 opposite to 0.
    let vectors = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, -1.0, 0.0];
    let side = Side::default().with_vectors(MatrixRef::new(4, 2, &vectors).unwrap()).unwrap();
    let candidates = list(&[10.0, 9.0, 5.0, 0.0]);
    // After 0: 1 has .45 - .5, 2 has .25 - 0, 3 has 0 + .5. Then 1: .45 - .5, 2: .25 - 0.
    assert_eq!(order(&rerank(&mmr(0.5), &candidates, &[], 4, &side, 0).unwrap()), [0, 3, 2, 1]);
    // With two places the others stay in their order, with their scores.
    let new = rerank(&mmr(0.5), &candidates, &[], 2, &side, 0).unwrap();
    assert_eq!(order(&new), [0, 3, 1, 2]);
    assert_eq!(new.picks.iter().map(|p| p.score).collect::<Vec<_>>(), [10.0, 0.0, 9.0, 5.0]);
    // By category.
    let options =
        MmrOptions { lambda: 0.5, similarity: Similarity::Category, ..Default::default() };
    let side = Side::default().with_categories(1, Groups::new(vec![0, 0, 0, 1]));
    let new = rerank(&Mmr::new(options).unwrap(), &candidates, &[], 4, &side, 0).unwrap();
    assert_eq!(order(&new), [0, 3, 1, 2]);
}

/// What each step must maximise, from scratch.
fn naive_mmr(lambda: f64, relevance: &[f64], vectors: &[Vec<f32>], k: usize) -> Vec<usize> {
    let (max, min) = relevance.iter().fold((f64::MIN, f64::MAX), |(a, b), &r| (a.max(r), b.min(r)));
    let scale = |r: f64| if max > min { (r - min) / (max - min) } else { 0.0 };
    let cosine = |a: usize, b: usize| {
        let dot = |x: usize, y: usize| -> f64 {
            vectors[x].iter().zip(&vectors[y]).map(|(x, y)| f64::from(x * y)).sum()
        };
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < k.min(relevance.len()) {
        let value = |i: usize| {
            let most = chosen.iter().map(|&j| cosine(i, j)).fold(f64::NEG_INFINITY, f64::max);
            let novelty = if chosen.is_empty() { 0.0 } else { most };
            lambda * scale(relevance[i]) - (1.0 - lambda) * novelty
        };
        let left = (0..relevance.len()).filter(|i| !chosen.contains(i));
        // Nearly equal values come from rounding; the earlier candidate is meant.
        let best = left.reduce(|a, b| if value(b) > value(a) + 1e-6 { b } else { a }).unwrap();
        chosen.push(best);
    }
    chosen
}

fn popularity(lambda: f64, head: f64, tail: f64) -> Calibrated {
    let options = CalibratedPopularityOptions { lambda, head, tail, ..Default::default() };
    Calibrated::by_popularity(options).unwrap()
}

#[test]
fn popularity_groups_by_hand() {
    // 100 interactions: item 0 has 40 (head), items 1 and 2 have 20 each, items 3 to 6 five each.
    let side = Side::default().with_popularity(&[40, 20, 20, 5, 5, 5, 5]);
    let candidates = list(&[7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
    let by = |lambda, history: &[u32], k| {
        let history: Vec<ItemId> = history.iter().copied().map(ItemId).collect();
        let new = rerank(&popularity(lambda, 0.2, 0.2), &candidates, &history, k, &side, 0);
        order(&new.unwrap())[..k].to_vec()
    };
    // A user of rare items alone gets rare items alone.
    assert_eq!(by(1.0, &[3, 4], 3), [3, 4, 5]);
    // Half head, half middle: there is one head item, the other place goes to the middle.
    assert_eq!(by(1.0, &[0, 1], 2), [0, 1]);
    // Two thirds rare, one third head.
    let mut three = by(1.0, &[3, 4, 0], 3);
    three.sort_unstable();
    assert_eq!(three, [0, 3, 4]);
    assert_eq!(by(0.0, &[3, 4], 7), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(by(1.0, &[], 7), [0, 1, 2, 3, 4, 5, 6]);
}

/// `(1 - lambda) mean of relevance - lambda KL`, the value that a set of places has.
fn objective(lambda: f64, set: &[usize], relevance: &[f64], own: &[u32], history: &[u32]) -> f64 {
    let k = set.len() as f64;
    let (max, min) = relevance.iter().fold((f64::MIN, f64::MAX), |(a, b), &r| (a.max(r), b.min(r)));
    let scale = |r: f64| if max > min { (r - min) / (max - min) } else { 0.0 };
    let mean = set.iter().map(|&i| scale(relevance[i])).sum::<f64>() / k;
    let share = |of: &[u32], g: u32| of.iter().filter(|&&x| x == g).count() as f64;
    let kl: f64 = (0..4)
        .map(|g| {
            let p = share(history, g) / history.len() as f64;
            let q = set.iter().filter(|&&i| own[i] == g).count() as f64 / k;
            if p > 0.0 { p * (p / (0.99 * q + 0.01 * p)).ln() } else { 0.0 }
        })
        .sum();
    (1.0 - lambda) * mean - lambda * kl
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn weight_on_the_decoder_alone_leaves_the_list_alone(
        mut scores in proptest::collection::vec(-4i32..4, 0..20), w in 0.1f64..3.0,
        counts in proptest::collection::vec(0u32..9, 20),
        reciprocal in any::<bool>(), which in 0usize..4,
    ) {
        scores.sort_unstable_by(|a, b| b.cmp(a));
        let scores: Vec<f64> = scores.into_iter().map(|s| f64::from(s) * 0.37).collect();
        let side = Side::default().with_popularity(&counts);
        let normalisation = [
            Normalisation::MinMax, Normalisation::ZScore, Normalisation::LogSoftmax,
            Normalisation::None,
        ][which];
        let method = if reciprocal { Fusion::ReciprocalRank } else { Fusion::Weighted };
        for weights in [vec![w, 0.0], vec![0.0, 0.0]] {
            let options =
                ScoreFusionOptions { weights, method, normalisation, ..Default::default() };
            let new = rerank(&fusion(options), &list(&scores), &[], 20, &side, 0).unwrap();
            prop_assert_eq!(order(&new), (0..scores.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_step_of_mmr_is_the_best(
        values in proptest::collection::vec(-1.0f32..1.0, 3 * 9),
        mut scores in proptest::collection::vec(-4i32..4, 9),
        lambda in 0.0f64..1.0, k in 1usize..10,
    ) {
        scores.sort_unstable_by(|a, b| b.cmp(a));
        let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
        prop_assume!(values.chunks(3).all(|v| v.iter().any(|x| x.abs() > 0.01)));
        let side = Side::default().with_vectors(MatrixRef::new(9, 3, &values).unwrap()).unwrap();
        let vectors: Vec<Vec<f32>> = values.chunks(3).map(<[f32]>::to_vec).collect();
        let new = rerank(&mmr(lambda), &list(&scores), &[], k, &side, 0).unwrap();
        let mut seen = order(&new);
        prop_assert_eq!(&seen[..k.min(9)], naive_mmr(lambda, &scores, &vectors, k));
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..9).collect::<Vec<_>>());
        let same = rerank(&mmr(1.0), &list(&scores), &[], k, &side, 0).unwrap();
        prop_assert_eq!(order(&same), (0..9).collect::<Vec<_>>());
    }

    #[test]
    fn calibration_finds_the_best_of_all_sets(
        own in proptest::collection::vec(0u32..4, 8),
        history in proptest::collection::vec(0u32..8, 1..7),
        mut scores in proptest::collection::vec(0i32..20, 8),
        lambda in 0.0f64..1.0, k in 1usize..5,
    ) {
        scores.sort_unstable_by(|a, b| b.cmp(a));
        let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
        let side = Side::default().with_categories(1, Groups::new(own.clone()));
        let options = CalibratedCategoryOptions { lambda, ..Default::default() };
        let items: Vec<ItemId> = history.iter().copied().map(ItemId).collect();
        let by = Calibrated::by_category(options).unwrap();
        let new = rerank(&by, &list(&scores), &items, k, &side, 0).unwrap();
        let groups: Vec<u32> = history.iter().map(|&i| own[i as usize]).collect();
        let value = |set: &[usize]| objective(lambda, set, &scores, &own, &groups);
        let best = (0u32..256)
            .filter(|m| m.count_ones() as usize == k)
            .map(|m| value(&(0..8).filter(|i| m >> i & 1 == 1).collect::<Vec<_>>()))
            .fold(f64::NEG_INFINITY, f64::max);
        prop_assert!((value(&order(&new)[..k]) - best).abs() < 1e-9);
    }
}

#[test]
fn refused_options_name_key_value_and_range() {
    let error = |r: sidereal_core::Result<()>| r.unwrap_err().to_string();
    let fused = |o: ScoreFusionOptions| error(ScoreFusion::new(o).map(drop));
    let e = fused(ScoreFusionOptions { signals: vec![], ..Default::default() });
    assert!(e.contains("reranker.signals") && e.contains("at least one"), "{e}");
    let signals = vec![Signal::Decoder; 2];
    let e = fused(ScoreFusionOptions { signals, ..Default::default() });
    assert!(e.contains("reranker.signals") && e.contains("twice"), "{e}");
    for weights in [vec![1.0], vec![1.0, f64::NAN]] {
        let e = fused(ScoreFusionOptions { weights, ..Default::default() });
        assert!(e.contains("reranker.weights") && e.contains("2 finite"), "{e}");
    }
    let e = fused(ScoreFusionOptions { constant: -1.0, ..Default::default() });
    assert!(e.contains("reranker.constant") && e.contains("0 and up"), "{e}");
    let e = fused(ScoreFusionOptions { candidates: 0, ..Default::default() });
    assert!(e.contains("reranker.candidates") && e.contains("1 and up"), "{e}");
    let e = error(Mmr::new(MmrOptions { lambda: 1.1, ..Default::default() }).map(drop));
    assert!(e.contains("reranker.lambda") && e.contains("0 to 1"), "{e}");
    let calibrated = |o: CalibratedPopularityOptions| error(Calibrated::by_popularity(o).map(drop));
    let e = calibrated(CalibratedPopularityOptions { head: f64::NAN, ..Default::default() });
    assert!(e.contains("reranker.head"), "{e}");
    let e = calibrated(CalibratedPopularityOptions { head: 0.5, tail: 0.6, ..Default::default() });
    assert!(e.contains("reranker.tail") && e.contains("0 to 0.5"), "{e}");
    let e = calibrated(CalibratedPopularityOptions { smoothing: 0.0, ..Default::default() });
    assert!(e.contains("reranker.smoothing") && e.contains("above 0"), "{e}");
    popularity(0.5, 0.8, 0.2);
}

#[test]
fn lists_of_nothing_and_of_one() {
    let side = Side::default()
        .with_popularity(&[1])
        .with_vectors(MatrixRef::new(1, 1, &[0.0]).unwrap())
        .unwrap();
    let all: [&dyn sidereal_rerank::Reranker; 3] =
        [&fusion(ScoreFusionOptions::default()), &mmr(0.5), &popularity(0.5, 0.2, 0.2)];
    for reranker in all {
        for n in [0, 1] {
            let scores = vec![1.0; n];
            let new = rerank(reranker, &list(&scores), &[ItemId(0)], 3, &side, 0).unwrap();
            assert_eq!(order(&new), (0..n).collect::<Vec<_>>());
        }
        let bad = rerank(reranker, &list(&[f64::NAN]), &[ItemId(0)], 3, &side, 0);
        assert!(bad.unwrap_err().to_string().contains("not finite"));
    }
}
