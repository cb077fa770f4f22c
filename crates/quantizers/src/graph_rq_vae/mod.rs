//! MMGRec's quantizer: `graph-rq-vae`, an RQ-VAE on item vectors that a graph network made of
//! features and interactions (arXiv 2404.16555).
//!
//! | file | holds |
//! |---|---|
//! | `sage` | GraphSAGE over users and items |
//! | `bpr` | its training |
//! | `codebook` | what was learned |
//!
//! Two stages, as in the authors' code: the graph is trained with BPR on the training histories,
//! then its item vectors are quantized by an auto-encoder whose residuals keep their gradients to
//! codes (`code-path`) and whose decoder has sigmoids between its layers. Some summaries of the
//! paper train both together.
//!
//! Deviations: AdamW where the authors' quantizer has Adam with L2; one batch of 3,000 holds triples,
//! not interactions with all their negatives. The scripts as published do not run; shapes and
//! constants are theirs. Features and histories decide the codes, so quantizing needs both.

pub mod bpr;
mod codebook;
pub mod sage;

pub(crate) use codebook::FIRST;
pub use codebook::GraphRqVaeCodebook;

use crate::residual::check_vectors;
use crate::rq_vae::{Recipe, RqVae, inner_rq_vae};
use bpr::BprOptions;
use sage::{Means, Sage, SageShape};
use sidereal_core::component::Inner;
use sidereal_core::{Codebook, Error, Quantizer, QuantizerInput, Result, Run};
use sidereal_nn::kernels::activation::Activation;
use sidereal_nn::parallel;

/// MMGRec's auto-encoder.
fn default_vae() -> Inner {
    let mut table = serde_json::Map::new();
    let mut set = |key: &str, value: serde_json::Value| table.insert(key.into(), value);
    set("type", "rq-vae".into());
    set("levels", vec![128, 128, 128].into());
    set("hidden", vec![16].into());
    set("latent", 4.into());
    set("estimator", "code-path".into());
    set("start", "uniform".into());
    set("epochs", 60.into());
    set("weight_decay", 1e-4.into());
    set("clip", 0.0.into());
    Inner::Table(table)
}

sidereal_core::options! {
    /// Options of `graph-rq-vae`.
    pub struct GraphRqVaeOptions {
        /// The RQ-VAE, a table of type `rq-vae`; a table of your own takes the place of all of it.
        /// MMGRec: 64-16-4, 3 x 128.
        pub vae: Inner = default_vae(),
        /// Width of user vectors, projected features and the first layer, 1 and up. MMGRec: 128.
        pub hidden: u32 = 128,
        /// Width of the graph's item vectors, 1 and up. MMGRec: 64.
        pub output: u32 = 64,
        /// Dropout after the two layers, each 0 to below 1. MMGRec: 0.5 and 0.2.
        pub dropout: Vec<f32> = vec![0.5, 0.2],
        /// Negatives of an interaction, drawn once, 1 and up. MMGRec: 5.
        pub negatives: u32 = 5,
        /// Passes over the triples, 0 and up. MMGRec: 60.
        pub graph_epochs: u32 = 60,
        /// Triples of a step of the graph, 1 and up; a step runs the whole graph. MMGRec: 3000.
        pub graph_batch: u32 = 3000,
        /// Learning rate of the graph, 0 and up. MMGRec: 1e-3.
        pub graph_lr: f32 = 1e-3,
        /// L2 of the graph, 0 and up. MMGRec: 1e-6.
        pub graph_weight_decay: f32 = 1e-6,
    }
}

/// Fits a [`GraphRqVaeCodebook`].
#[derive(Debug, Clone)]
pub struct GraphRqVae {
    options: GraphRqVaeOptions,
    vae: RqVae,
    dropout: [f32; 2],
}

impl GraphRqVae {
    /// Checks the options.
    ///
    /// Errors name the key under `quantizer`, its value and what is allowed.
    pub fn new(options: GraphRqVaeOptions) -> Result<Self> {
        let vae = inner_rq_vae(&options.vae, |_| {})?;
        let refuse = |key: &str, got: String, allowed: &str| {
            Err(Error::config(format!("quantizer.{key}"), format!("got {got}; expected {allowed}")))
        };
        let o = &options;
        let whole = [
            ("hidden", o.hidden),
            ("output", o.output),
            ("negatives", o.negatives),
            ("graph_batch", o.graph_batch),
        ];
        for (key, value) in whole {
            if value == 0 {
                return refuse(key, "0".into(), "at least 1");
            }
        }
        for (key, value) in [("graph_lr", o.graph_lr), ("graph_weight_decay", o.graph_weight_decay)]
        {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(key, value.to_string(), "a finite number from 0");
            }
        }
        let dropout = match o.dropout[..] {
            [a, b] if [a, b].iter().all(|r| (0.0..1.0).contains(r)) => [a, b],
            _ => {
                let allowed = "two numbers from 0 up to, not including, 1";
                return refuse("dropout", format!("{:?}", o.dropout), allowed);
            }
        };
        Ok(GraphRqVae { options, vae, dropout })
    }

    /// Fits and keeps the type, for callers that want more than [`Codebook`] offers.
    pub fn fit_graph(
        &self,
        input: &QuantizerInput<'_>,
        run: &Run<'_>,
    ) -> Result<GraphRqVaeCodebook> {
        parallel::pool(run.threads)?.install(|| self.fit_here(input, run))
    }

    fn fit_here(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<GraphRqVaeCodebook> {
        check_vectors(input.vectors)?;
        let graph = graph_of(input)?;
        let o = &self.options;
        let shape = SageShape {
            users: graph.users(),
            features: input.vectors.cols(),
            hidden: o.hidden as usize,
            output: o.output as usize,
        };
        let mut sage = Sage::new(shape, run.seed);
        let options = BprOptions {
            negatives: o.negatives,
            epochs: o.graph_epochs,
            batch: o.graph_batch,
            lr: o.graph_lr,
            weight_decay: o.graph_weight_decay,
            dropout: self.dropout,
        };
        bpr::train(&mut sage, &graph, input.vectors.data(), options, run)?;
        let vectors = bpr::item_vectors(&sage, &graph, input.vectors.data())?;
        let mut recipe = Recipe::new("graph-rq-vae", self.vae.options());
        recipe.decoder = Activation::Sigmoid;
        let book = recipe.fit(vectors.view(), run)?;
        Ok(GraphRqVaeCodebook::new(sage, book))
    }
}

/// The graph of the training histories.
///
/// Errors: no catalogue, another number of items than vectors, an item that is not there.
fn graph_of(input: &QuantizerInput<'_>) -> Result<Means> {
    let items = input.vectors.rows();
    let catalogue = input.catalogue.ok_or_else(|| {
        Error::mismatch(
            "graph-rq-vae reads the training histories, and none are given with these vectors",
        )
    })?;
    if catalogue.items.len() != items {
        return Err(Error::mismatch(format!(
            "graph-rq-vae: {items} vectors for {} items",
            catalogue.items.len()
        )));
    }
    if let Some(item) = catalogue.train.all_items().iter().find(|i| i.index() >= items) {
        return Err(Error::mismatch(format!(
            "graph-rq-vae: a history has item {}, the catalogue has {items}",
            item.0
        )));
    }
    Ok(Means::new(catalogue.train, items))
}

impl Quantizer for GraphRqVae {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(self.fit_graph(input, run)?))
    }
}
