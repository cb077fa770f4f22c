//! What orders hypotheses, and the pool that finished ones wait in.

use crate::{Constraint, Hypothesis, Provenance, ScoreRule};
use sidereal_core::{Code, Error, Result};
use std::cmp::Ordering;

/// Highest beam width and list length that decoders accept.
pub(crate) const MAX_WIDTH: u32 = 1 << 20;

/// How many hypotheses to return and by which score.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ranking {
    pub width: usize,
    pub rule: ScoreRule,
    /// Exponent of the length that divides a finished score; 0 leaves it alone.
    pub length_normalization: f64,
}

impl Ranking {
    /// Checks the options that all searching decoders share.
    pub fn new(width: u32, rule: ScoreRule, length_normalization: f64) -> Result<Self> {
        if width == 0 || width > MAX_WIDTH {
            return Err(Error::config(
                "decoder.width",
                format!("got {width}; allowed: 1 to {MAX_WIDTH}"),
            ));
        }
        if !(0.0..=10.0).contains(&length_normalization) {
            return Err(Error::config(
                "decoder.length_normalization",
                format!("got {length_normalization}; allowed: 0 (off) to 10"),
            ));
        }
        Ok(Ranking { width: width as usize, rule, length_normalization })
    }

    /// The sum that orders prefixes of one length.
    pub fn sum(&self, full: f64, masked: f64) -> f64 {
        match self.rule {
            ScoreRule::Full => full,
            ScoreRule::Masked => masked,
        }
    }

    /// The score of a whole identifier of `len` codes.
    pub fn finished_score(&self, full: f64, masked: f64, len: usize) -> f64 {
        let sum = self.sum(full, masked);
        if self.length_normalization == 0.0 {
            sum
        } else {
            sum / (len as f64).powf(self.length_normalization)
        }
    }
}

/// One constraint a request, or a single one for all.
#[derive(Clone, Copy)]
pub(crate) struct PerRequest<'a>(&'a [&'a dyn Constraint]);

impl<'a> PerRequest<'a> {
    pub fn new(constraints: &'a [&'a dyn Constraint], requests: usize) -> Result<Self> {
        if constraints.len() != 1 && constraints.len() != requests {
            return Err(Error::mismatch(format!(
                "{} constraints for {requests} requests; pass one for each request or a single \
                 one for all",
                constraints.len()
            )));
        }
        Ok(PerRequest(constraints))
    }

    pub fn get(&self, request: u32) -> &'a dyn Constraint {
        if self.0.len() == 1 { self.0[0] } else { self.0[request as usize] }
    }
}

/// Refuses an answer of the wrong size.
pub(crate) fn check_logits(got: usize, rows: usize, width: usize, level: usize) -> Result<()> {
    if Some(got) == rows.checked_mul(width) {
        return Ok(());
    }
    Err(Error::mismatch(format!(
        "the scorer gave {got} logits at level {level}; {rows} rows of {width} codes were wanted"
    )))
}

/// Identifiers longer than what the model scores could never be found, so they are refused.
pub(crate) fn too_deep(levels: usize) -> Error {
    Error::mismatch(format!(
        "the constraint holds identifiers longer than the {levels} levels that the model scores: \
         build model and constraint from the same SID table"
    ))
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    request: u32,
    len: u32,
    /// Start of the codes in the pool.
    at: usize,
    found: Found,
}

/// What is known of a finished hypothesis beside its codes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// Orders the result.
    pub score: f64,
    pub full: f64,
    pub masked: f64,
    pub provenance: Provenance,
}

/// Finished hypotheses of all requests; their codes lie in one column.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    entries: Vec<Entry>,
    codes: Vec<Code>,
}

impl Finished {
    /// A hypothesis of a beam.
    pub fn push(&mut self, ranking: &Ranking, request: u32, sid: &[Code], full: f64, masked: f64) {
        let score = ranking.finished_score(full, masked, sid.len());
        self.push_found(request, sid, Found { score, full, masked, provenance: Provenance::Beam });
    }

    /// A hypothesis with its own score and provenance.
    pub fn push_found(&mut self, request: u32, sid: &[Code], found: Found) {
        let (len, at) = (sid.len() as u32, self.codes.len());
        self.entries.push(Entry { request, len, at, found });
        self.codes.extend_from_slice(sid);
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The best of each request, ties by code order. `validity`, if given, says which constraint
    /// decides what is valid; otherwise all are.
    pub fn into_lists(
        mut self,
        ranking: &Ranking,
        requests: usize,
        validity: Option<PerRequest<'_>>,
    ) -> Vec<Vec<Hypothesis>> {
        let codes = &self.codes;
        let sid = |e: &Entry| &codes[e.at..e.at + e.len as usize];
        self.entries.sort_unstable_by(|a, b| {
            a.request
                .cmp(&b.request)
                .then_with(|| b.found.score.total_cmp(&a.found.score))
                .then_with(|| sid(a).cmp(sid(b)))
        });
        let mut lists = Vec::with_capacity(requests);
        let mut rest = &self.entries[..];
        for request in 0..requests as u32 {
            let n = rest.partition_point(|e| e.request.cmp(&request) != Ordering::Greater);
            let (own, later) = rest.split_at(n);
            rest = later;
            let hypothesis = |e: &Entry| Hypothesis {
                codes: sid(e).to_vec(),
                score: e.found.score,
                log_prob_masked: e.found.masked,
                log_prob_full: e.found.full,
                provenance: e.found.provenance,
                valid: validity
                    .is_none_or(|c| crate::constraint::accepts_sid(c.get(request), sid(e))),
            };
            lists.push(own.iter().take(ranking.width).map(hypothesis).collect());
        }
        lists
    }
}
