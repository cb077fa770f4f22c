//! Words of a catalogue as a vocabulary.

use rayon::prelude::*;
use sidereal_core::{Code, StringColumn};
use std::collections::HashMap;

/// The words of a text: runs of letters and digits, in lower case.
pub fn words(text: &str) -> impl Iterator<Item = String> + use<'_> {
    let parts = text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
    parts.map(str::to_lowercase)
}

/// Codes of the words of all texts, at most `longest` a text, and the word of each code: the most
/// frequent word has code 0, equally frequent ones stand in the order of the alphabet.
pub fn encode(texts: &[String], longest: usize) -> (Vec<Vec<Code>>, StringColumn) {
    let split: Vec<Vec<String>> =
        texts.par_iter().map(|text| words(text).take(longest).collect()).collect();
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for word in split.iter().flatten() {
        *counts.entry(word).or_default() += 1;
    }
    let mut order: Vec<(&str, u64)> = counts.into_iter().collect();
    order.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let codes: HashMap<&str, Code> =
        (0..).zip(&order).map(|(code, (word, _))| (*word, code)).collect();
    let of =
        |text: &Vec<String>| text.iter().filter_map(|w| codes.get(w.as_str()).copied()).collect();
    (split.par_iter().map(of).collect(), order.iter().map(|(word, _)| word).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_codes_by_hand() {
        let split = |text| words(text).collect::<Vec<_>>();
        assert_eq!(split("L'Oréal 2-in-1 (ÉTÉ)"), ["l", "oréal", "2", "in", "1", "été"]);
        assert!(split(" -- ").is_empty());
        let texts = ["blue soap", "red soap", "", "Soap blue bag"].map(String::from);
        let (codes, tokens) = encode(&texts, 2);
        assert_eq!(tokens.iter().collect::<Vec<_>>(), ["soap", "blue", "red"]);
        assert_eq!(codes, [vec![1, 0], vec![2, 0], vec![], vec![0, 1]]);
    }
}
