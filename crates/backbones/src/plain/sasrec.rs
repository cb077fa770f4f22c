//! [`crate::sasrec`] in candle operations; the paper and the conventions stand there.

use super::grid::{Grid, index};
use super::ops::{Gate, Heads, Norm};
use super::stack::Shape;
use super::view::View;
use super::{CandleBackbone, CandleContext};
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
        let lens: Vec<usize> = (0..batch.rows()).map(|r| batch.history(r).len()).collect();
        if lens.iter().any(|&len| len > o.max_history) {
            return Err(fault(Error::mismatch("a history is longer than backbone.max_history")));
        }
        if let Some(bad) = batch.items.iter().find(|i| i.index() >= self.n_items) {
            let message = format!("item {} of {} items", bad.0, self.n_items);
            return Err(fault(Error::mismatch(message)));
        }
        let width = o.d_model / o.heads;
        let scale = 1.0 / (width as f64).sqrt();
        let stack = Shape {
            prefix: "layers",
            layers: o.layers,
            heads: Heads { count: o.heads, width, scale },
            hidden_layers: 1,
            gate: Gate::None,
            norm: Norm::Layer,
            mask: Mask::Causal,
            relative: None,
            site: 0,
        };
        let ids: Vec<u32> = batch.items.iter().map(|i| i.0).collect();
        let places: Vec<u32> = lens.iter().flat_map(|&len| 0..len as u32).collect();
        let grid = Grid::new(&lens);
        let gather =
            |name, rows: &[u32]| w.get(name)?.index_select(&grid.ids(rows, w.device())?, 0);
        let x = (gather("items.weight", &ids)? + gather("positions.weight", &places)?)?;
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
        if batch.targets.iter().any(|t| t.position == 0) {
            let refusal = "a dense query needs at least one history item";
            return Err(fault(Error::mismatch(refusal)));
        }
        let field = |tensor| vec![candle::Output { name: "query", level: 0, tensor }];
        if batch.targets.is_empty() {
            let shape = (0, self.options.d_model);
            return Ok(field(Tensor::zeros(shape, candle_core::DType::F32, w.device())?));
        }
        let (states, grid) = self.run(w, batch, Dropout::new(self.options.dropout, pass))?;
        let row = |t: &sidereal_nn::Target| {
            grid.places[(batch.item_offsets[t.row as usize] + t.position) as usize - 1]
        };
        let rows = index(batch.targets.iter().map(row).collect(), w.device())?;
        Ok(field(states.index_select(&rows, 0)?))
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
        super::last_states(&states, &grid, batch, self.options.d_model)
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
