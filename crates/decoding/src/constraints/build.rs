//! Makes a [`Trie`] from identifiers in any order.
//!
//! Identifiers of one length whose codes fit 64 or 128 bits together are sorted as such numbers;
//! others as slices. What is beside the codes (marks of new prefixes) is made from the sorted codes,
//! 64 rows at a time. 100 million identifiers of four codes take 1.6 GB beside the codes given.

use super::bits::Bits;
use super::section::Section;
use super::trie::{Column, Starts, Trie};
use super::version::SetVersion;
use sidereal_core::{Code, Error, Result, SidTable};

impl Trie {
    /// Indexes all identifiers of a table; [`Trie::version`] is then the table's.
    ///
    /// Errors: more than 2^32 - 1 identifiers or, with differing lengths, codes.
    pub fn new(table: &SidTable) -> Result<Self> {
        let mut ids: Vec<&[Code]> = Vec::with_capacity(table.n_rows());
        ids.extend(table.sorted_rows().iter().map(|&r| table.sid(r as usize)));
        ids.dedup();
        Trie::from_sorted(&ids, Some(table.version()))
    }

    /// Indexes a set of identifiers in any order, as the candidates of one request; repeats count
    /// once. The version is a hash of the set.
    ///
    /// Errors: an empty identifier, or more than [`Trie::new`] takes.
    pub fn from_sids<'a>(sids: impl IntoIterator<Item = &'a [Code]>) -> Result<Self> {
        let mut ids: Vec<&[Code]> = sids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.first().is_some_and(|id| id.is_empty()) {
            return Err(Error::input("prefix index: an identifier has no code"));
        }
        Trie::from_sorted(&ids, None)
    }

    /// Indexes identifiers of `len` codes each that lie one behind the other, in any order; repeats
    /// count once. For catalogues of many millions. The version is that of [`Trie::from_sids`].
    ///
    /// Errors: a length of 0, codes that are no whole number of identifiers, or more than
    /// [`Trie::new`] takes.
    pub fn from_codes(codes: &[Code], len: usize) -> Result<Self> {
        if len == 0 || !codes.len().is_multiple_of(len) {
            return Err(Error::input(format!(
                "prefix index: {} codes are no whole number of identifiers of {len} codes",
                codes.len()
            )));
        }
        if codes.is_empty() {
            return Trie::from_sids([]);
        }
        let mut most = vec![0; len];
        for id in codes.chunks_exact(len) {
            most.iter_mut().zip(id).for_each(|(most, &code)| *most = code.max(*most));
        }
        let bits: Vec<u32> = most.iter().map(|&c| Code::BITS - c.leading_zeros()).collect();
        match bits.iter().sum::<u32>() {
            ..=64 => packed::<u64>(codes, len, &bits),
            65..=128 => packed::<u128>(codes, len, &bits),
            _ => Trie::from_sids(codes.chunks_exact(len)),
        }
    }

    /// `ids` are sorted, distinct and not empty; no version means that of the set.
    fn from_sorted(ids: &[&[Code]], version: Option<u64>) -> Result<Self> {
        let max_len = ids.iter().map(|id| id.len()).max().unwrap_or(0);
        let total: usize = ids.iter().map(|id| id.len()).sum();
        let starts = if ids.iter().all(|id| id.len() == max_len) {
            Starts::Fixed(max_len)
        } else {
            fits(total, "codes")?;
            let mut starts = Vec::with_capacity(ids.len() + 1);
            let mut at = 0u32;
            starts.push(at);
            for id in ids {
                at += id.len() as u32;
                starts.push(at);
            }
            Starts::Varying(starts.into())
        };
        let all = || ids.iter().flat_map(|id| id.iter().copied());
        let codes = Column::new(all().max().unwrap_or(0), total, all());
        let version = version.unwrap_or_else(|| {
            let mut version = SetVersion::default();
            ids.iter().for_each(|id| version.add(id.iter().copied()));
            version.value()
        });
        Trie::assemble(ids.len(), codes, starts, version)
    }

    /// Adds what the sorted codes imply.
    pub(super) fn assemble(
        rows: usize,
        codes: Column,
        starts: Starts,
        version: u64,
    ) -> Result<Self> {
        let mut trie = Trie {
            rows: fits(rows, "identifiers")?,
            max_len: 0,
            codes,
            starts,
            splits: Vec::new(),
            version,
        };
        trie.max_len = match trie.starts {
            _ if rows == 0 => 0,
            Starts::Fixed(len) => len,
            Starts::Varying(_) => (0..rows).map(|r| trie.row_len(r)).max().unwrap_or(0),
        };
        trie.splits = trie.marks();
        Ok(trie)
    }

    /// Where new prefixes begin, from the codes alone.
    pub(super) fn marks(&self) -> Vec<Bits<Section<u64>>> {
        let mut levels: Vec<Vec<u64>> = Vec::new();
        let mut shared = [0usize; 64];
        for start in (0..self.len()).step_by(64) {
            let n = (self.len() - start).min(64);
            for (i, s) in shared[..n].iter_mut().enumerate() {
                *s = if start + i == 0 { 0 } else { self.shared(start + i) };
            }
            // Below the codes that two neighbours share, every row begins a prefix of its own.
            let deepest = shared[..n].iter().copied().max().unwrap_or(0);
            while levels.len() < deepest {
                levels.push(vec![!0; start / 64]);
            }
            for (level, words) in levels.iter_mut().enumerate() {
                let bit = |word, (i, &s): (usize, &usize)| word | u64::from(s <= level) << i;
                words.push(shared[..n].iter().enumerate().fold(0u64, bit));
            }
        }
        levels.into_iter().map(|words| Bits::from_words(words).map(Section::from)).collect()
    }

    /// Codes that a row has in common with the row before.
    fn shared(&self, row: usize) -> usize {
        let (a, b) = (self.span(row - 1), self.span(row));
        let len = (a.1 - a.0).min(b.1 - b.0);
        (0..len).take_while(|i| self.codes.get(a.0 + i) == self.codes.get(b.0 + i)).count()
    }
}

