//! `ordinal`: one more digit that counts the items of a shared tuple.
//!
//! GRID (arXiv 2507.22224): a unique tuple gets 0, the `n > 1` items of a shared one get `1..n` in
//! item order. TIGER (arXiv 2305.05065): every tuple counts `0, 1, 2, ...`. MiniOneRec's constrained
//! k-means (arXiv 2510.24431): 1 to n inside a shared tuple, no digit at all for a unique one, so
//! that IDs have L or L + 1 codes; all items of a shared tuple have the digit, hence no ID begins
//! another one. All three make all IDs distinct. The digit's width is the size of the largest
//! bucket (one more where it starts at 1), so that a badly collided table widens the vocabulary.
//! Cost `O(N L log N)`.
//!
//! Rows of quantizers whose depth differs from row to row get an end code first where another
//! tuple begins with theirs; the papers have no such case.

use super::{append, by_codes, groups, one_each};
use serde::{Deserialize, Serialize};
use sidereal_core::{Codes, Identifier, IdentifierInput, Result, Run, SidTable};

/// Where the digit starts to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrdinalStart {
    /// 0 for a unique tuple, 1 to n inside a shared one.
    Grid,
    /// 0, 1, 2, ... for every tuple.
    Tiger,
    /// No digit for a unique tuple, 1 to n inside a shared one.
    Shared,
}

sidereal_core::options! {
    /// Options of `ordinal`.
    pub struct OrdinalOptions {
        /// `grid`: 0 for a unique tuple, 1 to n inside a shared one; `tiger`: 0, 1, 2, ... always;
        /// `shared`: no digit for a unique tuple, 1 to n inside a shared one (MiniOneRec).
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

    /// The codes with the digit behind them: `N x (L + 1)` from `N x L`. Rows without a digit end
    /// in [`Codes::NONE`].
    pub fn append(&self, codes: &Codes) -> Result<Codes> {
        let mut digits = vec![Codes::NONE; codes.rows()];
        let order = by_codes(codes);
        for group in groups(codes, &order) {
            let first = match self.options.start {
                OrdinalStart::Shared if group.len() == 1 => continue,
                OrdinalStart::Shared => 1,
                OrdinalStart::Grid => u32::from(group.len() > 1),
                OrdinalStart::Tiger => 0,
            };
            for (digit, &row) in (first..).zip(group) {
                digits[row as usize] = digit;
            }
        }
        append(codes, &digits)
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
    fn unique_tuples_can_do_without() {
        let codes = Codes::new(4, 2, vec![7, 1, 3, 1, 7, 1, 7, 1]).unwrap();
        let shared = OrdinalOptions { start: OrdinalStart::Shared };
        let out = Ordinal::new(shared.clone()).append(&codes).unwrap();
        let ids: Vec<_> = (0..4).map(|i| out.sid(i)).collect();
        assert_eq!(ids, [&[7, 1, 1][..], &[3, 1], &[7, 1, 2], &[7, 1, 3]]);
        let unique = Codes::new(2, 1, vec![7, 3]).unwrap();
        assert_eq!(Ordinal::new(shared).append(&unique).unwrap(), unique);
    }

    #[test]
    fn rows_of_different_depth_stay_apart() {
        let none = Codes::NONE;
        let codes = Codes::new(4, 2, vec![1, none, 1, 0, 1, none, 2, none]).unwrap();
        for start in [OrdinalStart::Grid, OrdinalStart::Tiger, OrdinalStart::Shared] {
            let out = Ordinal::new(OrdinalOptions { start }).append(&codes).unwrap();
            for i in 0..4 {
                for j in (0..4).filter(|j| *j != i) {
                    assert!(!out.sid(i).starts_with(out.sid(j)), "{start:?} {out:?}");
                }
            }
        }
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
