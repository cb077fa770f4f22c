//! A decoder-only model over the digits of a history, trained on every position in one pass.
//!
//! Input: a learned start vector, then the digits of all items without separators; digit `c` at
//! level `h` is row `h V + c` of one table. The output at the last token before digit `h` of an
//! item scores that digit with head `h`. This is the decoder-only variant studied beside GRID
//! (arXiv 2507.22224) in its "loss on all positions" form.
//!
//! Blocks are those of [`crate::tiger`] without cross-attention, with T5's causal position buckets.
//!
//! Deviations: rows are packed without padding; the first item of a history is no target, because
//! nothing is known of the user yet; the loss of a target is the sum over its digits, as in
//! [`crate::tiger`], and the mean over targets.

use crate::transformer::{NormKind, Shape, Stack, StackState, Steps};
use crate::{Backbone, BackboneContext, Output};
use sidereal_core::{Catalog, Entry, Error, Result, options};
use sidereal_decoding::{CodeScorer, Row};
use sidereal_nn::kernels::attention::{Mask, Span};
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::embedding;
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::kernels::math::size;
use sidereal_nn::layers::FeedForwardShape;
use sidereal_nn::{Batch, Init, Model, Params, Pass, Slot, Workspace};

options! {
    /// Options of `causal`.
    pub struct CausalOptions {
        /// Width of the model, 1 and up.
        pub d_model: usize = 128,
        /// Width of the hidden layers of the feed-forward, 1 and up.
        pub d_ff: usize = 1024,
        /// Layers, 1 and up.
        pub layers: usize = 4,
        /// Attention heads, 1 and up.
        pub heads: usize = 6,
        /// Width of a head, 1 and up.
        pub d_kv: usize = 64,
        /// Hidden layers of the feed-forward, 1 and up (T5's own shape: 1).
        pub mlp_layers: usize = 1,
        /// Dropout, 0 to below 1.
        pub dropout: f32 = 0.1,
        /// Most recent items kept, 1 and up.
        pub max_history: usize = 29,
        /// Relative position buckets, an even number from 4 (T5: 32).
        pub buckets: usize = 32,
        /// Distance from which all positions share a bucket (T5: 128).
        pub max_distance: usize = 128,
    }
}

impl CausalOptions {
    fn validate(&self) -> Result<()> {
        for (key, value) in [
            ("d_model", self.d_model),
            ("d_ff", self.d_ff),
            ("layers", self.layers),
            ("heads", self.heads),
            ("d_kv", self.d_kv),
            ("mlp_layers", self.mlp_layers),
            ("max_history", self.max_history),
        ] {
            crate::at_least_one(key, value)?;
        }
        crate::dropout_in_range(self.dropout)?;
        crate::buckets_in_range(self.buckets, self.max_distance)
    }
}

/// The model.
#[derive(Debug, Clone)]
pub struct Causal {
    options: CausalOptions,
    params: Params,
    digits: usize,
    /// Codes of each level, and the first table row of each level.
    widths: Vec<usize>,
    first_rows: Vec<u32>,
    /// Digit rows, then the start row.
    table: Slot,
    start_row: u32,
    stack: Stack,
    heads: Vec<Slot>,
}

impl Causal {
    /// A model for IDs whose level `h` has `widths[h]` codes, with fresh weights.
    pub fn new(options: CausalOptions, widths: &[u32], seed: u64) -> Result<Self> {
        options.validate()?;
        let d = options.d_model;
        let mut params = Params::new(seed);
        let widths: Vec<usize> = widths.iter().map(|&w| w as usize).collect();
        let mut rows = 0u32;
        let mut first_rows = Vec::with_capacity(widths.len());
        for w in &widths {
            first_rows.push(rows);
            rows += *w as u32;
        }
        let table = params.add("shared.weight", &[rows as usize, d], Init::Normal(1.0));
        let table = table.join(params.add("start", &[1, d], Init::Normal(1.0)));
        let shape = Shape {
            layers: options.layers,
            width: d,
            heads: options.heads,
            head_width: options.d_kv,
            feed_forward: FeedForwardShape::biased(options.d_ff, options.mlp_layers),
            norm: NormKind::Rms,
            scale: 1.0,
            mask: Mask::Causal,
            relative: Some((options.buckets, options.max_distance)),
            cross: false,
        };
        let stack = Stack::new(&mut params, "decoder", shape, 0);
        let init = Init::Uniform(1.0 / (d as f32).sqrt());
        let heads = widths
            .iter()
            .enumerate()
            .map(|(h, &v)| params.add(&format!("heads.{h}.weight"), &[v, d], init))
            .collect();
        Ok(Causal {
            digits: widths.len(),
            options,
            params,
            widths,
            first_rows,
            table,
            start_row: rows,
            stack,
            heads,
        })
    }

