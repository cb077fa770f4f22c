//! Student's paired t test: t = mean / (s / sqrt(n)) with n - 1 degrees of freedom.
//!
//! Differences that are all 0 have t = 0 and p = 1; equal differences other than 0 have infinite t
//! and p = 0 (SciPy: NaN in the first case).

use super::special::{t_quantile_two_sided, t_two_sided};
use super::{Interval, Pairs, Test, share};
use sidereal_core::{Error, Result};

/// The two-sided test. Fails for fewer than two pairs.
pub fn paired_t(pairs: &Pairs) -> Result<Test> {
    let error = standard_error(pairs)?;
    let mean = pairs.mean();
    let statistic = if mean == 0.0 { 0.0 } else { mean / error };
    Ok(Test { statistic, p: t_two_sided(statistic, (pairs.len() - 1) as f64) })
}

/// The interval of the mean difference that belongs to the test. Fails for fewer than two pairs or
/// a `level` not between 0 and 1.
pub fn mean_interval(pairs: &Pairs, level: f64) -> Result<Interval> {
    share("level", level)?;
    let half =
        t_quantile_two_sided(1.0 - level, (pairs.len().max(2) - 1) as f64) * standard_error(pairs)?;
    let mean = pairs.mean();
    Ok(Interval { low: mean - half, high: mean + half })
}

fn standard_error(pairs: &Pairs) -> Result<f64> {
    if pairs.len() < 2 {
        return Err(Error::input("a t test needs at least two pairs"));
    }
    Ok(pairs.deviation() / (pairs.len() as f64).sqrt())
}
