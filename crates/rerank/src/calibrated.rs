//! Calibrated recommendations (Steck 2018, from memory): shares of groups as in the history.
//!
//! `p(g)` is the share of group g in the user's history, `q(g) = n_g / k` its share of the k places.
//! The list maximises `(1 - lambda) sum_i rel_i - lambda KL(p, q~)`, with
//! `KL = sum_g p(g) ln(p(g) / q~(g))` and `q~ = (1 - a) q + a p`, a = `smoothing`; rel is the
//! candidate's score on the min-max scale of the list, divided by k so that both terms have the
//! scale of a mean.
//!
//! Each item has one group and q is over k places from the start, so the gain of a group's next
//! place falls with its number, and taking the best place by place is exact, not only greedy: each
//! step compares the first candidate left of each group, `O(k G)`. Equal candidates keep their
//! order, `lambda = 0` is the list as it was, if it is sorted by score, and so is every list of a
//! request without history. Scores stay those of the candidates.
//!
//! `calibrated-popularity` has three groups (Abdollahpouri et al. 2021, from memory): the most
//! popular items that hold `head` of all training interactions, the least popular that hold `tail`,
//! and those between; items of one count stay together. `calibrated-category` has the categories.
//!
//! Deviations: Steck normalises q by the places filled so far, weighs the history by recency and
//! lets an item have several groups; relevance is put on the min-max scale here.

use crate::mmr::{chosen_first, first_largest};
use crate::{Budget, Need, Normalisation, Reordered, Reranker, Task};
use sidereal_core::{Error, ItemId, Result};
use std::collections::{BTreeMap, VecDeque};

sidereal_core::options! {
    /// Options of `calibrated-popularity`.
    pub struct CalibratedPopularityOptions {
        /// Weight of calibration against relevance, 0 to 1; 0 changes nothing (no source for the
        /// default).
        pub lambda: f64 = 0.5,
        /// Share of training interactions that the most popular items hold, 0 to 1 (Abdollahpouri
        /// et al.: 0.2, from memory).
        pub head: f64 = 0.2,
        /// Share of training interactions that the least popular items hold, 0 to 1 - head
        /// (Abdollahpouri et al.: 0.2, from memory).
        pub tail: f64 = 0.2,
        /// Share of p mixed into q, above 0 and below 1 (Steck: 0.01, from memory).
        pub smoothing: f64 = 0.01,
        /// Candidates to look at, 1 and up.
        pub candidates: u32 = 50,
        /// Milliseconds a request, after which the rest keep their order, 0 and up. Unset: no limit.
        pub time_limit_ms: Option<u64> = None,
    }
}

sidereal_core::options! {
    /// Options of `calibrated-category`.
    pub struct CalibratedCategoryOptions {
        /// Weight of calibration against relevance, 0 to 1; 0 changes nothing (no source for the
        /// default).
        pub lambda: f64 = 0.5,
        /// Depth at which categories are cut: 0 keeps the first part of their path, 0 and up.
        pub level: usize = 1,
        /// Share of p mixed into q, above 0 and below 1 (Steck: 0.01, from memory).
        pub smoothing: f64 = 0.01,
        /// Candidates to look at, 1 and up.
        pub candidates: u32 = 50,
        /// Milliseconds a request, after which the rest keep their order, 0 and up. Unset: no limit.
        pub time_limit_ms: Option<u64> = None,
    }
}

/// The reranker.
pub struct Calibrated {
    groups: By,
    lambda: f64,
    smoothing: f64,
    budget: Budget,
}

/// What the groups are.
#[derive(Debug, Clone, Copy)]
enum By {
    Popularity { head: f64, tail: f64 },
    Category { level: usize },
}

impl Calibrated {
    /// Three groups by popularity. Errors: an option outside its range.
    pub fn by_popularity(options: CalibratedPopularityOptions) -> Result<Self> {
        let CalibratedPopularityOptions { lambda, head, tail, smoothing, .. } = options;
        if !(0.0..=1.0).contains(&head) {
            return Err(Error::config("reranker.head", format!("{head}; allowed: 0 to 1")));
        }
        // A little room: 0.8 and 0.2 add up to a bit more than 1 in some orders.
        if tail.is_nan() || tail < 0.0 || head + tail > 1.0 + 1e-9 {
            let message = format!("{tail}; allowed: 0 to {} (1 - head)", 1.0 - head);
            return Err(Error::config("reranker.tail", message));
        }
        let budget = Budget::new(options.candidates, options.time_limit_ms)?;
        Calibrated::new(By::Popularity { head, tail }, lambda, smoothing, budget)
    }

