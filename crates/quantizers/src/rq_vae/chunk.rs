//! One micro-batch of the step: encoder, codes, decoder, and back to the encoder's output layer.
//!
//! Everything here is single-threaded; threads work on different chunks. The search is a product of
//! a tile of residuals with all codes and an argmin over it; the tile (`TILE x K`) is all that is
//! ever written of the distances, except for [`Estimator::Gumbel`], which needs every weight again.

use super::loss::{CodebookUpdate, Estimator, RqVaeLoss};
use super::model::RqVaeModel;
use crate::gradient::{GradientStrategy, RotationTrick};
use crate::kmeans::centroids::{Centroids, Search, TILE};
use crate::kmeans::squared_distance;
use sidereal_core::{Code, seed};
use sidereal_nn::MlpState;
use sidereal_nn::kernels::embedding;
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::kernels::math::{add_rows, dot, exp_in_place, size, sum, zeros};
use sidereal_nn::kernels::squared_error::squared_error;

/// What all chunks of a step share.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    pub model: &'a RqVaeModel,
    pub centroids: &'a [Centroids],
    pub loss: RqVaeLoss,
    /// Rows of the whole batch.
    pub batch: usize,
    /// Key of this step's Gumbel noise.
    pub key: u64,
    /// What was settled over the whole batch.
    pub ahead: Ahead<'a>,
}

/// What is settled over the whole batch before its chunks run.
#[derive(Clone, Copy, Default)]
pub(super) struct Ahead<'a> {
    /// Codes, `B x L`, where a balanced assignment chose them.
    pub codes: Option<&'a [Code]>,
    /// Gradient of auxiliary losses in the latents, `B x D`.
    pub d_latents: Option<&'a [f32]>,
    /// The same in their quantized form.
    pub d_quantized: Option<&'a [f32]>,
}

/// Adds rows of a batch's gradient from row `first` on.
fn add_ahead(ahead: Option<&[f32]>, first: usize, d: usize, out: &mut [f32]) {
    if let Some(g) = ahead {
        out.iter_mut().zip(&g[first * d..]).for_each(|(o, g)| *o += g);
    }
}

impl Shared<'_> {
    /// Factor on `r - q` in the gradient of a level's squared error.
    pub(super) fn level_factor(&self) -> f32 {
        (2.0 * f64::from(self.loss.weight) / self.elements()) as f32
    }

    /// Elements of the latents of the whole batch.
    pub(super) fn elements(&self) -> f64 {
        (self.batch * self.model.shape().latent) as f64
    }

    /// Weight of a level's squared error in the loss.
    pub(super) fn level_weight(&self) -> f64 {
        let own = if self.loss.codebook == CodebookUpdate::Average { 0.0 } else { 1.0 };
        f64::from(self.loss.weight) * (own + f64::from(self.loss.beta))
    }
}

/// What one level keeps between forward and backward.
#[derive(Default)]
pub(super) struct Level {
    /// `r_l`, shape `rows x D`.
    pub residuals: Vec<f32>,
    pub codes: Vec<Code>,
    /// Gumbel: the weights `y`, shape `rows x K`.
    pub soft: Vec<f32>,
    /// Gumbel: minus twice the gradient of the distances, shape `rows x K`.
    pub slopes: Vec<f32>,
    /// Gumbel: gradient of `q~_l`, shape `rows x D`. Code path: gradient of `q_l` in the
    /// commitment of later levels.
    pub d_code: Vec<f32>,
}

/// Buffers of one micro-batch, reused.
#[derive(Default)]
pub(super) struct Chunk {
    /// The rows where they had to be gathered.
    gathered: Vec<f32>,
    pub rows: usize,
    pub encoder: MlpState,
    pub decoder: MlpState,
    pub levels: Vec<Level>,
    /// `z^`, shape `rows x D`: the decoder's input.
    pub latents: Vec<f32>,
    search: Search,
    nearest: Vec<f32>,
    d_latents: Vec<f32>,
    d_residuals: Vec<f32>,
    row: Vec<f32>,
    /// Sum of squared errors of the reconstruction.
    pub reconstruction: f64,
    /// Sum of squared distances to the codes, all levels.
    pub distances: f64,
}

/// Rows of a batch: a run of rows, or rows by number.
#[derive(Debug, Clone, Copy)]
pub struct BatchRows<'a> {
    vectors: &'a [f32],
    width: usize,
    rows: Option<&'a [u32]>,
}

impl<'a> BatchRows<'a> {
    /// All of `vectors`, rows of `width` values.
    pub fn all(vectors: &'a [f32], width: usize) -> Self {
        BatchRows { vectors, width, rows: None }
    }

