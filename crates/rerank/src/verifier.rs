//! A verifier: a second scorer, asked about every candidate, orders the list or accepts and rejects.
//!
//! With `v_i` the verifier's score of candidate i:
//! - neither `threshold` nor `beta`: all are accepted (best-of-n; TTR-MCR, arXiv 2508.18132, with
//!   all weight on the verifier);
//! - `threshold`: accepted where `v_i >= threshold` ("draw until the reward reaches the threshold"
//!   of rejection sampling for engagement, arXiv 2312.12457);
//! - `beta`: accepted with probability `exp((v_i - max v) / beta)`, the exact sampler of the law
//!   proportional to `p exp(v / beta)` where candidates are draws from `p`.
//!
//! Accepted candidates stand first, by verifier score or in the order they had; then those that
//! were not looked at; then the rejected ones, unless they are dropped. Where none is accepted the
//! list stays as it was, which is the paper's fallback to the baseline. Both papers reject texts
//! and products by a language model; here anything that is a [`Scorer`] verifies, and both sheets
//! mark their formulas as completions.
//!
//! Draws depend on the seed, user and history alone, so a request is answered alike in any batch.
//! Cost: a call a candidate, and a sort. A score of -inf rejects always; NaN is an error.

use crate::score_fusion::descending;
use crate::scorer::{ByRun, scored};
use crate::{Budget, Cost, Need, Pick, Reordered, Reranker, Scorer, Signal, Task};
use rand::Rng;
use sidereal_core::{Error, Request, Result, seed};

/// Order of the accepted candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// By the verifier's score, which becomes the shown score.
    #[default]
    Score,
    /// As they came.
    Kept,
}

/// What becomes of rejected candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rejected {
    /// They go to the end.
    #[default]
    Last,
    /// They leave the list, which may then be shorter than asked for.
    Drop,
}

sidereal_core::options! {
    /// Options of `verifier`.
    pub struct VerifierOptions {
        /// Who verifies: `popularity` (logarithm of training interactions), `similarity` (cosine
        /// with the mean of the history), `category` (share of the history), `decoder`.
        pub scorer: Signal = Signal::Popularity,
        /// Folder of a finished run on the same data whose recommender verifies, in the place of
        /// `scorer`. Unset: none.
        pub run_path: Option<String> = None,
        /// Items that the recommender of `run_path` is asked for, 1 and up; candidates that it does
        /// not list get the score -inf.
        pub depth: usize = 100,
        /// Least score to accept, any finite number. Unset: no threshold.
        pub threshold: Option<f64> = None,
        /// Temperature of random acceptance, above 0; not together with `threshold`. Unset: none.
        pub beta: Option<f64> = None,
        /// Accepted candidates by verifier score (`score`) or as they came (`kept`).
        pub order: Order = Order::Score,
        /// Rejected candidates at the end (`last`) or out of the list (`drop`).
        pub rejected: Rejected = Rejected::Last,
        /// Candidates to look at, 1 and up.
        pub candidates: u32 = 50,
        /// Milliseconds a request, after which the rest keep their order, 0 and up. Unset: no limit.
        pub time_limit_ms: Option<u64> = None,
    }
}

/// The reranker.
pub struct Verifier {
    scorer: Box<dyn Scorer>,
    accept: Accept,
    order: Order,
    rejected: Rejected,
    budget: Budget,
}

#[derive(Debug, Clone, Copy)]
enum Accept {
    All,
    From(f64),
    Tilted { beta: f64 },
}

impl Verifier {
    /// Errors: an option outside its range.
    pub fn new(options: VerifierOptions) -> Result<Self> {
        let accept = match (options.threshold, options.beta) {
            (None, None) => Accept::All,
            (Some(t), None) if t.is_finite() => Accept::From(t),
            (Some(t), None) => {
                let message = format!("{t}; allowed: a finite number");
                return Err(Error::config("reranker.threshold", message));
            }
            (None, Some(beta)) if beta > 0.0 && beta.is_finite() => Accept::Tilted { beta },
            (None, Some(beta)) => {
                return Err(Error::config("reranker.beta", format!("{beta}; allowed: above 0")));
            }
            (Some(_), Some(_)) => {
                let message = "stands beside reranker.threshold; allowed: one of the two";
                return Err(Error::config("reranker.beta", message));
            }
        };
        let scorer: Box<dyn Scorer> = match options.run_path {
            Some(folder) => Box::new(ByRun { folder: finished(folder)?, depth: options.depth }),
            None => Box::new(options.scorer),
        };
        if options.depth == 0 {
            return Err(Error::config("reranker.depth", "0; allowed: 1 and up"));
        }
        Ok(Verifier {
            scorer,
            accept,
            order: options.order,
            rejected: options.rejected,
            budget: Budget::new(options.candidates, options.time_limit_ms)?,
        })
    }

