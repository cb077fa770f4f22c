//! Why an identifier has its score: its way through the levels, with what the model and the
//! constraint said at each.
//!
//! The codes are forced through the scorer, as rows of one batch; prefixes that identifiers share
//! are scored once. Any scorer can be asked, also after a decoder used it: level 0 starts again.

use crate::frontier::{Choices, Frontier, Grown};
use crate::ranking::PerRequest;
use crate::{CodeScorer, Constraint};
use sidereal_core::{Code, Error, Result, Run};

/// One code of an identifier.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Step {
    /// The code.
    pub code: Code,
    /// Log-probability over the full vocabulary of the level; minus infinity where the model or the
    /// constraint rules the code out.
    pub log_prob_full: f64,
    /// Log-probability over the allowed codes; minus infinity as above.
    pub log_prob_masked: f64,
    /// Place among the allowed codes, from 1, ties by the smaller code; none where the constraint
    /// does not allow the code.
    pub rank: Option<u32>,
    /// Number of allowed codes.
    pub allowed: u32,
    /// Sum of the full log-probabilities up to here.
    pub sum_full: f64,
    /// Sum of the masked log-probabilities up to here.
    pub sum_masked: f64,
}

/// The way of an identifier.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Path {
    /// One step a code. Ends early behind a code that the constraint does not allow.
    pub steps: Vec<Step>,
    /// Whether the constraint accepts the identifier.
    pub valid: bool,
}

/// Where an identifier stands: a node of the level, and which identifier of the request.
#[derive(Debug, Clone, Copy)]
struct Walker {
    node: usize,
    sid: usize,
}

/// The ways of `sids`, for each request those that are asked of it, in their order.
///
/// `constraints` holds one constraint a request, or a single one for all. Sums agree with those of
/// [`Hypothesis`](crate::Hypothesis).
///
/// Errors: lists for another number of requests, an empty identifier, one longer than what the
/// scorer scores, NaN or +inf among the logits.
pub fn explain<S: AsRef<[Code]>>(
    scorer: &mut dyn CodeScorer,
    constraints: &[&dyn Constraint],
    sids: &[Vec<S>],
    run: &Run<'_>,
) -> Result<Vec<Vec<Path>>> {
    let (requests, levels) = (scorer.requests(), scorer.levels());
    if sids.len() != requests {
        return Err(Error::mismatch(format!(
            "identifiers of {} requests to explain for {requests} requests",
            sids.len()
        )));
    }
    for sid in sids.iter().flatten() {
        let len = sid.as_ref().len();
        if len == 0 || len > levels {
            return Err(Error::mismatch(format!(
                "cannot explain an identifier of {len} codes: the model scores 1 to {levels}"
            )));
        }
    }
    let most = sids.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let mut frontier = Frontier::new(scorer, PerRequest::new(constraints, requests)?, most)?;
    let empty = || Path { steps: Vec::new(), valid: false };
    let mut paths: Vec<Vec<Path>> =
        sids.iter().map(|of| of.iter().map(|_| empty()).collect()).collect();
    let all =
        |request: usize| (0..sids[request].len()).map(move |sid| Walker { node: request, sid });
    let mut walkers: Vec<Walker> = (0..requests).flat_map(all).collect();
    let mut next: Vec<Walker> = Vec::new();
    let mut choices = Choices::default();
    while !walkers.is_empty() && frontier.advance(scorer, run)? {
        let level = frontier.level();
        next.clear();
        for here in walkers.chunk_by_mut(|a, b| a.node == b.node) {
            let node = here[0].node;
            let parent = frontier.nodes()[node];
            let request = parent.request as usize;
            let code = |w: &Walker| sids[request][w.sid].as_ref()[level];
            frontier.choices(node, &mut choices)?;
            here.sort_by_key(code);
            for same in here.chunk_by(|a, b| code(a) == code(b)) {
                let code = code(&same[0]);
                let branch = choices.branches.binary_search_by_key(&code, |b| b.code).ok();
                let step = step(&choices, branch, code);
                let mut grown = None;
                for w in same {
                    let path = &mut paths[request][w.sid];
                    let before =
                        path.steps.last().map_or([0.0, 0.0], |s| [s.sum_full, s.sum_masked]);
                    path.steps.push(Step {
                        sum_full: before[0] + step.log_prob_full,
                        sum_masked: before[1] + step.log_prob_masked,
                        ..step
                    });
                    let Some(i) = branch else { continue };
                    let last = level + 1 == sids[request][w.sid].as_ref().len();
                    if last {
                        let state = choices.branches[i].state;
                        let sid = sids[request][w.sid].as_ref();
                        path.valid = frontier.constraint(parent.request).accepts(sid, state);
                        continue;
                    }
                    let child = match grown {
                        Some(child) => child,
                        None => {
                            let child = frontier.grow(node, &choices.child(&parent, i))?;
                            *grown.insert(child)
                        }
                    };
                    if let Grown::Node(node) = child {
                        next.push(Walker { node: node as usize, ..*w });
                    } else {
                        // The constraint ends here; what follows is not allowed.
                        let code = sids[request][w.sid].as_ref()[level + 1];
                        let end = Choices::default();
                        let path = &mut paths[request][w.sid];
                        path.steps.push(self::step(&end, None, code));
                    }
                }
            }
        }
        std::mem::swap(&mut walkers, &mut next);
    }
    Ok(paths)
}

/// What is known of a code at a node; sums are left to the caller.
fn step(choices: &Choices, branch: Option<usize>, code: Code) -> Step {
    let out = f64::NEG_INFINITY;
    let rank = branch.map(|i| {
        let x = &choices.allowed;
        let before = |(j, &y): (usize, &f32)| y > x[i] || (y == x[i] && j < i);
        x.iter().enumerate().filter(|&e| before(e)).count() as u32 + 1
    });
    Step {
        code,
        log_prob_full: branch.map_or(out, |i| choices.full(i)),
        log_prob_masked: branch.map_or(out, |i| choices.masked(i)),
        rank,
        allowed: choices.branches.len() as u32,
        sum_full: out,
        sum_masked: out,
    }
}