    /// A group a category. Errors: an option outside its range.
    pub fn by_category(options: CalibratedCategoryOptions) -> Result<Self> {
        let CalibratedCategoryOptions { lambda, level, smoothing, .. } = options;
        let budget = Budget::new(options.candidates, options.time_limit_ms)?;
        Calibrated::new(By::Category { level }, lambda, smoothing, budget)
    }

    fn new(groups: By, lambda: f64, smoothing: f64, budget: Budget) -> Result<Self> {
        if !(0.0..=1.0).contains(&lambda) {
            return Err(Error::config("reranker.lambda", format!("{lambda}; allowed: 0 to 1")));
        }
        if !(smoothing > 0.0 && smoothing < 1.0) {
            let message = format!("{smoothing}; allowed: above 0 and below 1");
            return Err(Error::config("reranker.smoothing", message));
        }
        Ok(Calibrated { groups, lambda, smoothing, budget })
    }

    /// The group of each item of a list.
    fn groups(&self, task: &Task<'_>, items: impl Iterator<Item = ItemId>) -> Result<Vec<u32>> {
        match self.groups {
            By::Category { level } => {
                let categories = task.side.categories(level)?;
                items.map(|item| categories.of(item)).collect()
            }
            By::Popularity { head, tail } => {
                let popularity = task.side.popularity()?;
                let (head, body) = (popularity.head(head), popularity.head(1.0 - tail));
                let group = |item| {
                    let count = popularity.of(item)?;
                    Ok(u32::from(count < head) + u32::from(count < body.min(head)))
                };
                items.map(group).collect()
            }
        }
    }
}

/// A group's candidates left, best first, and what its next place is worth.
struct Group {
    share: f64,
    taken: usize,
    left: VecDeque<usize>,
}

impl Group {
    /// How much the next place lowers the divergence.
    fn gain(&self, k: usize, smoothing: f64) -> f64 {
        if self.share == 0.0 {
            return 0.0;
        }
        let q = |taken: usize| (1.0 - smoothing) * taken as f64 / k as f64 + smoothing * self.share;
        self.share * (q(self.taken + 1) / q(self.taken)).ln()
    }
}

impl Reranker for Calibrated {
    fn budget(&self) -> Budget {
        self.budget
    }

    fn needs(&self) -> Vec<Need> {
        match self.groups {
            By::Popularity { .. } => vec![Need::Popularity],
            By::Category { level } => vec![Need::Categories(level)],
        }
    }

    fn rerank(&self, task: &Task<'_>) -> Result<Reordered> {
        let (n, k) = (task.candidates.len(), task.k.min(task.candidates.len()));
        let history = self.groups(task, task.request.history.iter().copied())?;
        if history.is_empty() || k == 0 {
            return Ok(Reordered::unchanged(task.candidates));
        }
        let mut relevance: Vec<f64> = task.candidates.iter().map(|c| c.score).collect();
        Normalisation::MinMax.apply(&mut relevance, "of relevance")?;
        let mut groups: BTreeMap<u32, Group> = BTreeMap::new();
        let empty = || Group { share: 0.0, taken: 0, left: VecDeque::new() };
        for g in &history {
            groups.entry(*g).or_insert_with(empty).share += 1.0 / history.len() as f64;
        }
        let own = self.groups(task, task.candidates.iter().map(|c| c.item))?;
        for i in crate::score_fusion::descending(&relevance) {
            groups.entry(own[i]).or_insert_with(empty).left.push_back(i);
        }
        let mut groups: Vec<Group> = groups.into_values().collect();
        let mut order = Vec::with_capacity(k);
        let mut left = vec![true; n];
        while order.len() < k && !task.clock.is_over() {
            let value = |g: &Group, i: usize| {
                (1.0 - self.lambda) * relevance[i] / k as f64
                    + self.lambda * g.gain(k, self.smoothing)
            };
            // In the order of the list, so that the first of equal candidates is taken.
            let mut heads: Vec<(usize, usize)> = Vec::with_capacity(groups.len());
            heads.extend(
                groups.iter().enumerate().filter_map(|(g, x)| x.left.front().map(|&i| (i, g))),
            );
            heads.sort_unstable();
            let Some(best) = first_largest(heads.iter().map(|&(i, g)| value(&groups[g], i))) else {
                break;
            };
            let (i, g) = heads[best];
            groups[g].left.pop_front();
            groups[g].taken += 1;
            left[i] = false;
            order.push(i);
        }
        let left = (0..n).filter(|&i| left[i]).collect();
        Ok(chosen_first(task, &order, left))
    }
}
