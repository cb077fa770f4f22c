//! Which figure of a report goes with the recall of the recommenders trained on the IDs?
//!
//! Spearman's rank correlation over runs (mean ranks for ties), with
//! - a two-sided p-value from permutations: all of them up to 8 runs, else 20000 random ones
//!   (`(hits + 1) / (draws + 1)`);
//! - a 95 % interval from 2000 bootstrap samples of runs (percentiles), none below 5 runs.
//!
//! With many figures some p-values are small by chance: at 0.05, one in twenty.

use rand::Rng;
use rand::seq::SliceRandom;
use serde::Serialize;
use sidereal_core::{Error, Result, seed};
use std::collections::{BTreeMap, BTreeSet};

/// Runs up to which all permutations are tried.
const EXACT: usize = 8;
const PERMUTATIONS: usize = 20_000;
const SAMPLES: usize = 2_000;
/// Runs from which on there is an interval.
const INTERVAL: usize = 5;

/// One finished run.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// Its name.
    pub name: String,
    /// Figures of its IDs by name.
    pub figures: BTreeMap<String, f64>,
    /// What its recommender came to.
    pub recall: f64,
}

/// How a figure goes with recall.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Correlation {
    /// Name of the figure.
    pub figure: String,
    /// Runs that have it.
    pub runs: usize,
    /// Spearman's rank correlation; none where the figure or recall is the same in all runs.
    pub rho: Option<f64>,
    /// Chance of a correlation as strong in either direction, if there were none.
    pub p_value: Option<f64>,
    /// Lower end of the 95 % interval.
    pub low: Option<f64>,
    /// Upper end of the 95 % interval.
    pub high: Option<f64>,
}

/// The correlation of every figure that at least three runs have, the strongest first.
///
/// Errors: fewer than three runs, a recall that is not finite.
pub fn correlations(runs: &[Measurement], seed: u64) -> Result<Vec<Correlation>> {
    if runs.len() < 3 {
        return Err(Error::input(format!(
            "validation compares runs: {} given, at least 3 are needed",
            runs.len()
        )));
    }
    if let Some(bad) = runs.iter().find(|r| !r.recall.is_finite()) {
        return Err(Error::input(format!("run {}: its recall is {}", bad.name, bad.recall)));
    }
    let names: BTreeSet<&String> = runs.iter().flat_map(|r| r.figures.keys()).collect();
    let mut out = Vec::new();
    for name in names {
        let having = runs.iter().filter_map(|r| Some((*r.figures.get(name)?, r.recall)));
        let pairs: Vec<(f64, f64)> = having.filter(|p| p.0.is_finite()).collect();
        if pairs.len() >= 3 {
            out.push(correlation(name, &pairs, seed));
        }
    }
    let strength = |c: &Correlation| c.rho.map_or(-1.0, f64::abs);
    out.sort_by(|a, b| strength(b).total_cmp(&strength(a)).then(a.figure.cmp(&b.figure)));
    Ok(out)
}

fn correlation(name: &str, pairs: &[(f64, f64)], seed: u64) -> Correlation {
    let column = |of: fn(&(f64, f64)) -> f64| ranks(&pairs.iter().map(of).collect::<Vec<_>>());
    let (x, y) = (column(|p| p.0), column(|p| p.1));
    let rho = pearson(&x, &y);
    let interval = rho.filter(|_| pairs.len() >= INTERVAL).and_then(|_| interval(pairs, seed));
    Correlation {
        figure: name.into(),
        runs: pairs.len(),
        rho,
        p_value: rho.map(|rho| p_value(&x, &y, rho, seed)),
        low: interval.map(|i| i.0),
        high: interval.map(|i| i.1),
    }
}

/// Spearman's rank correlation; none where one side is constant.
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    pearson(&ranks(x), &ranks(y))
}

/// Ranks from 1, equal values at the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut out = vec![0.0; values.len()];
    let mut before = 0;
    for same in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let mean = before as f64 + (same.len() + 1) as f64 / 2.0;
        same.iter().for_each(|&i| out[i] = mean);
        before += same.len();
    }
    out
}

fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (mx, my) = (mean(x), mean(y));
    let product = |a: &[f64], ma: f64, b: &[f64], mb: f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum()
    };
    let spread = (product(x, mx, x, mx) * product(y, my, y, my)).sqrt();
    (spread > 0.0).then(|| (product(x, mx, y, my) / spread).clamp(-1.0, 1.0))
}

/// Share of permutations whose correlation is as strong.
fn p_value(x: &[f64], y: &[f64], rho: f64, seed: u64) -> f64 {
    let as_strong = |y: &[f64]| pearson(x, y).is_some_and(|r| r.abs() >= rho.abs() - 1e-12);
    let mut y = y.to_vec();
    if y.len() <= EXACT {
        let (mut hits, mut all) = (0u32, 0u32);
        permutations(&mut y, 0, &mut |y| {
            hits += u32::from(as_strong(y));
            all += 1;
        });
        return f64::from(hits) / f64::from(all);
    }
    let mut draws = seed::stream(seed, "sid-validate-permutations", 0);
    let mut hits = 0;
    for _ in 0..PERMUTATIONS {
        y.shuffle(&mut draws);
        hits += usize::from(as_strong(&y));
    }
    (hits + 1) as f64 / (PERMUTATIONS + 1) as f64
}

