//! Stochastic beam search: draws without replacement, in the order of the draws (Kool, van Hoof and
//! Welling, arXiv 1903.06059; the algorithm is in `perturbed.rs`).
//!
//! `score` is the perturbed log-probability G: the list is ordered by it, and a shorter list is the
//! beginning of a longer one only in law, not draw for draw. The provenance has the
//! log-probability phi under the law that was drawn from and the importance weight `p / q`, with
//! `q = 1 - exp(-exp(phi - kappa))` and kappa the (width + 1)-th largest G of the request (the
//! inclusion threshold); where fewer identifiers exist, all are drawn and the weight is p.
//!
//! Deviation: the law is that of [`super`], renormalised over the allowed codes and shaped by
//! temperature and cuts; the paper has no constraint and a temperature only.

use super::law::Shape;
use super::perturbed;
use crate::ranking::{PerRequest, Ranking};
use crate::{CodeScorer, Constraint, Decoder, Hypothesis, ScoreRule};
use sidereal_core::{Catalog, Entry, Result, Run};

sidereal_core::options! {
    /// Options of stochastic beam search.
    pub struct StochasticBeamOptions {
        /// Draws a request, all of them different, 1 to 1048576.
        pub width: u32 = 50,
        /// Divides the logits of the allowed codes before anything else, 0 (greedy) to 1000000.
        pub temperature: f64 = 1.0,
        /// Most codes that can be drawn at a step, 0 (all) and up; after the temperature.
        pub top_k: u32 = 0,
        /// Least mass that the codes that can be drawn hold, above 0 up to 1 (all); after top_k.
        pub top_p: f64 = 1.0,
    }
}

/// Draws identifiers without replacement.
#[derive(Debug, Clone)]
pub struct StochasticBeam {
    ranking: Ranking,
    shape: Shape,
}

impl StochasticBeam {
    /// Errors: an option outside its range.
    pub fn new(options: StochasticBeamOptions) -> Result<Self> {
        let ranking = Ranking::new(options.width, ScoreRule::Masked, 0.0)?;
        let shape = Shape::new(options.temperature, options.top_k, options.top_p)?;
        Ok(StochasticBeam { ranking, shape })
    }
}

impl Decoder for StochasticBeam {
    fn decode(
        &self,
        scorer: &mut dyn CodeScorer,
        constraints: &[&dyn Constraint],
        run: &Run<'_>,
    ) -> Result<Vec<Vec<Hypothesis>>> {
        let requests = scorer.requests();
        let constraints = PerRequest::new(constraints, requests)?;
        let (width, purpose) = (self.ranking.width, "stochastic-beam");
        let drawn = perturbed::draw(scorer, constraints, &self.shape, width, purpose, run)?;
        Ok(drawn.into_finished().into_lists(&self.ranking, requests, None))
    }

    fn width(&self) -> usize {
        self.ranking.width
    }
}

/// Registers `stochastic-beam`.
pub(crate) fn register(catalog: &mut Catalog<dyn Decoder>) -> Result<()> {
    catalog.add(Entry::new(
        "stochastic-beam",
        env!("CARGO_PKG_NAME"),
        "Samples without replacement by Gumbel-top-k, with importance weights (Kool et al., arXiv 1903.06059).",
        |o: StochasticBeamOptions, _: &()| {
            Ok(Box::new(StochasticBeam::new(o)?) as Box<dyn Decoder>)
        },
    ))
}
