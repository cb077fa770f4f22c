//! Log-normalisers of rows of logits, for the full vocabulary and for the allowed codes.
//!
//! `lse(x) = m + ln sum_c exp(x_c - m)` with `m = max x`. The exponential is an f32 polynomial
//! (relative error below 2e-7) that the compiler vectorises and that gives the same bits on every
//! machine; sums and everything after them are f64. A row of V logits costs V exponentials.

use crate::Branch;
use sidereal_core::{Code, Error, Result};

const LANES: usize = 8;

/// `exp(x)` for `x <= 0`; 0 below -87, where f32 ends.
#[inline]
fn exp_nonpositive(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer, which then sits in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts: the first has few enough bits that n times it is exact.
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let y = if x > -87.0 { x } else { -87.0 };
    let rounded = y * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (y - n * LN2_HIGH) - n * LN2_LOW;
    // Taylor series to r^7 on |r| <= ln(2)/2: the rest is below 6e-9.
    let mut p = 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    let value = p * f32::from_bits(exponent << 23);
    if x > -87.0 { value } else { 0.0 }
}

/// `ln sum exp` of a row; minus infinity when every value is. `None` on NaN or plus infinity.
pub(crate) fn log_sum_exp(row: &[f32]) -> Option<f64> {
    let (mut high, mut bad) = ([f32::NEG_INFINITY; LANES], [false; LANES]);
    let chunks = row.chunks_exact(LANES);
    let tail = chunks.remainder();
    for chunk in chunks {
        for i in 0..LANES {
            bad[i] |= chunk[i].is_nan();
            high[i] = if chunk[i] > high[i] { chunk[i] } else { high[i] };
        }
    }
    for (i, &x) in tail.iter().enumerate() {
        bad[i] |= x.is_nan();
        high[i] = if x > high[i] { x } else { high[i] };
    }
    let max = high.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if bad.contains(&true) || max == f32::INFINITY {
        return None;
    }
    if max == f32::NEG_INFINITY {
        return Some(f64::NEG_INFINITY);
    }
    let mut sums = [0f64; LANES];
    let chunks = row.chunks_exact(LANES);
    let tail = chunks.remainder();
    for chunk in chunks {
        for i in 0..LANES {
            sums[i] += f64::from(exp_nonpositive(chunk[i] - max));
        }
    }
    for (i, &x) in tail.iter().enumerate() {
        sums[i] += f64::from(exp_nonpositive(x - max));
    }
    Some(f64::from(max) + sums.iter().sum::<f64>().ln())
}

/// Log-normalisers of one step: subtract them from a logit to get its log-probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Normalizers {
    /// Over the whole vocabulary.
    pub full: f64,
    /// Over the allowed codes.
    pub masked: f64,
}

/// Gathers the logits of `branches` into `allowed` and normalises the row.
///
/// `None` when no branch has a positive probability. Errors: a NaN or +inf anywhere in the row; a
/// branch outside the vocabulary.
pub(crate) fn normalize(
    row: &[f32],
    branches: &[Branch],
    allowed: &mut Vec<f32>,
    request: u32,
    level: usize,
) -> Result<Option<Normalizers>> {
    let full = log_sum_exp(row).ok_or_else(|| not_finite(request, level))?;
    allowed.clear();
    for branch in branches {
        offered(branch.code, row.len(), level)?;
        allowed.push(row[branch.code as usize]);
    }
    // Branches are distinct, so as many as there are codes means all of them.
    let masked = if branches.len() == row.len() {
        full
    } else {
        log_sum_exp(allowed).unwrap_or(f64::NEG_INFINITY)
    };
    Ok((masked > f64::NEG_INFINITY).then_some(Normalizers { full, masked }))
}

/// A logit was NaN or plus infinity.
pub(crate) fn not_finite(request: u32, level: usize) -> Error {
    Error::NotFinite {
        what: format!("a logit of request {request} at level {level}"),
        step: None,
        help: "the model gave NaN or +inf; check its weights and the history of this request \
               (-inf is allowed and means probability 0)"
            .into(),
    }
}

/// Refuses a code that the model does not score.
pub(crate) fn offered(code: Code, width: usize, level: usize) -> Result<()> {
    if (code as usize) < width {
        return Ok(());
    }
    Err(Error::mismatch(format!(
        "the constraint offers code {code} at level {level}, but the model scores codes 0 to {}: \
         build model and trie from the same SID table",
        width.saturating_sub(1)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn exponential_is_accurate_to_f32() {
        for i in 0..=870_000 {
            let x = -(i as f32) * 1e-4;
            let exact = f64::from(x).exp();
            let got = f64::from(exp_nonpositive(x));
            if x > -87.0 {
                assert!((got / exact - 1.0).abs() < 2e-7, "exp({x}) = {got}, exact {exact}");
            }
        }
        assert_eq!(exp_nonpositive(0.0), 1.0);
        assert_eq!(exp_nonpositive(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn single_values_and_infinities() {
        assert_eq!(log_sum_exp(&[3.25]), Some(3.25));
        assert_eq!(log_sum_exp(&[f32::NEG_INFINITY, -1e30]), Some(f64::from(-1e30f32)));
        assert_eq!(log_sum_exp(&[f32::NEG_INFINITY; 3]), Some(f64::NEG_INFINITY));
        assert_eq!(log_sum_exp(&[]), Some(f64::NEG_INFINITY));
        assert_eq!(log_sum_exp(&[0.0, f32::NAN]), None);
        assert_eq!(log_sum_exp(&[0.0, f32::INFINITY]), None);
        let mut row = [0f32; 20];
        row[3] = f32::NAN;
        assert_eq!(log_sum_exp(&row), None);
    }

    proptest! {
        #[test]
        fn agrees_with_f64(row in proptest::collection::vec(-60f32..60.0, 1..70)) {
            let m = row.iter().fold(f64::MIN, |m, &x| m.max(f64::from(x)));
            let exact = m + row.iter().map(|&x| (f64::from(x) - m).exp()).sum::<f64>().ln();
            prop_assert!((log_sum_exp(&row).unwrap() - exact).abs() < 5e-7);
        }
    }
}
