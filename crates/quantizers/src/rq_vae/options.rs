//! Options of `rq-vae` and their checks.

use super::loss::{CodebookUpdate, Estimator};
use crate::levels::check_levels;
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, Result};

/// What happens to the vectors before the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputScale {
    /// Nothing.
    Raw,
    /// Columns to mean 0 and variance 1, then rows to length 1; see
    /// [`Standardize`](super::Standardize).
    Standardized,
}

/// First codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CodebookStart {
    /// Residual k-means on the latents of drawn rows.
    #[serde(rename = "k-means")]
    KMeans,
    /// Uniform in `+-1 / K` (VQ-VAE, arXiv 1711.00937).
    Uniform,
}

sidereal_core::options! {
    /// Options of `rq-vae`.
    pub struct RqVaeOptions {
        /// Codes of each level: a list of 1 to 64 widths, each from 1 to the number of distinct
        /// vectors. TIGER, GRID and MiniOneRec: three levels of 256.
        pub levels: Vec<u32> = vec![256, 256, 256],
        /// Widths of the encoder's hidden layers, each 1 and up; the decoder mirrors them. TIGER:
        /// 512, 256, 128. GRID: 768, 256, 128. MiniOneRec: 2048, 1024, 512, 256, 128, 64.
        pub hidden: Vec<u32> = vec![512, 256, 128],
        /// Width of what is quantized, 1 and up. TIGER and MiniOneRec: 32. GRID: 64.
        pub latent: u32 = 32,
        /// `raw` (MiniOneRec) or `standardized`: columns to mean 0 and variance 1, then rows to
        /// length 1 (GRID). The loss is that of the scaled vectors, and codes then stand for no
        /// vectors.
        pub input: InputScale = InputScale::Raw,
        /// Weight of the commitment term, 0 and up. TIGER, GRID and MiniOneRec: 0.25.
        pub beta: f32 = 0.25,
        /// Weight of the levels' terms beside the reconstruction, 0 and up. GRID: 1. MiniOneRec takes
        /// the mean over levels: 1 / L.
        pub weight: f32 = 1.0,
        /// How a gradient passes the codes: `straight-through` (GRID, MiniOneRec), `residual-path`
        /// (the commitment of every level reaches the encoder), `rotation` (arXiv 2410.06424) or
        /// `gumbel` (arXiv 1611.01144; lower `weight` to about 0.01 with it).
        pub estimator: Estimator = Estimator::StraightThrough,
        /// Temperature of `gumbel`, above 0. GRID: 0.7.
        pub temperature: f32 = 0.7,
        /// How codes learn: `gradient`, or `average` (moving averages, arXiv 1711.00937; not with
        /// `gumbel`).
        pub codebook: CodebookUpdate = CodebookUpdate::Gradient,
        /// Decay of the moving averages, 0 to below 1.
        pub decay: f32 = 0.99,
        /// First codes: `k-means` on latents (GRID, MiniOneRec) or `uniform`.
        pub start: CodebookStart = CodebookStart::KMeans,
        /// Rows whose latents the first codes come from; at least the largest width, or 0 for all.
        /// GRID: 3072. MiniOneRec: the first batch.
        pub start_rows: u32 = 3072,
        /// Epochs that a code may go unused before it moves onto the residual of a drawn row; 0
        /// never moves one (GRID, MiniOneRec).
        pub restart_after: u32 = 0,
        /// Passes over the vectors, 0 and up. 250 of 12,000 rows are the 3,000 steps of GRID.
        /// MiniOneRec: 10,000, TIGER: 20,000.
        pub epochs: u32 = 250,
        /// Rows of an update, 1 and up. TIGER: 1024. GRID: 2048. MiniOneRec: 20480.
        pub batch: u32 = 1024,
        /// Learning rate of AdamW, 0 and up. MiniOneRec: 1e-3 (GRID: the same with Adagrad).
        pub lr: f32 = 1e-3,
        /// Epochs in which the learning rate grows from 0. MiniOneRec: 50 of 10,000.
        pub warmup: u32 = 0,
        /// Decoupled weight decay, 0 and up. GRID: 0.
        pub weight_decay: f32 = 0.0,
        /// Largest norm of all gradients, above 0; 0 does not limit it. MiniOneRec: 1.
        pub clip: f32 = 1.0,
        /// Every so many epochs, and after the last, the distinct code tuples are counted, and the
        /// state with the most is kept, the earliest of equals (MiniOneRec keeps the fewest
        /// collisions). 0 keeps the last state.
        pub check_every: u32 = 0,
    }
}

impl RqVaeOptions {
    /// Refuses values out of range; errors name the key under `quantizer`.
    pub(super) fn check(&self) -> Result<()> {
        check_levels(&self.levels)?;
        let refuse = |key: &str, got: String, allowed: &str| {
            Err(Error::config(format!("quantizer.{key}"), format!("got {got}; expected {allowed}")))
        };
        if self.hidden.len() > 64 || self.hidden.contains(&0) {
            let got = format!("{:?}", self.hidden);
            return refuse("hidden", got, "at most 64 widths, each at least 1");
        }
        for (key, value) in [("latent", self.latent), ("batch", self.batch)] {
            if value == 0 {
                return refuse(key, "0".into(), "at least 1");
            }
        }
        let from_zero = [
            ("beta", self.beta),
            ("weight", self.weight),
            ("lr", self.lr),
            ("weight_decay", self.weight_decay),
            ("clip", self.clip),
        ];
        for (key, value) in from_zero {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(key, value.to_string(), "a finite number from 0");
            }
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return refuse("temperature", self.temperature.to_string(), "a finite number above 0");
        }
        if !(0.0..1.0).contains(&self.decay) {
            let allowed = "a number from 0 up to, not including, 1";
            return refuse("decay", self.decay.to_string(), allowed);
        }
        if self.codebook == CodebookUpdate::Average && self.estimator == Estimator::Gumbel {
            let allowed = "`gradient` with the estimator `gumbel`, which trains codes by gradients";
            return refuse("codebook", "`average`".into(), allowed);
        }
        let widest = self.levels.iter().copied().max().unwrap_or(0);
        if self.start_rows != 0 && self.start_rows < widest {
            let allowed = format!("at least the {widest} codes of the widest level, or 0 for all");
            return refuse("start_rows", self.start_rows.to_string(), &allowed);
        }
        Ok(())
    }
}
