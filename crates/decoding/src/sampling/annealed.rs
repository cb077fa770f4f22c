//! Reverse-annealed sampling (ZeroGR, arXiv 2510.10419): identifiers are drawn one after the other
//! under a tree from which each drawn one is removed, while the temperature rises from 0: the first
//! results are precise, the later ones diverse.
//!
//! Draw i of K has the temperature, with `s(x) = 1 / (1 + exp(-x))`,
//!
//! `t_i = T (s(k (i/K - m)) - s(-k m)) / (s(k (1 - m)) - s(-k m))`,
//!
//! where T is `max_temperature`, k `steepness` and m `midpoint`. It starts at 0 and T is never
//! reached, because i ends at K - 1. At each step the draw goes to an allowed code c with
//! probability `softmax(x / t_i)_c` over the codes that still lead to an identifier, and at t = 0 to
//! the best. Rank r has the score `1 / r`: the order of the draws is the result.
//!
//! This is *not* sampling without replacement from the model's law (see `stochastic-beam`): a draw
//! falls back on the siblings of what was drawn before, whatever probability they have.
//!
//! **One pass instead of K.** The original draws one identifier at a time, K x L steps of the model.
//! A draw takes exactly one identifier away, so a child is exhausted when as many draws went to it
//! as there are identifiers below it; what a draw does at a node depends on the draws before it at
//! that node alone. So all draws go down one level together, in order, and the model is asked L
//! times for the distinct prefixes. The law is the same.
//!
//! Deviations: the tree keeps whole identifiers (the original cuts them after their first code that
//! no other shares, which changes no draw, and loses all but one of the items with equal
//! identifiers, a fault of the released tree). An identifier that is a prefix of another ends by
//! the rule of `law.rs`, for want of a token for the end. A draw that comes to codes of probability
//! 0 only is lost.
//!
//! Cost a level: one row of the scorer a distinct prefix, V exponentials a draw, and counting
//! identifiers below a child up to twice the draws that went there.

use super::law::{Law, Shape};
use super::open01;
use crate::frontier::{Choices, Frontier, Grown};
use crate::ranking::{Finished, Found, PerRequest, Ranking};
use crate::{
    Branch, CodeScorer, Constraint, Decoder, Draw, Hypothesis, Provenance, ScoreRule, State,
};
use sidereal_core::{Catalog, Code, Entry, Error, Result, Run, seed};

sidereal_core::options! {
    /// Options of reverse-annealed sampling.
    pub struct AnnealedOptions {
        /// Draws a request (K), all of them different, 1 to 1048576. ZeroGR draws 100.
        pub width: u32 = 50,
        /// Temperature that the last draws approach (T), 0 to 1000000.
        pub max_temperature: f64 = 1.5,
        /// Steepness of the rise (k), above 0 to 1000.
        pub steepness: f64 = 10.0,
        /// Where the rise is steepest (m), as a share of the draws, 0 to 1.
        pub midpoint: f64 = 0.1,
    }
}

/// Draws identifiers at rising temperatures and removes each.
#[derive(Debug, Clone)]
pub struct Annealed {
    ranking: Ranking,
    options: AnnealedOptions,
}

/// A draw at a node, with the log-probability of its way there.
#[derive(Debug, Clone, Copy)]
struct At {
    node: u32,
    draw: u32,
    log_prob: f64,
}

/// A draw and the choice it made.
#[derive(Debug, Clone, Copy)]
struct Pick {
    choice: usize,
    at: At,
}

/// An identifier that was drawn; `start..end` are its codes.
#[derive(Debug, Clone, Copy)]
struct Leaf {
    request: u32,
    at: At,
    full: f64,
    masked: f64,
    start: usize,
    end: usize,
}

