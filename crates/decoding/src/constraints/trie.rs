//! Compact prefix index over the identifiers of a catalogue.
//!
//! The M distinct identifiers lie sorted, so every prefix owns one contiguous range of rows and the
//! index needs no pointers: a state is the range `(lo, hi)` and its subtree count is `hi - lo`. For
//! each level d a bitmap marks the rows where a new (d+1)-code prefix begins; children of a state
//! are the marks inside its range. Expanding costs O(children + rows / 4096), following one known
//! code O(log rows). Identifiers may differ in length, and one may be the prefix of another: the
//! shorter one is then the first row of the range.
//!
//! Memory: 2 bytes a code (4 when a code exceeds 65,535), M / 8 bytes for each level at which two
//! identifiers share a code, and 4 M bytes more when lengths differ. The same numbers lie in a file
//! ([`Trie::save`], [`Trie::open`]).

use super::bits::Bits;
use super::section::Section;
use crate::TrieRows;
use crate::{Branch, Constraint, State};
use sidereal_core::{Code, Error, Result};

/// Codes of all rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Column {
    Narrow(Section<u16>),
    Wide(Section<u32>),
}

impl Column {
    /// `n` codes of at most `most`.
    pub fn new(most: Code, n: usize, codes: impl Iterator<Item = Code>) -> Self {
        // The room is taken at once: an iterator over rows does not know how many codes it has.
        if most <= Code::from(u16::MAX) {
            let mut narrow = Vec::with_capacity(n);
            narrow.extend(codes.map(|c| c as u16));
            return Column::Narrow(narrow.into());
        }
        let mut wide = Vec::with_capacity(n);
        wide.extend(codes);
        Column::Wide(wide.into())
    }

    /// Code `i`; 0 outside, which only a file that was not verified can ask for.
    pub fn get(&self, i: usize) -> Code {
        match self {
            Column::Narrow(v) => v.get(i).map_or(0, |&c| Code::from(c)),
            Column::Wide(v) => v.get(i).copied().unwrap_or(0),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Column::Narrow(v) => v.len(),
            Column::Wide(v) => v.len(),
        }
    }
}

/// Where rows begin in the code column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Starts {
    /// All identifiers have this length.
    Fixed(usize),
    /// Row `r` is `starts[r]..starts[r + 1]`.
    Varying(Section<u32>),
}

/// Prefix index over sorted distinct identifiers; as a [`Constraint`] it allows exactly these.
///
/// Identifiers of an unordered table ([`sidereal_core::CodeOrder::Set`]) are generated in ascending
/// order of codes, as the table stores them. Which items carry an identifier is asked of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trie {
    pub(super) rows: u32,
    pub(super) max_len: usize,
    pub(super) codes: Column,
    pub(super) starts: Starts,
    /// Bit `r` of level `d`: row `r` differs from row `r - 1` within its first `d + 1` codes. Only
    /// levels where some row does not; below these every row is a child of its own.
    pub(super) splits: Vec<Bits<Section<u64>>>,
    pub(super) version: u64,
}

impl Trie {
    /// Number of distinct identifiers M.
    pub fn len(&self) -> usize {
        self.rows as usize
    }

    /// Whether there is no identifier.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Length of the longest identifier.
    pub fn max_len(&self) -> usize {
        self.max_len
    }

    /// Hash of the content, [`SidTable::version`](sidereal_core::SidTable::version) of the table it
    /// was made from.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Refuses to go with anything made from another table.
    pub fn check_version(&self, version: u64) -> Result<()> {
        if version == self.version {
            return Ok(());
        }
        Err(Error::mismatch(format!(
            "the prefix index has version {:016x}, but version {version:016x} is wanted: build \
             index and model from the same SID table",
            self.version
        )))
    }

    /// Codes of the identifier at `row`, in sorted order; none outside the index.
    pub fn sid(&self, row: usize) -> impl Iterator<Item = Code> {
        let (start, end) = if row < self.len() { self.span(row) } else { (0, 0) };
        (start..end.min(self.codes.len())).map(|i| self.codes.get(i))
    }

