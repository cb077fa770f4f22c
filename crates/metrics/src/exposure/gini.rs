//! Gini index of the exposures of all N items, never recommended ones included.
//!
//! With exposures c_1 <= ... <= c_N: G = sum_j (2j - N - 1) c_j / (N sum_j c_j). 0 for equal
//! exposure, (N - 1)/N for one item alone (RecBole's GiniIndex). `gini-elliot` is Elliot v0.3.1's:
//! 1 - sum_j (2j - N - 1) p_j / (N - 1) with shares p_j, so higher is more even: 1 for equal
//! exposure, 0 for one item alone. Its N is the number of items of the catalogue, Elliot's that of
//! the training items. Nothing recommended counts as equal exposure; so does a catalogue of one.

use super::exposure;
use crate::EvalContext;
use crate::metric::at_k;

at_k! {
    /// Gini index of exposure: 0 is even.
    Gini, "gini", LowerIsBetter, [],
    |_, k, context: &EvalContext<'a>| {
        exposure(k, context, |counts| spread(counts) / counts.len() as f64)
    }
}

at_k! {
    /// Elliot's Gini: 1 is even.
    GiniElliot, "gini-elliot", HigherIsBetter, [],
    |_, k, context: &EvalContext<'a>| exposure(k, context, |counts| match counts.len() {
        1 => 1.0,
        n => 1.0 - spread(counts) / (n as f64 - 1.0),
    })
}

/// sum_j (2j - N - 1) c_j / sum_j c_j for rising c_j, in exact integers up to the division.
fn spread(counts: &[u64]) -> f64 {
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    let n = sorted.len() as i128;
    let total: i128 = sorted.iter().map(|&c| i128::from(c)).sum();
    if total == 0 {
        return 0.0;
    }
    let weighted = |(j, &c): (usize, &u64)| (2 * (j as i128 + 1) - n - 1) * i128::from(c);
    sorted.iter().enumerate().map(weighted).sum::<i128>() as f64 / total as f64
}