impl Annealed {
    /// Errors: an option outside its range.
    pub fn new(options: AnnealedOptions) -> Result<Self> {
        let ranking = Ranking::new(options.width, ScoreRule::Masked, 0.0)?;
        let AnnealedOptions { max_temperature, steepness, midpoint, .. } = options;
        let refuse = |key: &str, got: f64, allowed: &str| {
            Error::config(format!("decoder.{key}"), format!("got {got}; allowed: {allowed}"))
        };
        if !(0.0..=1e6).contains(&max_temperature) {
            return Err(refuse("max_temperature", max_temperature, "0 to 1000000"));
        }
        if !(steepness > 0.0 && steepness <= 1000.0) {
            return Err(refuse("steepness", steepness, "above 0 to 1000"));
        }
        if !(0.0..=1.0).contains(&midpoint) {
            return Err(refuse("midpoint", midpoint, "0 to 1"));
        }
        Ok(Annealed { ranking, options })
    }

    /// Temperature of draw `i` of K, from 0.
    pub fn temperature(&self, i: usize) -> f64 {
        let AnnealedOptions { max_temperature, steepness: k, midpoint: m, .. } = self.options;
        let s = |x: f64| 1.0 / (1.0 + (-x).exp());
        let (low, high) = (s(-k * m), s(k * (1.0 - m)));
        max_temperature * (s(k * (i as f64 / self.ranking.width as f64 - m)) - low) / (high - low)
    }

    fn draw(
        &self,
        scorer: &mut dyn CodeScorer,
        constraints: PerRequest<'_>,
        run: &Run<'_>,
    ) -> Result<Finished> {
        let draws = self.ranking.width;
        let shapes: Vec<Shape> = (0..draws).map(|i| Shape::at(self.temperature(i))).collect();
        let mut frontier = Frontier::new(scorer, constraints, draws)?;
        let requests = frontier.requests();
        let mut streams: Vec<_> =
            (0..requests as u64).map(|r| seed::stream(run.seed, "annealed", r)).collect();
        let all = |node: u32| (0..draws as u32).map(move |draw| At { node, draw, log_prob: 0.0 });
        let mut at: Vec<At> = (0..requests as u32).flat_map(all).collect();
        let mut next_at: Vec<At> = Vec::new();
        let (mut leaves, mut codes): (Vec<Leaf>, Vec<Code>) = (Vec::new(), Vec::new());
        let (mut choices, mut law) = (Choices::default(), Law::default());
        let (mut stock, mut picks) = (Stock::default(), Vec::<Pick>::new());
        while frontier.advance(scorer, run)? {
            next_at.clear();
            for here in at.chunk_by(|a, b| a.node == b.node) {
                let node = here[0].node as usize;
                let parent = frontier.nodes()[node];
                let constraint = frontier.constraint(parent.request);
                frontier.choices(node, &mut choices)?;
                let rng = &mut streams[parent.request as usize];
                stock.fill(choices.branches.len());
                let mut ends = parent.ends;
                picks.clear();
                for &at in here {
                    let shape = &shapes[at.draw as usize];
                    if !law.set(&choices, shape, ends, |i| stock.open[i]) {
                        break;
                    }
                    let choice = law.pick(open01(rng));
                    match choice.checked_sub(1) {
                        None => ends = false,
                        Some(i) => stock.take(constraint, frontier.prefix(node), &choices, i),
                    }
                    let log_prob = at.log_prob + law.log_probs()[choice];
                    picks.push(Pick { choice, at: At { log_prob, ..at } });
                }
                picks.sort_by_key(|p| (p.choice, p.at.draw));
                for same in picks.chunk_by(|a, b| a.choice == b.choice) {
                    let at = same[0].at;
                    let mut finish = |sid: &[Code], full, masked| {
                        let start = codes.len();
                        codes.extend_from_slice(sid);
                        let (request, end) = (parent.request, codes.len());
                        leaves.push(Leaf { request, at, full, masked, start, end });
                    };
                    let Some(branch) = same[0].choice.checked_sub(1) else {
                        finish(frontier.prefix(node), parent.full, parent.masked);
                        continue;
                    };
                    let next = choices.child(&parent, branch);
                    match frontier.grow(node, &next)? {
                        Grown::Leaf => finish(frontier.path(), next.full, next.masked),
                        Grown::Node(child) => {
                            next_at.extend(same.iter().map(|p| At { node: child, ..p.at }));
                        }
                        Grown::Dead => {}
                    }
                }
            }
            std::mem::swap(&mut at, &mut next_at);
        }
        leaves.sort_by_key(|leaf| (leaf.request, leaf.at.draw));
        let mut finished = Finished::default();
        for own in leaves.chunk_by(|a, b| a.request == b.request) {
            for (rank, leaf) in own.iter().enumerate() {
                let Leaf { request, full, masked, at, start, end } = *leaf;
                let (index, log_prob) = (at.draw, at.log_prob);
                let draw = Draw { index, copies: 1, log_prob, weight: None };
                let (score, provenance) = (1.0 / (rank + 1) as f64, Provenance::Draw(draw));
                let found = Found { score, full, masked, provenance };
                finished.push_found(request, &codes[start..end], found);
            }
        }
        Ok(finished)
    }
}