    /// These rows of `vectors`, in this order.
    pub fn listed(vectors: &'a [f32], width: usize, rows: &'a [u32]) -> Self {
        BatchRows { vectors, width, rows: Some(rows) }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.map_or(self.vectors.len() / self.width.max(1), <[u32]>::len)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers of the rows, where they are listed.
    pub(super) fn numbers(&self) -> Option<&'a [u32]> {
        self.rows
    }

    /// Values of a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }
}

impl Chunk {
    /// The chunk's vectors, `rows x I`.
    pub(super) fn vectors<'a>(&'a self, batch: BatchRows<'a>, first: usize) -> &'a [f32] {
        match batch.rows {
            Some(_) => &self.gathered,
            None => &batch.vectors[first * batch.width..(first + self.rows) * batch.width],
        }
    }

    /// Forward and backward for rows `first..first + rows` of the batch, except for the gradients
    /// of weights.
    pub(super) fn run(&mut self, s: Shared<'_>, batch: BatchRows<'_>, first: usize, rows: usize) {
        self.encode(s, batch, first, rows);
        let values = s.model.params().values();
        s.model.decoder.forward(values, &self.latents, rows, &mut self.decoder);
        let mut decoder = std::mem::take(&mut self.decoder);
        let factor = 2.0 / (s.batch * batch.width) as f64;
        let out = decoder.output_and_grad();
        let vectors = self.vectors(batch, first);
        self.reconstruction = squared_error(out.output, vectors, factor as f32, out.grad);
        size(&mut self.d_latents, rows * s.model.shape().latent);
        let into = Some((&mut self.d_latents[..], Write::Set));
        s.model.decoder.values(values, rows, &mut decoder, into);
        self.decoder = decoder;
        add_ahead(s.ahead.d_quantized, first, s.model.shape().latent, &mut self.d_latents);
        self.backward_codes(s);
        let dz = self.encoder.output_and_grad().grad;
        add_ahead(s.ahead.d_latents, first, s.model.shape().latent, dz);
        s.model.encoder.values(values, rows, &mut self.encoder, None);
    }

    /// The vectors of the chunk's rows and their latents.
    pub(super) fn latents(
        &mut self,
        s: Shared<'_>,
        batch: BatchRows<'_>,
        first: usize,
        rows: usize,
    ) {
        self.rows = rows;
        if let Some(list) = batch.rows {
            size(&mut self.gathered, rows * batch.width);
            let list = &list[first..first + rows];
            embedding::gather(batch.vectors, batch.width, list, &mut self.gathered);
        }
        let mut encoder = std::mem::take(&mut self.encoder);
        s.model.encode(self.vectors(batch, first), rows, &mut encoder);
        self.encoder = encoder;
    }

    /// All that stands before the decoder.
    pub(super) fn encode(
        &mut self,
        s: Shared<'_>,
        batch: BatchRows<'_>,
        first: usize,
        rows: usize,
    ) {
        self.latents(s, batch, first, rows);
        let d = s.model.shape().latent;
        self.levels.resize_with(s.centroids.len(), Level::default);
        zeros(&mut self.latents, self.rows * d);
        self.distances = 0.0;
        for l in 0..s.centroids.len() {
            let (below, here) = self.levels.split_at_mut(l);
            let level = &mut here[0];
            size(&mut level.residuals, self.rows * d);
            match below.last() {
                None => level.residuals.copy_from_slice(self.encoder.output()),
                Some(b) => b.left_over(&s.centroids[l - 1], s.loss, &mut level.residuals),
            }
            level.choose(s, l, first, &mut self.search, &mut self.nearest);
            self.distances += level.add_codes(&s.centroids[l], s.loss, &mut self.latents);
        }
    }

    /// From the gradient of `z^` to that of the encoder's output.
    fn backward_codes(&mut self, s: Shared<'_>) {
        let d = s.model.shape().latent;
        let commit = s.loss.beta * s.level_factor();
        let dz = self.encoder.output_and_grad().grad;
        let g = &self.d_latents[..];
        match s.loss.estimator {
            Estimator::StraightThrough => {
                dz.copy_from_slice(g);
                self.levels[0].add_commitment(&s.centroids[0], commit, dz);
            }
            Estimator::ResidualPath => {
                dz.copy_from_slice(g);
                for (level, c) in self.levels.iter().zip(s.centroids) {
                    level.add_commitment(c, commit, dz);
                }
            }
            Estimator::CodePath => {
                // `dz` holds the gradient of r_{l+1} in the commitment of later levels.
                dz.fill(0.0);
                for (level, c) in self.levels.iter_mut().zip(s.centroids).rev() {
                    size(&mut level.d_code, dz.len());
                    level.d_code.iter_mut().zip(&*dz).for_each(|(code, next)| *code = -next);
                    level.add_commitment(c, commit, dz);
                }
                dz.iter_mut().zip(g).for_each(|(dz, g)| *dz += g);
            }
            Estimator::Rotation | Estimator::Gumbel => {
                // `dz` holds the gradient of r_{l+1}, and of r_l after each level.
                dz.fill(0.0);
                for (l, level) in self.levels.iter_mut().enumerate().rev() {
                    let c = &s.centroids[l];
                    size(&mut level.d_code, dz.len());
                    for ((code, g), next) in level.d_code.iter_mut().zip(g).zip(&*dz) {
                        *code = g - next;
                    }
                    if s.loss.estimator == Estimator::Rotation {
                        self.row.resize(d, 0.0);
                        level.rotate_back(c, &mut self.row, dz);
                    } else {
                        level.soften_back(c, s.loss.temperature, &mut self.d_residuals, dz);
                    }
                    level.add_commitment(c, commit, dz);
                }
            }
        }
    }
}

