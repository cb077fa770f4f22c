//! Lists, requests and tasks for the tests.
#![allow(dead_code, reason = "each test file uses a part")]

use sidereal_core::{ItemId, Recommendation, Recommender, Request, Response, Result, Run};
use sidereal_rerank::{Clock, Reordered, Reranker, Side, Task};

/// Candidates with these scores: item `i` at place `i`.
pub fn list(scores: &[f64]) -> Vec<Recommendation> {
    let item = |(i, &score): (usize, &f64)| Recommendation {
        item: ItemId(i as u32),
        score,
        sid: Some(vec![i as u32]),
    };
    scores.iter().enumerate().map(item).collect()
}

/// A request with this history.
pub fn request(history: &[ItemId]) -> Request<'_> {
    Request { history, ..Default::default() }
}

/// One list through one reranker, without a limit of time.
pub fn rerank(
    reranker: &dyn Reranker,
    candidates: &[Recommendation],
    history: &[ItemId],
    k: usize,
    side: &Side,
    seed: u64,
) -> Result<Reordered> {
    let (run, request) = (Run::quiet(seed), request(history));
    let clock = Clock::start(None);
    reranker.rerank(&Task { request: &request, candidates, k, side, run: &run, clock })
}

/// The order alone.
pub fn order(new: &Reordered) -> Vec<usize> {
    new.picks.iter().map(|p| p.index).collect()
}

/// Gives everyone the same list.
pub struct Fixed(pub Vec<Recommendation>);

impl Recommender for Fixed {
    fn recommend(&self, requests: &[Request<'_>], k: usize, _: &Run<'_>) -> Result<Vec<Response>> {
        let items: Vec<_> = self.0.iter().take(k).cloned().collect();
        Ok(requests.iter().map(|_| Response { items: items.clone(), invalid: 2 }).collect())
    }
}
