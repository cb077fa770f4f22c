//! Elliot's formulas on cases computed by hand: popularity, novelty, long tail, bias, exposure.

#![allow(clippy::unwrap_used)] // Helpers of tests are not inside #[test] functions.

use sidereal_core::{Catalog, ItemId, RankedLists, Result, Sequences, Spec};
use sidereal_metrics::popularity::{Audience, ShortHead};
use sidereal_metrics::{Direction, EvalContext, Metric, Score, Truth, register};

fn catalog() -> Catalog<dyn Metric> {
    let mut catalog: Catalog<dyn Metric> = Catalog::new("metric");
    register(&mut catalog).unwrap();
    catalog
}

fn build(spec: Spec) -> Box<dyn Metric> {
    catalog().build(&spec, &()).unwrap()
}

fn sequences(rows: &[&[u32]]) -> Sequences {
    let mut out = Sequences::default();
    rows.iter().for_each(|r| out.push(&r.iter().copied().map(ItemId).collect::<Vec<_>>()));
    out
}

/// Ten users whose items have audiences 1: 8, 2: 4, 3: 2, 4: 1, 5: 1, 6: 4 (item 0: none).
fn training() -> Sequences {
    sequences(&[
        &[1, 2, 6],
        &[1, 2, 6],
        &[1, 2, 6],
        &[1, 2, 6],
        &[1, 3],
        &[1, 3],
        &[1, 4],
        &[1],
        &[5],
        &[],
        &[],
    ])
}

fn try_score(
    spec: Spec,
    lists: &[&[u32]],
    targets: &[&[u32]],
    context: &EvalContext<'_>,
) -> Result<Score> {
    let (mut l, mut t) = (RankedLists::new(), Truth::new());
    lists.iter().for_each(|x| l.push(x.iter().copied().map(ItemId)));
    for x in targets {
        t.push(&x.iter().copied().map(ItemId).collect::<Vec<_>>()).unwrap();
    }
    build(spec).evaluate(&l, &t, context)
}

fn of(short: &str, lists: &[&[u32]], targets: &[&[u32]], context: &EvalContext<'_>) -> f64 {
    let spec = Spec::from_short("metric", short).unwrap();
    try_score(spec, lists, targets, context).unwrap().value
}

fn near(got: f64, expected: f64, digits: i32) {
    assert!((got - expected).abs() <= 0.5 * 10f64.powi(-digits) + 1e-15, "{got} for {expected}");
}

#[test]
fn accuracy_of_the_worked_example() {
    let context = EvalContext::new(7, &[]);
    let (list, targets): (&[&[u32]], &[&[u32]]) = (&[&[1, 2, 3, 4, 5]], &[&[1, 3, 6]]);
    let score = |short: &str| of(short, list, targets, &context);
    near(score("precision@5"), 0.4, 12);
    near(score("recall@5"), 2.0 / 3.0, 12);
    near(score("f1@5"), 0.5, 12);
    near(score("hit-rate@5"), 1.0, 12);
    near(score("mrr@5"), 1.0, 12);
    near(score("map-elliot@5"), (1.0 + 0.5 + 2.0 / 3.0 + 0.5 + 0.4) / 5.0, 12);
    near(score("map-elliot@5"), 0.613333, 6);
    near(score("map@5"), 5.0 / 9.0, 12);
    near(score("map-trec@2"), 1.0 / 3.0, 12);
    near(score("map@2"), 0.5, 12);
    near(score("ndcg@5"), 0.703918, 6);
    near(score("r-precision@5"), 2.0 / 3.0, 12);
    near(score("r-precision@1"), 1.0 / 3.0, 12);
}

#[test]
fn graded_gains() {
    let (mut lists, mut truth) = (RankedLists::new(), Truth::new());
    lists.push([2, 9, 1].map(ItemId));
    truth.push_graded(&[(ItemId(1), 3.0), (ItemId(2), 1.0), (ItemId(5), 2.0)]).unwrap();
    let score = |short: &str| {
        let metric = build(Spec::from_short("metric", short).unwrap());
        metric.evaluate(&lists, &truth, &EvalContext::new(10, &[])).unwrap().value
    };
    let d = |rank: f64| 1.0 / (rank + 1.0).log2();
    near(score("ndcg-linear@3"), (1.0 + 3.0 * d(3.0)) / (3.0 + 2.0 * d(2.0) + d(3.0)), 12);
    near(score("ndcg-exponential@3"), (1.0 + 7.0 * d(3.0)) / (7.0 + 3.0 * d(2.0) + d(3.0)), 12);
    near(score("ndcg-exponential@1"), 1.0 / 7.0, 12);
    near(score("ndcg@3"), (1.0 + d(3.0)) / (1.0 + d(2.0) + d(3.0)), 12);
    near(score("ndcg-linear@1"), 1.0 / 3.0, 12);
}