impl Level {
    /// `r_{l+1} = r_l - q~_l`.
    fn left_over(&self, c: &Centroids, loss: RqVaeLoss, out: &mut [f32]) {
        if loss.estimator == Estimator::Gumbel {
            // `d_code` is free until the backward pass: it holds q~.
            out.iter_mut()
                .zip(&self.residuals)
                .zip(&self.d_code)
                .for_each(|((o, r), q)| *o = r - q);
            return;
        }
        let d = c.dim();
        let rows = out.chunks_exact_mut(d).zip(self.residuals.chunks_exact(d)).zip(&self.codes);
        for ((out, r), code) in rows {
            for ((o, r), q) in out.iter_mut().zip(r).zip(c.row(*code)) {
                *o = r - q;
            }
        }
    }

    /// Finds the codes, and for Gumbel the weights `y` and `q~ = y C`.
    fn choose(
        &mut self,
        s: Shared<'_>,
        l: usize,
        first: usize,
        search: &mut Search,
        distances: &mut Vec<f32>,
    ) {
        let c = &s.centroids[l];
        let (k, d) = (c.width(), c.dim());
        let rows = self.residuals.len() / d;
        self.codes.resize(rows, 0);
        if let Some(codes) = s.ahead.codes {
            let given = codes[first * s.centroids.len()..].chunks_exact(s.centroids.len());
            self.codes.iter_mut().zip(given).for_each(|(code, row)| *code = row[l]);
            return;
        }
        if s.loss.estimator != Estimator::Gumbel {
            distances.resize(TILE.min(rows), 0.0);
            let tiles = self.residuals.chunks(TILE * d).zip(self.codes.chunks_mut(TILE));
            for (tile, codes) in tiles {
                let distances = &mut distances[..codes.len()];
                c.nearest(tile, search, codes, distances);
            }
            return;
        }
        size(&mut self.soft, rows * k);
        let (r, book) = (Mat::rows(&self.residuals, d), Mat::rows(c.values().data(), d));
        gemm(rows, k, d, r, book.t(), &mut self.soft, k, Write::Set);
        for (i, (row, code)) in self.soft.chunks_exact_mut(k).zip(&mut self.codes).enumerate() {
            let key = seed::key(s.key, "gumbel", ((first + i) * s.centroids.len() + l) as u64);
            // |r|^2 is the same for all codes and falls out of the softmax.
            for (w, (v, norm)) in row.iter_mut().zip(c.norms()).enumerate() {
                *v = (gumbel(key, w as u64) + 2.0 * *v - norm) / s.loss.temperature;
            }
            let mut top = 0;
            for w in 1..k {
                if row[w] > row[top] {
                    top = w;
                }
            }
            *code = top as Code;
            let high = row[top];
            row.iter_mut().for_each(|v| *v -= high);
            exp_in_place(row);
            let total = 1.0 / sum(row);
            row.iter_mut().for_each(|v| *v *= total);
        }
        size(&mut self.d_code, rows * d);
        gemm(rows, d, k, Mat::rows(&self.soft, k), book, &mut self.d_code, d, Write::Set);
    }

    /// Adds `q~` to `latents`; gives the sum of `|r - q|^2`.
    fn add_codes(&self, c: &Centroids, loss: RqVaeLoss, latents: &mut [f32]) -> f64 {
        let d = c.dim();
        let mut square = 0.0;
        let rows = latents.chunks_exact_mut(d).zip(self.residuals.chunks_exact(d));
        for (i, ((z, r), code)) in rows.zip(&self.codes).enumerate() {
            let q = c.row(*code);
            let soft = loss.estimator == Estimator::Gumbel;
            let into = if soft { &self.d_code[i * d..(i + 1) * d] } else { q };
            z.iter_mut().zip(into).for_each(|(z, q)| *z += q);
            square += f64::from(squared_distance(r, q));
        }
        square
    }

