//! TIGER: a T5-style encoder-decoder that generates the next item's semantic ID
//! (Rajput et al., arXiv 2305.05065), with the parts and defaults of GRID (arXiv 2507.22224).
//!
//! Encoder input: the digits of each history item, then a learned separator after every item;
//! optionally a hashed user token in front. Digit `c` at level `h` is row `h V + c` of one table
//! that encoder and decoder share, where `V` is the largest code of the whole table plus one.
//! Decoder input: a learned start vector and the first `H - 1` digits of the target. With
//! `head = "levels"` digit `h` is scored by its own matrix `d -> V` without bias; with `"tied"` by
//! the token table, softmax over all its rows and states times `d^-1/2`, as in T5; with `"joint"` by
//! one more matrix of the table's shape.
//!
//! Blocks: RMSNorm before each sublayer, attention without `1 / sqrt(d_kv)` and without biases,
//! T5's relative position buckets in self-attention, none in cross-attention. The feed-forward
//! is GRID's: `mlp_layers = 2` gives d-ff, ReLU, ff-ff, dropout, ReLU, ff-d with biases;
//! `mlp_layers = 1` drops the middle matrix; without biases (`mlp_bias = false`) that is T5's own
//! shape, and T5 1.1 gates it.
//!
//! Cost of a training sample: about `6 x parameters per token` floating-point operations a token.
//!
//! Deviations: rows are packed without padding, so nothing is masked. With `encoder = "causal"` a
//! position sees only earlier ones; then every item of a history can be a target in one pass, its
//! decoder attending to the states of the items before it. GRID has no such option.

use crate::transformer::{
    Answer, Head, Input, Kept, Memory, NormKind, Once, PackedHead, PackedStack, Prompt, Shape,
    Spare, Stack, StackState, Steps, check_kind,
};
use crate::{Backbone, BackboneContext, Output};
use sidereal_core::{Catalog, Entry, Error, Result, options};
use sidereal_decoding::{CodeScorer, CodeScores, Normalize, Row, Wanted};
use sidereal_nn::kernels::attention::{Mask, Span};
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::embedding;
use sidereal_nn::kernels::math::size;
use sidereal_nn::layers::FeedForwardShape;
use sidereal_nn::{Batch, Init, Model, Params, Pass, Slot, Workspace};

options! {
    /// Options of `tiger`; defaults are GRID's.
    pub struct TigerOptions {
        /// Width of the model, 1 and up (GRID: 128).
        pub d_model: usize = 128,
        /// Width of the hidden layers of the feed-forward, 1 and up (GRID: 1024).
        pub d_ff: usize = 1024,
        /// Encoder layers, 1 and up (GRID: 4).
        pub layers: usize = 4,
        /// Decoder layers, 1 and up (GRID: 4).
        pub decoder_layers: usize = 4,
        /// Attention heads, 1 and up (GRID: 6).
        pub heads: usize = 6,
        /// Width of a head, 1 and up (GRID: 64).
        pub d_kv: usize = 64,
        /// Hidden layers of the feed-forward, 1 and up (GRID: 2; T5's own shape: 1).
        pub mlp_layers: usize = 2,
        /// Whether the feed-forward has biases (GRID: true; T5: false); a gated one has none.
        pub mlp_bias: bool = true,
        /// "none" (ReLU), "gelu" (T5 1.1) or "silu" (SwiGLU): the gate of the feed-forward, which
        /// then has one hidden layer.
        pub gate: String = "none".to_string(),
        /// "levels" (GRID: a matrix a digit), "tied" (T5: the token table) or "joint" (one matrix
        /// over all tokens).
        pub head: String = "levels".to_string(),
        /// Dropout, 0 to below 1 (GRID: 0.15; TIGER: 0.1).
        pub dropout: f32 = 0.15,
        /// Most recent items kept, 1 and up (GRID: 120 tokens with the target, so 29 at 4 digits).
        pub max_history: usize = 29,
        /// Whether a learned separator follows every item (GRID: true).
        pub separator: bool = true,
        /// Hashed user tokens, 0 for none (GRID: 0; TIGER: 2000).
        pub user_tokens: u32 = 0,
        /// "bidirectional" (TIGER, GRID) or "causal" (every item of a history can be a target).
        pub encoder: String = "bidirectional".to_string(),
        /// Relative position buckets, an even number from 4 (T5: 32).
        pub buckets: usize = 32,
        /// Distance from which all positions share a bucket (T5: 128).
        pub max_distance: usize = 128,
    }
}

