//! Bootstrap intervals of the mean of paired differences (Efron 1979; BCa: Efron 1987).
//!
//! Requests are drawn with replacement, pairs stay together. `percentile` takes the quantiles of the
//! means drawn; `bca` moves them by the bias z0 = Phi^-1(share of draws below the mean, ties one
//! half) and the acceleration a = sum l^3 / (6 (sum l^2)^(3/2)), l the jackknife influences, which
//! for a mean are d - mean. Quantiles are linear between order statistics (NumPy's default). Draws
//! come from `seed::stream(seed, "bootstrap", draw)`; threads change nothing. Cost: R random numbers
//! a draw.

use super::special::{normal_quantile, normal_tail};
use super::{Pairs, share};
use rand::Rng;
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, Result, Run, seed};

/// How the ends of an interval are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntervalKind {
    /// Quantiles of the draws.
    Percentile,
    /// Bias-corrected and accelerated.
    #[default]
    Bca,
}

sidereal_core::options! {
    /// Options of [`bootstrap`].
    pub struct BootstrapOptions {
        /// Draws of all requests, 2 and up.
        pub draws: u64 = 10_000,
        /// Coverage, above 0 and below 1.
        pub level: f64 = 0.95,
        /// "bca" or "percentile".
        pub kind: IntervalKind = IntervalKind::Bca,
    }
}

/// An interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The interval of the mean difference. Equal differences have an interval of one point. Fails
/// outside of ranges and when the run is stopped.
pub fn bootstrap(pairs: &Pairs, options: &BootstrapOptions, run: &Run<'_>) -> Result<Interval> {
    share("level", options.level)?;
    if options.draws < 2 {
        return Err(Error::config("draws", format!("{}; allowed: 2 and up", options.draws)));
    }
    let (values, mean) = (pairs.differences(), pairs.mean());
    if values.iter().all(|&d| d == values[0]) {
        return Ok(Interval { low: mean, high: mean });
    }
    let n = values.len();
    let draw = |index: u64| {
        let mut stream = seed::stream(run.seed, "bootstrap", index);
        (0..n).map(|_| values[stream.random_range(0..n)]).sum::<f64>() / n as f64
    };
    let mut means = resamples(options.draws, run, draw)?;
    means.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - options.level) / 2.0;
    let (low, high) = match options.kind {
        IntervalKind::Percentile => (tail, 1.0 - tail),
        IntervalKind::Bca => {
            let (z0, a) = (bias(&means, mean), acceleration(values, mean));
            let moved = |p: f64| {
                let z = z0 + normal_quantile(p);
                1.0 - normal_tail(z0 + z / (1.0 - a * z))
            };
            (moved(tail), moved(1.0 - tail))
        }
    };
    Ok(Interval { low: quantile(&means, low), high: quantile(&means, high) })
}

/// z0 from sorted draws, finite where all draws lie on one side.
fn bias(sorted: &[f64], mean: f64) -> f64 {
    let below = sorted.partition_point(|&m| m < mean);
    let not_above = sorted.partition_point(|&m| m <= mean);
    let n = sorted.len() as f64;
    let share = 0.5 * (below + not_above) as f64 / n;
    normal_quantile(share.clamp(0.5 / n, 1.0 - 0.5 / n))
}

fn acceleration(values: &[f64], mean: f64) -> f64 {
    let cubes: f64 = values.iter().map(|d| (d - mean).powi(3)).sum();
    let squares: f64 = values.iter().map(|d| (d - mean).powi(2)).sum();
    cubes / (6.0 * squares.powf(1.5))
}

/// Linear between order statistics.
fn quantile(sorted: &[f64], p: f64) -> f64 {
    let place = p.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (below, part) = (place.floor() as usize, place.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + part * (sorted[above] - sorted[below])
}

/// `draw(0)`, `draw(1)`, ..., on the run's threads; a draw is a function of its number alone.
pub(super) fn resamples(
    draws: u64,
    run: &Run<'_>,
    draw: impl Fn(u64) -> f64 + Sync,
) -> Result<Vec<f64>> {
    let mut out = vec![0.0; draws as usize];
    let share = out.len().div_ceil(run.threads.max(1)).max(1);
    std::thread::scope(|scope| {
        let draw = &draw;
        let mut started = Vec::new();
        for (part, values) in out.chunks_mut(share).enumerate() {
            started.push(scope.spawn(move || {
                for (i, value) in values.iter_mut().enumerate() {
                    if i % 64 == 0 {
                        run.check()?;
                    }
                    *value = draw((part * share + i) as u64);
                }
                Ok(())
            }));
        }
        let died = || Error::mismatch("a thread of the resampling died");
        started.into_iter().try_for_each(|t| t.join().map_err(|_| died())?)
    })?;
    Ok(out)
}
