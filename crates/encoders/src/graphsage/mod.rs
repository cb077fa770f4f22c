//! Features of items smoothed by a trained graph network: MMGRec's item encoder.
//!
//! Two GraphSAGE layers with mean aggregation (arXiv 1706.02216) over the graph of users and items
//! ([`network`]); items enter with the vectors of `inner` (N x f; MMGRec's are visual, acoustic and
//! textual features side by side: use `fused`), users with free vectors; trained by BPR, as in MMGRec
//! (arXiv 2404.16555, after the authors' program). Vectors are `X_2` (N x d) without dropout.
//!
//! Deviations: one negative a triple, drawn anew, for five a positive fixed in advance; triples are
//! drawn as in LightGCN (users alike), not one a training pair; neither layer samples its
//! neighbours; `batch` 16384 for 3000 and `lr` 0.003 for 0.001, because a step costs the same
//! whatever the batch.

pub mod linear;
pub mod network;

use crate::collaborative::{Factors, Sampler, bpr, user_items, warn_of_cold};
use crate::epochs::Epochs;
use crate::threads::with_threads;
use crate::{check_number, check_range, key, rows};
use network::{Means, Network, State};
use sidereal_core::component::Inner;
use sidereal_core::{Catalog, EncoderInput, Error, ItemEncoder, Matrix, Result, Run, seed};
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::optim::{Adam, AdamOptions, Optimizer};
use sidereal_nn::{Params, Pass};
use std::path::PathBuf;

sidereal_core::options! {
    /// Options of `graphsage`.
    pub struct GraphSageOptions {
        /// The encoder whose vectors are the features of items.
        pub inner: Inner = Inner::Name("lsa".into()),
        /// Width of the vectors, 1 to 4096 (MMGRec: 64).
        pub dim: usize = 64,
        /// Width of the first layer and of the users' free vectors, 1 to 4096 (MMGRec: 128).
        pub hidden: usize = 128,
        /// Passes over as many triples as there are interactions, 1 to 100000 (MMGRec: 60).
        pub epochs: usize = 60,
        /// Triples of a step, 1 to 4194304 (MMGRec: 3000).
        pub batch: usize = 16_384,
        /// Learning rate of Adam, above 0 (MMGRec: 0.001).
        pub lr: f32 = 0.003,
        /// L2 that Adam adds to the gradient, 0 and up (MMGRec: 1e-6).
        pub weight_decay: f32 = 1e-6,
        /// Dropout after the first layer, 0 to below 1 (MMGRec: 0.5).
        pub dropout: f32 = 0.5,
        /// Dropout after the second layer, 0 to below 1 (MMGRec: 0.2).
        pub output_dropout: f32 = 0.2,
        /// Whether item vectors are scaled to length 1.
        pub normalize: bool = false,
    }
}

/// An encoder of features and a graph network on top.
pub struct GraphSage {
    options: GraphSageOptions,
    inner: Box<dyn ItemEncoder>,
}

impl GraphSage {
    /// Checks the options and builds the inner encoder from `all`.
    pub fn new(options: GraphSageOptions, all: &Catalog<dyn ItemEncoder>) -> Result<Self> {
        let inner = all.build(&options.inner.spec(&key("inner"))?, &())?;
        GraphSage::of(options, inner)
    }

    /// Checks the options for an inner encoder that is built already; `options.inner` is not read.
    pub fn of(options: GraphSageOptions, inner: Box<dyn ItemEncoder>) -> Result<Self> {
        check_range("dim", options.dim, 1, 4096)?;
        check_range("hidden", options.hidden, 1, 4096)?;
        check_range("epochs", options.epochs, 1, 100_000)?;
        check_range("batch", options.batch, 1, 1 << 22)?;
        check_number("lr", options.lr, f32::MIN_POSITIVE, f32::MAX)?;
        check_number("weight_decay", options.weight_decay, 0.0, f32::MAX)?;
        check_number("dropout", options.dropout, 0.0, 1.0 - f32::EPSILON)?;
        check_number("output_dropout", options.output_dropout, 0.0, 1.0 - f32::EPSILON)?;
        Ok(GraphSage { options, inner })
    }

    /// Trains and gives the vectors of both sides; item vectors keep their lengths, which scores
    /// need.
    ///
    /// Errors: those of the inner encoder, no interaction, no user with something left to recommend,
    /// a loss that is no number, or a request to stop.
    pub fn fit(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Factors> {
        let features = self.inner.encode(input, run)?;
        if features.rows() != input.items.len() || features.cols() == 0 {
            return Err(Error::mismatch(format!(
                "graphsage: {} vectors of width {} for {} items",
                features.rows(),
                features.cols(),
                input.items.len()
            )));
        }
        with_threads(run.threads, || self.run(input, &features, run))
    }

    fn run(&self, input: &EncoderInput<'_>, features: &Matrix, run: &Run<'_>) -> Result<Factors> {
        let o = &self.options;
        let r = user_items(input)?;
        let means = Means::new(&r);
        let sampler = Sampler::new(&r)?;
        let mut params = Params::new(run.seed);
        let network = Network::new(&mut params, r.rows(), features.cols(), o.hidden, o.dim);
        let adam = AdamOptions { lr: o.lr, weight_decay: o.weight_decay, ..Default::default() };
        let mut adam = Adam::new(adam, params.len(), crate::SECTION)?;
        let (mut state, mut grads) = (State::default(), vec![0f32; params.len()]);
        let mut dout = vec![0f32; means.nodes() * o.dim];
        let steps = r.nnz().div_ceil(o.batch);
        let task = "graphsage";
        Epochs { task, epochs: o.epochs as u64, steps: steps as u64 }.run(run, |number| {
            let triples = sampler.draw(run.seed, "graphsage-triples", number, o.batch);
            let pass = Pass::Train { key: seed::key(run.seed, "graphsage-dropout", number) };
            let drops = [o.dropout, o.output_dropout].map(|rate| Dropout::new(rate, pass));
            let (weights, x) = (params.values(), features.data());
            network.forward(weights, x, &means, drops, &mut state);
            let loss = bpr(state.output(), o.dim, &triples, &mut dout);
            grads.fill(0.0);
            network.backward(weights, x, &means, drops, &mut state, &mut dout, &mut grads);
            adam.step(params.values_mut(), &grads, o.lr, run.threads);
            loss
        })?;
        warn_of_cold(task, &r.transpose(), "their features alone decide their vectors", run);
        let drops = [Dropout::none(); 2];
        network.forward(params.values(), features.data(), &means, drops, &mut state);
        Factors::from_rows(state.output(), r.rows(), o.dim)
    }
}

impl ItemEncoder for GraphSage {
    fn encode(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Matrix> {
        let mut items = self.fit(input, run)?.items;
        if self.options.normalize {
            rows::normalize_all(&mut items);
        }
        Ok(items)
    }

    fn files(&self) -> Vec<PathBuf> {
        self.inner.files()
    }
}
