//! R-VQ: `rvq`, residual codebooks that learn by gradients, level after level.
//!
//! GRID's R-VQ (arXiv 2507.22224): no encoder, so only codes learn; the loss of a level is that of
//! [`super::level_loss`], a sum over rows and columns; each level has its share of the steps while
//! the levels below stay; residuals are scaled to length 1; k-means++ on 3,072 rows starts a level.
//! A level of converged k-means is a fixed point: its gradient is 0.
//!
//! Deviations: GRID's configuration names no optimiser, here AdamW or plain SGD; the start buffer is
//! a seeded sample at each level instead of the first batches. Cost: `2 B K D` operations a step,
//! memory `B (K + 2 D)` beside the vectors.

use super::level_loss;
use crate::blocks::distinct_rows;
use crate::kmeans::mini_batch::Batches;
use crate::kmeans::pass::{Assigned, Collect, Scratch, pass};
use crate::kmeans::{Centroids, Start};
use crate::levels::{check_enough, check_levels};
use crate::residual::{Entering, ResidualCodebook, ResidualScale, check_vectors};
use crate::rq_kmeans::{RqKMeans, RqKMeansOptions};
use serde::{Deserialize, Serialize};
use sidereal_core::{
    Code, Codebook, Error, Event, MatrixRef, Quantizer, QuantizerInput, Result, Run, seed,
};
use sidereal_nn::optim::{AdamW, AdamWOptions, Optimizer, Sgd, SgdOptions};
use sidereal_nn::parallel;

/// How codes follow their gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RvqOptimizer {
    /// AdamW without weight decay (arXiv 1711.05101).
    Adamw,
    /// Stochastic gradient descent without momentum.
    Sgd,
}

sidereal_core::options! {
    /// Options of `rvq`.
    pub struct RvqOptions {
        /// Codes of each level: a list of 1 to 64 widths, each from 1 to the number of distinct
        /// vectors. GRID: three levels of 256.
        pub levels: Vec<u32> = vec![256, 256, 256],
        /// Steps of all levels together; a level has `steps / L`. GRID: 3000.
        pub steps: u32 = 3000,
        /// Rows of a step, 1 and up. GRID: 2048.
        pub batch: u32 = 2048,
        /// `adamw` or `sgd`; GRID does not say.
        pub optimizer: RvqOptimizer = RvqOptimizer::Adamw,
        /// Learning rate, 0 and up. The loss is a sum over rows, so with `sgd` it must fall as rows of
        /// a code grow. GRID: 1e-3.
        pub lr: f32 = 1e-3,
        /// Weight of the commitment term, 0 and up. It is part of the loss that is told; without an
        /// encoder nothing follows it. GRID: 0.25.
        pub beta: f64 = 0.25,
        /// Scale every residual to length one as it enters a level (GRID). Codes then stand for no
        /// vectors.
        pub normalize_residuals: bool = true,
        /// First codes: `k-means++` (GRID) or `random` (distinct rows).
        pub start: Start = Start::PlusPlus,
        /// Rows that the first codes are chosen from; at least the largest width, or 0 for all. GRID:
        /// 3072.
        pub start_rows: u32 = 3072,
    }
}

/// Fits a [`ResidualCodebook`] by gradients.
///
/// ```
/// use sidereal_core::{Codebook, Matrix, QuantizerInput, Run};
/// use sidereal_quantizers::{Rvq, RvqOptions};
/// # fn main() -> sidereal_core::Result<()> {
/// let x = Matrix::new(4, 2, vec![1.0, 0.1, 1.0, 0.0, -0.1, 1.0, 0.0, 1.0])?;
/// let input = QuantizerInput::vectors(x.view());
/// let options = RvqOptions { levels: vec![2, 2], steps: 50, ..Default::default() };
/// let codes = Rvq::new(options)?.fit_residual(&input, &Run::quiet(1))?.quantize(&input)?;
/// assert_eq!(codes.row(0)[0], codes.row(1)[0]); // near neighbours share their first code
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Rvq {
    options: RvqOptions,
    first: RqKMeans,
}

