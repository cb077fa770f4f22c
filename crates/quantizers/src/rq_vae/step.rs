//! Loss and gradients of one batch, the same bits with any number of threads.
//!
//! The batch is cut into chunks of [`CHUNK`] rows and waves of [`WAVE`] chunks. In a wave threads
//! first take whole chunks: forward, and backward down to the gradients of all layers' values. Then
//! they take blocks of weights and sum each over the chunks of the wave in their order. So there is
//! one gradient buffer whatever the number of threads, no lanes are to be added up, and memory stops
//! growing with the batch at `WAVE x CHUNK` rows of activations.
//!
//! Cost: six operations a weight and row, four for the encoder's first layer, whose input needs no
//! gradient; 768-512-256-128-32 and back with 1,024 rows is 6.1 GFLOP.

use super::ahead::{Balance, LookAhead};
use super::auxiliary::Auxiliary;
use super::chunk::{Ahead, BatchRows, Chunk, Shared};
use super::loss::{CodebookUpdate, Losses, RqVaeLoss};
use super::model::RqVaeModel;
use crate::kmeans::Centroids;
use rayon::prelude::*;
use sidereal_core::{Code, Error, Matrix, Result};
use sidereal_nn::kernels::gemm::Write;
use sidereal_nn::{Mlp, MlpState};

/// Rows of a chunk: all weights are read once a chunk.
pub const CHUNK: usize = 256;

/// Chunks whose activations are kept at once.
pub const WAVE: usize = 8;

/// Outputs of a layer in a block of its weight gradient.
const BLOCK: usize = 256;

/// Buffers of a step, kept between steps; works on the current rayon pool.
pub struct RqVaeStep {
    centroids: Vec<Centroids>,
    chunks: Vec<Chunk>,
    grads: Vec<f32>,
    usage: Vec<Usage>,
    ahead: LookAhead,
}

/// What a step does beside loss and gradients of its rows.
#[derive(Clone, Copy)]
pub struct StepPlan<'a> {
    /// Weights of the loss.
    pub loss: RqVaeLoss,
    /// Key of the Gumbel noise, and of draws of auxiliary losses.
    pub key: u64,
    /// Levels in use, from the first; the others get no gradient. At least 1.
    pub levels: usize,
    /// Balanced codes in place of the nearest ones; not with [`Estimator::Gumbel`].
    ///
    /// [`Estimator::Gumbel`]: super::Estimator::Gumbel
    pub balance: Option<&'a Balance>,
    /// Losses over the whole batch.
    pub auxiliaries: &'a [Box<dyn Auxiliary + 'a>],
}

/// What a batch did with the codes of a level.
#[derive(Default)]
pub(super) struct Usage {
    /// Rows of each code.
    pub counts: Vec<u32>,
    /// Sum of the residuals of each code, where codebooks learn by averages: `K x D`.
    pub sums: Vec<f32>,
}

