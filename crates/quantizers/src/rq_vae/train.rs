//! The training of an RQ-VAE: epochs of batches, AdamW, restarts, phases, the state to keep.

use super::ahead::Balance;
use super::auxiliary::Auxiliary;
use super::average::Averages;
use super::chunk::BatchRows;
use super::codebook::encode;
use super::fit::{Order, k_means_start, residual_codebook};
use super::linear::LinearCodes;
use super::loss::{CodebookUpdate, Losses, RqVaeLoss};
use super::model::RqVaeModel;
use super::options::{CodebookStart, Keep, RqVaeOptions, Schedule};
use super::step::{RqVaeStep, StepPlan};
use rand::Rng;
use rand::seq::SliceRandom;
use sidereal_core::{Code, Codebook, Error, Event, MatrixRef, QuantizerInput, Result, Run, seed};
use sidereal_nn::Slot;
use sidereal_nn::optim::{AdamW, AdamWOptions, Optimizer, clip_by_norm};
use std::ops::Range;

/// Everything that changes while training.
pub(super) struct Training<'a> {
    task: &'static str,
    options: &'a RqVaeOptions,
    run: &'a Run<'a>,
    rows: &'a [f32],
    model: RqVaeModel,
    step: RqVaeStep,
    adam: AdamW,
    averages: Vec<Averages>,
    linear: Vec<LinearCodes>,
    balance: Balance,
    auxiliaries: Vec<Box<dyn Auxiliary + 'a>>,
    order: Option<Order<'a>>,
    /// Epochs since a code of a level was last chosen.
    idle: Vec<Vec<u32>>,
    /// The levels that learn; those before them stay, those behind are not in use.
    learning: Range<usize>,
    updates: u64,
}

impl<'a> Training<'a> {
    pub fn new(
        task: &'static str,
        o: &'a RqVaeOptions,
        run: &'a Run<'a>,
        rows: &'a [f32],
        mut model: RqVaeModel,
        auxiliaries: Vec<Box<dyn Auxiliary + 'a>>,
        order: Option<Order<'a>>,
    ) -> Result<Self> {
        let adam = AdamWOptions { lr: o.lr, weight_decay: o.weight_decay, ..Default::default() };
        let levels = 0..o.levels.len();
        let (mut averages, mut linear) = (Vec::new(), Vec::new());
        match o.codebook {
            CodebookUpdate::Gradient => {}
            CodebookUpdate::Average => averages.extend(
                levels.clone().map(|l| Averages::new(model.level(l), o.levels[l] as usize)),
            ),
            CodebookUpdate::Linear => {
                linear.extend(levels.clone().map(|l| LinearCodes::new(&mut model, l)));
            }
        }
        let phased = o.schedule == Schedule::LayerWise;
        Ok(Training {
            task,
            options: o,
            run,
            rows,
            step: RqVaeStep::new(&model),
            adam: AdamW::new(adam, model.params().len(), "quantizer")?,
            averages,
            linear,
            balance: o.balance(),
            auxiliaries,
            order,
            idle: o.levels.iter().map(|&k| vec![0; k as usize]).collect(),
            learning: if phased { 0..1 } else { levels },
            model,
            updates: 0,
        })
    }

    pub fn run(mut self) -> Result<RqVaeModel> {
        let o = self.options;
        let n = self.rows.len() / self.model.shape().input;
        let (task, total) = (self.task, u64::from(o.epochs));
        self.run.emit(Event::Started { task, total, unit: "epochs" });
        let mut best: Option<Kept> = None;
        let mut order: Vec<u32> = (0..n as u32).collect();
        for epoch in 0..o.epochs {
            self.enter_phase(epoch)?;
            match &self.order {
                Some(own) => order = own(epoch),
                None => {
                    let purpose = "rq-vae-order";
                    order.shuffle(&mut seed::stream(self.run.seed, purpose, u64::from(epoch)));
                }
            }
            let losses = self.epoch(&order, epoch)?;
            let unused = self.idle[..self.learning.end].iter().flatten();
            let unused = unused.filter(|idle| **idle > 0).count();
            self.restart(epoch)?;
            let mut numbers = vec![
                ("loss", losses.total()),
                ("reconstruction", losses.reconstruction),
                ("unused", unused as f64),
            ];
            if !self.auxiliaries.is_empty() {
                numbers.push(("auxiliary", losses.auxiliary));
            }
            let done = u64::from(epoch) + 1;
            let due = o.check_every > 0 && done % u64::from(o.check_every.max(1)) == 0;
            let last_phase = self.learning.end == o.levels.len();
            if o.check_every > 0 && last_phase && (due || done == total) {
                let distinct = self.distinct()?;
                numbers.push(("collisions", (n - distinct) as f64 / n as f64));
                let score = match o.keep {
                    Keep::Collisions => distinct as f64,
                    Keep::Loss => -losses.total(),
                    Keep::Last => f64::from(epoch),
                };
                if best.as_ref().is_none_or(|b| score > b.score) {
                    best = Some(Kept { score, values: self.model.params().values().to_vec() });
                }
            }
            self.run.emit(Event::Advanced { task, done, numbers: &numbers });
        }
        if let Some(best) = best {
            self.model.params_mut().values_mut().copy_from_slice(&best.values);
        }
        self.run.emit(Event::Finished { task });
        Ok(self.model)
    }

