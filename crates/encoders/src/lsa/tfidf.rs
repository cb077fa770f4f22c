//! TF-IDF weights of counted terms.
//!
//! `w(i, t) = (1 + ln tf(i, t)) (ln((1 + N) / (1 + df(t))) + 1)`, rows scaled to length 1
//! (sublinear term frequency and smoothed inverse document frequency, Manning et al. 2008,
//! chapter 6).

use super::terms::Counts;
use rayon::prelude::*;
use sidereal_nn::algebra::sparse::Csr;

/// The N x V matrix of weights. Terms in fewer than `min_df` items are left out; of the rest the
/// `max_terms` in the most items stay. Columns are ordered by the hash of their term.
pub fn weigh(counts: &Counts, min_df: u32, max_terms: usize) -> Csr {
    let n = counts.rows();
    let columns = vocabulary(counts, min_df, max_terms);
    let idf: Vec<f64> = columns
        .iter()
        .map(|&(_, df)| ((1 + n) as f64 / (1.0 + f64::from(df))).ln() + 1.0)
        .collect();

    let mut offsets = vec![0usize; n + 1];
    let column = |term: &u64| columns.binary_search_by_key(term, |&(t, _)| t).ok();
    // Column of every counted term, or none, then compacted row by row.
    let found: Vec<Option<u32>> =
        counts.terms().par_iter().map(|t| column(t).map(|c| c as u32)).collect();
    let mut start = 0;
    for i in 0..n {
        let len = counts.row_len(i);
        offsets[i + 1] = offsets[i] + found[start..start + len].iter().flatten().count();
        start += len;
    }
    let mut cols = Vec::with_capacity(offsets[n]);
    let mut values = Vec::with_capacity(offsets[n]);
    let (mut start, mut row) = (0, Vec::new());
    for i in 0..n {
        row.clear();
        let (terms, tf) = counts.row(i);
        for j in 0..terms.len() {
            if let Some(c) = found[start + j] {
                row.push((c, (1.0 + f64::from(tf[j]).ln()) * idf[c as usize]));
            }
        }
        start += terms.len();
        let norm = row.iter().map(|(_, w)| w * w).sum::<f64>().sqrt();
        for &(c, w) in &row {
            cols.push(c);
            values.push((w / norm) as f32);
        }
    }
    Csr::from_parts(columns.len(), offsets, cols, values)
}

/// Kept terms with the number of items that have them, by ascending hash.
fn vocabulary(counts: &Counts, min_df: u32, max_terms: usize) -> Vec<(u64, u32)> {
    let mut terms = counts.terms().to_vec();
    terms.par_sort_unstable();
    let mut kept: Vec<(u64, u32)> = terms
        .chunk_by(|a, b| a == b)
        .filter(|run| run.len() >= min_df as usize)
        .map(|run| (run[0], run.len() as u32))
        .collect();
    if kept.len() > max_terms {
        kept.sort_unstable_by_key(|&(t, df)| (std::cmp::Reverse(df), t));
        kept.truncate(max_terms);
        kept.sort_unstable();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsa::terms;
    use crate::text::ItemText;
    use sidereal_core::ItemTable;

    fn weights(titles: &[&str], min_df: u32, max_terms: usize) -> Csr {
        let items = ItemTable::new((0..titles.len()).map(|i| i.to_string()).collect())
            .with_column("title", titles.iter().collect())
            .unwrap();
        let text = ItemText::new(&items, &["title".to_string()]).unwrap();
        weigh(&terms::count(&text, titles.len(), 1), min_df, max_terms)
    }

    #[test]
    fn agrees_with_the_formula_by_hand() {
        // N = 2. `a` is in both items: idf = ln(3/3) + 1 = 1. `b`: idf = ln(3/2) + 1.
        let m = weights(&["a a b", "a"], 1, 10);
        let (wa, wb) = (1.0 + 2f64.ln(), 1.5f64.ln() + 1.0);
        let norm = (wa * wa + wb * wb).sqrt();
        let mut got = m.row(0).1.to_vec();
        got.sort_by(f32::total_cmp);
        let mut want = [(wa / norm) as f32, (wb / norm) as f32];
        want.sort_by(f32::total_cmp);
        assert_eq!(got, want);
        assert_eq!(m.row(1).1, [1.0]);
    }

    #[test]
    fn rare_terms_go_first_then_the_less_common() {
        assert_eq!(weights(&["a b c", "a b", "a"], 2, 10).cols(), 2);
        let one = weights(&["a b c", "a b", "a", ""], 1, 1);
        assert_eq!((one.cols(), one.row(2).1), (1, &[1.0f32][..]));
        assert!(one.row(3).0.is_empty());
    }
}
