//! Words and word pairs of every item, known by a 64-bit hash.
//!
//! A word is a run of letters and digits, lower-cased. Terms are never stored as strings: at 10^7
//! distinct terms two share a hash with probability 3e-6, and sorting by hash gives every term a
//! column without a hash map, so the order of columns does not depend on the order of work.

use crate::text::ItemText;
use rayon::prelude::*;
use sidereal_core::seed::mix;

/// Items counted as one piece of work.
const CHUNK: usize = 512;

/// Calls `f` with the hash of every word of `text` and, with `ngrams == 2`, of every pair of
/// neighbouring words.
pub fn for_each(text: &str, ngrams: usize, mut f: impl FnMut(u64)) {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut previous: Option<u64> = None;
    let mut state = OFFSET;
    let mut inside = false;
    // The final separator closes the last word.
    for c in text.chars().chain([' ']) {
        if c.is_alphanumeric() {
            inside = true;
            // FNV-1a over the UTF-8 bytes of the lower-case letters.
            for lower in c.to_lowercase() {
                let mut buffer = [0u8; 4];
                for b in lower.encode_utf8(&mut buffer).bytes() {
                    state = (state ^ u64::from(b)).wrapping_mul(PRIME);
                }
            }
        } else if inside {
            let word = mix(state);
            f(word);
            if let (2, Some(first)) = (ngrams, previous) {
                f(mix(first.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ word.rotate_left(32)));
            }
            previous = Some(word);
            state = OFFSET;
            inside = false;
        }
    }
}

/// How often each item has each of its terms: row `i` is `offsets[i]..offsets[i + 1]`, terms
/// ascending.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    offsets: Vec<usize>,
    terms: Vec<u64>,
    counts: Vec<u32>,
}

impl Counts {
    /// Number of items.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether no item has any term.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Number of distinct terms of item `i`.
    pub fn row_len(&self, i: usize) -> usize {
        self.offsets[i + 1] - self.offsets[i]
    }

    /// Terms and counts of item `i`.
    pub fn row(&self, i: usize) -> (&[u64], &[u32]) {
        let range = self.offsets[i]..self.offsets[i + 1];
        (&self.terms[range.clone()], &self.counts[range])
    }

    /// Terms of all items, item after item.
    pub fn terms(&self) -> &[u64] {
        &self.terms
    }
}

/// Counts the terms of `n` items.
pub fn count(text: &ItemText<'_>, n: usize, ngrams: usize) -> Counts {
    let pieces: Vec<(Vec<usize>, Vec<u64>, Vec<u32>)> = (0..n.div_ceil(CHUNK))
        .into_par_iter()
        .map(|c| {
            let (mut lens, mut terms, mut counts) = (Vec::new(), Vec::new(), Vec::new());
            let (mut line, mut bag) = (String::new(), Vec::new());
            for i in c * CHUNK..((c + 1) * CHUNK).min(n) {
                text.write(i, &mut line);
                bag.clear();
                for_each(&line, ngrams, |t| bag.push(t));
                bag.sort_unstable();
                let before = terms.len();
                for run in bag.chunk_by(|a, b| a == b) {
                    terms.push(run[0]);
                    counts.push(run.len() as u32);
                }
                lens.push(terms.len() - before);
            }
            (lens, terms, counts)
        })
        .collect();
    let total = pieces.iter().map(|p| p.1.len()).sum();
    let mut out = Counts {
        offsets: Vec::with_capacity(n + 1),
        terms: Vec::with_capacity(total),
        counts: Vec::with_capacity(total),
    };
    out.offsets.push(0);
    let mut end = 0;
    for (lens, terms, counts) in pieces {
        for len in lens {
            end += len;
            out.offsets.push(end);
        }
        out.terms.extend_from_slice(&terms);
        out.counts.extend_from_slice(&counts);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(text: &str, ngrams: usize) -> Vec<u64> {
        let mut out = Vec::new();
        for_each(text, ngrams, |t| out.push(t));
        out
    }

    #[test]
    fn words_ignore_case_and_punctuation() {
        assert_eq!(hashes("Red-Shoes, 7!", 1), hashes("red shoes 7", 1));
        assert_eq!(hashes("ÉTÉ", 1), hashes("été", 1));
        assert_ne!(hashes("a", 1), hashes("b", 1));
        assert!(hashes(" ... ", 2).is_empty());
    }

    #[test]
    fn pairs_know_their_order() {
        assert_eq!(hashes("a b c", 2).len(), 5);
        assert_ne!(hashes("a b", 2)[2], hashes("b a", 2)[2]);
        // A pair is not the word that its two words would make.
        assert_ne!(hashes("a b", 2)[2], hashes("ab", 1)[0]);
    }
}
