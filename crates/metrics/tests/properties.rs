//! What must hold for every metric whatever the lists: bounds, users in any order, cut-offs.

#![allow(clippy::unwrap_used)] // Helpers of tests are not inside #[test] functions.

use proptest::prelude::*;
use sidereal_core::{Catalog, ItemId, Matrix, RankedLists, Sequences, Spec};
use sidereal_metrics::breakdown::{Groups, breakdown};
use sidereal_metrics::{Classes, EvalContext, Metric, Score, Truth, evaluate_all, register};

const N: usize = 25;

#[derive(Debug, Clone)]
struct Request {
    list: Vec<u32>,
    targets: Vec<u32>,
    history: Vec<u32>,
}

fn requests() -> impl Strategy<Value = Vec<Request>> {
    let some = |n| proptest::collection::vec(0..N as u32, n);
    // Lists empty, short, with repeats; more targets than places.
    let request = (some(0..20), some(1..15), some(0..8))
        .prop_map(|(list, targets, history)| Request { list, targets, history });
    proptest::collection::vec(request, 1..7)
}

/// The largest value of each metric that has one; the least is 0 for all but those here.
fn most(name: &str, k: usize) -> f64 {
    match name {
        "item-coverage" => N as f64,
        "shannon-entropy" => (N as f64).ln(),
        "aclt" => k as f64,
        "arp" | "efd" | "self-information" => f64::INFINITY,
        "ild-vectors" | "history-distance" => 2.0,
        "calibration" => -(0.01f64.ln()),
        _ => 1.0,
    }
}

fn scores(requests: &[Request], k: usize) -> Vec<(String, Score)> {
    let mut catalog: Catalog<dyn Metric> = Catalog::new("metric");
    register(&mut catalog).unwrap();
    let names: Vec<String> = catalog.entries().map(|e| e.name.clone()).collect();
    let metrics: Vec<Box<dyn Metric>> = names
        .iter()
        .map(|n| catalog.build(&Spec::new("metric", n).with("k", k as i64), &()).unwrap())
        .collect();
    let ids = |items: &[u32]| items.iter().copied().map(ItemId).collect::<Vec<_>>();
    let (mut lists, mut truth, mut histories) =
        (RankedLists::new(), Truth::new(), Sequences::default());
    for request in requests {
        lists.push(ids(&request.list));
        truth.push(&ids(&request.targets)).unwrap();
        histories.push(&ids(&request.history));
    }
    let mut train = Sequences::default();
    (0..9u32).for_each(|u| train.push(&ids(&[u % 3, u % 5 + 3, u + 8])));
    let values = (0..3 * N).map(|i| ((i * 7) % 11) as f32 - 5.0).collect();
    let vectors = Matrix::new(N, 3, values).unwrap();
    let classes: Vec<[u32; 2]> = (0..N as u32).map(|i| [i % 4, i % 3]).collect();
    let classes = Classes::new(
        ["a", "b", "c", "d"].map(String::from).to_vec(),
        classes.iter().map(|c| &c[..]),
    )
    .unwrap();
    let context = EvalContext {
        train: Some(&train),
        histories: Some(&histories),
        categories: Some(&classes),
        vectors: Some(vectors.view()),
        ..EvalContext::new(N, &[])
    };
    let scores = evaluate_all(&metrics, &lists, &truth, &context, 1).unwrap();
    names.into_iter().zip(scores).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn values_stay_in_their_range(requests in requests(), k in 1usize..22) {
        for (name, score) in scores(&requests, k) {
            let most = most(&name, k) * (1.0 + 1e-12);
            // The distance of nearly equal vectors may round to a hair below 0.
            let inside = |v: f64| (-1e-12..=most).contains(&v);
            prop_assert!(inside(score.value), "{name}@{k} is {}", score.value);
            for value in score.per_user.iter().flatten() {
                prop_assert!(inside(*value), "{name}@{k} of a user is {value}");
            }
        }
    }

    #[test]
    fn users_may_come_in_any_order(requests in requests(), k in 1usize..22, turn in 0usize..7) {
        let mut turned = requests.clone();
        turned.rotate_left(turn % requests.len());
        for ((name, a), (_, b)) in scores(&requests, k).iter().zip(scores(&turned, k)) {
            prop_assert_eq!(a.value.to_bits(), b.value.to_bits(), "{}", name);
        }
    }

    #[test]
    fn a_longer_cut_off_loses_no_hit(requests in requests(), k in 1usize..21) {
        let rising = ["recall", "recall-micro", "hit-rate", "mrr", "map-trec", "r-precision",
            "coverage", "item-coverage", "aclt"];
        for ((name, short), (_, long)) in scores(&requests, k).iter().zip(scores(&requests, k + 1)) {
            if rising.contains(&name.as_str()) {
                prop_assert!(long.value >= short.value, "{name}@{k}");
            }
        }
    }

    #[test]
    fn groups_add_up(requests in requests(), k in 1usize..22) {
        let mut truth = Truth::new();
        for request in &requests {
            truth.push(&request.targets.iter().copied().map(ItemId).collect::<Vec<_>>()).unwrap();
        }
        let popularity: Vec<u32> = (0..N as u32).map(|i| i % 7).collect();
        let groups = Groups::by_popularity(&truth, &popularity, &[0, 3]).unwrap();
        for (name, score) in scores(&requests, k) {
            // The weights of gauc are not those of a plain mean.
            let Some(own) = score.per_user.filter(|_| name != "gauc") else { continue };
            let means = breakdown(&own, &groups).unwrap();
            let sum: f64 = means.iter().map(|g| g.requests as f64 * g.mean.unwrap_or(0.0)).sum();
            let mean = sum / requests.len() as f64;
            prop_assert!((mean - score.value).abs() <= 1e-12 * (1.0 + mean.abs()), "{}", name);
            prop_assert_eq!(means.iter().map(|g| g.requests).sum::<usize>(), requests.len());
        }
    }

    #[test]
    fn one_user_is_their_own_mean(requests in requests(), k in 1usize..22) {
        for (name, score) in scores(&requests[..1], k) {
            if let Some(own) = score.per_user {
                prop_assert_eq!(own.len(), 1);
                prop_assert!((own[0] - score.value).abs() <= 1e-15 * own[0].abs(), "{}", name);
            }
        }
    }
}

#[test]
fn perfect_lists() {
    let targets: Vec<u32> = vec![2, 3, 5, 7, 11];
    let request = Request { list: targets.clone(), targets, history: vec![] };
    for (name, score) in scores(&[request], 5) {
        let full = [
            "recall",
            "recall-micro",
            "precision",
            "precision-micro",
            "f1",
            "f1-micro",
            "hit-rate",
            "ndcg",
            "ndcg-linear",
            "ndcg-exponential",
            "mrr",
            "map",
            "map-trec",
            "map-elliot",
            "r-precision",
            "auc",
            "gauc",
            "pass",
        ];
        if full.contains(&name.as_str()) {
            assert_eq!(score.value, 1.0, "{name}");
        }
    }
}