impl TigerOptions {
    fn validate(&self) -> Result<()> {
        for (key, value) in [
            ("d_model", self.d_model),
            ("d_ff", self.d_ff),
            ("layers", self.layers),
            ("decoder_layers", self.decoder_layers),
            ("heads", self.heads),
            ("d_kv", self.d_kv),
            ("mlp_layers", self.mlp_layers),
            ("max_history", self.max_history),
        ] {
            crate::at_least_one(key, value)?;
        }
        crate::dropout_in_range(self.dropout)?;
        crate::buckets_in_range(self.buckets, self.max_distance)?;
        check_kind(&self.head)?;
        self.feed_forward()?;
        if !["bidirectional", "causal"].contains(&self.encoder.as_str()) {
            return Err(Error::config(
                "backbone.encoder",
                format!("`{}`; allowed: \"bidirectional\", \"causal\"", self.encoder),
            ));
        }
        Ok(())
    }

    fn feed_forward(&self) -> Result<FeedForwardShape> {
        crate::feed_forward(self.d_ff, self.mlp_layers, self.mlp_bias, &self.gate)
    }
}

/// The model.
#[derive(Debug, Clone)]
pub struct Tiger {
    options: TigerOptions,
    params: Params,
    /// Digits of an ID H and vocabulary V.
    digits: usize,
    vocabulary: usize,
    /// Digit rows, then separator, start and user rows: one matrix of width `d_model`.
    table: Slot,
    separator_row: u32,
    start_row: u32,
    first_user_row: u32,
    encoder: Stack,
    decoder: Stack,
    head: Head,
    ready: Once<Ready>,
}

/// The model as sessions use it.
struct Ready {
    encoder: PackedStack,
    decoder: PackedStack,
    head: PackedHead,
    spare: Spare,
}

impl Tiger {
    /// A model for IDs of `digits` codes below `vocabulary`, with fresh weights.
    pub fn new(options: TigerOptions, digits: usize, vocabulary: usize, seed: u64) -> Result<Self> {
        options.validate()?;
        let (o, d) = (&options, options.d_model);
        let mut params = Params::new(seed);
        // The library default for embedding tables is N(0, 1), for matrices +-1/sqrt(fan_in).
        let mut table = params.add("shared.weight", &[digits * vocabulary, d], Init::Normal(1.0));
        let mut rows = (digits * vocabulary) as u32;
        let separator_row = rows;
        if o.separator {
            table = table.join(params.add("separator", &[1, d], Init::Normal(1.0)));
            rows += 1;
        }
        let start_row = rows;
        table = table.join(params.add("start", &[1, d], Init::Normal(1.0)));
        let first_user_row = rows + 1;
        if o.user_tokens > 0 {
            let users = params.add("users.weight", &[o.user_tokens as usize, d], Init::Normal(1.0));
            table = table.join(users);
        }
        let feed_forward = o.feed_forward()?;
        let shape = |layers, mask, cross| Shape {
            layers,
            width: d,
            heads: o.heads,
            head_width: o.d_kv,
            feed_forward,
            norm: NormKind::Rms,
            scale: 1.0,
            mask,
            relative: Some((o.buckets, o.max_distance)),
            cross,
        };
        let mask = if o.encoder == "causal" { Mask::Causal } else { Mask::Full };
        let encoder = Stack::new(&mut params, "encoder", shape(o.layers, mask, false), 0);
        let decoder = Stack::new(
            &mut params,
            "decoder",
            shape(o.decoder_layers, Mask::Causal, true),
            1 << 16,
        );
        let first: Vec<u32> = (0..digits).map(|h| (h * vocabulary) as u32).collect();
        let codes = vec![vocabulary; digits];
        let head = Head::new(&mut params, &o.head, d, &codes, &first, table)?;
        Ok(Tiger {
            options,
            params,
            digits,
            vocabulary,
            table,
            separator_row,
            start_row,
            first_user_row,
            encoder,
            decoder,
            head,
            ready: Once::default(),
        })
    }

    fn ready(&self) -> &Ready {
        let w = self.params.values();
        self.ready.get(|| Ready {
            encoder: self.encoder.pack(w),
            decoder: self.decoder.pack(w),
            head: self.head.pack(w),
            spare: Spare::default(),
        })
    }

