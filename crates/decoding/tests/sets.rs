//! Order-free decoding of sets against brute force over items and orders.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]
#![allow(clippy::single_range_in_vec_init, reason = "one codebook is a list of one range")]

use proptest::prelude::*;
use sidereal_core::{Code, CodeOrder, ItemId, Result, Run, SidTable, seed};
use sidereal_decoding::sets::{Merge, Next};
use sidereal_decoding::{
    Hypothesis, ItemIndex, OrderFree, OrderFreeOptions, PostingLists, Provenance, Rows, SetRow,
    SetScorer,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// A member: codebook and code as the table writes it.
type Member = (u32, Code);

/// A model whose logits are a function of the members so far.
struct Toy<F> {
    requests: usize,
    books: Vec<Range<Code>>,
    logit: F,
    /// Members of the rows of the last call.
    prefixes: Vec<Vec<Member>>,
    /// All rows that were asked for.
    asked: Vec<Vec<SetRow>>,
}

impl<F: Fn(u32, &[Member], u32, Code) -> f32> Toy<F> {
    fn new(books: &[Range<Code>], logit: F) -> Self {
        let books = books.to_vec();
        Toy { requests: 1, books, logit, prefixes: Vec::new(), asked: Vec::new() }
    }

    /// Log-probability of a member after others.
    fn log_prob(&self, prefix: &[Member], (m, code): Member) -> f64 {
        let logit = |c| f64::from((self.logit)(0, prefix, m, c));
        let sum: f64 = self.books[m as usize].clone().map(|c| logit(c).exp()).sum();
        logit(code) - sum.ln()
    }

    fn path(&self, members: &[Member]) -> f64 {
        (0..members.len()).map(|t| self.log_prob(&members[..t], members[t])).sum()
    }
}

impl<F: Fn(u32, &[Member], u32, Code) -> f32> SetScorer for Toy<F> {
    fn requests(&self) -> usize {
        self.requests
    }

    fn codebooks(&self) -> usize {
        self.books.len()
    }

    fn codes(&self, codebook: usize) -> Range<Code> {
        self.books[codebook].clone()
    }

    fn advance(&mut self, step: usize, rows: &[SetRow], logits: &mut Vec<f32>) -> Result<()> {
        let old = std::mem::take(&mut self.prefixes);
        assert!(rows.windows(2).all(|w| w[0].request <= w[1].request), "adjacent");
        for (i, row) in rows.iter().enumerate() {
            self.prefixes.push(match step {
                0 => {
                    assert_eq!((row.request as usize, rows.len()), (i, self.requests));
                    Vec::new()
                }
                _ => {
                    let parent = &old[row.parent as usize];
                    assert!(parent.iter().all(|p| p.0 != row.codebook), "used twice");
                    [&parent[..], &[(row.codebook, row.code)]].concat()
                }
            });
        }
        logits.clear();
        for (row, prefix) in rows.iter().zip(&self.prefixes) {
            assert_eq!(prefix.len(), step);
            for (m, range) in self.books.iter().enumerate() {
                logits
                    .extend(range.clone().map(|c| (self.logit)(row.request, prefix, m as u32, c)));
            }
        }
        self.asked.push(rows.to_vec());
        Ok(())
    }
}

/// Noise in -2 to 2 that depends on members in their order.
fn ordered(salt: u64, prefix: &[Member], m: u32, code: Code) -> f32 {
    let mix = |h: u64, &(m, c): &Member| seed::mix(h ^ (u64::from(m) << 32 | u64::from(c)));
    let h = seed::mix(
        prefix.iter().fold(seed::mix(salt), mix) ^ (u64::from(m) << 40) ^ u64::from(code),
    );
    (h >> 40) as f32 / (1u64 << 22) as f32 - 2.0
}

/// The same whatever the order.
fn bag(salt: u64, prefix: &[Member], m: u32, code: Code) -> f32 {
    let mut sorted = prefix.to_vec();
    sorted.sort_unstable();
    ordered(salt, &sorted, m, code)
}

fn index(sids: &[Vec<Code>], order: CodeOrder) -> PostingLists {
    let rows = sids.iter().enumerate().map(|(i, s)| (ItemId(i as u32), s.as_slice()));
    let table = SidTable::new(sids.len(), order, rows).unwrap();
    PostingLists::new(&ItemIndex::new(Arc::new(table)).unwrap()).unwrap()
}

fn decoder(options: OrderFreeOptions) -> OrderFree {
    OrderFree::new(options).unwrap()
}

fn decode(
    options: OrderFreeOptions,
    toy: &mut dyn SetScorer,
    index: &PostingLists,
) -> Vec<Hypothesis> {
    let lists = decoder(options).decode(toy, index, &[Rows::all(index.len())], &Run::quiet(0));
    lists.unwrap().remove(0)
}

fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let insert = |p: Vec<usize>| {
        (0..n).map(move |at| [&p[..at], &[n - 1], &p[at..]].concat()).collect::<Vec<_>>()
    };
    orders(n - 1).into_iter().flat_map(insert).collect()
}

