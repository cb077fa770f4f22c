//! Residual k-means: `rq-kmeans`.
//!
//! Level after level, k-means on the residuals of the levels below (see [`crate::residual`] for
//! the loop). Sources: GRID's RK-means (arXiv 2507.22224), QARM and OneRec use the full-batch form
//! (arXiv 2411.11739, 2502.18965). GRID's own setting is
//! `{method = "mini-batch", normalize_residuals = true}`; the default here is Lloyd on raw
//! residuals, which reconstructs the vectors.
//!
//! Deviations from GRID: the start buffer is a seeded sample instead of the first batches; k-means++
//! is greedy by default (`start_candidates`); a dead code can be revived (Lloyd only). Cost: `2 N D K` operations an iteration and level; memory
//! beside the vectors `N (L + 1)` words.

use crate::kmeans::centroids::Centroids;
use crate::kmeans::lloyd::{Stop, lloyd};
use crate::kmeans::mini_batch::{Batches, mini_batch};
use crate::kmeans::pass::{Assigned, Collect, Rows, Scratch, pass};
use crate::kmeans::start::{self, Candidates};
use crate::kmeans::{DeadCode, Start};
use crate::levels::{check_enough, check_levels};
use crate::residual::{ResidualCodebook, ResidualScale, Residuals, check_vectors};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sidereal_core::{
    Code, Codebook, Error, Event, Matrix, MatrixRef, Quantizer, QuantizerInput, Result, Run, seed,
};
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

    pub(crate) fn fit_here(
        &self,
        vectors: MatrixRef<'_>,
        run: &Run<'_>,
    ) -> Result<ResidualCodebook> {
        check_vectors(vectors)?;
        let options = &self.options;
        let widest = options.levels.iter().copied().max().unwrap_or(0) as usize;
        check_enough(&options.levels, vectors.rows(), distinct_rows(vectors, widest))?;
        let (n, count) = (vectors.rows(), options.levels.len());
        let total = count as u64 * u64::from(self.iterations());
        run.emit(Event::Started { task: "rq-kmeans", total, unit: "iterations" });

        let mut levels: Vec<Centroids> = Vec::with_capacity(count);
        let mut codes: Vec<Code> = Vec::with_capacity(n * (count - 1));
        let mut scratch = Scratch::default();
        for (l, &width) in options.levels.iter().enumerate() {
            let source = Residuals::new(vectors, &levels, &codes, self.scale());
            let mut assigned = Assigned::default();
            let level =
                self.fit_level(&source, l, width as usize, &mut assigned, &mut scratch, run)?;
            if l + 1 < count {
                let rows = Rows::First(n);
                pass(&source, rows, &level, Collect::Codes, &mut assigned, &mut scratch);
                codes.extend_from_slice(&assigned.codes);
            }
            levels.push(level);
        }
        run.emit(Event::Finished { task: "rq-kmeans" });
        ResidualCodebook::new(
            levels.into_iter().map(Centroids::into_values).collect(),
            self.scale(),
        )
    }

    fn fit_level(
        &self,
        source: &Residuals<'_>,
        level: usize,
        width: usize,
        assigned: &mut Assigned,
        scratch: &mut Scratch,
        run: &Run<'_>,
    ) -> Result<Centroids> {
        let o = &self.options;
        let mut centroids = Centroids::new(self.first_centroids(source, level, width, run.seed));
        let iterations = self.iterations();
        let before = level as u64 * u64::from(iterations);
        let each = |i: u32, distortion: f64| {
            let numbers = [("level", (level + 1) as f64), ("distortion", distortion)];
            let done = before + u64::from(i) + 1;
            run.emit(Event::Advanced { task: "rq-kmeans", done, numbers: &numbers });
            run.check()
        };
        match o.method {
            Method::Lloyd => {
                let stop = Stop { iterations, tolerance: o.tolerance };
                lloyd(source, &mut centroids, stop, o.dead, assigned, scratch, each)?;
            }
            Method::MiniBatch => {
                let seed = seed::key(run.seed, "rq-kmeans-batches", level as u64);
                let batches = Batches::new(source.len(), o.batch as usize, seed);
                mini_batch(source, &mut centroids, batches, iterations, scratch, each)?;
            }
        }
        Ok(centroids)
    }

    fn first_centroids(
        &self,
        source: &Residuals<'_>,
        level: usize,
        width: usize,
        seed: u64,
    ) -> Matrix {
        let mut rng = seed::stream(seed, "rq-kmeans-start", level as u64);
        let n = source.len();
        let wanted = self.options.start_rows as usize;
        let rows: Vec<u32> = if wanted == 0 || wanted >= n {
            (0..n as u32).collect()
        } else {
            let mut rows = rand::seq::index::sample(&mut rng, n, wanted).into_vec();
            rows.sort_unstable();
            rows.into_iter().map(|r| r as u32).collect()
        };
        let candidates = match self.options.start_candidates {
            0 => Candidates::ByWidth,
            n => Candidates::Fixed(n),
        };
        start::choose(self.options.start, &source.gather(&rows), width, candidates, &mut rng)
    }
}

impl Quantizer for RqKMeans {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(self.fit_residual(input, run)?))
    }
}

/// Number of distinct rows, by a 64-bit hash of each; stops counting at `enough`.
pub(crate) fn distinct_rows(vectors: MatrixRef<'_>, enough: usize) -> usize {
    // Adding 0 makes -0 and 0 the same.
    let hash =
        |row: &[f32]| row.iter().fold(0, |h, v| seed::mix(h ^ u64::from((v + 0.0).to_bits())));
    let mut hashes: Vec<u64> = Vec::new();
    for block in vectors.data().chunks(vectors.cols() * enough.max(1024)) {
        hashes.par_extend(block.par_chunks(vectors.cols()).map(hash));
        hashes.par_sort_unstable();
        hashes.dedup();
        if hashes.len() >= enough {
            break;
        }
    }
    hashes.len()
}