impl Rvq {
    /// Checks the options.
    ///
    /// Errors name the key under `quantizer`, its value and what is allowed.
    pub fn new(options: RvqOptions) -> Result<Self> {
        check_levels(&options.levels)?;
        let refuse = |key: &str, got: String, allowed: &str| {
            Err(Error::config(format!("quantizer.{key}"), format!("got {got}; expected {allowed}")))
        };
        if options.batch == 0 {
            return refuse("batch", "0".into(), "at least 1 row");
        }
        if !(options.lr.is_finite() && options.lr >= 0.0) {
            return refuse("lr", options.lr.to_string(), "a finite number from 0");
        }
        if !(options.beta.is_finite() && options.beta >= 0.0) {
            return refuse("beta", options.beta.to_string(), "a finite number from 0");
        }
        // Start and its checks are those of residual k-means, in the plain form of k-means++.
        let first = RqKMeans::new(RqKMeansOptions {
            levels: options.levels.clone(),
            start: options.start,
            start_rows: options.start_rows,
            start_candidates: 1,
            ..Default::default()
        })?;
        Ok(Rvq { options, first })
    }

    /// Fits and keeps the type, for callers that want more than [`Codebook`] offers.
    pub fn fit_residual(
        &self,
        input: &QuantizerInput<'_>,
        run: &Run<'_>,
    ) -> Result<ResidualCodebook> {
        parallel::pool(run.threads)?.install(|| self.fit_here(input.vectors, run))
    }

    fn scale(&self) -> ResidualScale {
        if self.options.normalize_residuals {
            ResidualScale::Normalized
        } else {
            ResidualScale::Raw
        }
    }

    fn fit_here(&self, vectors: MatrixRef<'_>, run: &Run<'_>) -> Result<ResidualCodebook> {
        check_vectors(vectors)?;
        let o = &self.options;
        let widest = o.levels.iter().copied().max().unwrap_or(0) as usize;
        check_enough(&o.levels, vectors.rows(), distinct_rows(vectors, widest))?;
        let (n, count) = (vectors.rows(), o.levels.len());
        let steps = u64::from(o.steps) / count as u64;
        run.emit(Event::Started { task: "rvq", total: steps * count as u64, unit: "steps" });
        let mut levels: Vec<Centroids> = Vec::with_capacity(count);
        let mut codes: Vec<Code> = Vec::with_capacity(n * (count - 1));
        for (l, &width) in o.levels.iter().enumerate() {
            let source = Entering::new(&vectors, &levels, &codes, self.scale());
            let first = self.first.first_centroids(&source, l, width as usize, run.seed)?;
            let level = self.descend(&source, l, Centroids::new(first), steps, run)?;
            if l + 1 < count {
                let (mut assigned, mut scratch) = (Assigned::default(), Scratch::default());
                pass(&source, &level, Collect::Codes, &mut assigned, &mut scratch)?;
                codes.extend_from_slice(&assigned.codes);
            }
            levels.push(level);
        }
        run.emit(Event::Finished { task: "rvq" });
        ResidualCodebook::new(
            levels.into_iter().map(Centroids::into_values).collect(),
            self.scale(),
        )
    }

    /// The steps of one level.
    fn descend(
        &self,
        source: &Entering<'_>,
        level: usize,
        mut centroids: Centroids,
        steps: u64,
        run: &Run<'_>,
    ) -> Result<Centroids> {
        let o = &self.options;
        let len = centroids.values().data().len();
        let mut optimizer: Box<dyn Optimizer> = match o.optimizer {
            RvqOptimizer::Adamw => {
                let options = AdamWOptions { weight_decay: 0.0, ..Default::default() };
                Box::new(AdamW::new(options, len, "quantizer")?)
            }
            RvqOptimizer::Sgd => Box::new(Sgd::new(SgdOptions::default(), len, "quantizer")?),
        };
        let seed = seed::key(run.seed, "rvq-batches", level as u64);
        let mut batches = Batches::new(source.len(), o.batch as usize, seed);
        for step in 0..steps {
            run.check()?;
            let residuals = source.gather(batches.draw())?;
            let at = level_loss(residuals.view(), &centroids, o.beta)?;
            centroids.update(|values| {
                let gradient = at.codebook_gradient.data();
                optimizer.step(values.data_mut(), gradient, o.lr, run.threads);
            });
            if centroids.values().view().first_not_finite().is_some() {
                return Err(Error::NotFinite {
                    what: format!("a code of level {} of rvq", level + 1),
                    step: Some(step + 1),
                    help: "lower quantizer.lr".into(),
                });
            }
            let loss = at.loss / residuals.rows() as f64;
            let numbers = [("level", (level + 1) as f64), ("loss", loss)];
            let done = level as u64 * steps + step + 1;
            run.emit(Event::Advanced { task: "rvq", done, numbers: &numbers });
        }
        Ok(centroids)
    }
}

impl Quantizer for Rvq {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(self.fit_residual(input, run)?))
    }
}
