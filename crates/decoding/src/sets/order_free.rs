//! Order-free decoding of sets (REG4Rec, arXiv 2508.15308): a beam over members of any codebook.
//!
//! A path is a set of (codebook, code) pairs in the order they were chosen. At each step every live
//! path is extended by codes of its unused codebooks, `s + x_c - lse_m(x)` with the softmax of that
//! codebook; M steps make an identifier. Which codebooks come next (CRSS; the names are the
//! paper's, the formulas a *reconstruction*):
//!
//! - `joint`: all unused ones; pairs compete by log-probability;
//! - `confident`: the one with the largest `max_c p_m(c)`;
//! - `entropy`: the one with the smallest `H(p_m) / ln K_m`, which lets codebooks of different size
//!   compare (the sheet's warning about `confident`);
//! - `fixed`: the first, as an ordered decoder would.
//!
//! Merging: two paths with the same set are one where `merge = "set"`, the better stays. That is
//! exact for models that see a set; for models that see an order an item's score is then at most the
//! best over its orders. Paths are extended by codes of identifiers that hold their set, so every
//! result is a real one; [`super::pruning`] drops more. Results are distinct sets, best first, ties
//! by code order; probability 0 (logit -inf) is never followed, NaN and +inf are errors. The
//! masked sum renormalises over the codes that identifiers of the path allow in that codebook.
//!
//! Cost a step: rows x W exponentials, and for each live path a pass over its identifiers for each
//! unused codebook, so the first steps dominate: `R M` at the root. The paper's beam is not
//! known; a third-party file has 4 paths and 8 codebooks of 300 codes.

use super::paths::{Extension, Head, OPEN, Paths, open_books, root};
use super::pruning::{LogProbs, normalise, reordered};
use super::scorer::Layout;
use super::{PostingLists, SetRow, SetScorer};
use crate::provenance::Provenance;
use crate::ranking::{Finished, Found, Ranking, check_logits};
use crate::softmax::log_sum_exp;
use crate::{Hypothesis, Rows, ScoreRule};
use sidereal_core::{Code, Error, Result, Run};

/// Which codebook comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Next {
    /// Any; pairs of codebook and code compete.
    #[default]
    Joint,
    /// The one whose best code is most probable.
    Confident,
    /// The one of least entropy for its size.
    Entropy,
    /// The first unused.
    Fixed,
}

/// Whether paths with one set are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Merge {
    /// The better one stays.
    #[default]
    Set,
    /// Every order is a path of its own.
    Never,
}

sidereal_core::options! {
    /// Options of order-free decoding.
    pub struct OrderFreeOptions {
        /// Paths kept a step and sets returned, 1 to 1048576 (a third-party file: 4).
        pub width: u32 = 50,
        /// What ranks: `full` sums log-probabilities over all codes of the codebook, `masked` over
        /// those that the path's identifiers allow.
        pub score: ScoreRule = ScoreRule::Full,
        /// Which codebook comes next: `joint`, `confident`, `entropy` or `fixed`.
        pub next: Next = Next::Joint,
        /// Paths with one set are merged (`set`), or orders stay apart (`never`).
        pub merge: Merge = Merge::Set,
        /// Paths are dropped whose consistency lies this far below the best one's, 0 and up. Unset:
        /// none.
        pub delta: Option<f64> = None,
        /// Finished sets are dropped that a reversed half completes with more differing codes than
        /// this, 0 and up. Unset: none.
        pub eta: Option<u32> = None,
    }
}

/// The decoder.
#[derive(Debug, Clone)]
pub struct OrderFree {
    ranking: Ranking,
    next: Next,
    merge: Merge,
    delta: Option<f64>,
    eta: Option<u32>,
}

/// Buffers of one call.
#[derive(Default)]
struct Buffers {
    logits: Vec<f32>,
    lse: Vec<f64>,
    open: Vec<usize>,
    allowed: Vec<f32>,
    /// Step at which a place of a codebook's logits was last seen, for distinct codes.
    seen: Vec<u32>,
    stamp: u32,
    distinct: Vec<Code>,
    extensions: Vec<Extension>,
    consistency: Vec<f64>,
}

impl OrderFree {
    /// Errors: an option outside its range.
    pub fn new(options: OrderFreeOptions) -> Result<Self> {
        let OrderFreeOptions { width, score, next, merge, delta, eta } = options;
        if let Some(delta) = delta.filter(|d| d.is_nan() || *d < 0.0) {
            return Err(Error::config("decoder.delta", format!("{delta}; allowed: 0 and up")));
        }
        Ok(OrderFree { ranking: Ranking::new(width, score, 0.0)?, next, merge, delta, eta })
    }

    /// Most sets a request can get.
    pub fn width(&self) -> usize {
        self.ranking.width
    }

