//! Which values belong together.

use super::super::collect::System;
use serde::{Deserialize, Serialize};

/// How far the mean of values a user may be from the metric, as a share of it.
const TOLERANCE: f64 = 1e-6;

/// A metric's value of each user, where the metric is their plain mean; a metric that weighs users
/// or counts over all of them at once has none here, because no test over users would be its own.
pub fn user_values<'a>(system: &'a System, metric: &str) -> Option<&'a [f64]> {
    let values = system.per_user.as_ref()?.values(metric)?;
    let known = || values.iter().filter(|v| v.is_finite());
    let mean = known().sum::<f64>() / known().count() as f64;
    let whole = system.values(metric);
    let whole = whole.iter().sum::<f64>() / whole.len() as f64;
    ((mean - whole).abs() <= TOLERANCE * whole.abs().max(1e-6)).then_some(values)
}

/// A metric of one system minus the other's, user by user; users for whom either has no value are
/// left out. Nothing where a system has no values a user, or the users are not the same.
pub fn paired_values(system: &System, base: &System, metric: &str) -> Option<Vec<f64>> {
    let (a, b) = (system.per_user.as_ref()?, base.per_user.as_ref()?);
    let (x, y) = (user_values(system, metric)?, user_values(base, metric)?);
    if a.users != b.users {
        return None;
    }
    let differences = x.iter().zip(y).map(|(x, y)| x - y);
    Some(differences.filter(|d| d.is_finite()).collect())
}

/// The seeds of one system beside those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ranges {
    /// All values of one lie above all values of the other.
    Apart,
    /// They do not.
    Overlap,
    /// One of them has a single seed, so how far seeds reach is not known.
    Unknown,
}

/// Whether two systems' values, one a seed, lie apart.
pub fn seed_ranges(a: &[f64], b: &[f64]) -> Ranges {
    let low = |v: &[f64]| v.iter().copied().fold(f64::INFINITY, f64::min);
    let high = |v: &[f64]| v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match low(a) > high(b) || low(b) > high(a) {
        // A single value among those of the other is an overlap all the same.
        false => Ranges::Overlap,
        true if a.len() > 1 && b.len() > 1 => Ranges::Apart,
        true => Ranges::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_seeds_decide_nothing() {
        assert_eq!(seed_ranges(&[0.3, 0.4], &[0.1, 0.2]), Ranges::Apart);
        assert_eq!(seed_ranges(&[0.1, 0.2], &[0.3, 0.4]), Ranges::Apart);
        assert_eq!(seed_ranges(&[0.1, 0.3], &[0.2, 0.4]), Ranges::Overlap);
        assert_eq!(seed_ranges(&[0.1, 0.3], &[0.2]), Ranges::Overlap);
        assert_eq!(seed_ranges(&[0.2], &[0.2]), Ranges::Overlap);
        assert_eq!(seed_ranges(&[0.1], &[0.2]), Ranges::Unknown);
        assert_eq!(seed_ranges(&[0.1, 0.15], &[0.2]), Ranges::Unknown);
        assert_eq!(seed_ranges(&[], &[0.2]), Ranges::Unknown);
    }
}
