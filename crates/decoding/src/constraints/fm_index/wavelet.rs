//! A wavelet matrix (Claude, Navarro and Ordóñez 2015): a sequence of n symbols bit by bit, highest
//! first, in which symbols are counted and listed.
//!
//! Each level holds one bit of every symbol; symbols with a 0 go before those with a 1 on the next
//! level, in their order. 9 / 8 bits a symbol and level: a count is kept every 256 bits.

/// Symbols `0..=most`.
#[derive(Debug, Clone)]
pub(super) struct Wavelet {
    n: usize,
    levels: Vec<Level>,
}

#[derive(Debug, Clone)]
struct Level {
    words: Vec<u64>,
    /// Ones before every fourth word.
    ones: Vec<u32>,
    zeros: usize,
}

impl Level {
    fn new(bits: impl Iterator<Item = bool>, n: usize) -> Self {
        let mut words = vec![0u64; n.div_ceil(64)];
        bits.enumerate().for_each(|(i, bit)| words[i / 64] |= u64::from(bit) << (i % 64));
        let (mut ones, mut sum) = (Vec::with_capacity(words.len() / 4 + 1), 0);
        for block in words.chunks(4) {
            ones.push(sum);
            sum += block.iter().map(|w| w.count_ones()).sum::<u32>();
        }
        // For the end of a text of whole blocks.
        ones.push(sum);
        Level { words, ones, zeros: n - sum as usize }
    }

    fn get(&self, i: usize) -> bool {
        self.words[i / 64] >> (i % 64) & 1 == 1
    }

    /// Ones among the first `i` bits.
    fn rank(&self, i: usize) -> usize {
        let word = i / 64;
        let whole = &self.words[word / 4 * 4..word];
        let mut ones = self.ones[word / 4] + whole.iter().map(|w| w.count_ones()).sum::<u32>();
        if !i.is_multiple_of(64) {
            ones += (self.words[word] & ((1 << (i % 64)) - 1)).count_ones();
        }
        ones as usize
    }

    /// Where bit `i` goes on the next level, were it a 0 or a 1.
    fn down(&self, bit: bool, i: usize) -> usize {
        if bit { self.zeros + self.rank(i) } else { i - self.rank(i) }
    }
}

impl Wavelet {
    pub fn new(mut symbols: Vec<u32>, most: u32) -> Self {
        let n = symbols.len();
        let mut levels = Vec::new();
        for shift in (0..u32::BITS - most.leading_zeros()).rev() {
            let bit = |s: &u32| s >> shift & 1 == 1;
            levels.push(Level::new(symbols.iter().map(bit), n));
            let ones: Vec<u32> = symbols.iter().copied().filter(bit).collect();
            symbols.retain(|s| !bit(s));
            symbols.extend(ones);
        }
        Wavelet { n, levels }
    }

    pub fn len(&self) -> usize {
        self.n
    }

    pub fn bytes(&self) -> usize {
        self.levels.iter().map(|l| l.words.len() * 8 + l.ones.len() * 4).sum()
    }

    /// Symbol `i`.
    pub fn get(&self, mut i: usize) -> u32 {
        self.levels.iter().fold(0, |symbol, level| {
            let bit = level.get(i);
            i = level.down(bit, i);
            symbol << 1 | u32::from(bit)
        })
    }

    /// How often `symbol` stands among the first `i`.
    pub fn rank(&self, symbol: u32, i: usize) -> usize {
        let (mut start, mut end) = (0, i);
        for (level, shift) in self.levels.iter().zip((0..self.levels.len()).rev()) {
            let bit = symbol >> shift & 1 == 1;
            (start, end) = (level.down(bit, start), level.down(bit, end));
        }
        end - start
    }

    /// Each symbol among those from `lo` to before `hi`, ascending, with how often it stands before
    /// `lo` and before `hi`.
    pub fn each_symbol(&self, lo: usize, hi: usize, mut each: impl FnMut(u32, usize, usize)) {
        // Level, the bits so far, and three places: the first symbol with these bits, lo and hi.
        let mut todo = vec![(0, 0u32, [0, lo, hi])];
        while let Some((depth, symbol, places)) = todo.pop() {
            let [start, lo, hi] = places;
            if lo == hi {
                continue;
            }
            let Some(level) = self.levels.get(depth) else {
                each(symbol, lo - start, hi - start);
                continue;
            };
            for bit in [true, false] {
                let places = places.map(|i| level.down(bit, i));
                todo.push((depth + 1, symbol << 1 | u32::from(bit), places));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn counts_and_lists_equal_a_scan(
            most in 0u32..40,
            symbols in proptest::collection::vec(0u32..40, 0..700),
            ends in (0usize..=700, 0usize..=700),
        ) {
            let symbols: Vec<u32> = symbols.iter().map(|s| s % (most + 1)).collect();
            let wavelet = Wavelet::new(symbols.clone(), most);
            prop_assert_eq!(wavelet.len(), symbols.len());
            prop_assert!((0..symbols.len()).all(|i| wavelet.get(i) == symbols[i]));
            let (a, b) = (ends.0.min(symbols.len()), ends.1.min(symbols.len()));
            let (lo, hi) = (a.min(b), a.max(b));
            let count = |s: u32, i: usize| symbols[..i].iter().filter(|&&x| x == s).count();
            let mut listed = Vec::new();
            wavelet.each_symbol(lo, hi, |s, from, to| listed.push((s, from, to)));
            let want: Vec<_> = (0..=most)
                .map(|s| (s, count(s, lo), count(s, hi)))
                .filter(|w| w.1 < w.2)
                .collect();
            prop_assert_eq!(listed, want);
            prop_assert!((0..=most).all(|s| wavelet.rank(s, hi) == count(s, hi)));
        }
    }
}
