//! [`crate::rpg`] in candle operations; the paper and the conventions stand there.

use super::grid::{Grid, index};
use super::ops::linear;
use super::stack::Shape;
use super::view::View;
use super::{CandleBackbone, CandleContext};
use crate::dense::{Histories, target_rows};
use crate::rpg::{Rpg, RpgOptions, input};
use crate::{Backbone, Output};
use candle_core::{D, DType, Tensor};
use sidereal_core::{Catalog, Entry, Result};
use sidereal_decoding::{CodeScorer, Levels};
use sidereal_nn::candle::{self, CandleModel, Network, Weights, fault};
use sidereal_nn::directions::TINY;
use sidereal_nn::kernels::attention::Mask;
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::{Batch, Device, Model, Pass};

/// The network.
#[derive(Debug, Clone)]
pub struct RpgNetwork {
    options: RpgOptions,
    widths: Vec<usize>,
}

impl RpgNetwork {
    /// A model with the weights that [`Rpg::new`] starts with.
    pub fn model(
        options: RpgOptions,
        widths: &[u32],
        seed: u64,
        device: Device,
    ) -> Result<CandleModel<Self>> {
        let params = Rpg::new(options.clone(), widths, seed)?.params().clone();
        let widths = widths.iter().map(|&w| w as usize).collect();
        CandleModel::on(device, RpgNetwork { options, widths }, params)
    }

    /// States of the rows of the padded batch.
    fn run(
        &self,
        w: &Weights,
        batch: &Batch,
        dropout: Dropout,
    ) -> candle_core::Result<(Tensor, Grid)> {
        let o = &self.options;
        let (mut rows, mut codes) = (Histories::default(), Vec::new());
        input(batch, o.max_history, &self.widths, &mut rows, &mut codes).map_err(fault)?;
        let lens = rows.lens();
        let stack = Shape::of_items(o.layers, o.heads, o.d_model / o.heads);
        let grid = Grid::new(&lens);
        let places = grid.ids(&rows.places, w.device())?;
        let mut x = w.get("positions.weight")?.index_select(&places, 0)?;
        let (levels, table) = (self.widths.len(), w.get("codes.weight")?);
        for level in 0..levels {
            let own: Vec<u32> = codes.iter().skip(level).step_by(levels).copied().collect();
            let vectors = table.index_select(&grid.ids(&own, w.device())?, 0)?;
            x = (x + (vectors / levels as f64)?)?;
        }
        let view = View::of_itself(&lens, grid.len, Mask::Causal);
        Ok((stack.forward(w, x, &grid, &view, None, dropout)?, grid))
    }

    /// Scores of all levels for `states`, one tensor `rows x codes` a level.
    fn scores(&self, w: &Weights, states: &Tensor) -> candle_core::Result<Vec<Tensor>> {
        let table = w.get("codes.weight")?;
        let mut first = 0;
        let level = |(h, &codes): (usize, &usize)| {
            let name = format!("heads.{h}");
            let before = linear(w, states, &name)?;
            let g = direction(&(states + before.silu()?)?)?;
            let own = direction(&table.narrow(0, first, codes)?)?;
            first += codes;
            g.matmul(&own.t()?)? / f64::from(self.options.temperature)
        };
        self.widths.iter().enumerate().map(level).collect()
    }
}

/// Rows of length 1; those without a direction are zero.
fn direction(x: &Tensor) -> candle_core::Result<Tensor> {
    let squares = x.sqr()?.sum_keepdim(D::Minus1)?;
    let alive = squares.gt(TINY * TINY)?.to_dtype(DType::F32)?;
    let safe = (squares * &alive)?.broadcast_add(&(1.0 - &alive)?)?;
    x.broadcast_mul(&alive.div(&safe.sqrt()?)?)
}

impl Network for RpgNetwork {
    fn outputs(
        &self,
        w: &Weights,
        batch: &Batch,
        pass: Pass,
    ) -> candle_core::Result<Vec<candle::Output>> {
        let (states, grid) = self.run(w, batch, Dropout::new(self.options.dropout, pass))?;
        let mut rows = Vec::new();
        target_rows(batch, &mut rows).map_err(fault)?;
        rows.iter_mut().for_each(|row| *row = grid.places[*row as usize]);
        let field = |(level, tensor)| candle::Output { name: "logits", level, tensor };
        if rows.is_empty() {
            let none = |codes: &usize| Tensor::zeros((0, *codes), DType::F32, w.device());
            let none = self.widths.iter().map(none).collect::<candle_core::Result<Vec<_>>>()?;
            return Ok(none.into_iter().enumerate().map(field).collect());
        }
        let states = states.index_select(&index(rows, w.device())?, 0)?;
        Ok(self.scores(w, &states)?.into_iter().enumerate().map(field).collect())
    }
}

impl CandleBackbone for RpgNetwork {
    fn output(&self) -> Output {
        Output::Codes
    }

    fn max_history(&self) -> usize {
        self.options.max_history
    }

    fn session<'a>(&'a self, weights: Weights, batch: &Batch) -> Result<Box<dyn CodeScorer + 'a>> {
        let (states, grid) = self.run(&weights, batch, Dropout::none()).map_err(candle::error)?;
        let states = super::row_states(batch, &states, &grid)?;
        let (rows, cols) = (states.rows(), states.cols());
        let scores = || {
            let states = Tensor::from_slice(states.data(), (rows, cols), weights.device())?;
            let flat = |t: Tensor| t.flatten_all()?.to_vec1::<f32>();
            self.scores(&weights, &states)?
                .into_iter()
                .map(flat)
                .collect::<candle_core::Result<Vec<_>>>()
        };
        let levels = match rows {
            0 => vec![Vec::new(); self.widths.len()],
            _ => scores().map_err(candle::error)?,
        };
        Ok(Box::new(Levels::new(rows, levels)?))
    }
}

pub(crate) fn register(catalog: &mut Catalog<dyn Backbone, CandleContext>) -> Result<()> {
    catalog.add(Entry::new(
        "rpg",
        env!("CARGO_PKG_NAME"),
        "The network of `rpg` in candle operations.",
        |options: RpgOptions, context: &CandleContext| {
            let (table, _) = context.backbone.fixed_length_table()?;
            let seed = context.backbone.seed;
            let model = RpgNetwork::model(options, table.widths(), seed, context.device)?;
            Ok(Box::new(model) as Box<dyn Backbone>)
        },
    ))
}
