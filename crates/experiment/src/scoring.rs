//! Recommendations for evaluation cases, in pieces that bound the memory.

use sidereal_core::{
    Event, ItemId, RankedLists, Recommender, Request, Result, Run, Sequences, Silent,
};
use sidereal_data::EvalSet;
use sidereal_metrics::Truth;

/// Cases answered at once: enough for all threads, few enough to hold their answers.
const PIECE: usize = 2048;

/// Evaluation cases, all or some of them, as requests.
pub struct Cases<'a> {
    set: &'a EvalSet,
    take: usize,
    exclude_seen: bool,
}

impl<'a> Cases<'a> {
    /// All cases of a set.
    pub fn all(set: &'a EvalSet, exclude_seen: bool) -> Self {
        Cases { set, take: set.len(), exclude_seen }
    }

    /// `take` cases, spread evenly over the set.
    pub fn some(set: &'a EvalSet, take: usize, exclude_seen: bool) -> Self {
        Cases { set, take: take.min(set.len()), exclude_seen }
    }

    /// Number of cases.
    pub fn len(&self) -> usize {
        self.take
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.take == 0
    }

    fn index(&self, c: usize) -> usize {
        (c as u128 * self.set.len() as u128 / self.take.max(1) as u128) as usize
    }

    /// Case `c` as a request.
    pub fn request(&self, c: usize) -> Request<'a> {
        let request = self.set.request(self.index(c));
        let exclude = if self.exclude_seen { request.history } else { &[] };
        Request { exclude, ..request }
    }

    /// Relevant items of case `c`.
    pub fn targets(&self, c: usize) -> &'a [ItemId] {
        self.set.target(self.index(c))
    }

    /// Histories of all cases, without times.
    pub fn histories(&self) -> Sequences {
        let mut histories = Sequences::default();
        (0..self.len()).for_each(|c| histories.push(self.set.history(self.index(c))));
        histories
    }

    /// Relevant items of all cases.
    pub fn truth(&self) -> Result<Truth> {
        let mut truth = Truth::new();
        (0..self.len()).try_for_each(|c| truth.push(self.targets(c)))?;
        Ok(truth)
    }
}

/// Lists for all cases.
pub struct Answers {
    /// Ranked items, best first.
    pub lists: RankedLists,
    /// Generated candidates that were no real item.
    pub invalid: u64,
    /// Lists of two items and more that all have one score.
    pub tied: u64,
}

/// The first `k` items for each case; `task` is shown to people.
pub fn answers(
    recommender: &dyn Recommender,
    cases: &Cases<'_>,
    k: usize,
    run: &Run<'_>,
    task: &str,
) -> Result<Answers> {
    run.emit(Event::Started { task, total: cases.len() as u64, unit: "users" });
    let quiet = Run { observer: &Silent, ..run.clone() };
    let mut answers = Answers { lists: RankedLists::new(), invalid: 0, tied: 0 };
    for start in (0..cases.len()).step_by(PIECE) {
        run.check()?;
        let piece = start..(start + PIECE).min(cases.len());
        let requests: Vec<Request<'_>> = piece.clone().map(|c| cases.request(c)).collect();
        for response in recommender.recommend(&requests, k, &quiet)? {
            answers.lists.push_response(&response);
            answers.invalid += response.invalid as u64;
            let same = response.items.windows(2).all(|w| w[0].score == w[1].score);
            answers.tied += u64::from(same && response.items.len() > 1);
        }
        run.emit(Event::Advanced { task, done: piece.end as u64, numbers: &[] });
    }
    run.emit(Event::Finished { task });
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::UserId;

    fn set() -> EvalSet {
        let mut histories = Sequences::default();
        let mut targets = RankedLists::new();
        for u in 0..10u32 {
            histories.push(&[ItemId(u), ItemId(u + 1)]);
            targets.push([ItemId(u + 2)]);
        }
        EvalSet { users: (0..10).map(UserId).collect(), histories, targets }
    }

    #[test]
    fn some_cases_are_spread_evenly() {
        let set = set();
        let cases = Cases::some(&set, 4, true);
        let users: Vec<u32> = (0..4).filter_map(|c| cases.request(c).user).map(|u| u.0).collect();
        assert_eq!(users, [0, 2, 5, 7]);
        assert_eq!(cases.request(1).exclude, [2, 3].map(ItemId));
        assert_eq!(cases.targets(1), [ItemId(4)]);
        assert_eq!(cases.truth().unwrap().len(), 4);
        assert_eq!(cases.histories().items(UserId(1)), [2, 3].map(ItemId));
        assert!(Cases::all(&set, false).request(3).exclude.is_empty());
        assert_eq!(Cases::some(&set, 99, false).len(), 10);
    }
}
