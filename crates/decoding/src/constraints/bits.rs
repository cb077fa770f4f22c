//! A bitmap with fast search for the next set bit: one bit a position and one summary bit a word.

use std::ops::Deref;

/// Set positions among `0..n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bits<S = Vec<u64>> {
    pub words: S,
    /// Bit `w` says that `words[w]` is not zero.
    pub summary: S,
}

impl Bits {
    /// Positions below `n` for which `is_set` holds.
    pub fn new(n: usize, is_set: impl Fn(usize) -> bool) -> Self {
        let words = vec![0u64; n.div_ceil(64)];
        let summary = vec![0u64; words.len().div_ceil(64)];
        let mut bits = Bits { words, summary };
        (0..n).filter(|&i| is_set(i)).for_each(|i| bits.set(i));
        bits
    }

    /// Position `64 w + b` is bit `b` of word `w`.
    pub fn from_words(words: Vec<u64>) -> Self {
        let any = |chunk: &[u64]| {
            chunk.iter().enumerate().fold(0, |s, (i, &word)| s | u64::from(word != 0) << i)
        };
        let summary = words.chunks(64).map(any).collect();
        Bits { words, summary }
    }

    /// The same bits held elsewhere.
    pub fn map<S>(self, f: impl Fn(Vec<u64>) -> S) -> Bits<S> {
        Bits { words: f(self.words), summary: f(self.summary) }
    }

    /// Sets position `i`, which must be below `n`.
    pub fn set(&mut self, i: usize) {
        self.words[i / 64] |= 1 << (i % 64);
        self.summary[i / 4096] |= 1 << (i / 64 % 64);
    }

    /// Clears position `i`, which must be below `n`.
    pub fn clear(&mut self, i: usize) {
        self.words[i / 64] &= !(1 << (i % 64));
        if self.words[i / 64] == 0 {
            self.summary[i / 4096] &= !(1 << (i / 64 % 64));
        }
    }

    /// Number of set positions.
    pub fn count(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }
}

impl<S: Deref<Target = [u64]>> Bits<S> {
    /// The first set position from `from` on, or `end` if it comes first.
    pub fn next(&self, from: usize, end: usize) -> usize {
        if from >= end {
            return end;
        }
        let word = first_from(&self.words, from, from / 64 + 1)
            .or_else(|| {
                let last = end.div_ceil(64);
                let word = first_from(&self.summary, from / 64 + 1, last.div_ceil(64))?;
                first_from(&self.words, word * 64, word + 1)
            })
            .unwrap_or(end);
        word.min(end)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        (self.words.len() + self.summary.len()) * 8
    }
}

/// First set bit at or after bit `from`, looking at words before `end_word` only.
fn first_from(words: &[u64], from: usize, end_word: usize) -> Option<usize> {
    let end_word = end_word.min(words.len());
    let mut w = from / 64;
    if w >= end_word {
        return None;
    }
    let mut word = words[w] & (!0 << (from % 64));
    while word == 0 {
        w += 1;
        if w >= end_word {
            return None;
        }
        word = words[w];
    }
    Some(w * 64 + word.trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn set_and_clear_keep_the_summary(
            steps in proptest::collection::vec((0usize..9_000, proptest::bool::ANY), 0..60),
            from in 0usize..9_000,
        ) {
            let mut bits = Bits::new(9_000, |_| false);
            let mut model = std::collections::BTreeSet::new();
            for (i, on) in steps {
                if on { bits.set(i); model.insert(i); } else { bits.clear(i); model.remove(&i); }
            }
            prop_assert_eq!(bits.count(), model.len());
            let want = model.range(from..).next().copied().unwrap_or(9_000);
            prop_assert_eq!(bits.next(from, 9_000), want);
            prop_assert!(model.iter().all(|&i| bits.next(i, i + 1) == i));
        }

        #[test]
        fn next_equals_a_scan(
            mut set in proptest::collection::vec(0usize..20_000, 0..40),
            from in 0usize..20_000,
            end in 0usize..=20_000,
        ) {
            set.sort_unstable();
            let bits = Bits::new(20_000, |i| set.binary_search(&i).is_ok());
            let want = set.iter().copied().find(|&i| i >= from).unwrap_or(end).min(end);
            prop_assert_eq!(bits.next(from, end), want);
        }
    }
}
