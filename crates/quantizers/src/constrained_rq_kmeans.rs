//! Residual k-means with bounded sizes: `constrained-rq-kmeans`.
//!
//! MiniOneRec (arXiv 2510.24431) and its code: at every level each code has `max(1, floor(N/K) - 1)`
//! to `floor(N/K) + 1` items, the best of three starts, at most 100 iterations, raw residuals. Each
//! iteration assigns by the exact cheapest assignment with such sizes (min-cost flow on the K codes,
//! file `kmeans/transport.rs`), then moves the centroids to the means, so the distortion never
//! rises. The prices of an iteration start the next one. Implemented from a description of the
//! public repository.
//!
//! Deviations: MiniOneRec solves the flow by a general solver on all N x K arcs; the optimum is the
//! same, ties may fall otherwise. Start by greedy k-means++ on at most 3072 rows. Cost of an
//! iteration: `2 N K D` operations, `N K` for the arcs, and `K^2 + N` a row in excess of the prices;
//! memory beside the vectors `N (K + L + 4)` words: the costs are in memory, so a million rows of
//! 256 codes take 1 GB.

use crate::capacity::{Assignment, Capacity, CapacityCodebook};
use crate::kmeans::Start;
use crate::kmeans::constrained::{Bounded, constrained};
use crate::kmeans::start::{Candidates, first_centroids};
use crate::kmeans::transport::Sizes;
use crate::levels::check_levels;
use sidereal_core::{Codebook, Error, Quantizer, QuantizerInput, Result, Run, seed};

sidereal_core::options! {
    /// Options of `constrained-rq-kmeans`.
    pub struct ConstrainedRqKMeansOptions {
        /// Codes of each level: a list of 1 to 64 widths, each from 1 to the number of vectors.
        /// MiniOneRec: three levels of 256.
        pub levels: Vec<u32> = vec![256, 256, 256],
        /// Iterations a start, at most; 1 and up. MiniOneRec: 100.
        pub iterations: u32 = 100,
        /// Starts a level, of which the one with the least distortion is kept; 1 and up.
        /// MiniOneRec: 3.
        pub restarts: u32 = 3,
        /// An iteration that lowers the distortion by no more than this share is the last, 0 up to
        /// (not including) 1.
        pub tolerance: f64 = 1e-4,
        /// First centroids: `k-means++` or `random`.
        pub start: Start = Start::PlusPlus,
        /// Codes of the fitted vectors: `fitted` (of bounded sizes, MiniOneRec) or `nearest`, as
        /// all others.
        pub assignment: Assignment = Assignment::Fitted,
    }
}

/// Fits a [`CapacityCodebook`] whose codes have nearly the same number of rows.
#[derive(Debug, Clone)]
pub struct ConstrainedRqKMeans {
    options: ConstrainedRqKMeansOptions,
}

/// The bounds of MiniOneRec.
fn sizes(rows: usize, width: usize) -> Sizes {
    let mean = rows / width;
    Sizes { least: mean.saturating_sub(1).max(1), most: mean + 1 }
}

impl ConstrainedRqKMeans {
    /// Checks the options.
    ///
    /// Errors name the key under `quantizer`, its value and what is allowed.
    pub fn new(options: ConstrainedRqKMeansOptions) -> Result<Self> {
        check_levels(&options.levels)?;
        for (key, value) in [("iterations", options.iterations), ("restarts", options.restarts)] {
            if value == 0 {
                return Err(Error::config(
                    format!("quantizer.{key}"),
                    "got 0; expected at least 1",
                ));
            }
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
        Ok(ConstrainedRqKMeans { options })
    }

    /// Fits and keeps the type, for callers that want more than [`Codebook`] offers.
    pub fn fit_capacity(
        &self,
        input: &QuantizerInput<'_>,
        run: &Run<'_>,
    ) -> Result<CapacityCodebook> {
        let o = &self.options;
        let capacity = Capacity {
            task: "constrained-rq-kmeans",
            levels: &o.levels,
            assignment: o.assignment,
            steps: u64::from(o.restarts) * u64::from(o.iterations),
        };
        capacity.fit(input, run, |level, advanced| {
            let (source, width) = (&level.source, level.width);
            let mut best: Option<Bounded> = None;
            for start in 0..o.restarts {
                let draw = level.index as u64 * u64::from(o.restarts) + u64::from(start);
                let mut rng = seed::stream(run.seed, "constrained-start", draw);
                let first = first_centroids(source, o.start, width, Candidates::ByWidth, &mut rng)?;
                let before = u64::from(start) * u64::from(o.iterations);
                let sizes = sizes(source.len(), width);
                let each = |i: u32, d: f64| advanced(before + u64::from(i) + 1, d);
                let now = constrained(source, first, sizes, o.iterations, o.tolerance, each)?;
                if best.as_ref().is_none_or(|b| now.distortion < b.distortion) {
                    best = Some(now);
                }
            }
            best.map(|b| b.grouped).ok_or_else(|| Error::mismatch("no start was asked for"))
        })
    }
}

impl Quantizer for ConstrainedRqKMeans {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(self.fit_capacity(input, run)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_mini_one_rec() {
        assert_eq!(sizes(1000, 256), Sizes { least: 2, most: 4 });
        assert_eq!(sizes(3686, 256), Sizes { least: 13, most: 15 });
        assert_eq!(sizes(256, 256), Sizes { least: 1, most: 2 });
    }
}
