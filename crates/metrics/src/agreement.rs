//! Agreement: of two judges about labels, and of two recommenders about lists.

use sidereal_core::{Error, ItemId, Result};
use std::collections::{BTreeMap, HashMap};

/// Cohen's kappa = (p_o - p_e) / (1 - p_e): agreement of two judges beyond chance, p_o the share of
/// equal labels, p_e the sum over labels of the product of their shares. 1 is full agreement, 0 that
/// of chance. None where both always give one and the same label, which leaves chance no room. Fails
/// for no label or when the two differ in number.
pub fn cohens_kappa(a: &[u32], b: &[u32]) -> Result<Option<f64>> {
    if a.len() != b.len() || a.is_empty() {
        return Err(Error::mismatch(format!("{} labels beside {}", a.len(), b.len())));
    }
    let mut shares: BTreeMap<u32, [u64; 2]> = BTreeMap::new();
    for (&a, &b) in a.iter().zip(b) {
        shares.entry(a).or_default()[0] += 1;
        shares.entry(b).or_default()[1] += 1;
    }
    let n = a.len() as u128;
    let equal = a.iter().zip(b).filter(|(a, b)| a == b).count() as u128;
    // Both sides times n^2, in whole numbers up to the division.
    let chance: u128 = shares.values().map(|[a, b]| u128::from(*a) * u128::from(*b)).sum();
    let (above, room) = ((equal * n) as i128 - chance as i128, n * n - chance);
    Ok((room > 0).then(|| above as f64 / room as f64))
}

/// Jaccard similarity |A and B| / |A or B| of the first `k` distinct items of two lists; 1 for two
/// empty lists.
pub fn jaccard(a: &[ItemId], b: &[ItemId], k: usize) -> f64 {
    let (a, b) = (places(a, k), places(b, k));
    let both = a.keys().filter(|item| b.contains_key(item)).count();
    let either = a.len() + b.len() - both;
    if either == 0 { 1.0 } else { both as f64 / either as f64 }
}

/// Kendall's tau of the items that both lists have within `k`: pairs in one order less pairs in
/// opposite orders, over all pairs. None for fewer than two common items. Cost: pairs.
pub fn kendall_tau(a: &[ItemId], b: &[ItemId], k: usize) -> Option<f64> {
    let (a, b) = (places(a, k), places(b, k));
    let mut common: Vec<(usize, usize)> =
        a.iter().filter_map(|(item, &place)| Some((place, *b.get(item)?))).collect();
    common.sort_unstable();
    let mut balance = 0i64;
    for (i, (_, later)) in common.iter().enumerate() {
        for (_, earlier) in &common[..i] {
            balance += if earlier < later { 1 } else { -1 };
        }
    }
    let pairs = common.len() * common.len().saturating_sub(1) / 2;
    (pairs > 0).then(|| balance as f64 / pairs as f64)
}

/// Rank of each of the first `k` distinct items.
fn places(list: &[ItemId], k: usize) -> HashMap<ItemId, usize> {
    let mut places = HashMap::new();
    for &item in list {
        if places.len() >= k {
            break;
        }
        let next = places.len();
        places.entry(item).or_insert(next);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges() {
        assert_eq!(cohens_kappa(&[0, 1, 2, 1], &[0, 1, 2, 1]).unwrap(), Some(1.0));
        // Independent and balanced.
        assert_eq!(cohens_kappa(&[0, 0, 1, 1], &[0, 1, 0, 1]).unwrap(), Some(0.0));
        assert_eq!(cohens_kappa(&[0, 1], &[1, 0]).unwrap(), Some(-1.0));
        assert_eq!(cohens_kappa(&[3, 3], &[3, 3]).unwrap(), None);
        assert!(cohens_kappa(&[], &[]).is_err() && cohens_kappa(&[1], &[]).is_err());
    }

    #[test]
    fn lists() {
        let (a, b) = ([1, 2, 2, 3].map(ItemId), [3, 2, 9].map(ItemId));
        assert_eq!(
            (jaccard(&a, &b, 10), jaccard(&a, &b, 2), jaccard(&a, &[], 5)),
            (0.5, 1.0 / 3.0, 0.0)
        );
        assert_eq!(jaccard(&[], &[], 3), 1.0);
        assert_eq!(kendall_tau(&a, &b, 10), Some(-1.0));
        assert_eq!(kendall_tau(&a, &a, 10), Some(1.0));
        assert_eq!((kendall_tau(&a, &b, 2), kendall_tau(&a, &b, 0)), (None, None));
    }
}
