//! RQ-VAE: an encoder, residual codebooks and a decoder, trained together.

mod chunk;
mod loss;
mod model;
mod step;

pub use chunk::BatchRows;
pub use loss::{CodebookUpdate, Estimator, Losses, RqVaeLoss};
pub use model::{RqVaeModel, RqVaeShape};
pub use step::{CHUNK, RqVaeStep, WAVE};
