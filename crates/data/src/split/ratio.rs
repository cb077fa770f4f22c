//! Shares of each user's history, in order: the oldest train, the latest test.
//!
//! A user with n >= 3 interactions gives `floor(n * test)` to the test and `floor(n * valid)` to
//! the validation, at least one each where the share is above 0; shorter histories only train.

use super::{Splits, Splitter, Targets, in_order, shares};
use crate::Dataset;
use sidereal_core::{Catalog, Entry, Result, options};

options! {
    /// Options of `ratio`.
    pub struct RatioOptions {
        /// Share of each history that validates, 0 to below 1.
        pub valid: f64 = 0.1,
        /// Share of each history that tests, 0 to below 1.
        pub test: f64 = 0.1,
        /// Relevant items: all of the part, or the next one.
        pub targets: Targets = Targets::All,
    }
}

/// Shares of each history.
#[derive(Debug, Clone)]
pub struct Ratio(RatioOptions);

/// Registers `ratio`.
pub fn register(catalog: &mut Catalog<dyn Splitter>) -> Result<()> {
    catalog.add(Entry::new(
        "ratio",
        env!("CARGO_PKG_NAME"),
        "The latest shares of each user's history validate and test.",
        |o: RatioOptions, _: &()| Ok(Box::new(Ratio::new(o)?) as Box<dyn Splitter>),
    ))
}

impl Ratio {
    /// Checks the shares.
    pub fn new(o: RatioOptions) -> Result<Self> {
        shares(o.valid, o.test)?;
        Ok(Ratio(o))
    }
}

/// Length of a share of `n`: rounded down, at least one where the share is above 0.
fn length(n: usize, share: f64) -> usize {
    // A share as written, such as 0.1 of 30, must not fall to 2 by a rounding error.
    let floor = (n as f64 * share + 1e-9) as usize;
    if share > 0.0 { floor.max(1) } else { 0 }
}

impl Splitter for Ratio {
    fn split(&self, data: &Dataset) -> Result<Splits> {
        in_order(&data.interactions, data.items.len(), self.0.targets, |user| {
            let n = data.interactions.items(user).len();
            if n < 3 {
                return (n, n);
            }
            let test = length(n, self.0.test);
            let valid = length(n, self.0.valid).min(n - test);
            (n - test - valid, n - test)
        })
    }
}