/// Visits all orders of `values`.
fn permutations(values: &mut [f64], from: usize, visit: &mut impl FnMut(&[f64])) {
    if from == values.len() {
        return visit(values);
    }
    for i in from..values.len() {
        values.swap(from, i);
        permutations(values, from + 1, visit);
        values.swap(from, i);
    }
}

/// Percentiles 2.5 and 97.5 over samples of runs; samples without spread are passed over.
fn interval(pairs: &[(f64, f64)], seed: u64) -> Option<(f64, f64)> {
    let mut draws = seed::stream(seed, "sid-validate-bootstrap", 0);
    let mut found = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let drawn = (0..pairs.len()).map(|_| pairs[draws.random_range(0..pairs.len())]);
        let (x, y): (Vec<f64>, Vec<f64>) = drawn.unzip();
        found.extend(spearman(&x, &y));
    }
    found.sort_by(f64::total_cmp);
    let at = |share: f64| found.get(((found.len() as f64 - 1.0) * share).round() as usize).copied();
    Some((at(0.025)?, at(0.975)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(figures: &[(&str, &[f64])], recall: &[f64]) -> Vec<Measurement> {
        let run = |(i, &recall): (usize, &f64)| Measurement {
            name: i.to_string(),
            figures: figures.iter().map(|(n, v)| (n.to_string(), v[i])).collect(),
            recall,
        };
        recall.iter().enumerate().map(run).collect()
    }

    #[test]
    fn ranks_and_correlations_by_hand() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 9.0]), [2.5, 1.0, 2.5, 4.0]);
        // 1 - 6 sum d^2 / (n (n^2 - 1)) with d = 1, 1, 0, 0.
        let rho = spearman(&[1.0, 2.0, 3.0, 4.0], &[20.0, 10.0, 30.0, 40.0]).unwrap();
        assert!((rho - 0.8).abs() < 1e-12);
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
    }

    #[test]
    fn four_runs_in_order_have_p_one_in_twelve() {
        let recall = [0.1, 0.2, 0.3, 0.4];
        let up: &[f64] = &[1.0, 2.0, 5.0, 9.0];
        let r = correlations(
            &runs(&[("flat", &[7.0; 4]), ("up", up), ("down", &[4.0, 3.0, 2.0, 1.0])], &recall),
            0,
        )
        .unwrap();
        let names: Vec<_> = r.iter().map(|c| c.figure.as_str()).collect();
        assert_eq!(names, ["down", "up", "flat"]);
        assert_eq!((r[0].rho, r[1].rho, r[2].rho), (Some(-1.0), Some(1.0), None));
        // Two of 24 orders are as strong.
        assert!((r[1].p_value.unwrap() - 2.0 / 24.0).abs() < 1e-12);
        assert_eq!((r[1].low, r[2].p_value), (None, None));
    }

    #[test]
    fn many_runs() {
        let n = 20;
        let recall: Vec<f64> = (0..n).map(|i| i as f64 / 100.0).collect();
        let noisy: Vec<f64> = (0..n).map(|i| i as f64 + (seed::mix(i as u64) % 8) as f64).collect();
        let chance: Vec<f64> = (0..n).map(|i| (seed::mix(!(i as u64)) % 1000) as f64).collect();
        let r = correlations(&runs(&[("noisy", &noisy), ("chance", &chance)], &recall), 3).unwrap();
        let (a, b) = (&r[0], &r[1]);
        assert_eq!((a.figure.as_str(), a.runs), ("noisy", 20));
        assert!(a.rho.unwrap() > 0.8 && a.p_value.unwrap() < 0.001, "{a:?}");
        assert!(a.low.unwrap() > 0.5 && a.low < a.rho && a.high >= a.rho, "{a:?}");
        assert!(
            b.p_value.unwrap() > 0.05 && b.low.unwrap() < 0.0 && b.high.unwrap() > 0.0,
            "{b:?}"
        );
    }

    #[test]
    fn few_or_broken_runs_are_refused() {
        let two = runs(&[("a", &[1.0, 2.0])], &[0.1, 0.2]);
        assert!(correlations(&two, 0).unwrap_err().to_string().contains("at least 3"));
        let nan = runs(&[("a", &[1.0, 2.0, 3.0])], &[0.1, f64::NAN, 0.2]);
        assert!(correlations(&nan, 0).is_err());
        // A figure that only two runs have is left out.
        let mut three = runs(&[("a", &[1.0, 2.0, 3.0])], &[0.1, 0.2, 0.3]);
        three[0].figures.clear();
        assert!(correlations(&three, 0).unwrap().is_empty());
    }
}
