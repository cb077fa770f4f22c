//! Tables that grow: new items, several domains, users.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests may panic

use proptest::prelude::*;
use rand::Rng;
use sidereal_core::{
    CodeOrder, Codebook, Codes, ItemId, Matrix, Quantized, QuantizerInput, Run, Sequences,
    SidTable, UserId, seed,
};
use sidereal_quantizers::{
    Collaborative, CollaborativeOptions, DomainRule, NewItems, Ordinal, OrdinalOptions,
    OrdinalStart, Popularity, ResidualCodebook, ResidualScale, SecondBest, SecondBestOptions,
    UserInput, UserSids, extend, merge,
};
use std::collections::BTreeSet;

fn random(rows: usize, cols: usize, index: u64) -> Matrix {
    let mut rng = seed::stream(5, "growth-test", index);
    let data = (0..rows * cols).map(|_| rng.random_range(-1.0..1.0)).collect();
    Matrix::new(rows, cols, data).unwrap()
}

fn book() -> ResidualCodebook {
    ResidualCodebook::new(vec![random(6, 3, 1), random(8, 3, 2)], ResidualScale::Raw).unwrap()
}

fn codes_of(book: &dyn Codebook, x: &Matrix) -> Codes {
    book.quantize(&QuantizerInput::vectors(x.view())).unwrap()
}

fn table(rows: &[&[u32]]) -> SidTable {
    let rows = rows.iter().enumerate().map(|(i, id)| (ItemId(i as u32), *id));
    let rows: Vec<_> = rows.collect();
    SidTable::new(rows.len(), CodeOrder::Sequence, rows).unwrap()
}

fn of_codes(codes: &Codes) -> SidTable {
    table(&(0..codes.rows()).map(|i| codes.sid(i)).collect::<Vec<_>>())
}

#[test]
fn new_items_by_hand() {
    let book = ResidualCodebook::new(
        vec![Matrix::new(3, 1, vec![0.0, 10.0, 30.0]).unwrap()],
        ResidualScale::Raw,
    )
    .unwrap();
    let x = Matrix::new(2, 1, vec![1.0, 0.5]).unwrap();
    let codes = codes_of(&book, &x);
    let new = Quantized { codes: &codes, codebook: &book, vectors: x.view() };
    let run = Run::quiet(1);
    let grow = |old: &[&[u32]], policy: NewItems| {
        let out = extend(&table(old), &new, &policy, &run)?;
        Ok::<_, sidereal_core::Error>(
            (0..out.n_rows()).map(|r| out.sid(r).to_vec()).collect::<Vec<_>>(),
        )
    };
    assert_eq!(grow(&[&[0], &[2]], NewItems::Share).unwrap(), [[0], [2], [0], [0]]);
    // Digits go on behind the largest one.
    assert_eq!(
        grow(&[&[0, 0], &[2, 0], &[0, 4]], NewItems::Number).unwrap(),
        [[0, 0], [2, 0], [0, 4], [0, 5], [0, 6]]
    );
    assert_eq!(grow(&[&[2, 7]], NewItems::Number).unwrap(), [[2, 7], [0, 0], [0, 1]]);
    // The nearer new item takes the free tuple, the other one the next.
    let moving = || NewItems::Move(SecondBest::new(SecondBestOptions::default()));
    assert_eq!(grow(&[&[2]], moving()).unwrap(), [[2], [1], [0]]);
    assert_eq!(grow(&[], moving()).unwrap(), [[1], [0]]);
    let message = grow(&[&[0], &[2]], moving()).unwrap_err().to_string();
    assert!(message.contains("1 free tuples"), "{message}");
    assert!(grow(&[&[0, 1]], moving()).unwrap_err().to_string().contains("[0, 1]"));
    assert!(grow(&[&[9]], moving()).unwrap_err().to_string().contains("[9]"));
    assert!(grow(&[&[0]], NewItems::Number).is_err());
}

