//! A decoder-only model over the digits of a history, trained on every position in one pass.
//!
//! Input: a learned start vector, then the digits of all items without separators; digit `c` at
//! level `h` has its own row of one table. The output at the last token before digit `h` of an
//! item scores that digit; `head` says how, as in [`crate::tiger`]. This is the decoder-only variant studied beside GRID
//! (arXiv 2507.22224) in its "loss on all positions" form.
//!
//! Blocks are those of [`crate::tiger`] without cross-attention, with T5's causal position buckets,
//! or with `positions = "learned"` in GPT's form: a vector for each position added to the input, and
//! scores times `d_kv^-1/2`.
//!
//! Deviations: rows are packed without padding; the first item of a history is no target, because
//! nothing is known of the user yet; the loss of a target is the sum over its digits, as in
//! [`crate::tiger`], and the mean over targets.

use crate::transformer::{
    Answer, Head, Input, Kept, NormKind, Once, PackedHead, PackedStack, Prompt, Shape, Spare,
    Stack, StackState, Steps, check_kind,
};
use crate::{Backbone, BackboneContext, Output};
use sidereal_core::{Catalog, Entry, Error, Result, options};
use sidereal_decoding::{CodeScorer, CodeScores, Normalize, Row, Wanted};
use sidereal_nn::kernels::attention::{Mask, Span};
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::embedding;
use sidereal_nn::kernels::math::{axpy, size};
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
        /// Whether the feed-forward has biases (T5: false); a gated one has none.
        pub mlp_bias: bool = true,
        /// "none" (ReLU), "gelu" (T5 1.1) or "silu" (SwiGLU): the gate of the feed-forward, which
        /// then has one hidden layer.
        pub gate: String = "none".to_string(),
        /// "levels" (a matrix a digit), "tied" (the token table) or "joint" (one matrix over all
        /// tokens).
        pub head: String = "levels".to_string(),
        /// "relative" (T5's buckets) or "learned" (a vector a position, scores scaled).
        pub positions: String = "relative".to_string(),
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
        check_kind(&self.head)?;
        if !["relative", "learned"].contains(&self.positions.as_str()) {
            let message = format!("`{}`; allowed: \"relative\", \"learned\"", self.positions);
            return Err(Error::config("backbone.positions", message));
        }
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
    /// A vector for each token of the longest input, unless positions are relative.
    positions: Option<Slot>,
    stack: Stack,
    head: Head,
    ready: Once<Ready>,
}

