//! Beam search over codes, constrained by a trie or free.
//!
//! Level by level, every live prefix `p` with sum `s(p)` is extended by its allowed codes c to
//! `s(p) + x_c - lse(x)`, where x are the logits of the level and lse runs over the full vocabulary
//! (`score = "full"`) or over the allowed codes (`score = "masked"`, as GRID, arXiv 2507.22224, does
//! with products instead of sums). The `width` best extensions of a request go on. Both sums are
//! kept whichever one ranks, unless `sums = "ranked"`.
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
//! With `score = "masked"` and `sums = "ranked"` nobody needs the full vocabulary: the scorer is
//! asked for allowed codes only. And a prefix with one identifier left is settled: all that follows
//! has probability 1 among what is allowed, so it keeps its sum and its place in the beam, and the
//! model is not asked again. (The one deviation: a logit of -inf in such a tail goes unseen.)
//!
//! Cost a level: rows x V exponentials in the scorer, and branches x (1 exponential, 1 comparison)
//! here; buffers are reused, so that a step allocates nothing once they have grown.

use crate::ranking::{Finished, PerRequest, Ranking, too_deep};
use crate::softmax::{log_sum_exp, not_finite, offered};
use crate::top::{Candidate, Top};
use crate::{
    Branch, CodeScorer, CodeScores, Constraint, Decoder, Hypothesis, Normalize, Row, ScoreRule,
    State, Unconstrained, Wanted,
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
        /// Which sums hypotheses carry: `both`, or `ranked` (the one that ranks; the other is NaN),
        /// which makes `masked` scores cheap: the full vocabulary is never scored, and steps that
        /// allow one code cost nothing.
        pub sums: Sums = Sums::Both,
    }
}

/// Which sums of log-probabilities hypotheses carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sums {
    /// Over the full vocabulary and over the allowed codes.
    #[default]
    Both,
    /// Only the one that ranks; the other is NaN.
    Ranked,
}

/// Beam search inside the constraint it is given: all hypotheses are whole identifiers.
#[derive(Debug, Clone)]
pub struct Beam {
    ranking: Ranking,
    sums: Sums,
}

impl Beam {
    /// Errors: an option outside its range.
    pub fn new(options: BeamOptions) -> Result<Self> {
        let BeamOptions { width, score, length_normalization, sums } = options;
        Ok(Beam { ranking: Ranking::new(width, score, length_normalization)?, sums })
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
        let finished = search(scorer, constraints, &self.ranking, self.sums, run)?;
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
    sums: Sums,
}

impl FreeBeam {
    /// Errors: an option outside its range.
    pub fn new(options: BeamOptions) -> Result<Self> {
        let Beam { ranking, sums } = Beam::new(options)?;
        Ok(FreeBeam { ranking, sums })
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
        let free = [&free as &dyn Constraint];
        let free = PerRequest::new(&free, requests)?;
        let finished = search(scorer, free, &self.ranking, self.sums, run)?;
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
    /// Row of the scorer, unless the prefix is settled.
    row: Option<u32>,
}

/// Prefixes of one level, in order of (request, codes).
#[derive(Default)]
struct Level {
    live: Vec<Live>,
    /// Codes of all prefixes, row-major.
    prefixes: Vec<Code>,
}

/// What may follow the prefixes of a level.
#[derive(Default)]
struct Choices {
    branches: Vec<Branch>,
    /// End of each prefix's branches.
    ends: Vec<usize>,
    /// Codes of the branches of prefixes that are not settled.
    wanted: Wanted,
}

impl Choices {
    fn expand(
        &mut self,
        level: usize,
        width: usize,
        now: &Level,
        constraints: PerRequest<'_>,
    ) -> Result<()> {
        self.branches.clear();
        self.ends.clear();
        self.wanted.clear();
        for (i, live) in now.live.iter().enumerate() {
            let (start, prefix) = (self.branches.len(), &now.prefixes[i * level..(i + 1) * level]);
            constraints.get(live.request).expand(prefix, live.state, &mut self.branches);
            let own = &self.branches[start..];
            // They ascend.
            if let Some(last) = own.last() {
                offered(last.code, width, level)?;
            }
            if live.row.is_some() {
                self.wanted.push_row(own.iter().map(|b| b.code));
            }
            self.ends.push(self.branches.len());
        }
        Ok(())
    }

