//! Tests that assume nothing but symmetry: signs of paired differences.

use super::{Pairs, Test};
use crate::statistics::bootstrap::resamples;
use rand::Rng;
use sidereal_core::{Error, Result, Run, seed};

sidereal_core::options! {
    /// Options of [`sign_flip_test`].
    pub struct PermutationOptions {
        /// Random sign assignments, 1 and up. Where there are no more assignments than that, all
        /// are tried and the test is exact.
        pub permutations: u64 = 10_000,
    }
}

/// Differences up to which all signs can be listed.
const LISTED: usize = 40;

/// The permutation test of the mean difference (Fisher 1935): under the hypothesis every difference
/// could as well have the other sign. The statistic is the mean difference.
///
/// p is the share of assignments with an absolute mean at least as large; (hits + 1) / (draws + 1)
/// where they are drawn. Draws come from `seed::stream(seed, "sign-flip", draw)`; threads change
/// nothing. Cost: R additions a draw. Fails for 0 permutations and when the run is stopped.
pub fn sign_flip_test(pairs: &Pairs, options: &PermutationOptions, run: &Run<'_>) -> Result<Test> {
    if options.permutations == 0 {
        return Err(Error::config("permutations", "0; allowed: 1 and up"));
    }
    let sizes: Vec<f64> = pairs.differences().iter().copied().filter(|&d| d != 0.0).collect();
    let statistic = pairs.mean();
    let seen = sizes.iter().sum::<f64>().abs();
    // Sums that differ by rounding only are equal.
    let limit = seen - 1e-12 * sizes.iter().map(|d| d.abs()).sum::<f64>();
    if sizes.len() <= LISTED && 1u64 << sizes.len() <= options.permutations {
        let all = 1u64 << sizes.len();
        let signed = |set: u64| {
            let sign = |(i, d): (usize, &f64)| if set >> i & 1 == 1 { -d } else { *d };
            sizes.iter().enumerate().map(sign).sum::<f64>().abs()
        };
        let hits = (0..all).filter(|&set| signed(set) >= limit).count();
        return Ok(Test { statistic, p: hits as f64 / all as f64 });
    }
    let draw = |index: u64| {
        let mut stream = seed::stream(run.seed, "sign-flip", index);
        let mut sum = 0.0;
        for chunk in sizes.chunks(64) {
            let signs: u64 = stream.random();
            for (i, d) in chunk.iter().enumerate() {
                // The sign bit, without a branch that cannot be foretold.
                sum += f64::from_bits(d.to_bits() ^ ((signs >> i & 1) << 63));
            }
        }
        sum.abs()
    };
    let drawn = resamples(options.permutations, run, draw)?;
    let hits = drawn.iter().filter(|&&sum| sum >= limit).count();
    Ok(Test { statistic, p: (hits + 1) as f64 / (drawn.len() + 1) as f64 })
}

/// The sign test: differences above and below 0 are as likely. The statistic is the number above;
/// zeros are left out. Exact binomial p-value.
pub fn sign_test(pairs: &Pairs) -> Result<Test> {
    let above = pairs.differences().iter().filter(|&&d| d > 0.0).count();
    let below = pairs.differences().iter().filter(|&&d| d < 0.0).count();
    let (n, fewer) = (above + below, above.min(below));
    // P(X <= fewer) = sum of C(n, k) / 2^n, from the largest term down.
    let ln_choose: f64 = (1..=fewer).map(|i| ((n - fewer + i) as f64 / i as f64).ln()).sum();
    let first = (ln_choose - n as f64 * std::f64::consts::LN_2).exp();
    let (mut term, mut sum) = (1.0, 1.0);
    for k in (1..=fewer).rev() {
        term *= k as f64 / (n - k + 1) as f64;
        sum += term;
        if term < 1e-18 * sum {
            break;
        }
    }
    Ok(Test { statistic: above as f64, p: (2.0 * first * sum).min(1.0) })
}
