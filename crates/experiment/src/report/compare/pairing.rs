//! Which values belong together.

use super::super::collect::System;

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

/// Whether all values of one lie above, or all below, all values of the other.
pub fn seeds_apart(a: &[f64], b: &[f64]) -> bool {
    let low = |v: &[f64]| v.iter().copied().fold(f64::INFINITY, f64::min);
    let high = |v: &[f64]| v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let known = !a.is_empty() && !b.is_empty();
    known && (low(a) > high(b) || low(b) > high(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_seeds_decide_nothing() {
        assert!(seeds_apart(&[0.3, 0.4], &[0.1, 0.2]) && seeds_apart(&[0.1], &[0.2]));
        assert!(!seeds_apart(&[0.1, 0.3], &[0.2]) && !seeds_apart(&[0.2], &[0.2]));
        assert!(!seeds_apart(&[], &[0.2]) && !seeds_apart(&[0.1], &[]));
    }
}
