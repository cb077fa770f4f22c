//! LightGCN: user and item vectors smoothed over the graph of training interactions.
//!
//! He et al., SIGIR 2020 (arXiv 2002.02126). With U users, N items, width d, `A = [[0, R], [R^T, 0]]`
//! and `L = D^-1/2 A D^-1/2`, the only weights are `E_0` ((U + N) x d); the vectors are
//! `E = P E_0` with `P = (1 / (K + 1)) sum_{k = 0..K} L^k` ([`propagation`]), a score is a dot
//! product, and the loss is BPR with an L2 penalty on the rows of `E_0` that a batch holds
//! ([`step`]). Triples are drawn as in the authors' program ([`Sampler`]): a user, one of the user's
//! items, one other item.
//!
//! Cost of a step: `4 K nnz(R) d` operations to propagate and the same to propagate the gradient
//! back (`P` is symmetric), whatever the batch; so large batches are what make it quick.
//!
//! Deviations. Defaults are meant for two cores and a minute, not for the last digit: `batch` 8192
//! (the paper's for Amazon-book; elsewhere 2048), `lr` 0.01 (paper: 0.001) and 40 `epochs` (paper:
//! 1000 with early stopping on the test set). Repeats of a user and item are one edge. The number of
//! epochs is fixed, there is no early stopping: an encoder sees no validation data.

pub mod propagation;
pub mod step;

use crate::collaborative::{Factors, Sampler, user_items, warn_of_cold};
use crate::epochs::Epochs;
use crate::threads::with_threads;
use crate::{check_number, check_range, rows};
use propagation::Propagation;
use sidereal_core::{EncoderInput, ItemEncoder, Matrix, Result, Run};
use sidereal_nn::optim::{Adam, AdamOptions, Optimizer};
use sidereal_nn::{Init, Params};
use step::Step;

sidereal_core::options! {
    /// Options of `lightgcn`.
    pub struct LightGcnOptions {
        /// Width of the vectors, 1 to 4096 (paper: 64).
        pub dim: usize = 64,
        /// Layers K, 0 to 16; 0 is matrix factorisation with BPR (paper: 3).
        pub layers: usize = 3,
        /// Passes over as many triples as there are interactions, 1 to 100000 (paper: 1000).
        pub epochs: usize = 40,
        /// Triples of a step, 1 to 4194304 (paper: 2048; 8192 for Amazon-book).
        pub batch: usize = 8192,
        /// Learning rate of Adam, above 0 (paper: 0.001).
        pub lr: f32 = 0.01,
        /// Weight of the L2 penalty on the raw vectors of a batch, 0 and up (paper: 1e-4).
        pub weight_decay: f32 = 1e-4,
        /// Standard deviation of the start, above 0 (the authors' PyTorch program: 0.1).
        pub init_std: f32 = 0.1,
        /// Whether item vectors are scaled to length 1.
        pub normalize: bool = false,
    }
}

/// Collaborative vectors by LightGCN.
#[derive(Debug, Clone)]
pub struct LightGcn {
    options: LightGcnOptions,
}

impl LightGcn {
    /// Checks the options.
    pub fn new(options: LightGcnOptions) -> Result<Self> {
        check_range("dim", options.dim, 1, 4096)?;
        check_range("layers", options.layers, 0, 16)?;
        check_range("epochs", options.epochs, 1, 100_000)?;
        check_range("batch", options.batch, 1, 1 << 22)?;
        check_number("lr", options.lr, f32::MIN_POSITIVE, f32::MAX)?;
        check_number("weight_decay", options.weight_decay, 0.0, f32::MAX)?;
        check_number("init_std", options.init_std, f32::MIN_POSITIVE, f32::MAX)?;
        Ok(LightGcn { options })
    }

    /// Trains and gives the smoothed vectors of both sides; item vectors keep their lengths, which
    /// scores need.
    ///
    /// Errors: no item, no interaction, no user with something left to recommend, a loss that is
    /// no number, or a request to stop.
    pub fn fit(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Factors> {
        with_threads(run.threads, || self.run(input, run))
    }

    fn run(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Factors> {
        let o = &self.options;
        let r = user_items(input)?;
        let propagation = Propagation::new(&r, o.layers);
        let sampler = Sampler::new(&r)?;
        let mut params = Params::new(run.seed);
        params.add("lightgcn.users", &[r.rows(), o.dim], Init::Normal(o.init_std));
        params.add("lightgcn.items", &[r.cols(), o.dim], Init::Normal(o.init_std));
        let adam = AdamOptions { lr: o.lr, ..Default::default() };
        let mut adam = Adam::new(adam, params.len(), crate::SECTION)?;
        let mut step = Step::new(&propagation, o.dim, o.weight_decay);
        let steps = r.nnz().div_ceil(o.batch);
        let task = "lightgcn";
        Epochs { task, epochs: o.epochs as u64, steps: steps as u64 }.run(run, |number| {
            let triples = sampler.draw(run.seed, "lightgcn-triples", number, o.batch);
            let loss = step.run(params.values(), &triples);
            adam.step(params.values_mut(), step.grads(), o.lr, run.threads);
            loss
        })?;
        let fate = "such vectors were pushed away from users and pulled by none";
        warn_of_cold(task, &r.transpose(), fate, run);
        let all = step.propagate(params.values());
        Factors::from_rows(all, r.rows(), o.dim)
    }
}

impl ItemEncoder for LightGcn {
    fn encode(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Matrix> {
        let mut items = self.fit(input, run)?.items;
        if self.options.normalize {
            rows::normalize_all(&mut items);
        }
        Ok(items)
    }
}
