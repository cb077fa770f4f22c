//! RQ-VAE: `rq-vae`, an encoder, residual codebooks and a decoder, trained together.
//!
//! Vectors `x` of width I are encoded to latents of width D, quantized level after level (see
//! [`crate::residual`] for the loop) and decoded again; [`RqVaeLoss`] has the loss. Sources: RQ-VAE
//! (arXiv 2203.01941), TIGER (arXiv 2305.05065), GRID (arXiv 2507.22224), MiniOneRec
//! (arXiv 2510.24431). Widths and batch are TIGER's by default, loss, commitment and start GRID's,
//! optimiser and clipping MiniOneRec's.
//!
//! | file | holds |
//! |---|---|
//! | `loss` | the loss and the ways of a gradient past the codes |
//! | `model` | parameters: encoder, codebooks, decoder in one flat buffer |
//! | `chunk` | one micro-batch, forward and backward |
//! | `step` | loss and gradients of a batch, on all threads |
//! | `ahead` | balanced codes and losses over the whole batch, before its chunks run |
//! | `auxiliary` | losses over the whole batch |
//! | `fit` | networks, first codes, and what other quantizers add |
//! | `train` | the training |
//! | `linear` | codebooks as a frozen matrix and a learned one |
//! | `average` | codebooks as moving averages |
//! | `scale` | GRID's scaling of the vectors |
//! | `codebook` | what was learned |
//!
//! Deviations: AdamW where TIGER and GRID take Adagrad; layers start as in PyTorch where MiniOneRec
//! takes Xavier's normal; the start's k-means reads a seeded sample instead of the first batches;
//! batches are cut from seeded permutations, and the last of an epoch may be short; GRID's code runs
//! no layer-wise training, so what rests in a phase is a choice made here.

mod ahead;
mod auxiliary;
mod average;
mod chunk;
mod codebook;
mod fit;
mod linear;
mod loss;
mod model;
mod options;
mod scale;
mod step;
#[cfg(test)]
mod tests;
mod train;

pub use ahead::Balance;
pub use auxiliary::{Auxiliary, AuxiliaryBatch, AuxiliaryGradients};
pub use chunk::BatchRows;
pub(crate) use codebook::FIRST;
pub use codebook::RqVaeCodebook;
pub use fit::RqVae;
pub(crate) use fit::{Recipe, inner_rq_vae};
pub use linear::LinearCodes;
pub use loss::{CodebookUpdate, Estimator, Losses, RqVaeLoss};
pub use model::{EncoderForm, RqVaeModel, RqVaeShape};
pub use options::{CodebookStart, InputScale, Keep, RqVaeOptions, Schedule};
pub use scale::Standardize;
pub use step::{CHUNK, RqVaeStep, StepPlan, WAVE};
