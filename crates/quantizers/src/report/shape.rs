//! How IDs fill their space: length, tokens, capacity, sizes of prefixes, collisions to expect.
//!
//! With widths `K_1 .. K_L` the capacity is `C = prod K_l`. `N` items thrown into C places at
//! random: an item shares its place with probability `1 - (1 - 1/C)^(N-1)`, and
//! `C (1 - (1 - 1/C)^N)` places are taken. `H_l` is the entropy (bits) of the prefix of length `l`
//! of a random item; level `l` adds `H_l - H_(l-1)`. The Gini coefficient of sizes
//! `x_1 <= .. <= x_n` is `2 sum_i i x_i / (n sum_i x_i) - (n + 1) / n`: 0 when all are equal.
//!
//! Cost `O(N L)` and a sort of the sizes.

use super::prefixes::Prefixes;
use serde::{Deserialize, Serialize};
use sidereal_core::SidTable;

/// Length, capacity and balance of a set of IDs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShapeReport {
    /// Items of the catalogue.
    pub items: usize,
    /// Items with an ID.
    pub covered: usize,
    /// Codes of the shortest ID.
    pub shortest: usize,
    /// Codes of the longest ID.
    pub longest: usize,
    /// Mean number of codes of an ID: decoding steps an item.
    pub mean_length: f64,
    /// Sum of the widths: tokens that a model needs.
    pub tokens: u64,
    /// `log2` of the product of the widths.
    pub capacity_bits: f64,
    /// Entropy of the ID of a random item in bits; `log2 N` when all differ.
    pub id_bits: f64,
    /// `id_bits / capacity_bits`.
    pub capacity_used: f64,
    /// Share of items that would share their ID with another, if IDs were uniformly random.
    pub uniform_collision_rate: f64,
    /// Distinct IDs as a share of items, if IDs were uniformly random.
    pub uniform_distinct_share: f64,
    /// One entry a prefix length, from 1.
    pub prefixes: Vec<PrefixShape>,
}

/// The prefixes of one length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrefixShape {
    /// Codes of the prefix.
    pub length: usize,
    /// Distinct prefixes.
    pub prefixes: usize,
    /// Share of the items under the largest.
    pub largest_share: f64,
    /// Gini coefficient of the numbers of items under them.
    pub gini: f64,
    /// Mean number of continuations of a prefix that is one code shorter.
    pub branching: f64,
    /// Entropy that the last code adds to the ones before it, in bits.
    pub added_bits: f64,
}

impl ShapeReport {
    /// Of a table.
    pub fn of(table: &SidTable, prefixes: &Prefixes) -> Self {
        let lengths = || (0..table.n_rows()).map(|r| table.sid(r).len());
        let covered = prefixes.order().len();
        let capacity_bits: f64 = table.widths().iter().map(|&w| f64::from(w).log2()).sum();
        let entropies: Vec<f64> =
            (0..=prefixes.longest()).map(|l| entropy(prefixes.sizes(l), covered)).collect();
        let id_bits = entropies.last().copied().unwrap_or(0.0);
        let (collide, distinct) = uniform(covered, capacity_bits);
        let shape = |l: usize| PrefixShape {
            length: l,
            prefixes: prefixes.groups(l),
            largest_share: prefixes.sizes(l).max().unwrap_or(0) as f64 / covered.max(1) as f64,
            gini: gini(prefixes.sizes(l)),
            branching: prefixes.groups(l) as f64 / prefixes.groups(l - 1).max(1) as f64,
            added_bits: (entropies[l] - entropies[l - 1]).max(0.0),
        };
        ShapeReport {
            items: table.n_items(),
            covered,
            shortest: lengths().min().unwrap_or(0),
            longest: table.max_len(),
            mean_length: lengths().sum::<usize>() as f64 / table.n_rows().max(1) as f64,
            tokens: table.widths().iter().map(|&w| u64::from(w)).sum(),
            capacity_bits,
            id_bits,
            capacity_used: if capacity_bits > 0.0 { id_bits / capacity_bits } else { 0.0 },
            uniform_collision_rate: collide,
            uniform_distinct_share: distinct,
            prefixes: (1..=prefixes.longest()).map(shape).collect(),
        }
    }
}

