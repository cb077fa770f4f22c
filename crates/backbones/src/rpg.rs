//! RPG (Hou et al., arXiv 2506.05781): all codes of the next item at once, from one state.
//!
//! An item is one token, the mean of its code vectors plus a learned position vector; causal
//! self-attention runs over items, not over codes, so a history of 50 items with 32 codes is 50
//! tokens. Level h has its own residual layer on the last state s,
//!
//! `g_h = s + silu(s W_h^T + b_h)`, `z_h[c] = <g_h, e_hc> / (|g_h| |e_hc| temperature)`
//!
//! with the vectors `e_hc` of the input table (`W_h` starts at zero, so every level starts from s).
//! No level sees another: the identifier's log-probability is the sum of its levels', and the best
//! identifiers can be found exactly by scoring all ([`sidereal_decoding::Exhaustive`]), which is what
//! identifiers of dozens of codes need: a beam that goes code by code loses them.
//!
//! Objective: `cross-entropy`; the public code takes the mean over levels where that takes the sum.
//! Cost a target: `2 H (d^2 + K d)` multiplications forward, for H levels of K codes.
//!
//! Figures, options and the shape of the heads are those of the public code
//! (facebookresearch/RPG_KDD2025). Deviations: blocks are those of [`crate::sasrec`] (ReLU where GPT-2
//! has GELU); decoding scores everything or goes by beam, the paper's walk over a graph of items is
//! not here.

use crate::dense::{Histories, item_shape, last_states, target_rows};
use crate::transformer::{Once, Stack, StackState};
use crate::{Backbone, BackboneContext, Output};
use sidereal_core::{Catalog, Entry, Error, Result, options};
use sidereal_decoding::{CodeScorer, Levels};
use sidereal_nn::kernels::activation::Activation;
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::embedding;
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::kernels::math::{axpy, size};
use sidereal_nn::layers::{Bias, Linear};
use sidereal_nn::{Batch, Directions, Init, Model, Params, Pass, Slot, Workspace};

options! {
    /// Options of `rpg`.
    pub struct RpgOptions {
        /// Width of the model and of the code vectors, 1 and up; a multiple of heads.
        pub d_model: usize = 128,
        /// Width of the hidden layer of the feed-forward, 1 and up.
        pub d_ff: usize = 512,
        /// Layers, 1 and up.
        pub layers: usize = 2,
        /// Attention heads, 1 and up.
        pub heads: usize = 4,
        /// Scores are cosines divided by this, above 0 (the public code: 0.03 on Beauty).
        pub temperature: f32 = 0.03,
        /// Dropout, 0 to below 1.
        pub dropout: f32 = 0.3,
        /// Most recent items kept, 1 and up (the public code: 50).
        pub max_history: usize = 50,
    }
}

/// The model.
#[derive(Debug, Clone)]
pub struct Rpg {
    options: RpgOptions,
    params: Params,
    /// Codes of each level, and the first table row of each.
    widths: Vec<usize>,
    first_rows: Vec<u32>,
    codes: Slot,
    positions: Slot,
    stack: Stack,
    heads: Vec<Linear>,
    /// Directions of the code vectors, for sessions.
    ready: Once<Vec<f32>>,
}

impl Rpg {
    /// A model for IDs whose level `h` has `widths[h]` codes, with fresh weights.
    pub fn new(options: RpgOptions, widths: &[u32], seed: u64) -> Result<Self> {
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
        let sharpness = 1.0 / options.temperature;
        if options.temperature <= 0.0 || !sharpness.is_normal() {
            let message = format!("{}; allowed: finite numbers above 0", options.temperature);
            return Err(Error::config("backbone.temperature", message));
        }
        let widths: Vec<usize> = widths.iter().map(|&w| w as usize).collect();
        let mut rows = 0;
        let first_rows: Vec<u32> = widths
            .iter()
            .map(|w| {
                rows += w;
                (rows - w) as u32
            })
            .collect();
        let mut params = Params::new(seed);
        let codes = params.add("codes.weight", &[rows, d], Init::Normal(0.02));
        let positions =
            params.add("positions.weight", &[options.max_history, d], Init::Normal(0.02));
        let stack = Stack::new(&mut params, "layers", shape, 0);
        let head = |h| {
            let name = format!("heads.{h}");
            Linear::new(&mut params, &name, d, d, Bias::With, Init::Zeros)
        };
        let heads = (0..widths.len()).map(head).collect();
        let ready = Once::default();
        Ok(Rpg { options, params, widths, first_rows, codes, positions, stack, heads, ready })
    }

