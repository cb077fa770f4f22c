//! TIGER in T5's own form: tied head over the whole vocabulary, feed-forward without biases.

use crate::arm;
use crate::training::{Rows, Training, check_samples, loss, read};
use safetensors::SafeTensors;
use sidereal::backbones::tiger::{Tiger, TigerOptions};
use sidereal::core::ItemId;
use std::error::Error;
use std::path::Path;

const DIGITS: usize = 4;
const CODES: usize = 256;
const WIDTH: usize = 128;
/// Samples of a micro-batch.
const MICRO: usize = 8;

pub fn run(work: &Path, threads: usize, dropout: f32) -> Result<(), Box<dyn Error>> {
    let bytes = read(&work.join("tiger.safetensors"))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let (ids, labels) = (arm::integers(&file, "input_ids")?, arm::integers(&file, "labels")?);
    let samples = labels.len() / DIGITS;
    let tokens = ids.len() / samples;
    let items = tokens / (DIGITS + 1);
    let model = |dropout| {
        let options = TigerOptions {
            mlp_layers: 1,
            mlp_bias: false,
            head: "tied".into(),
            dropout,
            max_history: items,
            ..TigerOptions::default()
        };
        Tiger::new(options, DIGITS, CODES, 0)
    };
    let code = |(h, &token): (usize, &i64)| token as u32 - (h * CODES) as u32;
    let batch = |samples: &[usize]| {
        let mut rows = Rows::new();
        for &s in samples {
            for item in ids[s * tokens..(s + 1) * tokens].chunks_exact(DIGITS + 1) {
                rows.item(item[..DIGITS].iter().enumerate().map(code));
            }
            let label = labels[s * DIGITS..(s + 1) * DIGITS].iter().enumerate().map(code);
            rows.target(items, ItemId(0), label);
            rows.end();
        }
        rows.batch
    };
    let all: Vec<usize> = (0..samples).collect();
    let check = check_samples(&file)?;
    // Ours splits the shared table: digits, separator, start.
    let named = |prefix: &str, name: &str| {
        let table = DIGITS * CODES * WIDTH;
        let shared = || arm::values(&file, &format!("{prefix}shared.weight"));
        Ok(match name {
            "shared.weight" => shared()?[..table].to_vec(),
            "separator" => shared()?[table..table + WIDTH].to_vec(),
            "start" => shared()?[table + WIDTH..].to_vec(),
            other => arm::values(&file, &format!("{prefix}{other}"))?,
        })
    };
    let mut training = Training {
        model: model(0.0)?,
        batches: all.chunks(MICRO).map(batch).collect(),
        codes: samples * DIGITS,
        threads,
    };
    training.load(&|name| named("", name))?;
    let (parts, codes) = ([batch(&check)], check.len() * DIGITS);
    let told = training.check(&parts, codes, loss(&file)?, &|name| named("grad.", name))?;
    training.model = model(dropout)?;
    training.load(&|name| named("", name))?;
    training.serve(told)
}
