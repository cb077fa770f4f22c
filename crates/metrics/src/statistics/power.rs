//! How small a difference a data set can show, and how many requests a difference needs: normal
//! approximation of the paired two-sided test, delta = (z_{1-alpha/2} + z_{power}) s / sqrt(n) with
//! s the standard deviation of the differences.

use super::share;
use super::special::{normal_quantile, normal_tail};
use sidereal_core::{Error, Result};

/// What a test shall promise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Design {
    /// Chance of a false alarm, above 0 and below 1.
    pub alpha: f64,
    /// Chance to find the difference, above 0 and below 1.
    pub power: f64,
    /// Standard deviation of the paired differences, finite and not negative.
    pub deviation: f64,
}

impl Design {
    /// alpha 0.05 and power 0.8.
    pub fn usual(deviation: f64) -> Self {
        Design { alpha: 0.05, power: 0.8, deviation }
    }

    fn quantiles(&self) -> Result<f64> {
        share("alpha", self.alpha)?;
        share("power", self.power)?;
        if !(self.deviation.is_finite() && self.deviation >= 0.0) {
            let message = format!("{}; allowed: finite, 0 and up", self.deviation);
            return Err(Error::config("deviation", message));
        }
        let z = normal_quantile(1.0 - self.alpha / 2.0) + normal_quantile(self.power);
        if z <= 0.0 {
            let message = format!("{} is below alpha / 2: any difference has it", self.power);
            return Err(Error::config("power", message));
        }
        Ok(z)
    }
}

/// The smallest mean difference that a test over `requests` finds. Fails outside of ranges and for
/// no request.
pub fn detectable(design: &Design, requests: usize) -> Result<f64> {
    if requests == 0 {
        return Err(Error::config("requests", "0; allowed: 1 and up"));
    }
    Ok(design.quantiles()? * design.deviation / (requests as f64).sqrt())
}

/// Requests that a test needs to find a mean difference. Fails outside of ranges and for a
/// difference that is 0 or not finite.
pub fn requests_needed(design: &Design, difference: f64) -> Result<u64> {
    if !(difference.is_finite() && difference != 0.0) {
        let message = format!("{difference}; allowed: finite, not 0");
        return Err(Error::config("difference", message));
    }
    let root = design.quantiles()? * design.deviation / difference.abs();
    Ok((root * root).ceil().max(1.0) as u64)
}

/// The chance that a test over `requests` finds a mean difference, with the `alpha` and `deviation`
/// of a design. Fails outside of ranges and for no request.
pub fn power(design: &Design, difference: f64, requests: usize) -> Result<f64> {
    design.quantiles()?;
    if requests == 0 || !difference.is_finite() {
        return Err(Error::config("requests", "allowed: 1 and up, with a finite difference"));
    }
    if design.deviation == 0.0 {
        return Ok(if difference == 0.0 { design.alpha } else { 1.0 });
    }
    let shift = difference.abs() * (requests as f64).sqrt() / design.deviation;
    let z = normal_quantile(1.0 - design.alpha / 2.0);
    Ok(normal_tail(z - shift) + normal_tail(z + shift))
}