/// One piece of the second half of a wave.
enum Piece<'a> {
    Weight { part: Part, layer: usize, first: usize, out: &'a mut [f32] },
    Bias { part: Part, layer: usize, out: &'a mut [f32] },
    Level { level: usize, out: &'a mut [f32], usage: &'a mut Usage },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Encoder,
    Decoder,
}

impl Part {
    fn mlp(self, model: &RqVaeModel) -> &Mlp {
        if self == Part::Encoder { &model.encoder } else { &model.decoder }
    }

    fn state(self, chunk: &Chunk) -> &MlpState {
        if self == Part::Encoder { &chunk.encoder } else { &chunk.decoder }
    }
}

impl RqVaeStep {
    /// Buffers for a model.
    pub fn new(model: &RqVaeModel) -> Self {
        let (shape, len) = (model.shape(), model.params().len());
        let empty = |&k: &u32| Centroids::new(Matrix::zeros(k as usize, shape.latent));
        RqVaeStep {
            centroids: shape.levels.iter().map(empty).collect(),
            chunks: Vec::new(),
            grads: vec![0.0; len],
            usage: shape.levels.iter().map(|_| Usage::default()).collect(),
            ahead: LookAhead::default(),
        }
    }

    /// Loss and gradients of the mean over a batch; `key` draws the Gumbel noise. The gradients are
    /// then in [`RqVaeStep::grads`].
    ///
    /// Errors: no rows, rows of another width than the model's.
    pub fn run(
        &mut self,
        model: &RqVaeModel,
        batch: BatchRows<'_>,
        loss: RqVaeLoss,
        key: u64,
    ) -> Result<Losses> {
        let levels = model.shape().levels.len();
        self.run_plan(model, batch, StepPlan { loss, key, levels, balance: None, auxiliaries: &[] })
    }

    /// The same with fewer levels, balanced codes or losses over the whole batch.
    ///
    /// Errors: no rows, rows of another width than the model's, no levels, those of the losses.
    pub fn run_plan(
        &mut self,
        model: &RqVaeModel,
        batch: BatchRows<'_>,
        plan: StepPlan<'_>,
    ) -> Result<Losses> {
        let StepPlan { loss, key, levels, .. } = plan;
        if levels == 0 || levels > self.centroids.len() {
            return Err(Error::mismatch(format!(
                "rq-vae: {levels} of {} levels in use",
                self.centroids.len()
            )));
        }
        if batch.is_empty() || batch.width() != model.shape().input {
            return Err(Error::mismatch(format!(
                "rq-vae: {} rows of width {}; expected at least one of width {}",
                batch.len(),
                batch.width(),
                model.shape().input
            )));
        }
        for (l, c) in self.centroids.iter_mut().enumerate() {
            c.update(|values| values.data_mut().copy_from_slice(model.level(l)));
        }
        let centroids = &self.centroids[..levels];
        let ahead = Ahead::default();
        let mut shared = Shared { model, centroids, loss, batch: batch.len(), key, ahead };
        let look = &mut self.ahead;
        let mut codes = Vec::new();
        if let Some(balance) = plan.balance.filter(|b| b.is_on(levels)) {
            look.balance(shared, batch, balance)?;
            codes = std::mem::take(&mut look.codes);
            shared.ahead.codes = Some(&codes);
        }
        let mut auxiliary = 0.0;
        if !plan.auxiliaries.is_empty() {
            auxiliary = look.evaluate(shared, batch, plan.auxiliaries)?;
            shared.ahead.d_latents = Some(&look.gradients.latents);
            shared.ahead.d_quantized = Some(&look.gradients.quantized);
        }
        for (usage, c) in self.usage.iter_mut().zip(&self.centroids) {
            let average = loss.codebook == CodebookUpdate::Average;
            usage.counts.clear();
            usage.counts.resize(c.width(), 0);
            usage.sums.clear();
            usage.sums.resize(if average { c.width() * c.dim() } else { 0 }, 0.0);
        }
        self.chunks.resize_with(batch.len().div_ceil(CHUNK).min(WAVE), Chunk::default);
        let (mut reconstruction, mut distances) = (0.0, 0.0);
        for start in (0..batch.len()).step_by(WAVE * CHUNK) {
            let rows = (batch.len() - start).min(WAVE * CHUNK);
            let chunks = &mut self.chunks[..rows.div_ceil(CHUNK)];
            chunks.par_iter_mut().enumerate().with_max_len(1).for_each(|(i, chunk)| {
                let first = start + i * CHUNK;
                chunk.run(shared, batch, first, (rows - i * CHUNK).min(CHUNK));
            });
            for chunk in &*chunks {
                reconstruction += chunk.reconstruction;
                distances += chunk.distances;
            }
            let write = if start == 0 { Write::Set } else { Write::Add };
            let wave = Wave { shared, batch, start, chunks, write };
            let pieces = pieces(model, &mut self.grads, &mut self.usage);
            pieces.into_par_iter().with_max_len(1).for_each(|piece| wave.sum(piece));
        }
        let quantization = shared.level_weight() * distances / shared.elements();
        self.grads[model.own_len()..].fill(0.0);
        if !plan.auxiliaries.is_empty() {
            let own = &self.ahead.gradients.params;
            self.grads.iter_mut().zip(own).for_each(|(g, a)| *g += a);
        }
        self.ahead.codes = codes;
        Ok(Losses {
            reconstruction: reconstruction / (batch.len() * batch.width()) as f64,
            quantization,
            auxiliary,
        })
    }

    /// Gradients of the last run, laid out as the parameters.
    pub fn grads(&self) -> &[f32] {
        &self.grads
    }

    /// The same, writable, to clip them in place.
    pub fn grads_mut(&mut self) -> &mut [f32] {
        &mut self.grads
    }

    /// Rows of each code of a level in the last run.
    pub fn counts(&self, level: usize) -> &[u32] {
        &self.usage[level].counts
    }

    /// What the last run did with the codes of a level.
    pub(super) fn usage(&self, level: usize) -> &Usage {
        &self.usage[level]
    }
}

/// Cuts the gradients into pieces in the order of the parameters.
fn pieces<'a>(
    model: &RqVaeModel,
    mut grads: &'a mut [f32],
    usage: &'a mut [Usage],
) -> Vec<Piece<'a>> {
    let mut out = Vec::with_capacity(64);
    let mut take = |len: usize| {
        let (head, tail) = std::mem::take(&mut grads).split_at_mut(len);
        grads = tail;
        head
    };
    let mlp = |part: Part, take: &mut dyn FnMut(usize) -> &'a mut [f32], out: &mut Vec<_>| {
        for (layer, l) in part.mlp(model).layers().iter().enumerate() {
            let blocks = take(l.weight.len).chunks_mut(BLOCK * l.inputs).enumerate();
            out.extend(blocks.map(|(b, out)| Piece::Weight { part, layer, first: b * BLOCK, out }));
            out.push(Piece::Bias { part, layer, out: take(l.bias.len) });
        }
    };
    mlp(Part::Encoder, &mut take, &mut out);
    for (level, usage) in usage.iter_mut().enumerate() {
        out.push(Piece::Level { level, out: take(model.level_slot(level).len), usage });
    }
    mlp(Part::Decoder, &mut take, &mut out);
    out
}

