//! Holm's step-down correction (1979) for several tests: controls the chance of any false
//! rejection, and rejects all that Bonferroni's does.

use sidereal_core::{Error, Result};

/// Adjusted p-values in the order given: with p sorted ascending, the running maximum of
/// (m - i) p_i for i from 0, at most 1. Fails on a value that is no probability.
pub fn holm(p: &[f64]) -> Result<Vec<f64>> {
    if let Some(bad) = p.iter().position(|p| !(0.0..=1.0).contains(p)) {
        return Err(Error::input(format!("p-value {bad} is {}; allowed: 0 to 1", p[bad])));
    }
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut largest = 0.0f64;
    for (i, &at) in order.iter().enumerate() {
        largest = largest.max((p.len() - i) as f64 * p[at]).min(1.0);
        adjusted[at] = largest;
    }
    Ok(adjusted)
}
