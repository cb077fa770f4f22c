//! Diversity, distance from the history, calibration and AUC against their definitions.

#![allow(clippy::unwrap_used)] // Helpers of tests are not inside #[test] functions.

use proptest::prelude::*;
use sidereal_core::{Catalog, ItemId, Matrix, RankedLists, Sequences, Spec};
use sidereal_metrics::{Classes, EvalContext, Metric, Truth, auc, gauc, register};

const N: usize = 12;
const D: usize = 3;

fn per_user(
    short: &str,
    lists: &[Vec<u32>],
    targets: &[Vec<u32>],
    c: &EvalContext<'_>,
) -> Vec<f64> {
    let mut catalog: Catalog<dyn Metric> = Catalog::new("metric");
    register(&mut catalog).unwrap();
    let metric = catalog.build(&Spec::from_short("metric", short).unwrap(), &()).unwrap();
    let (mut l, mut t) = (RankedLists::new(), Truth::new());
    lists.iter().for_each(|x| l.push(x.iter().copied().map(ItemId)));
    for x in targets {
        t.push(&x.iter().copied().map(ItemId).collect::<Vec<_>>()).unwrap();
    }
    metric.evaluate(&l, &t, c).unwrap().per_user.unwrap()
}

fn distinct(list: &[u32], k: usize) -> Vec<u32> {
    let mut out = Vec::new();
    for &i in list {
        if out.len() < k && !out.contains(&i) {
            out.push(i);
        }
    }
    out
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
    };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths == 0.0 { 0.0 } else { dot(a, b) / lengths }
}

fn pairs(list: &[u32], distance: impl Fn(u32, u32) -> f64) -> f64 {
    let (mut sum, mut n) = (0.0, 0.0);
    for (p, &a) in list.iter().enumerate() {
        for &b in &list[..p] {
            sum += distance(a, b);
            n += 1.0;
        }
    }
    if n == 0.0 { 0.0 } else { sum / n }
}

fn lists() -> impl Strategy<Value = Vec<Vec<u32>>> {
    proptest::collection::vec(proptest::collection::vec(0..N as u32, 0..15), 1..5)
}

proptest! {
    #[test]
    fn diversity_and_distance(
        lists in lists(), past in proptest::collection::vec(0..N as u32, 0..6), k in 1usize..14,
        data in proptest::collection::vec(-2f32..2.0, N * D),
        classes in proptest::collection::vec(proptest::collection::btree_set(0u32..4, 0..3), N)
    ) {
        let mut data = data;
        data[..D].fill(0.0);
        let vectors = Matrix::new(N, D, data).unwrap();
        let sets: Vec<Vec<u32>> = classes.iter().map(|s| s.iter().copied().collect()).collect();
        let names = ["a", "b", "c", "d"].map(String::from).to_vec();
        let classes = Classes::new(names, sets.iter().map(Vec::as_slice)).unwrap();
        let mut histories = Sequences::default();
        let past: Vec<ItemId> = past.into_iter().map(ItemId).collect();
        lists.iter().for_each(|_| histories.push(&past));
        let mut context = EvalContext::new(N, &[]);
        context.vectors = Some(vectors.view());
        context.categories = Some(&classes);
        context.histories = Some(&histories);
        let targets = vec![vec![0u32]; lists.len()];
        let cos = |a: u32, b: u32| cosine(vectors.row(a as usize), vectors.row(b as usize));
        let ild = per_user(&format!("ild-vectors@{k}"), &lists, &targets, &context);
        let jaccard = per_user(&format!("ild-categories@{k}"), &lists, &targets, &context);
        let away = per_user(&format!("history-distance@{k}"), &lists, &targets, &context);
        let calibration = per_user(&format!("calibration@{k}"), &lists, &targets, &context);
        for (u, list) in lists.iter().enumerate() {
            let head = distinct(list, k);
            prop_assert!((ild[u] - pairs(&head, |a, b| 1.0 - cos(a, b))).abs() < 1e-12);
            let by_class = pairs(&head, |a, b| classes.distance(ItemId(a), ItemId(b)));
            prop_assert!((jaccard[u] - by_class).abs() < 1e-12);
            let nearest = |i: &u32| {
                past.iter().map(|h| 1.0 - cos(*i, h.0)).fold(f64::INFINITY, f64::min)
            };
            let expected = match (past.is_empty(), head.len()) {
                (_, 0) => 0.0,
                (true, _) => 1.0,
                (_, n) => head.iter().map(nearest).sum::<f64>() / n as f64,
            };
            prop_assert!((away[u] - expected).abs() < 1e-12);
            prop_assert!(calibration[u] >= 0.0 && calibration[u] <= -(0.01f64.ln()) + 1e-12);
        }
    }

    #[test]
    fn auc_by_pairs(
        lists in lists(), k in 1usize..14,
        targets in proptest::collection::btree_set(0..N as u32, 1..N)
    ) {
        let targets: Vec<u32> = targets.into_iter().collect();
        let context = EvalContext::new(N, &[]);
        let all = vec![targets.clone(); lists.len()];
        let got = per_user(&format!("auc@{k}"), &lists, &all, &context);
        for (list, got) in lists.iter().zip(got) {
            let head = distinct(list, k);
            let score = |i: u32| {
                head.iter().position(|&x| x == i).map_or(0.0, |rank| (N - rank) as f64)
            };
            let scores: Vec<f64> = (0..N as u32).map(score).collect();
            let labels: Vec<bool> = (0..N as u32).map(|i| targets.contains(&i)).collect();
            let expected = auc(&scores, &labels).unwrap().unwrap_or(0.5);
            prop_assert!((got - expected).abs() < 1e-12, "{} for {}", got, expected);
        }
    }

    #[test]
    fn auc_of_scores_counts_pairs(
        examples in proptest::collection::vec((0i32..6, any::<bool>()), 0..30)
    ) {
        let scores: Vec<f64> = examples.iter().map(|e| f64::from(e.0)).collect();
        let labels: Vec<bool> = examples.iter().map(|e| e.1).collect();
        let (mut right, mut n) = (0.0, 0.0);
        for (a, _) in examples.iter().filter(|e| e.1) {
            for (b, _) in examples.iter().filter(|e| !e.1) {
                n += 1.0;
                right += if a > b { 1.0 } else if a == b { 0.5 } else { 0.0 };
            }
        }
        let got = auc(&scores, &labels).unwrap();
        prop_assert_eq!(got.is_none(), n == 0.0);
        if let Some(got) = got {
            prop_assert!((got - right / n).abs() < 1e-12);
            let one = gauc(&scores, &labels, &vec![7; scores.len()]).unwrap().unwrap();
            prop_assert!((one - got).abs() < 1e-15);
        }
    }
}

