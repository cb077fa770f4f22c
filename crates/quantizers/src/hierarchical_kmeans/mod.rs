//! Hierarchical k-means: `hierarchical-kmeans`.
//!
//! The IDs of DSI and NCI (arXiv 2202.06991, 2206.02743; described in arXiv 2305.11841): a set of
//! more than `leaf` items is cut into `branches` clusters by k-means, each cluster likewise, and the
//! numbers of the clusters are the digits of an ID. The members of a set of at most `leaf` items are
//! numbered in item order: the running number is the last digit, left out where there is one
//! member. So IDs differ in length, are unique, and none continues another. k-means sees the
//! vectors of the subset, not residuals.
//!
//! `depth = L` is the form of ColaRec (arXiv 2403.18480): L digits, a cluster at level l (from 1)
//! has at most `branches^(L - l)` members, and the last digit numbers the at most `branches` members
//! of a cell. The assignment with these sizes is exact (`kmeans/transport.rs`).
//!
//! New vectors descend to the nearest centroid at every node and take the next free numbers of
//! their leaf, in the order of rows, up to its room (`leaf`, or `branches` with a depth); beyond it,
//! and in leaves whose one member has no number, they share an ID. The fitted vectors keep theirs.
//!
//! Implemented from descriptions of the public repositories. Deviations: Lloyd also where NCI takes
//! mini-batches (1000 items and more); digits count from 0 (ColaRec: 1); clusters that nobody chose
//! get no digit; sets of equal vectors are leaves, however large; at most [`MOST_LEVELS`] levels.
//! Cost `2 N D k` operations an iteration and level; memory one copy of the vectors.

mod build;
mod tree;

pub use tree::HierarchicalCodebook;

use sidereal_core::{Codebook, Error, Quantizer, QuantizerInput, Result, Run};
use sidereal_nn::parallel;

pub(crate) use tree::TREE;

/// Most digits of an ID.
pub const MOST_LEVELS: usize = 32;

sidereal_core::options! {
    /// Options of `hierarchical-kmeans`.
    pub struct HierarchicalKMeansOptions {
        /// Clusters that a set is cut into, 2 to 65536. DSI: 10; NCI: 30; ColaRec: 32.
        pub branches: u32 = 10,
        /// Sets of at most so many items are numbered, 1 and up. DSI: 100; NCI: 30. Not read with
        /// `depth`.
        pub leaf: u32 = 100,
        /// Digits of every ID, 1 to 32, with at most `branches^(depth - level)` items a cluster
        /// (ColaRec: 3); 0 leaves sizes and lengths free.
        pub depth: u32 = 0,
        /// Iterations of Lloyd a cut, at most; 1 and up.
        pub iterations: u32 = 50,
    }
}

/// Fits a [`HierarchicalCodebook`].
///
/// ```
/// use sidereal_core::{Codebook, Matrix, QuantizerInput, Run};
/// use sidereal_quantizers::{HierarchicalKMeans, HierarchicalKMeansOptions};
/// # fn main() -> sidereal_core::Result<()> {
/// let x = Matrix::new(5, 1, vec![0.0, 1.0, 2.0, 50.0, 51.0])?;
/// let input = QuantizerInput::vectors(x.view());
/// let options = HierarchicalKMeansOptions { branches: 2, leaf: 3, ..Default::default() };
/// let book = HierarchicalKMeans::new(options)?.fit_tree(&input, &Run::quiet(7))?;
/// let codes = book.quantize(&input)?;
/// assert_eq!(codes.sid(0)[0], codes.sid(2)[0]); // one cluster, numbered 0, 1, 2
/// assert_eq!(codes.sid(2)[1], 2);
/// assert_ne!(codes.sid(0)[0], codes.sid(3)[0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct HierarchicalKMeans {
    options: HierarchicalKMeansOptions,
}

impl HierarchicalKMeans {
    /// Checks the options.
    ///
    /// Errors name the key under `quantizer`, its value and what is allowed.
    pub fn new(options: HierarchicalKMeansOptions) -> Result<Self> {
        let HierarchicalKMeansOptions { branches, leaf, depth, iterations } = options;
        let most = MOST_LEVELS as u32;
        let cases = [
            ("branches", branches, 2..=65536),
            ("leaf", leaf, 1..=u32::MAX),
            ("depth", depth, 0..=most),
            ("iterations", iterations, 1..=u32::MAX),
        ];
        for (key, value, range) in cases {
            if !range.contains(&value) {
                let (low, high) = range.into_inner();
                return Err(Error::config(
                    format!("quantizer.{key}"),
                    format!("got {value}; expected {low} to {high}"),
                ));
            }
        }
        Ok(HierarchicalKMeans { options })
    }

    /// Fits and keeps the type, for callers that want more than [`Codebook`] offers.
    ///
    /// Errors: vectors that cannot be quantized; with a depth, more of them than it has IDs for.
    pub fn fit_tree(
        &self,
        input: &QuantizerInput<'_>,
        run: &Run<'_>,
    ) -> Result<HierarchicalCodebook> {
        parallel::pool(run.threads)?.install(|| build::fit(&self.options, input.vectors, run))
    }
}

impl Quantizer for HierarchicalKMeans {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(self.fit_tree(input, run)?))
    }
}