    /// With a scorer of the caller's in place of the option `scorer`: [`ByItem`](crate::ByItem)
    /// for a function, [`ByRecommender`](crate::ByRecommender) for a second recommender.
    pub fn with_scorer(mut self, scorer: Box<dyn Scorer>) -> Self {
        self.scorer = scorer;
        self
    }

    /// Whether each candidate is accepted.
    fn accepted(&self, scores: &[f64], task: &Task<'_>) -> Vec<bool> {
        match self.accept {
            Accept::All => vec![true; scores.len()],
            Accept::From(threshold) => scores.iter().map(|&v| v >= threshold).collect(),
            Accept::Tilted { beta } => {
                let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let mut draws = seed::stream(task.run.seed, "verifier", key(task.request));
                let accept = |&v: &f64| {
                    let draw: f64 = draws.random();
                    v > f64::NEG_INFINITY && draw < ((v - best) / beta).exp()
                };
                scores.iter().map(accept).collect()
            }
        }
    }
}

/// The folder, if it holds a finished run.
fn finished(folder: String) -> Result<String> {
    if std::path::Path::new(&folder).join("metrics.json").is_file() {
        return Ok(folder);
    }
    let message = format!("{folder}: no finished run; allowed: a folder with metrics.json");
    Err(Error::config("reranker.run_path", message))
}

/// A number for user and history.
fn key(request: &Request<'_>) -> u64 {
    let user = request.user.map_or(u64::MAX, |u| u64::from(u.0));
    let mix = |h, item: &sidereal_core::ItemId| seed::mix(h ^ u64::from(item.0));
    request.history.iter().fold(seed::mix(user), |h, i| seed::mix(mix(h, i)))
}

impl Reranker for Verifier {
    fn budget(&self) -> Budget {
        self.budget
    }

    fn needs(&self) -> Vec<Need> {
        self.scorer.needs()
    }

    fn rerank(&self, task: &Task<'_>) -> Result<Reordered> {
        let scores = scored(self.scorer.as_ref(), task)?;
        if let Some(at) = scores.iter().position(|v| v.is_nan() || *v == f64::INFINITY) {
            return Err(Error::NotFinite {
                what: format!("the verifier's score of candidate {at}"),
                step: None,
                help: "a verifier may say -inf for `never`, but nothing else that is no number"
                    .into(),
            });
        }
        let looked = scores.len();
        let cost = Cost { candidates: looked as u64, calls: looked as u64, ..Cost::default() };
        let accepted = self.accepted(&scores, task);
        let unchanged = Reordered::unchanged(task.candidates);
        if !accepted.contains(&true) {
            return Ok(Reordered { cost, ..unchanged });
        }
        let order = match self.order {
            Order::Score => descending(&scores),
            Order::Kept => (0..looked).collect(),
        };
        let pick = |index: usize| match self.order {
            Order::Score => Pick { index, score: scores[index] },
            Order::Kept => unchanged.picks[index],
        };
        let mut picks: Vec<Pick> =
            order.iter().filter(|&&i| accepted[i]).map(|&i| pick(i)).collect();
        let accepted_count = picks.len();
        picks.extend(&unchanged.picks[looked..]);
        let comparable = match self.order {
            Order::Score => accepted_count,
            Order::Kept => picks.len(),
        };
        if self.rejected == Rejected::Last {
            picks.extend(order.iter().filter(|&&i| !accepted[i]).map(|&i| pick(i)));
        }
        Ok(Reordered { picks, comparable, cost })
    }
}
