//! Identifiers as unordered sets of codes (SETRec, arXiv 2502.10833; REG4Rec, arXiv 2508.15308):
//! codes come in any order, and after some of them follow the codes of the identifiers that contain
//! them all.
//!
//! For each code the rows that contain it; a look takes the shortest list of the codes chosen and
//! keeps the rows that contain the others. A code that is offered leads to an identifier, so there
//! are no dead ends. REG4Rec's codes are (codebook, word) pairs; the identifier `code-set` numbers
//! the pairs through, which makes them codes of one alphabet as here. SETRec's continuous parts of
//! an identifier are no codes and are not here. Repeated codes count: `{3, 3, 5}` contains 3 twice.
//! The papers intersect full lists; the outcome is the same.
//!
//! [`PostingLists`](crate::PostingLists) serves the order-free decoder, which fills places: IDs of
//! one length with a codebook each. Here IDs differ in length, and any decoder can be used.
//!
//! Cost: rows of the shortest list times codes of a row. Memory: 4 bytes a code for the lists, and
//! the sets as a [`Trie`].

use super::bits::Bits;
use super::trie::Trie;
use crate::{Branch, Constraint, State};
use sidereal_core::{Code, Error, Result};

/// Sets of codes, generated in any order.
#[derive(Debug, Clone)]
pub struct SetIndex {
    /// All codes, ascending; in what follows a code is its place here.
    codes: Vec<Code>,
    /// The sets, each ascending.
    sets: Trie,
    /// First of `rows` for each code, and the end.
    starts: Vec<u32>,
    /// Sets that contain each code, ascending.
    rows: Vec<u32>,
}

impl SetIndex {
    /// Indexes sets, each in any order; repeats count once.
    ///
    /// Errors: an empty set, more sets or codes than a [`Trie`] takes.
    pub fn new<'a>(sets: impl IntoIterator<Item = &'a [Code]> + Clone) -> Result<Self> {
        let mut codes: Vec<Code> = sets.clone().into_iter().flatten().copied().collect();
        if u32::try_from(codes.len()).is_err() {
            return Err(Error::input(format!(
                "sets of {} codes; at most {} fit",
                codes.len(),
                u32::MAX
            )));
        }
        codes.sort_unstable();
        codes.dedup();
        let (mut flat, mut ends) = (Vec::new(), Vec::new());
        for set in sets {
            let start = flat.len();
            flat.extend(set.iter().map(|&code| codes.partition_point(|&c| c < code) as Code));
            flat[start..].sort_unstable();
            ends.push(flat.len());
        }
        let begins = std::iter::once(0).chain(ends.iter().copied());
        let sets = Trie::from_sids(begins.zip(&ends).map(|(a, &b)| &flat[a..b]))?;
        let mut starts = vec![0u32; codes.len() + 1];
        each_code(&sets, |_, code| starts[code + 1] += 1);
        for code in 0..codes.len() {
            starts[code + 1] += starts[code];
        }
        let mut rows = vec![0; starts[codes.len()] as usize];
        let mut next = starts.clone();
        each_code(&sets, |row, code| {
            rows[next[code] as usize] = row as u32;
            next[code] += 1;
        });
        Ok(SetIndex { codes, sets, starts, rows })
    }

    /// Number of distinct sets.
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// Whether there is no set.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Bytes of the index.
    pub fn bytes(&self) -> usize {
        self.sets.bytes() + 4 * (self.codes.len() + self.starts.len() + self.rows.len())
    }

    /// The sets that contain all codes chosen, each ascending.
    pub fn containing(&self, chosen: &[Code]) -> impl Iterator<Item = Vec<Code>> {
        let chosen = self.places(chosen);
        let rows = chosen.as_deref().map(|chosen| self.shortest(chosen)).unwrap_or_default();
        rows.filter_map(move |row| {
            let row = self.row(row);
            let holds = self.left(chosen.as_deref().unwrap_or_default(), row, |_| ());
            holds.then(|| self.sets.sid(row).map(|code| self.codes[code as usize]).collect())
        })
    }

    /// Codes chosen as their places, ascending; none where one is in no set.
    fn places(&self, chosen: &[Code]) -> Option<Vec<Code>> {
        let place = |code: &Code| self.codes.binary_search(code).ok().map(|place| place as Code);
        let mut places: Vec<Code> = chosen.iter().map(place).collect::<Option<_>>()?;
        places.sort_unstable();
        Some(places)
    }

    /// Places in the lists that hold every candidate; with nothing chosen, one behind the lists for
    /// each set.
    fn shortest(&self, chosen: &[Code]) -> std::ops::Range<usize> {
        let list = |&code: &Code| {
            self.starts[code as usize] as usize..self.starts[code as usize + 1] as usize
        };
        let all = self.rows.len()..self.rows.len() + self.sets.len();
        chosen.iter().map(list).min_by_key(|list| list.len()).unwrap_or(all)
    }

    fn row(&self, place: usize) -> usize {
        match self.rows.get(place) {
            Some(&row) => row as usize,
            None => place - self.rows.len(),
        }
    }

    /// Whether a set contains all codes chosen; its other codes are handed out.
    fn left(&self, chosen: &[Code], row: usize, mut other: impl FnMut(Code)) -> bool {
        let mut wanted = chosen.iter().peekable();
        for code in self.sets.sid(row) {
            match wanted.peek() {
                Some(&&next) if next == code => {
                    wanted.next();
                }
                // The one wanted would have stood here.
                Some(&&next) if next < code => return false,
                _ => other(code),
            }
        }
        wanted.next().is_none()
    }
}

