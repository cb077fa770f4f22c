//! What the synthetic world is worth: `cargo run --release -p sidereal-data --example
//! synthetic_world -- users=5000 leaf_items=8`.
//!
//! Recall@10 of leave-one-out, seen items left out, for recommenders that know more and more, over
//! all targets and over targets with at most five training interactions.

use sidereal_core::{ItemId, Options, Result, Spec};
use sidereal_data::synthetic::{Holdout, SyntheticOptions, World, optimum};
use std::collections::BTreeMap;

fn main() -> Result<()> {
    let mut spec = Spec::new("data", "synthetic");
    for argument in std::env::args().skip(1) {
        if let Some((key, value)) = argument.split_once('=') {
            let value = value
                .parse::<u64>()
                .map(serde_json::Value::from)
                .or_else(|_| value.parse::<f64>().map(serde_json::Value::from))
                .unwrap_or_else(|_| value.into());
            spec = spec.with(key, value);
        }
    }
    let world = World::new(SyntheticOptions::from_spec(&spec)?)?;
    let all = world.interactions()?;
    let tree = world.tree();
    let n = tree.n_items();

    // Counts over the training part: all but the last two items of each user.
    let mut popularity = vec![0u32; n];
    let mut item_pairs: BTreeMap<(ItemId, ItemId), f64> = BTreeMap::new();
    let mut leaf_pairs: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    let mut leaf_triples: BTreeMap<(usize, usize, usize), f64> = BTreeMap::new();
    for (_, items) in all.iter() {
        let train = &items[..items.len().saturating_sub(2)];
        train.iter().for_each(|i| popularity[i.index()] += 1);
        for w in train.windows(2) {
            *item_pairs.entry((w[0], w[1])).or_default() += 1.0;
            *leaf_pairs.entry((tree.leaf(w[0]), tree.leaf(w[1]))).or_default() += 1.0;
        }
        for w in train.windows(3) {
            let key = (tree.leaf(w[0]), tree.leaf(w[1]), tree.leaf(w[2]));
            *leaf_triples.entry(key).or_default() += 1.0;
        }
    }
    let trained: u32 = popularity.iter().sum();
    let leaf_popularity: Vec<f64> = (0..tree.n_leaves())
        .map(|l| tree.members(l).iter().map(|i| f64::from(popularity[i.index()])).sum::<f64>())
        .collect();

    // A first-order world has the same items and drift, but no direction.
    let memoryless = World::new(SyntheticOptions { momentum: 0.5, ..world.options().clone() })?;
    let popular: Vec<f64> = popularity.iter().map(|&c| f64::from(c) + 0.01).collect();
    let by_item = |history: &[ItemId]| -> Vec<f64> {
        let mut score: Vec<f64> = popular.iter().map(|p| p / f64::from(trained)).collect();
        if let Some(&last) = history.last() {
            let range = (last, ItemId(0))..=(last, ItemId(u32::MAX));
            item_pairs.range(range).for_each(|((_, to), c)| score[to.index()] += c);
        }
        score
    };
    let by_leaf = |history: &[ItemId]| -> Vec<f64> {
        let [.., before, last] = history else { return popular.clone() };
        let (a, b) = (tree.leaf(*before), tree.leaf(*last));
        let from: f64 = leaf_pairs.range((b, 0)..(b + 1, 0)).map(|(_, c)| c).sum();
        let mut score = vec![0.0; n];
        for leaf in 0..tree.n_leaves() {
            // Second-order counts, backed off to first-order ones, to popularity.
            let zero = leaf_popularity[leaf] / f64::from(trained);
            let one = leaf_pairs.get(&(b, leaf)).copied().unwrap_or(0.0);
            let one = (one + 5.0 * zero) / (from + 5.0);
            let two = leaf_triples.get(&(a, b, leaf)).copied().unwrap_or(0.0) + 5.0 * one;
            for i in tree.members(leaf) {
                let share = (f64::from(popularity[i.index()]) + 1.0)
                    / (leaf_popularity[leaf] + tree.members(leaf).len() as f64);
                score[i.index()] = two * share;
            }
        }
        score
    };

    println!(
        "{} users, {n} items in {} leaves, {} interactions ({:.1} an item to train on)",
        all.len(),
        tree.n_leaves(),
        all.all_items().len(),
        f64::from(trained) / n as f64
    );
    for (name, best) in optimum(&world, &all, Holdout::Test)? {
        println!(
            "optimum {name}: expected {:.4}, realised {:.4} +- {:.4}",
            best.expected, best.realised, best.standard_error
        );
    }
    type Scorer<'a> = Box<dyn Fn(&[ItemId]) -> Result<Vec<f64>> + 'a>;
    let scorers: [(&str, Scorer<'_>); 6] = [
        ("most popular", Box::new(|_: &[ItemId]| Ok(popular.clone()))),
        ("counts of item pairs (no content)", Box::new(|h: &[ItemId]| Ok(by_item(h)))),
        ("counts of leaf triples (content)", Box::new(|h: &[ItemId]| Ok(by_leaf(h)))),
        ("the same, seen items kept", Box::new(|h: &[ItemId]| Ok(by_leaf(h)))),
        ("true first-order drift", Box::new(|h: &[ItemId]| memoryless.next_distribution(h))),
        ("oracle", Box::new(|h: &[ItemId]| world.next_distribution(h))),
    ];
    println!("{:36} {:>8} {:>8} {:>8} {:>8}", "recall@10", "all", "0", "1-5", "6+");
    for (name, scorer) in scorers {
        let mut hits = [0.0; 3];
        let mut cases = [0.0; 3];
        for (_, items) in all.iter() {
            let Some((target, history)) = items.split_last() else { continue };
            let mut score = scorer(history)?;
            if !name.ends_with("kept") {
                history.iter().for_each(|i| score[i.index()] = -1.0);
            }
            let s = score[target.index()];
            let before = |i: usize| score[i] > s || score[i] == s && i < target.index();
            let rank = (0..n).filter(|&i| before(i)).count();
            let group = match popularity[target.index()] {
                0 => 0,
                1..=5 => 1,
                _ => 2,
            };
            cases[group] += 1.0;
            hits[group] += f64::from(rank < 10);
        }
        let of = |g: usize| hits[g] / cases[g];
        println!(
            "{name:36} {:8.4} {:8.4} {:8.4} {:8.4}",
            hits.iter().sum::<f64>() / cases.iter().sum::<f64>(),
            of(0),
            of(1),
            of(2)
        );
        if name == "oracle" {
            let total = cases.iter().sum::<f64>();
            println!(
                "{:36} {:8} {:8.4} {:8.4} {:8.4}",
                "share of targets",
                "",
                cases[0] / total,
                cases[1] / total,
                cases[2] / total
            );
        }
    }
    Ok(())
}
