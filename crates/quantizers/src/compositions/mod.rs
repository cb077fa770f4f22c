//! Quantizers made of quantizers: `residual` and `grouped`.
//!
//! | file | holds |
//! |---|---|
//! | `residual` | each part quantizes what the parts before left over |
//! | `grouped` | each part quantizes its own columns |
//! | `parts` | several codebooks as one: codes side by side, names of tensors with the part's number |

mod grouped;
mod parts;
mod residual;

pub use grouped::{Grouped, GroupedCodebook, GroupedOptions};
pub use residual::{Residual, ResidualOptions, StackedCodebook};

pub(crate) const RESIDUAL: &str = residual::PREFIX;
pub(crate) const GROUPED: &str = grouped::PREFIX;

use sidereal_core::{Catalog, Inner, Quantizer, Result};

/// Builds the quantizers of an option; `section` prefixes keys in errors.
pub(crate) fn build_all(
    inner: &[Inner],
    section: &str,
    catalog: &Catalog<dyn Quantizer>,
) -> Result<Vec<Box<dyn Quantizer>>> {
    inner.iter().map(|part| catalog.build(&part.spec(section)?, &())).collect()
}
