//! pass@k (Chen et al., arXiv 2107.03374): the chance that k of the n samples of a request hold a
//! right one, 1 - C(n - c, k) / C(n, k) with c right samples; mean over requests.
//!
//! Here a list is a bag of n samples, so this is the one metric for which repeats count: a target
//! that was drawn twice is two right samples. A list of at most k samples has 1 where any is right,
//! so with n = k it is the hit rate.

use crate::metric::at_k;
use crate::{Form, Formula, Judged, Reads};
use sidereal_core::{Error, Result};

at_k! {
    /// Chance that k samples hold a target.
    PassAtK, "pass", HigherIsBetter, [],
    |name: &str, k, _| Ok(Form::mean(name, k, Pass))
}

struct Pass;

impl Formula for Pass {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        let right = judged.list.iter().filter(|&&item| judged.is_target(item)).count();
        for (&k, value) in cut_offs.iter().zip(values) {
            *value = estimate(judged.list.len(), right, k);
        }
    }

    fn reads(&self) -> Reads {
        Reads::Ranks
    }
}

/// The estimator for `right` of `samples` and draws of `k`. Fails when `right` exceeds `samples` or
/// `k` is 0.
pub fn pass_at_k(samples: usize, right: usize, k: usize) -> Result<f64> {
    if right > samples || k == 0 {
        return Err(Error::input(format!(
            "pass@{k} of {right} right among {samples} samples; expected right <= samples and k \
             from 1 up"
        )));
    }
    Ok(estimate(samples, right, k))
}

fn estimate(samples: usize, right: usize, k: usize) -> f64 {
    if right == 0 {
        return 0.0;
    }
    if samples - right < k.min(samples) {
        return 1.0;
    }
    // C(n-c, k) / C(n, k) = product over the right samples of (1 - k / (n - i)).
    let miss = (0..right).fold(1.0, |p, i| p * (1.0 - k as f64 / (samples - i) as f64));
    1.0 - miss
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_subsets_by_exhaustion() {
        for samples in 1..9usize {
            for right in 0..=samples {
                for k in 1..=samples {
                    let (mut all, mut passed) = (0u32, 0u32);
                    for set in 0u32..1 << samples {
                        if set.count_ones() as usize == k {
                            all += 1;
                            passed += u32::from(set & ((1 << right) - 1) != 0);
                        }
                    }
                    let exact = f64::from(passed) / f64::from(all);
                    let got = pass_at_k(samples, right, k).unwrap();
                    assert!((got - exact).abs() < 1e-14, "{samples} {right} {k}");
                }
            }
        }
        assert_eq!(pass_at_k(3, 1, 7).unwrap(), 1.0);
        assert!(pass_at_k(2, 3, 1).is_err() && pass_at_k(2, 1, 0).is_err());
    }
}
