//! A bitmap with fast search for the next set bit: one bit a position and one summary bit a word.

/// Set positions among `0..n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
    /// Bit `w` says that `words[w]` is not zero.
    summary: Vec<u64>,
}

impl Bits {
    /// Positions below `n` for which `is_set` holds.
    pub fn new(n: usize, is_set: impl Fn(usize) -> bool) -> Self {
        let mut words = vec![0u64; n.div_ceil(64)];
        let mut summary = vec![0u64; words.len().div_ceil(64)];
        for i in (0..n).filter(|&i| is_set(i)) {
            words[i / 64] |= 1 << (i % 64);
            summary[i / 4096] |= 1 << (i / 64 % 64);
        }
        Bits { words, summary }
    }

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
