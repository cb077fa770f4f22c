//! SimVQ: `sim-vq`, an RQ-VAE whose codebooks are a frozen matrix times a learned one.
//!
//! `C_l W_l` with `C_l` (`K x D`) drawn at the start and never changed, `W_l` (`D x D`) learned (arXiv 2411.02038):
//! an update of `W_l` moves all codes of a level, used or not, so no code dies apart from the rest.
//! See [`crate::rq_vae::LinearCodes`]. The paper has one level; levels here are residual as those of
//! `rq-vae`, which is an extension. Encoder and decoder are perceptrons, where the paper has networks
//! for images.

use crate::rq_vae::{CodebookStart, CodebookUpdate, RqVae, RqVaeCodebook, inner_rq_vae};
use sidereal_core::component::Inner;
use sidereal_core::{Codebook, Quantizer, QuantizerInput, Result, Run};

sidereal_core::options! {
    /// Options of `sim-vq`.
    pub struct SimVqOptions {
        /// The RQ-VAE: `rq-vae`, or a table with its options. `codebook` is `linear`, whatever it says,
        /// and `start` is the option beside it.
        pub vae: Inner = Inner::Name("rq-vae".into()),
        /// Where `C` comes from: `k-means` on latents, `normal` with deviation `1 / sqrt(latent)`
        /// (SimVQ), or `uniform` in `+-1 / K`. The latents of text vectors of length one lie far
        /// inside that normal, and all of them can end on one code.
        pub start: CodebookStart = CodebookStart::KMeans,
    }
}

/// Fits an [`RqVaeCodebook`] with linear codebooks.
#[derive(Debug, Clone)]
pub struct SimVq {
    vae: RqVae,
}

impl SimVq {
    /// Checks the options.
    ///
    /// Errors name the key under `quantizer`, its value and what is allowed.
    pub fn new(options: SimVqOptions) -> Result<Self> {
        let vae = inner_rq_vae(&options.vae, |o| {
            o.codebook = CodebookUpdate::Linear;
            o.start = options.start;
        })?;
        Ok(SimVq { vae })
    }

    /// Fits and keeps the type, for callers that want more than [`Codebook`] offers.
    pub fn fit_rq_vae(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<RqVaeCodebook> {
        self.vae.fit_rq_vae(input, run)
    }
}

impl Quantizer for SimVq {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(self.fit_rq_vae(input, run)?))
    }
}
