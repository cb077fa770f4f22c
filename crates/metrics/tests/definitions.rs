//! Hand-computed cases, agreement with the plain definitions, and properties of all metrics.

#![allow(clippy::unwrap_used)] // Helpers of tests are not inside #[test] functions.

use proptest::prelude::*;
use sidereal_core::{Catalog, ItemId, RankedLists, Spec};
use sidereal_metrics::{Direction, EvalContext, Metric, Score, Truth, register, sweep};

const N: usize = 40;
const RANKED: [&str; 4] = ["recall", "ndcg", "hit-rate", "mrr"];

fn metric(short: &str) -> Box<dyn Metric> {
    let mut catalog: Catalog<dyn Metric> = Catalog::new("metric");
    register(&mut catalog).unwrap();
    catalog.build(&Spec::from_short("metric", short).unwrap(), &()).unwrap()
}

type Cases = Vec<(Vec<u32>, Vec<u32>)>;

fn columns(cases: &[(Vec<u32>, Vec<u32>)]) -> (RankedLists, Truth) {
    let (mut lists, mut truth) = (RankedLists::new(), Truth::new());
    for (list, targets) in cases {
        lists.push(list.iter().copied().map(ItemId));
        truth.push(&targets.iter().copied().map(ItemId).collect::<Vec<_>>()).unwrap();
    }
    (lists, truth)
}

fn score(short: &str, cases: &[(Vec<u32>, Vec<u32>)]) -> Score {
    let (lists, truth) = columns(cases);
    let context = EvalContext::new(N, &[1; N]);
    metric(short).evaluate(&lists, &truth, &context).unwrap()
}

fn values(short: &str, list: &[u32], targets: &[u32]) -> f64 {
    score(short, &[(list.to_vec(), targets.to_vec())]).value
}

#[test]
fn one_target_by_hand() {
    let list = [7, 3, 9, 1];
    assert_eq!(values("recall@2", &list, &[9]), 0.0);
    assert_eq!(values("recall@3", &list, &[9]), 1.0);
    assert_eq!(values("ndcg@3", &list, &[9]), 0.5);
    assert_eq!(values("mrr@3", &list, &[9]), 1.0 / 3.0);
    assert_eq!(values("mrr@2", &list, &[9]), 0.0);
    assert_eq!(values("hit-rate@4", &list, &[1]), 1.0);
    assert_eq!(values("ndcg@10", &list, &[7]), 1.0);
}

#[test]
fn several_targets_by_hand() {
    let list = [7, 3, 9, 1];
    let d = |rank: f64| 1.0 / (rank + 1.0).log2();
    assert_eq!(values("recall@4", &list, &[3, 1, 20, 21]), 0.5);
    assert_eq!(values("hit-rate@4", &list, &[3, 1, 20, 21]), 1.0);
    assert_eq!(values("mrr@4", &list, &[3, 1, 20, 21]), 0.5);
    let ideal = d(1.0) + d(2.0) + d(3.0) + d(4.0);
    assert_eq!(values("ndcg@4", &list, &[3, 1, 20, 21]), (d(2.0) + d(4.0)) / ideal);
    // Four targets, two places: the ideal fills two, Recall still divides by four.
    assert_eq!(values("ndcg@2", &list, &[7, 3, 20, 21]), 1.0);
    assert_eq!(values("recall@2", &list, &[7, 3, 20, 21]), 0.5);
}

#[test]
fn micro_figures_of_right() {
    let (a, b, x, c) = (0, 1, 2, 3);
    let cases = [(vec![a, x], vec![a, b]), (vec![c], vec![c])];
    assert_eq!(score("precision-micro@1", &cases).value, 1.0);
    assert_eq!(score("recall-micro@1", &cases).value, 2.0 / 3.0);
    assert_eq!(score("f1-micro@1", &cases).value, 0.8);
    assert!((score("f1-micro@5", &cases).value - 0.307692).abs() < 5e-7);
    assert_eq!(score("precision@5", &cases).value, 0.2);
    // Places in use, not k: three items are recommended.
    assert_eq!(score("precision-micro@9", &cases).value, 2.0 / 3.0);
}

