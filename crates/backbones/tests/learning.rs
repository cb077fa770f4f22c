//! From vectors to predictions: 200 items in 8 Gaussian clusters, where the next item of a user
//! always comes from the next cluster. Residual k-means finds the clusters, and models trained on
//! its IDs (or on the items) find the rule, for users that they have not seen.

#![allow(clippy::unwrap_used)] // Helpers of tests are not inside #[test] functions.

use rand::Rng;
use sidereal_backbones::Backbone;
use sidereal_backbones::causal::{Causal, CausalOptions};
use sidereal_backbones::rpg::{Rpg, RpgOptions};
use sidereal_backbones::sasrec::{Sasrec, SasrecOptions};
use sidereal_backbones::tiger::{Tiger, TigerOptions};
use sidereal_core::{
    Codebook, EncoderInput, Identifier, IdentifierInput, ItemId, ItemTable, Matrix, Quantized,
    QuantizerInput, Run, Sequences, SidTable, seed,
};
use sidereal_decoding::Row;
use sidereal_losses::{CrossEntropy, CrossEntropyOptions, FullSoftmax, FullSoftmaxOptions};
use sidereal_nn::lanes::{Compute, Lanes};
use sidereal_nn::optim::{Adam, AdamOptions, AdamW, AdamWOptions, Optimizer};
use sidereal_nn::{Batch, BatchBuilder, Objective};
use sidereal_quantizers::{Ordinal, OrdinalOptions, OrdinalStart, RqKMeans, RqKMeansOptions};
use std::sync::Arc;

const ITEMS: usize = 200;
const CLUSTERS: usize = 8;
const WIDTH: usize = 16;
/// Items of a user: the history and the item to predict.
const LENGTH: usize = 9;