/// The second half of a wave.
#[derive(Clone, Copy)]
struct Wave<'a> {
    shared: Shared<'a>,
    batch: BatchRows<'a>,
    start: usize,
    chunks: &'a [Chunk],
    write: Write,
}

impl Wave<'_> {
    /// Sums one piece over the chunks, in their order.
    fn sum(&self, piece: Piece<'_>) {
        let input = |part, i: usize| {
            let chunk = &self.chunks[i];
            if part == Part::Encoder {
                chunk.vectors(self.batch, self.start + i * CHUNK)
            } else {
                &chunk.latents[..]
            }
        };
        match piece {
            Piece::Weight { part, layer, first, out } => {
                let mlp = part.mlp(self.shared.model);
                let outputs = first..first + out.len() / mlp.layers()[layer].inputs;
                let mut write = self.write;
                for (i, chunk) in self.chunks.iter().enumerate() {
                    let (x, state) = (input(part, i), part.state(chunk));
                    mlp.weight_gradient(layer, outputs.clone(), x, chunk.rows, state, out, write);
                    write = Write::Add;
                }
            }
            Piece::Bias { part, layer, out } => {
                self.begin(out);
                for chunk in self.chunks {
                    let mlp = part.mlp(self.shared.model);
                    mlp.bias_gradient(layer, chunk.rows, part.state(chunk), out);
                }
            }
            Piece::Level { level, out, usage } => {
                self.begin(out);
                let s = &self.shared;
                if level >= s.centroids.len() {
                    return;
                }
                let (c, factor) = (&s.centroids[level], s.level_factor());
                for chunk in self.chunks {
                    let level = &chunk.levels[level];
                    level.add_code_gradients(c, s.loss, factor, out);
                    usage.add(&level.codes, &level.residuals, c.dim());
                }
            }
        }
    }

    fn begin(&self, out: &mut [f32]) {
        if self.write == Write::Set {
            out.fill(0.0);
        }
    }
}

impl Usage {
    fn add(&mut self, codes: &[Code], residuals: &[f32], d: usize) {
        codes.iter().for_each(|&c| self.counts[c as usize] += 1);
        if self.sums.is_empty() {
            return;
        }
        for (&c, r) in codes.iter().zip(residuals.chunks_exact(d)) {
            let at = c as usize * d;
            self.sums[at..at + d].iter_mut().zip(r).for_each(|(s, v)| *s += v);
        }
    }
}
