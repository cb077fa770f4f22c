//! Residual k-means over files larger than memory: `.npy` and safetensors, read in blocks.
//!
//! [`fit`] gives the same bytes as [`crate::RqKMeans`] on the same vectors in memory, whatever the
//! size of the buffer: blocks end where partial sums do. Every iteration of Lloyd reads the file
//! once, mini-batches read their rows one by one. While one block is worked on the next is read.
//! [`assign`] reads the file once for all levels.
//!
//! With a state file a fit can be stopped after any iteration and goes on from there to the same
//! bytes (file `state.rs`). Memory: two blocks, `N (L + 1)` words for codes and distances, and the
//! centroids.

mod blocks;
mod state;

use crate::blocks::BLOCK_UNIT;
use crate::residual::ResidualCodebook;
use crate::rq_kmeans::fit::{Keep, fit as fit_levels};
use crate::rq_kmeans::{First, Forget, RqKMeans};
use blocks::FileBlocks;
use sidereal_core::{Codebook, Codes, Error, Event, QuantizerInput, Result, Run};
use sidereal_nn::parallel;
use sidereal_nn::vector_file::VectorFile;
use state::StateFile;
use std::path::PathBuf;

/// How a file is read, and where a fit keeps what it needs to go on.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    /// Bytes of vectors in memory, at least those of 4096 rows.
    pub buffer: usize,
    /// Written whole or not at all after every iteration, read when a fit begins, and left where it
    /// is when the fit has ended; none keeps nothing.
    pub state: Option<PathBuf>,
    /// [`assign`] begins with this row, a multiple of [`UNIT`]: an assignment that was stopped goes
    /// on behind the rows whose codes were kept.
    pub first: usize,
}

/// Rows of the smallest block.
pub const UNIT: usize = BLOCK_UNIT;

impl Default for StreamOptions {
    /// 256 MiB, no state, from the first row.
    fn default() -> Self {
        StreamOptions { buffer: 256 << 20, state: None, first: 0 }
    }
}

/// Fits the levels of `quantizer` on the rows of a file.
///
/// Errors: those of a fit in memory; a file that cannot be read; a state of another fit.
pub fn fit(
    quantizer: &RqKMeans,
    file: &VectorFile,
    options: &StreamOptions,
    run: &Run<'_>,
) -> Result<ResidualCodebook> {
    let vectors = FileBlocks::new(file, options.buffer, run.cancel.clone())?;
    parallel::pool(run.threads)?.install(|| {
        let mut forget = Forget;
        let mut state;
        let keep: &mut dyn Keep = match &options.state {
            None => &mut forget,
            Some(path) => {
                state = StateFile::new(path, quantizer, &vectors, run.seed)?;
                &mut state
            }
        };
        fit_levels(quantizer, &vectors, First::Drawn, keep, run)
    })
}

/// Quantizes the rows of a file; `sink` hears the first row and the codes of every block in order.
///
/// Errors: vectors that do not fit the codebook, a file that cannot be read, those of `sink`.
pub fn assign(
    codebook: &dyn Codebook,
    file: &VectorFile,
    options: &StreamOptions,
    run: &Run<'_>,
    mut sink: impl FnMut(usize, &Codes) -> Result<()> + Send,
) -> Result<()> {
    use crate::blocks::Blocks;
    const TASK: &str = "assign";
    if !options.first.is_multiple_of(UNIT) {
        return Err(Error::mismatch(format!(
            "an assignment cannot begin with row {}; expected a multiple of {UNIT}",
            options.first
        )));
    }
    let vectors = FileBlocks::new(file, options.buffer, run.cancel.clone())?.from(options.first);
    run.emit(Event::Started { task: TASK, total: file.rows() as u64, unit: "items" });
    parallel::pool(run.threads)?.install(|| {
        vectors.each(&mut |first, block| {
            let codes = codebook.quantize(&QuantizerInput::vectors(block)).map_err(|e| {
                let last = first + block.rows();
                Error::data(file.path(), format!("rows {first} to {last}: {e}"))
            })?;
            sink(first, &codes)?;
            let done = (first + block.rows()) as u64;
            run.emit(Event::Advanced { task: TASK, done, numbers: &[] });
            Ok(())
        })
    })?;
    run.emit(Event::Finished { task: TASK });
    Ok(())
}
