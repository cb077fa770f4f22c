//! `contrastive-rq-vae`: an RQ-VAE with losses over the batch.
//!
//! | file | holds |
//! |---|---|
//! | `contrast` | softmax contrast of queries and keys, with gradients |
//! | `domain` | GMC's domain-aware loss (arXiv 2507.12871), balanced batches, shared prefixes |
//! | `collaborative` | LETTER's alignment with collaborative vectors (arXiv 2405.07314) |
//! | `diversity` | LETTER's regularisation of the codes |
//!
//! Side inputs: `domain` (`N x 1`, a number for each domain) where `alpha` is above 0 or batches are
//! balanced, `collaborative` (`N x D'`) where `collaborative` is above 0. With all weights 0 and
//! shuffled batches codes are those of `rq-vae`, bit by bit.
//!
//! GMC's formula and defaults are a reconstruction; LETTER's weights are those of its public script.

pub mod collaborative;
pub mod contrast;
pub mod diversity;
pub mod domain;

pub use collaborative::CollaborativeAlignment;
pub use diversity::Diversity;
pub use domain::{DomainContrast, Representation, balanced_order, prefix_sharing};

use crate::rq_vae::{Auxiliary, Recipe, RqVae, RqVaeCodebook, RqVaeModel, inner_rq_vae};
use serde::{Deserialize, Serialize};
use sidereal_core::component::Inner;
use sidereal_core::{Codebook, Error, Event, Quantizer, QuantizerInput, Result, Run};
use sidereal_nn::parallel;

/// How rows come together in batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Batches {
    /// From seeded permutations.
    Shuffled,
    /// As many rows of each domain; see [`balanced_order`].
    Balanced,
}

sidereal_core::options! {
    /// Options of `contrastive-rq-vae`.
    pub struct ContrastiveRqVaeOptions {
        /// The RQ-VAE: `rq-vae`, or a table with its options.
        pub vae: Inner = Inner::Name("rq-vae".into()),
        /// Weight of the domain-aware loss, 0 and up; 0 leaves it out. GMC's is not known; 0.01 to 1
        /// is usual.
        pub alpha: f32 = 0.1,
        /// Temperature of the domain-aware loss, above 0. GMC's is not known; 0.07 to 0.5 is usual.
        pub tau: f32 = 0.1,
        /// What the domain-aware loss compares: `latent` or `quantized`; GMC's is not known.
        pub on: Representation = Representation::Latent,
        /// `shuffled`, or `balanced`: as many rows of each domain in every batch.
        pub batches: Batches = Batches::Shuffled,
        /// Weight of the alignment with collaborative vectors, 0 and up; 0 leaves it out. LETTER:
        /// 0.01.
        pub collaborative: f32 = 0.0,
        /// Temperature of the alignment, above 0. LETTER: 1.
        pub collaborative_tau: f32 = 1.0,
        /// Weight of the diversity of codes, 0 and up; 0 leaves it out. LETTER: 1e-4.
        pub diversity: f32 = 0.0,
        /// Clusters of a level's codes, 1 and up. LETTER: 10.
        pub clusters: u32 = 10,
    }
}

/// Fits an [`RqVaeCodebook`] with losses over the batch.
#[derive(Debug, Clone)]
pub struct ContrastiveRqVae {
    options: ContrastiveRqVaeOptions,
    vae: RqVae,
}

impl ContrastiveRqVae {
    /// Checks the options.
    ///
    /// Errors name the key under `quantizer`, its value and what is allowed.
    pub fn new(options: ContrastiveRqVaeOptions) -> Result<Self> {
        let vae = inner_rq_vae(&options.vae, |_| {})?;
        let refuse = |key: &str, got: String, allowed: &str| {
            Err(Error::config(format!("quantizer.{key}"), format!("got {got}; expected {allowed}")))
        };
        let weights = [
            ("alpha", options.alpha),
            ("collaborative", options.collaborative),
            ("diversity", options.diversity),
        ];
        for (key, value) in weights {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(key, value.to_string(), "a finite number from 0");
            }
        }
        for (key, value) in [("tau", options.tau), ("collaborative_tau", options.collaborative_tau)]
        {
            if !(value.is_finite() && value > 0.0) {
                return refuse(key, value.to_string(), "a finite number above 0");
            }
        }
        if options.clusters == 0 {
            return refuse("clusters", "0".into(), "at least 1");
        }
        Ok(ContrastiveRqVae { options, vae })
    }

    /// Fits and keeps the type, for callers that want more than [`Codebook`] offers.
    pub fn fit_rq_vae(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<RqVaeCodebook> {
        let o = &self.options;
        let by_domain = o.alpha > 0.0 || o.batches == Batches::Balanced;
        let labels = if by_domain { domain::labels(input.side("domain")?)? } else { Vec::new() };
        let aligned = o.collaborative > 0.0;
        let vectors = aligned.then(|| input.side("collaborative")).transpose()?;
        if let Some(vectors) = vectors {
            crate::residual::check_vectors(vectors.view())
                .map_err(|e| Error::input(format!("side input `collaborative`: {e}")))?;
        }
        let extend = |model: &mut RqVaeModel| {
            let mut out: Vec<Box<dyn Auxiliary + '_>> = Vec::new();
            if o.alpha > 0.0 {
                let (labels, on) = (labels.clone(), o.on);
                out.push(Box::new(DomainContrast { labels, on, alpha: o.alpha, tau: o.tau }));
            }
            if let Some(vectors) = vectors {
                let (alpha, tau) = (o.collaborative, o.collaborative_tau);
                out.push(Box::new(CollaborativeAlignment::new(model, vectors, alpha, tau)));
            }
            if o.diversity > 0.0 {
                out.push(Box::new(Diversity { beta: o.diversity, clusters: o.clusters }));
            }
            Ok(out)
        };
        let mut recipe = Recipe::new("contrastive-rq-vae", self.vae.options());
        recipe.extend = Some(Box::new(extend));
        if o.batches == Batches::Balanced {
            let batch = self.vae.options().batch as usize;
            let (labels, seed) = (&labels, run.seed);
            recipe.order = Some(Box::new(move |epoch| balanced_order(labels, batch, seed, epoch)));
        }
        let pool = parallel::pool(run.threads)?;
        let book = pool.install(|| recipe.fit(input.vectors, run))?;
        if by_domain {
            let shared = pool.install(|| book.quantize(input))?;
            let shared = prefix_sharing(&shared, &labels);
            let names: Vec<String> =
                (1..=shared.len()).map(|l| format!("prefixes_shared_{l}")).collect();
            let numbers: Vec<(&str, f64)> =
                names.iter().map(String::as_str).zip(shared.iter().copied()).collect();
            let step = u64::from(self.vae.options().epochs);
            run.emit(Event::Scalars { group: "quantizer", step, numbers: &numbers });
        }
        Ok(book)
    }
}

impl Quantizer for ContrastiveRqVae {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(self.fit_rq_vae(input, run)?))
    }
}
