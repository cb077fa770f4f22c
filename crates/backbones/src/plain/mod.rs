//! The backbones in plain candle operations: what the fused blocks must equal, and how models run
//! on a GPU.
//!
//! A network here reads the parameters of its fused twin (same names, shapes and order, so weights
//! and checkpoints are interchangeable) and draws the same dropout masks, so the two agree in
//! training mode too. Sequences are padded to the longest of a micro-batch; masks hide the padding.
//!
//! | file | holds |
//! |---|---|
//! | `grid` | places of packed rows in a padded batch, dropout masks of rows |
//! | `view` | which queries see which keys, dropout masks of attention weights |
//! | `ops` | norms, matrices, attention, position biases |
//! | `stack` | the pre-norm blocks |
//! | `head` | scores of codes |
//! | `tiger`, `causal`, `rpg`, `sasrec`, `hstu` | the networks |
//!
//! Cost: dropout masks are drawn on the processor and uploaded as bytes, one for each value and
//! attention weight; at full size that is most of a training step on a fast GPU. Sessions compute
//! the whole prefix of every beam again at each level (`causal`: the history too).

mod causal;
mod grid;
mod head;
mod hstu;
mod ops;
mod rpg;
mod sasrec;
mod stack;
mod tiger;
mod view;

pub use causal::CausalNetwork;
pub use hstu::HstuNetwork;
pub use rpg::RpgNetwork;
pub use sasrec::SasrecNetwork;
pub use tiger::TigerNetwork;

use crate::dense::{last_states, target_rows};
use crate::{Backbone, BackboneContext, Output};
use candle_core::Tensor;
use grid::Grid;
use sidereal_core::{Catalog, Error, Matrix, Result};
use sidereal_decoding::{CodeScorer, Row};
use sidereal_nn::candle::{self, CandleModel, Network, Weights, error, fault};
use sidereal_nn::{Batch, Device, Model};

/// A network that recommends: with it, a [`CandleModel`] is a [`Backbone`].
pub trait CandleBackbone: Network {
    /// How items come out.
    fn output(&self) -> Output;

    /// The longest history it can read, in items.
    fn max_history(&self) -> usize;

    /// See [`Backbone::session`].
    fn session<'a>(
        &'a self,
        _weights: Weights,
        _batch: &Batch,
    ) -> Result<Box<dyn CodeScorer + 'a>> {
        Err(Error::mismatch("this backbone gives item vectors, not codes: it cannot be decoded"))
    }

    /// See [`Backbone::queries`]; the item vectors are those of [`Network::items`].
    fn queries(&self, _weights: &Weights, _batch: &Batch) -> Result<Matrix> {
        Err(Error::mismatch("this backbone gives codes, not query vectors: decode it"))
    }
}

impl<N: CandleBackbone> Backbone for CandleModel<N> {
    fn output(&self) -> Output {
        self.network().output()
    }

    fn max_history(&self) -> usize {
        self.network().max_history()
    }

    fn session<'a>(&'a self, batch: &Batch) -> Result<Box<dyn CodeScorer + 'a>> {
        self.network().session(self.weights()?, batch)
    }

    fn queries(&self, batch: &Batch) -> Result<Matrix> {
        self.network().queries(&self.weights()?, batch)
    }

    fn item_vectors(&self) -> Result<&[f32]> {
        match self.network().items() {
            Some(items) => Ok(items.slot.of(self.params().values())),
            None => Err(Error::mismatch("this backbone has no item vectors")),
        }
    }

    fn as_model(&self) -> &dyn Model {
        self
    }

    fn as_model_mut(&mut self) -> &mut dyn Model {
        self
    }
}

/// What a network is built for.
#[derive(Debug, Clone)]
pub struct CandleContext {
    /// What every backbone is built for.
    pub backbone: BackboneContext,
    /// Where it runs.
    pub device: Device,
}

/// Registers the networks of this crate, under the names of their fused twins.
pub fn register(catalog: &mut Catalog<dyn Backbone, CandleContext>) -> Result<()> {
    tiger::register(catalog)?;
    causal::register(catalog)?;
    rpg::register(catalog)?;
    sasrec::register(catalog)?;
    hstu::register(catalog)
}

/// Output of a dense retriever in training: the states that stand for the targets, as `query`.
fn target_states(
    batch: &Batch,
    states: &Tensor,
    grid: &Grid,
) -> candle_core::Result<Vec<candle::Output>> {
    let mut rows = Vec::new();
    target_rows(batch, &mut rows).map_err(fault)?;
    rows.iter_mut().for_each(|row| *row = grid.places[*row as usize]);
    let tensor = match rows.is_empty() {
        true => states.narrow(0, 0, 0)?,
        false => states.index_select(&grid::index(rows, states.device())?, 0)?,
    };
    Ok(vec![candle::Output { name: "query", level: 0, tensor }])
}

/// Query vectors of a dense retriever.
fn row_states(batch: &Batch, states: &Tensor, grid: &Grid) -> Result<Matrix> {
    let width = states.dim(1).map_err(error)?;
    let values = states.flatten_all().and_then(|t| t.to_vec1::<f32>()).map_err(error)?;
    Ok(last_states(batch, &values, width, |row| grid.places[row] as usize))
}

/// Tokens of each row after a step: those of its parent, `len` of them, and the new one.
fn extended(before: &[u32], len: usize, rows: &[Row], token: impl Fn(&Row) -> u32) -> Vec<u32> {
    let mut tokens = Vec::with_capacity(rows.len() * (len + 1));
    for row in rows {
        tokens.extend_from_slice(&before[row.parent as usize * len..][..len]);
        tokens.push(token(row));
    }
    tokens
}
