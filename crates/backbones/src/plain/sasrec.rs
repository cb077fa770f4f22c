//! [`crate::sasrec`] in candle operations; the paper and the conventions stand there.

use super::grid::Grid;
use super::stack::Shape;
use super::view::View;
use super::{CandleBackbone, CandleContext};
use crate::dense::Histories;
use crate::sasrec::{Sasrec, SasrecOptions};
use crate::{Backbone, Output};
use candle_core::Tensor;
use sidereal_core::{Catalog, Entry, Error, Matrix, Result};
use sidereal_nn::bag::ItemMatrix;
use sidereal_nn::candle::{self, CandleModel, Network, Weights, fault};
use sidereal_nn::kernels::attention::Mask;
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::{Batch, Device, Model, Pass, Slot};

/// The network.
#[derive(Debug, Clone)]
pub struct SasrecNetwork {
    options: SasrecOptions,
    n_items: usize,
    items: Slot,
}

impl SasrecNetwork {
    /// A model with the weights that [`Sasrec::new`] starts with.
    pub fn model(
        options: SasrecOptions,
        n_items: usize,
        seed: u64,
        device: Device,
    ) -> Result<CandleModel<Self>> {
        let params = Sasrec::new(options.clone(), n_items, seed)?.params().clone();
        let items = params.info("items.weight").map(|i| i.slot);
        let items = items.ok_or_else(|| Error::mismatch("sasrec has no `items.weight`"))?;
        CandleModel::on(device, SasrecNetwork { options, n_items, items }, params)
    }

    /// States of the rows of the padded batch.
    fn run(
        &self,
        w: &Weights,
        batch: &Batch,
        dropout: Dropout,
    ) -> candle_core::Result<(Tensor, Grid)> {
        let o = &self.options;
        let mut rows = Histories::default();
        rows.fill(batch, o.max_history, self.n_items).map_err(fault)?;
        let lens = rows.lens();
        let stack = Shape::of_items(o.layers, o.heads, o.d_model / o.heads);
        let grid = Grid::new(&lens);
        let gather = |name, ids: &[u32]| w.get(name)?.index_select(&grid.ids(ids, w.device())?, 0);
        let x = (gather("items.weight", &rows.ids)? + gather("positions.weight", &rows.places)?)?;
        let view = View::of_itself(&lens, grid.len, Mask::Causal);
        Ok((stack.forward(w, x, &grid, &view, None, dropout)?, grid))
    }
}

impl Network for SasrecNetwork {
    fn outputs(
        &self,
        w: &Weights,
        batch: &Batch,
        pass: Pass,
    ) -> candle_core::Result<Vec<candle::Output>> {
        let (states, grid) = self.run(w, batch, Dropout::new(self.options.dropout, pass))?;
        super::target_states(batch, &states, &grid)
    }

    fn items(&self) -> Option<ItemMatrix> {
        Some(ItemMatrix { slot: self.items, rows: self.n_items, cols: self.options.d_model })
    }
}

impl CandleBackbone for SasrecNetwork {
    fn output(&self) -> Output {
        Output::Items
    }

    fn max_history(&self) -> usize {
        self.options.max_history
    }

    fn queries(&self, weights: &Weights, batch: &Batch) -> Result<Matrix> {
        let (states, grid) = self.run(weights, batch, Dropout::none()).map_err(candle::error)?;
        super::row_states(batch, &states, &grid)
    }
}

pub(crate) fn register(catalog: &mut Catalog<dyn Backbone, CandleContext>) -> Result<()> {
    catalog.add(Entry::new(
        "sasrec",
        env!("CARGO_PKG_NAME"),
        "The network of `sasrec` in candle operations.",
        |options: SasrecOptions, context: &CandleContext| {
            let (n_items, seed) = (context.backbone.n_items, context.backbone.seed);
            let model = SasrecNetwork::model(options, n_items, seed, context.device)?;
            Ok(Box::new(model) as Box<dyn Backbone>)
        },
    ))
}
