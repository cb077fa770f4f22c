//! The protocol: `ready`, then one timed piece of work a line of input, then a summary.

use safetensors::SafeTensors;
use serde_json::{Map, Value, json};
use std::error::Error;
use std::io::BufRead;
use std::time::Instant;

/// Runs `work` twice unseen, then once for each line of input; at the end prints peak memory and
/// what `told` holds.
pub fn serve(
    told: Map<String, Value>,
    work: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    serve_from(2, work, || Ok(told))
}

/// The same with `warmup` unseen runs and a summary that is made at the end.
pub fn serve_from(
    warmup: usize,
    mut work: impl FnMut() -> Result<(), Box<dyn Error>>,
    told: impl FnOnce() -> Result<Map<String, Value>, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    for _ in 0..warmup {
        work()?;
    }
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        line?;
        let start = Instant::now();
        work()?;
        println!("{}", json!({ "ms": start.elapsed().as_secs_f64() * 1e3 }));
    }
    let peak = sidereal::train::peak_memory().unwrap_or(0) as f64 / f64::from(1 << 20);
    let mut last = told()?;
    last.insert("rss_mib".into(), peak.into());
    println!("{}", Value::Object(last));
    Ok(())
}

/// The f32 values of a tensor in a file.
pub fn values(file: &SafeTensors<'_>, name: &str) -> Result<Vec<f32>, Box<dyn Error>> {
    let tensor = file.tensor(name)?;
    Ok(tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

/// The i64 values of a tensor in a file.
pub fn integers(file: &SafeTensors<'_>, name: &str) -> Result<Vec<i64>, Box<dyn Error>> {
    let tensor = file.tensor(name)?;
    Ok(tensor.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect())
}

/// Largest difference over the largest value of `want`.
pub fn difference(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len(), "one value beside one value");
    let size = want.iter().fold(0f64, |m, x| m.max(f64::from(x.abs())));
    let off =
        got.iter().zip(want).fold(0f64, |m, (a, b)| m.max((f64::from(*a) - f64::from(*b)).abs()));
    off / size.max(f64::MIN_POSITIVE)
}

/// What `compare.py` shows: the largest difference from the peer's results, refused above `limit`.
pub fn agreed(difference: f64, limit: f64) -> Result<Map<String, Value>, Box<dyn Error>> {
    if difference.is_nan() || difference > limit {
        return Err(
            format!("results differ from the peer's by {difference:.2e}, above {limit:e}").into()
        );
    }
    Ok(Map::from_iter([("max_rel_difference".into(), json!(difference))]))
}
