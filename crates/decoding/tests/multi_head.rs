//! Merged heads against the masked maximum over all identifiers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod support;

use proptest::prelude::*;
use sidereal_core::{Catalog, Code, Run, Spec};
use sidereal_decoding::multi_head::{HeadMerge, MultiHead, MultiHeadOptions};
use sidereal_decoding::{
    CodeScorer, Constraint, Decoder, Exhaustive, ExhaustiveOptions, Provenance, Trie,
};
use std::collections::BTreeSet;
use support::{TableScorer, all_sequences, coarse_logit, naive_sums, random_logit};

const WIDTHS: [usize; 2] = [4, 5];

fn exhaustive(width: u32) -> Box<dyn Decoder> {
    let options = ExhaustiveOptions { width, ..ExhaustiveOptions::default() };
    Box::new(Exhaustive::new(options).unwrap())
}

fn merged(width: u32, heads: usize, weights: Vec<f64>, merge: HeadMerge) -> MultiHead {
    let options = MultiHeadOptions { width, weights, merge, ..MultiHeadOptions::default() };
    MultiHead::new(options, (0..heads).map(|_| exhaustive(width)).collect()).unwrap()
}

fn trie(set: &BTreeSet<Vec<Code>>) -> Trie {
    Trie::from_sids(set.iter().map(Vec::as_slice)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn merged_lists_are_the_best_of_all_identifiers(
        masks in proptest::collection::vec(proptest::collection::vec(any::<bool>(), 20), 3),
        weights in proptest::collection::vec(0.2f64..3.0, 3),
        coarse in any::<bool>(), average in any::<bool>(), key in any::<u64>(), width in 1u32..20,
    ) {
        let logit = if coarse { coarse_logit } else { random_logit };
        let all: Vec<Vec<Code>> = all_sequences(&WIDTHS).into_iter().collect();
        let own = |h: usize| -> BTreeSet<Vec<Code>> {
            let kept = all.iter().zip(&masks[h]).filter(|x| *x.1);
            kept.map(|x| x.0.clone()).collect()
        };
        let sets: Vec<_> = (0..3).map(own).collect();
        let tries: Vec<Trie> = sets.iter().map(trie).collect();
        // Averages are exact for complete lists only.
        let (merge, asked) =
            if average { (HeadMerge::Average, 20) } else { (HeadMerge::Combine, width) };
        let heads = merged(asked, 3, weights.clone(), merge);
        let keys = |h: u64| [key.wrapping_add(h), key.wrapping_add(10 + h)];
        let mut scorers: Vec<TableScorer> =
            (0..3).map(|h| TableScorer::new(&keys(h), &WIDTHS, logit)).collect();
        let mut scorers: Vec<&mut dyn CodeScorer> =
            scorers.iter_mut().map(|s| s as &mut dyn CodeScorer).collect();
        let constraints: Vec<[&dyn Constraint; 1]> =
            tries.iter().map(|t| [t as &dyn Constraint]).collect();
        let constraints: Vec<&[&dyn Constraint]> = constraints.iter().map(|c| &c[..]).collect();
        let lists = heads.decode_heads(&mut scorers, &constraints, &Run::quiet(0)).unwrap();
        prop_assert_eq!(lists.len(), 2);
        for (r, list) in lists.iter().enumerate() {
            let mut want: Vec<(&Vec<Code>, f64)> = Vec::new();
            for sid in &all {
                let scores: Vec<f64> = (0..3)
                    .filter(|&h| sets[h].contains(sid))
                    .map(|h| {
                        let key = keys(h as u64)[r];
                        naive_sums(logit, key, &WIDTHS, &sets[h], sid).0 + weights[h].ln()
                    })
                    .collect();
                let mean = scores.iter().sum::<f64>() / scores.len() as f64;
                let most = scores.iter().copied().fold(f64::MIN, f64::max);
                if !scores.is_empty() {
                    want.push((sid, if average { mean } else { most }));
                }
            }
            want.sort_by(|a, b| b.1.total_cmp(&a.1));
            want.truncate(asked as usize);
            prop_assert_eq!(list.len(), want.len());
            let distinct: BTreeSet<&[Code]> = list.iter().map(|h| &h.codes[..]).collect();
            prop_assert_eq!(distinct.len(), list.len());
            for (h, (_, score)) in list.iter().zip(&want) {
                prop_assert!((h.score - score).abs() < 1e-5, "{} {score}", h.score);
                let Provenance::Head { head } = h.provenance else { panic!("{:?}", h.provenance) };
                prop_assert!(sets[head as usize].contains(&h.codes), "group purity");
            }
        }
    }
}

#[test]
fn one_head_is_its_decoder_and_a_copy_changes_nothing() {
    let trie = trie(&all_sequences(&WIDTHS));
    let decode = |decoder: &dyn Decoder| {
        let mut scorer = TableScorer::random(&[1, 2], &WIDTHS);
        let lists = decoder.decode(&mut scorer, &[&trie], &Run::quiet(0)).unwrap();
        let strip = |l: Vec<sidereal_decoding::Hypothesis>| {
            l.into_iter().map(|h| (h.codes, h.score)).collect::<Vec<_>>()
        };
        lists.into_iter().map(strip).collect::<Vec<_>>()
    };
    let alone = decode(exhaustive(7).as_ref());
    for heads in [1, 2] {
        assert_eq!(decode(&merged(7, heads, vec![], HeadMerge::Combine)), alone);
        assert_eq!(decode(&merged(7, heads, vec![], HeadMerge::Average)), alone);
    }
}

#[test]
fn weights_move_a_head_and_ties_go_to_the_first() {
    let trie = trie(&BTreeSet::from([vec![0], vec![1]]));
    let options = |weights| MultiHeadOptions { width: 2, weights, ..Default::default() };
    let best = |weights: Vec<f64>| {
        let heads = MultiHead::new(options(weights), vec![exhaustive(2), exhaustive(2)]).unwrap();
        // One head prefers code 0 by 1, the other code 1 by 1.
        let logit = |key: u64, _: &[Code], code: Code| f32::from(u64::from(code) == key);
        let (mut a, mut b) =
            (TableScorer::new(&[0], &[2], logit), TableScorer::new(&[1], &[2], logit));
        let mask: &[&dyn Constraint] = &[&trie];
        let lists =
            heads.decode_heads(&mut [&mut a, &mut b], &[mask, mask], &Run::quiet(0)).unwrap();
        lists[0].iter().map(|h| (h.codes[0], h.provenance)).collect::<Vec<_>>()
    };
    let of = |head| Provenance::Head { head };
    assert_eq!(best(vec![]), [(0, of(0)), (1, of(1))]);
    assert_eq!(best(vec![1.0, 1.5]), [(1, of(1)), (0, of(0))]);
    // e^1 and more: the second head's second place beats the first head's first.
    assert_eq!(best(vec![1.0, 3.0]), [(1, of(1)), (0, of(1))]);
}

#[test]
fn options_and_names() {
    let mut catalog: Catalog<dyn Decoder> = Catalog::new("decoder");
    sidereal_decoding::register(&mut catalog).unwrap();
    let built = catalog.build(&Spec::new("decoder", "multi-head"), &()).unwrap();
    assert_eq!(built.width(), 50);
    let heads = two_heads();
    let spec = Spec::new("decoder", "multi-head").with("heads", heads).with("width", 100);
    assert_eq!(catalog.build(&spec, &()).unwrap().width(), 12);
    let error = |weights: Vec<f64>, width, n: usize| {
        let options = MultiHeadOptions { weights, width, ..Default::default() };
        let heads = (0..n).map(|_| exhaustive(3)).collect();
        MultiHead::new(options, heads).err().unwrap().to_string()
    };
    assert!(error(vec![], 3, 0).contains("decoder.heads"));
    assert!(error(vec![1.0], 3, 2).contains("decoder.weights"));
    assert!(error(vec![1.0, 0.0], 3, 2).contains("above 0"));
    assert!(error(vec![], 0, 1).contains("decoder.width"));
    let heads = merged(3, 2, vec![], HeadMerge::Combine);
    let mut one = TableScorer::random(&[1], &WIDTHS);
    let e = heads.decode_heads(&mut [&mut one], &[], &Run::quiet(0)).unwrap_err();
    assert!(e.to_string().contains("1 scorers and 0 masks for 2 heads"));
}

/// Two heads of width 6.
fn two_heads() -> sidereal_core::serde_json::Value {
    sidereal_core::serde_json::json!([
        {"type": "beam", "width": 6},
        {"type": "exhaustive", "width": 6}
    ])
}
