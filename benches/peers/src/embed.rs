//! all-MiniLM-L6-v2 over titles, tokenisation included.

use crate::arm::{agreed, difference, serve, values};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use sidereal::core::Run;
use sidereal::encoders::hub::Environment;
use sidereal::encoders::{SentenceTransformer, SentenceTransformerOptions};
use std::error::Error;
use std::path::Path;

/// Vectors have length 1; no value may differ by more.
const LIMIT: f64 = 1e-5;

pub fn run(work: &Path, threads: usize) -> Result<(), Box<dyn Error>> {
    let told: Value = serde_json::from_slice(&std::fs::read(work.join("embed-st.json"))?)?;
    let texts: Vec<String> = serde_json::from_value(told["texts"].clone())?;
    let model = told["model"].as_str().ok_or("no folder of the model")?.to_string();
    let options = SentenceTransformerOptions { model, ..Default::default() };
    let encoder = SentenceTransformer::with_environment(options, &Environment::from_process())?;
    let model = encoder.load()?;
    let run = Run { threads, ..Run::quiet(0) };

    let bytes = std::fs::read(work.join("embed-st.safetensors"))?;
    let want = values(&SafeTensors::deserialize(&bytes)?, "vectors")?;
    let got = model.encode(&texts, &run)?;
    if got.data().len() != want.len() {
        return Err(format!("{} values beside the peer's {}", got.data().len(), want.len()).into());
    }
    let relative = difference(got.data(), &want);
    let absolute = relative * want.iter().fold(0f64, |m, v| m.max(f64::from(v.abs())));
    agreed(absolute, LIMIT)?;
    let mut told = agreed(relative, 1e-4)?;
    told.insert("max_abs_difference".into(), json!(absolute));
    told.insert("texts".into(), json!(texts.len()));
    drop((got, want, bytes));
    serve(told, || {
        std::hint::black_box(model.encode(&texts, &run)?);
        Ok(())
    })
}
