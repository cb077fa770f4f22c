//! The training of `rq-vae`: start, epochs of seeded batches, AdamW, restarts, the state to keep.

use super::average::Averages;
use super::chunk::BatchRows;
use super::codebook::{RqVaeCodebook, encode};
use super::loss::{CodebookUpdate, Losses, RqVaeLoss};
use super::model::{RqVaeModel, RqVaeShape};
use super::options::{CodebookStart, InputScale, RqVaeOptions};
use super::scale::Standardize;
use super::step::RqVaeStep;
use crate::blocks::distinct_rows;
use crate::levels::check_enough;
use crate::residual::{ResidualCodebook, ResidualScale, check_vectors};
use crate::rq_kmeans::{RqKMeans, RqKMeansOptions};
use rand::Rng;
use rand::seq::SliceRandom;
use sidereal_core::{
    Code, Codebook, Error, Event, Matrix, MatrixRef, Quantizer, QuantizerInput, Result, Run,
    Silent, seed,
};
use sidereal_nn::kernels::activation::Activation;
use sidereal_nn::optim::{AdamW, AdamWOptions, Optimizer, clip_by_norm};
use sidereal_nn::parallel;

/// Fits an [`RqVaeCodebook`] by gradients.
///
/// ```
/// use sidereal_core::{Codebook, Matrix, QuantizerInput, Run};
/// use sidereal_quantizers::{RqVae, RqVaeOptions};
/// # fn main() -> sidereal_core::Result<()> {
/// let x = Matrix::new(4, 2, vec![0.0, 1.0, 0.1, 1.0, 5.0, -5.0, 5.1, -5.0])?;
/// let input = QuantizerInput::vectors(x.view());
/// let options = RqVaeOptions {
///     levels: vec![2, 2],
///     hidden: vec![8],
///     latent: 2,
///     epochs: 20,
///     ..Default::default()
/// };
/// let book = RqVae::new(options)?.fit_rq_vae(&input, &Run::quiet(7))?;
/// let codes = book.quantize(&input)?;
/// assert_eq!(codes.row(0)[0], codes.row(1)[0]); // near neighbours share their first code
/// assert_ne!(codes.row(0)[0], codes.row(2)[0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RqVae {
    options: RqVaeOptions,
}

/// Everything that changes while training.
struct Training<'a> {
    options: &'a RqVaeOptions,
    run: &'a Run<'a>,
    rows: &'a [f32],
    model: RqVaeModel,
    step: RqVaeStep,
    adam: AdamW,
    averages: Vec<Averages>,
    /// Epochs since a code of a level was last chosen.
    idle: Vec<Vec<u32>>,
    updates: u64,
}

impl RqVae {
    /// Checks the options.
    ///
    /// Errors name the key under `quantizer`, its value and what is allowed.
    pub fn new(options: RqVaeOptions) -> Result<Self> {
        options.check()?;
        Ok(RqVae { options })
    }

