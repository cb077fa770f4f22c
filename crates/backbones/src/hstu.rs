//! HSTU (Zhai et al., arXiv 2402.17152) as a dense retriever: blocks of pointwise SiLU attention
//! over items, the last state is a query that is compared with the item vectors.
//!
//! Input: `sqrt(d)` times the item vector plus a learned position vector (positions count from the
//! oldest item kept), then dropout. Blocks: see [`sidereal_nn::hstu`]. Attention weights are divided
//! by the constant `max_history + 11`, the reference's padded length, and both relative biases
//! belong to each block. The time bias takes part when the batch has times: a query's time is that
//! of the next item, and the last one's its own.
//!
//! The reference scales queries and items to length 1 and divides scores by 0.05: objective
//! `full-softmax` with `normalize = "cosine"` and `temperature = 0.05`; it samples 128 or 512
//! negatives where `full-softmax` takes all items.
//!
//! Deviations: item and position vectors start at normal, not truncated normal, values; recommending
//! compares by dot product; a batch without times loses the time bias only (the reference loses the
//! position bias too).

mod candidates;

pub use candidates::Candidates;

use crate::dense::{Histories, last_states, target_rows};
use crate::{Backbone, BackboneContext, Output};
use sidereal_core::{Catalog, Entry, Error, Matrix, Result, options};
use sidereal_nn::bag::ItemMatrix;
use sidereal_nn::hstu::{HstuBlock, HstuPass, HstuShape, HstuState, RelativeTables, Times};
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::embedding;
use sidereal_nn::kernels::math::size;
use sidereal_nn::kernels::silu_attention::next_times;
use sidereal_nn::{Batch, Init, Model, Params, Pass, Slot, Workspace};

options! {
    /// Options of `hstu`.
    pub struct HstuOptions {
        /// Width of the model and of the item vectors, 1 and up (paper: 50; large: 256).
        pub d_model: usize = 50,
        /// Blocks, 1 and up (paper: 2; large: 8 to 16).
        pub layers: usize = 2,
        /// Attention heads, 1 and up (paper: 1; large: 2 to 8).
        pub heads: usize = 1,
        /// Width of a head's queries and keys, 1 and up (paper: 50; large: 8 to 32).
        pub d_qk: usize = 50,
        /// Width of a head's values and gates, 1 and up (paper: 50; large: 8 to 32).
        pub d_v: usize = 50,
        /// Dropout, 0 to below 1 (paper: 0.2; Books: 0.5).
        pub dropout: f32 = 0.2,
        /// Most recent items kept, 1 and up (paper: 200; Books: 50).
        pub max_history: usize = 200,
    }
}

/// Rows that the reference adds behind a history for its output.
pub(crate) const OUTPUT_ROWS: usize = 11;

/// The model.
#[derive(Debug, Clone)]
pub struct Hstu {
    options: HstuOptions,
    params: Params,
    n_items: usize,
    items: Slot,
    positions: Slot,
    blocks: Vec<HstuBlock>,
}

impl Hstu {
    /// A model for `n_items` items, with fresh weights.
    pub fn new(options: HstuOptions, n_items: usize, seed: u64) -> Result<Self> {
        for (key, value) in [
            ("d_model", options.d_model),
            ("layers", options.layers),
            ("heads", options.heads),
            ("d_qk", options.d_qk),
            ("d_v", options.d_v),
            ("max_history", options.max_history),
        ] {
            crate::at_least_one(key, value)?;
        }
        crate::dropout_in_range(options.dropout)?;
        let d = options.d_model;
        let mut params = Params::new(seed);
        let items = params.add("items.weight", &[n_items, d], Init::Normal(0.02));
        let spread = Init::Normal((1.0 / d as f32).sqrt());
        let positions = params.add("positions.weight", &[options.max_history, d], spread);
        let shape = HstuShape {
            width: d,
            heads: options.heads,
            qk_width: options.d_qk,
            value_width: options.d_v,
            max_length: options.max_history + OUTPUT_ROWS,
            tables: RelativeTables::PositionAndTime,
        };
        let block = |i| HstuBlock::new(&mut params, &format!("layers.{i}"), shape);
        let blocks = (0..options.layers).map(block).collect();
        Ok(Hstu { options, params, n_items, items, positions, blocks })
    }

    /// Item and position rows of all history items, spans and times of the rows.
    fn input(&self, batch: &Batch, rows: &mut Rows) -> Result<()> {
        rows.histories.fill(batch, self.options.max_history, self.n_items)?;
        let Rows { histories: Histories { ids, spans, .. }, keys, queries } = rows;
        if !batch.times.is_empty() && batch.times.len() != ids.len() {
            let (times, n) = (batch.times.len(), ids.len());
            return Err(Error::mismatch(format!("{times} times for {n} history items")));
        }
        keys.clone_from(&batch.times);
        queries.clone_from(keys);
        if !queries.is_empty() {
            next_times(queries, spans);
        }
        Ok(())
    }

