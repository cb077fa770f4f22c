//! Score fusion: the decoder's score with other signals.
//!
//! `weighted`: `f_i = sum_j w_j norm(s_j)_i`, where norm brings each signal to one scale within the
//! list. With signals decoder and verifier, log-softmax and weights `1 - w`, `w` this is the fusion
//! that the fact sheet of TTR-MCR (arXiv 2508.18132) completes (its own formula is not known).
//! `reciprocal-rank`: `f_i = sum_j w_j / (constant + rank_j(i))`, ranks from 1 (Cormack, Clarke and
//! Buettcher 2009, constant 60, from memory); only the order of each signal counts.
//!
//! Equal candidates keep their order, in the result and within each signal's ranks, so a signal
//! that is constant repeats the order of the list, and all weight on the decoder leaves a list that
//! is sorted by it alone. The fused value is the new score. Cost: a sort of the candidates a signal.

use crate::scorer::scored;
use crate::{Budget, Cost, Need, Normalisation, Pick, Reordered, Reranker, Scorer, Signal, Task};
use sidereal_core::{Error, Result};

/// How signals become one score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fusion {
    /// Sum of normalised scores.
    #[default]
    Weighted,
    /// Sum of reciprocal ranks.
    ReciprocalRank,
}

sidereal_core::options! {
    /// Options of `score-fusion`.
    pub struct ScoreFusionOptions {
        /// Signals: `decoder`, `popularity` (logarithm of training interactions), `similarity`
        /// (cosine with the mean of the history), `category` (share of the history); at least one,
        /// each once.
        pub signals: Vec<Signal> = vec![Signal::Decoder, Signal::Popularity],
        /// Weight of each signal, any finite number (no source for the default).
        pub weights: Vec<f64> = vec![0.8, 0.2],
        /// `weighted` sums normalised scores, `reciprocal-rank` reciprocal ranks.
        pub method: Fusion = Fusion::Weighted,
        /// Scale of each signal within the list, where `method = "weighted"`: `min-max`, `z-score`,
        /// `log-softmax`, `none`.
        pub normalisation: Normalisation = Normalisation::MinMax,
        /// Added to ranks where `method = "reciprocal-rank"`, 0 and up (Cormack et al.: 60).
        pub constant: f64 = 60.0,
        /// Candidates to look at, 1 and up.
        pub candidates: u32 = 50,
        /// Milliseconds a request, after which the rest keep their order, 0 and up. Unset: no limit.
        pub time_limit_ms: Option<u64> = None,
    }
}

/// The reranker.
pub struct ScoreFusion {
    parts: Vec<Part>,
    method: Fusion,
    normalisation: Normalisation,
    constant: f64,
    budget: Budget,
}

/// A signal and its weight.
struct Part {
    name: String,
    scorer: Box<dyn Scorer>,
    weight: f64,
}

impl ScoreFusion {
    /// Errors: an option outside its range.
    pub fn new(options: ScoreFusionOptions) -> Result<Self> {
        let ScoreFusionOptions { signals, weights, constant, .. } = options;
        if signals.is_empty() {
            return Err(Error::config("reranker.signals", "empty; name at least one"));
        }
        if let Some(twice) = signals.iter().enumerate().find(|(i, s)| signals[..*i].contains(s)) {
            let message = format!("{:?} stands there twice; allowed: each signal once", twice.1);
            return Err(Error::config("reranker.signals", message));
        }
        if weights.len() != signals.len() || weights.iter().any(|w| !w.is_finite()) {
            let message = format!("{weights:?}; allowed: {} finite numbers", signals.len());
            return Err(Error::config("reranker.weights", message));
        }
        if !constant.is_finite() || constant < 0.0 {
            return Err(Error::config(
                "reranker.constant",
                format!("{constant}; allowed: 0 and up"),
            ));
        }
        let part = |(signal, weight): (Signal, f64)| Part {
            name: format!("{signal:?}"),
            scorer: Box::new(signal),
            weight,
        };
        Ok(ScoreFusion {
            parts: signals.into_iter().zip(weights).map(part).collect(),
            method: options.method,
            normalisation: options.normalisation,
            constant,
            budget: Budget::new(options.candidates, options.time_limit_ms)?,
        })
    }

    /// With one more scorer, as in a verifier; `name` stands for it in errors.
    pub fn with_scorer(mut self, name: &str, scorer: Box<dyn Scorer>, weight: f64) -> Self {
        self.parts.push(Part { name: name.into(), scorer, weight });
        self
    }

    /// Adds what a signal gives to the fused scores.
    fn add(&self, part: &Part, mut scores: Vec<f64>, fused: &mut [f64]) -> Result<()> {
        match self.method {
            Fusion::Weighted => self.normalisation.apply(&mut scores, &part.name)?,
            Fusion::ReciprocalRank => {
                Normalisation::None.apply(&mut scores, &part.name)?;
                let order = descending(&scores);
                for (rank, i) in order.into_iter().enumerate() {
                    scores[i] = (self.constant + 1.0 + rank as f64).recip();
                }
            }
        }
        fused.iter_mut().zip(scores).for_each(|(f, s)| *f += part.weight * s);
        Ok(())
    }
}

impl Reranker for ScoreFusion {
    fn budget(&self) -> Budget {
        self.budget
    }

    fn needs(&self) -> Vec<Need> {
        self.parts.iter().flat_map(|p| p.scorer.needs()).collect()
    }

    fn rerank(&self, task: &Task<'_>) -> Result<Reordered> {
        let all = self.parts.iter().map(|p| scored(p.scorer.as_ref(), task));
        let all: Vec<Vec<f64>> = all.collect::<Result<_>>()?;
        // A signal that ran out of time ends the list for all of them.
        let placed = all.iter().map(Vec::len).min().unwrap_or(0);
        let mut fused = vec![0.0; placed];
        for (part, mut scores) in self.parts.iter().zip(all) {
            scores.truncate(placed);
            self.add(part, scores, &mut fused)?;
        }
        let order = descending(&fused).into_iter();
        let head = order.map(|index| Pick { index, score: fused[index] });
        let rest = Reordered::unchanged(task.candidates).picks.into_iter().skip(placed);
        let cost = Cost { candidates: placed as u64, ..Cost::default() };
        let comparable = if placed == 0 { task.candidates.len() } else { placed };
        Ok(Reordered { picks: head.chain(rest).collect(), comparable, cost })
    }
}

/// Places of the scores, highest first; equal ones in the order they stand.
pub(crate) fn descending(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order
}
