//! Agreement of two groupings of the same things, whatever their labels are called.
//!
//! With `n_ij` things in group i of one and j of the other, margins `a_i`, `b_j`:
//! - mutual information `I = sum n_ij/n ln(n n_ij / (a_i b_j))`, normalised (NMI) by the mean of
//!   the two entropies;
//! - adjusted (AMI): `(I - E I) / (mean entropy - E I)`, with the expectation over random
//!   groupings of the same sizes (Vinh, Epps and Bailey 2010, equation 24a); 0 at chance, where
//!   NMI is not: many small groups have a high NMI with anything;
//! - adjusted Rand index (ARI, Hubert and Arabie 1985): pairs that are together in both, above
//!   chance.
//!
//! Cost: a sort of N pairs; the expectation runs once over pairs of distinct sizes.

use super::prefixes::NO_GROUP;
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, Result};
use std::collections::BTreeMap;

/// How well two groupings agree: 1 when they are the same up to names.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Things that both group.
    pub items: usize,
    /// Normalised mutual information, 0 to 1.
    pub nmi: f64,
    /// Adjusted mutual information: 0 at chance, at most 1.
    pub ami: f64,
    /// Adjusted Rand index: 0 at chance, at most 1.
    pub ari: f64,
}

impl Agreement {
    /// Of two labels a thing; things with [`NO_GROUP`] on either side are left out.
    ///
    /// Errors: columns of different lengths.
    pub fn of(a: &[u32], b: &[u32]) -> Result<Self> {
        if a.len() != b.len() {
            let (a, b) = (a.len(), b.len());
            return Err(Error::mismatch(format!("agreement of {a} labels with {b}")));
        }
        let both = a.iter().zip(b).filter(|(a, b)| **a != NO_GROUP && **b != NO_GROUP);
        let mut pairs: Vec<u64> = both.map(|(&a, &b)| u64::from(a) << 32 | u64::from(b)).collect();
        pairs.sort_unstable();
        let n = pairs.len();
        let rows = runs(pairs.iter().map(|p| (p >> 32) as u32));
        let mut second: Vec<u32> = pairs.iter().map(|p| *p as u32).collect();
        second.sort_unstable();
        let columns = runs(second.into_iter());
        let size = |groups: &[(u32, u64)], label: u32| {
            groups.binary_search_by_key(&label, |g| g.0).map_or(0, |i| groups[i].1)
        };
        let total = n as f64;
        let (mut information, mut together) = (0.0, 0.0);
        for same in pairs.chunk_by(|x, y| x == y) {
            let count = same.len() as f64;
            let a = size(&rows, (same[0] >> 32) as u32) as f64;
            let b = size(&columns, same[0] as u32) as f64;
            information += count / total * (total * count / (a * b)).ln();
            together += count * (count - 1.0) / 2.0;
        }
        let information = information.max(0.0);
        let mean = 0.5 * (entropy(&rows, total) + entropy(&columns, total));
        let expected = expected_information(&rows, &columns, n);
        let (pa, pb) = (pairs_within(&rows), pairs_within(&columns));
        let chance = if n > 1 { pa * pb / (total * (total - 1.0) / 2.0) } else { 0.0 };
        Ok(Agreement {
            items: n,
            nmi: ratio(information, mean),
            ami: ratio(information - expected, mean - expected),
            ari: ratio(together - chance, 0.5 * (pa + pb) - chance),
        })
    }
}

/// A ratio that is 1 where there is nothing to tell apart: both groupings are one group, or all
/// groups are single things.
fn ratio(found: f64, most: f64) -> f64 {
    if most.abs() <= 1e-12 { 1.0 } else { (found / most).min(1.0) }
}

/// Labels with their counts, ascending; `labels` come sorted.
fn runs(labels: impl Iterator<Item = u32>) -> Vec<(u32, u64)> {
    let mut out: Vec<(u32, u64)> = Vec::new();
    for label in labels {
        match out.last_mut() {
            Some(last) if last.0 == label => last.1 += 1,
            _ => out.push((label, 1)),
        }
    }
    out
}

fn entropy(groups: &[(u32, u64)], total: f64) -> f64 {
    groups.iter().map(|g| g.1 as f64 / total).map(|p| -p * p.ln()).sum::<f64>().max(0.0)
}

fn pairs_within(groups: &[(u32, u64)]) -> f64 {
    groups.iter().map(|g| g.1 as f64).map(|s| s * (s - 1.0) / 2.0).sum()
}