/// About normal: the sum of twelve uniform draws.
fn normal(rng: &mut impl Rng) -> f32 {
    (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0
}

/// Items in a mixed order, so that their numbers say nothing about clusters.
fn cluster(item: usize) -> usize {
    (item * 77 % ITEMS) % CLUSTERS
}

/// Item vectors: a centre a cluster and noise a fifth as large.
fn vectors() -> Matrix {
    let mut rng = seed::stream(1, "test-centres", 0);
    let centres: Vec<f32> = (0..CLUSTERS * WIDTH).map(|_| normal(&mut rng)).collect();
    let mut x = Matrix::zeros(ITEMS, WIDTH);
    for i in 0..ITEMS {
        let centre = &centres[cluster(i) * WIDTH..][..WIDTH];
        x.row_mut(i).iter_mut().zip(centre).for_each(|(v, c)| *v = c + 0.2 * normal(&mut rng));
    }
    x
}

/// Residual k-means with as many first codes as clusters, then a digit that tells items apart.
fn ids() -> Arc<SidTable> {
    let x = vectors();
    let input = QuantizerInput::vectors(x.view());
    let options = RqKMeansOptions { levels: vec![CLUSTERS as u32, 8], ..Default::default() };
    let run = Run::quiet(1);
    let book = RqKMeans::new(options).unwrap().fit_residual(&input, &run).unwrap();
    let codes = book.quantize(&input).unwrap();
    let ordinal = Ordinal::new(OrdinalOptions { start: OrdinalStart::Tiger });
    let (items, train) = (ItemTable::default(), Sequences::default());
    let input = IdentifierInput {
        catalogue: EncoderInput { items: &items, train: &train },
        popularity: &[1; ITEMS],
        quantized: Some(Quantized { codes: &codes, codebook: &book, vectors: x.view() }),
    };
    Arc::new(ordinal.identify(&input, &run).unwrap())
}

fn first_code(table: &SidTable, item: usize) -> u32 {
    table.first_sid(ItemId(item as u32)).unwrap()[0]
}

/// Sequences of users `first..first + n`: any cluster, then always the next one.
fn users(first: u64, n: u64) -> Vec<Vec<ItemId>> {
    let members: Vec<Vec<u32>> = (0..CLUSTERS)
        .map(|c| (0..ITEMS as u32).filter(|&i| cluster(i as usize) == c).collect())
        .collect();
    let user = |u| {
        let mut rng = seed::stream(2, "test-user", u);
        let start = rng.random_range(0..CLUSTERS);
        (0..LENGTH)
            .map(|t| {
                let m = &members[(start + t) % CLUSTERS];
                ItemId(m[rng.random_range(0..m.len())])
            })
            .collect()
    };
    (first..first + n).map(user).collect()
}

/// Which samples a sequence gives.
#[derive(Clone, Copy, PartialEq)]
enum Samples {
    /// Every item but the first, in one row.
    Packed,
    /// One item, after a history of drawn length.
    OneTarget,
}

fn train(
    model: &mut dyn Backbone,
    objective: &dyn Objective,
    optimizer: &mut dyn Optimizer,
    builder: &BatchBuilder,
    samples: Samples,
    steps: u64,
) {
    let sequences = users(0, 400);
    let mut lanes = Lanes::new(Lanes::DEFAULT, model.as_model());
    let mut batches = vec![Batch::default(); Lanes::DEFAULT];
    let (rows, lr) = (16, optimizer.base_lr());
    for step in 0..steps {
        let mut rng = seed::stream(3, "test-batch", step);
        for batch in &mut batches {
            builder.clear(batch);
            for _ in 0..rows {
                let s = &sequences[rng.random_range(0..sequences.len())];
                match samples {
                    Samples::Packed => builder.push_every(batch, s).unwrap(),
                    Samples::OneTarget => {
                        let end = rng.random_range(1..s.len());
                        builder.push_next(batch, &s[..end], s[end]).unwrap();
                    }
                }
            }
        }
        let keys: Vec<u64> =
            (0..batches.len() as u64).map(|b| seed::key(4, "test-dropout", 8 * step + b)).collect();
        let targets: usize = batches.iter().map(|b| b.targets.len()).sum();
        let scale = 1.0 / targets as f32;
        let m = model.as_model();
        let (grads, _) =
            lanes.run(m, objective, &batches, &[], &keys, scale, 2, Compute::Gradients).unwrap();
        optimizer.step(model.as_model_mut().params_mut().values_mut(), grads, lr, 1);
    }
}

/// Share of held-out users whose next cluster the model puts first, after a history of any length.
fn accuracy(model: &dyn Backbone, table: &Arc<SidTable>, generative: bool) -> f64 {
    let sequences = users(10_000, 300);
    let builder = BatchBuilder::new(generative.then(|| table.clone()), model.max_history());
    let mut batch = Batch::default();
    builder.clear(&mut batch);
    let mut wanted = Vec::new();
    for (u, s) in sequences.iter().enumerate() {
        let end = 1 + u % (LENGTH - 1);
        builder.push_history(&mut batch, &s[..end]).unwrap();
        wanted.push(cluster(s[end].index()));
    }
    let best = |scores: &[f32]| (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let hits = if generative {
        let mut session = model.session(&batch).unwrap();
        let row = |request| Row { request, parent: 0, code: 0 };
        let rows: Vec<Row> = (0..sequences.len() as u32).map(row).collect();
        let mut logits = Vec::new();
        session.advance(0, &rows, &mut logits).unwrap();
        let chosen = logits.chunks_exact(session.width(0)).map(|l| best(l).unwrap() as u32);
        // Clusters and first codes are the same up to names, which another test shows.
        let code: Vec<u32> = (0..CLUSTERS)
            .map(|c| first_code(table, (0..ITEMS).find(|&i| cluster(i) == c).unwrap()))
            .collect();
        chosen.zip(&wanted).filter(|(c, w)| *c == code[**w]).count()
    } else {
        let queries = model.queries(&batch).unwrap();
        let items = model.item_vectors().unwrap();
        let chosen = (0..queries.rows()).map(|row| {
            let dot = |item: &[f32]| item.iter().zip(queries.row(row)).map(|(a, b)| a * b).sum();
            let scores: Vec<f32> = items.chunks_exact(queries.cols()).map(dot).collect();
            cluster(best(&scores).unwrap())
        });
        chosen.zip(&wanted).filter(|(c, w)| c == *w).count()
    };
    hits as f64 / sequences.len() as f64
}

#[test]
fn first_codes_are_the_clusters() {
    let table = ids();
    assert_eq!(table.fixed_len(), Some(3));
    let mut cluster_of = [None; CLUSTERS];
    for i in 0..ITEMS {
        let known = cluster_of[first_code(&table, i) as usize].get_or_insert(cluster(i));
        assert_eq!(*known, cluster(i), "item {i}");
    }
    assert!(cluster_of.iter().all(Option::is_some));
    // The last digit tells all items apart.
    assert!((0..table.n_rows()).all(|r| table.items_of(table.sid(r)).count() == 1));
}

fn cross_entropy() -> CrossEntropy {
    CrossEntropy::new(CrossEntropyOptions::default()).unwrap()
}

#[test]
fn tiger_learns_the_next_cluster() {
    let table = ids();
    // One target a row is an eighth of the targets, and needs more steps.
    for (encoder, samples, steps) in
        [("bidirectional", Samples::OneTarget, 900), ("causal", Samples::Packed, 600)]
    {
        let options = TigerOptions {
            d_model: 32,
            d_ff: 64,
            layers: 1,
            decoder_layers: 1,
            heads: 2,
            d_kv: 16,
            mlp_layers: 1,
            dropout: 0.1,
            encoder: encoder.to_string(),
            ..Default::default()
        };
        let vocabulary = table.vocabulary() as usize;
        let mut model = Tiger::new(options, 3, vocabulary, 5).unwrap();
        let before = accuracy(&model, &table, true);
        assert!(before < 0.5, "{encoder}: {before} without training");
        let len = sidereal_nn::Model::params(&model).len();
        let o = AdamOptions { lr: 3e-3, ..Default::default() };
        let mut adam = Adam::new(o, len, "optimizer").unwrap();
        let builder = BatchBuilder::new(Some(table.clone()), 29);
        train(&mut model, &cross_entropy(), &mut adam, &builder, samples, steps);
        let after = accuracy(&model, &table, true);
        println!("tiger {encoder}: {before:.3} before, {after:.3} after");
        assert!(after > 0.95, "{encoder}: {after}");
    }
}

#[test]
fn causal_learns_the_next_cluster() {
    let table = ids();
    let options = CausalOptions {
        d_model: 32,
        d_ff: 64,
        layers: 2,
        heads: 2,
        d_kv: 16,
        dropout: 0.1,
        ..Default::default()
    };
    let mut model = Causal::new(options, table.widths(), 5).unwrap();
    let before = accuracy(&model, &table, true);
    assert!(before < 0.5, "{before} without training");
    let len = sidereal_nn::Model::params(&model).len();
    let o = AdamWOptions { lr: 3e-3, ..Default::default() };
    let mut adamw = AdamW::new(o, len, "optimizer").unwrap();
    let builder = BatchBuilder::new(Some(table.clone()), 29);
    train(&mut model, &cross_entropy(), &mut adamw, &builder, Samples::Packed, 300);
    let after = accuracy(&model, &table, true);
    println!("causal: {before:.3} before, {after:.3} after");
    assert!(after > 0.95, "{after}");
}

#[test]
fn rpg_learns_the_next_cluster() {
    let table = ids();
    let options = RpgOptions {
        d_model: 32,
        d_ff: 64,
        layers: 1,
        heads: 2,
        temperature: 0.1,
        dropout: 0.1,
        max_history: 20,
    };
    let mut model = Rpg::new(options, table.widths(), 5).unwrap();
    let before = accuracy(&model, &table, true);
    assert!(before < 0.5, "{before} without training");
    let len = sidereal_nn::Model::params(&model).len();
    let o = AdamWOptions { lr: 3e-3, ..Default::default() };
    let mut adamw = AdamW::new(o, len, "optimizer").unwrap();
    let builder = BatchBuilder::new(Some(table.clone()), 20);
    train(&mut model, &cross_entropy(), &mut adamw, &builder, Samples::Packed, 300);
    let after = accuracy(&model, &table, true);
    println!("rpg: {before:.3} before, {after:.3} after");
    assert!(after > 0.95, "{after}");
}

#[test]
fn sasrec_learns_the_next_cluster() {
    let options =
        SasrecOptions { d_model: 32, d_ff: 64, layers: 1, heads: 2, dropout: 0.1, max_history: 20 };
    let mut model = Sasrec::new(options, ITEMS, 5).unwrap();
    let table = ids();
    let before = accuracy(&model, &table, false);
    assert!(before < 0.5, "{before} without training");
    let len = sidereal_nn::Model::params(&model).len();
    let o = AdamWOptions { lr: 3e-3, ..Default::default() };
    let mut adamw = AdamW::new(o, len, "optimizer").unwrap();
    let objective = FullSoftmax::new(FullSoftmaxOptions::default()).unwrap();
    let builder = BatchBuilder::new(None, 20);
    train(&mut model, &objective, &mut adamw, &builder, Samples::Packed, 300);
    let after = accuracy(&model, &table, false);
    println!("sasrec: {before:.3} before, {after:.3} after");
    assert!(after > 0.95, "{after}");
}
