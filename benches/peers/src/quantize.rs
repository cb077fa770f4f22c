//! Residual k-means: fit from the peer's first rows, and codes by the peer's codebook.

use crate::arm::{self, serve_from};
use clap::ValueEnum;
use safetensors::SafeTensors;
use serde_json::{Map, Value, json};
use sidereal::core::{Codebook, Matrix, MatrixRef, QuantizerInput, Run};
use sidereal::encoders::precomputed::npy;
use sidereal::quantizers::kmeans::DeadCode;
use sidereal::quantizers::{ResidualCodebook, ResidualScale, RqKMeans, RqKMeansOptions};
use std::cell::RefCell;
use std::error::Error;
use std::path::Path;

/// Rows from which on a run needs no warm-up.
const LARGE: usize = 200_000;
/// Rows whose reconstruction is in memory at a time.
const BLOCK: usize = 16_384;
/// Largest share of codes that may differ from the peer's: rows as near to one code as to another.
const TIES: f64 = 1e-4;

#[derive(Clone, Copy, ValueEnum)]
pub enum Task {
    /// Fit a codebook.
    Fit,
    /// Quantize all rows.
    Assign,
}

pub fn run(work: &Path, threads: usize, task: Task, rows: usize) -> Result<(), Box<dyn Error>> {
    let plan = std::fs::read(work.join(format!("quantize-{rows}.json")))?;
    let plan: Value = serde_json::from_slice(&plan)?;
    let x = npy::read(Path::new(plan["file"].as_str().ok_or("no file of vectors")?))?;
    match task {
        Task::Fit => fit(&plan, &x, threads),
        Task::Assign => {
            let bytes = std::fs::read(work.join(format!("quantize-{rows}.safetensors")))?;
            assign(&SafeTensors::deserialize(&bytes)?, &x)
        }
    }
}

fn fit(plan: &Value, x: &Matrix, threads: usize) -> Result<(), Box<dyn Error>> {
    let starts: Vec<Vec<u32>> = serde_json::from_value(plan["starts"].clone())?;
    let iterations = serde_json::from_value(plan["iterations"].clone())?;
    let options =
        RqKMeansOptions { iterations, tolerance: 0.0, dead: DeadCode::Keep, ..Default::default() };
    let quantizer = RqKMeans::new(options)?;
    let (input, run) = (QuantizerInput::vectors(x.view()), Run { threads, ..Run::quiet(0) });
    let last: RefCell<Option<ResidualCodebook>> = RefCell::new(None);
    let warmup = if x.rows() > LARGE { 0 } else { 1 };
    serve_from(
        warmup,
        || {
            *last.borrow_mut() = Some(quantizer.fit_from_rows(&input, &starts, &run)?);
            Ok(())
        },
        || {
            let last = last.borrow();
            let book = last.as_ref().ok_or("no fit was asked for")?;
            let told = [("rows", json!(x.rows())), ("distortion", json!(distortion(book, x)?))];
            Ok(told.map(|(k, v)| (k.to_string(), v)).into_iter().collect())
        },
    )
}

/// Mean squared length of the residuals behind the last level.
fn distortion(book: &ResidualCodebook, x: &Matrix) -> Result<f64, Box<dyn Error>> {
    let mut sum = 0.0;
    for block in x.data().chunks(BLOCK * x.cols()) {
        let rows = MatrixRef::new(block.len() / x.cols(), x.cols(), block)?;
        let codes = book.quantize(&QuantizerInput::vectors(rows))?;
        let hat = book.reconstruct(&codes, book.len()).ok_or("a codebook without vectors")?;
        let pairs = block.iter().zip(hat.data());
        sum += pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    }
    Ok(sum / x.rows() as f64)
}

fn assign(file: &SafeTensors<'_>, x: &Matrix) -> Result<(), Box<dyn Error>> {
    let level = |l| -> Result<Matrix, Box<dyn Error>> {
        let values = arm::values(file, &format!("level_{l}"))?;
        Ok(Matrix::new(256, x.cols(), values)?)
    };
    let levels = (0..3).map(level).collect::<Result<Vec<_>, Box<dyn Error>>>();
    let book = ResidualCodebook::new(levels?, ResidualScale::Raw)?;
    let input = QuantizerInput::vectors(x.view());
    let want = arm::integers(file, "codes")?;
    let codes = book.quantize(&input)?;
    let other = codes.data().iter().zip(&want).filter(|(a, b)| i64::from(**a) != **b).count();
    let share = other as f64 / want.len() as f64;
    if codes.data().len() != want.len() || share > TIES {
        return Err(format!("{other} of {} codes are not the peer's", want.len()).into());
    }
    let told = [("rows", json!(x.rows())), ("codes_that_differ", json!(other))];
    let told: Map<String, Value> = told.map(|(k, v)| (k.to_string(), v)).into_iter().collect();
    serve_from(
        if x.rows() > LARGE { 0 } else { 2 },
        || {
            std::hint::black_box(book.quantize(&input)?);
            Ok(())
        },
        || Ok(told),
    )
}
