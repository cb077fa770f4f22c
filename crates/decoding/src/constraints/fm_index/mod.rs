//! Any part of any text as an identifier (SEAL, arXiv 2204.10628): codes that follow each other
//! somewhere in a corpus, in an FM-index (Ferragina and Manzini 2000).
//!
//! The corpus is stored backwards, so that the index, which finds patterns from their last symbol
//! to their first, grows what is generated at its end. A state is the range of places, in the order
//! of the suffixes, that begin with the prefix read backwards; one code more is two counts in the
//! Burrows-Wheeler transform, and the codes that may follow are those that occur in its range. Both
//! come from a wavelet matrix, in O(log S) for a code and O(k log S) for k codes that follow, with S
//! different codes, however long the corpus is.
//!
//! Memory for n codes in N documents: 9 n ceil(log2 (S + 1)) / 64 bytes, 8 N and 8 S bytes; the
//! building needs about 20 n bytes (suffixes are sorted by SA-IS, Nong, Zhang and Chan 2009, in
//! linear time). Where a part occurs is found by walking to the beginning of the document, one
//! O(log S) step a code.
//!
//! A part never reaches over the end of a document. SEAL scores parts by their frequency and joins
//! several of a document; the counts are here ([`FmIndex::count`]), the scoring is not. Written
//! from the papers' description; which sampling SEAL's library uses is unverified.

mod suffixes;
mod wavelet;

use super::trie::Trie;
use crate::{Branch, Constraint, State};
use sidereal_core::{Code, Error, Result};
use wavelet::Wavelet;

/// Where a part of a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Occurrence {
    /// Number of the document, in the order given.
    pub document: u32,
    /// Its code that the part begins with, from 0.
    pub start: u32,
}

/// All parts of all documents, up to a length.
#[derive(Debug, Clone)]
pub struct FmIndex {
    /// Codes, ascending; symbol s is code s - 1 here, symbol 0 ends a document.
    codes: Vec<Code>,
    /// Symbols of the text below each symbol, and all of them.
    below: Vec<u32>,
    /// The symbol before each suffix, in the order of the suffixes.
    bwt: Wavelet,
    /// The documents in the order in which their (backward) texts sort.
    documents: Vec<u32>,
    /// Codes of each document.
    lens: Vec<u32>,
    longest: usize,
}