#[test]
fn the_ideal_list_is_not_that_of_the_hits() {
    // Hits at 1 and 3 of five targets: the ideal fills all three places.
    let ndcg = values("ndcg@3", &[1, 30, 2], &[1, 2, 3, 4, 5]);
    assert!((ndcg - 0.70392).abs() < 5e-6, "{ndcg}");
}

#[test]
fn pathological_lists() {
    for name in RANKED {
        assert_eq!(values(name, &[], &[3]), 0.0, "{name} of an empty list");
        assert_eq!(values(&format!("{name}@1000000000000"), &[3], &[3]), 1.0, "{name}, huge k");
        // The same item ten times is one item, however often it is right.
        assert_eq!(values(name, &[3; 10], &[3]), 1.0, "{name} with repeats");
        assert!(values(name, &[3; 10], &[3, 4]) <= 1.0, "{name} with repeats, two targets");
    }
    assert_eq!(values("recall@10", &[3; 10], &[3, 4]), 0.5);
    // Repeats do not push the target out of the first two distinct items.
    assert_eq!(values("recall@2", &[5, 5, 5, 6], &[6]), 1.0);
    assert_eq!(values("mrr@2", &[5, 5, 5, 6], &[6]), 0.5);
    assert_eq!(values("recall@2", &[5, 5, 4, 6], &[6]), 0.0);
    // A repeated target is one target.
    assert_eq!(values("recall@1", &[6], &[6, 6, 6]), 1.0);
}

#[test]
fn means_keep_per_user_values_in_order() {
    let s = score("recall@1", &[(vec![1], vec![1]), (vec![2], vec![1]), (vec![3, 1], vec![1])]);
    assert_eq!(s.per_user.unwrap(), [1.0, 0.0, 0.0]);
    assert_eq!(s.value, 1.0 / 3.0);
}

#[test]
fn coverage_by_hand() {
    let cases = [(vec![1, 2, 3], vec![9]), (vec![1, 1, 4], vec![9]), (vec![], vec![9])];
    let s = score("coverage@2", &cases);
    assert_eq!((s.value, s.per_user), (3.0 / N as f64, None));
    assert_eq!(score("coverage@1", &cases).value, 1.0 / N as f64);
    assert_eq!(score("coverage@3", &cases).value, 4.0 / N as f64);
}

#[test]
fn names_defaults_and_directions() {
    for name in ["recall", "ndcg", "hit-rate", "mrr", "coverage"] {
        assert_eq!(metric(name).name(), format!("{name}@10"));
        assert_eq!(metric(&format!("{name}@7")).name(), format!("{name}@7"));
        assert_eq!(metric(name).direction(), Direction::HigherIsBetter);
    }
    let mut catalog: Catalog<dyn Metric> = Catalog::new("metric");
    register(&mut catalog).unwrap();
    let err = catalog.build(&Spec::new("metric", "recal"), &()).err().unwrap().to_string();
    assert!(err.contains("did you mean `recall`"), "{err}");
    let err = catalog.build(&Spec::new("metric", "ndcg").with("k", 0), &()).err().unwrap();
    assert!(err.to_string().contains("`ndcg` has k = 0"), "{err}");
    assert!(register(&mut catalog).is_err(), "names can be taken once");
}

/// The definitions, written as they are read.
fn by_definition(name: &str, k: usize, list: &[u32], targets: &[u32]) -> f64 {
    let mut head: Vec<u32> = Vec::new();
    for &i in list {
        if head.len() < k && !head.contains(&i) {
            head.push(i);
        }
    }
    let relevant: Vec<f64> =
        head.iter().map(|i| if targets.contains(i) { 1.0 } else { 0.0 }).collect();
    let dcg = |gains: &[f64]| -> f64 {
        gains.iter().enumerate().map(|(i, g)| g / (i as f64 + 2.0).log2()).sum()
    };
    match name {
        "recall" => relevant.iter().sum::<f64>() / targets.len() as f64,
        "hit-rate" => relevant.iter().fold(0.0, |a: f64, &b| a.max(b)),
        "mrr" => relevant.iter().position(|&x| x > 0.0).map_or(0.0, |i| 1.0 / (i as f64 + 1.0)),
        _ => dcg(&relevant) / dcg(&vec![1.0; k.min(targets.len())]),
    }
}

