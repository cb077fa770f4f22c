//! Draws without replacement from the law over whole identifiers, in one pass over the levels:
//! Gumbel-top-k over the tree (Kool, van Hoof and Welling, arXiv 1903.06059, Algorithm 1; from
//! memory of the paper, unverified beyond the shift below, and checked against enumeration).
//!
//! Every identifier i has a log-probability phi_i and a perturbed one G_i = phi_i + Gumbel noise.
//! The k largest G_i in descending order are k draws without replacement. The G of a prefix is the
//! largest of the identifiers below it and itself Gumbel(phi_prefix), so it can be drawn first and
//! those of its children conditioned on their maximum:
//!
//! `Z = max_i G_i`, `v_i = G - G_i + ln(1 - exp(G_i - Z))`,
//! `G~_i = G - max(0, v_i) - ln(1 + exp(-|v_i|))` (the stable form of the authors' code).
//!
//! Only prefixes among the k + 1 largest of a level can lead to one of the k + 1 largest
//! identifiers, so the search is a beam of that width. The G of the root is drawn from Gumbel(0)
//! and not fixed at 0: then the G_i are independent, and with the threshold kappa, the (k+1)-th
//! largest, an identifier is among the drawn with probability `q = 1 - exp(-exp(phi - kappa))`, and
//! `sum p f / q` over the drawn estimates the mean of f without bias (their section 4.2).
//!
//! Cost a level: k + 1 rows of the scorer a request, two logarithms a choice.

use super::law::{Law, Shape};
use super::open01;
use crate::frontier::{Child, Choices, Frontier, Grown};
use crate::ranking::{Finished, Found, PerRequest};
use crate::{CodeScorer, Draw, Provenance};
use rand::Rng;
use sidereal_core::{Code, Result, Run, seed};

/// An identifier that was drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leaf {
    /// Its perturbed log-probability.
    pub perturbed: f64,
    /// Its log-probability under the law.
    pub log_prob: f64,
    pub full: f64,
    pub masked: f64,
    /// Where its codes lie.
    at: usize,
    len: usize,
    score: f64,
}

/// The drawn identifiers of all requests.
pub(crate) struct Drawn {
    /// Those of each request in the order of the draws, and the one that came too late.
    leaves: Vec<Vec<Leaf>>,
    codes: Vec<Code>,
    draws: usize,
}

impl Drawn {
    /// Replaces the scores, which are the perturbed log-probabilities; `score` gets the number of
    /// codes too.
    pub fn rescore(&mut self, score: impl Fn(&Leaf, usize) -> f64) {
        for leaf in self.leaves.iter_mut().flatten() {
            leaf.score = score(leaf, leaf.len);
        }
    }

    /// Hypotheses with the weights that the threshold gives.
    pub fn into_finished(self) -> Finished {
        let mut finished = Finished::default();
        for (request, leaves) in self.leaves.iter().enumerate() {
            let threshold = leaves.get(self.draws).map(|late| late.perturbed);
            for (index, leaf) in leaves.iter().take(self.draws).enumerate() {
                let Leaf { score, full, masked, log_prob, .. } = *leaf;
                let provenance = Provenance::Draw(Draw {
                    index: index as u32,
                    copies: 1,
                    log_prob,
                    weight: Some(weight(log_prob, threshold)),
                });
                let codes = &self.codes[leaf.at..leaf.at + leaf.len];
                let found = Found { score, full, masked, provenance };
                finished.push_found(request as u32, codes, found);
            }
        }
        finished
    }
}

/// `p / q` with `q = 1 - exp(-exp(phi - kappa))`; p where everything was drawn.
pub(crate) fn weight(log_prob: f64, threshold: Option<f64>) -> f64 {
    match threshold {
        None => log_prob.exp(),
        Some(kappa) => log_prob.exp() / -(-(log_prob - kappa).exp()).exp_m1(),
    }
}

/// `phi` plus Gumbel noise.
fn gumbel(phi: f64, rng: &mut impl Rng) -> f64 {
    phi - (-open01(rng).ln()).ln()
}

/// Moves Gumbel variables so that their maximum is `parent`; minus infinity stays.
pub(crate) fn condition_on_maximum(g: &mut [f64], parent: f64) {
    let z = g.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for g in g.iter_mut().filter(|g| **g > f64::NEG_INFINITY) {
        // ln(1 - exp(d)) for d <= 0; minus infinity at the maximum itself.
        let d = *g - z;
        let log1mexp =
            if d > -std::f64::consts::LN_2 { (-d.exp_m1()).ln() } else { (-d.exp()).ln_1p() };
        let v = parent - *g + log1mexp;
        *g = parent - v.max(0.0) - (-v.abs()).exp().ln_1p();
    }
}

