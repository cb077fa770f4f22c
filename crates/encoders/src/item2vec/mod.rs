//! Item2vec: skip-gram with negative sampling over histories.
//!
//! Barkan and Koenigstein 2016 (arXiv 1603.04259), after word2vec. Every two items of a history
//! within `window` are a pair; for centre `c` and context `o` the loss is
//! `softplus(-v_c . u_o) + sum_k softplus(v_c . u_k)` over negatives `k` drawn with probability in
//! proportion to `count^0.75`. Vectors of items are the `v` (N x d); the `u` (N x d) are thrown away.
//! As in the paper a history is a set by default: `window = 0` joins all of its items.
//!
//! The original programs let threads write into shared weights without locks. Here a step draws
//! `batch` pairs, each piece of them from its own stream; the gradient of all vectors is a product
//! with the sparse matrix of the scores' derivatives ([`step`]), whose rows are summed in a fixed
//! order; Adam updates all vectors. So the same seed gives the same bits with any number of threads.
//!
//! Cost of a step: `6 batch (negatives + 1) d` operations and one pass of Adam over `2 N d` values.
//!
//! Deviations: Adam on batches for SGD on single pairs; pairs are drawn with replacement from all
//! pairs, an epoch being as many draws as there are pairs, but at most `contexts` an interaction
//! (a history of n items has n (n - 1) pairs). The paper's values as remembered, unverified: width
//! 40, 15 negatives, 20 epochs, subsampling 1e-3.

pub mod pairs;
pub mod step;

use crate::collaborative::{user_items, warn_of_cold};
use crate::epochs::Epochs;
use crate::threads::with_threads;
use crate::{check_number, check_range, rows};
use pairs::Pairs;
use sidereal_core::{EncoderInput, ItemEncoder, Matrix, Result, Run};
use sidereal_nn::optim::{Adam, AdamOptions, Optimizer};
use sidereal_nn::{Init, Params};
use step::Step;

sidereal_core::options! {
    /// Options of `item2vec`.
    pub struct Item2VecOptions {
        /// Width of the vectors, 1 to 4096.
        pub dim: usize = 64,
        /// Largest distance of two items of a history, 0 and up; 0 joins all of them (paper: 0).
        pub window: usize = 0,
        /// Negatives of a pair, 1 to 1000.
        pub negatives: usize = 5,
        /// Items are drawn as negatives in proportion to this power of their counts, 0 to 1
        /// (word2vec: 0.75).
        pub smoothing: f32 = 0.75,
        /// Items above this share of all interactions are left out at random, each with probability
        /// `1 - sqrt(subsample / share)`; 0 keeps all; 0 to 1.
        pub subsample: f32 = 1e-3,
        /// Passes over the pairs, 1 to 100000.
        pub epochs: usize = 10,
        /// Pairs drawn in an epoch for each interaction at most, 1 to 1000000.
        pub contexts: usize = 16,
        /// Pairs of a step, 1 to 4194304.
        pub batch: usize = 16_384,
        /// Learning rate of Adam, above 0.
        pub lr: f32 = 0.02,
        /// Whether vectors are scaled to length 1.
        pub normalize: bool = false,
    }
}

/// Vectors of items by the company they keep.
#[derive(Debug, Clone)]
pub struct Item2Vec {
    options: Item2VecOptions,
}

impl Item2Vec {
    /// Checks the options.
    pub fn new(options: Item2VecOptions) -> Result<Self> {
        check_range("dim", options.dim, 1, 4096)?;
        check_range("negatives", options.negatives, 1, 1000)?;
        check_number("smoothing", options.smoothing, 0.0, 1.0)?;
        check_number("subsample", options.subsample, 0.0, 1.0)?;
        check_range("epochs", options.epochs, 1, 100_000)?;
        check_range("contexts", options.contexts, 1, 1_000_000)?;
        check_range("batch", options.batch, 1, 1 << 22)?;
        check_number("lr", options.lr, f32::MIN_POSITIVE, f32::MAX)?;
        Ok(Item2Vec { options })
    }

    fn run(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Matrix> {
        let o = &self.options;
        let items = user_items(input)?.transpose();
        let n = items.rows();
        let pairs = Pairs::new(input.train, n, o)?;
        let mut params = Params::new(run.seed);
        let start = Init::Uniform(0.5 / o.dim as f32);
        let centers = params.add("item2vec.centers", &[n, o.dim], start);
        params.add("item2vec.contexts", &[n, o.dim], Init::Zeros);
        let adam = AdamOptions { lr: o.lr, ..Default::default() };
        let mut adam = Adam::new(adam, params.len(), crate::SECTION)?;
        let mut step = Step::new(n, o.dim);
        let cap = (o.contexts as u64).saturating_mul(input.train.all_items().len() as u64);
        let steps = pairs.len().min(cap).div_ceil(o.batch as u64);
        let task = "item2vec";
        Epochs { task, epochs: o.epochs as u64, steps }.run(run, |number| {
            let draws = pairs.draw(run.seed, number, o.batch);
            let loss = step.run(params.values(), &draws);
            adam.step(params.values_mut(), step.grads(), o.lr, run.threads);
            loss
        })?;
        let mut out = Matrix::new(n, o.dim, centers.of(params.values()).to_vec())?;
        for i in (0..n).filter(|&i| items.row_len(i) == 0) {
            out.row_mut(i).fill(0.0);
        }
        warn_of_cold(task, &items, "such vectors are zero", run);
        if o.normalize {
            rows::normalize_all(&mut out);
        }
        Ok(out)
    }
}

impl ItemEncoder for Item2Vec {
    fn encode(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Matrix> {
        with_threads(run.threads, || self.run(input, run))
    }
}