fn cases() -> impl Strategy<Value = Cases> {
    let targets = proptest::collection::btree_set(0..N as u32, 1..6)
        .prop_map(|s| s.into_iter().collect::<Vec<_>>());
    let list = proptest::collection::vec(0..N as u32, 0..50);
    proptest::collection::vec((list, targets), 1..12)
}

proptest! {
    #[test]
    fn agree_with_the_definitions(cases in cases(), k in 1usize..60) {
        for name in RANKED {
            let s = score(&format!("{name}@{k}"), &cases);
            for ((list, targets), got) in cases.iter().zip(s.per_user.unwrap()) {
                let expected = by_definition(name, k, list, targets);
                prop_assert!((got - expected).abs() < 1e-12, "{name}@{k}: {got} for {expected}");
            }
        }
    }

    #[test]
    fn stay_in_bounds_and_grow_with_k(cases in cases(), k in 1usize..30) {
        for name in ["recall", "hit-rate", "mrr", "coverage"] {
            let at = |k: usize| score(&format!("{name}@{k}"), &cases).value;
            prop_assert!((0.0..=1.0).contains(&at(k)), "{name}");
            prop_assert!(at(k) <= at(k + 1), "{name}");
        }
        // NDCG may fall when k grows with several targets, but stays in bounds.
        let ndcg = score(&format!("ndcg@{k}"), &cases).value;
        prop_assert!((0.0..=1.0).contains(&ndcg));
    }

    #[test]
    fn one_target_orders_the_metrics(cases in cases(), k in 1usize..30) {
        let single: Cases = cases.into_iter().map(|(l, t)| (l, vec![t[0]])).collect();
        let of = |name: &str| score(&format!("{name}@{k}"), &single).per_user.unwrap();
        let (recall, ndcg, mrr) = (of("recall"), of("ndcg"), of("mrr"));
        prop_assert_eq!(&recall, &of("hit-rate"));
        for u in 0..single.len() {
            prop_assert!(mrr[u] <= ndcg[u] && ndcg[u] <= recall[u]);
        }
    }

    #[test]
    fn users_in_another_order_score_the_same(cases in cases(), by in 0usize..12) {
        let mut turned = cases.clone();
        let by = by % cases.len();
        turned.rotate_left(by);
        for name in RANKED {
            let (a, b) = (score(name, &cases), score(name, &turned));
            let mut per_user = a.per_user.unwrap();
            per_user.rotate_left(by);
            prop_assert_eq!(per_user, b.per_user.unwrap());
            prop_assert!((a.value - b.value).abs() < 1e-12);
        }
        prop_assert_eq!(score("coverage", &cases).value, score("coverage", &turned).value);
    }

    #[test]
    fn the_sweep_gives_the_same_bits(cases in cases()) {
        let (lists, truth) = columns(&cases);
        for a in sweep(&lists, &truth, N, &[20, 1, 5, 100], 1).unwrap() {
            let of = |name: &str| score(&format!("{name}@{}", a.k), &cases).value;
            prop_assert_eq!([a.recall, a.ndcg, a.hit_rate, a.mrr], RANKED.map(of));
            prop_assert_eq!([a.precision, a.map], ["precision", "map"].map(of));
        }
    }
}

#[test]
fn the_sweep_refuses_what_metrics_refuse() {
    let (lists, truth) = columns(&[(vec![1], vec![1])]);
    assert!(sweep(&lists, &truth, N, &[0], 1).is_err());
    assert!(sweep(&lists, &truth, 1, &[1], 1).is_err());
    assert!(sweep(&lists, &Truth::new(), N, &[1], 1).is_err());
}
