//! Training step and constrained decoding of `tiger` at GRID's width, on made-up histories.
//!
//! `cargo bench --bench tiger`. Sizes: d 128, 4 + 4 layers, 6 heads of 64, feed-forward 1024 with
//! one hidden layer, 4 digits of 256 codes, 15 history items.

#![allow(missing_docs, clippy::expect_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sidereal::backbones::tiger::{Tiger, TigerOptions};
use sidereal::backbones::{Backbone, GenerativeRecommender};
use sidereal::core::{CodeOrder, ItemId, Recommender, Request, Run, SidTable};
use sidereal::decoding::{Beam, BeamOptions};
use sidereal::losses::{CrossEntropy, CrossEntropyOptions};
use sidereal::nn::lanes::{Compute, Lanes};
use sidereal::nn::{Batch, BatchBuilder};
use std::sync::Arc;

const ITEMS: usize = 12_000;
const HISTORY: usize = 15;
const MICRO: usize = 8;

fn table() -> Arc<SidTable> {
    let codes: Vec<[u32; 4]> =
        (0..ITEMS as u32).map(|i| [i * 7 % 256, i * 31 % 251, i / 97 % 256, i % 97]).collect();
    let rows = codes.iter().enumerate().map(|(i, c)| (ItemId(i as u32), &c[..]));
    Arc::new(SidTable::new(ITEMS, CodeOrder::Sequence, rows).expect("distinct items"))
}

fn history(user: usize) -> Vec<ItemId> {
    (0..=HISTORY).map(|i| ItemId(((user * 131 + i * 17) % ITEMS) as u32)).collect()
}

fn model() -> Tiger {
    let options = TigerOptions { mlp_layers: 1, dropout: 0.1, ..TigerOptions::default() };
    Tiger::new(options, 4, 256, 0).expect("valid options")
}

fn step(c: &mut Criterion) {
    let (model, builder) = (model(), BatchBuilder::new(Some(table()), HISTORY));
    let batches: Vec<Batch> = (0..64 / MICRO)
        .map(|b| {
            let mut batch = Batch::default();
            builder.clear(&mut batch);
            for user in b * MICRO..(b + 1) * MICRO {
                let items = history(user);
                builder.push_next(&mut batch, &items[..HISTORY], items[HISTORY]).expect("known");
            }
            batch
        })
        .collect();
    let keys: Vec<u64> = (0..batches.len() as u64).collect();
    let objective = CrossEntropy::new(CrossEntropyOptions::default()).expect("defaults");
    let mut group = c.benchmark_group("tiger-step");
    group.sample_size(10).throughput(Throughput::Elements(64));
    for threads in [1, 2] {
        let mut lanes = Lanes::new(Lanes::DEFAULT, model.as_model());
        group.bench_function(format!("64 samples, {threads} threads"), |b| {
            b.iter(|| {
                let scale = 1.0 / 64.0;
                let run = lanes.run(
                    &model,
                    &objective,
                    &batches,
                    &[],
                    &keys,
                    scale,
                    threads,
                    Compute::Gradients,
                );
                run.expect("finite").1.loss()
            });
        });
    }
    group.finish();
}

fn decode(c: &mut Criterion) {
    let beam = Beam::new(BeamOptions { width: 20, ..Default::default() }).expect("valid width");
    let recommender = GenerativeRecommender::new(Arc::new(model()), Box::new(beam), table())
        .expect("a model of codes");
    let histories: Vec<Vec<ItemId>> = (0..32).map(history).collect();
    let requests: Vec<Request<'_>> =
        histories.iter().map(|h| Request { history: h, ..Request::default() }).collect();
    let mut group = c.benchmark_group("tiger-decode");
    group.sample_size(10).throughput(Throughput::Elements(32));
    for threads in [1, 2] {
        let run = Run { threads, ..Run::quiet(0) };
        group.bench_function(format!("32 users, beam 20, {threads} threads"), |b| {
            b.iter(|| recommender.recommend(&requests, 10, &run).expect("answers").len());
        });
    }
    group.finish();
}

criterion_group!(benches, step, decode);
criterion_main!(benches);