#[test]
fn popularity_of_the_worked_example() {
    let train = training();
    let histories = Sequences::new(vec![0, 0], vec![], None).unwrap();
    let mut context = EvalContext::new(7, &[]);
    context.train = Some(&train);
    let audience = Audience::of(&train, 7).unwrap();
    assert_eq!(audience.of_item, [0, 8, 4, 2, 1, 1, 4]);
    // Nine users have something; the sheet's tenth is a user with repeats, which count once.
    let ten = sequences(&[&[1, 2, 6], &[1, 2, 6], &[1, 2, 6], &[1, 2, 6], &[1, 3], &[1, 3, 3]]);
    assert_eq!(Audience::of(&ten, 7).unwrap().of_item[3], 2);
    let head = ShortHead::new(&audience, 0.8).unwrap();
    let members: Vec<u32> = (0..7).filter(|&i| head.contains(ItemId(i))).collect();
    assert_eq!((members, head.len()), (vec![1, 2, 6], 3));
    context.histories = Some(&histories);
    let (list, targets): (&[&[u32]], &[&[u32]]) = (&[&[1, 2, 3, 4, 5]], &[&[1, 3, 6]]);
    let score = |short: &str| of(short, list, targets, &context);
    assert_eq!(score("aclt@5"), 3.0);
    assert_eq!(score("aclt@3"), 1.0);
    assert_eq!(score("aplt@5"), 0.6);
    near(score("arp@5"), 3.2, 12);
    // Hits: one of two in the head, one of one in the tail.
    near(score("pop-reo@5"), 1.0 / 3.0, 12);
    // Shown: two of three in the head, three of four in the tail.
    near(score("pop-rsp@5"), (0.75 - 2.0 / 3.0) / (0.75 + 2.0 / 3.0), 12);
    let d = |rank: f64| 1.0 / (rank + 1.0).log2();
    let places = d(1.0) + d(2.0) + d(3.0) + d(4.0) + d(5.0);
    near(score("epc@5"), (1.0 / 9.0 + d(3.0) * 7.0 / 9.0) / places, 12);
    near(score("efd@5"), ((20.0f64 / 8.0).log2() + d(3.0) * 10f64.log2()) / places, 12);
    let bits = |c: f64| (9.0 / c).log2();
    let all = bits(8.0) + bits(4.0) + bits(2.0) + 2.0 * bits(1.0);
    near(score("self-information@5"), all / 5.0, 12);
    // The most popular three are 1, 2, 6: of the hits 1 and 3 only 3 is unexpected.
    near(score("serendipity@3"), 1.0 / 3.0, 12);
}

#[test]
fn epc_with_ten_users() {
    // The same audiences over ten users: the user of 5 alone, and one of 1 and 4 split.
    let train = sequences(&[
        &[1, 2, 6],
        &[1, 2, 6],
        &[1, 2, 6],
        &[1, 2, 6],
        &[1, 3],
        &[1, 3],
        &[1],
        &[1],
        &[4],
        &[5],
    ]);
    let mut context = EvalContext::new(7, &[]);
    context.train = Some(&train);
    near(of("epc@5", &[&[1, 2, 3, 4, 5]], &[&[1, 3, 6]], &context), 0.203496, 6);
}

#[test]
fn what_users_had_is_no_target_to_find() {
    let train = training();
    let histories = sequences(&[&[6, 6]]);
    let mut context = EvalContext::new(7, &[]);
    (context.train, context.histories) = (Some(&train), Some(&histories));
    let (list, targets): (&[&[u32]], &[&[u32]]) = (&[&[1, 2, 3, 4, 5]], &[&[1, 3, 6]]);
    // Without 6 both groups have all of their targets found.
    assert_eq!(of("pop-reo@5", list, targets, &context), 0.0);
    // Two of the two head items that are left are shown, three of four in the tail.
    near(of("pop-rsp@5", list, targets, &context), 0.25 / 1.75, 12);
}

