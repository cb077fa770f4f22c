//! Scores every identifier that the constraint accepts: the oracle for other decoders, and a
//! decoder for small catalogues.
//!
//! Walks all prefixes level by level without pruning, so it costs one scorer row for each distinct
//! prefix. Scores and ties are those of [`Beam`](crate::Beam); codes of probability 0 (logit -inf)
//! are not followed.
//!
//! Where the scores of a level depend on no code before it ([`CodeScorer::independent`]) and the
//! constraint is a trie or some rows of it, identifiers are summed row by row instead: one addition a
//! code, the same scores to the last bit, nothing held beside the best, and no masked sums, which
//! depend on the prefix.

use crate::TrieRows;
use crate::levels::LogProbs;
use crate::ranking::{Finished, Found, PerRequest, Ranking, check_logits, too_deep};
use crate::softmax::normalize;
use crate::top::{Candidate, Top};
use crate::{CodeScorer, Constraint, Decoder, Hypothesis, Provenance, Row, ScoreRule, State};
use sidereal_core::{Catalog, Code, Entry, Error, Result, Run};

sidereal_core::options! {
    /// Options of exhaustive decoding.
    pub struct ExhaustiveOptions {
        /// Hypotheses returned, 1 to 1048576.
        pub width: u32 = 50,
        /// What ranks: `full` sums log-probabilities over the whole vocabulary of each level,
        /// `masked` over the allowed codes only.
        pub score: ScoreRule = ScoreRule::Full,
        /// Exponent of the length by which finished sums are divided, 0 (off) to 10.
        pub length_normalization: f64 = 0.0,
        /// Most prefixes and identifiers held at once over all requests of a batch, 1 and up; a
        /// scorer needs about this many rows of logits.
        pub limit: u32 = 200_000,
    }
}

/// Scores everything and returns the best.
#[derive(Debug, Clone)]
pub struct Exhaustive {
    ranking: Ranking,
    limit: usize,
}

impl Exhaustive {
    /// Errors: an option outside its range.
    pub fn new(options: ExhaustiveOptions) -> Result<Self> {
        let ExhaustiveOptions { width, score, length_normalization, limit } = options;
        if limit == 0 {
            return Err(Error::config("decoder.limit", "got 0; allowed: 1 to 4294967295"));
        }
        let ranking = Ranking::new(width, score, length_normalization)?;
        Ok(Exhaustive { ranking, limit: limit as usize })
    }
}

impl Exhaustive {
    /// The answer row by row, where that is possible.
    fn by_rows(
        &self,
        scorer: &dyn CodeScorer,
        constraints: PerRequest<'_>,
        run: &Run<'_>,
    ) -> Result<Option<Vec<Vec<Hypothesis>>>> {
        let Some(levels) = scorer.independent().filter(|_| self.ranking.rule == ScoreRule::Full)
        else {
            return Ok(None);
        };
        let requests = 0..levels.requests() as u32;
        let rows = |request| constraints.get(request).trie_rows();
        if !requests.clone().all(|r| rows(r).is_some_and(|t| t.trie.has_sums(levels.levels()))) {
            return Ok(None);
        }
        let (mut finished, mut table) = (Finished::default(), LogProbs::default());
        let (mut top, mut sid) = (Top::new(self.ranking.width), Vec::new());
        for request in requests {
            run.check()?;
            let Some(TrieRows { trie, alive }) = rows(request) else { continue };
            levels.log_probs(request as usize, &mut table)?;
            top.clear();
            trie.sums(&table, |row, full| {
                if top.admits(full) && alive.is_none_or(|alive| alive.contains(row)) {
                    // All rows have one length, so the sum orders them.
                    let (row, state) = (row as u32, State(0));
                    top.push(Candidate {
                        score: full,
                        row,
                        code: 0,
                        state,
                        full,
                        masked: f64::NAN,
                    });
                }
            })?;
            for best in top.in_code_order() {
                sid.clear();
                sid.extend(trie.sid(best.row as usize));
                let score = self.ranking.finished_score(best.full, f64::NAN, sid.len());
                let provenance = Provenance::Exhaustive;
                let found = Found { score, full: best.full, masked: f64::NAN, provenance };
                finished.push_found(request, &sid, found);
            }
        }
        Ok(Some(finished.into_lists(&self.ranking, levels.requests(), None)))
    }
}

