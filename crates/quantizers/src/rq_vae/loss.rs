//! What an RQ-VAE minimises, and how its gradient passes the codes.
//!
//! For N rows of width I, latents of width D, residuals `r_0 = Enc(x)`, codes
//! `c_l = argmin_k |r_l - C_l[k]|^2` (ties to the lowest) and `q_l = C_l[c_l]`:
//!
//! ```text
//! loss = sum (Dec(z^) - x)^2 / (N I)
//!      + weight sum_l (sum (sg(r_l) - q_l)^2 + beta sum (r_l - sg(q_l))^2) / (N D)
//! ```
//!
//! that is, mean squared errors over elements, summed over levels: GRID's RQ-VAE (arXiv 2507.22224).
//! MiniOneRec (arXiv 2510.24431) takes the mean over levels: `weight = 1 / L`.

use serde::{Deserialize, Serialize};

/// How a gradient passes the choice of a code.
///
/// `q~_l` stands for the code in what follows: `z^ = sum_l q~_l`, `r_{l+1} = r_l - q~_l`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// `q~_l = r_l + sg(q_l - r_l)`. Residuals after the first then carry no gradient, so the
    /// commitment of later levels does not reach the encoder (GRID, MiniOneRec).
    StraightThrough,
    /// `z^ = z + sg(sum q_l - z)` and `r_{l+1} = r_l - sg(q_l)`: the commitment of every level
    /// reaches the encoder (RQ-VAE, arXiv 2203.01941, and TIGER's equations, arXiv 2305.05065).
    ResidualPath,
    /// The same with `r_{l+1} = r_l - q_l`: the commitment of later levels moves the codes of the
    /// levels before them too (MMGRec, arXiv 2404.16555).
    CodePath,
    /// `q~_l` is `r_l` turned and scaled onto its code (arXiv 2410.06424); see
    /// [`RotationTrick`](crate::RotationTrick).
    Rotation,
    /// `q~_l = y C_l` with `y = softmax((g - d) / t)`, squared distances `d` and Gumbel noise `g`;
    /// the code is `argmax y` (arXiv 1611.01144). The only one whose `q~_l` differs from `q_l`.
    Gumbel,
}

/// Weights of the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RqVaeLoss {
    /// Weight of the commitment term.
    pub beta: f32,
    /// Weight of all levels beside the reconstruction.
    pub weight: f32,
    /// How a gradient passes the codes.
    pub estimator: Estimator,
    /// The temperature `t` of [`Estimator::Gumbel`], above 0.
    pub temperature: f32,
    /// Whether codebooks learn by gradients.
    pub codebook: CodebookUpdate,
}

/// How codebooks learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CodebookUpdate {
    /// By the gradient of the codebook term.
    Gradient,
    /// By moving averages of the residuals that chose a code (arXiv 1711.00937, appendix A.1); the
    /// codebook term is left out of the loss.
    Average,
    /// By the gradient of a matrix behind a codebook that stays: `C W` (SimVQ, arXiv 2411.02038);
    /// see [`LinearCodes`](super::linear::LinearCodes).
    Linear,
}

impl Default for RqVaeLoss {
    /// Weights of GRID and MiniOneRec: `beta = 0.25`; temperature 0.7 (GRID).
    fn default() -> Self {
        RqVaeLoss {
            beta: 0.25,
            weight: 1.0,
            estimator: Estimator::StraightThrough,
            temperature: 0.7,
            codebook: CodebookUpdate::Gradient,
        }
    }
}

/// Means of the terms over one batch.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Losses {
    /// Mean squared error of the reconstruction.
    pub reconstruction: f64,
    /// Codebook and commitment terms of all levels, weighted.
    pub quantization: f64,
    /// Losses over the whole batch, weighted; see [`Auxiliary`](super::Auxiliary).
    pub auxiliary: f64,
}

impl Losses {
    /// What is minimised.
    pub fn total(&self) -> f64 {
        self.reconstruction + self.quantization + self.auxiliary
    }
}