impl Decoder for Annealed {
    fn decode(
        &self,
        scorer: &mut dyn CodeScorer,
        constraints: &[&dyn Constraint],
        run: &Run<'_>,
    ) -> Result<Vec<Vec<Hypothesis>>> {
        let requests = scorer.requests();
        let constraints = PerRequest::new(constraints, requests)?;
        let finished = self.draw(scorer, constraints, run)?;
        Ok(finished.into_lists(&self.ranking, requests, None))
    }

    fn width(&self) -> usize {
        self.ranking.width
    }
}

/// Registers `annealed`.
pub(crate) fn register(catalog: &mut Catalog<dyn Decoder>) -> Result<()> {
    catalog.add(Entry::new(
        "annealed",
        env!("CARGO_PKG_NAME"),
        "Draws at a rising temperature, each identifier removed once drawn (ZeroGR, arXiv 2510.10419).",
        |o: AnnealedOptions, _: &()| Ok(Box::new(Annealed::new(o)?) as Box<dyn Decoder>),
    ))
}

/// What is left below the branches of one node.
#[derive(Debug, Default)]
struct Stock {
    /// Whether an identifier is left.
    open: Vec<bool>,
    taken: Vec<u32>,
    /// Identifiers known to be there; more may be.
    known: Vec<u32>,
    branches: Vec<Branch>,
    prefix: Vec<Code>,
}

impl Stock {
    fn fill(&mut self, branches: usize) {
        self.open.clear();
        self.open.resize(branches, true);
        self.taken.clear();
        self.taken.resize(branches, 0);
        self.known.clear();
        self.known.resize(branches, 1);
    }

    /// Takes one identifier below branch `i` away.
    fn take(&mut self, constraint: &dyn Constraint, prefix: &[Code], choices: &Choices, i: usize) {
        self.taken[i] += 1;
        let taken = self.taken[i];
        if taken < self.known[i] {
            return;
        }
        self.prefix.clear();
        self.prefix.extend_from_slice(prefix);
        let Branch { code, state } = choices.branches[i];
        self.prefix.push(code);
        self.branches.clear();
        let limit = taken.saturating_mul(2);
        let Stock { branches, prefix, .. } = self;
        self.known[i] = count(constraint, prefix, state, limit, branches);
        self.open[i] = taken < self.known[i];
    }
}

/// Identifiers at and below `prefix`, but no more than `limit`. `stack` is scratch.
fn count(
    constraint: &dyn Constraint,
    prefix: &mut Vec<Code>,
    state: State,
    limit: u32,
    stack: &mut Vec<Branch>,
) -> u32 {
    let mut found = u32::from(constraint.accepts(prefix, state));
    let start = stack.len();
    constraint.expand(prefix, state, stack);
    let end = stack.len();
    for at in start..end {
        if found >= limit {
            break;
        }
        let Branch { code, state } = stack[at];
        prefix.push(code);
        found += count(constraint, prefix, state, limit - found, stack);
        prefix.pop();
    }
    stack.truncate(start);
    found
}
