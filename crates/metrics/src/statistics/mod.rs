//! Is one recommender better than another? Tests, intervals, effect sizes and power for values of
//! the same requests, as in [`Score::per_user`](crate::Score).
//!
//! All take [`Pairs`], the differences of two columns of R values. With many users everything is
//! significant: report the effect size and the interval beside the p-value, and correct for the
//! number of comparisons with [`holm`].
//!
//! ```
//! use sidereal_metrics::statistics::{Pairs, holm, paired_t, wilcoxon};
//! # fn main() -> sidereal_core::Result<()> {
//! let (new, old) = ([0.5, 0.4, 0.9, 0.3, 0.6], [0.4, 0.2, 0.6, 0.2, 0.1]);
//! let pairs = Pairs::new(&new, &old)?;
//! let t = paired_t(&pairs)?;
//! let w = wilcoxon(&pairs)?;
//! assert!((w.p - 0.0625).abs() < 1e-12);
//! assert_eq!(holm(&[t.p, w.p])?.len(), 2);
//! # Ok(())
//! # }
//! ```

mod bootstrap;
mod effect;
mod holm;
mod permutation;
mod power;
mod rank_sums;
pub mod special;
mod t_test;
mod wilcoxon;

pub use bootstrap::{BootstrapOptions, Interval, IntervalKind, bootstrap};
pub use effect::{cohens_dz, rank_biserial};
pub use holm::holm;
pub use permutation::{PermutationOptions, sign_flip_test, sign_test};
pub use power::{Design, detectable, power, requests_needed};
pub use t_test::{mean_interval, paired_t};
pub use wilcoxon::wilcoxon;

use sidereal_core::{Error, Result};

/// Differences of paired values, in the order of the requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Pairs {
    differences: Vec<f64>,
}

/// Outcome of a two-sided test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Test {
    /// The statistic, as each test defines it.
    pub statistic: f64,
    /// Two-sided p-value.
    pub p: f64,
}

impl Pairs {
    /// `new - old`, pair by pair. Fails when lengths differ, when there is no pair or when a value
    /// is not finite.
    pub fn new(new: &[f64], old: &[f64]) -> Result<Self> {
        if new.len() != old.len() {
            return Err(Error::mismatch(format!(
                "{} values beside {}: pairs are values of the same requests",
                new.len(),
                old.len()
            )));
        }
        Pairs::of_differences(new.iter().zip(old).map(|(a, b)| a - b).collect())
    }

    /// Takes differences. Fails when there is none or one is not finite.
    pub fn of_differences(differences: Vec<f64>) -> Result<Self> {
        if differences.is_empty() {
            return Err(Error::input("no pair to compare: expected at least one request"));
        }
        if let Some(at) = differences.iter().position(|d| !d.is_finite()) {
            return Err(Error::input(format!("the difference of pair {at} is not finite")));
        }
        Ok(Pairs { differences })
    }

    /// The differences.
    pub fn differences(&self) -> &[f64] {
        &self.differences
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.differences.len()
    }

    /// Whether there is no pair; never so.
    pub fn is_empty(&self) -> bool {
        self.differences.is_empty()
    }

    /// Mean difference.
    pub fn mean(&self) -> f64 {
        let first = self.differences[0];
        // Around the first value: a constant column has exactly its value as mean.
        first + self.differences.iter().map(|d| d - first).sum::<f64>() / self.len() as f64
    }

    /// Standard deviation of the differences with divisor n - 1; 0 for one pair.
    pub fn deviation(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.differences.iter().map(|d| (d - mean).powi(2)).sum();
        (squares / (self.len() - 1).max(1) as f64).sqrt()
    }
}

/// Refuses a number that is not strictly between 0 and 1.
fn share(key: &str, value: f64) -> Result<()> {
    if value > 0.0 && value < 1.0 {
        return Ok(());
    }
    Err(Error::config(key, format!("{value}; allowed: above 0, below 1")))
}