    /// Adds `factor (r - q)`.
    fn add_commitment(&self, c: &Centroids, factor: f32, dz: &mut [f32]) {
        let d = c.dim();
        let rows = dz.chunks_exact_mut(d).zip(self.residuals.chunks_exact(d)).zip(&self.codes);
        for ((dz, r), code) in rows {
            for ((g, r), q) in dz.iter_mut().zip(r).zip(c.row(*code)) {
                *g += factor * (r - q);
            }
        }
    }

    /// Adds `J' d_code` of the rotation.
    fn rotate_back(&self, c: &Centroids, row: &mut [f32], dz: &mut [f32]) {
        let d = c.dim();
        let rows = dz.chunks_exact_mut(d).zip(self.residuals.chunks_exact(d));
        for ((dz, r), (code, g)) in rows.zip(self.codes.iter().zip(self.d_code.chunks_exact(d))) {
            RotationTrick.backward(r, c.row(*code), g, row);
            dz.iter_mut().zip(&*row).for_each(|(g, r)| *g += r);
        }
    }

    /// Adds the gradient of `q~ = y C` in the residuals, and keeps the slopes for the codebook: with
    /// `y' = C dq~` the distances have `dd = -y (y' - y.y') / t`, and `dr = -2 dd C` as `dd` adds up
    /// to 0.
    fn soften_back(
        &mut self,
        c: &Centroids,
        temperature: f32,
        d_residuals: &mut Vec<f32>,
        dz: &mut [f32],
    ) {
        let (k, d) = (c.width(), c.dim());
        let rows = self.codes.len();
        size(&mut self.slopes, rows * k);
        let book = Mat::rows(c.values().data(), d);
        gemm(rows, k, d, Mat::rows(&self.d_code, d), book.t(), &mut self.slopes, k, Write::Set);
        for (dy, y) in self.slopes.chunks_exact_mut(k).zip(self.soft.chunks_exact(k)) {
            let mean = dot(dy, y);
            dy.iter_mut().zip(y).for_each(|(g, y)| *g = 2.0 * y * (*g - mean) / temperature);
        }
        size(d_residuals, rows * d);
        gemm(rows, d, k, Mat::rows(&self.slopes, k), book, d_residuals, d, Write::Set);
        dz.iter_mut().zip(&*d_residuals).for_each(|(g, r)| *g += r);
    }

    /// Adds the gradient of the level's codes, row after row: `factor (q - r)` for the code of each
    /// row, and for Gumbel `y' dq~ + 2 dd' (C - r)` with the distances' gradients `dd`.
    pub(super) fn add_code_gradients(
        &self,
        c: &Centroids,
        loss: RqVaeLoss,
        factor: f32,
        out: &mut [f32],
    ) {
        let (k, d) = (c.width(), c.dim());
        if loss.codebook != CodebookUpdate::Average {
            for (r, code) in self.residuals.chunks_exact(d).zip(&self.codes) {
                let at = *code as usize * d;
                for ((g, r), q) in out[at..at + d].iter_mut().zip(r).zip(c.row(*code)) {
                    *g += factor * (q - r);
                }
            }
        }
        if loss.estimator == Estimator::CodePath && loss.codebook != CodebookUpdate::Average {
            for (g, code) in self.d_code.chunks_exact(d).zip(&self.codes) {
                let at = *code as usize * d;
                out[at..at + d].iter_mut().zip(g).for_each(|(o, g)| *o += g);
            }
        }
        if loss.estimator != Estimator::Gumbel {
            return;
        }
        let rows = self.codes.len();
        let soft = Mat::rows(&self.soft, k).t();
        gemm(k, d, rows, soft, Mat::rows(&self.d_code, d), out, d, Write::Add);
        let (slopes, r) = (Mat::rows(&self.slopes, k).t(), Mat::rows(&self.residuals, d));
        gemm(k, d, rows, slopes, r, out, d, Write::Add);
        let mut sums = vec![0.0; k];
        add_rows(&self.slopes, &mut sums);
        for ((out, sum), c) in out.chunks_exact_mut(d).zip(sums).zip(c.values().data().chunks(d)) {
            out.iter_mut().zip(c).for_each(|(g, c)| *g -= sum * c);
        }
    }
}

/// `-ln(-ln u)` with `u` uniform in (0, 1), a hash of key and code.
pub(super) fn gumbel(key: u64, code: u64) -> f32 {
    let bits = seed::mix(key ^ code.wrapping_mul(0x9E37_79B9_7F4A_7C15)) >> 40;
    let u = (bits as f64 + 0.5) / f64::from(1 << 24);
    (-(-u.ln()).ln()) as f32
}