/// Entropy in bits of groups of `total` items.
fn entropy(sizes: impl Iterator<Item = usize>, total: usize) -> f64 {
    let n = total as f64;
    let bits: f64 = sizes
        .map(|s| {
            let p = s as f64 / n;
            -p * p.log2()
        })
        .sum();
    bits.max(0.0)
}

/// Share of `n` items that share a place, and places taken as a share of items, when items are
/// thrown into `2^bits` places.
fn uniform(n: usize, bits: f64) -> (f64, f64) {
    if n == 0 {
        return (0.0, 0.0);
    }
    let n = n as f64;
    // 1 - 1/C by its logarithm: C may be far beyond f64's whole numbers. A single place has -inf,
    // and 0 * -inf must be 0.
    let stay = (-(-bits).exp2()).ln_1p();
    let others = if n > 1.0 { stay * (n - 1.0) } else { 0.0 };
    (-others.exp_m1(), (bits.exp2() * -(stay * n).exp_m1() / n).min(1.0))
}

/// Gini coefficient of sizes; 0 for none.
pub fn gini(sizes: impl Iterator<Item = usize>) -> f64 {
    let mut sizes: Vec<usize> = sizes.collect();
    sizes.sort_unstable();
    let n = sizes.len() as f64;
    let total: usize = sizes.iter().sum();
    if total == 0 {
        return 0.0;
    }
    let ranked: f64 = sizes.iter().enumerate().map(|(i, &x)| (i + 1) as f64 * x as f64).sum();
    (2.0 * ranked / (n * total as f64) - (n + 1.0) / n).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::prefixes::tests::table;
    use super::*;

    fn shape(ids: &[&[u32]]) -> ShapeReport {
        let t = table(ids);
        ShapeReport::of(&t, &Prefixes::of(&t))
    }

    #[test]
    fn four_items_by_hand() {
        let s = shape(&[&[0, 0], &[0, 1], &[0, 0], &[1, 1]]);
        assert_eq!((s.items, s.covered, s.shortest, s.longest, s.tokens), (4, 4, 2, 2, 4));
        assert_eq!((s.mean_length, s.capacity_bits), (2.0, 2.0));
        // Three IDs on 2, 1, 1 items: 1.5 bits of the 2.
        assert!((s.id_bits - 1.5).abs() < 1e-15 && (s.capacity_used - 0.75).abs() < 1e-15);
        // First code: 3 and 1 items; (1 * 1 + 2 * 3) * 2 / (2 * 4) - 3/2 = 1/4.
        let p = &s.prefixes[0];
        assert_eq!((p.prefixes, p.largest_share, p.branching), (2, 0.75, 2.0));
        assert!((p.gini - 0.25).abs() < 1e-15, "{}", p.gini);
        let h = -(0.75f64 * 0.75f64.log2() + 0.25 * 0.25f64.log2());
        assert!((p.added_bits - h).abs() < 1e-15);
        assert!((s.prefixes[1].added_bits - (1.5 - h)).abs() < 1e-15);
        assert_eq!(s.prefixes[1].branching, 1.5);
        // Four places: alone with (3/4)^3; 4 (1 - (3/4)^4) places for 4 items.
        assert!((s.uniform_collision_rate - (1.0 - 0.75f64.powi(3))).abs() < 1e-12);
        assert!((s.uniform_distinct_share - (1.0 - 0.75f64.powi(4))).abs() < 1e-12);
    }

    #[test]
    fn extremes() {
        assert_eq!(uniform(1, 0.0), (0.0, 1.0));
        assert_eq!(uniform(5, 0.0), (1.0, 0.2));
        let (collide, distinct) = uniform(12_101, 256.0);
        assert!(collide > 0.0 && collide < 1e-60 && (distinct - 1.0).abs() < 1e-9);
        assert_eq!((gini([].into_iter()), gini([3, 3, 3].into_iter())), (0.0, 0.0));
        let one_has_all = gini([0, 0, 0, 8].into_iter());
        assert!((one_has_all - 0.75).abs() < 1e-15);
        let s = shape(&[&[0]]);
        assert_eq!((s.id_bits, s.capacity_used, s.prefixes[0].gini), (0.0, 0.0, 0.0));
        let none = SidTable::new(2, sidereal_core::CodeOrder::Sequence, []).unwrap();
        let s = ShapeReport::of(&none, &Prefixes::of(&none));
        assert_eq!((s.covered, s.longest, s.mean_length), (0, 0, 0.0));
    }
}
