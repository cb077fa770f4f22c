//! Which identifiers hold a partial set: a posting list for each (codebook, code).
//!
//! Identifier r is row r of the table's trie; its code at place m belongs to codebook m, which for
//! sets, stored ascending with a range of numbers for each codebook, is what the identifier
//! `code-set` writes. Codes lie codebook after codebook, `M x R`; posting lists are offsets into
//! one column a codebook, rows ascending. Memory 8 bytes a code. The identifiers of a set extended
//! by a code are those of the set that the code's list holds: the shorter of the two is walked.

use crate::{ItemIndex, Rows};
use sidereal_core::{Code, Error, Result};

/// Identifiers of one length, seen as sets.
#[derive(Debug, Clone)]
pub struct PostingLists {
    rows: usize,
    columns: Vec<Column>,
}

/// One codebook.
#[derive(Debug, Clone)]
struct Column {
    /// Code of each row.
    codes: Vec<Code>,
    /// The smallest code.
    first: Code,
    /// `offsets[c - first]..offsets[c - first + 1]` are the places of the rows of code c.
    offsets: Vec<u32>,
    rows: Vec<u32>,
}

impl Column {
    fn new(codes: Vec<Code>) -> Self {
        let first = codes.iter().min().copied().unwrap_or(0);
        let span = codes.iter().max().map_or(0, |&last| (last - first) as usize + 1);
        let mut offsets = vec![0u32; span + 1];
        codes.iter().for_each(|&c| offsets[(c - first) as usize + 1] += 1);
        (0..span).for_each(|i| offsets[i + 1] += offsets[i]);
        let (mut next, mut rows) = (offsets.clone(), vec![0; codes.len()]);
        for (row, &c) in codes.iter().enumerate() {
            let at = &mut next[(c - first) as usize];
            rows[*at as usize] = row as u32;
            *at += 1;
        }
        Column { codes, first, offsets, rows }
    }

    fn list(&self, code: Code) -> &[u32] {
        let at = code.checked_sub(self.first).map(|c| c as usize);
        match at.filter(|&c| c + 1 < self.offsets.len()) {
            Some(c) => &self.rows[self.offsets[c] as usize..self.offsets[c + 1] as usize],
            None => &[],
        }
    }
}

impl PostingLists {
    /// Sees the identifiers of `index` as sets of one code a codebook.
    ///
    /// Errors: identifiers of several lengths.
    pub fn new(index: &ItemIndex) -> Result<Self> {
        let trie = index.trie();
        let (rows, books) = (trie.len(), trie.max_len());
        let mut codes: Vec<Vec<Code>> = (0..books).map(|_| Vec::with_capacity(rows)).collect();
        for row in 0..rows {
            let mut members = 0;
            for (m, code) in trie.sid(row).enumerate() {
                codes[m].push(code);
                members += 1;
            }
            if members != books {
                return Err(Error::mismatch(format!(
                    "sets of one code a codebook need identifiers of one length; the table has \
                     some of {members} and some of {books} codes"
                )));
            }
        }
        Ok(PostingLists { rows, columns: codes.into_iter().map(Column::new).collect() })
    }

    /// Number of identifiers R.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Number of codebooks M.
    pub fn codebooks(&self) -> usize {
        self.columns.len()
    }

    /// The code of an identifier in a codebook.
    pub fn code(&self, row: u32, codebook: usize) -> Code {
        self.columns[codebook].codes[row as usize]
    }

    /// Identifiers with a code of a codebook, ascending.
    pub fn rows_of(&self, codebook: usize, code: Code) -> &[u32] {
        self.columns[codebook].list(code)
    }

    /// Appends those of `rows` (ascending) that have the code.
    pub fn extend(&self, rows: &[u32], codebook: usize, code: Code, out: &mut Vec<u32>) {
        let list = self.rows_of(codebook, code);
        if rows.len() <= list.len() {
            let column = &self.columns[codebook].codes;
            out.extend(rows.iter().filter(|&&r| column[r as usize] == code));
        } else {
            out.extend(list.iter().filter(|r| rows.binary_search(r).is_ok()));
        }
    }

    /// The identifiers alive in `allowed`, ascending.
    ///
    /// Errors: `allowed` is about another number of identifiers.
    pub fn alive(&self, allowed: &Rows) -> Result<Vec<u32>> {
        if allowed.total() != self.rows {
            return Err(Error::mismatch(format!(
                "rows of {} identifiers do not fit an index of {}",
                allowed.total(),
                self.rows
            )));
        }
        let next = |r: usize| Some(allowed.next(r, self.rows)).filter(|&r| r < self.rows);
        Ok(std::iter::successors(next(0), |&r| next(r + 1)).map(|r| r as u32).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sidereal_core::{CodeOrder, ItemId, SidTable};
    use std::sync::Arc;

    fn index(sids: &[Vec<Code>], order: CodeOrder) -> Result<PostingLists> {
        let rows = sids.iter().enumerate().map(|(i, s)| (ItemId(i as u32), s.as_slice()));
        let table = SidTable::new(sids.len(), order, rows).unwrap();
        PostingLists::new(&ItemIndex::new(Arc::new(table)).unwrap())
    }

    #[test]
    fn wrong_tables_and_rows() {
        let e = index(&[vec![1, 2], vec![1]], CodeOrder::Sequence).unwrap_err().to_string();
        assert!(e.contains("one length"), "{e}");
        let one = index(&[vec![7]], CodeOrder::Sequence).unwrap();
        assert!(one.alive(&Rows::all(2)).unwrap_err().to_string().contains("2 identifiers"));
        assert_eq!(one.rows_of(0, 7), [0]);
        assert!(one.rows_of(0, 6).is_empty() && one.rows_of(0, 8).is_empty());
        let none = index(&[], CodeOrder::Set).unwrap();
        assert!(none.is_empty() && none.alive(&Rows::all(0)).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn lists_equal_the_definition(
            sids in proptest::collection::vec(proptest::collection::vec(0u32..4, 3), 1..40),
            sets in any::<bool>(), m in 0usize..3, code in 0u32..15, gone in 0u32..40,
        ) {
            // Codes of codebook m lie in a range of their own, as sets need it.
            let sids: Vec<Vec<Code>> = sids.iter()
                .map(|s| s.iter().enumerate().map(|(m, c)| m as u32 * 5 + c).collect())
                .collect();
            let order = if sets { CodeOrder::Set } else { CodeOrder::Sequence };
            let index = index(&sids, order).unwrap();
            let mut distinct = sids.clone();
            distinct.sort();
            distinct.dedup();
            prop_assert_eq!((index.len(), index.codebooks()), (distinct.len(), 3));
            let alive = index.alive(&Rows::except(distinct.len(), vec![gone])).unwrap();
            let want: Vec<u32> = (0..distinct.len() as u32).filter(|&r| r != gone).collect();
            prop_assert_eq!(&alive, &want);
            let with = |r: &u32| distinct[*r as usize][m] == code;
            let mut got = Vec::new();
            index.extend(&alive, m, code, &mut got);
            prop_assert_eq!(got, want.iter().copied().filter(with).collect::<Vec<_>>());
            let all: Vec<u32> = (0..distinct.len() as u32).filter(with).collect();
            prop_assert_eq!(index.rows_of(m, code), all);
        }
    }
}
