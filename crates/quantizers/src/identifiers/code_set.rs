//! `code-set`: the codes of an item as an unordered set.
//!
//! Parallel codes (product quantization, REG4Rec arXiv 2508.15308, RPG arXiv 2506.05781) have no
//! order: the decoder may give them in any. A member of the set must say by itself to which codebook
//! it belongs, so code `c` of codebook `m` becomes `c + sum_{m' < m} K_m'`. The table has
//! `CodeOrder::Set` and stores every set ascending, which is the order of the codebooks.
//!
//! A full set may belong to several items (REG4Rec has no digit that tells them apart); `number` adds
//! one more member, the item's place among those that share the set, from 0. Real-valued sets
//! (SETRec) are [`crate::continuous`].

use super::{Ids, by_codes, groups};
use serde::{Deserialize, Serialize};
use sidereal_core::{
    Code, CodeOrder, Error, Identifier, IdentifierInput, Quantized, Result, Run, SidTable,
};

/// What happens to items with the same set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SharedSet {
    /// They share the set.
    Tolerate,
    /// Every set gets one more member that counts them.
    Number,
}

sidereal_core::options! {
    /// Options of `code-set`.
    pub struct CodeSetOptions {
        /// Items with the same set: `tolerate`, or `number`: every set gets one more member.
        pub shared: SharedSet = SharedSet::Tolerate,
    }
}

/// Makes sets of codes.
#[derive(Debug, Clone)]
pub struct CodeSet {
    options: CodeSetOptions,
}

impl CodeSet {
    /// An identifier with these options.
    pub fn new(options: CodeSetOptions) -> Self {
        CodeSet { options }
    }

    /// The sets of all rows.
    ///
    /// Errors: codes that the codebook does not have, more than `u32::MAX` codes in all.
    pub fn sets(&self, from: &Quantized<'_>) -> Result<SidTable> {
        let (codes, widths) = (from.codes, from.codebook.widths());
        let mut offsets: Vec<Code> = vec![0];
        for &width in widths {
            let next = offsets.last().and_then(|offset| offset.checked_add(width));
            offsets.push(next.ok_or_else(|| Error::mismatch("code-set: more than 2^32 codes"))?);
        }
        let mut numbers = vec![0; codes.rows()];
        if self.options.shared == SharedSet::Number {
            let order = by_codes(codes);
            for group in groups(codes, &order) {
                (0..).zip(group).for_each(|(number, &row)| numbers[row as usize] = number);
            }
        }
        let last = offsets.last().copied().unwrap_or(0);
        let mut ids = Ids::new();
        for (i, number) in numbers.into_iter().enumerate() {
            let sid = codes.sid(i);
            if sid.len() > widths.len() || sid.iter().zip(widths).any(|(c, w)| c >= w) {
                return Err(Error::mismatch(format!(
                    "code-set: item {i} has the codes {sid:?}, the codebooks have {widths:?}"
                )));
            }
            let members = sid.iter().zip(&offsets).map(|(code, offset)| code + offset);
            let number = (self.options.shared == SharedSet::Number).then(|| last + number);
            ids.extend(members.chain(number));
        }
        ids.table(CodeOrder::Set)
    }
}

impl Identifier for CodeSet {
    fn identify(&self, input: &IdentifierInput<'_>, _run: &Run<'_>) -> Result<SidTable> {
        self.sets(input.quantized()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ResidualCodebook, ResidualScale};
    use sidereal_core::{Codes, Matrix};

    #[test]
    fn members_say_which_codebook_they_are_of() {
        let level = |w| Matrix::zeros(w, 1);
        let book =
            ResidualCodebook::new(vec![level(3), level(5), level(2)], ResidualScale::Raw).unwrap();
        let x = Matrix::zeros(3, 1);
        let codes = Codes::new(3, 3, vec![2, 0, 1, 0, 2, 1, 2, 0, 1]).unwrap();
        let from = Quantized { codes: &codes, codebook: &book, vectors: x.view() };
        let of = |shared| CodeSet::new(CodeSetOptions { shared }).sets(&from).unwrap();
        let table = of(SharedSet::Tolerate);
        // (0, 2, 1) and (2, 0, 1) have the same codes, in other codebooks.
        assert_eq!(table.sid(0), [2, 3, 9]);
        assert_eq!(table.sid(1), [0, 5, 9]);
        assert_eq!(table.items_of(&[2, 3, 9]).count(), 2);
        assert_eq!(table.order(), CodeOrder::Set);
        let table = of(SharedSet::Number);
        assert_eq!([table.sid(0), table.sid(2)], [[2, 3, 9, 10], [2, 3, 9, 11]]);
        let codes = Codes::new(3, 3, vec![3; 9]).unwrap();
        let from = Quantized { codes: &codes, ..from };
        assert!(CodeSet::new(CodeSetOptions::default()).sets(&from).is_err());
    }
}
