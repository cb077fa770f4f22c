//! Residual balanced k-means: `balanced-rq-kmeans`.
//!
//! OneRec (arXiv 2502.18965, algorithm 1): at every level each code has its equal share of the
//! items (see [`crate::kmeans`], file `balanced.rs`, for the rule and its cost), and the residual
//! of the next level is what the code of that balanced assignment leaves. New items get the
//! nearest centroids. Implemented from second-hand descriptions of the paper.
//!
//! Deviations: sizes differ by one where the number of items is no multiple of the width (the paper
//! does not say); at most `iterations` iterations, because greedy turns need not settle. Balanced
//! levels do not make IDs unique. Cost `N K D` operations an iteration and level; memory beside the
//! vectors `32 N + N L` words.

use crate::capacity::{Assignment, Capacity, CapacityCodebook};
use crate::kmeans::Start;
use crate::kmeans::balanced::balanced;
use crate::kmeans::start::{Candidates, first_centroids};
use crate::levels::check_levels;
use sidereal_core::{Codebook, Error, Quantizer, QuantizerInput, Result, Run, seed};

sidereal_core::options! {
    /// Options of `balanced-rq-kmeans`.
    pub struct BalancedRqKMeansOptions {
        /// Codes of each level: a list of 1 to 64 widths, each from 1 to the number of vectors.
        /// OneRec: three levels of 8192.
        pub levels: Vec<u32> = vec![256, 256, 256],
        /// Iterations a level, at most; 1 and up. OneRec: until no code changes.
        pub iterations: u32 = 100,
        /// First centroids: `random` (OneRec) or `k-means++`.
        pub start: Start = Start::Random,
        /// Codes of the fitted vectors: `fitted` (balanced, OneRec) or `nearest`, as all others.
        pub assignment: Assignment = Assignment::Fitted,
    }
}

/// Fits a [`CapacityCodebook`] whose codes all have the same number of rows.
///
/// ```
/// use sidereal_core::{Codebook, Matrix, QuantizerInput, Run};
/// use sidereal_quantizers::{BalancedRqKMeans, BalancedRqKMeansOptions};
/// # fn main() -> sidereal_core::Result<()> {
/// let x = Matrix::new(4, 1, vec![0.0, 1.0, 2.0, 99.0])?;
/// let input = QuantizerInput::vectors(x.view());
/// let options = BalancedRqKMeansOptions { levels: vec![2], ..Default::default() };
/// let book = BalancedRqKMeans::new(options)?.fit_capacity(&input, &Run::quiet(7))?;
/// let codes = book.quantize(&input)?;
/// assert_eq!(codes.data().iter().sum::<u32>(), 2); // two rows a code, far from each other or not
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct BalancedRqKMeans {
    options: BalancedRqKMeansOptions,
}

impl BalancedRqKMeans {
    /// Checks the options.
    ///
    /// Errors name the key under `quantizer`, its value and what is allowed.
    pub fn new(options: BalancedRqKMeansOptions) -> Result<Self> {
        check_levels(&options.levels)?;
        if options.iterations == 0 {
            return Err(Error::config("quantizer.iterations", "got 0; expected at least 1"));
        }
        Ok(BalancedRqKMeans { options })
    }

    /// Fits and keeps the type, for callers that want more than [`Codebook`] offers.
    pub fn fit_capacity(
        &self,
        input: &QuantizerInput<'_>,
        run: &Run<'_>,
    ) -> Result<CapacityCodebook> {
        let o = &self.options;
        let capacity = Capacity {
            task: "balanced-rq-kmeans",
            levels: &o.levels,
            assignment: o.assignment,
            steps: u64::from(o.iterations),
        };
        capacity.fit(input, run, |level, advanced| {
            let mut rng = seed::stream(run.seed, "balanced-start", level.index as u64);
            let (source, width) = (&level.source, level.width);
            let first = first_centroids(source, o.start, width, Candidates::ByWidth, &mut rng)?;
            balanced(source, first, o.iterations, |i, d| advanced(u64::from(i) + 1, d))
        })
    }
}

impl Quantizer for BalancedRqKMeans {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(self.fit_capacity(input, run)?))
    }
}
