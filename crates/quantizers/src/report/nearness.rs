//! Does a shared prefix mean nearness? Cosines of the items' vectors by the number of shared codes.
//!
//! Pairs are drawn from each stratum "exactly l codes shared" by itself (all of them where they are
//! few), so that the rare pairs of long prefixes are measured as well as the common ones. A stratum
//! weighs as much as it has pairs:
//! - `exactly[l]`: mean cosine of pairs that share exactly l codes;
//! - `at_least[l]`: of pairs that share l codes or more; `at_least[0]` is that of random pairs;
//! - `auc[l]`: chance that a pair that shares l codes or more is nearer than one that shares fewer,
//!   ties counted half: 0.5 for IDs that know nothing, 1 for a perfect hierarchy.
//!
//! Cost `O(S D L)` with at most S = 20000 pairs a stratum, never N x N. A vector of zeros has
//! cosine 0 with all.

use super::prefixes::Prefixes;
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, MatrixRef, Result, Run, seed};

/// Pairs drawn from a stratum; a stratum with no more ordered pairs is taken whole.
const PAIRS: u64 = 20_000;
/// Pairs of one unit of work.
const CHUNK: usize = 1024;

/// Cosines by shared codes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NearnessReport {
    /// Mean cosine of pairs of different items.
    pub random: f64,
    /// One entry a number of shared codes, from 0.
    pub lengths: Vec<NearnessLevel>,
}

/// Cosines of pairs by one number of shared codes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NearnessLevel {
    /// Shared codes.
    pub length: usize,
    /// Pairs of items that share exactly so many.
    pub pairs: u64,
    /// Their mean cosine; none without such pairs.
    pub exactly: Option<f64>,
    /// Mean cosine of pairs that share so many or more.
    pub at_least: Option<f64>,
    /// Chance that a pair of those is nearer than one that shares fewer.
    pub auc: Option<f64>,
}

/// Pairs that share exactly so many codes.
struct Stratum {
    pairs: u64,
    cosines: Vec<f64>,
}

impl NearnessReport {
    /// Of vectors `N x D`, one an item of the catalogue; none for fewer than two items with IDs.
    ///
    /// Errors: a number of rows that is not N, a value that is not finite.
    pub fn of(prefixes: &Prefixes, vectors: MatrixRef<'_>, run: &Run<'_>) -> Result<Option<Self>> {
        if vectors.rows() != prefixes.n_items() {
            return Err(Error::mismatch(format!(
                "SID report: {} vectors for {} items",
                vectors.rows(),
                prefixes.n_items()
            )));
        }
        if let Some(row) = vectors.first_not_finite() {
            return Err(Error::input(format!(
                "SID report: the vector of item {row} is not finite"
            )));
        }
        if prefixes.order().len() < 2 {
            return Ok(None);
        }
        let unit = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let norms: Vec<f64> = (0..vectors.rows()).map(|i| unit(vectors.row(i))).collect();
        let cosine = |(a, b): &(u32, u32)| {
            let (a, b) = (*a as usize, *b as usize);
            let product = |(x, y): (&f32, &f32)| f64::from(*x) * f64::from(*y);
            let dot: f64 = vectors.row(a).iter().zip(vectors.row(b)).map(product).sum();
            let norm = norms[a] * norms[b];
            if norm > 0.0 { dot / norm } else { 0.0 }
        };
        let mut strata = Vec::new();
        for shared in 0..=prefixes.longest() {
            run.check()?;
            let (pairs, drawn) = pairs_sharing(prefixes, shared, run.seed);
            let parts: Vec<Vec<f64>> =
                drawn.par_chunks(CHUNK).map(|p| p.iter().map(cosine).collect()).collect();
            strata.push(Stratum { pairs, cosines: parts.concat() });
        }
        Ok(Some(Self::from_strata(&strata)))
    }

