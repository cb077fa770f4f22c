//! Intervals and tests over users, from `sidereal-metrics`. Fewer than two users decide nothing.

use super::Rules;
use serde::{Deserialize, Serialize};
use sidereal_core::{Result, Run};
use sidereal_metrics::statistics::{
    BootstrapOptions, Design, Interval, Pairs, PermutationOptions, bootstrap, cohens_dz,
    detectable, holm, paired_t, sign_flip_test, wilcoxon,
};

/// A two-sided test of paired differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Test {
    /// Student's t.
    #[default]
    PairedT,
    /// Wilcoxon's signed ranks.
    Wilcoxon,
    /// Random signs, 10 000 times.
    Permutation,
}

/// Values of at least two users.
pub(super) fn pairs(values: Vec<f64>) -> Result<Option<Pairs>> {
    match values.len() {
        0 | 1 => Ok(None),
        _ => Pairs::of_differences(values).map(Some),
    }
}

/// The 95 % interval of a mean.
pub(super) fn interval(values: &Pairs, rules: &Rules, run: &Run<'_>) -> Result<Interval> {
    let options = BootstrapOptions { draws: rules.resamples, ..BootstrapOptions::default() };
    bootstrap(values, &options, run)
}

pub(super) fn p_value(differences: &Pairs, test: Test, run: &Run<'_>) -> Result<f64> {
    let test = match test {
        Test::PairedT => paired_t(differences)?,
        Test::Wilcoxon => wilcoxon(differences)?,
        Test::Permutation => sign_flip_test(differences, &PermutationOptions::default(), run)?,
    };
    Ok(test.p)
}

/// Cohen's d; nothing where all differences are equal.
pub(super) fn effect(differences: &Pairs) -> Option<f64> {
    Some(cohens_dz(differences)).filter(|d| d.is_finite())
}

/// The smallest mean difference that so many users show.
pub(super) fn smallest(differences: &Pairs, rules: &Rules) -> Result<f64> {
    let design =
        Design { alpha: rules.level, power: rules.power, deviation: differences.deviation() };
    detectable(&design, differences.len())
}

/// p values after Holm; none for none.
pub(super) fn corrected(p: &[f64]) -> Result<Vec<f64>> {
    if p.is_empty() { Ok(Vec::new()) } else { holm(p) }
}
