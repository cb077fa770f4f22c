//! Catalogue coverage@k: the items in the first k places of any list, as a share of the catalogue
//! (`coverage`) or as a number (`item-coverage`, Elliot's ItemCoverage).

use super::exposure;
use crate::EvalContext;
use crate::metric::at_k;

at_k! {
    /// Share of the catalogue that was recommended to anyone.
    Coverage, "coverage", HigherIsBetter, [],
    |_, k, context: &EvalContext<'a>| {
        let n = context.n_items as f64;
        exposure(k, context, move |counts| covered(counts) / n)
    }
}

at_k! {
    /// Number of items that were recommended to anyone.
    ItemCoverage, "item-coverage", HigherIsBetter, [],
    |_, k, context: &EvalContext<'a>| exposure(k, context, covered)
}

fn covered(counts: &[u64]) -> f64 {
    counts.iter().filter(|&&c| c > 0).count() as f64
}