    /// Tokens of the first `items` items of a row, the user token included.
    fn prefix_tokens(&self, items: usize, user: Option<u32>) -> usize {
        user.map_or(0, |_| 1) + items * (self.digits + usize::from(self.options.separator))
    }

    fn user_row(&self, batch: &Batch, row: usize) -> Option<u32> {
        if self.options.user_tokens == 0 {
            return None;
        }
        let user = (*batch.users.get(row)?)?;
        Some(self.first_user_row + user.0 % self.options.user_tokens)
    }

    /// Encoder tokens of all rows, and the span of each row.
    fn encoder_input(
        &self,
        batch: &Batch,
        ids: &mut Vec<u32>,
        spans: &mut Vec<Span>,
    ) -> Result<()> {
        ids.clear();
        spans.clear();
        for row in 0..batch.rows() {
            let start = ids.len();
            ids.extend(self.user_row(batch, row));
            for i in batch.history_range(row) {
                self.push_digits(batch.item_codes(i), self.digits, ids)?;
                ids.extend(self.options.separator.then_some(self.separator_row));
            }
            let len = ids.len() - start;
            spans.push(Span { q: start, q_len: len, k: start, k_len: len });
        }
        Ok(())
    }

    fn push_digits(&self, codes: &[u32], take: usize, ids: &mut Vec<u32>) -> Result<()> {
        if codes.len() != self.digits || codes.iter().any(|&c| c as usize >= self.vocabulary) {
            return Err(Error::mismatch(format!(
                "the model reads IDs of {} codes below {}, got {codes:?}",
                self.digits, self.vocabulary
            )));
        }
        let v = self.vocabulary as u32;
        ids.extend(codes.iter().take(take).enumerate().map(|(h, &c)| h as u32 * v + c));
        Ok(())
    }

    fn encode(&self, dropout: Dropout, ids: &[u32], spans: &[Span], state: &mut StackState) {
        let (w, d) = (self.params.values(), self.options.d_model);
        size(&mut state.x, ids.len() * d);
        embedding::gather(self.table.of(w), d, ids, &mut state.x);
        self.encoder.forward(w, ids.len(), spans, None, dropout, state);
    }
}

/// Activations of one worker.
#[derive(Default)]
struct Scratch {
    encoder: StackState,
    decoder: StackState,
    encoder_ids: Vec<u32>,
    decoder_ids: Vec<u32>,
    encoder_spans: Vec<Span>,
    self_spans: Vec<Span>,
    cross_spans: Vec<Span>,
    d_output: Vec<f32>,
    d_memory: Vec<f32>,
}

impl Model for Tiger {
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
        let (w, d, h) = (self.params.values(), self.options.d_model, self.digits);
        let dropout = Dropout::new(self.options.dropout, pass);
        self.encoder_input(batch, &mut s.encoder_ids, &mut s.encoder_spans)?;
        s.decoder_ids.clear();
        s.self_spans.clear();
        s.cross_spans.clear();
        for (t, target) in batch.targets.iter().enumerate() {
            let (row, seen) = (target.row as usize, target.position as usize);
            if self.options.encoder != "causal" && seen != batch.history(row).len() {
                return Err(Error::config(
                    "backbone.encoder",
                    "a bidirectional encoder would show a target its own future; \
                     set encoder = \"causal\" or train.augmentation to \"contiguous\" or \"prefix\"",
                ));
            }
            let q = s.decoder_ids.len();
            s.decoder_ids.push(self.start_row);
            self.push_digits(batch.target_sid(t), h - 1, &mut s.decoder_ids)?;
            s.self_spans.push(Span { q, q_len: h, k: q, k_len: h });
            let k_len = self.prefix_tokens(seen, self.user_row(batch, row));
            s.cross_spans.push(Span { q, q_len: h, k: s.encoder_spans[row].k, k_len });
        }
        self.encode(dropout, &s.encoder_ids, &s.encoder_spans, &mut s.encoder);
        size(&mut s.decoder.x, s.decoder_ids.len() * d);
        embedding::gather(self.table.of(w), d, &s.decoder_ids, &mut s.decoder.x);
        let memory =
            Memory { states: &s.encoder.output, rows: s.encoder_ids.len(), spans: &s.cross_spans };
        let rows = s.decoder_ids.len();
        self.decoder.forward(w, rows, &s.self_spans, Some(memory), dropout, &mut s.decoder);
        self.head.scale(&mut s.decoder.output);
        let targets = batch.targets.len();
        for level in 0..h {
            let field = bag.put("logits", level, targets, self.head.cols(level));
            // Row t of level h is decoder row t H + h.
            let states = s.decoder.output.get(level * d..).unwrap_or_default();
            self.head.scores(w, level, states, h * d, targets, &mut field.value);
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
        let (w, d, h) = (self.params.values(), self.options.d_model, self.digits);
        let dropout = Dropout::new(self.options.dropout, pass);
        let targets = batch.targets.len();
        if targets == 0 {
            return Ok(());
        }
        size(&mut s.d_output, targets * h * d);
        for level in 0..h {
            let field = bag.get("logits", level)?;
            let (states, out) = (&s.decoder.output[level * d..], &mut s.d_output[level * d..]);
            self.head.backward(w, level, states, h * d, targets, &field.grad, out, grads);
        }
        self.head.scale(&mut s.d_output);
        s.d_memory.clear();
        s.d_memory.resize(s.encoder.output.len(), 0.0);
        let memory =
            Memory { states: &s.encoder.output, rows: s.encoder_ids.len(), spans: &s.cross_spans };
        self.decoder.backward(
            w,
            s.decoder_ids.len(),
            &s.self_spans,
            Some(memory),
            Some(&mut s.d_memory),
            dropout,
            &mut s.d_output,
            &mut s.decoder,
            grads,
        );
        embedding::scatter_add(self.table.of_mut(grads), d, &s.decoder_ids, &s.decoder.dx);
        self.encoder.backward(
            w,
            s.encoder_ids.len(),
            &s.encoder_spans,
            None,
            None,
            dropout,
            &mut s.d_memory,
            &mut s.encoder,
            grads,
        );
        embedding::scatter_add(self.table.of_mut(grads), d, &s.encoder_ids, &s.encoder.dx);
        Ok(())
    }
}