    /// The state after `prefix`, if an identifier begins with it.
    pub fn find(&self, prefix: &[Code]) -> Option<State> {
        let mut state = self.root();
        for (d, &code) in prefix.iter().enumerate() {
            state = self.step(&prefix[..d], state, code)?;
        }
        (self.count(state) > 0).then_some(state)
    }

    /// Whether `sid` is a whole identifier of the index.
    pub fn contains(&self, sid: &[Code]) -> bool {
        self.row_of(sid).is_some()
    }

    /// The row of a whole identifier.
    pub fn row_of(&self, sid: &[Code]) -> Option<usize> {
        let state = self.find(sid).filter(|&state| self.accepts(sid, state))?;
        Some(self.unpack(state).0)
    }

    /// Number of identifiers below a state.
    pub fn count(&self, state: State) -> usize {
        let (lo, hi) = self.unpack(state);
        hi - lo
    }

    /// Bytes of the index.
    pub fn bytes(&self) -> usize {
        let codes = match &self.codes {
            Column::Narrow(v) => v.len() * 2,
            Column::Wide(v) => v.len() * 4,
        };
        let starts = match &self.starts {
            Starts::Fixed(_) => 0,
            Starts::Varying(v) => v.len() * 4,
        };
        codes + starts + self.splits.iter().map(Bits::bytes).sum::<usize>()
    }

    /// Where the codes of a row lie.
    pub(super) fn span(&self, row: usize) -> (usize, usize) {
        match &self.starts {
            Starts::Fixed(len) => (row * len, (row + 1) * len),
            Starts::Varying(starts) => match starts.get(row..row + 2) {
                // In order, also in a file that was not verified.
                Some(&[start, end]) => (start as usize, end.max(start) as usize),
                _ => (0, 0),
            },
        }
    }

    pub(super) fn row_len(&self, row: usize) -> usize {
        let (start, end) = self.span(row);
        end - start
    }

    pub(super) fn code(&self, row: usize, level: usize) -> Code {
        self.codes.get(self.span(row).0 + level)
    }

    pub(super) fn pack(lo: usize, hi: usize) -> State {
        // Rows fit u32: checked when the index was built.
        State((lo as u64) << 32 | hi as u64)
    }

    /// Rows of a state; a state of another index is cut to the rows there are.
    pub(super) fn unpack(&self, state: State) -> (usize, usize) {
        let hi = (state.0 as u32).min(self.rows) as usize;
        (((state.0 >> 32) as usize).min(hi), hi)
    }

    /// Where the child that holds `row` ends; `hi` ends its parent, a prefix of `level` codes.
    pub(super) fn next_child(&self, level: usize, row: usize, hi: usize) -> usize {
        match self.splits.get(level) {
            Some(splits) => splits.next(row + 1, hi),
            None => row + 1,
        }
    }

    /// Rows of the children: without the row that ends at this depth.
    pub(super) fn below(&self, depth: usize, state: State) -> (usize, usize) {
        let (lo, hi) = self.unpack(state);
        let ends_here = lo < hi && self.row_len(lo) <= depth;
        (lo + usize::from(ends_here), hi)
    }
}

impl Constraint for Trie {
    fn root(&self) -> State {
        Trie::pack(0, self.len())
    }

    fn expand(&self, prefix: &[Code], state: State, out: &mut Vec<Branch>) {
        let level = prefix.len();
        let (mut row, hi) = self.below(level, state);
        while row < hi {
            let next = self.next_child(level, row, hi);
            out.push(Branch { code: self.code(row, level), state: Trie::pack(row, next) });
            row = next;
        }
    }

    fn accepts(&self, prefix: &[Code], state: State) -> bool {
        let (lo, hi) = self.unpack(state);
        lo < hi && self.row_len(lo) == prefix.len()
    }

