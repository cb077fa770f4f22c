//! The decoder-only backbone in GPT's form: learned positions, one head over the whole vocabulary.

use crate::arm;
use crate::training::{Rows, Training, check_samples, loss, read};
use safetensors::SafeTensors;
use sidereal::backbones::causal::{Causal, CausalOptions};
use sidereal::core::ItemId;
use std::error::Error;
use std::path::Path;

const DIGITS: usize = 4;
const CODES: usize = 256;
const WIDTH: usize = 128;
const HEADS: usize = 6;
const HEAD: usize = 64;
/// Sequences of a micro-batch.
const MICRO: usize = 8;

pub fn run(work: &Path, threads: usize, dropout: f32) -> Result<(), Box<dyn Error>> {
    let bytes = read(&work.join("causal.safetensors"))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let labels = arm::integers(&file, "labels")?;
    let length = file.tensor("labels")?.shape()[1];
    let (sequences, items) = (labels.len() / length, length / DIGITS);
    let model = |dropout| {
        let options = CausalOptions {
            mlp_bias: false,
            head: "joint".into(),
            positions: "learned".into(),
            dropout,
            max_history: items - 1,
            ..CausalOptions::default()
        };
        Causal::new(options, &[CODES as u32; DIGITS], 0)
    };
    let code = |(h, &token): (usize, &i64)| token as u32 - (h * CODES) as u32;
    let batch = |sequences: &[usize]| {
        let mut rows = Rows::new();
        for &s in sequences {
            // Labels are the tokens of all items, each predicted from what stands before it; the
            // last item is no history.
            for (p, item) in labels[s * length..(s + 1) * length].chunks_exact(DIGITS).enumerate() {
                let codes = || item.iter().enumerate().map(code);
                rows.target(p, ItemId(rows.batch.items.len() as u32), codes());
                if p + 1 < items {
                    rows.item(codes());
                }
            }
            rows.end();
        }
        rows.batch
    };
    let all: Vec<usize> = (0..sequences).collect();
    let check = check_samples(&file)?;
    let inner = HEADS * HEAD * WIDTH;
    let named = |prefix: &str, name: &str| {
        let get = |name: &str| arm::values(&file, &format!("{prefix}{name}"));
        let table = DIGITS * CODES * WIDTH;
        Ok(match name {
            "shared.weight" => get("table.weight")?[..table].to_vec(),
            "start" => get("table.weight")?[table..].to_vec(),
            "positions.weight" => get("positions.weight")?,
            "lm_head.weight" => get("head.weight")?,
            "decoder.final_layer_norm.weight" => get("norm.weight")?,
            block => {
                let parts: Vec<&str> = block.split('.').collect();
                let (i, part) = (parts[2], parts[parts.len() - 2]);
                let qkv = |third: usize| {
                    let all = get(&format!("blocks.{i}.qkv.weight"))?;
                    Ok::<_, Box<dyn Error>>(all[third * inner..(third + 1) * inner].to_vec())
                };
                match (part, parts[4]) {
                    ("q", _) => qkv(0)?,
                    ("k", _) => qkv(1)?,
                    ("v", _) => qkv(2)?,
                    ("layer_norm", "0") => get(&format!("blocks.{i}.norm1.weight"))?,
                    ("layer_norm", _) => get(&format!("blocks.{i}.norm2.weight"))?,
                    _ => get(&format!("blocks.{i}.{part}.weight"))?,
                }
            }
        })
    };
    let batches = all.chunks(MICRO).map(batch).collect();
    let mut training = Training { model: model(0.0)?, batches, codes: labels.len(), threads };
    training.load(&|name| named("", name))?;
    let (parts, codes) = ([batch(&check)], check.len() * length);
    let told = training.check(&parts, codes, loss(&file)?, &|name| named("grad.", name))?;
    training.model = model(dropout)?;
    training.load(&|name| named("", name))?;
    training.serve(told)
}
