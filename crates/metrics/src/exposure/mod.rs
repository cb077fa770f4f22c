//! How recommendations spread over the catalogue: how often each item stands in the first k places
//! of the lists, over all requests. Properties of all lists together, without per-request values.

mod coverage;
mod entropy;
mod gini;

pub use coverage::{Coverage, ItemCoverage};
pub use entropy::ShannonEntropy;
pub use gini::{Gini, GiniElliot};

use crate::form::{Counter, Form};
use crate::{EvalContext, Judged};
use sidereal_core::Result;

/// A figure of the exposures of all items.
fn exposure(
    k: usize,
    context: &EvalContext<'_>,
    figure: impl Fn(&[u64]) -> f64 + Send + Sync + 'static,
) -> Result<Form<'static>> {
    Ok(Form::counts("exposure", k, Exposure { n_items: context.n_items }, figure))
}

/// Counts in how many lists each item is.
struct Exposure {
    n_items: usize,
}

impl Counter for Exposure {
    fn counters(&self) -> usize {
        self.n_items
    }

    fn count(&self, judged: &Judged<'_>, k: usize, counts: &mut [u64]) {
        judged.first(k).iter().for_each(|item| counts[item.index()] += 1);
    }
}
