//! Losses over a whole batch, beside reconstruction and levels.
//!
//! A step cuts its batch into chunks that know nothing of each other, so a loss that compares rows
//! is evaluated first: the encoder and the codes run once more ahead of the chunks (one of the six
//! operations a weight and row), the loss writes its gradients in latents, quantized latents and
//! parameters, and the chunks add them in. Without auxiliary losses none of this runs.

use super::model::RqVaeModel;
use sidereal_core::{Code, MatrixRef, Result};

/// What a batch-wide loss sees.
#[derive(Clone, Copy)]
pub struct AuxiliaryBatch<'a> {
    /// The batch's rows by their numbers in the vectors, B values.
    pub rows: &'a [u32],
    /// `z = Enc(x)`, shape `B x D`.
    pub latents: MatrixRef<'a>,
    /// `z^ = sum_l q~_l`, shape `B x D`.
    pub quantized: MatrixRef<'a>,
    /// Codes, `B x L` values; L levels are in use.
    pub codes: &'a [Code],
    /// Networks and codes, and parameters of auxiliary losses.
    pub model: &'a RqVaeModel,
    /// Key of random draws of this step.
    pub key: u64,
}

/// Where a batch-wide loss adds its gradients.
#[derive(Debug, Default)]
pub struct AuxiliaryGradients {
    /// In the latents, shape `B x D`.
    pub latents: Vec<f32>,
    /// In the quantized latents, shape `B x D`; they go on as the estimator says.
    pub quantized: Vec<f32>,
    /// In all parameters, laid out as they are.
    pub params: Vec<f32>,
}

/// A loss over a whole batch.
pub trait Auxiliary: Send + Sync {
    /// Adds the gradients of the weighted loss to `into`, and gives its value. Works on the current
    /// rayon pool; the number of threads must change no bit.
    fn evaluate(&self, batch: &AuxiliaryBatch<'_>, into: &mut AuxiliaryGradients) -> Result<f64>;
}