/// Identifiers of one length, sorted as numbers in which the first code has the highest bits.
fn packed<K: Key>(codes: &[Code], len: usize, bits: &[u32]) -> Result<Trie> {
    let pack = |id: &[Code]| id.iter().zip(bits).fold(K::ZERO, |key, (&c, &b)| key.push(c, b));
    let mut keys: Vec<K> = codes.chunks_exact(len).map(pack).collect();
    keys.sort_unstable();
    keys.dedup();
    // Bits of a key behind each code.
    let mut behind = vec![0; len];
    for level in (1..len).rev() {
        behind[level - 1] = behind[level] + bits[level];
    }
    let code = |key: K, level: usize| key.cut(behind[level], bits[level]);
    let mut version = SetVersion::default();
    keys.iter().for_each(|&key| version.add((0..len).map(|level| code(key, level))));
    let most = if bits.iter().any(|&b| b > 16) { Code::MAX } else { 0 };
    let all = keys.iter().flat_map(|&key| (0..len).map(move |level| code(key, level)));
    let column = Column::new(most, keys.len() * len, all);
    Trie::assemble(keys.len(), column, Starts::Fixed(len), version.value())
}

/// A number that holds the codes of an identifier.
trait Key: Copy + Ord {
    const ZERO: Self;
    fn push(self, code: Code, bits: u32) -> Self;
    fn cut(self, behind: u32, bits: u32) -> Code;
}

macro_rules! keys {
    ($($t:ty),*) => {$(
        impl Key for $t {
            const ZERO: Self = 0;

            fn push(self, code: Code, bits: u32) -> Self {
                self << bits | Self::from(code)
            }

            fn cut(self, behind: u32, bits: u32) -> Code {
                // A level without bits may stand behind the highest one.
                let rest = self.checked_shr(behind).unwrap_or(0);
                (rest & ((1 << bits) - 1)) as Code
            }
        }
    )*};
}

keys!(u64, u128);

pub(super) fn fits(n: usize, what: &str) -> Result<u32> {
    u32::try_from(n).map_err(|_| {
        Error::input(format!(
            "prefix index: {n} {what}, at most {} fit; split the catalogue",
            u32::MAX
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codes_that_are_no_identifiers() {
        for (n, len) in [(3, 2), (2, 0)] {
            let e = Trie::from_codes(&vec![0; n], len).unwrap_err().to_string();
            assert!(e.contains("no whole number"), "{e}");
        }
        assert!(Trie::from_codes(&[], 3).unwrap().is_empty());
        let wide = [Code::MAX, 0, Code::MAX, Code::MAX, Code::MAX, 1];
        for len in [1, 2, 3, 6] {
            let trie = Trie::from_codes(&wide, len).unwrap();
            assert_eq!(trie, Trie::from_sids(wide.chunks(len)).unwrap(), "{len}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn flat_codes_equal_slices(
            len in 1usize..6,
            most in prop_oneof![Just(1u32), Just(4), Just(300), Just(70_000), Just(Code::MAX)],
            codes in proptest::collection::vec(0u32..=Code::MAX, 0..400),
        ) {
            let codes: Vec<Code> =
                codes.iter().take(codes.len() / len * len).map(|c| c % most).collect();
            let trie = Trie::from_codes(&codes, len).unwrap();
            prop_assert_eq!(trie, Trie::from_sids(codes.chunks(len)).unwrap());
        }
    }
}