    fn push_digits(&self, codes: &[u32], take: usize, ids: &mut Vec<u32>) -> Result<()> {
        let fits = codes.len() == self.digits
            && codes.iter().zip(&self.widths).all(|(&c, &w)| (c as usize) < w);
        if !fits {
            return Err(Error::mismatch(format!(
                "the model reads IDs with levels of {:?} codes, got {codes:?}",
                self.widths
            )));
        }
        ids.extend(codes.iter().zip(&self.first_rows).take(take).map(|(c, first)| first + c));
        Ok(())
    }

    /// Tokens of start and history of a row.
    fn push_history(&self, batch: &Batch, row: usize, ids: &mut Vec<u32>) -> Result<()> {
        ids.push(self.start_row);
        for i in batch.history_range(row) {
            self.push_digits(batch.item_codes(i), self.digits, ids)?;
        }
        Ok(())
    }

    /// Tokens and spans of a training batch, and the token before the first digit of each target.
    fn input(
        &self,
        batch: &Batch,
        ids: &mut Vec<u32>,
        spans: &mut Vec<Span>,
        first: &mut Vec<u32>,
    ) -> Result<()> {
        ids.clear();
        spans.clear();
        first.clear();
        let mut t = 0;
        for row in 0..batch.rows() {
            let (start, history) = (ids.len(), batch.history(row));
            self.push_history(batch, row, ids)?;
            let mut appended = false;
            while let Some(target) = batch.targets.get(t).filter(|x| x.row as usize == row) {
                let seen = target.position as usize;
                first.push((start + seen * self.digits) as u32);
                match history.get(seen) {
                    Some(next) if *next == target.item => {}
                    None if !appended && seen == history.len() => {
                        self.push_digits(batch.target_sid(t), self.digits - 1, ids)?;
                        appended = true;
                    }
                    _ => {
                        return Err(Error::mismatch(
                            "a target inside a history must be the item that stands there",
                        ));
                    }
                }
                t += 1;
            }
            let len = ids.len() - start;
            spans.push(Span { q: start, q_len: len, k: start, k_len: len });
        }
        Ok(())
    }

    fn run(&self, dropout: Dropout, ids: &[u32], spans: &[Span], state: &mut StackState) {
        let (w, d) = (self.params.values(), self.options.d_model);
        size(&mut state.x, ids.len() * d);
        embedding::gather(self.table.of(w), d, ids, &mut state.x);
        self.stack.forward(w, ids.len(), spans, None, dropout, state);
    }
}

#[derive(Default)]
struct Scratch {
    stack: StackState,
    ids: Vec<u32>,
    spans: Vec<Span>,
    /// Token before the first digit of each target.
    first: Vec<u32>,
    rows: Vec<u32>,
    /// Hidden states of one level, `targets x width`, and their gradient.
    gathered: Vec<f32>,
    d_output: Vec<f32>,
}

impl Scratch {
    /// Gathers the hidden states that score `level`, one a target.
    fn gather_level(&mut self, level: usize, d: usize) {
        self.rows.clear();
        self.rows.extend(self.first.iter().map(|f| f + level as u32));
        size(&mut self.gathered, self.rows.len() * d);
        embedding::gather(&self.stack.output, d, &self.rows, &mut self.gathered);
    }
}

