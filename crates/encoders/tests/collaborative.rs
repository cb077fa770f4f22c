//! Vectors of interactions: planted communities, and items held out of real histories.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used)]

mod common;

use common::data;
use flate2::read::GzDecoder;
use rand::Rng;
use sidereal_core::seed::stream;
use sidereal_core::{
    EncoderInput, ItemEncoder, ItemId, ItemTable, Matrix, Result, Run, Sequences, UserId,
};
use sidereal_encoders::{
    Als, AlsOptions, Factors, GraphSage, GraphSageOptions, InteractionSvd, Item2Vec,
    Item2VecOptions, LightGcn, LightGcnOptions, SvdOptions,
};
use std::io::Read;
use std::time::Instant;

/// Histories to learn from and what to find.
struct World {
    items: ItemTable,
    train: Sequences,
    truth: Vec<Vec<ItemId>>,
}

impl World {
    fn input(&self) -> EncoderInput<'_> {
        EncoderInput { items: &self.items, train: &self.train }
    }
}

fn table(n: usize) -> ItemTable {
    ItemTable::new((0..n).map(|i| i.to_string()).collect())
}

/// 200 users and items in four blocks: pairs with probability .16 inside a block and .01 across,
/// of which 40 % are for training.
fn blocks(seed: u64) -> World {
    let mut rng = stream(seed, "blocks", 0);
    let (mut train, mut truth) = (Sequences::default(), Vec::new());
    for u in 0..200 {
        let (mut known, mut hidden) = (Vec::new(), Vec::new());
        for i in 0..200u32 {
            let p = if u % 4 == i as usize % 4 { 0.16 } else { 0.01 };
            if rng.random::<f64>() < p {
                let side = if rng.random::<f64>() < 0.4 { &mut known } else { &mut hidden };
                side.push(ItemId(i));
            }
        }
        train.push(&known);
        truth.push(hidden);
    }
    World { items: table(200), train, truth }
}

/// Beauty without the last two items of each user; the truth is the one before the last.
fn beauty() -> Option<World> {
    let path = data("amazon2014-beauty/interactions.tsv.gz")?;
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let mut histories: Vec<Vec<ItemId>> = Vec::new();
    for line in text.lines().skip(1) {
        let mut fields = line.split('\t').map(|f| f.parse::<u32>().unwrap_or(0));
        let (user, item) = (fields.next().unwrap() as usize, fields.next().unwrap());
        histories.resize_with(histories.len().max(user + 1), Vec::new);
        histories[user].push(ItemId(item));
    }
    let (mut train, mut truth) = (Sequences::default(), Vec::new());
    for h in &histories {
        train.push(&h[..h.len() - 2]);
        truth.push(vec![h[h.len() - 2]]);
    }
    Some(World { items: table(12_101), train, truth })
}

/// Recall@k over every `step`-th user with a truth, items of training left out; scores by user.
fn recall(
    world: &World,
    k: usize,
    step: usize,
    mut score: impl FnMut(UserId, ItemId) -> f32,
) -> f64 {
    let (mut sum, mut users) = (0.0, 0);
    for (u, truth) in world.truth.iter().enumerate().step_by(step) {
        if truth.is_empty() {
            continue;
        }
        let user = UserId(u as u32);
        let known = world.train.items(user);
        let mut scores: Vec<f32> =
            (0..world.items.len() as u32).map(|i| score(user, ItemId(i))).collect();
        known.iter().for_each(|i| scores[i.index()] = f32::NEG_INFINITY);
        let hits = truth.iter().filter(|t| {
            let s = scores[t.index()];
            let better = |(i, v): (usize, &f32)| *v > s || (*v == s && i < t.index());
            scores.iter().enumerate().filter(|&x| better(x)).count() < k
        });
        sum += hits.count() as f64 / truth.len() as f64;
        users += 1;
    }
    sum / f64::from(users)
}

