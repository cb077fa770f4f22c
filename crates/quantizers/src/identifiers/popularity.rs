//! `popularity`: one more digit that ranks the items of a shared tuple by popularity.
//!
//! MMGRec (arXiv 2404.16555): inside a group of equal codes the items are sorted by the number of
//! training interactions, most first, and the digit is the rank from 1; an item that is alone has 1.
//! Equally popular items keep the order of the catalogue (the published code leaves it to its
//! sort). All IDs are distinct. The digit depends on the training data: it changes when popularity
//! drifts. Its width is one more than the largest bucket. Cost `O(N L log N)`.

use super::{append, by_codes, groups, one_each};
use sidereal_core::{Codes, Error, Identifier, IdentifierInput, Result, Run, SidTable};
use std::cmp::Reverse;

sidereal_core::options! {
    /// `popularity` has no options.
    pub struct PopularityOptions {}
}

/// Appends the rank.
#[derive(Debug, Clone, Copy, Default)]
pub struct Popularity;

impl Popularity {
    /// The codes with the rank behind them: `N x (L + 1)` from `N x L` and N counts.
    pub fn append(&self, codes: &Codes, counts: &[u32]) -> Result<Codes> {
        if counts.len() != codes.rows() {
            return Err(Error::mismatch(format!(
                "popularity of {} items for the codes of {}",
                counts.len(),
                codes.rows()
            )));
        }
        let mut digits = vec![0; codes.rows()];
        let order = by_codes(codes);
        let mut ranked = Vec::new();
        for group in groups(codes, &order) {
            ranked.clear();
            ranked.extend_from_slice(group);
            ranked.sort_unstable_by_key(|&row| (Reverse(counts[row as usize]), row));
            (1..).zip(&ranked).for_each(|(rank, &row)| digits[row as usize] = rank);
        }
        append(codes, &digits)
    }
}

impl Identifier for Popularity {
    fn identify(&self, input: &IdentifierInput<'_>, _run: &Run<'_>) -> Result<SidTable> {
        one_each(&self.append(input.quantized()?.codes, input.popularity)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_most_popular_is_first() {
        let codes = Codes::new(5, 1, vec![7, 3, 7, 7, 7]).unwrap();
        let out = Popularity.append(&codes, &[4, 0, 9, 4, 0]).unwrap();
        assert_eq!((0..5).map(|i| out.row(i)[1]).collect::<Vec<_>>(), [2, 1, 1, 3, 4]);
        assert!(Popularity.append(&codes, &[1]).is_err());
    }

    proptest! {
        #[test]
        fn ranks_follow_the_counts(rows in prop::collection::vec((0u32..4, 0u32..5), 0..60)) {
            let codes = rows.iter().map(|r| r.0).collect();
            let counts: Vec<u32> = rows.iter().map(|r| r.1).collect();
            let codes = Codes::new(rows.len(), 1, codes).unwrap();
            let out = Popularity.append(&codes, &counts).unwrap();
            for (i, a) in rows.iter().enumerate() {
                let ahead = rows.iter().enumerate().filter(|(j, b)| {
                    b.0 == a.0 && (b.1 > a.1 || (b.1 == a.1 && *j < i))
                });
                prop_assert_eq!(out.row(i), [a.0, 1 + ahead.count() as u32]);
            }
        }
    }
}