    /// Sets of each request, best first: distinct, at most [`OrderFree::width`], codes in the order
    /// of the codebooks. `allowed` holds the identifiers that may come back, one a request or a
    /// single one for all, as [`ItemIndex::rows_among`](crate::ItemIndex::rows_among) gives them.
    ///
    /// Errors: model and index with different codebooks, logits that are no numbers.
    pub fn decode(
        &self,
        scorer: &mut dyn SetScorer,
        index: &PostingLists,
        allowed: &[Rows],
        run: &Run<'_>,
    ) -> Result<Vec<Vec<Hypothesis>>> {
        let (requests, layout) = (scorer.requests(), Layout::of(scorer));
        let books = layout.codebooks();
        if index.is_empty() {
            return Ok(vec![Vec::new(); requests]);
        }
        if books != index.codebooks() {
            return Err(Error::mismatch(format!(
                "the model scores {books} codebooks and the table has {}",
                index.codebooks()
            )));
        }
        let mut now = self.roots(index, allowed, requests, books)?;
        let (mut next, mut b) = (Paths::default(), Buffers::default());
        let mut rows: Vec<SetRow> = (0..requests as u32).map(root).collect();
        for step in 0..books {
            if rows.is_empty() {
                break;
            }
            run.check()?;
            scorer.advance(step, &rows, &mut b.logits)?;
            check_logits(b.logits.len(), rows.len(), layout.width(), step)?;
            rows.clear();
            next.clear();
            let mut first = 0;
            while let Some(head) = now.heads.get(first) {
                let own = now.heads[first..].partition_point(|h| h.request == head.request);
                self.expand(&now, first..first + own, index, &layout, step, &mut b)?;
                self.keep(&now, books, &mut b.extensions);
                for e in &b.extensions {
                    now.extend(e, step, books, index, &mut next);
                    let Extension { path: parent, codebook, code, .. } = *e;
                    rows.push(SetRow { request: head.request, parent, codebook, code });
                }
                first += own;
            }
            std::mem::swap(&mut now, &mut next);
        }
        let dropped = match self.eta.filter(|_| books > 1) {
            Some(eta) => reordered(&now, scorer, index, &layout, allowed, eta)?,
            None => vec![false; now.heads.len()],
        };
        Ok(self.finish(&now, &dropped, requests, books))
    }

    fn roots(
        &self,
        index: &PostingLists,
        allowed: &[Rows],
        requests: usize,
        books: usize,
    ) -> Result<Paths> {
        if allowed.len() != 1 && allowed.len() != requests {
            return Err(Error::mismatch(format!(
                "{} sets of rows for {requests} requests; pass one for each or one for all",
                allowed.len()
            )));
        }
        let mut paths = Paths::default();
        let mut shared = None;
        for request in 0..requests as u32 {
            let (start, end) = match (&shared, allowed.len()) {
                (Some(range), 1) => *range,
                _ => {
                    let rows = &allowed[if allowed.len() == 1 { 0 } else { request as usize }];
                    let start = paths.rows.len();
                    paths.rows.extend(index.alive(rows)?);
                    (start, paths.rows.len())
                }
            };
            shared = Some((start, end));
            paths.heads.push(Head { request, full: 0.0, masked: 0.0, start, end });
        }
        paths.codes.resize(requests * books, OPEN);
        paths.order.resize(requests * books, 0);
        Ok(paths)
    }

    /// All extensions of the paths of one request.
    fn expand(
        &self,
        paths: &Paths,
        own: std::ops::Range<usize>,
        index: &PostingLists,
        layout: &Layout,
        step: usize,
        b: &mut Buffers,
    ) -> Result<()> {
        let books = layout.codebooks();
        b.extensions.clear();
        b.consistency.clear();
        let first = own.start;
        for path in own {
            let row = &b.logits[path * layout.width()..(path + 1) * layout.width()];
            open_books(paths.codes(path, books), &mut b.open);
            normalise(row, layout, &b.open, paths.heads[path].request, step, &mut b.lse)?;
            let log_probs = LogProbs { row, layout, lse: &b.lse };
            if self.delta.is_some() {
                let best = log_probs.best(index, paths.rows(path), &b.open);
                b.consistency.push(best.map_or(f64::NEG_INFINITY, |c| c.mean));
            }
            let chosen = self.choose(&log_probs, &b.open);
            for &m in b.open.iter().filter(|&&m| chosen.is_none_or(|c| c == m)) {
                let logits = layout.part(row, m);
                let (seen, stamp) = (&mut b.seen, &mut b.stamp);
                distinct_codes(index, paths.rows(path), m, layout, seen, stamp, &mut b.distinct)?;
                b.allowed.clear();
                b.allowed.extend(
                    b.distinct.iter().filter_map(|&c| layout.place(m, c)).map(|p| logits[p]),
                );
                let masked = log_sum_exp(&b.allowed).unwrap_or(f64::NEG_INFINITY);
                let head = &paths.heads[path];
                for (&code, &x) in b.distinct.iter().zip(&b.allowed) {
                    if x == f32::NEG_INFINITY {
                        continue;
                    }
                    b.extensions.push(Extension {
                        path: path as u32,
                        codebook: m as u32,
                        code,
                        full: head.full + (f64::from(x) - b.lse[m]),
                        masked: head.masked + (f64::from(x) - masked),
                    });
                }
            }
        }
        if let Some(delta) = self.delta {
            let best = b.consistency.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let consistency = &b.consistency;
            b.extensions.retain(|e| consistency[e.path as usize - first] >= best - delta);
        }
        Ok(())
    }