impl Model for Causal {
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
        let (w, d) = (self.params.values(), self.options.d_model);
        self.input(batch, &mut s.ids, &mut s.spans, &mut s.first)?;
        self.run(Dropout::new(self.options.dropout, pass), &s.ids, &s.spans, &mut s.stack);
        let targets = batch.targets.len();
        for level in 0..self.digits {
            s.gather_level(level, d);
            let v = self.widths[level];
            let field = bag.put("logits", level, targets, v);
            let head = Mat::rows(self.heads[level].of(w), d).t();
            gemm(targets, v, d, Mat::rows(&s.gathered, d), head, &mut field.value, v, Write::Set);
        }
        Ok(())
    }

    fn backward(
        &self,
        batch: &Batch,
        pass: Pass,
        workspace: &mut Workspace,
        grads: &mut [f32],
    ) -> Result<()> {
        let (s, bag) = crate::scratch_of::<Scratch>(workspace)?;
        let (w, d) = (self.params.values(), self.options.d_model);
        let targets = batch.targets.len();
        s.d_output.clear();
        s.d_output.resize(s.ids.len() * d, 0.0);
        for level in 0..self.digits {
            s.gather_level(level, d);
            let (v, field) = (self.widths[level], bag.get("logits", level)?);
            let (dy, head) = (Mat::rows(&field.grad, v), self.heads[level]);
            let x = Mat::rows(&s.gathered, d);
            gemm(v, d, targets, dy.t(), x, head.of_mut(grads), d, Write::Add);
            gemm(targets, d, v, dy, Mat::rows(head.of(w), d), &mut s.gathered, d, Write::Set);
            embedding::scatter_add(&mut s.d_output, d, &s.rows, &s.gathered);
        }
        let dropout = Dropout::new(self.options.dropout, pass);
        self.stack.backward(
            w,
            s.ids.len(),
            &s.spans,
            None,
            None,
            dropout,
            &mut s.d_output,
            &mut s.stack,
            grads,
        );
        embedding::scatter_add(self.table.of_mut(grads), d, &s.ids, &s.stack.dx);
        Ok(())
    }
}

impl Backbone for Causal {
    fn output(&self) -> Output {
        Output::Codes
    }

    fn max_history(&self) -> usize {
        self.options.max_history
    }

    fn session<'a>(&'a self, batch: &Batch) -> Result<Box<dyn CodeScorer + 'a>> {
        let (mut ids, mut spans) = (Vec::new(), Vec::new());
        for row in 0..batch.rows() {
            let start = ids.len();
            self.push_history(batch, row, &mut ids)?;
            let len = ids.len() - start;
            spans.push(Span { q: start, q_len: len, k: start, k_len: len });
        }
        let mut prompt = StackState::default();
        self.run(Dropout::none(), &ids, &spans, &mut prompt);
        Ok(Box::new(Session {
            model: self,
            prompt,
            spans: spans.iter().map(|s| (s.k, s.k_len)).collect(),
            steps: Steps::default(),
        }))
    }

    fn as_model(&self) -> &dyn Model {
        self
    }

    fn as_model_mut(&mut self) -> &mut dyn Model {
        self
    }
}

/// Decoding of a batch of requests: keys and values of a history once, shared by all beams.
struct Session<'a> {
    model: &'a Causal,
    prompt: StackState,
    spans: Vec<(usize, usize)>,
    steps: Steps,
}

impl CodeScorer for Session<'_> {
    fn requests(&self) -> usize {
        self.spans.len()
    }

    fn levels(&self) -> usize {
        self.model.digits
    }

    fn width(&self, level: usize) -> usize {
        self.model.widths[level]
    }

    fn advance(&mut self, level: usize, rows: &[Row], logits: &mut Vec<f32>) -> Result<()> {
        let m = self.model;
        let (w, d) = (m.params.values(), m.options.d_model);
        if let Some(before) = level.checked_sub(1) {
            // Generated codes begin at level 1: their chains are one shorter than the level.
            let ids = rows.iter().map(|r| m.first_rows[before] + r.code);
            self.steps.begin(before, rows, self.spans.len(), ids, m.table.of(w), d);
            let prompt = Some((&self.prompt, &self.spans[..]));
            m.stack.step(w, rows.len(), prompt, None, &mut self.steps);
        } else {
            // The last token of each prompt already scores the first digit.
            let Steps { ids, state, .. } = &mut self.steps;
            ids.clear();
            ids.extend(self.spans.iter().map(|(start, len)| (start + len - 1) as u32));
            size(&mut state.output, rows.len() * d);
            embedding::gather(&self.prompt.output, d, ids, &mut state.output);
        }
        self.steps.score(rows.len(), m.heads[level].of(w), d, logits);
        Ok(())
    }
}

pub(crate) fn register(catalog: &mut Catalog<dyn Backbone, BackboneContext>) -> Result<()> {
    catalog.add(Entry::new(
        "causal",
        env!("CARGO_PKG_NAME"),
        "Decoder-only model over the digits of a history, trained on every position in one pass.",
        |options: CausalOptions, context: &BackboneContext| {
            let (table, _) = context.fixed_length_table()?;
            Ok(Box::new(Causal::new(options, table.widths(), context.seed)?) as Box<dyn Backbone>)
        },
    ))
}