/// A choice at a node that may go on.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    perturbed: f64,
    log_prob: f64,
    node: usize,
    /// `None` ends at the node.
    child: Option<Child>,
}

/// `draws` identifiers a request without replacement, and one more for the threshold; fewer where
/// there are fewer. Streams are those of (`run.seed`, `purpose`, request).
pub(crate) fn draw(
    scorer: &mut dyn CodeScorer,
    constraints: PerRequest<'_>,
    shape: &Shape,
    draws: usize,
    purpose: &str,
    run: &Run<'_>,
) -> Result<Drawn> {
    let keep = draws + 1;
    let mut frontier = Frontier::new(scorer, constraints, keep)?;
    let requests = frontier.requests();
    let mut streams: Vec<_> =
        (0..requests as u64).map(|r| seed::stream(run.seed, purpose, r)).collect();
    let mut drawn = Drawn { leaves: vec![Vec::new(); requests], codes: Vec::new(), draws };
    // (log-probability, perturbed) of each node.
    let mut sums: Vec<[f64; 2]> = streams.iter_mut().map(|rng| [0.0, gumbel(0.0, rng)]).collect();
    let mut next_sums = Vec::new();
    let (mut choices, mut law) = (Choices::default(), Law::default());
    let (mut g, mut candidates) = (Vec::new(), Vec::new());
    let mut values = Vec::new();
    while frontier.advance(scorer, run)? {
        next_sums.clear();
        let mut node = 0;
        while node < frontier.nodes().len() {
            let request = frontier.nodes()[node].request;
            let own = frontier.nodes()[node..].iter().take_while(|n| n.request == request).count();
            candidates.clear();
            for node in node..node + own {
                let parent = frontier.nodes()[node];
                frontier.choices(node, &mut choices)?;
                if !law.set(&choices, shape, parent.ends, |_| true) {
                    continue;
                }
                let [phi, maximum] = sums[node];
                let rng = &mut streams[request as usize];
                g.clear();
                g.extend(law.log_probs().iter().map(|&p| match p > f64::NEG_INFINITY {
                    true => gumbel(phi + p, rng),
                    false => f64::NEG_INFINITY,
                }));
                condition_on_maximum(&mut g, maximum);
                for (choice, (&perturbed, &p)) in g.iter().zip(law.log_probs()).enumerate() {
                    if perturbed > f64::NEG_INFINITY {
                        let child = choice.checked_sub(1).map(|i| choices.child(&parent, i));
                        candidates.push(Candidate { perturbed, log_prob: phi + p, node, child });
                    }
                }
            }
            let leaves = &mut drawn.leaves[request as usize];
            let threshold = kth_largest(leaves, &candidates, keep, &mut values);
            leaves.retain(|leaf| leaf.perturbed >= threshold);
            candidates.retain(|c| c.perturbed >= threshold);
            for c in &candidates {
                let mut finish = |codes: &[Code], full, masked| {
                    let Candidate { perturbed, log_prob, .. } = *c;
                    let (at, len) = (drawn.codes.len(), codes.len());
                    drawn.codes.extend_from_slice(codes);
                    let score = perturbed;
                    leaves.push(Leaf { perturbed, log_prob, full, masked, at, len, score });
                };
                let Some(child) = &c.child else {
                    let parent = frontier.nodes()[c.node];
                    finish(frontier.prefix(c.node), parent.full, parent.masked);
                    continue;
                };
                match frontier.grow(c.node, child)? {
                    Grown::Leaf => finish(frontier.path(), child.full, child.masked),
                    Grown::Node(_) => next_sums.push([c.log_prob, c.perturbed]),
                    Grown::Dead => {}
                }
            }
            node += own;
        }
        std::mem::swap(&mut sums, &mut next_sums);
    }
    let Drawn { leaves, codes, .. } = &mut drawn;
    for leaves in leaves {
        leaves.sort_by(|a, b| {
            let sid = |leaf: &Leaf| &codes[leaf.at..leaf.at + leaf.len];
            b.perturbed.total_cmp(&a.perturbed).then_with(|| sid(a).cmp(sid(b)))
        });
        leaves.truncate(keep);
    }
    Ok(drawn)
}

/// The `keep`-th largest perturbed log-probability of leaves and candidates together; minus
/// infinity where there are no more.
fn kth_largest(
    leaves: &[Leaf],
    candidates: &[Candidate],
    keep: usize,
    values: &mut Vec<f64>,
) -> f64 {
    values.clear();
    values.extend(leaves.iter().map(|leaf| leaf.perturbed));
    values.extend(candidates.iter().map(|c| c.perturbed));
    if values.len() <= keep {
        return f64::NEG_INFINITY;
    }
    let (_, kth, _) = values.select_nth_unstable_by(keep - 1, |a, b| b.total_cmp(a));
    *kth
}
