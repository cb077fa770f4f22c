//! Maximal marginal relevance (Carbonell and Goldstein 1998, from memory).
//!
//! One place after the other goes to the candidate with the largest
//! `lambda rel_i - (1 - lambda) max_{j chosen} sim(i, j)`; rel is the candidate's score on the
//! min-max scale of the list, sim the cosine of item vectors or 1 for one category and else 0.
//! Before anything is chosen the second term is 0.
//!
//! The largest similarity of each candidate is kept and renewed with the item that was chosen last,
//! so n candidates of width d cost `O(k n d)`. Equal candidates keep their order; `lambda = 1` is
//! the list as it was, if it is sorted by score. Scores stay those of the candidates: the order is the list's.

use crate::side::dot;
use crate::{Budget, Cost, Need, Normalisation, Reordered, Reranker, Task};
use sidereal_core::{Error, Result};

/// What makes two items alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Similarity {
    /// Cosine of the item vectors, -1 to 1.
    #[default]
    Vectors,
    /// 1 within a category, else 0.
    Category,
}

sidereal_core::options! {
    /// Options of `mmr`.
    pub struct MmrOptions {
        /// Weight of relevance against novelty, 0 to 1; 1 changes nothing (no source for the
        /// default).
        pub lambda: f64 = 0.7,
        /// `vectors` compares item vectors, `category` categories.
        pub similarity: Similarity = Similarity::Vectors,
        /// Depth at which categories are cut: 0 keeps the first part of their path, 0 and up.
        pub level: usize = 1,
        /// Candidates to look at, 1 and up.
        pub candidates: u32 = 50,
        /// Milliseconds a request, after which the rest keep their order, 0 and up. Unset: no limit.
        pub time_limit_ms: Option<u64> = None,
    }
}

/// The reranker.
pub struct Mmr {
    lambda: f64,
    similarity: Similarity,
    level: usize,
    budget: Budget,
}

impl Mmr {
    /// Errors: an option outside its range.
    pub fn new(options: MmrOptions) -> Result<Self> {
        let MmrOptions { lambda, similarity, level, candidates, time_limit_ms } = options;
        if !(0.0..=1.0).contains(&lambda) {
            return Err(Error::config("reranker.lambda", format!("{lambda}; allowed: 0 to 1")));
        }
        Ok(Mmr { lambda, similarity, level, budget: Budget::new(candidates, time_limit_ms)? })
    }

    /// Raises the largest similarities by those to the candidate `chosen`.
    fn raise(&self, task: &Task<'_>, chosen: usize, largest: &mut [f64]) -> Result<()> {
        let item = |i: usize| task.candidates[i].item;
        match self.similarity {
            Similarity::Vectors => {
                let vectors = task.side.vectors()?;
                let own = vectors.of(item(chosen))?;
                for (i, largest) in largest.iter_mut().enumerate() {
                    *largest = largest.max(f64::from(dot(own, vectors.of(item(i))?)));
                }
            }
            Similarity::Category => {
                let categories = task.side.categories(self.level)?;
                let own = categories.of(item(chosen))?;
                for (i, largest) in largest.iter_mut().enumerate() {
                    let same = categories.of(item(i))? == own;
                    *largest = largest.max(if same { 1.0 } else { 0.0 });
                }
            }
        }
        Ok(())
    }
}

impl Reranker for Mmr {
    fn budget(&self) -> Budget {
        self.budget
    }

    fn needs(&self) -> Vec<Need> {
        match self.similarity {
            Similarity::Vectors => vec![Need::Vectors],
            Similarity::Category => vec![Need::Categories(self.level)],
        }
    }

    fn rerank(&self, task: &Task<'_>) -> Result<Reordered> {
        let n = task.candidates.len();
        let mut relevance: Vec<f64> = task.candidates.iter().map(|c| c.score).collect();
        Normalisation::MinMax.apply(&mut relevance, "of relevance")?;
        let mut largest = vec![f64::NEG_INFINITY; n];
        let mut left: Vec<usize> = (0..n).collect();
        let mut order = Vec::with_capacity(n);
        while order.len() < task.k.min(n) && !task.clock.is_over() {
            let value = |i: usize| {
                let novelty = if order.is_empty() { 0.0 } else { largest[i] };
                self.lambda * relevance[i] - (1.0 - self.lambda) * novelty
            };
            let Some(place) = first_largest(left.iter().map(|&i| value(i))) else { break };
            let chosen = left.remove(place);
            order.push(chosen);
            if order.len() < task.k.min(n) {
                self.raise(task, chosen, &mut largest)?;
            }
        }
        Ok(chosen_first(task, &order, left))
    }
}

/// Place of the first largest value.
pub(crate) fn first_largest(values: impl Iterator<Item = f64>) -> Option<usize> {
    let better = |best: (usize, f64), new: (usize, f64)| if new.1 > best.1 { new } else { best };
    values.enumerate().reduce(better).map(|(place, _)| place)
}

/// The chosen candidates, then the others as they came, all with their own scores.
pub(crate) fn chosen_first(task: &Task<'_>, order: &[usize], mut left: Vec<usize>) -> Reordered {
    let unchanged = Reordered::unchanged(task.candidates).picks;
    left.sort_unstable();
    let looked = if order.is_empty() { 0 } else { task.candidates.len() };
    Reordered {
        picks: order.iter().chain(&left).map(|&i| unchanged[i]).collect(),
        comparable: unchanged.len(),
        cost: Cost { candidates: looked as u64, ..Cost::default() },
    }
}
