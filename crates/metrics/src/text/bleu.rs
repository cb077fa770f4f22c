//! BLEU of a corpus (Papineni et al. 2002), one reference a text: p_n = clipped n-gram matches over
//! n-grams of the candidates, n from 1 to 4, both summed over the corpus;
//! BLEU = BP exp(mean of ln p_n), BP = 1 where candidates are longer than references, else
//! exp(1 - references / candidates).
//!
//! [`Smoothing::AddOne`] adds 1 to both sides of p_n for n above 1 (Lin and Och 2004; NLTK's method
//! 2). Without it one p_n = 0 makes 0, as for every text of three words, however right. Words are
//! what white space separates; other cuts are the caller's.

use std::collections::HashMap;

/// Longest n-grams.
const ORDERS: usize = 4;

/// What is done about n-grams that never match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Smoothing {
    /// Nothing.
    #[default]
    None,
    /// One match more, of one n-gram more, for n above 1.
    AddOne,
}

/// A text and what it should have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rendering<'a> {
    /// The text.
    pub candidate: &'a str,
    /// The reference.
    pub reference: &'a str,
}

/// BLEU-4 from 0 to 1; 0 for no text.
pub fn bleu<'a>(texts: impl IntoIterator<Item = Rendering<'a>>, smoothing: Smoothing) -> f64 {
    let (mut matches, mut grams) = ([0usize; ORDERS], [0usize; ORDERS]);
    let (mut long, mut wanted) = (0usize, 0usize);
    for text in texts {
        let candidate: Vec<&str> = text.candidate.split_whitespace().collect();
        let reference: Vec<&str> = text.reference.split_whitespace().collect();
        long += candidate.len();
        wanted += reference.len();
        for n in 1..=ORDERS {
            let mut left: HashMap<&[&str], usize> = HashMap::new();
            reference.windows(n).for_each(|gram| *left.entry(gram).or_default() += 1);
            for gram in candidate.windows(n) {
                if let Some(count) = left.get_mut(gram).filter(|count| **count > 0) {
                    *count -= 1;
                    matches[n - 1] += 1;
                }
            }
            // A text shorter than n counts as one n-gram without match, as in NLTK.
            grams[n - 1] += candidate.len().saturating_sub(n - 1).max(1);
        }
    }
    if matches[0] == 0 {
        return 0.0;
    }
    let precision = |n: usize| {
        let more = usize::from(n > 0 && smoothing == Smoothing::AddOne);
        (matches[n] + more) as f64 / (grams[n] + more) as f64
    };
    let mean = (0..ORDERS).map(|n| precision(n).ln()).sum::<f64>() / ORDERS as f64;
    let brevity = if long > wanted { 0.0 } else { 1.0 - wanted as f64 / long as f64 };
    (mean + brevity).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let of = |candidate, reference| bleu([Rendering { candidate, reference }], Smoothing::None);
        assert_eq!(of("one two three four", "one two three four"), 1.0);
        assert_eq!(of("one two three", "one two three"), 0.0);
        assert_eq!(of("b a d c", "a b c d"), 0.0);
        // p = 4/5, 3/4, 2/3, 1/2; five words for five.
        let expected = (0.8f64 * 0.75 * (2.0 / 3.0) * 0.5).powf(0.25);
        assert!((of("a b c d x", "a b c d y") - expected).abs() < 1e-15);
        // Four words for eight: brevity exp(1 - 2).
        assert!((of("a b c d", "a b c d e f g h") - (-1f64).exp()).abs() < 1e-15);
        assert_eq!((of("", "a"), of("", ""), bleu([], Smoothing::AddOne)), (0.0, 0.0, 0.0));
    }
}
