//! [`crate::causal`] in candle operations; the conventions stand there.

use super::grid::Grid;
use super::head::Head;
use super::ops::{Gate, Heads, Norm};
use super::stack::Shape;
use super::view::View;
use super::{CandleBackbone, CandleContext};
use crate::causal::{Causal, CausalOptions};
use crate::{Backbone, Output};
use candle_core::Tensor;
use sidereal_core::{Catalog, Entry, Error, Result};
use sidereal_decoding::{CodeScorer, Row};
use sidereal_nn::candle::{self, CandleModel, Network, Weights, fault};
use sidereal_nn::kernels::attention::Mask;
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::{Batch, Device, Model, Pass};

/// The network.
#[derive(Debug, Clone)]
pub struct CausalNetwork {
    options: CausalOptions,
    /// Codes of each level.
    widths: Vec<u32>,
    head: Head,
}

impl CausalNetwork {
    /// A model with the weights that [`Causal::new`] starts with.
    pub fn model(
        options: CausalOptions,
        widths: &[u32],
        seed: u64,
        device: Device,
    ) -> Result<CandleModel<Self>> {
        let params = Causal::new(options.clone(), widths, seed)?.params().clone();
        let mut rows = 0;
        let mut level = |&width: &u32| {
            rows += width as usize;
            rows - width as usize..rows
        };
        let levels = widths.iter().map(&mut level).collect();
        let head = Head { kind: options.head.clone(), levels, tokens: rows + 1 };
        CandleModel::on(device, CausalNetwork { options, widths: widths.to_vec(), head }, params)
    }

    /// Table row of code 0 of a level; one level behind the last is the start vector.
    fn first_row(&self, level: usize) -> u32 {
        self.widths[..level].iter().sum()
    }

    /// Digit rows, then the start vector.
    fn table(&self, w: &Weights) -> candle_core::Result<Tensor> {
        Tensor::cat(&[w.get("shared.weight")?, w.get("start")?], 0)
    }

    fn push_digits(&self, codes: &[u32], take: usize, ids: &mut Vec<u32>) -> Result<()> {
        let fits =
            codes.len() == self.widths.len() && codes.iter().zip(&self.widths).all(|(c, w)| c < w);
        if !fits {
            return Err(Error::mismatch(format!(
                "the model reads IDs with levels of {:?} codes, got {codes:?}",
                self.widths
            )));
        }
        ids.extend(codes.iter().take(take).enumerate().map(|(h, c)| self.first_row(h) + c));
        Ok(())
    }

    /// Start vector and history of a row.
    fn push_history(&self, batch: &Batch, row: usize, ids: &mut Vec<u32>) -> Result<()> {
        ids.push(self.first_row(self.widths.len()));
        batch
            .history_range(row)
            .try_for_each(|i| self.push_digits(batch.item_codes(i), self.widths.len(), ids))
    }

    /// Tokens of all rows and their number in each, and for each target the packed token before
    /// its first digit.
    fn input(&self, batch: &Batch) -> Result<Input> {
        let (digits, mut input) = (self.widths.len(), Input::default());
        let mut targets = batch.targets.iter().enumerate().peekable();
        for row in 0..batch.rows() {
            let (start, history) = (input.ids.len(), batch.history(row));
            self.push_history(batch, row, &mut input.ids)?;
            let mut last = false;
            while let Some((t, target)) = targets.next_if(|(_, t)| t.row as usize == row) {
                let seen = target.position as usize;
                input.before.push(start + seen * digits);
                let inside = history.get(seen).is_some_and(|next| *next == target.item);
                if !inside && !last && seen == history.len() {
                    self.push_digits(batch.target_sid(t), digits - 1, &mut input.ids)?;
                    last = true;
                } else if !inside {
                    return Err(Error::mismatch(
                        "a target inside a history must be the item that stands there",
                    ));
                }
            }
            input.lens.push(input.ids.len() - start);
        }
        Ok(input)
    }

    /// States of all rows of the padded batch.
    fn run(
        &self,
        w: &Weights,
        ids: &[u32],
        lens: &[usize],
        dropout: Dropout,
    ) -> candle_core::Result<(Tensor, Grid)> {
        let o = &self.options;
        let learned = o.positions == "learned";
        let scale = if learned { 1.0 / (o.d_kv as f64).sqrt() } else { 1.0 };
        let stack = Shape {
            prefix: "decoder",
            layers: o.layers,
            heads: Heads { count: o.heads, width: o.d_kv, scale },
            hidden_layers: o.mlp_layers,
            gate: Gate::named(&o.gate),
            norm: Norm::Rms,
            mask: Mask::Causal,
            relative: (!learned).then_some((o.buckets, o.max_distance)),
            site: 0,
        };
        let grid = Grid::new(lens);
        let view = View::of_itself(lens, grid.len, Mask::Causal);
        let mut x = self.table(w)?.index_select(&grid.ids(ids, w.device())?, 0)?;
        if learned {
            let places: Vec<u32> = lens.iter().flat_map(|&len| 0..len as u32).collect();
            let places = grid.ids(&places, w.device())?;
            x = (x + w.get("positions.weight")?.index_select(&places, 0)?)?;
        }
        Ok((stack.forward(w, x, &grid, &view, None, dropout)?, grid))
    }
}