    /// Fits and keeps the type, for callers that want more than [`Codebook`] offers.
    pub fn fit_rq_vae(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<RqVaeCodebook> {
        parallel::pool(run.threads)?.install(|| self.fit_here(input.vectors, run))
    }

    fn fit_here(&self, vectors: MatrixRef<'_>, run: &Run<'_>) -> Result<RqVaeCodebook> {
        check_vectors(vectors)?;
        let o = &self.options;
        let widest = o.levels.iter().copied().max().unwrap_or(0) as usize;
        check_enough(&o.levels, vectors.rows(), distinct_rows(vectors, widest))?;
        let scale = (o.input == InputScale::Standardized).then(|| Standardize::fit(vectors));
        let scaled = scale.as_ref().map(|s| s.apply(vectors));
        let rows = scaled.as_ref().map_or(vectors.data(), Matrix::data);
        let shape = RqVaeShape {
            input: vectors.cols(),
            hidden: o.hidden.iter().map(|&w| w as usize).collect(),
            latent: o.latent as usize,
            levels: o.levels.clone(),
            activation: Activation::Relu,
        };
        let mut model = RqVaeModel::new(shape, run.seed)?;
        if o.start == CodebookStart::KMeans {
            self.start(&mut model, rows, run)?;
        }
        let adam = AdamWOptions { lr: o.lr, weight_decay: o.weight_decay, ..Default::default() };
        let averages = match o.codebook {
            CodebookUpdate::Gradient => Vec::new(),
            CodebookUpdate::Average => (0..o.levels.len())
                .map(|l| Averages::new(model.level(l), o.levels[l] as usize))
                .collect(),
        };
        let training = Training {
            options: o,
            run,
            rows,
            step: RqVaeStep::new(&model),
            adam: AdamW::new(adam, model.params().len(), "quantizer")?,
            averages,
            idle: o.levels.iter().map(|&k| vec![0; k as usize]).collect(),
            model,
            updates: 0,
        };
        RqVaeCodebook::new(training.run()?, scale)
    }

    /// Sets all codes by residual k-means on the latents of drawn rows.
    fn start(&self, model: &mut RqVaeModel, rows: &[f32], run: &Run<'_>) -> Result<()> {
        let (o, width) = (&self.options, model.shape().input);
        let n = rows.len() / width;
        let wanted = if o.start_rows == 0 { n } else { n.min(o.start_rows as usize) };
        let mut rng = seed::stream(run.seed, "rq-vae-start", 0);
        let mut drawn = rand::seq::index::sample(&mut rng, n, wanted).into_vec();
        drawn.sort_unstable();
        let sample: Vec<f32> =
            drawn.iter().flat_map(|&r| &rows[r * width..(r + 1) * width]).copied().collect();
        let latents = encode(model, &sample);
        let options =
            RqKMeansOptions { levels: o.levels.clone(), start_rows: 0, ..Default::default() };
        let quiet = Run {
            seed: run.seed,
            observer: &Silent,
            cancel: run.cancel.clone(),
            threads: run.threads,
        };
        let book = RqKMeans::new(options)?.fit_here(latents.view(), &quiet)?;
        (0..book.len()).try_for_each(|l| model.set_level(l, book.level(l)))
    }
}

impl Training<'_> {
    fn run(mut self) -> Result<RqVaeModel> {
        let o = self.options;
        let n = self.rows.len() / self.model.shape().input;
        let total = u64::from(o.epochs);
        self.run.emit(Event::Started { task: "rq-vae", total, unit: "epochs" });
        let mut best: Option<Kept> = None;
        let mut order: Vec<u32> = (0..n as u32).collect();
        for epoch in 0..o.epochs {
            order.shuffle(&mut seed::stream(self.run.seed, "rq-vae-order", u64::from(epoch)));
            let losses = self.epoch(&order, epoch)?;
            let unused = self.idle.iter().flatten().filter(|idle| **idle > 0).count();
            self.restart(epoch)?;
            let numbers = [
                ("loss", losses.total()),
                ("reconstruction", losses.reconstruction),
                ("unused", unused as f64),
            ];
            let done = u64::from(epoch) + 1;
            self.run.emit(Event::Advanced { task: "rq-vae", done, numbers: &numbers });
            let due = o.check_every > 0 && done % u64::from(o.check_every) == 0;
            if o.check_every > 0 && (due || done == total) {
                let distinct = self.distinct()?;
                if best.as_ref().is_none_or(|b| distinct > b.distinct) {
                    best = Some(Kept { distinct, values: self.model.params().values().to_vec() });
                }
            }
        }
        if let Some(best) = best {
            self.model.params_mut().values_mut().copy_from_slice(&best.values);
        }
        self.run.emit(Event::Finished { task: "rq-vae" });
        Ok(self.model)
    }

