//! A recommender with a chain of rerankers behind it.
//!
//! The recommender is asked for as many items as the widest budget of the chain; each reranker sees
//! the head of what the one before it left comparable. Requests are dealt to `threads` plain threads in
//! contiguous parts (the light crates have no thread pool); each is answered alone, so the number of
//! threads changes nothing.

use crate::{Clock, Cost, Reordered, Reranker, Side, Task};
use sidereal_core::{Error, Recommendation, Recommender, Request, Response, Result, Run, Silent};
use std::sync::Mutex;

/// Requests of one thread at least: below, starting threads costs more than it saves.
const PART: usize = 16;

/// A recommender whose lists are ordered again.
pub struct Reranked<R> {
    inner: R,
    chain: Vec<Box<dyn Reranker>>,
    side: Side,
    costs: Mutex<Vec<Cost>>,
}

impl<R: Recommender> Reranked<R> {
    /// Puts `chain`, in its order, behind `inner`.
    ///
    /// Errors: `side` lacks what a reranker needs; a reranker that looks at more candidates than one
    /// before it, whose scores do not reach that far.
    pub fn new(inner: R, chain: Vec<Box<dyn Reranker>>, side: Side) -> Result<Self> {
        chain.iter().try_for_each(|r| side.check(&r.needs()))?;
        check_chain(chain.iter().map(Box::as_ref))?;
        let costs = Mutex::new(vec![Cost::default(); chain.len()]);
        Ok(Reranked { inner, chain, side, costs })
    }

    /// What each reranker took since the last call.
    pub fn take_costs(&self) -> Vec<Cost> {
        let mut costs = self.costs.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let fresh = vec![Cost::default(); costs.len()];
        std::mem::replace(&mut *costs, fresh)
    }

    /// One list through the chain.
    fn rerank(
        &self,
        request: &Request<'_>,
        response: Response,
        k: usize,
        run: &Run<'_>,
        costs: &mut [Cost],
    ) -> Result<Response> {
        let Response { mut items, invalid } = response;
        let mut reach = items.len();
        for (at, reranker) in self.chain.iter().enumerate() {
            run.check()?;
            let budget = reranker.budget();
            let head = budget.candidates.min(reach);
            let later = self.chain.get(at + 1).map_or(0, |r| r.budget().candidates);
            let clock = Clock::start(budget.time);
            let task = Task {
                request,
                candidates: &items[..head],
                k: k.max(later).max(1),
                side: &self.side,
                run,
                clock,
            };
            let new = reranker.rerank(&task)?;
            let nanoseconds = clock.elapsed().as_nanos() as u64;
            costs[at] += Cost { requests: 1, nanoseconds, ..new.cost };
            reach = new.comparable.min(new.picks.len());
            items = in_order(items, head, &new)?;
        }
        items.truncate(k);
        Ok(Response { items, invalid })
    }
}

/// Refuses a chain in which a reranker looks further than one before it.
pub fn check_chain<'a>(chain: impl Iterator<Item = &'a dyn Reranker>) -> Result<()> {
    let budgets: Vec<usize> = chain.map(|r| r.budget().candidates).collect();
    match budgets.windows(2).find(|w| w[1] > w[0]) {
        None => Ok(()),
        Some(w) => Err(Error::config(
            "reranker.candidates",
            format!("{} behind a reranker with {}; allowed: 1 to {}", w[1], w[0], w[0]),
        )),
    }
}

/// The picks, then what lay behind the `head` candidates.
fn in_order(
    items: Vec<Recommendation>,
    head: usize,
    new: &Reordered,
) -> Result<Vec<Recommendation>> {
    let mut old: Vec<Option<Recommendation>> = items.into_iter().map(Some).collect();
    let mut out = Vec::with_capacity(old.len());
    for pick in &new.picks {
        let taken = old[..head].get_mut(pick.index).and_then(Option::take);
        let Some(mut item) = taken else {
            return Err(Error::mismatch(format!(
                "a reranker picked candidate {} of {head} twice or from outside",
                pick.index
            )));
        };
        item.score = pick.score;
        out.push(item);
    }
    out.extend(old.into_iter().skip(head).flatten());
    Ok(out)
}

impl<R: Recommender> Recommender for Reranked<R> {
    fn recommend(
        &self,
        requests: &[Request<'_>],
        k: usize,
        run: &Run<'_>,
    ) -> Result<Vec<Response>> {
        let Some(first) = self.chain.first() else {
            return self.inner.recommend(requests, k, run);
        };
        let responses = self.inner.recommend(requests, k.max(first.budget().candidates), run)?;
        if responses.len() != requests.len() {
            let (got, n) = (responses.len(), requests.len());
            return Err(Error::mismatch(format!("{got} responses to {n} requests")));
        }
        let quiet = Run { observer: &Silent, ..run.clone() };
        let part = requests.len().div_ceil(run.threads.max(1)).max(PART);
        let mut responses = responses;
        let answer = |requests: &[Request<'_>], responses: &mut [Response]| {
            let mut costs = vec![Cost::default(); self.chain.len()];
            for (request, response) in requests.iter().zip(responses) {
                let old = std::mem::take(response);
                *response = self.rerank(request, old, k, &quiet, &mut costs)?;
            }
            Ok(costs)
        };
        let parts = requests.chunks(part).zip(responses.chunks_mut(part));
        let found: Vec<Result<Vec<Cost>>> = if requests.len() <= part {
            parts.map(|(r, s)| answer(r, s)).collect()
        } else {
            let answer = &answer;
            std::thread::scope(|scope| {
                let threads: Vec<_> =
                    parts.map(|(r, s)| scope.spawn(move || answer(r, s))).collect();
                let lost = |_| Err(Error::mismatch("a thread of the rerankers panicked"));
                threads.into_iter().map(|t| t.join().unwrap_or_else(lost)).collect()
            })
        };
        let mut costs = self.costs.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for part in found {
            costs.iter_mut().zip(part?).for_each(|(sum, cost)| *sum += cost);
        }
        Ok(responses)
    }
}
