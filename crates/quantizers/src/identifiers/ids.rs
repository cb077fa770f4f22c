//! IDs of any length in one buffer, before they are a table.

use sidereal_core::{Code, CodeOrder, Codes, ItemId, Result, SidTable};

/// ID `i` is `codes[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ids {
    offsets: Vec<usize>,
    codes: Vec<Code>,
}

impl Ids {
    pub fn new() -> Self {
        Ids { offsets: vec![0], codes: Vec::new() }
    }

    /// The codes of all rows, without what pads them.
    pub fn from_codes(codes: &Codes) -> Self {
        let mut out = Ids::new();
        (0..codes.rows()).for_each(|i| out.push(codes.sid(i)));
        out
    }

    pub fn push(&mut self, id: &[Code]) {
        self.extend(id.iter().copied());
    }

    /// Appends one ID.
    pub fn extend(&mut self, id: impl IntoIterator<Item = Code>) {
        self.codes.extend(id);
        self.offsets.push(self.codes.len());
    }

    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn get(&self, i: usize) -> &[Code] {
        &self.codes[self.offsets[i]..self.offsets[i + 1]]
    }

    pub fn iter(&self) -> impl Iterator<Item = &[Code]> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Numbers of the IDs by (codes, number).
    pub fn sorted(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| {
            self.get(a as usize).cmp(self.get(b as usize)).then(a.cmp(&b))
        });
        order
    }

    /// Gives every ID that is a strict prefix of another one a last code that nothing else has
    /// there: the number of codes in use at that position. After that no ID is a strict prefix of
    /// another one; equal IDs stay equal, different ones different. Cost `O(N L log N)`.
    pub fn end_tokens(&mut self) {
        let order = self.sorted();
        let mut ends = vec![false; self.len()];
        let mut any = false;
        // IDs that begin with an ID follow it in this order, the first of them right behind its
        // equals.
        let runs = order.chunk_by(|&a, &b| self.get(a as usize) == self.get(b as usize));
        let mut before: Option<&[u32]> = None;
        for run in runs {
            if let Some(last) = before
                && self.get(run[0] as usize).starts_with(self.get(last[0] as usize))
            {
                last.iter().for_each(|&i| ends[i as usize] = true);
                any = true;
            }
            before = Some(run);
        }
        if !any {
            return;
        }
        let widths = self.widths();
        let mut out = Ids::new();
        for (i, id) in self.iter().enumerate() {
            let end = ends[i].then(|| widths[id.len()]);
            out.extend(id.iter().copied().chain(end));
        }
        *self = out;
    }

    /// One more than the largest code at each position.
    pub fn widths(&self) -> Vec<Code> {
        let mut widths: Vec<Code> = Vec::new();
        for id in self.iter() {
            widths.resize(widths.len().max(id.len()), 0);
            widths.iter_mut().zip(id).for_each(|(w, c)| *w = (*w).max(c.saturating_add(1)));
        }
        widths
    }

    /// As a matrix; short rows end in [`Codes::NONE`].
    pub fn to_codes(&self) -> Result<Codes> {
        let levels = self.iter().map(<[Code]>::len).max().unwrap_or(0);
        let mut data = Vec::with_capacity(self.len() * levels);
        for id in self.iter() {
            data.extend_from_slice(id);
            data.resize(data.len() + levels - id.len(), Codes::NONE);
        }
        Codes::new(self.len(), levels, data)
    }

    /// A table of one ID an item, ID `i` for item `i`.
    pub fn table(&self, order: CodeOrder) -> Result<SidTable> {
        let rows = self.iter().enumerate().map(|(i, id)| (ItemId(i as u32), id));
        SidTable::new(self.len(), order, rows)
    }
}

/// The digits of `number` in `base`, the highest first, `count` of them.
pub(crate) fn digits(number: u64, base: u32, count: usize) -> impl Iterator<Item = Code> {
    let base = u64::from(base.max(2));
    (0..count).rev().map(move |power| {
        let high = (0..power).fold(number, |n, _| n / base);
        (high % base) as Code
    })
}

/// How many digits in `base` the largest of the numbers has.
pub(crate) fn digit_count(largest: u64, base: u32) -> usize {
    let base = u64::from(base.max(2));
    let mut count = 1;
    let mut rest = largest / base;
    while rest > 0 {
        count += 1;
        rest /= base;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(list: &[&[Code]]) -> Ids {
        let mut out = Ids::new();
        list.iter().for_each(|id| out.push(id));
        out
    }

    #[test]
    fn prefixes_get_an_end() {
        let mut a = ids(&[&[1], &[1, 4, 2], &[2, 9], &[1, 4], &[1]]);
        a.end_tokens();
        // Ten codes are in use at the second position, three at the third.
        assert_eq!(a, ids(&[&[1, 10], &[1, 4, 2], &[2, 9], &[1, 4, 3], &[1, 10]]));
        let mut none = Ids::new();
        none.end_tokens();
        assert_eq!(none.len(), 0);
    }

    #[test]
    fn digits_by_hand() {
        assert_eq!(digits(1234, 10, 5).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(digits(1234, 100, 2).collect::<Vec<_>>(), [12, 34]);
        assert_eq!((digit_count(0, 10), digit_count(999, 10), digit_count(1000, 10)), (1, 3, 4));
    }

    proptest! {
        #[test]
        fn end_tokens_free_all_prefixes(
            list in prop::collection::vec(prop::collection::vec(0u32..3, 1..5), 0..60),
        ) {
            let mut out = Ids::new();
            list.iter().for_each(|id| out.push(id));
            let before = out.clone();
            out.end_tokens();
            for i in 0..list.len() {
                prop_assert!(out.get(i).starts_with(before.get(i)));
                for j in 0..list.len() {
                    let (a, b) = (out.get(i), out.get(j));
                    prop_assert!(a.len() == b.len() || !b.starts_with(a), "{:?} {:?}", a, b);
                    prop_assert_eq!(a == b, before.get(i) == before.get(j));
                }
            }
            prop_assert_eq!(Ids::from_codes(&out.to_codes().unwrap()), out);
        }
    }
}