fn each_code(sets: &Trie, mut each: impl FnMut(usize, usize)) {
    for row in 0..sets.len() {
        let mut last = None;
        for code in sets.sid(row) {
            if last != Some(code) {
                each(row, code as usize);
            }
            last = Some(code);
        }
    }
}

impl Constraint for SetIndex {
    fn root(&self) -> State {
        State(0)
    }

    fn expand(&self, prefix: &[Code], _state: State, out: &mut Vec<Branch>) {
        let mut push = |code: usize| out.push(Branch { code: self.codes[code], state: State(0) });
        if prefix.is_empty() {
            return (0..self.codes.len()).for_each(push);
        }
        let Some(chosen) = self.places(prefix) else { return };
        let mut found = Bits::new(self.codes.len(), |_| false);
        let mut others = Vec::new();
        for place in self.shortest(&chosen) {
            others.clear();
            if self.left(&chosen, self.row(place), |code| others.push(code)) {
                others.iter().for_each(|&code| found.set(code as usize));
            }
        }
        let n = self.codes.len();
        let mut code = found.next(0, n);
        while code < n {
            push(code);
            code = found.next(code + 1, n);
        }
    }

    fn accepts(&self, prefix: &[Code], _state: State) -> bool {
        self.places(prefix).is_some_and(|set| self.sets.contains(&set))
    }

    fn step(&self, prefix: &[Code], state: State, code: Code) -> Option<State> {
        let chosen = self.places(&[prefix, &[code]].concat())?;
        let holds = |place| self.left(&chosen, self.row(place), |_| ());
        self.shortest(&chosen).any(holds).then_some(state)
    }

    fn continues(&self, prefix: &[Code], _state: State) -> bool {
        self.places(prefix).is_some_and(|chosen| {
            self.shortest(&chosen).any(|place| {
                let mut more = false;
                self.left(&chosen, self.row(place), |_| more = true) && more
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(index: &SetIndex, chosen: &[Code]) -> Vec<Code> {
        let mut out = Vec::new();
        index.expand(chosen, index.root(), &mut out);
        out.iter().map(|b| b.code).collect()
    }

    #[test]
    fn codes_in_any_order_by_hand() {
        let sets: [&[Code]; 4] = [&[7, 1, 90_000], &[1, 7], &[2, 90_000], &[3, 5, 3]];
        let index = SetIndex::new(sets).unwrap();
        assert_eq!(index.len(), 4);
        assert_eq!(next(&index, &[]), [1, 2, 3, 5, 7, 90_000]);
        assert_eq!(next(&index, &[90_000]), [1, 2, 7]);
        assert_eq!((next(&index, &[7, 1]), next(&index, &[1, 7])), (vec![90_000], vec![90_000]));
        assert!(index.accepts(&[7, 1], State(0)) && !index.accepts(&[7], State(0)));
        assert!(index.accepts(&[90_000, 1, 7], State(0)));
        assert!(!index.continues(&[90_000, 1, 7], State(0)) && index.continues(&[1, 7], State(0)));
        // A code twice in a set can be chosen twice, in any other set not.
        assert_eq!((next(&index, &[3]), next(&index, &[3, 3])), (vec![3, 5], vec![5]));
        assert!(index.step(&[1], State(0), 1).is_none() && index.step(&[1], State(0), 4).is_none());
        let found: Vec<_> = index.containing(&[7]).collect();
        assert_eq!(found, [vec![1, 7], vec![1, 7, 90_000]]);
        assert_eq!((index.containing(&[]).count(), index.containing(&[4]).count()), (4, 0));
        let none: [&[Code]; 0] = [];
        assert!(next(&SetIndex::new(none).unwrap(), &[]).is_empty());
        assert!(SetIndex::new([&[][..]]).unwrap_err().to_string().contains("no code"));
    }
}