fn of(factors: &Factors) -> impl FnMut(UserId, ItemId) -> f32 + '_ {
    |u, i| factors.score(u, i)
}

fn popularity(world: &World) -> impl FnMut(UserId, ItemId) -> f32 + use<> {
    let counts = world.train.popularity(world.items.len());
    move |_, i| counts[i.index()] as f32
}

/// Fits Beauty with two threads and gives the recall at 20 of a tenth of the users.
fn on_beauty(name: &str, fit: impl Fn(&World, &Run<'_>) -> Result<Factors>) {
    let Some(world) = beauty() else { return };
    let start = Instant::now();
    let factors = fit(&world, &Run { threads: 2, ..Run::quiet(42) }).unwrap();
    let took = start.elapsed().as_secs_f64();
    let (got, base) =
        (recall(&world, 20, 10, of(&factors)), recall(&world, 20, 10, popularity(&world)));
    println!("{name} on Beauty: {took:.1} s, Recall@20 {got:.4}, popularity {base:.4}");
    assert!(got > 1.3 * base, "{name}: {got} {base}");
}

fn small() -> LightGcnOptions {
    LightGcnOptions { dim: 16, epochs: 100, batch: 256, ..Default::default() }
}

#[test]
fn lightgcn_layers_find_planted_blocks() {
    let mut gain = 0.0;
    for seed in 0..3 {
        let world = blocks(seed);
        let fit = |layers| {
            let encoder = LightGcn::new(LightGcnOptions { layers, ..small() }).unwrap();
            recall(&world, 20, 1, of(&encoder.fit(&world.input(), &Run::quiet(seed)).unwrap()))
        };
        let (zero, three, base) = (fit(0), fit(3), recall(&world, 20, 1, popularity(&world)));
        println!("lightgcn on blocks: K = 0 {zero:.3}, K = 3 {three:.3}, popularity {base:.3}");
        assert!(three > 2.0 * base && three > zero);
        gain += (three - zero) / 3.0;
    }
    assert!(gain > 0.05, "{gain}");
}

#[test]
fn lightgcn_is_useful_on_beauty_in_seconds() {
    on_beauty("lightgcn", |world, run| {
        let fast = LightGcnOptions { epochs: 5, ..Default::default() };
        LightGcn::new(fast)?.fit(&world.input(), run)
    });
}

#[test]
fn als_finds_planted_blocks_and_is_useful_on_beauty() {
    for seed in 0..3 {
        let world = blocks(seed);
        let o = AlsOptions { dim: 8, regularization: 10.0, ..Default::default() };
        let factors = Als::new(o).unwrap().fit(&world.input(), &Run::quiet(seed)).unwrap();
        let (got, base) =
            (recall(&world, 20, 1, of(&factors)), recall(&world, 20, 1, popularity(&world)));
        println!("als on blocks: {got:.3}, popularity {base:.3}");
        assert!(got > 1.5 * base);
    }
    on_beauty("als", |world, run| {
        let fast = AlsOptions { dim: 32, iterations: 4, ..Default::default() };
        Als::new(fast)?.fit(&world.input(), run)
    });
}

#[test]
fn svd_is_useful_on_beauty() {
    on_beauty("svd", |world, run| {
        InteractionSvd::new(SvdOptions { dim: 32, ..Default::default() })?.fit(&world.input(), run)
    });
}

/// Scores by the mean of the unit vectors of a user's items.
fn by_company(world: &World, vectors: &Matrix) -> Factors {
    let mut users = Matrix::zeros(world.train.len(), vectors.cols());
    for (u, items) in world.train.iter() {
        for i in items {
            let row = vectors.row(i.index());
            users.row_mut(u.index()).iter_mut().zip(row).for_each(|(s, v)| *s += v);
        }
    }
    Factors { users, items: vectors.clone() }
}

#[test]
fn item2vec_finds_planted_blocks_and_is_useful_on_beauty() {
    let world = blocks(1);
    let o = Item2VecOptions {
        dim: 8,
        epochs: 200,
        batch: 512,
        subsample: 0.0,
        normalize: true,
        ..Default::default()
    };
    let vectors = Item2Vec::new(o).unwrap().encode(&world.input(), &Run::quiet(1)).unwrap();
    let (got, base) = (
        recall(&world, 20, 1, of(&by_company(&world, &vectors))),
        recall(&world, 20, 1, popularity(&world)),
    );
    println!("item2vec on blocks: {got:.3}, popularity {base:.3}");
    assert!(got > 1.5 * base);
    on_beauty("item2vec", |world, run| {
        let o = Item2VecOptions {
            dim: 32,
            contexts: 8,
            epochs: 4,
            normalize: true,
            ..Default::default()
        };
        let vectors = Item2Vec::new(o)?.encode(&world.input(), run)?;
        Ok(by_company(world, &vectors))
    });
}

/// Every encoder of interactions, small.
fn encoders() -> Vec<Box<dyn ItemEncoder>> {
    let gcn = LightGcnOptions { dim: 5, epochs: 2, batch: 64, ..small() };
    let als = AlsOptions { dim: 5, iterations: 2, ..Default::default() };
    let svd = SvdOptions { dim: 5, ..Default::default() };
    let vec = Item2VecOptions { dim: 5, epochs: 2, batch: 3000, ..Default::default() };
    vec![
        Box::new(LightGcn::new(gcn).unwrap()),
        Box::new(Als::new(als).unwrap()),
        Box::new(InteractionSvd::new(svd).unwrap()),
        Box::new(Item2Vec::new(vec).unwrap()),
    ]
}

#[test]
fn threads_change_no_bit_and_seeds_do() {
    let world = blocks(5);
    let run = |threads, seed| Run { threads, ..Run::quiet(seed) };
    for encoder in encoders() {
        let one = encoder.encode(&world.input(), &run(1, 1)).unwrap();
        assert_eq!((one.rows(), one.cols()), (200, 5));
        assert!(one.data().iter().all(|v| v.is_finite()));
        assert_eq!(one, encoder.encode(&world.input(), &run(3, 1)).unwrap());
        assert!(encoder.seeded());
        assert_ne!(one, encoder.encode(&world.input(), &run(1, 2)).unwrap());
    }
}

#[test]
fn little_or_wrong_input_is_an_error_or_zero() {
    let world = blocks(5);
    for encoder in encoders() {
        let stopped = Run::quiet(1);
        stopped.cancel.cancel();
        assert!(encoder.encode(&world.input(), &stopped).is_err());
        let empty = Sequences::default();
        let input = EncoderInput { items: &world.items, train: &empty };
        let message = encoder.encode(&input, &Run::quiet(1)).unwrap_err().to_string();
        assert!(message.contains("no training interaction"), "{message}");
    }
    // Item 2 was never met, user 1 met nothing.
    let mut train = Sequences::default();
    [&[0, 1, 1][..], &[], &[1, 3]].iter().for_each(|h| {
        train.push(&h.iter().map(|&i| ItemId(i)).collect::<Vec<_>>());
    });
    let items = table(4);
    let input = EncoderInput { items: &items, train: &train };
    let narrow: [Box<dyn ItemEncoder>; 3] = [
        Box::new(Als::new(AlsOptions { dim: 2, ..Default::default() }).unwrap()),
        Box::new(InteractionSvd::new(SvdOptions { dim: 2, ..Default::default() }).unwrap()),
        Box::new(Item2Vec::new(Item2VecOptions { dim: 2, ..Default::default() }).unwrap()),
    ];
    for encoder in narrow {
        let listener = common::Listener::default();
        let run = Run { observer: &listener, ..Run::quiet(1) };
        let got = encoder.encode(&input, &run).unwrap();
        assert_eq!(got.row(2), [0.0, 0.0]);
        assert!(got.row(1).iter().any(|v| *v != 0.0));
        assert!(listener.text().contains("1 item has no training interaction"));
    }
    let factors = LightGcn::new(small()).unwrap().fit(&input, &Run::quiet(1)).unwrap();
    assert_eq!((factors.users.rows(), factors.items.rows()), (3, 4));
    let one = table(1);
    let mut train = Sequences::default();
    train.push(&[ItemId(0)]);
    let input = EncoderInput { items: &one, train: &train };
    let alone = LightGcn::new(small()).unwrap().fit(&input, &Run::quiet(1));
    assert!(alone.unwrap_err().to_string().contains("met all items"));
    let alone = Item2Vec::new(Item2VecOptions::default()).unwrap();
    assert!(alone.encode(&input, &Run::quiet(1)).unwrap_err().to_string().contains("two items"));
}

#[test]
fn options_have_ranges() {
    let gcn = |o| LightGcn::new(o).err().unwrap().to_string();
    assert!(gcn(LightGcnOptions { dim: 0, ..small() }).contains("encoder.dim"));
    assert!(gcn(LightGcnOptions { lr: 0.0, ..small() }).contains("encoder.lr"));
    assert!(gcn(LightGcnOptions { lr: f32::NAN, ..small() }).contains("above 0"));
    assert!(gcn(LightGcnOptions { weight_decay: -1.0, ..small() }).contains("0 and up"));
    assert!(gcn(LightGcnOptions { layers: 17, ..small() }).contains("0..=16"));
    let als = |o| Als::new(o).err().unwrap().to_string();
    assert!(als(AlsOptions { alpha: 0.0, ..Default::default() }).contains("encoder.alpha"));
    let weight = AlsOptions { regularization: -1.0, ..Default::default() };
    assert!(als(weight).contains("encoder.regularization"));
    let vec = |o| Item2Vec::new(o).err().unwrap().to_string();
    let none = Item2VecOptions { negatives: 0, ..Default::default() };
    assert!(vec(none).contains("encoder.negatives"));
    let steep = Item2VecOptions { smoothing: 1.5, ..Default::default() };
    assert!(vec(steep).contains("at most 1"));
}

/// Noisy features of the block of each item, and the same rows in another order.
#[derive(Clone)]
struct Features(Matrix);

impl ItemEncoder for Features {
    fn encode(&self, _: &EncoderInput<'_>, _: &Run<'_>) -> Result<Matrix> {
        Ok(self.0.clone())
    }
}

#[test]
fn graphsage_finds_planted_blocks_with_and_without_features() {
    let world = blocks(2);
    let mut rng = stream(2, "features", 0);
    let mut features = Matrix::zeros(200, 8);
    for i in 0..200 {
        let row = features.row_mut(i);
        row.iter_mut().for_each(|v| *v = rng.random::<f32>() - 0.5);
        row[i % 4] += 1.0;
    }
    let fit = |features: &Matrix, threads| {
        let o = GraphSageOptions {
            dim: 8,
            hidden: 16,
            epochs: 60,
            batch: 256,
            lr: 0.01,
            dropout: 0.2,
            ..Default::default()
        };
        let encoder = GraphSage::of(o, Box::new(Features(features.clone()))).unwrap();
        encoder.fit(&world.input(), &Run { threads, ..Run::quiet(1) }).unwrap()
    };
    let factors = fit(&features, 1);
    assert_eq!(factors, fit(&features, 3));
    let mut shuffled = features.clone();
    shuffled.data_mut().rotate_left(8 * 37 + 3);
    let with = recall(&world, 20, 1, of(&factors));
    let without = recall(&world, 20, 1, of(&fit(&shuffled, 1)));
    let base = recall(&world, 20, 1, popularity(&world));
    println!(
        "graphsage on blocks: {with:.3}, features shuffled {without:.3}, popularity {base:.3}"
    );
    assert!(with > 2.0 * base && without > 1.5 * base && with > without);
}
