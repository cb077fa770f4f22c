//! Parallel quantization by a mixture of experts: `mpq` (MPQ of REG4Rec, arXiv 2508.15308).
//!
//! *Reconstruction*: the paper's own formulas were not at hand; what follows is a complete definition
//! chosen so that it can be built and tested. Codes stand side by side: no level refines another, and
//! their order says nothing. A trunk gives `h`; every expert `E_e(h)` is a linear map to width `c`;
//! codebook `m` mixes the experts by a gate over its best `k`:
//!
//! ```text
//! g_m = softmax over the top k of (W_m h),  z_m = sum_e g_me E_e(h),
//! c_m = argmin_w |z_m - C_m[w]|^2,  q_m = C_m[c_m],  x^ = Dec(q_1, ..., q_M)
//!
//! loss = mean (x^ - x)^2 + sum_m mean (sg(z_m) - q_m)^2 + beta mean (z_m - sg(q_m))^2
//!      + balance N_e sum_e F_e P_e + diversity mean_rows sum_{m < m'} g_m . g_m'
//! ```
//!
//! with `F_e` the share of (row, codebook) pairs whose best expert is `e` and `P_e` the mean gate. The
//! gradient passes the choice of a code as if it were not there; the choice of experts has none. One
//! linear layer on `h` gives all experts and all gates, so the trunk is the encoder of
//! [`crate::autoencoder`] without its last layer. With one expert a codebook, hard gates and no trunk
//! it is product quantization of a linear map; a test builds that case.
//!
//! Shapes: vectors `N x D`, experts and gates `N x (N_e c + M N_e)`, `q` `N x M c`. Cost: that of the
//! perceptrons, `2 c sum_m K_m` a row for the codes, `2 M k c` for the mixtures. First codes: k-means
//! on the `z_m` of drawn rows.
//!
//! Deviations: errors are means over elements where the sheet has sums (as in `rq-vae`); `F`, `P` are
//! those of chunks of 256 rows; the weights 0.25, 0.01, 0.01 are placeholders; no multimodal input.
//!
//! | file | holds |
//! |---|---|
//! | `mod` | options, quantizer, start |
//! | `experts` | gates, mixtures and codes, forward and backward |

mod experts;

pub use experts::{Experts, MpqLoss};

use crate::autoencoder::{Autoencoder, AutoencoderCodebook, Training, check_hidden};
use crate::blocks::distinct_rows;
use crate::levels::{check_enough, check_levels};
use crate::residual::check_vectors;
use crate::rq_kmeans::{RqKMeans, RqKMeansOptions};
use sidereal_core::{Codebook, Error, Quantizer, QuantizerInput, Result, Run, Silent, seed};

sidereal_core::options! {
    /// Options of `mpq`.
    pub struct MpqOptions {
        /// Codes of each codebook: a list of 1 to 64 widths, each from 1 to the number of distinct
        /// vectors. A public re-implementation of REG4Rec: eight of 300.
        pub levels: Vec<u32> = vec![300, 300, 300, 300, 300, 300, 300, 300],
        /// Experts, 1 to 1024.
        pub experts: u32 = 8,
        /// Experts that a codebook mixes, 1 to the number of experts.
        pub top: u32 = 2,
        /// Width of an expert's output and of a code, 1 to 65536.
        pub code_width: u32 = 32,
        /// Weight of the commitment, 0 and up.
        pub beta: f32 = 0.25,
        /// Weight of the balance between experts, 0 and up.
        pub balance: f32 = 0.01,
        /// Weight of the overlap between the gates of codebooks, 0 and up.
        pub diversity: f32 = 0.01,
        /// Widths of the trunk's layers, each 1 and up; the decoder mirrors them. None: experts and
        /// gates are linear in the vectors.
        pub hidden: Vec<u32> = vec![512, 256],
        /// Rows that the first codes come from, at least the largest width, or 0 for all.
        pub start_rows: u32 = 3072,
        /// Passes over the vectors, 0 and up.
        pub epochs: u32 = 250,
        /// Rows of an update, 1 and up.
        pub batch: u32 = 1024,
        /// Learning rate of AdamW, 0 and up.
        pub lr: f32 = 1e-3,
    }
}

