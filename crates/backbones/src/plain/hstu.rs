//! [`crate::hstu`] in candle operations; the paper and the conventions stand there. Scores of all
//! pairs of a padded batch are kept, so memory grows with the square of the length.

use super::grid::{Grid, index};
use super::view::View;
use super::{CandleBackbone, CandleContext};
use crate::dense::Histories;
use crate::hstu::{Hstu, HstuOptions, OUTPUT_ROWS};
use crate::{Backbone, Output};
use candle_core::{D, Tensor};
use sidereal_core::{Catalog, Entry, Error, Matrix, Result};
use sidereal_nn::bag::ItemMatrix;
use sidereal_nn::candle::{self, CandleModel, Network, Weights, fault};
use sidereal_nn::hstu::TIME_BUCKETS;
use sidereal_nn::kernels::attention::{Mask, Span};
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::silu_attention::{next_times, time_bucket};
use sidereal_nn::{Batch, Device, Model, Pass, Slot};

/// The network.
#[derive(Debug, Clone)]
pub struct HstuNetwork {
    options: HstuOptions,
    n_items: usize,
    items: Slot,
}

impl HstuNetwork {
    /// A model with the weights that [`Hstu::new`] starts with.
    pub fn model(
        options: HstuOptions,
        n_items: usize,
        seed: u64,
        device: Device,
    ) -> Result<CandleModel<Self>> {
        let params = Hstu::new(options.clone(), n_items, seed)?.params().clone();
        let items = params.info("items.weight").map(|i| i.slot);
        let items = items.ok_or_else(|| Error::mismatch("hstu has no `items.weight`"))?;
        CandleModel::on(device, HstuNetwork { options, n_items, items }, params)
    }

    fn max_length(&self) -> usize {
        self.options.max_history + OUTPUT_ROWS
    }

    /// Rows of the histories, checked like the fused model's.
    fn rows(&self, batch: &Batch) -> Result<Histories> {
        let mut rows = Histories::default();
        rows.fill(batch, self.options.max_history, self.n_items)?;
        if !batch.times.is_empty() && batch.times.len() != rows.ids.len() {
            let (times, n) = (batch.times.len(), rows.ids.len());
            return Err(Error::mismatch(format!("{times} times for {n} history items")));
        }
        Ok(rows)
    }

    /// Rows of the tables of biases: `len * len` of the position table, shared by all groups, and
    /// with times `groups * len * len` of the time table. Hidden pairs read row 0.
    fn bias_rows(&self, batch: &Batch, spans: &[Span], len: usize) -> (Vec<u32>, Vec<u32>) {
        let mut position = vec![0u32; len * len];
        for i in 0..len.min(self.max_length()) {
            for j in 0..=i {
                position[i * len + j] = (self.max_length() + j - i - 1) as u32;
            }
        }
        if batch.times.is_empty() {
            return (position, Vec::new());
        }
        let mut queries = batch.times.clone();
        next_times(&mut queries, spans);
        let mut time = vec![0u32; spans.len() * len * len];
        for (g, span) in spans.iter().enumerate() {
            for i in 0..span.q_len {
                for j in 0..=i {
                    let (query, key) = (queries[span.q + i], batch.times[span.k + j]);
                    time[(g * len + i) * len + j] = time_bucket(query, key, TIME_BUCKETS) as u32;
                }
            }
        }
        (position, time)
    }

    /// States of the rows of the padded batch.
    fn run(
        &self,
        w: &Weights,
        batch: &Batch,
        dropout: Dropout,
    ) -> candle_core::Result<(Tensor, Grid)> {
        let o = &self.options;
        let rows = self.rows(batch).map_err(fault)?;
        let lens = rows.lens();
        let grid = Grid::new(&lens);
        let (groups, len) = (grid.groups, grid.len);
        let gather = |name, ids: &[u32]| w.get(name)?.index_select(&grid.ids(ids, w.device())?, 0);
        let items = (gather("items.weight", &rows.ids)? * (o.d_model as f64).sqrt())?;
        let x = (items + gather("positions.weight", &rows.places)?)?;
        let mut x = grid.drop(x, dropout, 0)?;
        let view = View::of_itself(&lens, len, Mask::Causal);
        let share = (view.visible(w.device())? / self.max_length() as f64)?;
        let (position, time) = self.bias_rows(batch, &rows.spans, len);
        let position = index(position, w.device())?;
        let time = if time.is_empty() { None } else { Some(index(time, w.device())?) };
        let (gate, qk) = (o.heads * o.d_v, o.heads * o.d_qk);
        for i in 0..o.layers {
            let weight = |name: &str| w.get(&format!("layers.{i}.{name}"));
            let uvqk = norm(&x)?.matmul(&weight("uvqk.weight")?.t()?)?.silu()?;
            let heads = |at: usize, width: usize| {
                let part = uvqk.narrow(1, at, o.heads * width)?.contiguous()?;
                part.reshape((groups, len, o.heads, width))?.transpose(1, 2)?.contiguous()
            };
            let (v, q, k) =
                (heads(gate, o.d_v)?, heads(2 * gate, o.d_qk)?, heads(2 * gate + qk, o.d_qk)?);
            let table = weight("position.weight")?.index_select(&position, 0)?;
            let mut scores = q.matmul(&k.t()?)?.broadcast_add(&table.reshape((1, 1, len, len))?)?;
            if let Some(time) = &time {
                let table = weight("time.weight")?.index_select(time, 0)?;
                scores = scores.broadcast_add(&table.reshape((groups, 1, len, len))?)?;
            }
            let attended = scores.silu()?.broadcast_mul(&share)?.matmul(&v)?;
            let attended = attended.transpose(1, 2)?.contiguous()?.reshape((groups * len, gate))?;
            let gated = (norm(&attended)? * uvqk.narrow(1, 0, gate)?.contiguous()?)?;
            let gated = grid.drop(gated, dropout, 1 + i as u32)?;
            let y = gated.matmul(&weight("output.weight")?.t()?)?;
            x = (x + y.broadcast_add(weight("output.bias")?)?)?;
        }
        Ok((x, grid))
    }
}

/// LayerNorm without weights, epsilon 1e-6.
fn norm(x: &Tensor) -> candle_core::Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let square = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred.broadcast_div(&(square + 1e-6)?.sqrt()?)
}

impl Network for HstuNetwork {
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

impl CandleBackbone for HstuNetwork {
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
        "hstu",
        env!("CARGO_PKG_NAME"),
        "The network of `hstu` in candle operations.",
        |options: HstuOptions, context: &CandleContext| {
            let (n_items, seed) = (context.backbone.n_items, context.backbone.seed);
            let model = HstuNetwork::model(options, n_items, seed, context.device)?;
            Ok(Box::new(model) as Box<dyn Backbone>)
        },
    ))
}