#[test]
fn extremes() {
    let train = training();
    let histories = sequences(&[&[], &[]]);
    let mut context = EvalContext::new(7, &[]);
    (context.train, context.histories) = (Some(&train), Some(&histories));
    let both: &[&[u32]] = &[&[1, 6], &[3, 2]];
    // Most popular: nothing of the tail, only the head is found.
    let popular: &[&[u32]] = &[&[1, 2, 6], &[1, 2, 6]];
    assert_eq!(of("aclt@3", popular, both, &context), 0.0);
    assert_eq!(of("pop-reo@3", popular, both, &context), 1.0);
    assert_eq!(of("pop-rsp@3", popular, both, &context), 1.0);
    assert_eq!(of("serendipity@3", popular, both, &context), 0.0);
    // An oracle treats both alike; so does one that finds nothing.
    assert_eq!(of("pop-reo@3", both, both, &context), 0.0);
    assert_eq!(of("pop-reo@3", &[&[4], &[4]], both, &context), 0.0);
    // Empty lists.
    for name in ["aclt", "aplt", "arp", "epc", "efd", "self-information", "serendipity"] {
        assert_eq!(of(name, &[&[], &[]], both, &context), 0.0, "{name}");
    }
}

#[test]
fn exposure_extremes() {
    let context = EvalContext::new(4, &[]);
    let any: &[&[u32]] = &[&[0], &[0]];
    let even: &[&[u32]] = &[&[0, 1], &[2, 3]];
    let one: &[&[u32]] = &[&[2], &[2]];
    let score = |short: &str, lists: &[&[u32]]| of(short, lists, any, &context);
    assert_eq!((score("gini@2", even), score("gini-elliot@2", even)), (0.0, 1.0));
    assert_eq!((score("gini@2", one), score("gini-elliot@2", one)), (0.75, 0.0));
    near(score("shannon-entropy@2", even), 4f64.ln(), 12);
    assert_eq!(score("shannon-entropy@2", one), 0.0);
    assert_eq!((score("item-coverage@2", even), score("coverage@2", one)), (4.0, 0.25));
    // Counts 0, 0, 1, 3: sum (2j - 5) c_j = 1 + 9 = 10, over N sum c = 16.
    let some: &[&[u32]] = &[&[0, 1, 0], &[0]];
    let third: &[&[u32]] = &[&[0]];
    let lists: Vec<&[u32]> = some.iter().chain(third).copied().collect();
    near(of("gini@2", &lists, &[&[0], &[0], &[0]], &context), 10.0 / 16.0, 12);
    for name in ["gini", "shannon-entropy", "item-coverage"] {
        assert_eq!(score(name, &[&[], &[]]), 0.0, "{name} of nothing");
    }
}

#[test]
fn what_is_missing_is_named() {
    let context = EvalContext::new(7, &[]);
    let message =
        |spec: Spec| try_score(spec, &[&[1]], &[&[1]], &context).err().unwrap().to_string();
    for name in ["epc", "arp", "aclt", "pop-reo", "serendipity", "self-information"] {
        let text = message(Spec::new("metric", name));
        assert!(text.contains(name) && text.contains("training histories"), "{text}");
    }
    assert!(message(Spec::new("metric", "ild-vectors")).contains("item vectors"));
    assert!(message(Spec::new("metric", "ild-categories")).contains("item categories"));
    let refused = |spec: Spec| catalog().build(&spec, &()).err().unwrap().to_string();
    assert!(refused(Spec::new("metric", "aclt").with("head", 1.5)).contains("metric.head"));
    assert!(refused(Spec::new("metric", "pop-rsp").with("head", 0.0)).contains("metric.head"));
    assert!(refused(Spec::new("metric", "aplt").with("k", 0)).contains("k = 0"));
    assert!(refused(Spec::new("metric", "calibration").with("alpha", 1.0)).contains("alpha"));
    let named = build(Spec::new("metric", "aclt").with("head", 0.5).with("k", 3)).name();
    assert_eq!(named, "aclt[head=0.5]@3");
    assert_eq!(build(Spec::new("metric", "gini")).direction(), Direction::LowerIsBetter);
}