/// The model as sessions use it.
struct Ready {
    stack: PackedStack,
    head: PackedHead,
    spare: Spare,
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
        let learned = options.positions == "learned";
        let positions = learned.then(|| {
            // Start, the longest history, and the digits of a target but the last.
            let tokens = (options.max_history + 1) * widths.len();
            params.add("positions.weight", &[tokens, d], Init::Normal(1.0))
        });
        let shape = Shape {
            layers: options.layers,
            width: d,
            heads: options.heads,
            head_width: options.d_kv,
            feed_forward: crate::feed_forward(
                options.d_ff,
                options.mlp_layers,
                options.mlp_bias,
                &options.gate,
            )?,
            norm: NormKind::Rms,
            scale: if learned { 1.0 / (options.d_kv as f32).sqrt() } else { 1.0 },
            mask: Mask::Causal,
            relative: (!learned).then_some((options.buckets, options.max_distance)),
            cross: false,
        };
        let stack = Stack::new(&mut params, "decoder", shape, 0);
        let head = Head::new(&mut params, &options.head, d, &widths, &first_rows, table)?;
        Ok(Causal {
            digits: widths.len(),
            options,
            params,
            widths,
            first_rows,
            table,
            start_row: rows,
            positions,
            stack,
            head,
            ready: Once::default(),
        })
    }

    fn ready(&self) -> &Ready {
        let w = self.params.values();
        self.ready.get(|| Ready {
            stack: self.stack.pack(w),
            head: self.head.pack(w),
            spare: Spare::default(),
        })
    }

    fn push_digits(&self, codes: &[u32], take: usize, ids: &mut Vec<u32>) -> Result<()> {
        crate::check_codes(codes, &self.widths)?;
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
        if let Some(positions) = self.positions {
            for span in spans {
                let rows = span.q * d..(span.q + span.q_len) * d;
                axpy(1.0, &positions.of(w)[..rows.len()], &mut state.x[rows]);
            }
        }
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
    d_gathered: Vec<f32>,
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
        self.ready.clear();
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
        self.head.scale(&mut s.stack.output);
        let targets = batch.targets.len();
        for level in 0..self.digits {
            s.gather_level(level, d);
            let field = bag.put("logits", level, targets, self.head.cols(level));
            self.head.scores(w, level, &s.gathered, d, targets, &mut field.value);
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
            let dy = &bag.get("logits", level)?.grad;
            size(&mut s.d_gathered, s.gathered.len());
            let dx = &mut s.d_gathered;
            self.head.backward(w, level, &s.gathered, d, targets, dy, dx, grads);
            embedding::scatter_add(&mut s.d_output, d, &s.rows, dx);
        }
        self.head.scale(&mut s.d_output);
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
        if let Some(positions) = self.positions {
            for span in &s.spans {
                let dx = &s.stack.dx[span.q * d..(span.q + span.q_len) * d];
                axpy(1.0, dx, positions.of_mut(grads));
            }
        }
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
        let (ready, w, d) = (self.ready(), self.params.values(), self.options.d_model);
        let mut steps = ready.spare.take();
        let Steps { keys, prompt, ids, .. } = &mut steps;
        ids.clear();
        let mut lens = Vec::with_capacity(batch.rows());
        for row in 0..batch.rows() {
            let start = ids.len();
            self.push_history(batch, row, ids)?;
            lens.push(ids.len() - start);
        }
        size(prompt, ids.len() * d);
        embedding::gather(self.table.of(w), d, ids, prompt);
        if let Some(positions) = self.positions {
            let mut rest = &mut prompt[..];
            for len in &lens {
                let (x, after) = std::mem::take(&mut rest).split_at_mut(len * d);
                axpy(1.0, &positions.of(w)[..len * d], x);
                rest = after;
            }
        }
        let o = &self.options;
        keys.shape(o.layers, o.heads, o.d_kv, lens.iter().copied());
        ready.stack.read(w, &lens, prompt, Kept::Own, keys);
        // Only the last token of each prompt is read again: it scores the first digit.
        let (mut end, mut last) = (0, Vec::with_capacity(lens.len() * d));
        for len in &lens {
            end += len * d;
            last.extend_from_slice(&prompt[end - d..end]);
        }
        prompt.clear();
        prompt.extend_from_slice(&last);
        Ok(Box::new(Session { model: self, ready, requests: lens.len(), at: Vec::new(), steps }))
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
    ready: &'a Ready,
    requests: usize,
    /// Positions of the rows of a step.
    at: Vec<u32>,
    steps: Steps,
}

impl Session<'_> {
    fn decode(&mut self, level: usize, rows: &[Row], answer: Answer<'_>) {
        let (m, ready) = (self.model, self.ready);
        let (w, head) = (m.params.values(), &ready.head);
        let Some(step) = level.checked_sub(1) else {
            let last = std::mem::take(&mut self.steps.prompt);
            self.steps.score(w, head, level, rows, &last, answer);
            self.steps.prompt = last;
            return;
        };
        // Generated codes begin at level 1: their chains are one shorter than the level.
        let steps = &mut self.steps;
        steps.ids.clear();
        steps.ids.extend(rows.iter().map(|r| m.first_rows[step] + r.code));
        self.at.clear();
        self.at.extend(rows.iter().map(|r| (steps.keys.len(r.request as usize) + step) as u32));
        let input =
            Input { table: m.table.of(w), positions: m.positions.map(|p| p.of(w)), at: &self.at };
        steps.step(w, &ready.stack, head, level, step, rows, input, Prompt::Own, answer);
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.ready.spare.put(std::mem::take(&mut self.steps));
    }
}

impl CodeScorer for Session<'_> {
    fn requests(&self) -> usize {
        self.requests
    }

    fn levels(&self) -> usize {
        self.model.digits
    }

    fn width(&self, level: usize) -> usize {
        self.model.head.cols(level)
    }

    fn advance(&mut self, level: usize, rows: &[Row], logits: &mut Vec<f32>) -> Result<()> {
        self.decode(level, rows, Answer::Logits(logits));
        Ok(())
    }

    fn advance_to(
        &mut self,
        level: usize,
        rows: &[Row],
        wanted: &Wanted,
        normalize: Normalize,
        scores: &mut CodeScores,
    ) -> Result<()> {
        self.decode(level, rows, Answer::Chosen(wanted, normalize, scores));
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
