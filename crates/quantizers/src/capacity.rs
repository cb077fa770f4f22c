//! Residual levels whose codes have bounded numbers of rows, and the codebook they make.
//!
//! The assignment of the fit is part of the method: it decides the residuals of the next level, and
//! is not that of the nearest centroid. With `assignment = "fitted"` the codebook gives exactly the
//! fitted vectors the codes of the fit; any other vectors, new items among them, get the nearest
//! centroids, where nothing is balanced. With `assignment = "nearest"` all vectors do.

use crate::kmeans::balanced::Grouped;
use crate::kmeans::centroids::Centroids;
use crate::levels::{LEVELS, check_levels};
use crate::residual::{Entering, ResidualCodebook, ResidualScale, check_vectors};
use crate::training::Training;
use serde::{Deserialize, Serialize};
use sidereal_core::{
    Code, Codebook, Codes, Error, Event, Matrix, MatrixRef, QuantizerInput, Result, Run,
};
use sidereal_nn::parallel;

/// Which codes the fitted vectors get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assignment {
    /// Those of the fit.
    Fitted,
    /// Those of the nearest centroids, as all other vectors.
    Nearest,
}

/// Residual codebooks with the codes of the vectors they were fitted on.
#[derive(Debug, Clone, PartialEq)]
pub struct CapacityCodebook {
    book: ResidualCodebook,
    training: Option<Training>,
}

impl CapacityCodebook {
    /// From what [`Codebook::tensors`] gives.
    pub fn from_tensors(mut tensors: Vec<(String, Matrix)>) -> Result<Self> {
        let training = Training::take(&mut tensors)?;
        let book = ResidualCodebook::from_tensors(tensors)?;
        let codes = training.as_ref().map(Training::codes);
        let fits = |codes: &Codes| {
            let known = |i| codes.row(i).iter().zip(book.widths()).all(|(c, w)| c < w);
            codes.levels() == book.len() && (0..codes.rows()).all(known)
        };
        if !codes.is_none_or(fits) {
            return Err(Error::mismatch("codebook: codes of the fit that no level has"));
        }
        Ok(CapacityCodebook { book, training })
    }

    /// The centroids, which quantize new vectors.
    pub fn residual(&self) -> &ResidualCodebook {
        &self.book
    }

    /// Codes that the fit gave its vectors; `None` with `assignment = "nearest"`.
    pub fn fitted(&self) -> Option<&Codes> {
        self.training.as_ref().map(Training::codes)
    }
}

impl Codebook for CapacityCodebook {
    fn widths(&self) -> &[u32] {
        self.book.widths()
    }

    fn quantize(&self, input: &QuantizerInput<'_>) -> Result<Codes> {
        match self.training.as_ref().and_then(|t| t.of(input.vectors)) {
            Some(codes) => Ok(codes.clone()),
            None => self.book.quantize(input),
        }
    }

    fn reconstruct(&self, codes: &Codes, levels: usize) -> Option<Matrix> {
        self.book.reconstruct(codes, levels)
    }

    fn distances(
        &self,
        vectors: MatrixRef<'_>,
        codes: &Codes,
        level: usize,
    ) -> Result<Option<Matrix>> {
        self.book.distances(vectors, codes, level)
    }

    fn tensors(&self) -> Vec<(String, Matrix)> {
        let mut out = self.book.tensors();
        // The shapes of a codebook's own codes fit.
        out.extend(self.training.iter().filter_map(|t| t.tensors().ok()).flatten());
        out
    }
}

/// What the residual quantizers with bounded sizes share.
pub(crate) struct Capacity<'a> {
    pub task: &'static str,
    pub levels: &'a [u32],
    pub assignment: Assignment,
    /// Units of progress a level.
    pub steps: u64,
}

/// A level that is being fitted.
pub(crate) struct Level<'a> {
    pub index: usize,
    pub width: usize,
    pub source: Entering<'a>,
}

impl Capacity<'_> {
    /// Fits level after level with `fit_level`, which also hears how to tell its progress: steps
    /// done in this level, and the mean distortion.
    pub(crate) fn fit(
        &self,
        input: &QuantizerInput<'_>,
        run: &Run<'_>,
        fit_level: impl Fn(&Level<'_>, &dyn Fn(u64, f64) -> Result<()>) -> Result<Grouped> + Sync,
    ) -> Result<CapacityCodebook> {
        let vectors = input.vectors;
        parallel::pool(run.threads)?.install(|| {
            check_levels(self.levels)?;
            check_vectors(vectors)?;
            check_rows(self.levels, vectors.rows())?;
            let (n, count) = (vectors.rows(), self.levels.len());
            let total = count as u64 * self.steps;
            run.emit(Event::Started { task: self.task, total, unit: "iterations" });
            let mut below: Vec<Centroids> = Vec::with_capacity(count);
            let mut codes: Vec<Code> = Vec::with_capacity(n * count);
            for (index, &width) in self.levels.iter().enumerate() {
                let source = Entering::new(&vectors, &below, &codes, ResidualScale::Raw);
                let level = Level { index, width: width as usize, source };
                let grouped = fit_level(&level, &|step, distortion| {
                    let numbers = [("level", (index + 1) as f64), ("distortion", distortion)];
                    let done = index as u64 * self.steps + step;
                    run.emit(Event::Advanced { task: self.task, done, numbers: &numbers });
                    run.check()
                })?;
                codes.extend_from_slice(&grouped.codes);
                below.push(grouped.centroids);
            }
            run.emit(Event::Finished { task: self.task });
            let training = match self.assignment {
                Assignment::Nearest => None,
                Assignment::Fitted => {
                    let row = |i: usize| (0..count).map(move |l| l * n + i);
                    let by_row = (0..n).flat_map(row).map(|at| codes[at]).collect();
                    Some(Training::new(vectors, Codes::new(n, count, by_row)?))
                }
            };
            let levels = below.into_iter().map(Centroids::into_values).collect();
            let book = ResidualCodebook::new(levels, ResidualScale::Raw)?;
            Ok(CapacityCodebook { book, training })
        })
    }
}

/// Every code needs a row of its own.
fn check_rows(levels: &[u32], rows: usize) -> Result<()> {
    let Some(l) = levels.iter().position(|&w| w as usize > rows) else { return Ok(()) };
    Err(Error::config(
        LEVELS,
        format!(
            "level {} asks for {} codes of at least one item each, there are {rows} items; \
             allowed: 1 to {rows} codes a level",
            l + 1,
            levels[l]
        ),
    ))
}
