//! Beam search over codes, constrained by a trie or free.
//!
//! Level by level, every live prefix `p` with sum `s(p)` is extended by its allowed codes c to
//! `s(p) + x_c - lse(x)`, where x are the logits of the level and lse runs over the full vocabulary
//! (`score = "full"`) or over the allowed codes (`score = "masked"`, as GRID, arXiv 2507.22224, does
//! with products instead of sums). The `width` best extensions of a request go on. Both sums are
//! kept whichever one ranks.
//!
//! Rules where there is a choice:
//! * Equal scores: the smaller codes first, at every level and in the result.
//! * An extension that is a whole identifier finishes: a copy with its current score goes to the
//!   result. If the constraint lets it go on as well (an identifier that is a prefix of another),
//!   the prefix also stays in the beam. Finished identifiers take a place among the `width` best
//!   of the level that they finish at and none later; the `width` best finished ones are returned.
//! * Codes of probability 0 (logit -inf) are never generated, so a request may get fewer
//!   hypotheses than `width`, or none. NaN and +inf are errors.
//! * With `length_normalization = a > 0`, a finished sum of L codes is divided by `L^a` before
//!   ranking; prefixes of one level have one length, so the search itself does not change.
//!
//! Cost a level: rows x V exponentials and rows x branches comparisons beside the scorer's own;
//! buffers are reused, so that a step allocates nothing once they have grown.

use crate::ranking::{Finished, PerRequest, Ranking, check_logits, too_deep};
use crate::softmax::normalize;
use crate::top::{Candidate, Top};
use crate::{
    Branch, CodeScorer, Constraint, Decoder, Hypothesis, Row, ScoreRule, State, Unconstrained,
};
use sidereal_core::{Catalog, Code, Entry, Error, Result, Run};

sidereal_core::options! {
    /// Options of beam search.
    pub struct BeamOptions {
        /// Prefixes kept a level and hypotheses returned, 1 to 1048576. GRID uses 10, TIGER and
        /// MiniOneRec up to 50.
        pub width: u32 = 50,
        /// What ranks: `full` sums log-probabilities over the whole vocabulary of each level,
        /// `masked` over the allowed codes only (GRID's prefix check).
        pub score: ScoreRule = ScoreRule::Full,
        /// Exponent of the length by which finished sums are divided, 0 (off) to 10. Matters only
        /// where identifiers differ in length.
        pub length_normalization: f64 = 0.0,
    }
}

/// Beam search inside the constraint it is given: all hypotheses are whole identifiers.
#[derive(Debug, Clone)]
pub struct Beam {
    ranking: Ranking,
}

impl Beam {
    /// Errors: an option outside its range.
    pub fn new(options: BeamOptions) -> Result<Self> {
        let BeamOptions { width, score, length_normalization } = options;
        Ok(Beam { ranking: Ranking::new(width, score, length_normalization)? })
    }
}

impl Decoder for Beam {
    fn decode(
        &self,
        scorer: &mut dyn CodeScorer,
        constraints: &[&dyn Constraint],
        run: &Run<'_>,
    ) -> Result<Vec<Vec<Hypothesis>>> {
        let requests = scorer.requests();
        let constraints = PerRequest::new(constraints, requests)?;
        let finished = search(scorer, constraints, &self.ranking, run)?;
        Ok(finished.into_lists(&self.ranking, requests, None))
    }

    fn width(&self) -> usize {
        self.ranking.width
    }
}

/// Beam search over all codes of all levels; the constraint only says afterwards which hypotheses
/// are valid. Invalid ones stay in the result, with `valid = false`, and use up its places.
///
/// Without a constraint nothing ends early: identifiers shorter than the scorer's levels are never
/// found.
#[derive(Debug, Clone)]
pub struct FreeBeam {
    ranking: Ranking,
}

impl FreeBeam {
    /// Errors: an option outside its range.
    pub fn new(options: BeamOptions) -> Result<Self> {
        Ok(FreeBeam { ranking: Beam::new(options)?.ranking })
    }
}

impl Decoder for FreeBeam {
    fn decode(
        &self,
        scorer: &mut dyn CodeScorer,
        constraints: &[&dyn Constraint],
        run: &Run<'_>,
    ) -> Result<Vec<Vec<Hypothesis>>> {
        let requests = scorer.requests();
        let validity = PerRequest::new(constraints, requests)?;
        let widths = (0..scorer.levels()).map(|l| scorer.width(l) as u32).collect();
        let free = Unconstrained::new(widths);
        let finished = search(scorer, PerRequest::new(&[&free], requests)?, &self.ranking, run)?;
        Ok(finished.into_lists(&self.ranking, requests, Some(validity)))
    }