/// The best log-probability of each identifier over all orders of its members.
fn brute<F: Fn(u32, &[Member], u32, Code) -> f32>(
    toy: &Toy<F>,
    sids: &[Vec<Code>],
) -> BTreeMap<Vec<Code>, f64> {
    let best = |sid: &Vec<Code>| {
        let path = |order: Vec<usize>| -> Vec<Member> {
            order.into_iter().map(|m| (m as u32, sid[m])).collect()
        };
        orders(sid.len()).into_iter().map(|o| toy.path(&path(o))).fold(f64::MIN, f64::max)
    };
    sids.iter().map(|s| (s.clone(), best(s))).collect()
}

/// Three codebooks of four codes in ranges of their own.
const BOOKS: [Range<Code>; 3] = [0..4, 4..8, 8..12];

fn wide(merge: Merge, next: Next) -> OrderFreeOptions {
    OrderFreeOptions { width: 4096, merge, next, ..Default::default() }
}

fn sids() -> impl Strategy<Value = Vec<Vec<Code>>> {
    let sid = (0u32..4, 4u32..8, 8u32..12).prop_map(|(a, b, c)| vec![a, b, c]);
    proptest::collection::btree_set(sid, 1..30).prop_map(|s| s.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    /// The sheet's first check: all ordered prefixes kept, an item scores as its best order; with
    /// merging this holds for a model of sets, for one of orders the score is at most that.
    #[test]
    fn scores_are_the_best_over_orders(sids in sids(), salt in any::<u64>(), set in any::<bool>()) {
        let index = index(&sids, if set { CodeOrder::Set } else { CodeOrder::Sequence });
        let check = |found: &[Hypothesis], want: &BTreeMap<Vec<Code>, f64>, exact: bool| {
            assert_eq!(found.len(), want.len(), "all of the catalogue");
            let distinct: BTreeSet<&[Code]> = found.iter().map(|h| &h.codes[..]).collect();
            assert_eq!(distinct.len(), found.len());
            assert!(found.windows(2).all(|w| w[0].score >= w[1].score));
            for h in found {
                assert!(h.valid && h.provenance == Provenance::Set);
                assert!(h.log_prob_masked >= h.log_prob_full - 1e-6);
                let exact_score = want[&h.codes];
                assert!(h.score <= exact_score + 1e-5, "{} above {exact_score}", h.score);
                assert!(!exact || h.score >= exact_score - 1e-5, "{} for {exact_score}", h.score);
            }
        };
        let mut toy = Toy::new(&BOOKS, |_, p, m, c| ordered(salt, p, m, c));
        let want = brute(&toy, &sids);
        check(&decode(wide(Merge::Never, Next::Joint), &mut toy, &index), &want, true);
        check(&decode(wide(Merge::Set, Next::Joint), &mut toy, &index), &want, false);
        for next in [Next::Confident, Next::Entropy, Next::Fixed] {
            check(&decode(wide(Merge::Never, next), &mut toy, &index), &want, false);
        }
        let mut toy = Toy::new(&BOOKS, |_, p, m, c| bag(salt, p, m, c));
        let want = brute(&toy, &sids);
        check(&decode(wide(Merge::Never, Next::Joint), &mut toy, &index), &want, true);
        check(&decode(wide(Merge::Set, Next::Joint), &mut toy, &index), &want, true);
    }

    /// Codebooks renamed in table and model: the same sets with the same scores.
    #[test]
    fn the_order_of_the_codebooks_says_nothing(
        sids in sids(), salt in any::<u64>(), width in 1u32..20, which in 0usize..6,
        next in 0usize..3,
    ) {
        let next = [Next::Joint, Next::Confident, Next::Entropy][next];
        let names = orders(3).swap_remove(which);
        let options = || OrderFreeOptions { width, next, delta: Some(2.0), ..Default::default() };
        let mut toy = Toy::new(&BOOKS, |_, p, m, c| bag(salt, p, m, c));
        let plain = decode(options(), &mut toy, &index(&sids, CodeOrder::Sequence));
        // New codebook m is the old one names[m].
        let renamed: Vec<Vec<Code>> =
            sids.iter().map(|s| names.iter().map(|&m| s[m]).collect()).collect();
        let books: Vec<Range<Code>> = names.iter().map(|&m| BOOKS[m].clone()).collect();
        let old = |p: &[Member]| -> Vec<Member> {
            p.iter().map(|&(m, c)| (names[m as usize] as u32, c)).collect()
        };
        let mut toy =
            Toy::new(&books, |_, p, m, c| bag(salt, &old(p), names[m as usize] as u32, c));
        let found = decode(options(), &mut toy, &index(&renamed, CodeOrder::Sequence));
        let sets = |list: &[Hypothesis]| -> Vec<(BTreeSet<Code>, i64)> {
            list.iter()
                .map(|h| (h.codes.iter().copied().collect(), (h.score * 1e6).round() as i64))
                .collect()
        };
        prop_assert_eq!(sets(&plain), sets(&found));
    }

    /// Narrow beams find distinct real identifiers among those allowed; pruning that drops nothing
    /// changes nothing, pruning that drops all it may leaves the best.
    #[test]
    fn narrow_beams_and_pruning(
        sids in sids(), salt in any::<u64>(), width in 1u32..8, gone in 0u32..30,
        delta in 0.0f64..1.0, merge in any::<bool>(),
    ) {
        let merge = if merge { Merge::Set } else { Merge::Never };
        let options = || OrderFreeOptions { width, merge, ..Default::default() };
        let index = index(&sids, CodeOrder::Set);
        let rows = [Rows::except(sids.len(), vec![gone])];
        let run = |options: OrderFreeOptions| {
            let mut toy = Toy::new(&BOOKS, |_, p, m, c| ordered(salt, p, m, c));
            decoder(options).decode(&mut toy, &index, &rows, &Run::quiet(0)).unwrap().remove(0)
        };
        let plain = run(options());
        let left = sids.len() - usize::from((gone as usize) < sids.len());
        prop_assert!(plain.len() <= left.min(width as usize));
        prop_assert_eq!(plain.is_empty(), left == 0);
        let toy = Toy::new(&BOOKS, |_, p, m, c| ordered(salt, p, m, c));
        let exact = brute(&toy, &sids);
        let check = |list: &[Hypothesis]| {
            let distinct: BTreeSet<&[Code]> = list.iter().map(|h| &h.codes[..]).collect();
            assert_eq!(distinct.len(), list.len());
            for h in list {
                assert!(h.score <= exact[&h.codes] + 1e-5);
                assert_ne!(sids.iter().position(|s| *s == h.codes), Some(gone as usize));
            }
        };
        check(&plain);
        let loose =
            OrderFreeOptions { delta: Some(f64::INFINITY), eta: Some(3), ..options() };
        prop_assert_eq!(&run(loose), &plain);
        for eta in [None, Some(0)] {
            let pruned = run(OrderFreeOptions { delta: Some(delta), eta, ..options() });
            check(&pruned);
            prop_assert_eq!(pruned.is_empty(), left == 0);
        }
    }

    /// One codebook: a plain classifier over the catalogue.
    #[test]
    fn one_codebook_is_a_classifier(
        codes in proptest::collection::btree_set(0u32..9, 1..9), salt in any::<u64>(),
    ) {
        let sids: Vec<Vec<Code>> = codes.iter().map(|&c| vec![c]).collect();
        let mut toy = Toy::new(&[0..9], |_, p, m, c| ordered(salt, p, m, c));
        let found = decode(OrderFreeOptions::default(), &mut toy, &index(&sids, CodeOrder::Set));
        let mut want: Vec<(Vec<Code>, f64)> =
            sids.iter().map(|s| (s.clone(), toy.log_prob(&[], (0, s[0])))).collect();
        want.sort_by(|a, b| b.1.total_cmp(&a.1));
        prop_assert_eq!(found.len(), want.len());
        for (h, (sid, score)) in found.iter().zip(&want) {
            prop_assert_eq!(&h.codes, sid);
            prop_assert!((h.score - score).abs() < 1e-6);
        }
    }
}

/// Log-odds of a probability.
fn logit(p: f32) -> f32 {
    p.ln()
}

#[test]
fn consistency_drops_a_path_at_its_gap_and_keeps_the_best() {
    let sids = vec![vec![0, 0], vec![1, 1]];
    let index = index(&sids, CodeOrder::Sequence);
    // After code 0 its completion has probability .1, after code 1 probability .9.
    let toy = || {
        Toy::new(&[0..2, 0..2], |_, p, _, c| match p {
            [] => logit(0.5),
            [(0, 0)] => logit(if c == 0 { 0.1 } else { 0.9 }),
            _ => logit(if c == 1 { 0.9 } else { 0.1 }),
        })
    };
    let found = |delta: f64| {
        let options =
            OrderFreeOptions { delta: Some(delta), next: Next::Fixed, ..Default::default() };
        let list = decode(options, &mut toy(), &index);
        list.into_iter().map(|h| h.codes).collect::<Vec<_>>()
    };
    let gap = 9f64.ln();
    assert_eq!(found(gap + 1e-3), [[1, 1], [0, 0]]);
    assert_eq!(found(gap - 1e-3), [[1, 1]]);
    assert_eq!(found(0.0), [[1, 1]]);
}

#[test]
fn a_reversed_half_that_leads_elsewhere_drops_the_set() {
    let sids = vec![vec![0, 0], vec![1, 0]];
    let index = index(&sids, CodeOrder::Sequence);
    // Codebook 0 first: .7 for code 0. After codebook 1: .8 for code 1.
    let mut toy = Toy::new(&[0..2, 0..1], |_, p, m, c| match (p, m) {
        ([], 0) => logit(if c == 0 { 0.7 } else { 0.3 }),
        ([(1, _)], 0) => logit(if c == 0 { 0.2 } else { 0.8 }),
        _ => 0.0,
    });
    let mut found = |eta| {
        let options = OrderFreeOptions { eta, next: Next::Fixed, ..Default::default() };
        decode(options, &mut toy, &index).into_iter().map(|h| h.codes).collect::<Vec<_>>()
    };
    assert_eq!(found(None), [[0, 0], [1, 0]]);
    assert_eq!(found(Some(1)), [[0, 0], [1, 0]]);
    assert_eq!(found(Some(0)), [[1, 0]]);
}

#[test]
fn the_next_codebook_is_the_surest_by_either_measure() {
    // Eight codes, one of them .5: largest probability .5, entropy .80 of ln 8. Two codes, .6 and
    // .4: largest probability .6, entropy .97 of ln 2.
    let books = [0..8, 8..10];
    let sids: Vec<Vec<Code>> = (0..8).flat_map(|a| [vec![a, 8], vec![a, 9]]).collect();
    let index = index(&sids, CodeOrder::Set);
    let first = |next| {
        let mut toy = Toy::new(&books, |_, _, m, c| match (m, c) {
            (0, 0) => logit(0.5),
            (0, _) => logit(0.5 / 7.0),
            (_, 8) => logit(0.6),
            _ => logit(0.4),
        });
        decode(OrderFreeOptions { next, ..Default::default() }, &mut toy, &index);
        toy.asked[1].iter().map(|r| r.codebook).collect::<BTreeSet<u32>>()
    };
    assert_eq!(first(Next::Fixed), BTreeSet::from([0]));
    assert_eq!(first(Next::Confident), BTreeSet::from([1]));
    assert_eq!(first(Next::Entropy), BTreeSet::from([0]));
    assert_eq!(first(Next::Joint), BTreeSet::from([0, 1]));
}

#[test]
fn requests_are_answered_apart() {
    let sids: Vec<Vec<Code>> =
        (0..4).flat_map(|a| (4..8).map(move |b| vec![a, b, 8 + (a + b) % 4])).collect();
    let index = index(&sids, CodeOrder::Set);
    let logit = |r: u32, p: &[Member], m: u32, c: Code| ordered(u64::from(r), p, m, c);
    let options =
        || OrderFreeOptions { width: 5, eta: Some(1), delta: Some(3.0), ..Default::default() };
    let rows = [
        Rows::all(16),
        Rows::only(16, 3, [1, 5, 9].into_iter()),
        Rows::only(16, 0, [].into_iter()),
    ];
    let mut toy = Toy { requests: 3, ..Toy::new(&BOOKS, logit) };
    let together = decoder(options()).decode(&mut toy, &index, &rows, &Run::quiet(0)).unwrap();
    assert_eq!(together.iter().map(Vec::len).collect::<Vec<_>>()[2], 0);
    assert!(!together[1].is_empty());
    for (r, rows) in rows.iter().enumerate() {
        let mut toy = Toy::new(&BOOKS, |_, p: &[Member], m, c| logit(r as u32, p, m, c));
        let rows = std::slice::from_ref(rows);
        let alone = decoder(options()).decode(&mut toy, &index, rows, &Run::quiet(0)).unwrap();
        assert_eq!(alone[0], together[r], "{r}");
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let two = index(&[vec![0, 1]], CodeOrder::Sequence);
    let fail =
        |books: &[Range<Code>], logit: fn(u32, &[Member], u32, Code) -> f32, rows: &[Rows]| {
            let mut toy = Toy::new(books, logit);
            let d = decoder(OrderFreeOptions::default());
            d.decode(&mut toy, &two, rows, &Run::quiet(0)).unwrap_err().to_string()
        };
    let all = [Rows::all(1)];
    assert!(fail(&[0..2], |_, _, _, _| 0.0, &all).contains("1 codebooks"));
    assert!(fail(&[0..2, 0..1], |_, _, _, _| 0.0, &all).contains("code 1 in codebook 1"));
    assert!(fail(&[0..2, 0..2], |_, _, _, _| f32::NAN, &all).contains("codebook 0"));
    assert!(fail(&[0..2, 0..2], |_, _, _, _| 0.0, &[Rows::all(2)]).contains("2 identifiers"));
    assert!(fail(&[0..2, 0..2], |_, _, _, _| 0.0, &[]).contains("0 sets of rows"));
    // Probability 0 is not followed.
    let mut never =
        Toy::new(&[0..2, 0..2], |_, _, m, _| if m == 1 { f32::NEG_INFINITY } else { 0.0 });
    assert!(decode(OrderFreeOptions::default(), &mut never, &two).is_empty());
    let e = OrderFree::new(OrderFreeOptions { delta: Some(-1.0), ..Default::default() });
    assert!(e.unwrap_err().to_string().contains("decoder.delta"));
    let e = OrderFree::new(OrderFreeOptions { width: 0, ..Default::default() });
    assert!(e.unwrap_err().to_string().contains("decoder.width"));
    let none = index(&[], CodeOrder::Set);
    let mut toy = Toy::new(&BOOKS, |_, _, _, _| 0.0);
    assert!(decode(OrderFreeOptions::default(), &mut toy, &none).is_empty());
}