/// Expected mutual information of random groupings with these sizes: a sum over hypergeometric
/// counts, each walked from its mode outwards until nothing is added any more.
fn expected_information(rows: &[(u32, u64)], columns: &[(u32, u64)], n: usize) -> f64 {
    let mut log_factorial = vec![0.0; n + 1];
    for i in 1..=n {
        log_factorial[i] = log_factorial[i - 1] + (i as f64).ln();
    }
    let f = |x: u64| log_factorial[x as usize];
    let total = n as u64;
    let mut sum = 0.0;
    let columns = by_size(columns);
    for (&a, &times_a) in &by_size(rows) {
        for (&b, &times_b) in &columns {
            let (low, high) = ((a + b).saturating_sub(total).max(1), a.min(b));
            let mode = ((a + 1) * (b + 1) / (total + 2)).clamp(low, high);
            let p = (f(a) + f(b) + f(total - a) + f(total - b)
                - f(total)
                - f(mode)
                - f(a - mode)
                - f(b - mode)
                - f(total + mode - a - b))
            .exp();
            let gain = |x: u64| {
                let x = x as f64;
                x / n as f64 * (n as f64 * x / (a as f64 * b as f64)).ln()
            };
            // p(x + 1) / p(x).
            let up = |x: u64| {
                ((a - x) * (b - x)) as f64 / ((x + 1) as f64 * (total + x + 1 - a - b) as f64)
            };
            let mut part = p * gain(mode);
            let mut q = p;
            for x in mode..high {
                q *= up(x);
                part += q * gain(x + 1);
                if q < 1e-18 {
                    break;
                }
            }
            q = p;
            for x in (low..mode).rev() {
                q /= up(x);
                part += q * gain(x);
                if q < 1e-18 {
                    break;
                }
            }
            sum += (times_a * times_b) as f64 * part;
        }
    }
    sum
}

/// Groups of each size.
fn by_size(groups: &[(u32, u64)]) -> BTreeMap<u64, u64> {
    let mut out = BTreeMap::new();
    for g in groups {
        *out.entry(g.1).or_insert(0) += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn six_things_by_hand() {
        // Contingency [[2, 1], [0, 3]].
        let g = Agreement::of(&[0, 0, 0, 1, 1, 1], &[0, 0, 1, 1, 1, 1]).unwrap();
        let ln = f64::ln;
        let i = 2.0 / 6.0 * ln(2.0) + 1.0 / 6.0 * ln(6.0 / 12.0) + 0.5 * ln(18.0 / 12.0);
        let h = -(1.0 / 3.0 * ln(1.0 / 3.0) + 2.0 / 3.0 * ln(2.0 / 3.0));
        assert!((g.nmi - 2.0 * i / (ln(2.0) + h)).abs() < 1e-12);
        // Pairs: 6 and 7 within, 1 + 3 within both, 6 * 7 / 15 by chance.
        assert!((g.ari - (4.0 - 2.8) / (6.5 - 2.8)).abs() < 1e-12);
    }

    #[test]
    fn names_do_not_matter_and_chance_is_zero() {
        let a: Vec<u32> = (0..600).map(|i| i % 7).collect();
        let renamed: Vec<u32> = a.iter().map(|x| 1000 - 3 * x).collect();
        let same = Agreement::of(&a, &renamed).unwrap();
        for v in [same.nmi, same.ami, same.ari] {
            assert!((v - 1.0).abs() < 1e-12, "{same:?}");
        }
        let other: Vec<u32> =
            (0..600).map(|i| (sidereal_core::seed::mix(i) % 100) as u32).collect();
        let chance = Agreement::of(&a, &other).unwrap();
        assert!(chance.nmi > 0.1, "many groups inflate it: {chance:?}");
        assert!(chance.ami.abs() < 0.03 && chance.ari.abs() < 0.01, "{chance:?}");
        assert_eq!(Agreement::of(&other, &a).unwrap().items, 600);
    }

    #[test]
    fn degenerate_groupings() {
        let g = |a: &[u32], b: &[u32]| Agreement::of(a, b).unwrap();
        assert_eq!(g(&[0, 0], &[5, 5]), Agreement { items: 2, nmi: 1.0, ami: 1.0, ari: 1.0 });
        assert_eq!(g(&[0, 1], &[1, 0]).ari, 1.0);
        assert_eq!(g(&[], &[]).items, 0);
        let one = g(&[0, 0, 0], &[0, 1, 2]);
        assert_eq!((one.nmi, one.ari), (0.0, 0.0));
        assert!(one.ami.abs() < 1e-12);
        assert_eq!(g(&[0, NO_GROUP, 1], &[0, 1, NO_GROUP]).items, 1);
        assert!(Agreement::of(&[0], &[]).is_err());
    }

    /// All orders of `items`.
    fn orders(items: &mut Vec<u32>, from: usize, visit: &mut impl FnMut(&[u32])) {
        if from == items.len() {
            return visit(items);
        }
        for i in from..items.len() {
            items.swap(from, i);
            orders(items, from + 1, visit);
            items.swap(from, i);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_expectation_is_the_mean_over_all_permutations(
            a in proptest::collection::vec(0u32..4, 6), b in proptest::collection::vec(0u32..3, 6)) {
            let count = |x: &[u32]| {
                let mut x = x.to_vec();
                x.sort_unstable();
                runs(x.into_iter())
            };
            let information = |b: &[u32]| -> f64 {
                let mut sum = 0.0;
                for i in 0..4 {
                    for j in 0..3 {
                        let n = |f: &dyn Fn(usize) -> bool| (0..6).filter(|&k| f(k)).count() as f64;
                        let both = n(&|k| a[k] == i && b[k] == j);
                        if both > 0.0 {
                            let (x, y) = (n(&|k| a[k] == i), n(&|k| b[k] == j));
                            sum += both / 6.0 * (6.0 * both / (x * y)).ln();
                        }
                    }
                }
                sum
            };
            let (mut sum, mut times) = (0.0, 0.0);
            orders(&mut b.clone(), 0, &mut |b| {
                sum += information(b);
                times += 1.0;
            });
            let expected = expected_information(&count(&a), &count(&b), 6);
            prop_assert!((expected - sum / times).abs() < 1e-12);
        }
    }
}
