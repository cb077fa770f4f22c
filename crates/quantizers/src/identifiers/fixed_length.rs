//! `fixed-length`: IDs of any length made equally long, for models that generate so many codes.
//!
//! Every missing code becomes the end code of its level, one above the largest code there. IDs stay
//! distinct, none becomes a prefix of another, and the first L codes of an item keep their meaning.
//! After the first end code a prefix index allows nothing else, so a constrained decoder cannot go
//! wrong there; the model learns it at once. Cost `O(N L)`.

use sidereal_core::{
    Code, CodeOrder, Error, Identifier, IdentifierInput, Inner, Result, Run, SidTable,
};
use std::path::PathBuf;

sidereal_core::options! {
    /// Options of `fixed-length`.
    pub struct FixedLengthOptions {
        /// The identifier whose IDs are filled up.
        pub of: Inner = Inner::Name("tolerate".into()),
    }
}

/// Fills up the IDs of another identifier.
pub struct FixedLength {
    of: Box<dyn Identifier>,
}

impl FixedLength {
    /// Around another identifier.
    pub fn new(of: Box<dyn Identifier>) -> Self {
        FixedLength { of }
    }
}

/// The table with all IDs as long as its longest.
///
/// Errors: sets, which have no last code.
pub fn fill_up(table: &SidTable) -> Result<SidTable> {
    if table.order() == CodeOrder::Set {
        return Err(Error::mismatch("fixed-length: sets have no end, so they cannot be filled up"));
    }
    let widths = table.widths();
    let mut codes: Vec<Code> = Vec::with_capacity(table.n_rows() * widths.len());
    for row in 0..table.n_rows() {
        let sid = table.sid(row);
        codes.extend_from_slice(sid);
        codes.extend_from_slice(&widths[sid.len()..]);
    }
    let items = (0..table.n_rows()).map(|row| table.item(row));
    SidTable::new(table.n_items(), table.order(), items.zip(codes.chunks(widths.len().max(1))))
}

impl Identifier for FixedLength {
    fn identify(&self, input: &IdentifierInput<'_>, run: &Run<'_>) -> Result<SidTable> {
        fill_up(&self.of.identify(input, run)?)
    }

    fn reads_codes(&self) -> bool {
        self.of.reads_codes()
    }

    fn files(&self) -> Vec<PathBuf> {
        self.of.files()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sidereal_core::ItemId;

    fn table(codes: &[Vec<Code>]) -> SidTable {
        let rows = codes.iter().enumerate().map(|(i, c)| (ItemId(i as u32), &c[..]));
        SidTable::new(codes.len(), CodeOrder::Sequence, rows).unwrap()
    }

    #[test]
    fn three_ids_by_hand() {
        let filled = fill_up(&table(&[vec![2], vec![2, 5], vec![0, 1, 3]])).unwrap();
        let sids: Vec<_> = (0..3).map(|r| filled.sid(r)).collect();
        assert_eq!(sids, [[2, 6, 4], [2, 5, 4], [0, 1, 3]]);
        let set = SidTable::new(1, CodeOrder::Set, [(ItemId(0), &[1][..])]).unwrap();
        assert!(fill_up(&set).is_err());
    }

    proptest! {
        #[test]
        fn equal_length_and_as_distinct_as_before(codes in proptest::collection::vec(
            proptest::collection::vec(0u32..3, 1..5), 1..30)) {
            let before = table(&codes);
            let after = fill_up(&before).unwrap();
            prop_assert_eq!(after.fixed_len(), Some(before.max_len()));
            for (i, a) in codes.iter().enumerate() {
                prop_assert!(after.sid(i).starts_with(a));
                for (j, b) in codes.iter().enumerate() {
                    prop_assert_eq!(a == b, after.sid(i) == after.sid(j));
                }
            }
        }
    }
}
