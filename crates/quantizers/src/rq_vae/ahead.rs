//! What a step settles over its whole batch: balanced codes, and losses that compare rows.

use super::auxiliary::{Auxiliary, AuxiliaryBatch, AuxiliaryGradients};
use super::chunk::{BatchRows, Chunk, Shared};
use super::step::CHUNK;
use crate::kmeans::centroids::TILE;
use crate::sinkhorn;
use rayon::prelude::*;
use sidereal_core::{Code, MatrixRef, Result};
use sidereal_nn::kernels::math::{size, zeros};

/// How rows of a batch are shared among the codes of a level; see [`crate::sinkhorn`].
#[derive(Debug, Clone, PartialEq)]
pub struct Balance {
    /// Epsilon of each level; 0 takes the nearest code.
    pub epsilons: Vec<f64>,
    /// Iterations.
    pub iterations: u32,
}

impl Balance {
    /// Whether one of the first `levels` levels is balanced.
    pub(super) fn is_on(&self, levels: usize) -> bool {
        self.epsilons.iter().take(levels).any(|&e| e > 0.0)
    }
}

/// Buffers over the whole batch, reused.
#[derive(Default)]
pub(super) struct LookAhead {
    latents: Vec<f32>,
    quantized: Vec<f32>,
    distances: Vec<f32>,
    pub codes: Vec<Code>,
    seen: Vec<Code>,
    pub gradients: AuxiliaryGradients,
}

impl LookAhead {
    /// Chooses the codes of the whole batch, level after level.
    ///
    /// Cost beside the codes: the encoder once more, and a matrix `B x K`.
    pub fn balance(
        &mut self,
        s: Shared<'_>,
        batch: BatchRows<'_>,
        balance: &Balance,
    ) -> Result<()> {
        let (b, d, levels) = (batch.len(), s.model.shape().latent, s.centroids.len());
        size(&mut self.latents, b * d);
        let chunks = self.latents.par_chunks_mut(CHUNK * d).enumerate().with_max_len(1);
        chunks.for_each_init(Chunk::default, |chunk, (i, out)| {
            chunk.latents(s, batch, i * CHUNK, out.len() / d);
            out.copy_from_slice(chunk.encoder.output());
        });
        self.codes.clear();
        self.codes.resize(b * levels, 0);
        for (l, c) in s.centroids.iter().enumerate() {
            let k = c.width();
            size(&mut self.distances, b * k);
            let tiles = self.distances.par_chunks_mut(TILE * k);
            tiles.zip(self.latents.par_chunks(TILE * d)).for_each(|(out, r)| c.distances(r, out));
            let distances = MatrixRef::new(b, k, &self.distances)?;
            let epsilon = balance.epsilons.get(l).copied().unwrap_or(0.0);
            let codes = sinkhorn::assign(distances, epsilon, balance.iterations);
            // Latents become what this level leaves over.
            let rows = self.latents.par_chunks_mut(d).zip(self.codes.par_chunks_mut(levels));
            rows.zip(codes).for_each(|((r, out), code)| {
                out[l] = code;
                r.iter_mut().zip(c.row(code)).for_each(|(r, q)| *r -= q);
            });
        }
        Ok(())
    }

    /// Evaluates the losses; the gradients are then in [`LookAhead::gradients`].
    pub fn evaluate(
        &mut self,
        s: Shared<'_>,
        batch: BatchRows<'_>,
        auxiliaries: &[Box<dyn Auxiliary + '_>],
    ) -> Result<f64> {
        let (b, d, levels) = (batch.len(), s.model.shape().latent, s.centroids.len());
        size(&mut self.latents, b * d);
        size(&mut self.quantized, b * d);
        self.seen.resize(b * levels, 0);
        self.latents
            .par_chunks_mut(CHUNK * d)
            .zip(self.quantized.par_chunks_mut(CHUNK * d))
            .zip(self.seen.par_chunks_mut(CHUNK * levels))
            .enumerate()
            .with_max_len(1)
            .for_each_init(Chunk::default, |chunk, (i, ((latents, quantized), codes))| {
                chunk.encode(s, batch, i * CHUNK, latents.len() / d);
                latents.copy_from_slice(chunk.encoder.output());
                quantized.copy_from_slice(&chunk.latents);
                for (l, level) in chunk.levels.iter().enumerate() {
                    let out = codes.chunks_exact_mut(levels).zip(&level.codes);
                    out.for_each(|(row, code)| row[l] = *code);
                }
            });
        let into = &mut self.gradients;
        zeros(&mut into.latents, b * d);
        zeros(&mut into.quantized, b * d);
        zeros(&mut into.params, s.model.params().len());
        let all: Vec<u32>;
        let rows = match batch.numbers() {
            Some(rows) => rows,
            None => {
                all = (0..b as u32).collect();
                &all
            }
        };
        let seen = AuxiliaryBatch {
            rows,
            latents: MatrixRef::new(b, d, &self.latents)?,
            quantized: MatrixRef::new(b, d, &self.quantized)?,
            codes: &self.seen,
            model: s.model,
            key: s.key,
        };
        auxiliaries.iter().try_fold(0.0, |sum, a| Ok(sum + a.evaluate(&seen, into)?))
    }
}