impl FmIndex {
    /// Indexes documents; parts of 1 to `longest` codes are identifiers.
    ///
    /// Errors: `longest` is 0, or more than 2^32 - 2 codes and documents together.
    pub fn new<'a>(
        documents: impl IntoIterator<Item = &'a [Code]> + Clone,
        longest: usize,
    ) -> Result<Self> {
        if longest == 0 {
            return Err(Error::input(
                "substring index: the longest part has 0 codes; allowed: 1 and up",
            ));
        }
        let mut codes: Vec<Code> = documents.clone().into_iter().flatten().copied().collect();
        codes.sort_unstable();
        codes.dedup();
        let (mut text, mut starts) = (Vec::new(), Vec::new());
        for document in documents {
            starts.push(text.len());
            let symbol = |code: &Code| codes.partition_point(|c| c < code) as u32 + 1;
            text.extend(document.iter().rev().map(symbol));
            text.push(0);
        }
        if text.len() >= u32::MAX as usize {
            return Err(Error::input(format!(
                "substring index: {} codes and ends of documents, at most {} fit; split the corpus",
                text.len(),
                u32::MAX - 1
            )));
        }
        let order = suffixes::sort(&text, codes.len() + 1);
        let mut below = vec![0u32; codes.len() + 2];
        text.iter().for_each(|&s| below[s as usize + 1] += 1);
        for s in 0..=codes.len() {
            below[s + 1] += below[s];
        }
        // Before the first suffix stands the end of the last document.
        let before = |&at: &u32| at.checked_sub(1).map_or(0, |at| text[at as usize]);
        let first = order.iter().filter(|at| before(at) == 0);
        let sorted =
            first.map(|&at| starts.partition_point(|&start| start < at as usize) as u32).collect();
        let lens = starts
            .iter()
            .zip(starts.iter().skip(1).chain([&text.len()]))
            .map(|(start, end)| (end - start - 1) as u32)
            .collect();
        let bwt = Wavelet::new(order.iter().map(before).collect(), codes.len() as u32);
        Ok(FmIndex { codes, below, bwt, documents: sorted, lens, longest })
    }

    /// Number of documents N.
    pub fn documents(&self) -> usize {
        self.lens.len()
    }

    /// Bytes of the index.
    pub fn bytes(&self) -> usize {
        let numbers = self.codes.len() + self.below.len() + self.documents.len() + self.lens.len();
        self.bwt.bytes() + 4 * numbers
    }

    /// The state after a part, if it occurs. Not cut to the longest one.
    pub fn find(&self, part: &[Code]) -> Option<State> {
        part.iter().try_fold(self.root(), |state, &code| self.followed(state, code))
    }

    /// How often the part of a state occurs.
    pub fn count(&self, state: State) -> usize {
        let (lo, hi) = self.range(state);
        hi - lo
    }

    /// Where a part occurs, in no order that means anything; each costs a walk to the beginning of
    /// its document.
    pub fn occurrences(&self, part: &[Code]) -> impl Iterator<Item = Occurrence> {
        let (lo, hi) = self.find(part).map_or((0, 0), |state| self.range(state));
        let len = part.len() as u32;
        // The empty part is everywhere, and also between documents.
        let range = if part.is_empty() { 0..0 } else { lo..hi };
        range.map(move |row| {
            let (document, behind) = self.walk(row);
            let end = self.lens[document as usize] - behind;
            Occurrence { document, start: end - len }
        })
    }

    fn range(&self, state: State) -> (usize, usize) {
        let hi = (state.0 as u32 as usize).min(self.bwt.len());
        (((state.0 >> 32) as usize).min(hi), hi)
    }

    /// One code more at the end of a part.
    fn followed(&self, state: State, code: Code) -> Option<State> {
        let symbol = self.codes.binary_search(&code).ok()? + 1;
        let (lo, hi) = self.range(state);
        let before = self.below[symbol] as usize;
        let [lo, hi] = [lo, hi].map(|at| before + self.bwt.rank(symbol as u32, at));
        (lo < hi).then(|| Trie::pack(lo, hi))
    }

    /// The document of a place and how many of its codes stand behind the part that begins there.
    fn walk(&self, mut row: usize) -> (u32, u32) {
        let mut steps = 0;
        loop {
            match self.bwt.get(row) {
                0 => return (self.documents[self.bwt.rank(0, row)], steps),
                s => row = self.below[s as usize] as usize + self.bwt.rank(s, row),
            }
            steps += 1;
        }
    }
}

impl Constraint for FmIndex {
    fn root(&self) -> State {
        Trie::pack(0, self.bwt.len())
    }

    fn expand(&self, prefix: &[Code], state: State, out: &mut Vec<Branch>) {
        if prefix.len() >= self.longest {
            return;
        }
        let (lo, hi) = self.range(state);
        self.bwt.each_symbol(lo, hi, |symbol, from, to| {
            // Symbol 0 ends a document: nothing follows.
            if let Some(at) = (symbol as usize).checked_sub(1) {
                let before = self.below[symbol as usize] as usize;
                let state = Trie::pack(before + from, before + to);
                out.push(Branch { code: self.codes[at], state });
            }
        });
    }

    fn accepts(&self, prefix: &[Code], state: State) -> bool {
        (1..=self.longest).contains(&prefix.len()) && self.count(state) > 0
    }

    fn step(&self, prefix: &[Code], state: State, code: Code) -> Option<State> {
        if prefix.len() < self.longest { self.followed(state, code) } else { None }
    }

    fn continues(&self, prefix: &[Code], state: State) -> bool {
        let (lo, hi) = self.range(state);
        prefix.len() < self.longest && hi - lo > self.bwt.rank(0, hi) - self.bwt.rank(0, lo)
    }
}

#[cfg(test)]
mod tests;
