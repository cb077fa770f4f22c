//! Two points in time for all users: nothing that trains is later than anything that tests.
//!
//! Before the validation point trains, from there to the test point validates, the rest tests.
//! Points are given as times, or as shares of all interactions: the cut is then the time of the
//! interaction at that rank, so that equal times never fall on both sides. A user without any
//! interaction before a part gives no case for it; such cases are counted.

use super::{Splits, Splitter, Targets, TimeOrder, in_order, shares};
use crate::Dataset;
use sidereal_core::{Catalog, Entry, Error, Result, options};

options! {
    /// Options of `global-time`.
    pub struct GlobalTimeOptions {
        /// Share of all interactions that validates, 0 to below 1; not used with valid_time.
        pub valid: f64 = 0.1,
        /// Share of all interactions that tests, 0 to below 1; not used with test_time.
        pub test: f64 = 0.1,
        /// First second (Unix time) of the validation.
        pub valid_time: Option<i64> = None,
        /// First second (Unix time) of the test.
        pub test_time: Option<i64> = None,
        /// Relevant items: all of the part, or the next one.
        pub targets: Targets = Targets::All,
    }
}

/// Two points in time.
#[derive(Debug, Clone)]
pub struct GlobalTime(GlobalTimeOptions);

/// Registers `global-time`.
pub fn register(catalog: &mut Catalog<dyn Splitter>) -> Result<()> {
    catalog.add(Entry::new(
        "global-time",
        env!("CARGO_PKG_NAME"),
        "Two points in time for all users; times or shares of all interactions.",
        |o: GlobalTimeOptions, _: &()| Ok(Box::new(GlobalTime::new(o)?) as Box<dyn Splitter>),
    ))
}

impl GlobalTime {
    /// Checks shares and the order of the times.
    pub fn new(o: GlobalTimeOptions) -> Result<Self> {
        shares(o.valid, o.test)?;
        if let (Some(v), Some(t)) = (o.valid_time, o.test_time)
            && v > t
        {
            return Err(Error::config(
                "data.split.valid_time",
                format!("{v} lies after data.split.test_time = {t}"),
            ));
        }
        Ok(GlobalTime(o))
    }

    /// First second of validation and of test.
    fn points(&self, times: &[i64]) -> Result<(i64, i64)> {
        let o = &self.0;
        let mut sorted = Vec::new();
        let mut at = |share_after: f64| -> i64 {
            if sorted.is_empty() {
                sorted = times.to_vec();
                sorted.sort_unstable();
            }
            let rank = (sorted.len() as f64 * (1.0 - share_after)).round() as usize;
            // A share of 0 cuts after the last.
            sorted.get(rank).copied().unwrap_or(i64::MAX)
        };
        let test = o.test_time.unwrap_or_else(|| at(o.test));
        let valid = match o.valid_time {
            Some(v) => v,
            // The share counts back from the test, wherever that begins.
            None if o.test_time.is_some() => {
                let after = times.iter().filter(|&&t| t >= test).count();
                let share = after as f64 / times.len().max(1) as f64;
                at((share + o.valid).min(1.0))
            }
            None => at(o.test + o.valid),
        };
        if valid > test {
            return Err(Error::config(
                "data.split.valid_time",
                format!("{valid} lies after the test, which begins at {test}"),
            ));
        }
        Ok((valid, test))
    }
}

impl Splitter for GlobalTime {
    fn split(&self, data: &Dataset) -> Result<Splits> {
        let times = data.interactions.all_times().ok_or_else(|| {
            Error::config("data.split", "`global-time` needs times, and the data have none")
        })?;
        let (valid, test) = self.points(times)?;
        in_order(&data.interactions, data.items.len(), self.0.targets, |user| {
            let times = data.interactions.times(user).unwrap_or_default();
            (times.partition_point(|&t| t < valid), times.partition_point(|&t| t < test))
        })
    }

    fn order(&self) -> TimeOrder {
        TimeOrder::Global
    }
}