    /// Layer-wise: moves on to the level whose epochs begin. The last level has the remainder.
    fn enter_phase(&mut self, epoch: u32) -> Result<()> {
        let o = self.options;
        if o.schedule == Schedule::Joint {
            return Ok(());
        }
        let share = (o.epochs as usize / o.levels.len()).max(1);
        let level = (epoch as usize / share).min(o.levels.len() - 1);
        if level == self.learning.start {
            return Ok(());
        }
        self.learning = level..level + 1;
        if o.start == CodebookStart::KMeans {
            k_means_start(o, &mut self.model, self.rows, self.learning.clone(), self.run)?;
            if let Some(averages) = self.averages.get_mut(level) {
                *averages = Averages::new(self.model.level(level), o.levels[level] as usize);
            }
            if let Some(linear) = self.linear.get_mut(level) {
                linear.restart(self.model.params_mut().values_mut());
            }
        }
        Ok(())
    }

    /// Parameters of levels that do not learn now.
    fn resting(&self) -> Vec<Slot> {
        let levels = (0..self.options.levels.len()).filter(|l| !self.learning.contains(l));
        let slots = |l| {
            let codes = self.model.level_slot(l);
            [Some(codes), self.linear.get(l).map(LinearCodes::weight)].into_iter().flatten()
        };
        levels.flat_map(slots).collect()
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
        let resting = self.resting();
        let mut mean = Losses::default();
        for (b, listed) in order.chunks(o.batch as usize).enumerate() {
            self.run.check()?;
            let key = seed::key(self.run.seed, "rq-vae-gumbel", self.updates);
            let rows = BatchRows::listed(self.rows, width, listed);
            let plan = StepPlan {
                loss,
                key,
                levels: self.learning.end,
                balance: Some(&self.balance),
                auxiliaries: &self.auxiliaries,
            };
            let losses = self.step.run_plan(&self.model, rows, plan)?;
            let grads = self.step.grads_mut();
            resting.iter().for_each(|slot| slot.of_mut(grads).fill(0.0));
            self.linear.iter().for_each(|linear| linear.pull(grads));
            let mut finite = losses.total().is_finite();
            if o.clip > 0.0 && finite {
                finite = clip_by_norm(grads, f64::from(o.clip)).is_finite();
            }
            self.updates += 1;
            if !finite {
                return Err(Error::NotFinite {
                    what: format!("the loss of {}", self.task),
                    step: Some(self.updates),
                    help: "lower quantizer.lr, or set quantizer.input to \"standardized\"".into(),
                });
            }
            let warm = (epoch as f32 + (b + 1) as f32 / batches) / o.warmup.max(1) as f32;
            let lr = o.lr * if o.warmup > 0 { warm.min(1.0) } else { 1.0 };
            let values = self.model.params_mut().values_mut();
            let before: Vec<Vec<f32>> = resting.iter().map(|s| s.of(values).to_vec()).collect();
            self.adam.step(values, self.step.grads(), lr, self.run.threads);
            // Moments and weight decay move what has no gradient.
            resting.iter().zip(before).for_each(|(s, v)| s.of_mut(values).copy_from_slice(&v));
            for l in self.learning.clone() {
                let slot = self.model.level_slot(l);
                let values = self.model.params_mut().values_mut();
                if let Some(averages) = self.averages.get_mut(l) {
                    averages.update(self.step.usage(l), o.decay, slot.of_mut(values));
                }
                if let Some(linear) = self.linear.get(l) {
                    linear.push(values);
                }
            }
            for (l, idle) in self.idle.iter_mut().enumerate() {
                let chosen = idle.iter_mut().zip(self.step.counts(l)).filter(|(_, n)| **n > 0);
                chosen.for_each(|(idle, _)| *idle = 0);
            }
            let share = listed.len() as f64 / order.len() as f64;
            mean.reconstruction += share * losses.reconstruction;
            mean.quantization += share * losses.quantization;
            mean.auxiliary += share * losses.auxiliary;
        }
        Ok(mean)
    }

    /// Moves codes that nobody chose for long onto residuals of drawn rows.
    fn restart(&mut self, epoch: u32) -> Result<()> {
        let (limit, width) = (self.options.restart_after, self.model.shape().input);
        if limit == 0 || self.idle[self.learning.clone()].iter().flatten().all(|&idle| idle < limit)
        {
            return Ok(());
        }
        let n = self.rows.len() / width;
        let mut rng = seed::stream(self.run.seed, "rq-vae-restart", u64::from(epoch));
        for level in self.learning.clone() {
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
        let book = residual_codebook(&self.model)?;
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

    /// Number of distinct code tuples of all rows.
    fn distinct(&self) -> Result<usize> {
        let latents = encode(&self.model, self.rows);
        let codes =
            residual_codebook(&self.model)?.quantize(&QuantizerInput::vectors(latents.view()))?;
        let mut tuples: Vec<&[Code]> = (0..codes.rows()).map(|i| codes.row(i)).collect();
        tuples.sort_unstable();
        tuples.dedup();
        Ok(tuples.len())
    }
}

/// The best state so far.
struct Kept {
    /// Higher is better.
    score: f64,
    values: Vec<f32>,
}