/// Registers `exhaustive`.
pub fn register(catalog: &mut Catalog<dyn Decoder>) -> Result<()> {
    catalog.add(Entry::new(
        "exhaustive",
        env!("CARGO_PKG_NAME"),
        "Scores every identifier of a small catalogue; the exact answer that beams approach.",
        |o: ExhaustiveOptions, _: &()| Ok(Box::new(Exhaustive::new(o)?) as Box<dyn Decoder>),
    ))
}

/// A prefix to extend and its sums; its codes lie in a column beside it.
#[derive(Debug, Clone, Copy)]
struct Node {
    request: u32,
    state: State,
    full: f64,
    masked: f64,
}

impl Decoder for Exhaustive {
    fn decode(
        &self,
        scorer: &mut dyn CodeScorer,
        constraints: &[&dyn Constraint],
        run: &Run<'_>,
    ) -> Result<Vec<Vec<Hypothesis>>> {
        let (requests, levels) = (scorer.requests(), scorer.levels());
        let constraints = PerRequest::new(constraints, requests)?;
        if let Some(all) = self.by_rows(scorer, constraints, run)? {
            return Ok(all);
        }
        let mut finished = Finished::default();
        let mut nodes = Vec::with_capacity(requests);
        let mut rows = Vec::with_capacity(requests);
        for request in 0..requests as u32 {
            let state = constraints.get(request).root();
            nodes.push(Node { request, state, full: 0.0, masked: 0.0 });
            rows.push(Row { request, parent: 0, code: 0 });
        }
        // Codes of the prefixes of `nodes`, row-major.
        let mut prefixes: Vec<Code> = Vec::new();
        let (mut logits, mut allowed, mut branches) = (Vec::new(), Vec::new(), Vec::new());
        for level in 0..levels {
            if rows.is_empty() {
                break;
            }
            run.check()?;
            let width = scorer.width(level);
            scorer.advance(level, &rows, &mut logits)?;
            check_logits(logits.len(), rows.len(), width, level)?;
            rows.clear();
            let (mut next, mut next_prefixes) = (Vec::new(), Vec::new());
            for (row, node) in nodes.iter().enumerate() {
                let constraint = constraints.get(node.request);
                let parent = &prefixes[row * level..(row + 1) * level];
                branches.clear();
                constraint.expand(parent, node.state, &mut branches);
                let x = &logits[row * width..(row + 1) * width];
                let lse = normalize(x, &branches, &mut allowed, node.request, level)?;
                let Some(lse) = lse else { continue };
                for (branch, &x) in branches.iter().zip(&allowed) {
                    if x == f32::NEG_INFINITY {
                        continue;
                    }
                    let full = node.full + (f64::from(x) - lse.full);
                    let masked = node.masked + (f64::from(x) - lse.masked);
                    let (request, state) = (node.request, branch.state);
                    let start = next_prefixes.len();
                    next_prefixes.extend_from_slice(parent);
                    next_prefixes.push(branch.code);
                    let prefix = &next_prefixes[start..];
                    if constraint.accepts(prefix, state) {
                        let score = self.ranking.finished_score(full, masked, prefix.len());
                        let provenance = Provenance::Exhaustive;
                        let found = Found { score, full, masked, provenance };
                        finished.push_found(request, prefix, found);
                    }
                    if constraint.continues(prefix, state) {
                        if level + 1 == levels {
                            return Err(too_deep(levels));
                        }
                        next.push(Node { request, state, full, masked });
                        rows.push(Row { request, parent: row as u32, code: branch.code });
                    } else {
                        next_prefixes.truncate(start);
                    }
                    if next.len() + finished.len() > self.limit {
                        return Err(Error::config(
                            "decoder.limit",
                            format!(
                                "more than {} prefixes at level {level} over {requests} requests; \
                                 use `beam`, decode fewer requests at once or raise the limit",
                                self.limit
                            ),
                        ));
                    }
                }
            }
            nodes = next;
            prefixes = next_prefixes;
        }
        Ok(finished.into_lists(&self.ranking, requests, None))
    }

    fn width(&self) -> usize {
        self.ranking.width
    }
}
