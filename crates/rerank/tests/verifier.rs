//! `verifier` against the laws in the fact sheets of rejection sampling and test-time reranking.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod common;

use common::{list, order, rerank};
use rand::Rng;
use sidereal_core::{ItemId, Recommendation, Request, Result, Run, seed};
use sidereal_rerank::{
    ByItem, ByRecommender, Clock, Order, Rejected, Reranker, Scorer, Side, Task, Verifier,
    VerifierOptions,
};
use std::sync::Arc;

/// Scores by place in the list.
struct ByPlace(Vec<f64>);

impl Scorer for ByPlace {
    fn score(&self, _: &Task<'_>, c: &[Recommendation], out: &mut Vec<f64>) -> Result<()> {
        out.extend(c.iter().map(|c| self.0[c.item.index()]));
        Ok(())
    }
}

fn verifier(options: VerifierOptions, scores: &[f64]) -> Verifier {
    Verifier::new(options).unwrap().with_scorer(Box::new(ByPlace(scores.to_vec())))
}

fn order_of(options: VerifierOptions, scores: &[f64]) -> Vec<usize> {
    let candidates = list(&vec![0.0; scores.len()]);
    let by = verifier(options, scores);
    order(&rerank(&by, &candidates, &[], scores.len().max(1), &Side::default(), 0).unwrap())
}

#[test]
fn orders_accepts_and_rejects() {
    let all = VerifierOptions::default;
    assert_eq!(order_of(all(), &[0.5; 4]), [0, 1, 2, 3]);
    assert_eq!(order_of(all(), &[0.1, 0.9, 0.5, 0.9]), [1, 3, 2, 0]);
    let from = |order, rejected| VerifierOptions {
        threshold: Some(0.5),
        order,
        rejected,
        ..Default::default()
    };
    let scores = [0.1, 0.5, 0.2, 0.9];
    assert_eq!(order_of(from(Order::Score, Rejected::Last), &scores), [3, 1, 2, 0]);
    assert_eq!(order_of(from(Order::Kept, Rejected::Last), &scores), [1, 3, 0, 2]);
    assert_eq!(order_of(from(Order::Score, Rejected::Drop), &scores), [3, 1]);
    // Nothing accepted: the list as it was, even where rejected candidates are dropped.
    assert_eq!(order_of(from(Order::Score, Rejected::Drop), &[0.1, 0.4]), [0, 1]);
    let never = [f64::NEG_INFINITY; 3];
    let tilted = VerifierOptions { beta: Some(1.0), ..Default::default() };
    assert_eq!(order_of(tilted, &never), [0, 1, 2]);
    assert!(order_of(all(), &[]).is_empty());
}

#[test]
fn time_ends_the_work_and_the_rest_keeps_its_order() {
    let by = verifier(VerifierOptions::default(), &[0.0, 1.0, 2.0]);
    let candidates = list(&[3.0, 2.0, 1.0]);
    let (run, side) = (Run::quiet(0), Side::default());
    let request = common::request(&[]);
    let clock = Clock::start(Some(std::time::Duration::ZERO));
    let task =
        Task { request: &request, candidates: &candidates, k: 3, side: &side, run: &run, clock };
    let new = by.rerank(&task).unwrap();
    assert_eq!(order(&new), [0, 1, 2]);
    assert_eq!((new.cost.candidates, new.cost.calls), (0, 0));
}

#[test]
fn functions_and_recommenders_verify() {
    let f = |_: &Request<'_>, item: ItemId| f64::from(item.0 % 3);
    let by = Verifier::new(VerifierOptions::default()).unwrap().with_scorer(Box::new(ByItem(f)));
    let new = rerank(&by, &list(&[0.0; 6]), &[], 6, &Side::default(), 0).unwrap();
    assert_eq!(order(&new), [2, 5, 1, 4, 0, 3]);
    // A second recommender that knows items 3 and 1 only.
    let item = |i| Recommendation { item: ItemId(i), score: f64::from(i), sid: None };
    let second = Arc::new(common::Fixed(vec![item(3), item(1), item(9)]));
    let options = VerifierOptions { threshold: Some(-1e9), ..Default::default() };
    let by = Verifier::new(options).unwrap().with_scorer(Box::new(ByRecommender::new(second, 2)));
    let new = rerank(&by, &list(&[0.0; 4]), &[], 4, &Side::default(), 0).unwrap();
    assert_eq!(order(&new), [3, 1, 0, 2]);
    assert_eq!(new.cost.calls, 4);
}

/// First places over many lists, whose scores `draw` makes.
fn firsts(
    n: usize,
    trials: u64,
    mut draw: impl FnMut(&mut dyn FnMut() -> f64) -> Vec<f64>,
) -> Vec<f64> {
    let mut chosen = Vec::new();
    for t in 0..trials {
        let mut rng = seed::stream(5, "verifier-test", t);
        let scores = draw(&mut || rng.random::<f64>());
        assert_eq!(scores.len(), n);
        let first = order_of(VerifierOptions::default(), &scores)[0];
        chosen.push(if first == 0 { scores[0] } else { scores[first] });
    }
    chosen
}

