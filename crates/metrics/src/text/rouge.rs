//! ROUGE-N and ROUGE-L (Lin 2004): overlap of word n-grams, and of the longest common subsequence
//! of words. Words are runs of ASCII letters and digits of the lower-cased text, without stemming
//! (the rouge-score package without stemmer). Cost: a sort for N, |a| x |b| steps for L.

/// Overlap of two texts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overlap {
    /// Common part over the candidate.
    pub precision: f64,
    /// Common part over the reference.
    pub recall: f64,
    /// Their harmonic mean; 0 where both are 0.
    pub f1: f64,
}

impl Overlap {
    fn of(common: usize, candidate: usize, reference: usize) -> Self {
        let (precision, recall) =
            (common as f64 / candidate.max(1) as f64, common as f64 / reference.max(1) as f64);
        let f1 = match common {
            0 => 0.0,
            _ => 2.0 * precision * recall / (precision + recall),
        };
        Overlap { precision, recall, f1 }
    }
}

fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|w| !w.is_empty()).map(str::to_string).collect()
}

/// ROUGE-N with clipped counts; all 0 for `n` = 0 and for texts shorter than `n` words.
pub fn rouge_n(candidate: &str, reference: &str, n: usize) -> Overlap {
    if n == 0 {
        return Overlap::of(0, 0, 0);
    }
    let (a, b) = (words(candidate), words(reference));
    let sorted = |words: &'_ [String]| -> Vec<Vec<String>> {
        let mut grams: Vec<Vec<String>> = words.windows(n).map(<[_]>::to_vec).collect();
        grams.sort_unstable();
        grams
    };
    let (a, b) = (sorted(&a), sorted(&b));
    let (mut i, mut j, mut common) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => (i, j, common) = (i + 1, j + 1, common + 1),
        }
    }
    Overlap::of(common, a.len(), b.len())
}

/// ROUGE-L of two texts as one sentence each.
pub fn rouge_l(candidate: &str, reference: &str) -> Overlap {
    let (a, b) = (words(candidate), words(reference));
    let mut row = vec![0usize; b.len() + 1];
    for word in &a {
        let mut diagonal = 0;
        for (j, other) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if word == other { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    Overlap::of(row[b.len()], a.len(), b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_lin() {
        let reference = "police killed the gunman";
        assert_eq!(rouge_l("police kill the gunman", reference).f1, 0.75);
        assert_eq!(rouge_l("the gunman kill police", reference).f1, 0.5);
        assert_eq!(rouge_n("police kill the gunman", reference, 2).recall, 1.0 / 3.0);
        assert_eq!(rouge_n("the the the the", "the cat the", 1).precision, 0.5);
        let none = Overlap { precision: 0.0, recall: 0.0, f1: 0.0 };
        assert_eq!(rouge_n("a b", "a b", 3), none);
        assert_eq!(rouge_n("a b", "a b", 0), none);
        assert_eq!(rouge_l("", ""), none);
    }
}
