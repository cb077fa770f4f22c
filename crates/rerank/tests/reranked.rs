//! The chain behind a recommender: budgets, costs, threads.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod common;

use common::{Fixed, list, request};
use sidereal_core::{Catalog, ItemId, Recommender, Request, Result, Run, Spec, UserId};
use sidereal_rerank::{
    Budget, ByItem, Cost, Pick, Reordered, Reranked, Reranker, ScoreFusion, ScoreFusionOptions,
    Side, Task, Verifier, VerifierOptions,
};

/// A verifier that likes high item numbers.
fn high(candidates: u32, time_limit_ms: Option<u64>) -> Box<dyn Reranker> {
    let options = VerifierOptions { candidates, time_limit_ms, ..Default::default() };
    let by = ByItem(|_: &Request<'_>, item: ItemId| f64::from(item.0));
    Box::new(Verifier::new(options).unwrap().with_scorer(Box::new(by)))
}

fn items(recommender: &dyn Recommender, k: usize, run: &Run<'_>) -> Vec<u32> {
    let lists = recommender.recommend(&[request(&[])], k, run).unwrap();
    assert_eq!(lists[0].invalid, 2);
    lists[0].items.iter().map(|r| r.item.0).collect()
}

fn ten() -> Fixed {
    Fixed(list(&(0..10).map(|i| -f64::from(i)).collect::<Vec<_>>()))
}

#[test]
fn a_reranker_sees_its_budget_and_no_more() {
    let run = Run::quiet(0);
    let one = Reranked::new(ten(), vec![high(4, None)], Side::default()).unwrap();
    assert_eq!(items(&one, 6, &run), [3, 2, 1, 0, 4, 5]);
    // A list shorter than the budget brings up what lies behind it.
    assert_eq!(items(&one, 2, &run), [3, 2]);
    let costs = one.take_costs();
    assert_eq!((costs[0].requests, costs[0].candidates, costs[0].calls), (2, 8, 8));
    assert_eq!(one.take_costs(), [Cost::default()]);
    // The budget is more than there is.
    let all = Reranked::new(ten(), vec![high(99, None)], Side::default()).unwrap();
    assert_eq!(items(&all, 3, &run), [9, 8, 7]);
    assert_eq!(all.take_costs()[0].calls, 10);
    // No time at all.
    let none = Reranked::new(ten(), vec![high(4, Some(0))], Side::default()).unwrap();
    assert_eq!(items(&none, 3, &run), [0, 1, 2]);
    assert_eq!(none.take_costs()[0].calls, 0);
    // No reranker.
    let plain = Reranked::new(ten(), Vec::new(), Side::default()).unwrap();
    assert_eq!(items(&plain, 3, &run), [0, 1, 2]);
}

#[test]
fn chains_narrow() {
    let run = Run::quiet(0);
    let fusion = || {
        let options =
            ScoreFusionOptions { weights: vec![-1.0, 0.0], candidates: 6, ..Default::default() };
        Box::new(ScoreFusion::new(options).unwrap()) as Box<dyn Reranker>
    };
    let side = || Side::default().with_popularity(&[1; 10]);
    // Fusion turns the first six round: 5 4 3 2 1 0; the verifier orders the first two of them.
    let chain = Reranked::new(ten(), vec![fusion(), high(2, None)], side()).unwrap();
    assert_eq!(items(&chain, 8, &run), [5, 4, 3, 2, 1, 0, 6, 7]);
    let chain = Reranked::new(ten(), vec![high(6, None), fusion()], side()).unwrap();
    assert_eq!(items(&chain, 8, &run), [0, 1, 2, 3, 4, 5, 6, 7]);
    let e = Reranked::new(ten(), vec![high(2, None), fusion()], side()).err().unwrap();
    assert!(e.to_string().contains("reranker.candidates"), "{e}");
    assert!(e.to_string().contains("allowed: 1 to 2"), "{e}");
    let e = Reranked::new(ten(), vec![fusion()], Side::default()).err().unwrap();
    assert!(e.to_string().contains("training interactions"), "{e}");
}

#[test]
fn threads_change_nothing() {
    let requests: Vec<[ItemId; 1]> = (0..133).map(|i| [ItemId(i % 10)]).collect();
    let requests: Vec<Request<'_>> = requests
        .iter()
        .enumerate()
        .map(|(u, h)| Request { user: Some(UserId(u as u32)), ..request(h) })
        .collect();
    let answer = |threads| {
        let options = VerifierOptions { beta: Some(2.0), ..Default::default() };
        let by = ByItem(|r: &Request<'_>, i: ItemId| f64::from((i.0 * 7 + r.history[0].0) % 5));
        let verifier = Verifier::new(options).unwrap().with_scorer(Box::new(by));
        let recommender = Reranked::new(ten(), vec![Box::new(verifier)], Side::default()).unwrap();
        let run = Run { threads, ..Run::quiet(3) };
        let lists = recommender.recommend(&requests, 7, &run).unwrap();
        let costs = recommender.take_costs();
        (lists, costs[0].requests, costs[0].calls)
    };
    let one = answer(1);
    assert_eq!(one.1, 133);
    for threads in [2, 5, 64] {
        assert!(answer(threads) == one, "{threads}");
    }
    // A part of the requests gets the answers that all get.
    assert!(one.0.iter().any(|l| l.items[0].item != one.0[0].items[0].item));
}

/// A reranker that picks what it must not.
struct Wrong(Vec<usize>);

impl Reranker for Wrong {
    fn budget(&self) -> Budget {
        Budget { candidates: 3, time: None }
    }

    fn rerank(&self, _: &Task<'_>) -> Result<Reordered> {
        let picks = self.0.iter().map(|&index| Pick { index, score: 0.0 }).collect();
        Ok(Reordered { picks, ..Default::default() })
    }
}

#[test]
fn wrong_picks_are_errors() {
    for picks in [vec![0, 0], vec![3], vec![0, 99]] {
        let wrong = Reranked::new(ten(), vec![Box::new(Wrong(picks))], Side::default()).unwrap();
        let e = wrong.recommend(&[request(&[])], 2, &Run::quiet(0)).unwrap_err();
        assert!(e.to_string().contains("twice or from outside"), "{e}");
    }
}

#[test]
fn cancelled_runs_stop() {
    let run = Run::quiet(0);
    run.cancel.cancel();
    let one = Reranked::new(ten(), vec![high(4, None)], Side::default()).unwrap();
    assert!(one.recommend(&[request(&[])], 2, &run).is_err());
}

#[test]
fn every_name_builds_with_its_defaults() {
    let mut catalog: Catalog<dyn Reranker> = Catalog::new("reranker");
    sidereal_rerank::register(&mut catalog).unwrap();
    let names: Vec<String> = catalog.entries().map(|e| e.name.clone()).collect();
    let expected =
        ["calibrated-category", "calibrated-popularity", "mmr", "score-fusion", "verifier"];
    assert_eq!(names, expected);
    for name in names {
        let built = catalog.build(&Spec::new("reranker", &name), &()).unwrap();
        assert_eq!(built.budget().candidates, 50);
    }
}