    /// States of all rows into the last of `s.states`.
    fn run(&self, dropout: Dropout, rows: &Rows, s: &mut Hidden) {
        let Histories { ids, places, .. } = &rows.histories;
        let (w, d, n) = (self.params.values(), self.options.d_model, ids.len());
        s.states.resize_with(self.blocks.len() + 1, Vec::new);
        s.blocks.resize_with(self.blocks.len(), HstuState::default);
        s.states.iter_mut().for_each(|x| size(x, n * d));
        size(&mut s.places, n * d);
        embedding::gather(self.items.of(w), d, ids, &mut s.states[0]);
        embedding::gather(self.positions.of(w), d, places, &mut s.places);
        let factor = (d as f32).sqrt();
        s.states[0].iter_mut().zip(&s.places).for_each(|(x, p)| *x = *x * factor + p);
        dropout.apply(0, &mut s.states[0]);
        for (i, block) in self.blocks.iter().enumerate() {
            let (below, above) = s.states.split_at_mut(i + 1);
            let pass = rows.pass(dropout, i);
            block.forward(w, &below[i], n, &pass, &mut s.blocks[i], &mut above[0]);
        }
    }
}

/// What the rows of a micro-batch are.
#[derive(Default)]
struct Rows {
    histories: Histories,
    /// Times of keys and queries; empty without.
    keys: Vec<i64>,
    queries: Vec<i64>,
}

impl Rows {
    /// Block `i`'s pass. Micro-batches have a thread each, so blocks use one.
    fn pass(&self, dropout: Dropout, i: usize) -> HstuPass<'_> {
        let times =
            (!self.keys.is_empty()).then_some(Times { queries: &self.queries, keys: &self.keys });
        HstuPass { spans: &self.histories.spans, times, dropout, site: 1 + i as u32, threads: 1 }
    }
}

#[derive(Default)]
struct Hidden {
    /// Input of each block, and the output of the last.
    states: Vec<Vec<f32>>,
    blocks: Vec<HstuState>,
    places: Vec<f32>,
}

#[derive(Default)]
struct Scratch {
    hidden: Hidden,
    rows: Rows,
    /// State row of each target.
    targets: Vec<u32>,
    dy: Vec<f32>,
    dx: Vec<f32>,
}

impl Model for Hstu {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn workspace(&self) -> Workspace {
        Workspace { bag: Default::default(), scratch: Box::<Scratch>::default() }
    }

    fn forward(&self, batch: &Batch, pass: Pass, workspace: &mut Workspace) -> Result<()> {
        let (s, bag) = crate::scratch_of::<Scratch>(workspace)?;
        bag.clear();
        self.input(batch, &mut s.rows)?;
        self.run(Dropout::new(self.options.dropout, pass), &s.rows, &mut s.hidden);
        target_rows(batch, &mut s.targets)?;
        let d = self.options.d_model;
        let field = bag.put("query", 0, s.targets.len(), d);
        let output = &s.hidden.states[self.blocks.len()];
        embedding::gather(output, d, &s.targets, &mut field.value);
        bag.items = Some(ItemMatrix { slot: self.items, rows: self.n_items, cols: d });
        Ok(())
    }

    fn backward(
        &self,
        _batch: &Batch,
        pass: Pass,
        workspace: &mut Workspace,
        grads: &mut [f32],
    ) -> Result<()> {
        let (s, bag) = crate::scratch_of::<Scratch>(workspace)?;
        let (w, d, n) = (self.params.values(), self.options.d_model, s.rows.histories.ids.len());
        s.dy.clear();
        s.dy.resize(n * d, 0.0);
        size(&mut s.dx, n * d);
        embedding::scatter_add(&mut s.dy, d, &s.targets, &bag.get("query", 0)?.grad);
        let dropout = Dropout::new(self.options.dropout, pass);
        for (i, block) in self.blocks.iter().enumerate().rev() {
            let (x, state) = (&s.hidden.states[i], &mut s.hidden.blocks[i]);
            let pass = s.rows.pass(dropout, i);
            block.backward(w, x, &s.dy, n, &pass, state, &mut s.dx, grads);
            std::mem::swap(&mut s.dx, &mut s.dy);
        }
        dropout.apply(0, &mut s.dy);
        embedding::scatter_add(self.positions.of_mut(grads), d, &s.rows.histories.places, &s.dy);
        let factor = (d as f32).sqrt();
        s.dy.iter_mut().for_each(|g| *g *= factor);
        embedding::scatter_add(self.items.of_mut(grads), d, &s.rows.histories.ids, &s.dy);
        Ok(())
    }
}

impl Backbone for Hstu {
    fn output(&self) -> Output {
        Output::Items
    }

    fn max_history(&self) -> usize {
        self.options.max_history
    }

    /// A request without history gets the zero vector: all items tie.
    fn queries(&self, batch: &Batch) -> Result<Matrix> {
        let (mut rows, mut hidden) = (Rows::default(), Hidden::default());
        self.input(batch, &mut rows)?;
        self.run(Dropout::none(), &rows, &mut hidden);
        let output = &hidden.states[self.blocks.len()];
        Ok(last_states(batch, output, self.options.d_model, |row| row))
    }

    fn item_vectors(&self) -> Result<&[f32]> {
        Ok(self.items.of(self.params.values()))
    }

    fn as_model(&self) -> &dyn Model {
        self
    }

    fn as_model_mut(&mut self) -> &mut dyn Model {
        self
    }
}

pub(crate) fn register(catalog: &mut Catalog<dyn Backbone, BackboneContext>) -> Result<()> {
    catalog.add(Entry::new(
        "hstu",
        env!("CARGO_PKG_NAME"),
        "Dense retriever with pointwise SiLU attention (HSTU, arXiv 2402.17152).",
        |options: HstuOptions, context: &BackboneContext| {
            Ok(Box::new(Hstu::new(options, context.n_items, context.seed)?) as Box<dyn Backbone>)
        },
    ))
}
