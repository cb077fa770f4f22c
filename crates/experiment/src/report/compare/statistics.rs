//! Intervals and tests over users. Not wired yet: all of them are unknown, so no verdict is given.

use super::{Interval, Rules};
use serde::{Deserialize, Serialize};
use sidereal_core::{Result, Run};

/// A test over users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Test {
    /// Paired t.
    #[default]
    PairedT,
    /// Wilcoxon's signed ranks.
    Wilcoxon,
}

pub(super) fn interval(_: &[f64], _: &Rules, _: &Run<'_>) -> Result<Option<Interval>> {
    Ok(None)
}
pub(super) fn p_value(_: &[f64], _: Test) -> Result<Option<f64>> {
    Ok(None)
}
pub(super) fn effect(_: &[f64]) -> Result<Option<f64>> {
    Ok(None)
}
pub(super) fn detectable(_: &[f64], _: &Rules) -> Result<Option<f64>> {
    Ok(None)
}
pub(super) fn holm(p: &[f64]) -> Vec<f64> {
    p.to_vec()
}
