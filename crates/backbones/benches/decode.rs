//! Beam search of `tiger` in T5's own size, from histories to items, on two threads.
//!
//! `cargo bench -p sidereal-backbones --bench decode`. Sizes: d 128, 4 + 4 layers, 6 heads of 64,
//! feed-forward 1024, tied head, 20 items of 4 codes, 12,101 items, beam 50; scores over the full
//! vocabulary and over allowed codes. Elements are users.

#![allow(missing_docs, clippy::expect_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sidereal_backbones::GenerativeRecommender;
use sidereal_backbones::tiger::{Tiger, TigerOptions};
use sidereal_core::{CodeOrder, ItemId, Recommender, Request, Run, SidTable, seed};
use sidereal_decoding::{Beam, BeamOptions, ScoreRule, Sums};
use std::sync::Arc;

const ITEMS: usize = 12_101;
const HISTORY: usize = 20;

/// IDs whose first codes are popular and whose last ones mostly stand alone.
fn table() -> Arc<SidTable> {
    let code = |i: u64, level: u64, skew: u64| {
        let draws = (0..skew).map(|d| seed::mix(i * 31 + level * 7 + d * 1_000_003) % 256);
        draws.min().unwrap_or(0) as u32
    };
    let mut ids = std::collections::BTreeSet::new();
    let mut draw = 0;
    while ids.len() < ITEMS {
        ids.insert([code(draw, 0, 2), code(draw, 1, 2), code(draw, 2, 2), code(draw, 3, 6)]);
        draw += 1;
    }
    let rows = ids.iter().enumerate().map(|(i, c)| (ItemId(i as u32), &c[..]));
    Arc::new(SidTable::new(ITEMS, CodeOrder::Sequence, rows).expect("distinct items"))
}

fn decode(c: &mut Criterion) {
    let options = TigerOptions {
        mlp_layers: 1,
        mlp_bias: false,
        head: "tied".into(),
        separator: false,
        ..TigerOptions::default()
    };
    let model = Arc::new(Tiger::new(options, 4, 256, 0).expect("valid options"));
    let table = table();
    let histories: Vec<Vec<ItemId>> = (0..256)
        .map(|u| (0..HISTORY).map(|i| ItemId(((u * 131 + i * 1717) % ITEMS) as u32)).collect())
        .collect();
    let requests: Vec<Request<'_>> =
        histories.iter().map(|h| Request { history: h, ..Request::default() }).collect();
    let run = Run { threads: 2, ..Run::quiet(0) };
    for (name, score, sums) in
        [("full", ScoreRule::Full, Sums::Both), ("masked", ScoreRule::Masked, Sums::Ranked)]
    {
        let beam = Beam::new(BeamOptions { width: 50, score, sums, ..Default::default() });
        let beam = Box::new(beam.expect("valid options"));
        let recommender = GenerativeRecommender::new(model.clone(), beam, table.clone())
            .expect("a model of codes");
        let mut group = c.benchmark_group(format!("decode-{name}"));
        group.sample_size(10);
        for users in [1, 32, 256] {
            group.throughput(Throughput::Elements(users as u64));
            group.bench_function(format!("{users} users"), |b| {
                b.iter(|| {
                    recommender.recommend(&requests[..users], 50, &run).expect("answers").len()
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
