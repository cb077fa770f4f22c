//! Decoders that draw identifiers at random.
//!
//! All draw inside the constraint, and share `law.rs`: what a draw at a prefix is drawn from.
//!
//! | name | draws | result |
//! |---|---|---|
//! | `ancestral` | independent, or without replacement | distinct identifiers, by log-probability |
//! | `stochastic-beam` | without replacement | in the order of the draws, with importance weights |
//! | `annealed` | one after the other, each removed from the tree | in the order of the draws |
//!
//! The law of a draw is renormalised over the allowed codes of each step, as all of these papers
//! do. It is *not* the model's law over all sequences given that the sequence is an identifier:
//! that would weigh a prefix by the probability of all identifiers below it. The sums over the full
//! vocabulary are in every hypothesis beside it.

pub mod ancestral;
pub mod annealed;
mod law;
mod perturbed;
pub mod stochastic_beam;

pub use ancestral::{Ancestral, AncestralOptions, Replacement};
pub use annealed::{Annealed, AnnealedOptions};
pub use stochastic_beam::{StochasticBeam, StochasticBeamOptions};

use crate::Decoder;
use rand::Rng;
use sidereal_core::{Catalog, Result};

/// Registers the samplers.
pub(crate) fn register(catalog: &mut Catalog<dyn Decoder>) -> Result<()> {
    ancestral::register(catalog)?;
    stochastic_beam::register(catalog)?;
    annealed::register(catalog)
}

/// Uniform on the open interval (0, 1), in steps of 2^-53.
pub(crate) fn open01(rng: &mut impl Rng) -> f64 {
    ((rng.random::<u64>() >> 11) as f64 + 0.5) * (1.0 / (1u64 << 53) as f64)
}
