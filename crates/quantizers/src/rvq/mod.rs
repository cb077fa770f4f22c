//! Residual vector quantization by gradients: `rvq`.
//!
//! | file | holds |
//! |---|---|
//! | `loss` | loss and gradients of one level |
//! | `fit` | the quantizer: level after level |

mod fit;
mod loss;

pub use fit::{Rvq, RvqOptimizer, RvqOptions};
pub use loss::{LevelLoss, level_loss};