    fn sharpness(&self) -> f32 {
        1.0 / self.options.temperature
    }

    fn input(&self, batch: &Batch, rows: &mut Histories, codes: &mut Vec<u32>) -> Result<()> {
        input(batch, self.options.max_history, &self.widths, rows, codes)
    }

    fn run(&self, dropout: Dropout, rows: &Histories, codes: &[u32], s: &mut StackState) {
        let (w, d) = (self.params.values(), self.options.d_model);
        size(&mut s.x, rows.ids.len() * d);
        embedding::gather(self.positions.of(w), d, &rows.places, &mut s.x);
        let (table, share) = (self.codes.of(w), 1.0 / self.widths.len().max(1) as f32);
        for (x, codes) in s.x.chunks_exact_mut(d).zip(codes.chunks_exact(self.widths.len())) {
            codes.iter().for_each(|&c| axpy(share, row(table, c, d), x));
        }
        self.stack.forward(w, rows.ids.len(), &rows.spans, None, dropout, s);
    }

    /// Scores of the codes of `level` for `states`, rows of width d, against `directions` of the
    /// whole table. Leaves what the way back needs in `head`.
    fn scores(
        &self,
        level: usize,
        states: &[f32],
        directions: &[f32],
        head: &mut HeadState,
        out: &mut [f32],
    ) {
        let (d, n) = (self.options.d_model, states.len() / self.options.d_model);
        if n == 0 {
            return;
        }
        size(&mut head.before, states.len());
        self.heads[level].forward(self.params.values(), states, n, &mut head.before);
        let mut g = std::mem::take(&mut head.sharp);
        g.clear();
        g.extend_from_slice(&head.before);
        Activation::Silu.forward(&mut g);
        axpy(1.0, states, &mut g);
        head.state.set(&g, d);
        let sharpness = self.sharpness();
        g.iter_mut().zip(&head.state.unit).for_each(|(g, u)| *g = sharpness * u);
        let (k, codes) = (self.widths[level], self.level(level, directions));
        gemm(n, k, d, Mat::rows(&g, d), Mat::rows(codes, d).t(), out, k, Write::Set);
        head.sharp = g;
    }

    /// Rows of a level in a matrix that is laid out as the code table.
    fn level<'a>(&self, level: usize, table: &'a [f32]) -> &'a [f32] {
        &table[self.level_range(level)]
    }

    fn level_range(&self, level: usize) -> std::ops::Range<usize> {
        let (start, d) = (self.first_rows[level] as usize, self.options.d_model);
        start * d..(start + self.widths[level]) * d
    }
}

/// Packed rows of a batch, and rows of the code table for their items, item after item; level `h` has
/// `widths[h]` rows.
pub(crate) fn input(
    batch: &Batch,
    max_history: usize,
    widths: &[usize],
    rows: &mut Histories,
    codes: &mut Vec<u32>,
) -> Result<()> {
    rows.fill(batch, max_history, usize::MAX)?;
    codes.clear();
    for i in 0..rows.ids.len() {
        let sid = batch.item_codes(i);
        crate::check_codes(sid, widths)?;
        let mut first = 0;
        codes.extend(sid.iter().zip(widths).map(|(code, width)| {
            first += width;
            (first - width) as u32 + code
        }));
    }
    Ok(())
}

fn row(table: &[f32], at: u32, d: usize) -> &[f32] {
    &table[at as usize * d..(at as usize + 1) * d]
}

/// One level's way from states to scores.
#[derive(Default)]
struct HeadState {
    /// Before the activation, `targets x d`.
    before: Vec<f32>,
    /// Directions of `g_h`.
    state: Directions,
    /// The same divided by the temperature.
    sharp: Vec<f32>,
}

#[derive(Default)]
struct Scratch {
    stack: StackState,
    rows: Histories,
    codes: Vec<u32>,
    /// State row of each target, and the states.
    targets: Vec<u32>,
    states: Vec<f32>,
    d_states: Vec<f32>,
    /// Directions of the code vectors.
    table: Directions,
    heads: Vec<HeadState>,
    d_head: Vec<f32>,
    d_output: Vec<f32>,
}

