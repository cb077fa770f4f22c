//! What scores candidates: built-in signals, a function of the caller, a second recommender.

use crate::side::dot;
use crate::{Need, Task};
use sidereal_core::{ItemId, Recommendation, Recommender, Request, Result, Run, Silent};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Scores candidates for a request; higher is better.
pub trait Scorer: Send + Sync {
    /// What it reads beside the list.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }

    /// Appends the scores of `candidates`, a run of the task's own.
    fn score(
        &self,
        task: &Task<'_>,
        candidates: &[Recommendation],
        out: &mut Vec<f64>,
    ) -> Result<()>;
}

/// Built-in scorers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// The score that the candidate came with.
    Decoder,
    /// `ln(1 + training interactions)`.
    Popularity,
    /// Cosine of the item's vector with the mean of the history's unit vectors; 0 without history.
    Similarity,
    /// Share of the history's items in the item's category, cut after two parts of its path.
    Category,
}

/// Where [`Signal::Category`] cuts paths.
const LEVEL: usize = 1;

impl Scorer for Signal {
    fn needs(&self) -> Vec<Need> {
        match self {
            Signal::Decoder => Vec::new(),
            Signal::Popularity => vec![Need::Popularity],
            Signal::Similarity => vec![Need::Vectors],
            Signal::Category => vec![Need::Categories(LEVEL)],
        }
    }

    fn score(
        &self,
        task: &Task<'_>,
        candidates: &[Recommendation],
        out: &mut Vec<f64>,
    ) -> Result<()> {
        let history = task.request.history;
        match self {
            Signal::Decoder => out.extend(candidates.iter().map(|c| c.score)),
            Signal::Popularity => {
                let popularity = task.side.popularity()?;
                for c in candidates {
                    out.push(f64::from(popularity.of(c.item)?).ln_1p());
                }
            }
            Signal::Similarity => {
                let vectors = task.side.vectors()?;
                let mut mean = vec![0f32; vectors.width()];
                for &item in history {
                    mean.iter_mut().zip(vectors.of(item)?).for_each(|(m, v)| *m += v);
                }
                let norm = dot(&mean, &mean).sqrt();
                let scale = if norm > 0.0 { norm.recip() } else { 0.0 };
                for c in candidates {
                    out.push(f64::from(dot(&mean, vectors.of(c.item)?) * scale));
                }
            }
            Signal::Category => {
                let categories = task.side.categories(LEVEL)?;
                let mut counts = BTreeMap::new();
                for &item in history {
                    *counts.entry(categories.of(item)?).or_insert(0u32) += 1;
                }
                for c in candidates {
                    let count = counts.get(&categories.of(c.item)?).copied().unwrap_or(0);
                    out.push(f64::from(count) / history.len().max(1) as f64);
                }
            }
        }
        Ok(())
    }
}

/// A function of request and item as a scorer.
pub struct ByItem<F>(pub F);

impl<F: Fn(&Request<'_>, ItemId) -> f64 + Send + Sync> Scorer for ByItem<F> {
    fn score(
        &self,
        task: &Task<'_>,
        candidates: &[Recommendation],
        out: &mut Vec<f64>,
    ) -> Result<()> {
        out.extend(candidates.iter().map(|c| (self.0)(task.request, c.item)));
        Ok(())
    }
}

/// A second recommender as a scorer: the score in its own first `depth` items, -inf for others.
pub struct ByRecommender {
    recommender: Arc<dyn Recommender>,
    depth: usize,
}

impl ByRecommender {
    /// Asks `recommender` for `depth` items; with all of the catalogue every candidate has a score.
    pub fn new(recommender: Arc<dyn Recommender>, depth: usize) -> Self {
        ByRecommender { recommender, depth }
    }
}

impl Scorer for ByRecommender {
    fn score(
        &self,
        task: &Task<'_>,
        candidates: &[Recommendation],
        out: &mut Vec<f64>,
    ) -> Result<()> {
        listed(self.recommender.as_ref(), self.depth, task, candidates, out)
    }
}

/// The recommender of a finished run as a scorer, found by its folder.
pub(crate) struct ByRun {
    pub folder: String,
    pub depth: usize,
}

impl Scorer for ByRun {
    fn needs(&self) -> Vec<Need> {
        vec![Need::Run(self.folder.clone())]
    }

    fn score(
        &self,
        task: &Task<'_>,
        candidates: &[Recommendation],
        out: &mut Vec<f64>,
    ) -> Result<()> {
        listed(task.side.run(&self.folder)?.as_ref(), self.depth, task, candidates, out)
    }
}

/// Scores of the candidates among the first `depth` items of a recommender.
fn listed(
    recommender: &dyn Recommender,
    depth: usize,
    task: &Task<'_>,
    candidates: &[Recommendation],
    out: &mut Vec<f64>,
) -> Result<()> {
    // The caller's threads already work on different requests.
    let run = Run { threads: 1, observer: &Silent, ..task.run.clone() };
    let lists = recommender.recommend(&[*task.request], depth, &run)?;
    let scores: BTreeMap<ItemId, f64> =
        lists.iter().flat_map(|l| &l.items).map(|r| (r.item, r.score)).collect();
    let score = |c: &Recommendation| scores.get(&c.item).copied();
    out.extend(candidates.iter().map(|c| score(c).unwrap_or(f64::NEG_INFINITY)));
    Ok(())
}

/// Candidates scored between two looks at the clock.
const STEP: usize = 16;

/// Scores of the candidates from the head on, as many as the task's time allows.
pub(crate) fn scored(scorer: &dyn Scorer, task: &Task<'_>) -> Result<Vec<f64>> {
    let all = task.candidates.len();
    let step = if task.clock.is_limited() { STEP } else { all.max(1) };
    let mut out = Vec::with_capacity(all);
    for part in task.candidates.chunks(step) {
        if task.clock.is_over() {
            break;
        }
        let wanted = out.len() + part.len();
        scorer.score(task, part, &mut out)?;
        if out.len() != wanted {
            return Err(sidereal_core::Error::mismatch(format!(
                "a scorer gave {} scores where {wanted} were wanted",
                out.len()
            )));
        }
    }
    Ok(out)
}