#[test]
fn calibration_by_hand() {
    let classes =
        Classes::new(vec!["a".into(), "b".into()], [&[0][..], &[1], &[0, 1], &[]]).unwrap();
    let mut histories = Sequences::default();
    [&[0, 0, 2][..], &[3], &[0]].iter().for_each(|h: &&[u32]| {
        histories.push(&h.iter().copied().map(ItemId).collect::<Vec<_>>());
    });
    let mut context = EvalContext::new(4, &[]);
    context.categories = Some(&classes);
    context.histories = Some(&histories);
    let lists = [vec![0, 1], vec![0], vec![3]];
    let got = per_user("calibration@2", &lists, &[vec![0], vec![0], vec![0]], &context);
    // p = (5/6, 1/6), q = (1/2, 1/2).
    let (p, a) = ([5.0f64 / 6.0, 1.0 / 6.0], 0.01);
    let kl: f64 = p.iter().map(|p| p * (p / ((1.0 - a) * 0.5 + a * p)).ln()).sum();
    assert!((got[0] - kl).abs() < 1e-14);
    assert_eq!(got[1], 0.0);
    assert!((got[2] + 0.01f64.ln()).abs() < 1e-14);
}

#[test]
fn gauc_weighs_and_leaves_out() {
    // User 1: one negative before one positive (0); user 2: perfect with three examples; user 3 has
    // positives only.
    let scores = [0.9, 0.1, 0.8, 0.7, 0.1, 0.5];
    let labels = [false, true, true, true, false, true];
    let users = [1, 1, 2, 2, 2, 3];
    assert_eq!(gauc(&scores, &labels, &users).unwrap(), Some(0.6));
    assert_eq!(gauc(&[0.5], &[true], &[1]).unwrap(), None);
    assert!(auc(&[0.5], &[]).is_err() && auc(&[f64::NAN], &[true]).is_err());
    assert!(gauc(&[0.5], &[true], &[]).is_err());
    assert_eq!(auc(&[0.0, -0.0], &[true, false]).unwrap(), Some(0.5));
    // In lists: weights are numbers of targets.
    let context = EvalContext::new(4, &[]);
    let lists = [vec![0, 1, 2, 3], vec![3, 2, 1, 0]];
    let targets = [vec![0], vec![0, 1, 2]];
    let got = per_user("auc@4", &lists, &targets, &context);
    assert_eq!(got, [1.0, 0.0]);
    let mut catalog: Catalog<dyn Metric> = Catalog::new("metric");
    register(&mut catalog).unwrap();
    let metric = catalog.build(&Spec::from_short("metric", "gauc@4").unwrap(), &()).unwrap();
    let (mut l, mut t) = (RankedLists::new(), Truth::new());
    lists.iter().for_each(|x| l.push(x.iter().copied().map(ItemId)));
    t.push(&[ItemId(0)]).unwrap();
    t.push(&[0, 1, 2].map(ItemId)).unwrap();
    assert_eq!(metric.evaluate(&l, &t, &context).unwrap().value, 0.25);
}
