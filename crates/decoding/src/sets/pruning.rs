//! Pruning by consistency (CORP of REG4Rec, arXiv 2508.15308). The idea is the paper's, the formulas
//! are a *reconstruction*, because the paper's own were not available:
//!
//! - (a) a partial set that no identifier holds is dropped: the search never makes one, because it
//!   extends a set by codes of the identifiers that hold it;
//! - (b) a path is dropped whose consistency falls more than `delta` below the best live path's.
//!   Consistency is the mean over unused codebooks of `log p_m(c*_m | prefix)`, where `c*` is the
//!   identifier that maximises it: how likely the best completion is, seen from here;
//! - (c) a finished set is dropped if, when half of it is given to the model in reversed order, the
//!   best completion among the request's identifiers differs from it in more than `eta` codes.
//!
//! Of each request at least one path stays: the best.

use super::paths::{Paths, root};
use super::scorer::Layout;
use super::{PostingLists, SetRow, SetScorer};
use crate::Rows;
use crate::ranking::check_logits;
use crate::softmax::log_sum_exp;
use sidereal_core::{Error, Result};

/// Log-probabilities of a row of logits under the softmax of each codebook.
pub(crate) struct LogProbs<'a> {
    pub row: &'a [f32],
    pub layout: &'a Layout,
    /// Log-normaliser of each codebook; those of used ones are not read.
    pub lse: &'a [f64],
}

impl LogProbs<'_> {
    /// Log-probability of an identifier's codes in the codebooks of `open`.
    fn of(&self, index: &PostingLists, row: u32, open: &[usize]) -> f64 {
        let of_book = |&m: &usize| match self.layout.place(m, index.code(row, m)) {
            Some(place) => f64::from(self.layout.part(self.row, m)[place]) - self.lse[m],
            None => f64::NEG_INFINITY,
        };
        open.iter().map(of_book).sum()
    }

    /// The best completion among `rows`, ties to the first, and its mean log-probability.
    pub fn best(&self, index: &PostingLists, rows: &[u32], open: &[usize]) -> Option<Completion> {
        let better = |a: Completion, b: Completion| if b.mean > a.mean { b } else { a };
        rows.iter()
            .map(|&row| Completion {
                row,
                mean: self.of(index, row, open) / open.len().max(1) as f64,
            })
            .reduce(better)
    }
}

/// An identifier that completes a partial set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Completion {
    pub row: u32,
    /// Mean log-probability over the codebooks that were open.
    pub mean: f64,
}

/// Log-normalisers of the open codebooks.
pub(super) fn normalise(
    row: &[f32],
    layout: &Layout,
    open: &[usize],
    request: u32,
    step: usize,
    lse: &mut Vec<f64>,
) -> Result<()> {
    lse.clear();
    lse.resize(layout.codebooks(), 0.0);
    for &m in open {
        lse[m] = log_sum_exp(layout.part(row, m)).ok_or_else(|| Error::NotFinite {
            what: format!("a logit of request {request}, codebook {m}, at step {step}"),
            step: None,
            help: "the model gave NaN or +inf (-inf is allowed and means probability 0)".into(),
        })?;
    }
    Ok(())
}

/// Marks finished sets that half of them, given in reversed order, does not lead back to.
pub(super) fn reordered(
    paths: &Paths,
    scorer: &mut dyn SetScorer,
    index: &PostingLists,
    layout: &Layout,
    allowed: &[Rows],
    eta: u32,
) -> Result<Vec<bool>> {
    let (books, requests) = (layout.codebooks(), scorer.requests());
    let half = books / 2;
    let mut dropped = vec![false; paths.heads.len()];
    let (mut logits, mut lse, mut open) = (Vec::new(), Vec::new(), Vec::new());
    let member = |path: usize, step: usize| {
        let codebook = paths.order[(path + 1) * books - 1 - step];
        (codebook, paths.codes[path * books + codebook as usize])
    };
    for step in 0..=half {
        let rows: Vec<SetRow> = match step {
            0 => (0..requests as u32).map(root).collect(),
            _ => (0..paths.heads.len())
                .map(|path| {
                    let (codebook, code) = member(path, step - 1);
                    let request = paths.heads[path].request;
                    let parent = if step == 1 { request } else { path as u32 };
                    SetRow { request, parent, codebook, code }
                })
                .collect(),
        };
        if rows.is_empty() {
            return Ok(dropped);
        }
        scorer.advance(step, &rows, &mut logits)?;
        check_logits(logits.len(), rows.len(), layout.width(), step)?;
    }
    let mut candidates = Vec::new();
    for path in 0..paths.heads.len() {
        let given = (0..half).map(|s| member(path, s));
        open.clear();
        open.extend((0..books).filter(|&m| given.clone().all(|(g, _)| g as usize != m)));
        let row = &logits[path * layout.width()..(path + 1) * layout.width()];
        normalise(row, layout, &open, paths.heads[path].request, half, &mut lse)?;
        let mut lists = given.map(|(m, code)| index.rows_of(m as usize, code));
        candidates.clear();
        candidates.extend_from_slice(lists.next().unwrap_or_default());
        for list in lists {
            candidates.retain(|r| list.binary_search(r).is_ok());
        }
        let own = if allowed.len() == 1 { 0 } else { paths.heads[path].request as usize };
        candidates.retain(|&r| allowed[own].contains(r as usize));
        let log_probs = LogProbs { row, layout, lse: &lse };
        if let Some(best) = log_probs.best(index, &candidates, &open) {
            let own = paths.codes(path, books);
            let differ = |&&m: &&usize| index.code(best.row, m) != own[m];
            dropped[path] = open.iter().filter(differ).count() > eta as usize;
        }
    }
    Ok(dropped)
}
