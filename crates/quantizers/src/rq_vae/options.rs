//! Options of `rq-vae` and their checks.

use super::ahead::Balance;
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
    /// Normal with deviation `1 / sqrt(D)` (SimVQ, arXiv 2411.02038).
    Normal,
}

/// Which levels learn at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// All of them.
    Joint,
    /// One after the other, each for its share of the epochs: the levels below stay, those above are
    /// not in use, encoder and decoder learn throughout.
    LayerWise,
}

/// Which of the checked states is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The one with the most distinct code tuples.
    Collisions,
    /// The one with the smallest loss, as a mean over its epoch.
    Loss,
    /// The last one.
    Last,
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
        /// (the commitment of every level reaches the encoder), `code-path` (and the codes of the
        /// levels before it; MMGRec), `rotation` (arXiv 2410.06424) or
        /// `gumbel` (arXiv 1611.01144; lower `weight` to about 0.01 with it).
        pub estimator: Estimator = Estimator::StraightThrough,
        /// Temperature of `gumbel`, above 0. GRID: 0.7.
        pub temperature: f32 = 0.7,
        /// How codes learn: `gradient`, or `average` (moving averages, arXiv 1711.00937; not with
        /// `gumbel`) or `linear` (`C W` with `C` as it starts and `W` learned, arXiv 2411.02038).
        pub codebook: CodebookUpdate = CodebookUpdate::Gradient,
        /// Decay of the moving averages, 0 to below 1.
        pub decay: f32 = 0.99,
        /// First codes: `k-means` on latents (GRID, MiniOneRec), `uniform` in `+-1 / K` or `normal`
        /// with deviation `1 / sqrt(latent)`.
        pub start: CodebookStart = CodebookStart::KMeans,
        /// Rows whose latents the first codes come from; at least the largest width, or 0 for all.
        /// GRID: 3072. MiniOneRec: the first batch.
        pub start_rows: u32 = 3072,
        /// Epochs that a code may go unused before it moves onto the residual of a drawn row; 0
        /// never moves one (GRID, MiniOneRec). Not with `codebook = "linear"`.
        pub restart_after: u32 = 0,
        /// Balanced codes while training: epsilon of Sinkhorn's iteration, from 0; one value for all
        /// levels or one a level, 0 takes the nearest code. MiniOneRec's code allows it and takes 0;
        /// LC-Rec: 0, 0, 0, 0.003. Not with `gumbel`.
        pub sinkhorn: Vec<f64> = vec![0.0],
        /// Iterations of a balanced assignment, 1 and up. LC-Rec, MiniOneRec: 50.
        pub sinkhorn_iterations: u32 = 50,
        /// `joint` (all levels at once) or `layer-wise` (one after the other, each for `epochs / L`).
        pub schedule: Schedule = Schedule::Joint,
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
        /// state to keep is chosen. 0 never looks and keeps the last state.
        pub check_every: u32 = 0,
        /// Which of the checked states is kept, the earliest of equals: `collisions` (the fewest, as
        /// MiniOneRec), `loss` (the smallest) or `last`.
        pub keep: Keep = Keep::Collisions,
    }
}

impl RqVaeOptions {
    /// Epsilon of each level and the iterations.
    pub(super) fn balance(&self) -> Balance {
        let epsilons = match self.sinkhorn[..] {
            [one] => vec![one; self.levels.len()],
            ref each => each.to_vec(),
        };
        Balance { epsilons, iterations: self.sinkhorn_iterations }
    }

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
        let from_one = [
            ("latent", self.latent),
            ("batch", self.batch),
            ("sinkhorn_iterations", self.sinkhorn_iterations),
        ];
        for (key, value) in from_one {
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
        let in_range = self.sinkhorn.iter().all(|e| e.is_finite() && *e >= 0.0);
        if !in_range || ![1, self.levels.len()].contains(&self.sinkhorn.len()) {
            let allowed = format!(
                "one finite number from 0, or one for each of the {} levels",
                self.levels.len()
            );
            return refuse("sinkhorn", format!("{:?}", self.sinkhorn), &allowed);
        }
        if self.balance().is_on(self.levels.len()) && self.estimator == Estimator::Gumbel {
            let allowed = "0 with the estimator `gumbel`, which draws its codes";
            return refuse("sinkhorn", format!("{:?}", self.sinkhorn), allowed);
        }
        if self.codebook == CodebookUpdate::Linear && self.restart_after > 0 {
            let allowed = "0 with the codebook `linear`, whose codes move together";
            return refuse("restart_after", self.restart_after.to_string(), allowed);
        }
        let widest = self.levels.iter().copied().max().unwrap_or(0);
        if self.start_rows != 0 && self.start_rows < widest {
            let allowed = format!("at least the {widest} codes of the widest level, or 0 for all");
            return refuse("start_rows", self.start_rows.to_string(), &allowed);
        }
        Ok(())
    }
}
