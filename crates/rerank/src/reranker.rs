//! What a reranker is: the head of a ranked list in, another order of it out, under a budget.

use crate::Side;
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, Recommendation, Request, Result, Run};
use std::ops::AddAssign;
use std::time::{Duration, Instant};

/// Orders candidates again. It never adds an item.
///
/// The caller cuts the list to [`Budget::candidates`] before it asks; what lies behind keeps its
/// place behind. A reranker looks at its [`Task::clock`] as it goes, and once that has run out
/// leaves the rest as it was.
pub trait Reranker: Send + Sync {
    /// How much it may look at.
    fn budget(&self) -> Budget;

    /// What it reads beside the list.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }

    /// The new order. Equal candidates keep the order that they came in.
    ///
    /// Errors: side data that are missing, scores that are no numbers.
    fn rerank(&self, task: &Task<'_>) -> Result<Reordered>;
}

/// How much a reranker may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Candidates from the head of the list, at least 1.
    pub candidates: usize,
    /// Time for one request; none without limit. With one, lists depend on the machine.
    pub time: Option<Duration>,
}

impl Budget {
    /// From the options `candidates` and `time_limit_ms`.
    ///
    /// Errors: no candidate.
    pub fn new(candidates: u32, time_limit_ms: Option<u64>) -> Result<Self> {
        if candidates == 0 {
            return Err(Error::config("reranker.candidates", "0; allowed: 1 and up"));
        }
        let time = time_limit_ms.map(Duration::from_millis);
        Ok(Budget { candidates: candidates as usize, time })
    }
}

/// Something that a reranker reads beside the list; see [`Side`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Need {
    /// Training interactions of each item.
    Popularity,
    /// A vector for each item.
    Vectors,
    /// Categories cut at a depth: 0 keeps the first part of a path.
    Categories(usize),
    /// The recommender of a finished run, by its folder.
    Run(String),
}

/// One list to order.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    /// Who asks.
    pub request: &'a Request<'a>,
    /// The candidates with scores and IDs, best first; not more than the budget allows.
    pub candidates: &'a [Recommendation],
    /// How many places matter: what comes behind them may stay as it was. At least 1.
    pub k: usize,
    /// What is known of the catalogue.
    pub side: &'a Side,
    /// Seed and stop flag.
    pub run: &'a Run<'a>,
    /// Runs since the task began.
    pub clock: Clock,
}

/// The time of a task.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
    limit: Option<Duration>,
}

impl Clock {
    /// Starts now.
    pub fn start(limit: Option<Duration>) -> Self {
        Clock { began: Instant::now(), limit }
    }

    /// Whether the time is over; never without a limit.
    pub fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.began.elapsed() >= limit)
    }

    /// Whether there is a limit.
    pub fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// A candidate in the new order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pick {
    /// Its place in [`Task::candidates`].
    pub index: usize,
    /// The score to show. Rerankers that weigh an item against others keep the one it came with.
    pub score: f64,
}

/// A list in its new order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reordered {
    /// Distinct candidates, best first; those that are missing are dropped.
    pub picks: Vec<Pick>,
    /// How many at the front have scores on one scale and may be looked at by a later reranker.
    pub comparable: usize,
    /// What it took, without the time, which the caller knows.
    pub cost: Cost,
}

impl Reordered {
    /// The order as it came.
    pub fn unchanged(candidates: &[Recommendation]) -> Self {
        let picks = candidates.iter().enumerate().map(|(index, c)| Pick { index, score: c.score });
        let comparable = candidates.len();
        Reordered { picks: picks.collect(), comparable, cost: Cost::default() }
    }
}

/// What reranking took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Lists.
    pub requests: u64,
    /// Candidates that were looked at.
    pub candidates: u64,
    /// Candidates that a verifier was asked about.
    pub calls: u64,
    /// Time in nanoseconds, over all threads.
    pub nanoseconds: u64,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.requests += other.requests;
        self.candidates += other.candidates;
        self.calls += other.calls;
        self.nanoseconds += other.nanoseconds;
    }
}