    fn step(&self, prefix: &[Code], state: State, code: Code) -> Option<State> {
        let level = prefix.len();
        let (lo, hi) = self.below(level, state);
        let first = partition(lo, hi, |row| self.code(row, level) < code);
        let end = partition(first, hi, |row| self.code(row, level) == code);
        (first < end).then(|| Trie::pack(first, end))
    }

    fn continues(&self, prefix: &[Code], state: State) -> bool {
        let (lo, hi) = self.below(prefix.len(), state);
        lo < hi
    }

    fn trie_rows(&self) -> Option<TrieRows<'_>> {
        Some(TrieRows { trie: self, alive: None })
    }
}

/// First position of `lo..hi` for which `before` does not hold; it holds for a leading part only.
pub(crate) fn partition(mut lo: usize, mut hi: usize, before: impl Fn(usize) -> bool) -> usize {
    while lo < hi {
        let middle = lo + (hi - lo) / 2;
        if before(middle) {
            lo = middle + 1;
        } else {
            hi = middle;
        }
    }
    lo
}

#[cfg(test)]
mod tests {
    use super::super::build::fits;
    use super::*;
    use sidereal_core::SidTable;

    fn codes(trie: &Trie, prefix: &[Code]) -> Vec<Code> {
        let mut out = Vec::new();
        trie.expand(prefix, trie.find(prefix).unwrap(), &mut out);
        out.iter().map(|b| b.code).collect()
    }

    #[test]
    fn hand_made_index_of_differing_lengths() {
        let ids: [&[Code]; 5] = [&[2, 70_000], &[0, 1], &[0, 1, 4], &[0, 3], &[0, 1, 4]];
        let trie = Trie::from_sids(ids).unwrap();
        assert_eq!((trie.len(), trie.max_len()), (4, 3));
        assert_eq!(codes(&trie, &[]), [0, 2]);
        assert_eq!(codes(&trie, &[0]), [1, 3]);
        assert_eq!(codes(&trie, &[0, 1]), [4]);
        assert_eq!(codes(&trie, &[2]), [70_000]);
        assert_eq!(trie.count(trie.find(&[0]).unwrap()), 3);
        assert!(trie.contains(&[0, 1]) && trie.contains(&[0, 1, 4]) && !trie.contains(&[0]));
        assert!(trie.continues(&[0, 1], trie.find(&[0, 1]).unwrap()));
        assert!(!trie.continues(&[0, 3], trie.find(&[0, 3]).unwrap()));
        assert_eq!(trie.find(&[1]), None);
        assert_eq!(trie.find(&[0, 1, 4, 0]), None);
        assert_eq!(trie.sid(1).collect::<Vec<_>>(), [0, 1, 4]);
    }

    #[test]
    fn empty_and_refused() {
        let empty = Trie::from_sids([]).unwrap();
        assert!(empty.is_empty() && empty.find(&[]).is_none());
        let mut out = Vec::new();
        empty.expand(&[], empty.root(), &mut out);
        assert!(out.is_empty() && !empty.accepts(&[], empty.root()));
        assert!(Trie::from_sids([&[][..]]).is_err());
        assert!(fits(1 << 33, "codes").unwrap_err().to_string().contains("8589934592 codes"));
        assert!(empty.check_version(empty.version()).is_ok());
        assert!(empty.check_version(empty.version() ^ 1).is_err());
    }

    #[test]
    fn the_version_is_the_table_s_and_shared_ids_count_once() {
        use sidereal_core::{CodeOrder, ItemId};
        let rows = [(ItemId(0), &[1, 2][..]), (ItemId(1), &[1, 2]), (ItemId(2), &[0, 2])];
        let table = SidTable::new(3, CodeOrder::Sequence, rows).unwrap();
        let trie = Trie::new(&table).unwrap();
        assert_eq!((trie.version(), trie.len()), (table.version(), 2));
        // Two ids that differ at once need no bitmap: 4 codes of 2 bytes.
        assert_eq!(trie.bytes(), 4 * 2);
    }
}
