//! Residual k-means: `rq-kmeans`.
//!
//! Level after level, k-means on the residuals of the levels below (see [`crate::residual`] for
//! the loop). Sources: GRID's RK-means (arXiv 2507.22224), QARM and OneRec use the full-batch form
//! (arXiv 2411.11739, 2502.18965). GRID's own setting is
//! `{method = "mini-batch", normalize_residuals = true}`; the default here is Lloyd on raw
//! residuals, which reconstructs the vectors.
//!
//! Deviations from GRID: the start buffer is a seeded sample instead of the first batches; k-means++
//! is greedy by default (`start_candidates`); a dead code can be revived (Lloyd only). Cost:
//! `2 N D K` operations an iteration and level; memory beside the vectors `N (L + 1)` words.

pub(crate) mod fit;

pub(crate) use fit::{First, Forget};

use crate::kmeans::{DeadCode, Start};
use crate::levels::check_levels;
use crate::residual::{ResidualCodebook, ResidualScale};
use serde::{Deserialize, Serialize};
use sidereal_core::{Codebook, Error, MatrixRef, Quantizer, QuantizerInput, Result, Run};
use sidereal_nn::parallel;

/// How the centroids of a level are learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// All rows in every iteration.
    Lloyd,
    /// Batches with running counts.
    MiniBatch,
}

sidereal_core::options! {
    /// Options of `rq-kmeans`.
    pub struct RqKMeansOptions {
        /// Codes of each level: a list of 1 to 64 widths, each from 1 to the number of distinct
        /// vectors. GRID: three levels of 256.
        pub levels: Vec<u32> = vec![256, 256, 256],
        /// `lloyd` (all rows in every iteration) or `mini-batch` (running counts, as GRID).
        pub method: Method = Method::Lloyd,
        /// Iterations a level (Lloyd: at most) or steps a level (mini-batch). 0 takes 50 for Lloyd
        /// and 10 for mini-batch (GRID).
        pub iterations: u32 = 0,
        /// Rows of a mini-batch, 1 and up. GRID: 2048. Lloyd does not read it.
        pub batch: u32 = 2048,
        /// First centroids: `k-means++` or `random` (distinct rows).
        pub start: Start = Start::PlusPlus,
        /// Rows that the first centroids are chosen from, drawn anew at each level; at least the
        /// largest width, or 0 for all rows (then two more copies of the vectors are in memory for a
        /// while). GRID: 3072.
        pub start_rows: u32 = 3072,
        /// Rows that k-means++ draws for each centroid, keeping the best: 1 is the plain form (GRID),
        /// 0 takes 2 + ln K.
        pub start_candidates: u32 = 0,
        /// Scale every residual to length one as it enters a level. GRID: true. Codes then stand
        /// for no vectors.
        pub normalize_residuals: bool = false,
        /// Lloyd stops when an iteration lowers the distortion by no more than this share, 0 up to
        /// (not including) 1; 0 goes on as long as it falls.
        pub tolerance: f64 = 1e-4,
        /// What Lloyd does with a code that no row chose: `farthest` moves it onto the row that is
        /// farthest from its centroid, `keep` leaves it.
        pub dead: DeadCode = DeadCode::Farthest,
    }
}

/// Fits a [`ResidualCodebook`] by k-means.
///
/// ```
/// use sidereal_core::{Codebook, Matrix, QuantizerInput, Run};
/// use sidereal_quantizers::{RqKMeans, RqKMeansOptions};
/// # fn main() -> sidereal_core::Result<()> {
/// let x = Matrix::new(4, 1, vec![0.0, 1.0, 10.0, 11.0])?;
/// let input = QuantizerInput::vectors(x.view());
/// let options = RqKMeansOptions { levels: vec![2, 2], ..Default::default() };
/// let book = RqKMeans::new(options)?.fit_residual(&input, &Run::quiet(7))?;
/// let codes = book.quantize(&input)?;
/// assert_eq!(codes.row(0)[0], codes.row(1)[0]); // near neighbours share their first code
/// assert_eq!(book.reconstruct(&codes, 2), Some(x.clone()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RqKMeans {
    options: RqKMeansOptions,
}

impl RqKMeans {
    /// Checks the options.
    ///
    /// Errors name the key under `quantizer`, its value and what is allowed.
    pub fn new(options: RqKMeansOptions) -> Result<Self> {
        check_levels(&options.levels)?;
        if options.batch == 0 {
            return Err(Error::config("quantizer.batch", "got 0; expected at least 1 row"));
        }
        if !(0.0..1.0).contains(&options.tolerance) {
            return Err(Error::config(
                "quantizer.tolerance",
                format!(
                    "got {}; expected a number from 0 up to, not including, 1",
                    options.tolerance
                ),
            ));
        }
        let widest = options.levels.iter().copied().max().unwrap_or(0);
        if options.start_rows != 0 && options.start_rows < widest {
            return Err(Error::config(
                "quantizer.start_rows",
                format!(
                    "got {}, fewer than the {widest} codes of the widest level; expected at least \
                     {widest}, or 0 for all rows",
                    options.start_rows
                ),
            ));
        }
        Ok(RqKMeans { options })
    }

    /// What it was made from.
    pub fn options(&self) -> &RqKMeansOptions {
        &self.options
    }

    fn iterations(&self) -> u32 {
        match (self.options.iterations, self.options.method) {
            (0, Method::Lloyd) => 50,
            (0, Method::MiniBatch) => 10,
            (n, _) => n,
        }
    }

    fn scale(&self) -> ResidualScale {
        if self.options.normalize_residuals {
            ResidualScale::Normalized
        } else {
            ResidualScale::Raw
        }
    }

    /// Fits and keeps the type, for callers that want more than [`Codebook`] offers.
    pub fn fit_residual(
        &self,
        input: &QuantizerInput<'_>,
        run: &Run<'_>,
    ) -> Result<ResidualCodebook> {
        parallel::pool(run.threads)?.install(|| self.fit_here(input.vectors, run))
    }

    /// Fits from chosen first centroids: the residuals of the listed rows, one list a level.
    ///
    /// Errors: as [`RqKMeans::fit_residual`], and lists that do not fit the levels or the vectors.
    pub fn fit_from_rows(
        &self,
        input: &QuantizerInput<'_>,
        rows: &[Vec<u32>],
        run: &Run<'_>,
    ) -> Result<ResidualCodebook> {
        let vectors = input.vectors;
        let fits = |(list, &width): (&Vec<u32>, &u32)| {
            list.len() == width as usize && list.iter().all(|&r| (r as usize) < vectors.rows())
        };
        let levels = &self.options.levels;
        if rows.len() != levels.len() || !rows.iter().zip(levels).all(fits) {
            return Err(Error::input(format!(
                "rq-kmeans: expected first rows for the levels {levels:?}, as many as codes, each \
                 below the {} vectors",
                vectors.rows()
            )));
        }
        let first = First::Rows(rows);
        parallel::pool(run.threads)?.install(|| fit::fit(self, &vectors, first, &mut Forget, run))
    }

    pub(crate) fn fit_here(
        &self,
        vectors: MatrixRef<'_>,
        run: &Run<'_>,
    ) -> Result<ResidualCodebook> {
        fit::fit(self, &vectors, First::Drawn, &mut Forget, run)
    }
}

impl Quantizer for RqKMeans {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(self.fit_residual(input, run)?))
    }
}
