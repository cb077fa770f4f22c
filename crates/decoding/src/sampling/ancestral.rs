//! Ancestral sampling: codes are drawn level by level from the law of the prefix.
//!
//! With replacement, `width` independent draws; ReRe (arXiv 2510.12211) and MiniOneRec (arXiv
//! 2510.24431) call it common sampling. Repeats are merged into one hypothesis that counts its
//! draws, so a peaked model gives far fewer than `width` hypotheses.
//!
//! Without replacement, the draws are those of one sampler that never gives an identifier twice:
//! each next one comes from the law over what is left. It is exact, by Gumbel-top-k over the tree
//! (`perturbed.rs`; Kool et al., arXiv 1903.06059), in one pass over the levels.
//!
//! The result is ranked by log-probability (`score`), not by the order of the draws, because
//! rewards that read positions need the best first; the order of the draws is in the provenance.
//!
//! Cost a level: one row of the scorer a distinct prefix, V exponentials a row, and a draw each.

use super::law::{Law, Shape};
use super::{open01, perturbed};
use crate::frontier::{Choices, Frontier, Grown};
use crate::ranking::{Finished, Found, PerRequest, Ranking};
use crate::{CodeScorer, Constraint, Decoder, Draw, Hypothesis, Provenance, ScoreRule};
use sidereal_core::{Catalog, Entry, Result, Run, seed};

/// Whether an identifier can be drawn again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replacement {
    /// Draws are independent.
    #[default]
    With,
    /// No identifier is drawn twice.
    Without,
}

sidereal_core::options! {
    /// Options of ancestral sampling.
    pub struct AncestralOptions {
        /// Draws a request, and most hypotheses returned, 1 to 1048576.
        pub width: u32 = 50,
        /// `with`: draws are independent, repeats are merged. `without`: all draws differ.
        pub replacement: Replacement = Replacement::With,
        /// Divides the logits of the allowed codes before anything else, 0 (greedy) to 1000000.
        pub temperature: f64 = 1.0,
        /// Most codes that can be drawn at a step, 0 (all) and up; after the temperature.
        pub top_k: u32 = 0,
        /// Least mass that the codes that can be drawn hold, above 0 up to 1 (all); after top_k.
        pub top_p: f64 = 1.0,
        /// What ranks the drawn identifiers: `full` sums log-probabilities over the whole
        /// vocabulary of each level, `masked` over the allowed codes only; both at temperature 1.
        pub score: ScoreRule = ScoreRule::Full,
        /// Exponent of the length by which sums are divided for the ranking, 0 (off) to 10.
        pub length_normalization: f64 = 0.0,
    }
}

/// Draws identifiers code by code.
#[derive(Debug, Clone)]
pub struct Ancestral {
    ranking: Ranking,
    shape: Shape,
    replacement: Replacement,
}

impl Ancestral {
    /// Errors: an option outside its range.
    pub fn new(options: AncestralOptions) -> Result<Self> {
        let o = options;
        let ranking = Ranking::new(o.width, o.score, o.length_normalization)?;
        let shape = Shape::new(o.temperature, o.top_k, o.top_p)?;
        Ok(Ancestral { ranking, shape, replacement: o.replacement })
    }

