//! `sidereal quantize VECTORS --out DIR`: residual k-means over a file of vectors of any size.
//!
//! | file | holds |
//! |---|---|
//! | `fit.state` | what an unfinished fit needs to go on |
//! | `codebook.safetensors` | the fitted codebook |
//! | `codes.npy` | int32 codes, shape `N x L` |
//! | `codes.npy.part` | those of an unfinished assignment |
//!
//! The same command goes on where a stopped or killed one was.

use super::args::QuantizeArguments;
use super::interrupt::cancel_on_interrupt;
use super::output;
use super::run::observers;
use serde_json::{Value, json};
use sidereal_core::observe::Fanout;
use sidereal_core::{Codebook, Codes, Error, Options, Result, Run, Spec};
use sidereal_experiment::Config;
use sidereal_nn::vector_file::{VectorFile, npy};
use sidereal_quantizers::stream::{self, StreamOptions};
use sidereal_quantizers::{RqKMeans, RqKMeansOptions, load_codebook, save_codebook};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

pub fn quantize(a: QuantizeArguments) -> Result<ExitCode> {
    let file = VectorFile::open(&a.vectors, &a.tensor)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let observer = Fanout(observers(a.quiet || a.json));
    let run = Run { seed: a.seed, observer: &observer, cancel: cancel_on_interrupt(), threads };
    std::fs::create_dir_all(&a.out).map_err(|e| Error::write(&a.out, e))?;
    let state = a.out.join("fit.state");
    let options =
        StreamOptions { buffer: (a.buffer as usize) << 20, state: Some(state.clone()), first: 0 };

    let book = match &a.codebook {
        Some(path) => load_codebook(path)?,
        None => {
            let quantizer = RqKMeans::new(options_of(&a.set)?)?;
            let book = stream::fit(&quantizer, &file, &options, &run)?;
            save_codebook(&a.out.join("codebook.safetensors"), &book)?;
            Box::new(book)
        }
    };
    let out = a.out.join("codes.npy");
    assign(book.as_ref(), &file, &out, options, &run)?;
    let found = json!({
        "vectors": file.rows(),
        "width": file.cols(),
        "levels": book.widths(),
        "codes": out,
    });
    match a.json {
        true => output::print_json(&found)?,
        false => output::print(&format!(
            "{} vectors of width {}, {} levels\n{}\n",
            file.rows(),
            file.cols(),
            book.widths().len(),
            out.display()
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// `--set levels=[256, 256]` as the options of `rq-kmeans`.
fn options_of(set: &[String]) -> Result<RqKMeansOptions> {
    let mut config = Config::parse("", "--set")?;
    for assignment in set {
        config.set(&format!("quantizer.{assignment}"))?;
    }
    let options = match config.tree().get("quantizer") {
        Some(Value::Object(options)) => options.clone(),
        _ => Default::default(),
    };
    RqKMeansOptions::from_spec(&Spec { options, ..Spec::new("quantizer", "rq-kmeans") })
}

/// Writes the codes of all rows, after those that an earlier call has written.
fn assign(
    book: &dyn Codebook,
    file: &VectorFile,
    out: &Path,
    options: StreamOptions,
    run: &Run<'_>,
) -> Result<()> {
    let levels = book.widths().len();
    let header = npy::header_bytes("<i4", file.rows(), levels);
    let part = out.with_extension("npy.part");
    let fail = |e| Error::write(&part, e);
    let mut target =
        OpenOptions::new().create(true).append(true).read(true).open(&part).map_err(fail)?;
    let done = target.metadata().map_err(fail)?.len() as usize;
    let row = 4 * levels;
    let first = match done.checked_sub(header.len()) {
        // Whole blocks of rows: a block that was cut off is written again.
        Some(codes) => codes / row / stream::UNIT * stream::UNIT,
        None => 0,
    };
    let keep = if first == 0 { 0 } else { header.len() + first * row };
    target.set_len(keep as u64).map_err(fail)?;
    if first == 0 {
        target.write_all(&header).map_err(fail)?;
    }
    stream::assign(book, file, &StreamOptions { first, ..options }, run, |_, codes: &Codes| {
        let bytes: Vec<u8> = codes.data().iter().flat_map(|c| c.to_le_bytes()).collect();
        target.write_all(&bytes).map_err(fail)
    })?;
    target.sync_all().map_err(fail)?;
    std::fs::rename(&part, out).map_err(|e| Error::write(out, e))
}
