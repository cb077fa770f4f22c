//! `ordinal`: one more digit that counts the items of a shared tuple.
//!
//! GRID (arXiv 2507.22224): a unique tuple gets 0, the `n > 1` items of a shared one get `1..n` in
//! item order. TIGER (arXiv 2305.05065): every tuple counts `0, 1, 2, ...`. Both make all IDs
//! distinct. The digit's width is the size of the largest bucket (one more for GRID), so that a
//! badly collided table widens the vocabulary. Cost `O(N L log N)`.

use super::{by_codes, groups, one_each};
use serde::{Deserialize, Serialize};
use sidereal_core::{Codes, Error, Identifier, IdentifierInput, Result, Run, SidTable};

/// Where the digit starts to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrdinalStart {
    /// 0 for a unique tuple, 1 to n inside a shared one.
    Grid,
    /// 0, 1, 2, ... for every tuple.
    Tiger,
}

sidereal_core::options! {
    /// Options of `ordinal`.
    pub struct OrdinalOptions {
        /// `grid`: 0 for a unique tuple, 1 to n inside a shared one; `tiger`: 0, 1, 2, ... always.
        pub start: OrdinalStart = OrdinalStart::Grid,
    }
}

/// Appends the digit.
#[derive(Debug, Clone)]
pub struct Ordinal {
    options: OrdinalOptions,
}

impl Ordinal {
    /// An identifier with these options.
    pub fn new(options: OrdinalOptions) -> Self {
        Ordinal { options }
    }

    /// The codes with the digit behind them: `N x (L + 1)` from `N x L`.
    pub fn append(&self, codes: &Codes) -> Result<Codes> {
        let (rows, levels) = (codes.rows(), codes.levels());
        if let Some(short) = (0..rows).find(|&i| codes.sid(i).len() < levels) {
            // A digit behind a short ID could be the next code of a longer one.
            return Err(Error::mismatch(format!(
                "ordinal: item {short} has {} codes, others have {levels}; a digit tells apart only \
                 IDs of one length",
                codes.sid(short).len()
            )));
        }
        let mut data = vec![0; rows * (levels + 1)];
        for (i, out) in data.chunks_exact_mut(levels + 1).enumerate() {
            out[..levels].copy_from_slice(codes.row(i));
        }
        let order = by_codes(codes);
        for group in groups(codes, &order) {
            let first = u32::from(self.options.start == OrdinalStart::Grid && group.len() > 1);
            for (digit, &row) in (first..).zip(group) {
                data[row as usize * (levels + 1) + levels] = digit;
            }
        }
        Codes::new(rows, levels + 1, data)
    }
}

impl Identifier for Ordinal {
    fn identify(&self, input: &IdentifierInput<'_>, _run: &Run<'_>) -> Result<SidTable> {
        one_each(&self.append(input.quantized()?.codes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn digits(start: OrdinalStart, codes: &[u32]) -> Vec<u32> {
        let codes = Codes::new(codes.len(), 1, codes.to_vec()).unwrap();
        let out = Ordinal::new(OrdinalOptions { start }).append(&codes).unwrap();
        (0..out.rows()).map(|i| out.row(i)[1]).collect()
    }

    #[test]
    fn tuples_a_b_a_a() {
        assert_eq!(digits(OrdinalStart::Grid, &[7, 3, 7, 7]), [1, 0, 2, 3]);
        assert_eq!(digits(OrdinalStart::Tiger, &[7, 3, 7, 7]), [0, 0, 1, 2]);
        assert!(digits(OrdinalStart::Grid, &[]).is_empty());
    }

    #[test]
    fn ids_of_different_length_are_refused() {
        let codes = Codes::new(2, 2, vec![1, 2, 1, Codes::NONE]).unwrap();
        let refused = Ordinal::new(OrdinalOptions::default()).append(&codes).unwrap_err();
        assert!(refused.to_string().contains("item 1 has 1 codes"), "{refused}");
    }

    #[test]
    fn a_hundred_thousand_items_on_one_tuple() {
        let got = digits(OrdinalStart::Grid, &vec![5; 100_000]);
        assert!(got.iter().copied().eq(1..=100_000));
    }

    proptest! {
        #[test]
        fn all_ids_are_distinct_and_keep_their_codes(
            levels in 1usize..4,
            flat in proptest::collection::vec(0u32..3, 0..120),
            tiger in any::<bool>(),
        ) {
            let start = if tiger { OrdinalStart::Tiger } else { OrdinalStart::Grid };
            let rows = flat.len() / levels;
            let codes = Codes::new(rows, levels, flat[..rows * levels].to_vec()).unwrap();
            let out = Ordinal::new(OrdinalOptions { start }).append(&codes).unwrap();
            let ids: BTreeSet<_> = (0..rows).map(|i| out.row(i)).collect();
            prop_assert_eq!(ids.len(), rows);
            for i in 0..rows {
                let (prefix, digit) = out.row(i).split_at(levels);
                prop_assert_eq!(prefix, codes.row(i));
                // The definition, row by row.
                let before = (0..i).filter(|&j| codes.row(j) == codes.row(i)).count() as u32;
                let all = (0..rows).filter(|&j| codes.row(j) == codes.row(i)).count();
                prop_assert_eq!(digit[0], before + u32::from(!tiger && all > 1));
            }
        }
    }
}
