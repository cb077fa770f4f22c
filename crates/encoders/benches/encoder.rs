//! A network of MiniLM's shape with random weights over texts of titles' lengths: the packed
//! forward pass beside plain candle operations on padded batches, both on one thread. Candle may
//! use more unless `RAYON_NUM_THREADS=1` is set.
#![allow(clippy::unwrap_used)]

#[path = "../tests/common/plain.rs"]
mod plain;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use plain::Plain;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;
use sidereal_encoders::sentence_transformer::bert::BertConfig;
use sidereal_encoders::sentence_transformer::folder::Transformer;
use sidereal_encoders::sentence_transformer::forward::{Bert, Workspace};
use std::hint::black_box;
use std::path::Path;

const HIDDEN: usize = 384;
const INNER: usize = 1536;
const LAYERS: usize = 6;
const HEADS: usize = 12;
const WORDS: usize = 2000;
const POSITIONS: usize = 64;

fn values(n: usize, scale: f32, center: f32) -> Vec<u8> {
    let value = |i: usize| ((i * 2_654_435_761) % 1021) as f32 / 510.0 - 1.0;
    (0..n).flat_map(|i| (center + scale * value(i)).to_le_bytes()).collect()
}

fn write(path: &Path) {
    let mut all: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    let mut add = |name: String, shape: &[usize], scale: f32, center: f32| {
        all.push((name, shape.to_vec(), values(shape.iter().product(), scale, center)));
    };
    for (name, rows) in [("word", WORDS), ("position", POSITIONS), ("token_type", 2)] {
        add(format!("embeddings.{name}_embeddings.weight"), &[rows, HIDDEN], 0.1, 0.0);
    }
    let mut norms = vec!["embeddings".to_string()];
    for layer in 0..LAYERS {
        let p = format!("encoder.layer.{layer}");
        for (name, out, inner) in [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", INNER, HIDDEN),
            ("output.dense", HIDDEN, INNER),
        ] {
            add(format!("{p}.{name}.weight"), &[out, inner], 0.07, 0.0);
            add(format!("{p}.{name}.bias"), &[out], 0.1, 0.0);
        }
        norms.extend([format!("{p}.attention.output"), format!("{p}.output")]);
    }
    for name in norms {
        add(format!("{name}.LayerNorm.weight"), &[HIDDEN], 0.1, 1.0);
        add(format!("{name}.LayerNorm.bias"), &[HIDDEN], 0.1, 0.0);
    }
    let views = all
        .iter()
        .map(|(n, s, b)| (n.as_str(), TensorView::new(Dtype::F32, s.clone(), b).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn encoder(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    write(&path);
    let config: BertConfig = serde_json::from_value(json!({
        "vocab_size": WORDS, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "intermediate_size": INNER,
        "max_position_embeddings": POSITIONS,
    }))
    .unwrap();
    let bert = Bert::load(&Transformer {
        config,
        weights: vec![path.clone()],
        tokenizer: path.clone(),
        max_length: POSITIONS,
        lowercase: false,
    })
    .unwrap();
    let plain = Plain::load(&path, LAYERS, HEADS, |x| x.gelu_erf()).unwrap();

    // 32 texts of 26 down to 10 tokens, as titles are when they are sorted.
    let texts: Vec<Vec<u32>> = (0..32u32)
        .map(|i| (0..26 - i / 2).map(|j| (i * 131 + j * 37) % WORDS as u32).collect())
        .collect();
    let rows: Vec<&[u32]> = texts.iter().map(|t| &t[..]).collect();
    let (ids, lengths) = (rows.concat(), rows.iter().map(|r| r.len()).collect::<Vec<_>>());
    let mut work = Workspace::default();
    let got = bert.forward(&ids, &lengths, &mut work);
    let want = plain.forward(&rows).unwrap().concat();
    let off = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    let attention: usize = lengths.iter().map(|t| 4 * t * t * HIDDEN).sum();
    let flop = LAYERS * (ids.len() * (8 * HIDDEN * HIDDEN + 4 * HIDDEN * INNER) + attention);
    println!("{} tokens, {:.3} GFLOP, largest difference {off:.1e}", ids.len(), flop as f64 * 1e-9);
    assert!(off < 1e-4, "the two forward passes differ by {off}");

    for (unit, amount) in [("tokens", ids.len()), ("flop", flop)] {
        let mut group = c.benchmark_group(format!("MiniLM shape, {unit}"));
        group.sample_size(10);
        group.throughput(Throughput::Elements(amount as u64));
        group.bench_function("packed", |b| {
            b.iter(|| black_box(bert.forward(&ids, &lengths, &mut work)[0]));
        });
        group.bench_function("candle", |b| b.iter(|| black_box(plain.forward(&rows).unwrap())));
        group.finish();
    }
}

criterion_group!(benches, encoder);
criterion_main!(benches);