#[derive(Default)]
struct Input {
    ids: Vec<u32>,
    lens: Vec<usize>,
    before: Vec<usize>,
}

impl Network for CausalNetwork {
    fn outputs(
        &self,
        w: &Weights,
        batch: &Batch,
        pass: Pass,
    ) -> candle_core::Result<Vec<candle::Output>> {
        let input = self.input(batch).map_err(fault)?;
        let field = |level, tensor| candle::Output { name: "logits", level, tensor };
        if input.before.is_empty() {
            let none = |level| {
                let shape = (0, self.head.cols(level));
                Ok(field(level, Tensor::zeros(shape, candle_core::DType::F32, w.device())?))
            };
            return (0..self.widths.len()).map(none).collect();
        }
        let dropout = Dropout::new(self.options.dropout, pass);
        let (states, grid) = self.run(w, &input.ids, &input.lens, dropout)?;
        let table = self.table(w)?;
        (0..self.widths.len())
            .map(|level| {
                let rows = input.before.iter().map(|b| grid.places[b + level]).collect();
                Ok(field(level, self.head.scores(w, &table, &states, rows, level)?))
            })
            .collect()
    }
}

impl CandleBackbone for CausalNetwork {
    fn output(&self) -> Output {
        Output::Codes
    }

    fn max_history(&self) -> usize {
        self.options.max_history
    }

    fn session<'a>(&'a self, weights: Weights, batch: &Batch) -> Result<Box<dyn CodeScorer + 'a>> {
        let mut prompts = Vec::with_capacity(batch.rows());
        for row in 0..batch.rows() {
            let mut ids = Vec::new();
            self.push_history(batch, row, &mut ids)?;
            prompts.push(ids);
        }
        Ok(Box::new(Session { network: self, weights, prompts, prefixes: Vec::new() }))
    }
}

/// Decoding of a batch of requests: history and codes of every beam at every level again.
struct Session<'a> {
    network: &'a CausalNetwork,
    weights: Weights,
    /// Tokens of each request's history.
    prompts: Vec<Vec<u32>>,
    /// Generated tokens of each row of the last step, row after row.
    prefixes: Vec<u32>,
}

impl CodeScorer for Session<'_> {
    fn requests(&self) -> usize {
        self.prompts.len()
    }

    fn levels(&self) -> usize {
        self.network.widths.len()
    }

    fn width(&self, level: usize) -> usize {
        self.network.head.cols(level)
    }

    fn advance(&mut self, level: usize, rows: &[Row], logits: &mut Vec<f32>) -> Result<()> {
        let n = self.network;
        if let Some(before) = level.checked_sub(1) {
            let code = |r: &Row| n.first_row(before) + r.code;
            self.prefixes = super::extended(&self.prefixes, before, rows, code);
        }
        logits.clear();
        if rows.is_empty() {
            return Ok(());
        }
        let (mut ids, mut lens) = (Vec::new(), Vec::new());
        for (r, row) in rows.iter().enumerate() {
            let prompt = &self.prompts[row.request as usize];
            ids.extend_from_slice(prompt);
            ids.extend_from_slice(&self.prefixes[r * level..(r + 1) * level]);
            lens.push(prompt.len() + level);
        }
        let scores = n.run(&self.weights, &ids, &lens, Dropout::none());
        let scores = scores.and_then(|(states, grid)| {
            let last = |(r, len): (usize, &usize)| (r * grid.len + len - 1) as u32;
            let last = lens.iter().enumerate().map(last).collect();
            let (w, table) = (&self.weights, n.table(&self.weights)?);
            n.head.scores(w, &table, &states, last, level)?.flatten_all()?.to_vec1::<f32>()
        });
        logits.extend(scores.map_err(candle::error)?);
        Ok(())
    }
}

pub(crate) fn register(catalog: &mut Catalog<dyn Backbone, CandleContext>) -> Result<()> {
    catalog.add(Entry::new(
        "causal",
        env!("CARGO_PKG_NAME"),
        "The network of `causal` in candle operations.",
        |options: CausalOptions, context: &CandleContext| {
            let (table, _) = context.backbone.fixed_length_table()?;
            let seed = context.backbone.seed;
            let model = CausalNetwork::model(options, table.widths(), seed, context.device)?;
            Ok(Box::new(model) as Box<dyn Backbone>)
        },
    ))
}