#[test]
fn equal_tuples_of_two_domains() {
    let (a, b) = (table(&[&[1, 2], &[3, 4]]), table(&[&[5, 6], &[1, 2], &[1, 7]]));
    let merged = merge(&[&a, &b], &DomainRule::Number(OrdinalOptions::default())).unwrap();
    let ids: BTreeSet<&[u32]> = (0..5).map(|r| merged.table.sid(r)).collect();
    assert_eq!(ids.len(), 5);
    assert_eq!(merged.table.first_sid(ItemId(0)), Some(&[1, 2, 1][..]));
    assert_eq!(merged.table.first_sid(ItemId(3)), Some(&[1, 2, 2][..]));
    // One rule a domain does not see it.
    let shared = merge(&[&a, &b], &DomainRule::Share).unwrap();
    assert_eq!(shared.table.items_of(&[1, 2]).collect::<Vec<_>>(), [ItemId(0), ItemId(3)]);
    // Of the prefixes 1, 3 and 5 both domains use 1; of five pairs one is shared.
    assert!((shared.shared_prefixes(1) - 1.0 / 3.0).abs() < 1e-12);
    assert!((shared.shared_prefixes(2) - 1.0 / 4.0).abs() < 1e-12);
    let token = merge(&[&a, &b], &DomainRule::Token).unwrap();
    assert_eq!(token.table.first_sid(ItemId(3)), Some(&[1, 1, 2][..]));
    assert_eq!(token.shared_prefixes(1), 0.0);

    assert_eq!(merged.item(1, ItemId(2)), Some(ItemId(4)));
    assert_eq!((merged.item(1, ItemId(3)), merged.item(2, ItemId(0))), (None, None));
    let domains: Vec<_> = (0..6).map(|i| merged.domain_of(ItemId(i))).collect();
    assert_eq!(domains, [Some(0), Some(0), Some(1), Some(1), Some(1), None]);
    // The tries of the domains have no ID in common and all IDs of the whole together.
    let parts: Vec<SidTable> = (0..2).map(|d| merged.domain(d).unwrap()).collect();
    let rows = |t: &SidTable| (0..t.n_rows()).map(|r| t.sid(r).to_vec()).collect::<BTreeSet<_>>();
    assert!(rows(&parts[0]).is_disjoint(&rows(&parts[1])));
    let union: BTreeSet<_> = parts.iter().flat_map(rows).collect();
    assert_eq!(union, rows(&merged.table));
    assert!(merged.domain(2).is_err());

    let set = SidTable::new(1, CodeOrder::Set, [(ItemId(0), &[1][..])]).unwrap();
    assert!(merge(&[&set], &DomainRule::Share).is_err());
    let two = [(ItemId(0), &[1][..]), (ItemId(0), &[2][..])];
    let two = SidTable::new(1, CodeOrder::Sequence, two).unwrap();
    assert!(merge(&[&two], &DomainRule::Share).unwrap_err().to_string().contains("several"));
    assert_eq!(merge(&[], &DomainRule::Token).unwrap().table.n_items(), 0);
}

/// Users of two tastes: those who share items share the first code.
#[test]
fn users_have_ids() {
    let mut train = Sequences::default();
    for u in 0..12u32 {
        let items: Vec<ItemId> = (0..4).map(|j| ItemId(2 * ((u / 2 + j) % 7) + u % 2)).collect();
        train.push(&items);
    }
    let options = CollaborativeOptions { groups: 2, leaf: 8, ..Default::default() };
    let identifier = Collaborative::new(options).unwrap();
    let input = UserInput { train: &train, quantized: None };
    let users = UserSids::identify(&identifier, &input, &Run::quiet(1)).unwrap();
    assert_eq!(users.table().n_items(), 12);
    for u in 0..12u32 {
        let sid = users.first_sid(UserId(u)).unwrap();
        assert_eq!(sid[0], u % 2);
        assert_eq!(users.users_of(sid).collect::<Vec<_>>(), [UserId(u)]);
    }
    assert_eq!(users.first_sid(UserId(12)), None);

    // Codes of user vectors; the one with the longest history is first in its tuple.
    let mut train = Sequences::default();
    (1..4).for_each(|n| train.push(&vec![ItemId(0); n]));
    let (book, x) = (book(), Matrix::new(3, 3, vec![0.5; 9]).unwrap());
    let codes = codes_of(&book, &x);
    let quantized = Some(Quantized { codes: &codes, codebook: &book, vectors: x.view() });
    let input = UserInput { train: &train, quantized };
    let users = UserSids::identify(&Popularity, &input, &Run::quiet(1)).unwrap();
    let ranks: Vec<u32> = (0..3).map(|u| users.first_sid(UserId(u)).unwrap()[2]).collect();
    assert_eq!(ranks, [3, 2, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn old_ids_stay_and_new_ones_are_distinct(n in 0usize..25, m in 0usize..20, s in 3u64..99) {
        let (book, run) = (book(), Run::quiet(1));
        let (old, new) = (random(n, 3, s), random(m, 3, s + 100));
        let (a, b) = (codes_of(&book, &old), codes_of(&book, &new));
        let new = Quantized { codes: &b, codebook: &book, vectors: new.view() };
        let second_best = SecondBest::new(SecondBestOptions::default());
        let from = Quantized { codes: &a, codebook: &book, vectors: old.view() };
        let separate = of_codes(&second_best.separate(&from, &[], &run).unwrap());
        let ordinal = Ordinal::new(OrdinalOptions { start: OrdinalStart::Tiger });
        let counted = of_codes(&ordinal.append(&a).unwrap());
        for (before, policy) in
            [(separate, NewItems::Move(second_best)), (counted, NewItems::Number)]
        {
            let after = extend(&before, &new, &policy, &run).unwrap();
            prop_assert_eq!(after.n_items(), n + m);
            for r in 0..n {
                prop_assert_eq!(after.sid(r), before.sid(r));
            }
            let ids: BTreeSet<&[u32]> = (0..n + m).map(|r| after.sid(r)).collect();
            prop_assert_eq!(ids.len(), n + m);
            prop_assert_eq!(after.version() == before.version(), m == 0);
        }
        // Counting all at once and counting the new ones later gives the same digits.
        let both: Vec<u32> = a.data().iter().chain(b.data()).copied().collect();
        let all = of_codes(&ordinal.append(&Codes::new(n + m, 2, both).unwrap()).unwrap());
        let grown = extend(&of_codes(&ordinal.append(&a).unwrap()), &new, &NewItems::Number, &run);
        prop_assert_eq!(all.version(), grown.unwrap().version());
    }
}