    fn width(&self) -> usize {
        self.ranking.width
    }
}

/// Registers `beam` and `free-beam`.
pub fn register(catalog: &mut Catalog<dyn Decoder>) -> Result<()> {
    let origin = env!("CARGO_PKG_NAME");
    catalog.add(Entry::new(
        "beam",
        origin,
        "Beam search inside the constraint: every hypothesis is a real identifier.",
        |o: BeamOptions, _: &()| Ok(Box::new(Beam::new(o)?) as Box<dyn Decoder>),
    ))?;
    catalog.add(Entry::new(
        "free-beam",
        origin,
        "Beam search over all codes; identifiers that do not exist are counted as invalid.",
        |o: BeamOptions, _: &()| Ok(Box::new(FreeBeam::new(o)?) as Box<dyn Decoder>),
    ))
}

/// A prefix in the beam; its codes lie in a column beside it.
#[derive(Debug, Clone, Copy)]
struct Live {
    request: u32,
    state: State,
    full: f64,
    masked: f64,
}

/// Prefixes of one level, in order of (request, codes).
#[derive(Default)]
struct Level {
    live: Vec<Live>,
    /// Codes of all prefixes, row-major.
    prefixes: Vec<Code>,
}

/// Runs the search and returns all finished hypotheses: at most `width` a request and level.
fn search(
    scorer: &mut dyn CodeScorer,
    constraints: PerRequest<'_>,
    ranking: &Ranking,
    run: &Run<'_>,
) -> Result<Finished> {
    let (requests, levels) = (scorer.requests(), scorer.levels());
    let most_rows = requests.checked_mul(ranking.width).filter(|&n| n <= u32::MAX as usize);
    if most_rows.is_none() {
        return Err(Error::config(
            "decoder.width",
            format!(
                "got {} for a batch of {requests} requests; their product must stay below 2^32",
                ranking.width
            ),
        ));
    }
    let mut finished = Finished::default();
    let (mut now, mut next) = (Level::default(), Level::default());
    let mut rows: Vec<Row> = Vec::with_capacity(requests);
    for request in 0..requests as u32 {
        let state = constraints.get(request).root();
        now.live.push(Live { request, state, full: 0.0, masked: 0.0 });
        rows.push(Row { request, parent: 0, code: 0 });
    }
    let (mut logits, mut allowed) = (Vec::new(), Vec::new());
    let mut branches: Vec<Branch> = Vec::new();
    let mut top = Top::new(ranking.width);

    for level in 0..levels {
        if rows.is_empty() {
            break;
        }
        run.check()?;
        let width = scorer.width(level);
        scorer.advance(level, &rows, &mut logits)?;
        check_logits(logits.len(), rows.len(), width, level)?;
        rows.clear();
        next.live.clear();
        next.prefixes.clear();
        let mut row = 0;
        for group in now.live.chunk_by(|a, b| a.request == b.request) {
            let request = group[0].request;
            let constraint = constraints.get(request);
            top.clear();
            for parent in group {
                let prefix = &now.prefixes[row * level..(row + 1) * level];
                let x = &logits[row * width..(row + 1) * width];
                branches.clear();
                constraint.expand(prefix, parent.state, &mut branches);
                if let Some(lse) = normalize(x, &branches, &mut allowed, request, level)? {
                    for (branch, &x) in branches.iter().zip(&allowed) {
                        let x = f64::from(x);
                        let full = parent.full + (x - lse.full);
                        let masked = parent.masked + (x - lse.masked);
                        let score = ranking.sum(full, masked);
                        // Minus infinity never gets in: the threshold starts there.
                        if top.admits(score) {
                            let Branch { code, state } = *branch;
                            top.push(Candidate {
                                score,
                                row: row as u32,
                                code,
                                state,
                                full,
                                masked,
                            });
                        }
                    }
                }
                row += 1;
            }
            for c in top.in_code_order() {
                let parent = c.row as usize * level;
                let start = next.prefixes.len();
                next.prefixes.extend_from_slice(&now.prefixes[parent..parent + level]);
                next.prefixes.push(c.code);
                let prefix = &next.prefixes[start..];
                if constraint.accepts(prefix, c.state) {
                    finished.push(ranking, request, prefix, c.full, c.masked);
                }
                if !constraint.continues(prefix, c.state) {
                    next.prefixes.truncate(start);
                    continue;
                }
                if level + 1 == levels {
                    return Err(too_deep(levels));
                }
                let Candidate { state, full, masked, .. } = *c;
                next.live.push(Live { request, state, full, masked });
                rows.push(Row { request, parent: c.row, code: c.code });
            }
        }
        std::mem::swap(&mut now, &mut next);
    }
    Ok(finished)
}