    /// One pass over the rows; gives the mean losses of a row.
    fn epoch(&mut self, order: &[u32], epoch: u32) -> Result<Losses> {
        let (o, width) = (self.options, self.model.shape().input);
        let loss = RqVaeLoss {
            beta: o.beta,
            weight: o.weight,
            estimator: o.estimator,
            temperature: o.temperature,
            codebook: o.codebook,
        };
        self.idle.iter_mut().flatten().for_each(|idle| *idle = idle.saturating_add(1));
        let batches = order.len().div_ceil(o.batch as usize) as f32;
        let mut mean = Losses::default();
        for (b, listed) in order.chunks(o.batch as usize).enumerate() {
            self.run.check()?;
            let key = seed::key(self.run.seed, "rq-vae-gumbel", self.updates);
            let rows = BatchRows::listed(self.rows, width, listed);
            let losses = self.step.run(&self.model, rows, loss, key)?;
            let mut finite = losses.total().is_finite();
            if o.clip > 0.0 && finite {
                finite = clip_by_norm(self.step.grads_mut(), f64::from(o.clip)).is_finite();
            }
            self.updates += 1;
            if !finite {
                return Err(Error::NotFinite {
                    what: "the loss of rq-vae".into(),
                    step: Some(self.updates),
                    help: "lower quantizer.lr, or set quantizer.input to \"standardized\"".into(),
                });
            }
            let warm = (epoch as f32 + (b + 1) as f32 / batches) / o.warmup.max(1) as f32;
            let lr = o.lr * if o.warmup > 0 { warm.min(1.0) } else { 1.0 };
            let values = self.model.params_mut().values_mut();
            self.adam.step(values, self.step.grads(), lr, self.run.threads);
            for (l, averages) in self.averages.iter_mut().enumerate() {
                let slot = self.model.level_slot(l);
                let codes = slot.of_mut(self.model.params_mut().values_mut());
                averages.update(self.step.usage(l), o.decay, codes);
            }
            for (l, idle) in self.idle.iter_mut().enumerate() {
                let chosen = idle.iter_mut().zip(self.step.counts(l)).filter(|(_, n)| **n > 0);
                chosen.for_each(|(idle, _)| *idle = 0);
            }
            let share = listed.len() as f64 / order.len() as f64;
            mean.reconstruction += share * losses.reconstruction;
            mean.quantization += share * losses.quantization;
        }
        Ok(mean)
    }

    /// Moves codes that nobody chose for long onto residuals of drawn rows.
    fn restart(&mut self, epoch: u32) -> Result<()> {
        let (limit, width) = (self.options.restart_after, self.model.shape().input);
        if limit == 0 || self.idle.iter().flatten().all(|&idle| idle < limit) {
            return Ok(());
        }
        let n = self.rows.len() / width;
        let mut rng = seed::stream(self.run.seed, "rq-vae-restart", u64::from(epoch));
        for level in 0..self.idle.len() {
            for code in 0..self.idle[level].len() {
                if self.idle[level][code] < limit {
                    continue;
                }
                let row = rng.random_range(0..n);
                let residual = self.residual(&self.rows[row * width..(row + 1) * width], level)?;
                let slot = self.model.set_code(level, code as Code, &residual);
                self.adam.state_mut().into_iter().for_each(|(_, m)| slot.of_mut(m).fill(0.0));
                if let Some(averages) = self.averages.get_mut(level) {
                    averages.set(code, &residual);
                }
                self.idle[level][code] = 0;
            }
        }
        Ok(())
    }

    /// The residual of one row as it enters a level.
    fn residual(&self, row: &[f32], level: usize) -> Result<Vec<f32>> {
        let mut residual = encode(&self.model, row).into_data();
        if level == 0 {
            return Ok(residual);
        }
        let book = self.residual_codebook()?;
        let latent = MatrixRef::new(1, residual.len(), &residual)?;
        let codes = book.quantize(&QuantizerInput::vectors(latent))?;
        let d = residual.len();
        for (l, &code) in codes.row(0)[..level].iter().enumerate() {
            let at = code as usize * d;
            let q = &self.model.level(l)[at..at + d];
            residual.iter_mut().zip(q).for_each(|(r, q)| *r -= q);
        }
        Ok(residual)
    }

    fn residual_codebook(&self) -> Result<ResidualCodebook> {
        let shape = self.model.shape();
        let level = |(l, &k): (usize, &u32)| {
            Matrix::new(k as usize, shape.latent, self.model.level(l).to_vec())
        };
        let levels = shape.levels.iter().enumerate().map(level).collect::<Result<_>>()?;
        ResidualCodebook::new(levels, ResidualScale::Raw)
    }

    /// Number of distinct code tuples of all rows.
    fn distinct(&self) -> Result<usize> {
        let latents = encode(&self.model, self.rows);
        let codes = self.residual_codebook()?.quantize(&QuantizerInput::vectors(latents.view()))?;
        let mut tuples: Vec<&[Code]> = (0..codes.rows()).map(|i| codes.row(i)).collect();
        tuples.sort_unstable();
        tuples.dedup();
        Ok(tuples.len())
    }
}

/// The best state so far.
struct Kept {
    distinct: usize,
    values: Vec<f32>,
}

impl Quantizer for RqVae {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(self.fit_rq_vae(input, run)?))
    }
}
