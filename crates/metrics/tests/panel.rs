//! Blocks, threads and shards give the same bits as one metric alone over all lists.

#![allow(clippy::unwrap_used)] // Helpers of tests are not inside #[test] functions.

use proptest::prelude::*;
use sidereal_core::{Catalog, ItemId, RankedLists, Sequences, Spec, seed};
use sidereal_metrics::{
    Classes, Direction, EvalContext, Keep, Metric, Panel, Score, Tally, Truth, evaluate_all,
    register,
};

const N: usize = 60;

/// Every metric of the crate that needs no vectors, at three cut-offs.
fn metrics() -> Vec<Box<dyn Metric>> {
    let mut catalog: Catalog<dyn Metric> = Catalog::new("metric");
    register(&mut catalog).unwrap();
    let names: Vec<String> = catalog
        .entries()
        .map(|e| e.name.clone())
        .filter(|n| !["ild-vectors", "history-distance"].contains(&n.as_str()))
        .collect();
    let mut out = Vec::new();
    for k in [10, 3, 1000] {
        for name in &names {
            out.push(catalog.build(&Spec::new("metric", name).with("k", k), &()).unwrap());
        }
    }
    out
}

struct World {
    lists: RankedLists,
    truth: Truth,
    train: Sequences,
    histories: Sequences,
    classes: Classes,
}

fn world(requests: usize) -> World {
    let draw = |what: &str, i: usize, n: u64| seed::key(7, what, i as u64) % n;
    let (mut lists, mut truth) = (RankedLists::new(), Truth::new());
    let (mut train, mut histories) = (Sequences::default(), Sequences::default());
    for r in 0..requests {
        let some = |what: &'static str, n: usize| {
            (0..n).map(move |p| ItemId(draw(what, 1000 * r + p, N as u64) as u32))
        };
        lists.push(some("list", draw("length", r, 30) as usize));
        let targets: Vec<_> = some("target", 1 + draw("targets", r, 6) as usize).collect();
        truth.push(&targets).unwrap();
        train.push(&some("train", draw("past", r, 9) as usize).collect::<Vec<_>>());
        histories.push(&some("history", draw("more", r, 9) as usize).collect::<Vec<_>>());
    }
    let sets: Vec<Vec<u32>> = (0..N).map(|i| vec![i as u32 % 5, i as u32 % 3]).collect();
    let names = (0..5).map(|c| c.to_string()).collect();
    let classes = Classes::new(names, sets.iter().map(Vec::as_slice)).unwrap();
    World { lists, truth, train, histories, classes }
}

impl World {
    fn context(&self) -> EvalContext<'_> {
        EvalContext {
            train: Some(&self.train),
            histories: Some(&self.histories),
            categories: Some(&self.classes),
            ..EvalContext::new(N, &[])
        }
    }

    fn part(&self, from: usize, to: usize) -> (RankedLists, Truth) {
        let (mut lists, mut truth) = (RankedLists::new(), Truth::new());
        for r in from..to {
            lists.push(self.lists.get(r).iter().copied());
            truth.push(self.truth.get(r)).unwrap();
        }
        (lists, truth)
    }
}

fn same(a: &[Score], b: &[Score]) {
    let bits = |s: &Score| (s.value.to_bits(), s.per_user.clone());
    assert_eq!(a.iter().map(bits).collect::<Vec<_>>(), b.iter().map(bits).collect::<Vec<_>>());
}

#[test]
fn threads_change_no_bit() {
    let world = world(5000);
    let context = world.context();
    let metrics = metrics();
    let one = evaluate_all(&metrics, &world.lists, &world.truth, &context, 1).unwrap();
    for threads in [2, 3, 64] {
        let many = evaluate_all(&metrics, &world.lists, &world.truth, &context, threads).unwrap();
        same(&one, &many);
    }
    // A metric alone.
    for (metric, score) in metrics.iter().zip(&one) {
        let alone = metric.evaluate(&world.lists, &world.truth, &context).unwrap();
        same(&[alone], std::slice::from_ref(score));
        assert!(score.value.is_finite(), "{}", metric.name());
    }
}