/// Fits an [`MpqCodebook`].
#[derive(Debug, Clone)]
pub struct Mpq {
    options: MpqOptions,
    experts: Experts,
}

/// A trained MPQ autoencoder.
pub type MpqCodebook = AutoencoderCodebook<Experts>;

impl Mpq {
    /// Checks the options.
    ///
    /// Errors name the key under `quantizer`, its value and what is allowed.
    pub fn new(options: MpqOptions) -> Result<Self> {
        check_levels(&options.levels)?;
        check_hidden(&options.hidden)?;
        let MpqOptions { experts, top, code_width, beta, balance, diversity, .. } = options;
        for (key, value) in [("beta", beta), ("balance", balance), ("diversity", diversity)] {
            if !(value.is_finite() && value >= 0.0) {
                let message = format!("got {value}; expected a finite number from 0");
                return Err(Error::config(format!("quantizer.{key}"), message));
            }
        }
        let widest = options.levels.iter().copied().max().unwrap_or(0);
        if options.start_rows != 0 && options.start_rows < widest {
            let message = format!(
                "got {}; expected at least the {widest} codes of the widest level, or 0 for all",
                options.start_rows
            );
            return Err(Error::config("quantizer.start_rows", message));
        }
        let loss = MpqLoss { beta, balance, diversity };
        let experts = Experts::new(&options.levels, experts, top, code_width, loss)?;
        let mpq = Mpq { experts, options };
        mpq.training().check()?;
        Ok(mpq)
    }

    fn training(&self) -> Training {
        let MpqOptions { epochs, batch, lr, .. } = self.options;
        Training { task: "mpq", epochs, batch, lr }
    }

    /// Fits and keeps the type, for callers that want more than [`Codebook`] offers.
    pub fn fit_mpq(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<MpqCodebook> {
        let (o, vectors) = (&self.options, input.vectors);
        check_vectors(vectors)?;
        let widest = o.levels.iter().copied().max().unwrap_or(0) as usize;
        check_enough(&o.levels, vectors.rows(), distinct_rows(vectors, widest))?;
        let start =
            |network: &mut Autoencoder<Experts>, rows: &[f32]| self.start(network, rows, run);
        let experts = self.experts.clone();
        MpqCodebook::fit(experts, &o.hidden, self.training(), vectors, run, start)
    }

    /// Sets every codebook by k-means on the mixtures of drawn rows.
    fn start(&self, network: &mut Autoencoder<Experts>, rows: &[f32], run: &Run<'_>) -> Result<()> {
        let width = network.width();
        let n = rows.len() / width;
        let wanted =
            if self.options.start_rows == 0 { n } else { self.options.start_rows as usize };
        let mut rng = seed::stream(run.seed, "mpq-start", 0);
        let mut drawn = rand::seq::index::sample(&mut rng, n, wanted.min(n)).into_vec();
        drawn.sort_unstable();
        let sample: Vec<f32> =
            drawn.iter().flat_map(|&r| &rows[r * width..(r + 1) * width]).copied().collect();
        let latents = network.latents(&sample);
        for (m, &codes) in self.options.levels.iter().enumerate() {
            run.check()?;
            let mixed = network.bottleneck().mixture(latents.data(), m)?;
            let quiet = Run {
                seed: seed::key(run.seed, "mpq-codebook", m as u64),
                observer: &Silent,
                ..run.clone()
            };
            let options =
                RqKMeansOptions { levels: vec![codes], start_rows: 0, ..Default::default() };
            let book = RqKMeans::new(options)?.fit_here(mixed.view(), &quiet)?;
            let slot = network.bottleneck().slot(m);
            network.update(|values| slot.of_mut(values).copy_from_slice(book.level(0).data()));
        }
        Ok(())
    }
}

impl Quantizer for Mpq {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(self.fit_mpq(input, run)?))
    }
}

#[cfg(test)]
mod tests;
