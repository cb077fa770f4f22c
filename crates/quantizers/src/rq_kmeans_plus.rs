//! RQ-k-means+: `rq-kmeans-plus`, codes of a residual quantizer, trained on as an RQ-VAE.
//!
//! The form of GPR that MiniOneRec's repository has (arXiv 2510.24431): codebooks are copied from
//! (constrained) residual k-means on the vectors, the encoder is `z = x + MLP(x)` with its last layer
//! at 0, so that at the start `z = x` and codes are those of the residual quantizer, and all of it is
//! trained on as an RQ-VAE with a learning rate of 1e-4. Latents are as wide as the vectors.
//!
//! The decoder is the usual one and starts at random; the sheet of the repository says nothing else.

use crate::residual::{ResidualCodebook, ResidualScale};
use crate::rq_vae::{
    EncoderForm, InputScale, Recipe, RqVae, RqVaeCodebook, RqVaeOptions, Schedule, inner_rq_vae,
};
use crate::training::TRAINING;
use sidereal_core::component::Inner;
use sidereal_core::{Codebook, Error, Quantizer, QuantizerInput, Result, Run};
use sidereal_nn::parallel;

sidereal_core::options! {
    /// Options of `rq-kmeans-plus`.
    pub struct RqKMeansPlusOptions {
        /// The residual quantizer that the codes come from, by name or as a table; its residuals
        /// must not be normalised.
        pub start: Inner = Inner::Name("constrained-rq-kmeans".into()),
        /// The RQ-VAE: `rq-vae`, or a table with its options. `levels`, `latent` and `start` come from
        /// the residual quantizer and the vectors, whatever it says; `input` must be `raw` and
        /// `schedule` `joint`.
        pub vae: Inner = Inner::Name("rq-vae".into()),
        /// Learning rate in place of that of `vae`, 0 and up. MiniOneRec: 1e-4.
        pub lr: f32 = 1e-4,
    }
}

/// Fits an [`RqVaeCodebook`] that starts from the codes of another quantizer.
pub struct RqKMeansPlus {
    start: Box<dyn Quantizer>,
    vae: RqVae,
}

impl RqKMeansPlus {
    /// Takes the quantizer named by `options.start`.
    ///
    /// Errors name the key under `quantizer`, its value and what is allowed.
    pub fn new(options: RqKMeansPlusOptions, start: Box<dyn Quantizer>) -> Result<Self> {
        if !(options.lr.is_finite() && options.lr >= 0.0) {
            let message = format!("got {}; expected a finite number from 0", options.lr);
            return Err(Error::config("quantizer.lr", message));
        }
        let vae = inner_rq_vae(&options.vae, |o| {
            o.lr = options.lr;
            // Those of the start are not known yet, and no width may be refused for them.
            o.start_rows = 0;
        })?;
        let o = vae.options();
        if o.input != InputScale::Raw {
            let message = "got `standardized`; expected `raw`, as codes start from the vectors";
            return Err(Error::config("quantizer.vae.input", message));
        }
        if o.schedule != Schedule::Joint {
            let message = "got `layer-wise`; expected `joint`, as all levels have codes already";
            return Err(Error::config("quantizer.vae.schedule", message));
        }
        Ok(RqKMeansPlus { start, vae })
    }

    /// Fits and keeps the type, for callers that want more than [`Codebook`] offers.
    pub fn fit_rq_vae(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<RqVaeCodebook> {
        let start = self.start.fit(input, run)?;
        let mut tensors = start.tensors();
        // Codes of the fit are left behind: from here on the nearest ones count.
        tensors.retain(|(name, _)| !name.starts_with(TRAINING));
        let codes = ResidualCodebook::from_tensors(tensors).map_err(|e| {
            let message = format!("expected a residual quantizer on the vectors themselves: {e}");
            Error::config("quantizer.start", message)
        })?;
        if codes.scale() == ResidualScale::Normalized || codes.dim() != input.vectors.cols() {
            let message = "expected a residual quantizer on the vectors, without normalised \
                           residuals (`normalize_residuals = false`)";
            return Err(Error::config("quantizer.start", message));
        }
        let options = RqVaeOptions {
            levels: codes.widths().to_vec(),
            latent: codes.dim() as u32,
            ..self.vae.options().clone()
        };
        // The number of levels decides whether the list of epsilons fits.
        let options = RqVae::new(options)?.options().clone();
        let mut recipe = Recipe::new("rq-kmeans-plus", &options);
        recipe.encoder = EncoderForm::Residual;
        recipe.codes = Some(&codes);
        parallel::pool(run.threads)?.install(|| recipe.fit(input.vectors, run))
    }
}

impl Quantizer for RqKMeansPlus {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(self.fit_rq_vae(input, run)?))
    }
}
