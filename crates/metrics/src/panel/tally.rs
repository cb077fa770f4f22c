//! What a panel has added up so far.

use crate::Sum;
use crate::ranks::RankFinder;
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, Result};

/// Whether the values of single requests are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// The values of the panel only.
    #[default]
    Means,
    /// A column of values for every mean, for breakdowns and significance tests: 8 bytes a request
    /// and mean.
    PerRequest,
}

/// What was added so far; shards write it down and merge it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tally {
    start: usize,
    requests: usize,
    /// One a formula and cut-off.
    pub(super) sums: Vec<Sum>,
    /// One a formula.
    pub(super) weights: Vec<u64>,
    /// One vector a counter.
    pub(super) counts: Vec<Vec<u64>>,
    /// One a formula and cut-off.
    pub(super) columns: Option<Vec<Vec<f64>>>,
    /// One a thread, kept for the next block.
    #[serde(skip)]
    pub(super) finders: Vec<RankFinder>,
}

impl Tally {
    pub(super) fn new(
        start: usize,
        keep: Keep,
        columns: usize,
        families: usize,
        counters: impl Iterator<Item = usize>,
    ) -> Self {
        Tally {
            start,
            requests: 0,
            sums: vec![Sum::default(); columns],
            weights: vec![0; families],
            counts: counters.map(|n| vec![0; n]).collect(),
            columns: (keep == Keep::PerRequest).then(|| vec![Vec::new(); columns]),
            finders: Vec::new(),
        }
    }

    pub(super) fn is_of(
        &self,
        columns: usize,
        families: usize,
        counters: impl Iterator<Item = usize>,
    ) -> bool {
        self.sums.len() == columns
            && self.weights.len() == families
            && counters.eq(self.counts.iter().map(Vec::len))
    }

    /// Requests added.
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// Number of the request that comes next.
    pub(super) fn end(&self) -> usize {
        self.start + self.requests
    }

    /// Takes `n` more requests in, as sums that were made of them.
    pub(super) fn grow(&mut self, n: usize, sums: &[Sum], weights: &[u64], counts: &[Vec<u64>]) {
        self.sums.iter_mut().zip(sums).for_each(|(a, b)| a.merge(b));
        self.weights.iter_mut().zip(weights).for_each(|(a, b)| *a += b);
        for (mine, theirs) in self.counts.iter_mut().zip(counts) {
            mine.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        }
        self.requests += n;
    }

    /// Adds the tally of another shard of the same panel. Where values of single requests are
    /// kept, `other` must begin where this one ends.
    pub fn merge(&mut self, other: Tally) -> Result<()> {
        let counters = other.counts.iter().map(Vec::len);
        let alike = self.is_of(other.sums.len(), other.weights.len(), counters)
            && self.columns.is_some() == other.columns.is_some();
        if !alike {
            return Err(Error::mismatch("tallies of different panels cannot be merged"));
        }
        if self.columns.is_some() && self.end() != other.start {
            return Err(Error::mismatch(format!(
                "this tally ends before request {}, the other begins at {}: merge in order where \
                 values of requests are kept",
                self.end(),
                other.start
            )));
        }
        self.grow(other.requests, &other.sums, &other.weights, &other.counts);
        for (mine, theirs) in self.columns.iter_mut().flatten().zip(other.columns.iter().flatten())
        {
            mine.extend_from_slice(theirs);
        }
        self.start = self.start.min(other.start);
        Ok(())
    }
}
