//! Merged heads against the masked maximum over all items.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use proptest::prelude::*;
use sidereal_core::{
    ItemId, ItemSet, Recommendation, Recommender, Request, Response, Result, Run, UserId,
};
use sidereal_rerank::{Head, Merge, MultiHead};

/// Ranks by given scores what the request allows.
struct Scores(Vec<f64>);

impl Recommender for Scores {
    fn recommend(&self, requests: &[Request<'_>], k: usize, _: &Run<'_>) -> Result<Vec<Response>> {
        let list = |r: &Request<'_>| {
            let mut items: Vec<Recommendation> = (0..self.0.len())
                .map(|i| (ItemId(i as u32), self.0[i]))
                .filter(|x| r.allows(x.0))
                .map(|(item, score)| Recommendation { item, score, sid: None })
                .collect();
            items.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
            items.truncate(k);
            Response { items, invalid: 1 }
        };
        Ok(requests.iter().map(list).collect())
    }
}

fn set(n: usize, mask: u32) -> ItemSet {
    let items = (0..n as u32).filter(|i| mask >> i & 1 == 1).map(ItemId);
    ItemSet::from_items(n, items).unwrap()
}

fn head(scores: &[f64], group: Option<ItemSet>, weight: f64) -> Head {
    Head { recommender: Box::new(Scores(scores.to_vec())), group, weight }
}

fn list(heads: Vec<Head>, merge: Merge, request: &Request<'_>, k: usize) -> Vec<(u32, f64)> {
    let merged = MultiHead::new(heads, merge).unwrap();
    let lists = merged.recommend(std::slice::from_ref(request), k, &Run::quiet(0)).unwrap();
    lists[0].items.iter().map(|r| (r.item.0, r.score)).collect()
}

const N: usize = 12;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn merged_lists_are_the_best_of_all_items(
        scores in proptest::collection::vec(-6i32..6, 3 * N),
        groups in proptest::collection::vec(proptest::option::of(0u32..1 << N), 3),
        weights in proptest::collection::vec(0.2f64..3.0, 3),
        among in proptest::option::of(0u32..1 << N), seen in 0u32..N as u32, k in 1usize..N,
        average in any::<bool>(),
    ) {
        let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
        let of = |h: usize| &scores[h * N..(h + 1) * N];
        let heads = (0..3).map(|h| head(of(h), groups[h].map(|g| set(N, g)), weights[h])).collect();
        let (among, exclude) = (among.map(|m| set(N, m)), [ItemId(seen)]);
        let request =
            Request { among: among.as_ref(), exclude: &exclude, ..Request::default() };
        let merge = if average { Merge::Average { depth: N } } else { Merge::Combine };
        let got = list(heads, merge, &request, k);

        let mut want: Vec<(u32, f64)> = Vec::new();
        for i in (0..N as u32).filter(|&i| request.allows(ItemId(i))) {
            let own: Vec<f64> = (0..3)
                .filter(|&h| groups[h].is_none_or(|g| g >> i & 1 == 1))
                .map(|h| of(h)[i as usize] + weights[h].ln())
                .collect();
            let mean = own.iter().sum::<f64>() / own.len() as f64;
            let max = own.iter().copied().fold(f64::MIN, f64::max);
            if !own.is_empty() {
                want.push((i, if average { mean } else { max }));
            }
        }
        want.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        want.truncate(k);
        prop_assert_eq!(got, want);
    }
}

#[test]
fn one_head_is_itself_and_a_copy_changes_nothing() {
    let scores = [0.5, 0.9, 0.1];
    let request = Request::default();
    let one = list(vec![head(&scores, None, 1.0)], Merge::Combine, &request, 2);
    assert_eq!(one, [(1, 0.9), (0, 0.5)]);
    let two = vec![head(&scores, None, 1.0), head(&scores, None, 1.0)];
    assert_eq!(list(two, Merge::Combine, &request, 2), one);
}

/// Two worlds with opposite directions: no single vector ranks both worlds' next items first, a head
/// each does (the sheet's toy, with the scores written down).
#[test]
fn two_heads_reach_two_worlds() {
    // Items 0 and 1 are what comes next in the worlds; 2 lies between them.
    let (a, b) = ([1.0, -1.0, 0.2], [-1.0, 1.0, 0.2]);
    let one: Vec<f64> = a.iter().zip(b).map(|(a, b)| (a + b) / 2.0).collect();
    let request = Request::default();
    let single = list(vec![head(&one, None, 1.0)], Merge::Combine, &request, 2);
    assert_eq!(single.iter().filter(|x| x.0 < 2).count(), 1);
    let both = list(vec![head(&a, None, 1.0), head(&b, None, 1.0)], Merge::Combine, &request, 2);
    assert_eq!(both.iter().map(|x| x.0).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_switch_turns_heads_off_for_a_request() {
    let heads = vec![
        head(&[1.0, 0.0, 0.0, 0.0], Some(set(4, 0b0011)), 1.0),
        head(&[0.0, 0.0, 0.0, 2.0], Some(set(4, 0b1100)), 1.0),
    ];
    let even = Box::new(|r: &Request<'_>, h: usize| r.user.is_none_or(|u| u.0 as usize != h));
    let merged = MultiHead::new(heads, Merge::Combine).unwrap().with_switch(even);
    let requests =
        [None, Some(0), Some(1)].map(|u| Request { user: u.map(UserId), ..Request::default() });
    let lists = merged.recommend(&requests, 4, &Run::quiet(0)).unwrap();
    let items = |l: &Response| l.items.iter().map(|r| r.item.0).collect::<Vec<_>>();
    assert_eq!(items(&lists[0]), [3, 0, 1, 2]);
    assert_eq!(items(&lists[1]), [3, 2]);
    assert_eq!(items(&lists[2]), [0, 1]);
    assert_eq!(lists.iter().map(|l| l.invalid).collect::<Vec<_>>(), [2, 1, 1]);
}

#[test]
fn refused_heads() {
    let error = |heads| MultiHead::new(heads, Merge::Combine).err().unwrap().to_string();
    assert!(error(vec![]).contains("at least one"));
    for weight in [0.0, -1.0, f64::NAN] {
        assert!(error(vec![head(&[1.0], None, weight)]).contains("above 0"));
    }
}
