//! Objectives that read a bag of named tensors.
//!
//! An objective sees the outputs of a forward pass, adds named terms as sums and counts, and
//! writes gradients next to the outputs. It knows no model: any backbone that gives the fields an
//! objective reads can be trained with it.
//!
//! | objective | file | reads | of |
//! |---|---|---|---|
//! | `cross-entropy` | [`cross_entropy`] | `logits`, one field a level | generative models |
//! | `full-softmax` | [`full_softmax`] | `query` and the item vectors | dense retrievers |

pub mod cross_entropy;
pub mod full_softmax;

mod rows;

pub use cross_entropy::{CrossEntropy, CrossEntropyOptions};
pub use full_softmax::{FullSoftmax, FullSoftmaxOptions, Normalize};

use sidereal_core::{Catalog, Result};
use sidereal_nn::Objective;

/// Registers the objectives of this crate.
pub fn register(catalog: &mut Catalog<dyn Objective>) -> Result<()> {
    cross_entropy::register(catalog)?;
    full_softmax::register(catalog)
}