impl Model for Rpg {
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
        self.input(batch, &mut s.rows, &mut s.codes)?;
        self.run(Dropout::new(self.options.dropout, pass), &s.rows, &s.codes, &mut s.stack);
        target_rows(batch, &mut s.targets)?;
        size(&mut s.states, s.targets.len() * d);
        embedding::gather(&s.stack.output, d, &s.targets, &mut s.states);
        s.table.set(self.codes.of(w), d);
        s.heads.resize_with(self.widths.len(), HeadState::default);
        for (level, head) in s.heads.iter_mut().enumerate() {
            let field = bag.put("logits", level, s.targets.len(), self.widths[level]);
            self.scores(level, &s.states, &s.table.unit, head, &mut field.value);
        }
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
        let (w, d, n) = (self.params.values(), self.options.d_model, s.targets.len());
        let sharpness = self.sharpness();
        s.d_states.clear();
        s.d_states.resize(n * d, 0.0);
        size(&mut s.d_head, n * d);
        for (level, head) in s.heads.iter_mut().enumerate() {
            if n == 0 {
                break;
            }
            let (k, dz) = (self.widths[level], &bag.get("logits", level)?.grad);
            let (dz, range) = (Mat::rows(dz, k), self.level_range(level));
            let (unit, sharp) = (Mat::rows(&s.table.unit[range.clone()], d), &head.sharp);
            gemm(k, d, n, dz.t(), Mat::rows(sharp, d), &mut s.table.grad[range], d, Write::Add);
            gemm(n, d, k, dz, unit, &mut head.state.grad, d, Write::Set);
            head.state.grad.iter_mut().for_each(|x| *x *= sharpness);
            s.d_head.fill(0.0);
            head.state.backward(d, &mut s.d_head);
            axpy(1.0, &s.d_head, &mut s.d_states);
            Activation::Silu.backward(&head.before, &mut s.d_head);
            let dx = Some((&mut s.d_states[..], Write::Add));
            self.heads[level].backward(w, &s.states, &s.d_head, n, dx, grads);
        }
        s.table.backward(d, self.codes.of_mut(grads));
        s.d_output.clear();
        s.d_output.resize(s.rows.ids.len() * d, 0.0);
        embedding::scatter_add(&mut s.d_output, d, &s.targets, &s.d_states);
        let dropout = Dropout::new(self.options.dropout, pass);
        let (rows, stack) = (&s.rows, &mut s.stack);
        let n = rows.ids.len();
        self.stack.backward(w, n, &rows.spans, None, None, dropout, &mut s.d_output, stack, grads);
        let dx = &s.stack.dx;
        embedding::scatter_add(self.positions.of_mut(grads), d, &s.rows.places, dx);
        let (table, share) = (self.codes.of_mut(grads), 1.0 / self.widths.len().max(1) as f32);
        for (dx, codes) in dx.chunks_exact(d).zip(s.codes.chunks_exact(self.widths.len())) {
            for &c in codes {
                axpy(share, dx, &mut table[c as usize * d..(c as usize + 1) * d]);
            }
        }
        Ok(())
    }
}

impl Backbone for Rpg {
    fn output(&self) -> Output {
        Output::Codes
    }

    fn max_history(&self) -> usize {
        self.options.max_history
    }

    /// A request without history is scored from the zero state.
    fn session<'a>(&'a self, batch: &Batch) -> Result<Box<dyn CodeScorer + 'a>> {
        let (w, d) = (self.params.values(), self.options.d_model);
        let directions = self.ready.get(|| {
            let mut table = Directions::default();
            table.set(self.codes.of(w), d);
            table.unit
        });
        let (mut rows, mut codes) = (Histories::default(), Vec::new());
        self.input(batch, &mut rows, &mut codes)?;
        let mut stack = StackState::default();
        self.run(Dropout::none(), &rows, &codes, &mut stack);
        let states = last_states(batch, &stack.output, d, |row| row);
        let mut head = HeadState::default();
        let levels = (0..self.widths.len()).map(|level| {
            let mut logits = vec![0.0; batch.rows() * self.widths[level]];
            self.scores(level, states.data(), directions, &mut head, &mut logits);
            logits
        });
        Ok(Box::new(Levels::new(batch.rows(), levels.collect())?))
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
        "rpg",
        env!("CARGO_PKG_NAME"),
        "All codes of the next item at once from one state over items (RPG, arXiv 2506.05781).",
        |options: RpgOptions, context: &BackboneContext| {
            let (table, _) = context.fixed_length_table()?;
            Ok(Box::new(Rpg::new(options, table.widths(), context.seed)?) as Box<dyn Backbone>)
        },
    ))
}