impl Backbone for Tiger {
    fn output(&self) -> Output {
        Output::Codes
    }

    fn max_history(&self) -> usize {
        self.options.max_history
    }

    fn session<'a>(&'a self, batch: &Batch) -> Result<Box<dyn CodeScorer + 'a>> {
        let (ready, w, d) = (self.ready(), self.params.values(), self.options.d_model);
        let mut steps = ready.spare.take();
        let mut spans = Vec::new();
        self.encoder_input(batch, &mut steps.ids, &mut spans)?;
        let lens: Vec<usize> = spans.iter().map(|s| s.k_len).collect();
        let Steps { keys, prompt, ids, .. } = &mut steps;
        size(prompt, ids.len() * d);
        embedding::gather(self.table.of(w), d, ids, prompt);
        let o = &self.options;
        keys.shape(o.decoder_layers, o.heads, o.d_kv, lens.iter().copied());
        ready.encoder.read(w, &lens, prompt, Kept::Cross(&ready.decoder), keys);
        Ok(Box::new(Session { model: self, ready, requests: lens.len(), steps }))
    }

    fn as_model(&self) -> &dyn Model {
        self
    }

    fn as_model_mut(&mut self) -> &mut dyn Model {
        self
    }
}

/// Decoding of a batch of requests: encoder keys and values once a request, shared by all beams.
struct Session<'a> {
    model: &'a Tiger,
    ready: &'a Ready,
    requests: usize,
    steps: Steps,
}

impl Session<'_> {
    fn decode(&mut self, level: usize, rows: &[Row], answer: Answer<'_>) {
        let (m, ready) = (self.model, self.ready);
        let (w, v) = (m.params.values(), m.vocabulary as u32);
        self.steps.ids.clear();
        self.steps.ids.extend(rows.iter().map(|r| match level {
            0 => m.start_row,
            _ => (level as u32 - 1) * v + r.code,
        }));
        let input = Input { table: m.table.of(w), positions: None, at: &[] };
        let (decoder, head) = (&ready.decoder, &ready.head);
        self.steps.step(w, decoder, head, level, level, rows, input, Prompt::Cross, answer);
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
        "tiger",
        env!("CARGO_PKG_NAME"),
        "T5-style encoder-decoder that generates the next item's ID (TIGER, arXiv 2305.05065; GRID, arXiv 2507.22224).",
        |options: TigerOptions, context: &BackboneContext| {
            let (table, digits) = context.fixed_length_table()?;
            let vocabulary = table.vocabulary() as usize;
            Ok(Box::new(Tiger::new(options, digits, vocabulary, context.seed)?) as Box<dyn Backbone>)
        },
    ))
}