    fn from_strata(strata: &[Stratum]) -> Self {
        let mean = |s: &Stratum| s.cosines.iter().sum::<f64>() / s.cosines.len() as f64;
        let level = |length: usize| {
            let (own, rest) = (&strata[length], &strata[length..]);
            let known = || rest.iter().filter(|s| s.pairs > 0);
            let pairs: u64 = known().map(|s| s.pairs).sum();
            let sum: f64 = known().map(|s| s.pairs as f64 * mean(s)).sum();
            NearnessLevel {
                length,
                pairs: own.pairs,
                exactly: (own.pairs > 0).then(|| mean(own)),
                at_least: (pairs > 0).then(|| sum / pairs as f64),
                auc: auc(rest, &strata[..length]),
            }
        };
        let lengths: Vec<NearnessLevel> = (0..strata.len()).map(level).collect();
        NearnessReport { random: lengths[0].at_least.unwrap_or(0.0), lengths }
    }
}

/// Number of unordered pairs that share exactly `shared` codes, and a sample of them: all (each in
/// both orders) where they are few.
fn pairs_sharing(prefixes: &Prefixes, shared: usize, seed: u64) -> (u64, Vec<(u32, u32)>) {
    let order = prefixes.order();
    // Partners of the item at a place: its group without those that share one code more. Of items
    // with equal IDs only the item itself is taken out.
    let last = shared == prefixes.longest();
    let ranges = |place: usize| {
        let item = order[place] as usize;
        let group = prefixes.places(shared, prefixes.labels(shared)[item] as usize);
        let nearer = match last {
            true => place..place + 1,
            false => prefixes.places(shared + 1, prefixes.labels(shared + 1)[item] as usize),
        };
        (group, nearer)
    };
    let mut ends = Vec::with_capacity(order.len());
    let mut total = 0u64;
    for place in 0..order.len() {
        let (group, nearer) = ranges(place);
        total += (group.len() - nearer.len()) as u64;
        ends.push(total);
    }
    let pair = |r: u64| {
        let place = ends.partition_point(|&end| end <= r);
        let before = if place == 0 { 0 } else { ends[place - 1] };
        let (group, nearer) = ranges(place);
        let partner = group.start + (r - before) as usize;
        let partner = if partner >= nearer.start { partner + nearer.len() } else { partner };
        (order[place], order[partner])
    };
    let drawn = match total <= PAIRS {
        true => (0..total).map(pair).collect(),
        false => {
            let mut draws = seed::stream(seed, "sid-report-pairs", shared as u64);
            (0..PAIRS).map(|_| pair(draws.random_range(0..total))).collect()
        }
    };
    (total / 2, drawn)
}

/// Chance that a value of `above` is larger than one of `below`, ties half.
fn auc(above: &[Stratum], below: &[Stratum]) -> Option<f64> {
    let weighted = |strata: &[Stratum], sign: f64| -> Vec<(f64, f64)> {
        let values = |s: &Stratum| {
            let weight = sign * s.pairs as f64 / s.cosines.len().max(1) as f64;
            s.cosines.iter().map(move |&c| (c, weight)).collect::<Vec<_>>()
        };
        strata.iter().flat_map(values).collect()
    };
    let mut all = weighted(above, 1.0);
    all.extend(weighted(below, -1.0));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut lower, mut wins, mut weight) = (0.0, 0.0, 0.0);
    for same in all.chunk_by(|a, b| a.0 == b.0) {
        let up: f64 = same.iter().filter(|v| v.1 > 0.0).map(|v| v.1).sum();
        let down: f64 = same.iter().filter(|v| v.1 < 0.0).map(|v| -v.1).sum();
        wins += up * (lower + 0.5 * down);
        weight += up;
        lower += down;
    }
    (weight > 0.0 && lower > 0.0).then(|| wins / (weight * lower))
}

#[cfg(test)]
mod tests {
    use super::super::prefixes::tests::table;
    use super::*;
    use sidereal_core::{Matrix, seed::mix};

    fn report(ids: &[&[u32]], rows: &[[f32; 2]]) -> NearnessReport {
        let x = Matrix::new(rows.len(), 2, rows.concat()).unwrap();
        let p = Prefixes::of(&table(ids));
        NearnessReport::of(&p, x.view(), &Run::quiet(0)).unwrap().unwrap()
    }

