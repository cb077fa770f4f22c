//! Sequence models that score the next code or the next item, and the recommenders made of them.
//!
//! | backbone | file | output | trained on |
//! |---|---|---|---|
//! | `tiger` | [`tiger`] | codes | encoder-decoder, one or every target of a history |
//! | `causal` | [`causal`] | codes | decoder-only, every position in one pass |
//! | `rpg` | [`rpg`] | codes | all codes of the next item at once, every position in one pass |
//! | `sasrec` | [`sasrec`] | items | dense retriever, every position in one pass |
//! | `hstu` | [`hstu`] | items | dense retriever with SiLU attention, every position in one pass |
//!
//! Each has a twin in [`plain`]: the same network in candle operations, for GPUs and as
//! the oracle.

pub mod causal;
pub mod hstu;
pub mod plain;
pub mod recommend;
pub mod rpg;
pub mod sasrec;
pub mod sets;
pub mod tiger;

mod dense;
mod transformer;

pub use plain::{CandleBackbone, CandleContext};
pub use recommend::{DenseRecommender, GenerativeRecommender, MostPopular};
pub use sets::{QueryDecoder, SetModel, SetRecommender};

use sidereal_core::{Catalog, Error, Matrix, Result, SidTable};
use sidereal_decoding::CodeScorer;
use sidereal_nn::kernels::activation::Activation;
use sidereal_nn::layers::{Bias, FeedForwardShape};
use sidereal_nn::{Bag, Batch, Model, Workspace};
use std::sync::Arc;

/// How a backbone names items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// It scores the next code: decode with [`Backbone::session`].
    Codes,
    /// It gives query vectors to compare with its item vectors: [`Backbone::queries`].
    Items,
}

/// A sequence model. The model stays shared and immutable while decoding; each session owns its
/// caches.
pub trait Backbone: Model {
    /// How items come out.
    fn output(&self) -> Output;

    /// The longest history it can read, in items.
    fn max_history(&self) -> usize;

    /// A decoding session over the rows of `batch` (targets are ignored).
    fn session<'a>(&'a self, _batch: &Batch) -> Result<Box<dyn CodeScorer + 'a>> {
        Err(Error::mismatch("this backbone gives item vectors, not codes: it cannot be decoded"))
    }

    /// One query vector a row of `batch`: shape `B x D`; scores are dot products with
    /// [`Backbone::item_vectors`].
    fn queries(&self, _batch: &Batch) -> Result<Matrix> {
        Err(Error::mismatch("this backbone gives codes, not query vectors: decode it"))
    }

    /// Item vectors, `N x D` row-major, for [`Output::Items`].
    fn item_vectors(&self) -> Result<&[f32]> {
        Err(Error::mismatch("this backbone has no item vectors"))
    }

    /// The model's side, for the trainer.
    fn as_model(&self) -> &dyn Model;

    /// The model's side, for the trainer.
    fn as_model_mut(&mut self) -> &mut dyn Model;
}

/// What a backbone is built for. The vocabulary comes from the finished table.
#[derive(Debug, Clone)]
pub struct BackboneContext {
    /// The SID table; `None` for dense retrievers.
    pub sids: Option<Arc<SidTable>>,
    /// Number of items N.
    pub n_items: usize,
    /// Seed of the initial weights.
    pub seed: u64,
}

impl BackboneContext {
    /// The table, or an error that says which sections are missing.
    pub fn table(&self) -> Result<&Arc<SidTable>> {
        self.sids.as_ref().ok_or_else(|| {
            Error::config(
                "backbone.type",
                "this backbone generates semantic IDs and needs [encoder], [quantizer] and [identifier]",
            )
        })
    }

    /// The table and the one length of all its IDs.
    pub fn fixed_length_table(&self) -> Result<(&Arc<SidTable>, usize)> {
        let table = self.table()?;
        let levels = table.fixed_len().filter(|&l| l > 0).ok_or_else(|| {
            Error::mismatch("this backbone needs semantic IDs of one length; the table has several")
        })?;
        Ok((table, levels))
    }
}

/// Refuses an ID that the levels of a model, of so many codes each, cannot read.
fn check_codes(sid: &[u32], widths: &[usize]) -> Result<()> {
    let fits = sid.len() == widths.len() && sid.iter().zip(widths).all(|(&c, &w)| (c as usize) < w);
    match fits {
        true => Ok(()),
        false => Err(Error::mismatch(format!(
            "the model reads IDs with levels of {widths:?} codes, got {sid:?}"
        ))),
    }
}

fn at_least_one(key: &str, value: usize) -> Result<()> {
    if value == 0 {
        return Err(Error::config(format!("backbone.{key}"), "0; allowed: 1 and up"));
    }
    Ok(())
}

fn dropout_in_range(rate: f32) -> Result<()> {
    if !(0.0..1.0).contains(&rate) {
        return Err(Error::config("backbone.dropout", format!("{rate}; allowed: 0 to below 1")));
    }
    Ok(())
}

fn buckets_in_range(buckets: usize, max_distance: usize) -> Result<()> {
    if buckets < 4 || !buckets.is_multiple_of(2) {
        let message = format!("{buckets}; allowed: even numbers from 4");
        return Err(Error::config("backbone.buckets", message));
    }
    if max_distance <= buckets / 2 {
        let message = format!("{max_distance}; allowed: above {} (half of buckets)", buckets / 2);
        return Err(Error::config("backbone.max_distance", message));
    }
    Ok(())
}

/// The feed-forward that `mlp_layers`, `mlp_bias` and `gate` describe.
fn feed_forward(
    hidden: usize,
    hidden_layers: usize,
    biased: bool,
    gate: &str,
) -> Result<FeedForwardShape> {
    let gate = match gate {
        "none" => None,
        "gelu" => Some(Activation::GeluTanh),
        "silu" => Some(Activation::Silu),
        other => {
            let message = format!("`{other}`; allowed: \"none\", \"gelu\", \"silu\"");
            return Err(Error::config("backbone.gate", message));
        }
    };
    if gate.is_some() && hidden_layers != 1 {
        let message = format!("{hidden_layers}; allowed: 1 where backbone.gate is set");
        return Err(Error::config("backbone.mlp_layers", message));
    }
    let bias = if biased && gate.is_none() { Bias::With } else { Bias::Without };
    Ok(FeedForwardShape { hidden, hidden_layers, bias, gate })
}

/// A worker's activations and bag; they must come from the model's own `workspace`.
fn scratch_of<S: 'static>(workspace: &mut Workspace) -> Result<(&mut S, &mut Bag)> {
    let Workspace { bag, scratch } = workspace;
    match scratch.downcast_mut::<S>() {
        Some(scratch) => Ok((scratch, bag)),
        None => Err(Error::mismatch("the workspace belongs to another model")),
    }
}

/// Registers the backbones of this crate.
pub fn register(catalog: &mut Catalog<dyn Backbone, BackboneContext>) -> Result<()> {
    tiger::register(catalog)?;
    causal::register(catalog)?;
    rpg::register(catalog)?;
    sasrec::register(catalog)?;
    hstu::register(catalog)
}
