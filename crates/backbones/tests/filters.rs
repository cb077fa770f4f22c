//! What a request excludes and what it allows, for every recommender: the filtered list is the
//! whole list, filtered.

#![allow(clippy::unwrap_used)]

mod common;

use common::fixed_table;
use sidereal_backbones::causal::{Causal, CausalOptions};
use sidereal_backbones::sasrec::{Sasrec, SasrecOptions};
use sidereal_backbones::{DenseRecommender, GenerativeRecommender, MostPopular};
use sidereal_core::{CodeOrder, ItemId, ItemSet, Recommender, Request, Run, SidTable};
use sidereal_decoding::{Beam, BeamOptions};
use std::sync::Arc;

const N: usize = 40;
const WIDTHS: [u32; 3] = [5, 6, 4];

fn generative(table: Arc<SidTable>) -> Box<dyn Recommender> {
    let options =
        CausalOptions { d_model: 16, d_ff: 24, layers: 1, heads: 2, d_kv: 8, ..Default::default() };
    let model = Causal::new(options, &WIDTHS, 2).unwrap();
    let beam = Beam::new(BeamOptions { width: N as u32, ..Default::default() }).unwrap();
    Box::new(GenerativeRecommender::new(Arc::new(model), Box::new(beam), table).unwrap())
}

fn recommenders() -> Vec<Box<dyn Recommender>> {
    // Items 2 i and 2 i + 1 share an ID in the second table.
    let table = fixed_table(N, &WIDTHS);
    let halves = (0..N as u32).map(|i| (ItemId(i), table.first_sid(ItemId(i / 2)).unwrap()));
    let shared = SidTable::new(N, CodeOrder::Sequence, halves).unwrap();
    let options = SasrecOptions { d_model: 16, layers: 1, ..Default::default() };
    let dense = Sasrec::new(options, N, 3).unwrap();
    let popularity: Vec<u32> = (0..N as u32).map(|i| i * 7 % 11).collect();
    vec![
        generative(table.clone()),
        generative(Arc::new(shared)),
        Box::new(DenseRecommender::new(Arc::new(dense)).unwrap()),
        Box::new(MostPopular::new(&popularity)),
    ]
}

#[test]
fn filtered_lists_are_whole_lists_filtered() {
    let run = Run::quiet(0);
    let history = [3, 4, 9].map(ItemId);
    let few = ItemSet::from_items(N, [1, 8, 9, 30].map(ItemId)).unwrap();
    let most = few.clone().not();
    let none = ItemSet::none(N);
    let exclude: Vec<ItemId> = (0..N as u32).step_by(3).map(ItemId).collect();
    for recommender in recommenders() {
        let whole = Request { history: &history, ..Request::default() };
        let list = &recommender.recommend(&[whole], N, &run).unwrap()[0].items;
        assert_eq!(list.len(), N);
        for among in [None, Some(&few), Some(&most), Some(&none)] {
            for exclude in [&[][..], &history, &exclude] {
                let request = Request { among, exclude, ..whole };
                let got = recommender.recommend(&[whole, request, request], N, &run).unwrap();
                let want: Vec<_> = list.iter().filter(|r| request.allows(r.item)).collect();
                let items = |r: &[sidereal_core::Recommendation]| -> Vec<ItemId> {
                    r.iter().map(|r| r.item).collect()
                };
                let want: Vec<ItemId> = want.iter().map(|r| r.item).collect();
                assert_eq!(items(&got[1].items), want);
                assert_eq!(items(&got[2].items), want);
                let two = recommender.recommend(&[request], 2, &run).unwrap();
                assert_eq!(items(&two[0].items), want[..want.len().min(2)]);
            }
        }
        let other = ItemSet::all(N + 1);
        let request = Request { among: Some(&other), ..whole };
        let e = recommender.recommend(&[request], 2, &run).unwrap_err().to_string();
        assert!(e.contains("of 41") && e.contains("40 items"), "{e}");
    }
}
