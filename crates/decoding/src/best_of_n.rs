//! Best of n: a sampler proposes, a reward chooses, a search fills the places that stay empty
//! (called rejection sampling in arXiv 2312.12457, whose fallback is the user's own text).
//!
//! 1. The inner decoder `draws` proposes n hypotheses (its width). Those that are no identifier, and
//!    those with a reward of minus infinity, are rejected.
//! 2. If fewer than `width` are left, the decoder `fallback` is asked, and its best ones that are
//!    not there yet join, with [`Provenance::Fallback`].
//! 3. All are ranked by the reward; equal ones by code order. `score` is the reward.
//!
//! By default the reward is the sum of log-probabilities; [`BestOfN::with_reward`] takes any other.
//! A fallback whose reward is minus infinity stays, behind all others: it is what is served when
//! nothing else is.
//!
//! This is selection among n, not the exact sampler of the law tilted by the reward that bears the
//! same name. With one place it draws from a law whose KL divergence from the sampler is at most
//! `ln n - (n - 1) / n`.
//!
//! Deviations: the paper has one candidate and the baseline always in the comparison; here the
//! fallback comes in only where places are empty, and by default it is a beam.
//!
//! The scorer starts again at level 0 for the fallback, with an empty constraint for requests that
//! need none. Cost: that of both decoders.

use crate::ranking::{PerRequest, Ranking};
use crate::{CodeScorer, Constraint, Decoder, Hypothesis, Provenance, ScoreRule, Unconstrained};
use sidereal_core::{Catalog, Entry, Error, Inner, Result, Run};
use std::sync::Arc;

sidereal_core::options! {
    /// Options of best-of-n.
    pub struct BestOfNOptions {
        /// Hypotheses returned, 1 to 1048576.
        pub width: u32 = 50,
        /// The decoder that proposes, a name or a table with a `type`; its `width` is n.
        pub draws: Inner = Inner::Name("ancestral".into()),
        /// The decoder that fills empty places; its `width` is that of best-of-n or more.
        pub fallback: Inner = Inner::Name("beam".into()),
        /// The reward: `full` sums log-probabilities over the whole vocabulary of each level,
        /// `masked` over the allowed codes only.
        pub score: ScoreRule = ScoreRule::Full,
        /// Exponent of the length by which the reward is divided, 0 (off) to 10.
        pub length_normalization: f64 = 0.0,
    }
}

/// Judges hypotheses.
pub trait Reward: Send + Sync {
    /// How good a hypothesis of a request (its place in the batch) is; minus infinity rejects it.
    /// NaN and plus infinity are errors of the decoder.
    fn reward(&self, request: usize, hypothesis: &Hypothesis) -> f64;
}

impl<F: Fn(usize, &Hypothesis) -> f64 + Send + Sync> Reward for F {
    fn reward(&self, request: usize, hypothesis: &Hypothesis) -> f64 {
        self(request, hypothesis)
    }
}

/// The sum of log-probabilities.
struct Likelihood(Ranking);

impl Reward for Likelihood {
    fn reward(&self, _request: usize, h: &Hypothesis) -> f64 {
        self.0.finished_score(h.log_prob_full, h.log_prob_masked, h.codes.len())
    }
}

/// Draws, ranks, and falls back.
pub struct BestOfN {
    width: usize,
    draws: Box<dyn Decoder>,
    fallback: Box<dyn Decoder>,
    reward: Arc<dyn Reward>,
}

impl BestOfN {
    /// From options and the two decoders that they name.
    ///
    /// Errors: an option outside its range, or a fallback that cannot fill all places.
    pub fn new(
        options: BestOfNOptions,
        draws: Box<dyn Decoder>,
        fallback: Box<dyn Decoder>,
    ) -> Result<Self> {
        let BestOfNOptions { width, score, length_normalization, .. } = options;
        let ranking = Ranking::new(width, score, length_normalization)?;
        if fallback.width() < ranking.width {
            return Err(Error::config(
                "decoder.fallback.width",
                format!(
                    "got {} for decoder.width = {width}; allowed: {width} and up",
                    fallback.width()
                ),
            ));
        }
        let reward = Arc::new(Likelihood(ranking));
        Ok(BestOfN { width: ranking.width, draws, fallback, reward })
    }

    /// Ranks by another reward.
    pub fn with_reward(mut self, reward: Arc<dyn Reward>) -> Self {
        self.reward = reward;
        self
    }

    /// Sets the score of a hypothesis.
    fn judge(&self, request: usize, hypothesis: &mut Hypothesis) -> Result<()> {
        let reward = self.reward.reward(request, hypothesis);
        if reward.is_nan() || reward == f64::INFINITY {
            return Err(Error::NotFinite {
                what: format!("the reward of {:?} of request {request}", hypothesis.codes),
                step: None,
                help: "a reward is a number, or minus infinity to reject".into(),
            });
        }
        hypothesis.score = reward;
        Ok(())
    }
}

impl Decoder for BestOfN {
    fn decode(
        &self,
        scorer: &mut dyn CodeScorer,
        constraints: &[&dyn Constraint],
        run: &Run<'_>,
    ) -> Result<Vec<Vec<Hypothesis>>> {
        let requests = scorer.requests();
        let per_request = PerRequest::new(constraints, requests)?;
        let mut lists = self.draws.decode(scorer, constraints, run)?;
        for (request, list) in lists.iter_mut().enumerate() {
            for h in list.iter_mut() {
                self.judge(request, h)?;
            }
            list.retain(|h| h.valid && h.score > f64::NEG_INFINITY);
        }
        if lists.iter().any(|list| list.len() < self.width) {
            let nothing = Unconstrained::new(Vec::new());
            let asked: Vec<&dyn Constraint> = lists
                .iter()
                .enumerate()
                .map(|(request, list)| match list.len() < self.width {
                    true => per_request.get(request as u32),
                    false => &nothing,
                })
                .collect();
            let found = self.fallback.decode(scorer, &asked, run)?;
            for (request, (list, found)) in lists.iter_mut().zip(found).enumerate() {
                let drawn = list.len();
                for mut h in found {
                    if list.len() >= self.width {
                        break;
                    }
                    if h.valid && list[..drawn].iter().all(|x| x.codes != h.codes) {
                        self.judge(request, &mut h)?;
                        h.provenance = Provenance::Fallback;
                        list.push(h);
                    }
                }
            }
        }
        for list in &mut lists {
            list.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.codes.cmp(&b.codes)));
            list.truncate(self.width);
        }
        Ok(lists)
    }

    fn width(&self) -> usize {
        self.width
    }
}

/// Registers `best-of-n`.
pub fn register(catalog: &mut Catalog<dyn Decoder>) -> Result<()> {
    catalog.add(Entry::composite(
        "best-of-n",
        env!("CARGO_PKG_NAME"),
        "Ranks the draws of a sampler and fills empty places by a search (as in arXiv 2312.12457).",
        |o: BestOfNOptions, _: &(), all: &Catalog<dyn Decoder>| {
            let draws = all.build(&o.draws.spec("decoder.draws")?, &())?;
            let fallback = all.build(&o.fallback.spec("decoder.fallback")?, &())?;
            Ok(Box::new(BestOfN::new(o, draws, fallback)?) as Box<dyn Decoder>)
        },
    ))
}
