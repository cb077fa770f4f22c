//! Planted leaks, each beside a twin without it.

mod planted;
mod real;
mod runs;

use super::*;
use crate::Part;
use sidereal_core::ItemTable;
use sidereal_core::{Catalog, RankedLists, Sequences, Spec, StringColumn, UserId};
use sidereal_data::{Dataset, EvalSet, Splits, Splitter, register_splits};
use std::sync::Arc;

/// Users of the planted worlds.
const USERS: u32 = 400;
/// Items of the planted worlds.
const ITEMS: u32 = 1500;

/// A number below `n`.
fn draw(purpose: &str, index: u64, n: u32) -> u32 {
    (sidereal_core::seed::key(0, purpose, index) % u64::from(n)) as u32
}

/// Eight distinct items a user, drawn by chance; user `u` acts at `100 i + 20 (u % 100)`.
fn histories() -> Vec<Vec<ItemId>> {
    let mut at = 0;
    (0..USERS)
        .map(|_| {
            let mut items: Vec<ItemId> = Vec::new();
            while items.len() < 8 {
                at += 1;
                // Skewed, so that items differ in popularity, and shuffled, so that their numbers
                // do not.
                let (a, b) = (draw("a", at, ITEMS), draw("b", at, ITEMS));
                let rank = if at % 2 == 0 { a } else { a * b / ITEMS };
                let item = ItemId(rank * 389 % ITEMS);
                if !items.contains(&item) {
                    items.push(item);
                }
            }
            items
        })
        .collect()
}

fn dataset(histories: &[Vec<ItemId>]) -> Dataset {
    let ids: StringColumn = (0..ITEMS).map(|i| format!("item-{i}")).collect();
    let titles: StringColumn = (0..ITEMS).map(|i| format!("thing number {i}")).collect();
    let items = ItemTable::new(ids).with_column("title", titles).unwrap();
    let users: StringColumn = (0..histories.len()).map(|u| format!("user-{u}")).collect();
    let (mut offsets, mut all, mut times) = (vec![0u64], Vec::new(), Vec::new());
    for (u, history) in histories.iter().enumerate() {
        all.extend_from_slice(history);
        times.extend((0..history.len()).map(|i| 100 * i as i64 + 20 * (u % 100) as i64));
        offsets.push(all.len() as u64);
    }
    Dataset::new(items, users, Sequences::new(offsets, all, Some(times)).unwrap()).unwrap()
}

/// A split by name.
fn splitter(name: &str) -> Part<dyn Splitter> {
    let mut catalog = Catalog::new("split");
    register_splits(&mut catalog).unwrap();
    let spec = Spec::new("data.split", name);
    let built = catalog.build(&spec, &()).unwrap();
    Part { spec, origin: "here".into(), built }
}

fn data_of(dataset: Dataset, split: &str) -> Data {
    Data::of(dataset, &splitter(split), serde_json::json!("planted")).unwrap()
}

/// Leave-one-out over the usual world.
fn usual() -> Data {
    data_of(dataset(&histories()), "leave-one-out")
}

/// Training histories with more items for each user.
fn trained_too(data: &mut Data, more: impl Fn(UserId) -> Vec<ItemId>) {
    let mut train = Sequences::default();
    for (user, items) in data.train.iter() {
        train.push(&[items, &more(user)[..]].concat());
    }
    data.popularity = train.popularity(data.dataset.items.len());
    data.train = Arc::new(train);
}

/// The verdict of one check.
#[track_caller]
fn verdict(data: &Data, check: &str) -> Verdict {
    found(of_data(data, TimeOrder::PerUser).unwrap(), check).verdict
}

#[track_caller]
fn found(findings: Vec<Finding>, check: &str) -> Finding {
    findings.into_iter().find(|f| f.check == check).unwrap()
}

/// Cases with other histories.
fn with_histories(set: &EvalSet, history: impl Fn(usize) -> Vec<ItemId>) -> EvalSet {
    let mut histories = Sequences::default();
    (0..set.len()).for_each(|c| histories.push(&history(c)));
    EvalSet { histories, ..set.clone() }
}

/// Cases with other targets.
fn with_targets(set: &EvalSet, target: impl Fn(usize) -> ItemId) -> EvalSet {
    let mut targets = RankedLists::new();
    (0..set.len()).for_each(|c| targets.push([target(c)]));
    EvalSet { targets, ..set.clone() }
}