#[test]
fn best_of_four_uniform_rewards_has_mean_four_fifths() {
    let chosen = firsts(4, 20_000, |u| (0..4).map(|_| u()).collect());
    let mean = chosen.iter().sum::<f64>() / chosen.len() as f64;
    // Beta(4, 1): variance 4 / (25 * 6).
    let error = (4.0 / 150.0 / chosen.len() as f64).sqrt();
    assert!((mean - 0.8).abs() < 3.0 * error, "{mean}");
}

#[test]
fn best_of_two_of_three_lines_has_the_law_of_the_sheet() {
    let draw = |u: f64| {
        if u < 0.5 {
            0.0
        } else if u < 0.8 {
            1.0
        } else {
            2.0
        }
    };
    let chosen = firsts(2, 20_000, |u| (0..2).map(|_| draw(u())).collect());
    for (reward, law) in [(0.0, 0.25), (1.0, 0.39), (2.0, 0.36)] {
        let share = chosen.iter().filter(|&&r| r == reward).count() as f64 / 20_000.0;
        assert!((share - law).abs() < 0.012, "{reward}: {share}");
    }
}

/// Target score N(1, 1), others N(0, 1), ten candidates: the target comes first in .3409 of lists.
#[test]
fn a_noisy_oracle_puts_the_target_first_as_often_as_theory_says() {
    let trials = 20_000;
    let mut hits = 0;
    for t in 0..trials {
        let mut rng = seed::stream(6, "verifier-test", t);
        let mut normal = || {
            let (u, v): (f64, f64) = (rng.random(), rng.random());
            (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        };
        let mut scores: Vec<f64> = (0..10).map(|_| normal()).collect();
        scores[7] += 1.0;
        hits += u32::from(order_of(VerifierOptions::default(), &scores)[0] == 7);
    }
    let share = f64::from(hits) / trials as f64;
    assert!((share - 0.3409).abs() < 0.011, "{share}");
    // A perfect one does whenever the target is there.
    let oracle: Vec<f64> = (0..10).map(|i| f64::from(i == 7)).collect();
    assert_eq!(order_of(VerifierOptions::default(), &oracle)[0], 7);
}

/// Candidates are draws from G = (.5, .3, .2) with rewards 0, 1, 2 and beta 1: the first accepted
/// one follows `G exp(r / beta) / Z`, and a draw is accepted with probability `Z exp(-2)`.
#[test]
fn random_acceptance_is_the_exact_sampler() {
    let (law, rewards) = ([0.5, 0.3, 0.2], [0.0, 1.0, 2.0]);
    let z: f64 = law.iter().zip(rewards).map(|(g, r): (&f64, f64)| g * r.exp()).sum();
    let options = VerifierOptions {
        beta: Some(1.0),
        order: Order::Kept,
        rejected: Rejected::Drop,
        ..Default::default()
    };
    let (n, trials) = (40, 4000u64);
    let (mut counts, mut accepted, mut looked) = ([0u32; 3], 0usize, 0usize);
    for t in 0..trials {
        let mut rng = seed::stream(7, "verifier-test", t);
        let mut draw = || match rng.random::<f64>() {
            u if u < 0.5 => 0.0,
            u if u < 0.8 => 1.0,
            _ => 2.0,
        };
        let scores: Vec<f64> = (0..n).map(|_| draw()).collect();
        let by = verifier(options.clone(), &scores);
        let new = rerank(&by, &list(&vec![0.0; n]), &[], n, &Side::default(), t).unwrap();
        counts[scores[new.picks[0].index] as usize] += 1;
        accepted += new.picks.len();
        looked += n;
    }
    for c in 0..3 {
        let (share, want) = (f64::from(counts[c]) / trials as f64, law[c] * rewards[c].exp() / z);
        assert!((share - want).abs() < 0.026, "{c}: {share} for {want}");
    }
    let rate = accepted as f64 / looked as f64;
    assert!((rate - z * (-2f64).exp()).abs() < 0.01, "{rate}");
}

#[test]
fn draws_follow_seed_user_and_history() {
    let options = || VerifierOptions { beta: Some(0.5), ..Default::default() };
    let scores: Vec<f64> = (0..30).map(|i| f64::from(i % 7) / 7.0).collect();
    let candidates = list(&vec![0.0; 30]);
    let by = verifier(options(), &scores);
    let of = |history: &[ItemId], seed| {
        order(&rerank(&by, &candidates, history, 30, &Side::default(), seed).unwrap())
    };
    let (a, b) = ([ItemId(1), ItemId(2)], [ItemId(2), ItemId(1)]);
    assert_eq!(of(&a, 1), of(&a, 1));
    assert_ne!(of(&a, 1), of(&a, 2));
    assert_ne!(of(&a, 1), of(&b, 1));
}

#[test]
fn refused_options_and_scores() {
    let error = |o: VerifierOptions| Verifier::new(o).map(drop).unwrap_err().to_string();
    let with = |threshold, beta| VerifierOptions { threshold, beta, ..Default::default() };
    assert!(error(with(Some(f64::NAN), None)).contains("reranker.threshold"));
    assert!(error(with(None, Some(0.0))).contains("reranker.beta"));
    assert!(error(with(Some(0.0), Some(1.0))).contains("one of the two"));
    for bad in [f64::NAN, f64::INFINITY] {
        let by = verifier(VerifierOptions::default(), &[0.0, bad]);
        let e = rerank(&by, &list(&[0.0; 2]), &[], 2, &Side::default(), 0).unwrap_err();
        assert!(e.to_string().contains("candidate 1"), "{e}");
    }
}
