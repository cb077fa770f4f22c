//! Shannon entropy of the exposures in nats: -sum p_i ln p_i, p_i the share of item i in all
//! recommended places within k (RecBole's ShannonEntropy has the same sum divided by the number of
//! recommended items; Elliot's is in bits and gives every user one vote, however long the list). 0
//! where nothing was recommended.

use super::exposure;
use crate::EvalContext;
use crate::metric::at_k;

at_k! {
    /// Entropy of the shares of exposure.
    ShannonEntropy, "shannon-entropy", HigherIsBetter, [],
    |_, k, context: &EvalContext<'a>| exposure(k, context, entropy)
}

fn entropy(counts: &[u64]) -> f64 {
    let total: u64 = counts.iter().sum();
    let share = |&c: &u64| c as f64 / total as f64;
    counts.iter().filter(|&&c| c > 0).map(share).fold(0.0, |sum, p| sum - p * p.ln())
}