    /// The codebook to use next; none for all of them.
    fn choose(&self, log_probs: &LogProbs<'_>, open: &[usize]) -> Option<usize> {
        let confidence = |m: usize| -> f64 {
            let row = log_probs.layout.part(log_probs.row, m);
            let logs = row.iter().map(|&x| f64::from(x) - log_probs.lse[m]);
            match self.next {
                Next::Entropy => {
                    let minus = |l: f64| if l > f64::NEG_INFINITY { l * l.exp() } else { 0.0 };
                    logs.map(minus).sum::<f64>() / (row.len().max(2) as f64).ln()
                }
                _ => logs.fold(f64::NEG_INFINITY, f64::max),
            }
        };
        match self.next {
            Next::Joint => None,
            Next::Fixed => open.first().copied(),
            Next::Confident | Next::Entropy => {
                let better = |a: (usize, f64), b: (usize, f64)| if b.1 > a.1 { b } else { a };
                open.iter().map(|&m| (m, confidence(m))).reduce(better).map(|(m, _)| m)
            }
        }
    }

    /// Cuts the extensions back to the best, in the order of their paths.
    fn keep(&self, paths: &Paths, books: usize, extensions: &mut Vec<Extension>) {
        let width = self.ranking.width;
        let sum = |e: &Extension| self.ranking.sum(e.full, e.masked);
        let sets = |a: &Extension, b: &Extension| {
            (0..books)
                .map(|m| paths.code_after(a, m, books).cmp(&paths.code_after(b, m, books)))
                .find(|o| o.is_ne())
                .unwrap_or(std::cmp::Ordering::Equal)
        };
        let best_first = |a: &Extension, b: &Extension| {
            sum(b).total_cmp(&sum(a)).then_with(|| sets(a, b)).then(a.path.cmp(&b.path))
        };
        if self.merge == Merge::Set {
            extensions.sort_unstable_by(|a, b| sets(a, b).then_with(|| best_first(a, b)));
            extensions.dedup_by(|later, kept| sets(later, kept).is_eq());
        }
        if extensions.len() > width {
            extensions.select_nth_unstable_by(width - 1, best_first);
            extensions.truncate(width);
        }
        extensions.sort_unstable_by_key(|e| (e.path, e.codebook, e.code));
    }

    /// The best of each request, each set once.
    fn finish(
        &self,
        paths: &Paths,
        dropped: &[bool],
        requests: usize,
        books: usize,
    ) -> Vec<Vec<Hypothesis>> {
        let score = |p: usize| {
            let head = &paths.heads[p];
            self.ranking.sum(head.full, head.masked)
        };
        let request = |p: usize| paths.heads[p].request;
        let mut order: Vec<usize> = (0..paths.heads.len()).collect();
        order.sort_unstable_by(|&a, &b| {
            request(a)
                .cmp(&request(b))
                .then_with(|| score(b).total_cmp(&score(a)))
                .then_with(|| paths.codes(a, books).cmp(paths.codes(b, books)))
        });
        let mut finished = Finished::default();
        let mut sets = std::collections::BTreeSet::new();
        let mut rest = order.as_slice();
        while let Some(&first) = rest.first() {
            let own = rest.partition_point(|&p| request(p) == request(first));
            let (own, later) = rest.split_at(own);
            rest = later;
            sets.clear();
            let all_dropped = own.iter().all(|&p| dropped[p]);
            for &p in own {
                // The best path stays, whatever pruning says of it.
                let stays = !dropped[p] || (all_dropped && p == first);
                if stays && sets.insert(paths.codes(p, books)) {
                    let Head { request, full, masked, .. } = paths.heads[p];
                    let found =
                        Found { score: score(p), full, masked, provenance: Provenance::Set };
                    finished.push_found(request, paths.codes(p, books), found);
                }
            }
        }
        finished.into_lists(&self.ranking, requests, None)
    }
}

/// Distinct codes of the identifiers in a codebook, ascending.
///
/// Errors: a code that the model does not score.
fn distinct_codes(
    index: &PostingLists,
    rows: &[u32],
    codebook: usize,
    layout: &Layout,
    seen: &mut Vec<u32>,
    stamp: &mut u32,
    out: &mut Vec<Code>,
) -> Result<()> {
    out.clear();
    *stamp += 1;
    seen.resize(layout.width().max(seen.len()), 0);
    for &row in rows {
        let code = index.code(row, codebook);
        let place = layout.place(codebook, code).ok_or_else(|| {
            Error::mismatch(format!(
                "the table has code {code} in codebook {codebook}, which the model does not score: \
                 build both from the same SID table"
            ))
        })?;
        if seen[place] != *stamp {
            seen[place] = *stamp;
            out.push(code);
        }
    }
    out.sort_unstable();
    Ok(())
}
