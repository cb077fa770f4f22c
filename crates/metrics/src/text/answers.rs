//! Answer matching (SQuAD, Rajpurkar et al., arXiv 1606.05250; KILT's code has the same): both sides
//! are normalised by lower case, no ASCII punctuation, no articles (a, an, the), single spaces.

use std::collections::BTreeMap;

/// The normal form of an answer. An article is a whole run of letters, digits and `_`, so it also
/// goes where a dash that is not ASCII stands beside it.
pub fn normalise(text: &str) -> String {
    let plain: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let mut rest = &plain[..];
    let mut kept = String::with_capacity(plain.len());
    while let Some(first) = rest.chars().next() {
        let word = first.is_alphanumeric();
        let end = rest.find(|c: char| c.is_alphanumeric() != word).unwrap_or(rest.len());
        match &rest[..end] {
            "a" | "an" | "the" => kept.push(' '),
            run => kept.push_str(run),
        }
        rest = &rest[end..];
    }
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// 1 where the normal forms agree, else 0.
pub fn exact_match(answer: &str, reference: &str) -> f64 {
    f64::from(u8::from(normalise(answer) == normalise(reference)))
}

/// F1 of the words of the normal forms, as bags. 0 without a common word, so two empty answers have
/// 0 (SQuAD 1.1 and KILT).
pub fn token_f1(answer: &str, reference: &str) -> f64 {
    let (answer, reference) = (normalise(answer), normalise(reference));
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    reference.split_whitespace().for_each(|w| *left.entry(w).or_default() += 1);
    let mut common = 0usize;
    for word in answer.split_whitespace() {
        if let Some(n) = left.get_mut(word).filter(|n| **n > 0) {
            *n -= 1;
            common += 1;
        }
    }
    let words = answer.split_whitespace().count() + reference.split_whitespace().count();
    if common == 0 { 0.0 } else { 2.0 * common as f64 / words as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::best;

    #[test]
    fn by_hand() {
        assert_eq!(normalise(" The  Cat's, an  Owl. "), "cats owl");
        assert_eq!(exact_match("The Beatles!", "beatles"), 1.0);
        assert_eq!(exact_match("Theatre", "atre"), 0.0);
        // 2 common of 3 and 2 words.
        assert_eq!(token_f1("red cat red", "the red cat"), 0.8);
        assert_eq!((token_f1("", ""), token_f1("x", "y"), token_f1("the", "x")), (0.0, 0.0, 0.0));
        assert_eq!(best(["cat", "a dog"], |r| exact_match("dog", r)), 1.0);
        assert_eq!(best([], |_| 1.0), 0.0);
    }
}