proptest! {
    #[test]
    fn blocks_and_shards_change_no_bit(cut in 1usize..39, mid in 1usize..39) {
        let world = world(40);
        let context = world.context();
        let metrics = metrics();
        let panel = Panel::new(metrics.iter().map(AsRef::as_ref), &context).unwrap();
        let whole = panel.evaluate(&world.lists, &world.truth, 1).unwrap();
        let (cut, mid) = (cut.min(mid), cut.max(mid));
        // One tally in two blocks, another shard written down and read again.
        let mut first = panel.tally(0, Keep::PerRequest);
        for (from, to) in [(0, cut), (cut, mid)] {
            let (lists, truth) = world.part(from, to);
            panel.add(&mut first, &lists, &truth, 1).unwrap();
        }
        let (lists, truth) = world.part(mid, 40);
        let mut second = panel.tally(mid, Keep::PerRequest);
        panel.add(&mut second, &lists, &truth, 2).unwrap();
        let text = serde_json::to_string(&second).unwrap();
        let second: Tally = serde_json::from_str(&text).unwrap();
        first.merge(second).unwrap();
        prop_assert_eq!(first.requests(), 40);
        same(&whole, &panel.scores(&first).unwrap());
        // Means alone merge in any order.
        let mut late = panel.tally(mid, Keep::Means);
        panel.add(&mut late, &lists, &truth, 1).unwrap();
        let (lists, truth) = world.part(0, mid);
        let mut early = panel.tally(0, Keep::Means);
        panel.add(&mut early, &lists, &truth, 1).unwrap();
        late.merge(early).unwrap();
        for (a, b) in whole.iter().zip(panel.scores(&late).unwrap()) {
            prop_assert_eq!(a.value.to_bits(), b.value.to_bits());
            prop_assert!(b.per_user.is_none());
        }
    }
}

#[test]
fn the_first_fault_is_named_whatever_the_threads() {
    let (mut lists, mut truth) = (RankedLists::new(), Truth::new());
    for r in 0..20_000u32 {
        let item = if r > 9000 { N as u32 + r } else { 0 };
        lists.push([ItemId(item)]);
        truth.push(&[ItemId(0)]).unwrap();
    }
    let panel = Panel::of(vec![], N);
    for threads in [1, 2, 5] {
        let mut tally = panel.tally(0, Keep::Means);
        let fault = panel.add(&mut tally, &lists, &truth, threads).unwrap_err().to_string();
        assert!(fault.contains("ranked list 9001 holds item 9061"), "{fault}");
    }
}

#[test]
fn the_same_metric_twice_has_its_values_twice() {
    let world = world(30);
    let context = world.context();
    let mut twice = metrics();
    twice.truncate(3);
    twice.extend(metrics().into_iter().take(3));
    let scores = evaluate_all(&twice, &world.lists, &world.truth, &context, 1).unwrap();
    same(&scores[..3], &scores[3..]);
    assert_eq!(scores[0].per_user.as_ref().unwrap().len(), 30);
}

#[test]
fn misfits_are_errors() {
    let world = world(10);
    let context = world.context();
    let metrics = metrics();
    let panel = Panel::new(metrics.iter().map(AsRef::as_ref), &context).unwrap();
    let few = Panel::new(metrics[..3].iter().map(AsRef::as_ref), &context).unwrap();
    let mut tally = panel.tally(0, Keep::PerRequest);
    assert!(panel.scores(&tally).unwrap_err().to_string().contains("no request"));
    assert!(few.scores(&tally).is_err());
    assert!(tally.merge(few.tally(0, Keep::PerRequest)).is_err());
    assert!(tally.merge(panel.tally(0, Keep::Means)).is_err());
    let gap = tally.merge(panel.tally(7, Keep::PerRequest)).unwrap_err().to_string();
    assert!(gap.contains("begins at 7"), "{gap}");
    let (lists, truth) = world.part(0, 3);
    assert!(panel.add(&mut tally, &lists, &Truth::new(), 1).is_err());
    let small = Panel::of(vec![], 2);
    let mut nothing = small.tally(5, Keep::Means);
    let outside = small.add(&mut nothing, &lists, &truth, 1).unwrap_err().to_string();
    assert!(outside.contains("outside the catalogue of 2 items"), "{outside}");
}

/// A metric that knows [`Metric::evaluate`] only, as a plugin may.
struct Length;

impl Metric for Length {
    fn name(&self) -> String {
        "length".into()
    }

    fn direction(&self) -> Direction {
        Direction::HigherIsBetter
    }

    fn evaluate(
        &self,
        lists: &RankedLists,
        _: &Truth,
        _: &EvalContext<'_>,
    ) -> sidereal_core::Result<Score> {
        Ok(Score::mean_of(lists.iter().map(|l| l.len() as f64).collect()))
    }
}

struct Nothing;

impl Metric for Nothing {
    fn name(&self) -> String {
        "nothing".into()
    }

    fn direction(&self) -> Direction {
        Direction::HigherIsBetter
    }
}

#[test]
fn metrics_without_form_stand_beside_the_others() {
    let world = world(20);
    let context = world.context();
    let mut metrics = metrics();
    metrics.truncate(2);
    metrics.insert(1, Box::new(Length));
    let scores = evaluate_all(&metrics, &world.lists, &world.truth, &context, 1).unwrap();
    let mean = world.lists.iter().map(<[_]>::len).sum::<usize>() as f64 / 20.0;
    assert_eq!((scores.len(), scores[1].value), (3, mean));
    let err = Panel::new([&Length as &dyn Metric], &context).err().unwrap().to_string();
    assert!(err.contains("`length` cannot be computed in blocks"), "{err}");
    let err = Nothing.evaluate(&world.lists, &world.truth, &context).unwrap_err().to_string();
    assert!(err.contains("`nothing`"), "{err}");
}
