//! Leave-one-out: a user's last item tests, the one before validates, the rest trains.
//!
//! The test history includes the validation item. Users with fewer than three interactions only
//! train and are counted. This is the protocol of SASRec (arXiv 1808.09781) and TIGER
//! (arXiv 2305.05065).

use super::{Splits, Splitter, Targets, in_order};
use crate::Dataset;
use sidereal_core::{Catalog, Entry, Result, options};

options! {
    /// `leave-one-out` has no options.
    pub struct LeaveOneOutOptions {}
}

/// Last item tests, the one before validates.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeaveOneOut;

/// Registers `leave-one-out`.
pub fn register(catalog: &mut Catalog<dyn Splitter>) -> Result<()> {
    catalog.add(Entry::new(
        "leave-one-out",
        env!("CARGO_PKG_NAME"),
        "Last item of a user tests, the one before validates; under 3 items: training only.",
        |_: LeaveOneOutOptions, _: &()| Ok(Box::new(LeaveOneOut) as Box<dyn Splitter>),
    ))
}

impl Splitter for LeaveOneOut {
    fn split(&self, data: &Dataset) -> Result<Splits> {
        in_order(&data.interactions, data.items.len(), Targets::All, |user| {
            match data.interactions.items(user).len() {
                n @ 0..3 => (n, n),
                n => (n - 2, n - 1),
            }
        })
    }
}
