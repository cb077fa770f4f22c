//! SASRec (Kang and McAuley, arXiv 1808.09781) as a dense retriever: causal self-attention over
//! items, the last state is a query that is compared with the item vectors.
//!
//! Input: item vector plus a learned position vector (positions count from the oldest item kept).
//! Blocks: LayerNorm before attention and feed-forward, scores scaled by `1 / sqrt(head width)`.
//! Item vectors are the input vectors. With objective `full-softmax` this is the strong form of the
//! baseline; the paper's binary loss with one negative is much weaker.
//!
//! Deviations: the paper normalises the queries only and has no output projection; here the usual
//! pre-norm block is used. Vectors start at N(0, 0.02) as later code bases do.

use crate::dense::{Histories, item_shape, last_states, target_rows};
use crate::transformer::{Stack, StackState};
use crate::{Backbone, BackboneContext, Output};
use sidereal_core::{Catalog, Entry, Matrix, Result, options};
use sidereal_nn::bag::ItemMatrix;
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::embedding;
use sidereal_nn::kernels::math::size;
use sidereal_nn::{Batch, Init, Model, Params, Pass, Slot, Workspace};

options! {
    /// Options of `sasrec`.
    pub struct SasrecOptions {
        /// Width of the model and of the item vectors, 1 and up; a multiple of heads (paper: 50).
        pub d_model: usize = 64,
        /// Width of the hidden layer of the feed-forward, 1 and up (paper: the model's width).
        pub d_ff: usize = 256,
        /// Layers, 1 and up (paper: 2).
        pub layers: usize = 2,
        /// Attention heads, 1 and up (paper: 1).
        pub heads: usize = 2,
        /// Dropout, 0 to below 1 (paper: 0.5 on sparse data).
        pub dropout: f32 = 0.3,
        /// Most recent items kept, 1 and up (paper: 50).
        pub max_history: usize = 50,
    }
}

/// The model.
#[derive(Debug, Clone)]
pub struct Sasrec {
    options: SasrecOptions,
    params: Params,
    n_items: usize,
    items: Slot,
    positions: Slot,
    stack: Stack,
}

impl Sasrec {
    /// A model for `n_items` items, with fresh weights.
    pub fn new(options: SasrecOptions, n_items: usize, seed: u64) -> Result<Self> {
        for (key, value) in [
            ("d_model", options.d_model),
            ("d_ff", options.d_ff),
            ("layers", options.layers),
            ("heads", options.heads),
            ("max_history", options.max_history),
        ] {
            crate::at_least_one(key, value)?;
        }
        crate::dropout_in_range(options.dropout)?;
        let d = options.d_model;
        let shape = item_shape(d, options.d_ff, options.layers, options.heads)?;
        let mut params = Params::new(seed);
        let items = params.add("items.weight", &[n_items, d], Init::Normal(0.02));
        let positions =
            params.add("positions.weight", &[options.max_history, d], Init::Normal(0.02));
        let stack = Stack::new(&mut params, "layers", shape, 0);
        Ok(Sasrec { options, params, n_items, items, positions, stack })
    }

    fn input(&self, batch: &Batch, rows: &mut Histories) -> Result<()> {
        rows.fill(batch, self.options.max_history, self.n_items)
    }

    fn run(&self, dropout: Dropout, rows: &Histories, s: &mut Hidden) {
        let Histories { ids, places, spans } = rows;
        let (w, d) = (self.params.values(), self.options.d_model);
        size(&mut s.stack.x, ids.len() * d);
        embedding::gather(self.items.of(w), d, ids, &mut s.stack.x);
        size(&mut s.places, ids.len() * d);
        embedding::gather(self.positions.of(w), d, places, &mut s.places);
        s.stack.x.iter_mut().zip(&s.places).for_each(|(x, p)| *x += p);
        self.stack.forward(w, ids.len(), spans, None, dropout, &mut s.stack);
    }
}

#[derive(Default)]
struct Hidden {
    stack: StackState,
    places: Vec<f32>,
}

#[derive(Default)]
struct Scratch {
    hidden: Hidden,
    rows: Histories,
    /// State row of each target.
    targets: Vec<u32>,
    d_output: Vec<f32>,
}

impl Model for Sasrec {
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
        let dropout = Dropout::new(self.options.dropout, pass);
        self.run(dropout, &s.rows, &mut s.hidden);
        target_rows(batch, &mut s.targets)?;
        let d = self.options.d_model;
        let field = bag.put("query", 0, s.targets.len(), d);
        embedding::gather(&s.hidden.stack.output, d, &s.targets, &mut field.value);
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
        let (w, d) = (self.params.values(), self.options.d_model);
        s.d_output.clear();
        s.d_output.resize(s.rows.ids.len() * d, 0.0);
        embedding::scatter_add(&mut s.d_output, d, &s.targets, &bag.get("query", 0)?.grad);
        let dropout = Dropout::new(self.options.dropout, pass);
        self.stack.backward(
            w,
            s.rows.ids.len(),
            &s.rows.spans,
            None,
            None,
            dropout,
            &mut s.d_output,
            &mut s.hidden.stack,
            grads,
        );
        let dx = &s.hidden.stack.dx;
        embedding::scatter_add(self.items.of_mut(grads), d, &s.rows.ids, dx);
        embedding::scatter_add(self.positions.of_mut(grads), d, &s.rows.places, dx);
        Ok(())
    }
}

impl Backbone for Sasrec {
    fn output(&self) -> Output {
        Output::Items
    }

    fn max_history(&self) -> usize {
        self.options.max_history
    }

    /// A request without history gets the zero vector: all items tie.
    fn queries(&self, batch: &Batch) -> Result<Matrix> {
        let (mut rows, mut hidden) = (Histories::default(), Hidden::default());
        self.input(batch, &mut rows)?;
        self.run(Dropout::none(), &rows, &mut hidden);
        Ok(last_states(batch, &hidden.stack.output, self.options.d_model, |row| row))
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
        "sasrec",
        env!("CARGO_PKG_NAME"),
        "Dense retriever with causal self-attention over items (SASRec, arXiv 1808.09781).",
        |options: SasrecOptions, context: &BackboneContext| {
            Ok(Box::new(Sasrec::new(options, context.n_items, context.seed)?) as Box<dyn Backbone>)
        },
    ))
}
