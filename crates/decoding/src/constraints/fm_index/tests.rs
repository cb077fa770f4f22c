use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn index(documents: &[Vec<Code>], longest: usize) -> FmIndex {
    FmIndex::new(documents.iter().map(Vec::as_slice).collect::<Vec<_>>(), longest).unwrap()
}

fn naive(documents: &[Vec<Code>], part: &[Code]) -> BTreeSet<Occurrence> {
    let mut found = BTreeSet::new();
    for (d, document) in documents.iter().enumerate() {
        for start in 0..document.len() {
            if document[start..].starts_with(part) && !part.is_empty() {
                found.insert(Occurrence { document: d as u32, start: start as u32 });
            }
        }
    }
    found
}

fn next(index: &FmIndex, part: &[Code]) -> Vec<Branch> {
    let mut out = Vec::new();
    index.expand(part, index.find(part).unwrap(), &mut out);
    out
}

#[test]
fn abracadabra() {
    let text = |s: &str| -> Vec<Code> { s.bytes().map(Code::from).collect() };
    let documents = [text("abracadabra"), text(""), text("bra")];
    let index = index(&documents, 20);
    assert_eq!(index.documents(), 3);
    assert_eq!(index.count(index.find(&text("bra")).unwrap()), 3);
    assert_eq!(index.count(index.find(&text("a")).unwrap()), 6);
    // Behind "a" stand b, c, d; the end of a document is not crossed.
    let after: Vec<Code> = next(&index, &text("a")).iter().map(|b| b.code).collect();
    assert_eq!(after, text("bcd"));
    assert!(index.find(&text("abrab")).is_none() && index.find(&text("x")).is_none());
    let found: BTreeSet<_> = index.occurrences(&text("bra")).collect();
    assert_eq!(found, naive(&documents, &text("bra")));
    let whole = index.find(&documents[0]).unwrap();
    assert!(index.accepts(&documents[0], whole) && !index.continues(&documents[0], whole));
}

#[test]
fn empty_corpora_and_lengths() {
    assert!(FmIndex::new([&[1][..]], 0).unwrap_err().to_string().contains("1 and up"));
    for documents in [vec![], vec![vec![], vec![]]] {
        let index = index(&documents, 3);
        assert!(next(&index, &[]).is_empty() && !index.continues(&[], index.root()));
        assert_eq!((index.occurrences(&[]).count(), index.occurrences(&[1]).count()), (0, 0));
    }
    let index = index(&[vec![7, 8, 9]], 2);
    let (one, two) = (index.find(&[7]).unwrap(), index.find(&[7, 8]).unwrap());
    assert!(index.continues(&[7], one) && index.accepts(&[7, 8], two));
    assert!(!index.continues(&[7, 8], two) && next(&index, &[7, 8]).is_empty());
    assert!(index.step(&[7, 8], two, 9).is_none() && !index.accepts(&[], index.root()));
}

#[test]
fn a_thousand_codes_and_a_thousand_prefixes() {
    let documents: Vec<Vec<Code>> = (0..25u64)
        .map(|d| (0..40).map(|i| (sidereal_core::seed::mix(d * 40 + i) % 6) as Code).collect())
        .collect();
    let index = index(&documents, 12);
    for i in 0..1_000u64 {
        let r = sidereal_core::seed::mix(i ^ 0xabc);
        let (d, start, len) = (r % 25, r / 25 % 40, r / 1_000 % 8);
        let part = &documents[d as usize][start as usize..((start + len) as usize).min(40)];
        let after = |x: Code| naive(&documents, &[part, &[x]].concat()).len();
        let want: Vec<(Code, usize)> = (0..6).map(|x| (x, after(x))).filter(|x| x.1 > 0).collect();
        let got: Vec<_> =
            next(&index, part).iter().map(|b| (b.code, index.count(b.state))).collect();
        assert_eq!(got, want, "{part:?}");
    }
    let bits = 1_025.0 * 3.0 * 9.0 / 8.0 / 8.0;
    let fixed = 8.0 * 25.0 + 8.0 * 7.0;
    assert!((index.bytes() as f64) < bits + fixed + 100.0, "{}", index.bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn equals_searching(
        documents in proptest::collection::vec(proptest::collection::vec(0u32..4, 0..12), 0..8),
        scale in prop_oneof![Just(1u32), Just(1_000_003)],
        longest in 1usize..6,
    ) {
        let documents: Vec<Vec<Code>> =
            documents.iter().map(|d| d.iter().map(|c| c * scale).collect()).collect();
        let index = index(&documents, longest);
        let mut parts = BTreeSet::new();
        for d in &documents {
            for len in 1..=longest {
                parts.extend(d.windows(len).map(<[Code]>::to_vec));
            }
        }
        let mut todo = vec![(vec![], index.root())];
        let mut seen = 0;
        while let Some((part, state)) = todo.pop() {
            let mut out = Vec::new();
            index.expand(&part, state, &mut out);
            let want: Vec<Code> = (0..4)
                .map(|c| c * scale)
                .filter(|&c| parts.contains(&[&part[..], &[c]].concat()))
                .collect();
            prop_assert_eq!(out.iter().map(|b| b.code).collect::<Vec<_>>(), want);
            prop_assert_eq!(index.continues(&part, state), !out.is_empty());
            prop_assert_eq!(index.accepts(&part, state), parts.contains(&part));
            for c in (0..5).map(|c| c * scale) {
                let branch = out.iter().find(|b| b.code == c).map(|b| b.state);
                prop_assert_eq!(index.step(&part, state, c), branch);
            }
            if !part.is_empty() {
                let want = naive(&documents, &part);
                prop_assert_eq!(index.count(state), want.len());
                prop_assert_eq!(index.occurrences(&part).collect::<BTreeSet<_>>(), want);
                seen += 1;
            }
            todo.extend(out.iter().map(|b| ([&part[..], &[b.code]].concat(), b.state)));
        }
        prop_assert_eq!(seen, parts.len());
    }
}