    #[test]
    fn four_items_by_hand() {
        // Items 0 and 1 share both codes, 2 the first, 3 none.
        let r = report(
            &[&[0, 0], &[0, 0], &[0, 1], &[1, 0]],
            &[[1.0, 0.0], [2.0, 0.0], [1.0, 1.0], [0.0, 3.0]],
        );
        let h = 0.5f64.sqrt();
        let near = |a: Option<f64>, b: f64| (a.unwrap() - b).abs() < 1e-7;
        assert_eq!(r.lengths.iter().map(|l| l.pairs).collect::<Vec<_>>(), [3, 2, 1]);
        assert!(near(r.lengths[0].exactly, h / 3.0), "{r:?}");
        assert!(near(r.lengths[1].exactly, h) && near(r.lengths[2].exactly, 1.0));
        assert!(near(r.lengths[1].at_least, (1.0 + 2.0 * h) / 3.0));
        assert!(near(Some(r.random), (1.0 + 3.0 * h) / 6.0));
        // Shared: 1, h, h; not shared: 0, 0, h. Wins 3 + 2.5 + 2.5 (of unlike rounding of h: the
        // dot of (1, 0) and (1, 1) equals that of (1, 1) and (0, 1)).
        assert!(near(r.lengths[1].auc, 8.0 / 9.0), "{:?}", r.lengths[1].auc);
        assert_eq!((r.lengths[0].auc, r.lengths[2].auc), (None, Some(1.0)));
    }

    #[test]
    fn a_hierarchy_is_seen_and_chance_is_not() {
        let item = |i: usize| [(i % 4) as u32, (i / 4 % 8) as u32, (i / 32) as u32];
        let ids: Vec<[u32; 3]> = (0..2000).map(item).collect();
        let refs: Vec<&[u32]> = ids.iter().map(|i| &i[..]).collect();
        let angle = |a: f32| [a.cos(), a.sin()];
        let planted: Vec<[f32; 2]> =
            ids.iter().map(|i| angle(i[0] as f32 * 0.7 + i[1] as f32 * 0.02)).collect();
        let r = report(&refs, &planted);
        assert!(r.lengths[1].auc.unwrap() > 0.999 && r.lengths[2].auc.unwrap() > 0.99, "{r:?}");
        let chance: Vec<[f32; 2]> =
            (0..2000).map(|i| angle((mix(i) % 6283) as f32 / 1000.0)).collect();
        let r = report(&refs, &chance);
        assert!((r.lengths[1].auc.unwrap() - 0.5).abs() < 0.02, "{r:?}");
    }

    #[test]
    fn strata_are_what_they_say() {
        let ids: Vec<[u32; 2]> =
            (0..400u64).map(|i| [mix(i) as u32 % 3, mix(!i) as u32 % 5]).collect();
        let refs: Vec<&[u32]> = ids.iter().map(|i| &i[..]).collect();
        let p = Prefixes::of(&table(&refs));
        let mut all = 0;
        for shared in 0..=2 {
            let (pairs, drawn) = pairs_sharing(&p, shared, 1);
            assert!(drawn.iter().all(|&(a, b)| a != b && p.shared(a, b) == shared));
            all += pairs;
        }
        assert_eq!(all, 400 * 399 / 2);
    }

    #[test]
    fn refused_and_degenerate() {
        let p = Prefixes::of(&table(&[&[0], &[1]]));
        let of = |rows, data| {
            let x = Matrix::new(rows, 1, data).unwrap();
            NearnessReport::of(&p, x.view(), &Run::quiet(0))
        };
        assert!(of(1, vec![1.0]).unwrap_err().to_string().contains("1 vectors for 2 items"));
        let nan = of(2, vec![1.0, f32::NAN]).unwrap_err().to_string();
        assert!(nan.contains("item 1"), "{nan}");
        let zero = of(2, vec![0.0, 0.0]).unwrap().unwrap();
        assert_eq!((zero.random, zero.lengths[1].auc), (0.0, None));
        let one = Prefixes::of(&table(&[&[0]]));
        let x = Matrix::zeros(1, 1);
        assert_eq!(NearnessReport::of(&one, x.view(), &Run::quiet(0)).unwrap(), None);
    }
}