    fn of(&self, live: usize) -> &[Branch] {
        &self.branches[live.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[live]]
    }
}

/// Runs the search and returns all finished hypotheses: at most `width` a request and level.
fn search(
    scorer: &mut dyn CodeScorer,
    constraints: PerRequest<'_>,
    ranking: &Ranking,
    sums: Sums,
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
    let wants = |rule| sums == Sums::Both || ranking.rule == rule;
    let normalize = if wants(ScoreRule::Full) { Normalize::Full } else { Normalize::Chosen };
    let mut finished = Finished::default();
    let (mut now, mut next) = (Level::default(), Level::default());
    let mut rows: Vec<Row> = Vec::with_capacity(requests);
    for request in 0..requests as u32 {
        let state = constraints.get(request).root();
        now.live.push(Live { request, state, full: 0.0, masked: 0.0, row: Some(request) });
        rows.push(Row { request, parent: 0, code: 0 });
    }
    let (mut choices, mut scores) = (Choices::default(), CodeScores::default());
    let (mut top, mut tail) = (Top::new(ranking.width), Tail::default());

    for level in 0..levels {
        if now.live.is_empty() {
            break;
        }
        run.check()?;
        choices.expand(level, scorer.width(level), &now, constraints)?;
        if !rows.is_empty() {
            scorer.advance_to(level, &rows, &choices.wanted, normalize, &mut scores)?;
            check_scores(&scores, &choices.wanted, rows.len(), normalize, level)?;
        }
        rows.clear();
        next.live.clear();
        next.prefixes.clear();
        let mut index = 0;
        for group in now.live.chunk_by(|a, b| a.request == b.request) {
            let request = group[0].request;
            let constraint = constraints.get(request);
            top.clear();
            for parent in group {
                let (live, branches) = (index as u32, choices.of(index));
                index += 1;
                let Some(row) = parent.row.map(|r| r as usize) else {
                    for &Branch { code, state } in branches {
                        let Live { full, masked, .. } = *parent;
                        if top.admits(masked) {
                            let score = masked;
                            top.push(Candidate { score, row: live, code, state, full, masked });
                        }
                    }
                    continue;
                };
                let start = choices.wanted.start(row);
                let allowed = &scores.logits[start..start + branches.len()];
                let full = match normalize {
                    Normalize::Full => scores.normalizers[row],
                    Normalize::Chosen => f64::NAN,
                };
                if normalize == Normalize::Full && full.is_nan() {
                    return Err(not_finite(request, level));
                }
                // Branches are distinct, so as many as there are codes means all of them.
                let masked = match wants(ScoreRule::Masked) {
                    true if !full.is_nan() && branches.len() == scorer.width(level) => full,
                    true => log_sum_exp(allowed).ok_or_else(|| not_finite(request, level))?,
                    false => f64::NAN,
                };
                for (branch, &x) in branches.iter().zip(allowed) {
                    let x = f64::from(x);
                    let full = parent.full + (x - full);
                    let masked = parent.masked + (x - masked);
                    let score = ranking.sum(full, masked);
                    // Minus infinity never gets in, because the threshold starts there; nor does
                    // NaN, which it becomes where all codes have probability 0.
                    if top.admits(score) {
                        let Branch { code, state } = *branch;
                        top.push(Candidate { score, row: live, code, state, full, masked });
                    }
                }
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
                // What follows a settled prefix is settled.
                let parent = now.live[c.row as usize].row;
                let goes_on =
                    normalize == Normalize::Full || !tail.is_forced(constraint, prefix, state);
                let row = parent.filter(|_| goes_on).map(|parent| {
                    rows.push(Row { request, parent, code: c.code });
                    rows.len() as u32 - 1
                });
                next.live.push(Live { request, state, full, masked, row });
            }
        }
        std::mem::swap(&mut now, &mut next);
    }
    Ok(finished)
}

/// Walks to the end of a prefix with one way to go.
#[derive(Default)]
struct Tail {
    prefix: Vec<Code>,
    branches: Vec<Branch>,
}

impl Tail {
    /// Whether never more than one code may follow.
    fn is_forced(&mut self, constraint: &dyn Constraint, prefix: &[Code], state: State) -> bool {
        let mut state = state;
        self.prefix.clear();
        self.prefix.extend_from_slice(prefix);
        loop {
            self.branches.clear();
            constraint.expand(&self.prefix, state, &mut self.branches);
            match self.branches[..] {
                [] => return true,
                [only] => {
                    self.prefix.push(only.code);
                    state = only.state;
                }
                _ => return false,
            }
        }
    }
}

/// Refuses answers of the wrong size.
fn check_scores(
    scores: &CodeScores,
    wanted: &Wanted,
    rows: usize,
    normalize: Normalize,
    level: usize,
) -> Result<()> {
    let normalizers = if normalize == Normalize::Full { rows } else { 0 };
    if (scores.logits.len(), scores.normalizers.len()) == (wanted.len(), normalizers) {
        return Ok(());
    }
    Err(Error::mismatch(format!(
        "the scorer gave {} logits and {} normalisers at level {level}; {} and {normalizers} were \
         wanted",
        scores.logits.len(),
        scores.normalizers.len(),
        wanted.len()
    )))
}