    fn independent(
        &self,
        scorer: &mut dyn CodeScorer,
        constraints: PerRequest<'_>,
        run: &Run<'_>,
    ) -> Result<Finished> {
        let draws = self.ranking.width;
        let mut frontier = Frontier::new(scorer, constraints, draws)?;
        let mut finished = Finished::default();
        let requests = frontier.requests();
        let mut streams: Vec<_> =
            (0..requests as u64).map(|r| seed::stream(run.seed, "ancestral", r)).collect();
        // Where the draws stand, by node; and the log-probability of each node.
        let all = |node: u32| (0..draws as u32).map(move |draw| At { place: node, draw });
        let mut at: Vec<At> = (0..requests as u32).flat_map(all).collect();
        let mut log_probs = vec![0.0; requests];
        let (mut next_at, mut next_log_probs) = (Vec::new(), Vec::new());
        let (mut choices, mut law, mut picks) = (Choices::default(), Law::default(), Vec::new());
        while frontier.advance(scorer, run)? {
            next_at.clear();
            next_log_probs.clear();
            for here in at.chunk_by(|a, b| a.place == b.place) {
                let node = here[0].place as usize;
                let parent = frontier.nodes()[node];
                frontier.choices(node, &mut choices)?;
                if !law.set(&choices, &self.shape, parent.ends, |_| true) {
                    continue;
                }
                let rng = &mut streams[parent.request as usize];
                picks.clear();
                picks.extend(
                    here.iter().map(|a| At { place: law.pick(open01(rng)) as u32, draw: a.draw }),
                );
                picks.sort_unstable();
                for same in picks.chunk_by(|a, b| a.place == b.place) {
                    let choice = same[0].place as usize;
                    let log_prob = log_probs[node] + law.log_probs()[choice];
                    let mut finish = |codes: &[_], full, masked| {
                        let copies = same.len() as u32;
                        let provenance = Provenance::Draw(Draw {
                            index: same[0].draw,
                            copies,
                            log_prob,
                            weight: Some(f64::from(copies) / draws as f64),
                        });
                        let score = self.ranking.finished_score(full, masked, codes.len());
                        let found = Found { score, full, masked, provenance };
                        finished.push_found(parent.request, codes, found);
                    };
                    let Some(branch) = choice.checked_sub(1) else {
                        finish(frontier.prefix(node), parent.full, parent.masked);
                        continue;
                    };
                    let next = choices.child(&parent, branch);
                    match frontier.grow(node, &next)? {
                        Grown::Leaf => finish(frontier.path(), next.full, next.masked),
                        Grown::Node(child) => {
                            next_log_probs.push(log_prob);
                            next_at.extend(same.iter().map(|a| At { place: child, ..*a }));
                        }
                        Grown::Dead => {}
                    }
                }
            }
            std::mem::swap(&mut at, &mut next_at);
            std::mem::swap(&mut log_probs, &mut next_log_probs);
        }
        Ok(finished)
    }

    fn without_replacement(
        &self,
        scorer: &mut dyn CodeScorer,
        constraints: PerRequest<'_>,
        run: &Run<'_>,
    ) -> Result<Finished> {
        let mut drawn = perturbed::draw(
            scorer,
            constraints,
            &self.shape,
            self.ranking.width,
            "ancestral",
            run,
        )?;
        drawn.rescore(|leaf, len| self.ranking.finished_score(leaf.full, leaf.masked, len));
        Ok(drawn.into_finished())
    }
}

/// A draw and where it stands: a node, or a choice at one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    place: u32,
    draw: u32,
}

impl Decoder for Ancestral {
    fn decode(
        &self,
        scorer: &mut dyn CodeScorer,
        constraints: &[&dyn Constraint],
        run: &Run<'_>,
    ) -> Result<Vec<Vec<Hypothesis>>> {
        let requests = scorer.requests();
        let constraints = PerRequest::new(constraints, requests)?;
        let finished = match self.replacement {
            Replacement::With => self.independent(scorer, constraints, run)?,
            Replacement::Without => self.without_replacement(scorer, constraints, run)?,
        };
        Ok(finished.into_lists(&self.ranking, requests, None))
    }

    fn width(&self) -> usize {
        self.ranking.width
    }
}

/// Registers `ancestral`.
pub(crate) fn register(catalog: &mut Catalog<dyn Decoder>) -> Result<()> {
    catalog.add(Entry::new(
        "ancestral",
        env!("CARGO_PKG_NAME"),
        "Samples code by code, with or without replacement (common sampling of ReRe, arXiv 2510.12211).",
        |o: AncestralOptions, _: &()| Ok(Box::new(Ancestral::new(o)?) as Box<dyn Decoder>),
    ))
}
