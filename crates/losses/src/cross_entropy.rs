//! Per-level cross-entropy of the codes of the target's identifier (TIGER, arXiv 2305.05065).
//!
//! For T targets with codes `c_0 .. c_{H-1}` and logits `z_h` of level h (`rows x K_h`):
//!
//! `loss = 1/T sum_t sum_h w_h CE(z_h[t], c_h[t])`
//!
//! a sum over levels and a mean over targets, as GRID has it: an untrained model starts near
//! `H ln K`. With all weights 1 it is the negative log-likelihood of the whole identifier. Levels
//! have rows only for targets whose identifier is that long, so lengths may differ.
//!
//! Label smoothing e spreads e of the mass evenly over all codes of the level:
//! `CE_e = CE + e (z[c] - mean(z))`, whose gradient is `softmax - (1 - e) onehot - e/K`.
//!
//! Terms: `loss`, and `level_0 ..` as plain means over the rows of each level (neither weighted nor
//! smoothed). Cost: one exponential a logit.

use crate::rows::targets_of;
use sidereal_core::{Catalog, Entry, Error, Result, options};
use sidereal_nn::kernels::cross_entropy::softmax_cross_entropy;
use sidereal_nn::kernels::math;
use sidereal_nn::{Bag, Objective, ObjectiveInput, Terms};
use std::cell::RefCell;

options! {
    /// Options of `cross-entropy`.
    pub struct CrossEntropyOptions {
        /// Weight of each level, 0 and up, one a level; empty: all 1, as in GRID.
        pub level_weights: Vec<f64> = Vec::new(),
        /// Share of the mass spread over all codes of a level, 0 to below 1 (GRID: 0).
        pub label_smoothing: f64 = 0.0,
    }
}

/// The objective `cross-entropy`.
#[derive(Debug, Clone)]
pub struct CrossEntropy {
    level_weights: Vec<f32>,
    label_smoothing: f32,
}

impl CrossEntropy {
    /// Checks the options.
    pub fn new(options: CrossEntropyOptions) -> Result<Self> {
        let CrossEntropyOptions { level_weights, label_smoothing } = options;
        if let Some(w) = level_weights.iter().find(|w| !w.is_finite() || **w < 0.0) {
            let message = format!("{w}; allowed: finite numbers from 0");
            return Err(Error::config("objective.level_weights", message));
        }
        if !level_weights.is_empty() && level_weights.iter().all(|w| *w == 0.0) {
            let message = "all 0: nothing would be learnt; allowed: at least one above 0";
            return Err(Error::config("objective.level_weights", message));
        }
        if !(0.0..1.0).contains(&label_smoothing) {
            let message = format!("{label_smoothing}; allowed: 0 to below 1");
            return Err(Error::config("objective.label_smoothing", message));
        }
        Ok(CrossEntropy {
            level_weights: level_weights.into_iter().map(|w| w as f32).collect(),
            label_smoothing: label_smoothing as f32,
        })
    }

    fn weights(&self, levels: usize) -> Result<&[f32]> {
        let n = self.level_weights.len();
        if n > 0 && n != levels {
            let message = format!("{n} weights; the model has {levels} levels, or leave it empty");
            return Err(Error::config("objective.level_weights", message));
        }
        Ok(&self.level_weights)
    }
}

thread_local! {
    /// Target code of each row: kept, so that a step allocates nothing.
    static CODES: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

impl Objective for CrossEntropy {
    fn evaluate(
        &self,
        input: &ObjectiveInput<'_>,
        bag: &mut Bag,
        grads: Option<&mut [f32]>,
        terms: &mut Terms,
    ) -> Result<()> {
        let batch = input.batch;
        let levels = bag.levels("logits").max(1);
        let weights = self.weights(levels)?;
        if batch.target_code_offsets.len() != batch.targets.len() + 1 {
            return Err(Error::mismatch(
                "objective `cross-entropy` needs the codes of the targets: the batch has no SIDs",
            ));
        }
        // The loss comes first among the terms, so its place is taken before its value is known.
        terms.add("loss", 0.0, batch.targets.len() as u64);
        CODES.with_borrow_mut(|codes| {
            let mut loss = 0.0;
            for level in 0..levels {
                let field = bag.get_mut("logits", level)?;
                codes.clear();
                for t in targets_of("logits", field, batch)? {
                    codes.push(code_of(batch.target_sid(t), level, field.cols)?);
                }
                let weight = weights.get(level).copied().unwrap_or(1.0);
                let (cols, logits) = (field.cols, &field.value);
                let scale = input.scale * weight;
                let grad = grads.is_some().then_some(&mut field.grad[..]);
                let sum = softmax_cross_entropy(logits, cols, codes, scale, grad);
                let mut weighted = sum;
                if self.label_smoothing > 0.0 {
                    let grad = grads.is_some().then_some(&mut field.grad[..]);
                    weighted += smooth(self.label_smoothing, logits, cols, codes, scale, grad);
                }
                loss += f64::from(weight) * weighted;
                terms.add_numbered("level", level, sum, codes.len() as u64);
            }
            terms.add("loss", loss, 0);
            Ok(())
        })
    }
}

fn code_of(sid: &[u32], level: usize, cols: usize) -> Result<u32> {
    let code = sid.get(level).copied().ok_or_else(|| {
        Error::mismatch(format!(
            "output `logits` of level {level} has a row for an identifier of {} codes",
            sid.len()
        ))
    })?;
    if code as usize >= cols {
        return Err(Error::mismatch(format!(
            "code {code} at level {level}, but the model has {cols} codes there"
        )));
    }
    Ok(code)
}

/// What label smoothing adds to the summed loss and to the gradients.
fn smooth(
    share: f32,
    logits: &[f32],
    cols: usize,
    codes: &[u32],
    scale: f32,
    mut grad: Option<&mut [f32]>,
) -> f64 {
    let mut total = 0.0;
    let each = scale * share / cols as f32;
    for (i, (row, &code)) in logits.chunks_exact(cols).zip(codes).enumerate() {
        let mean = math::sum(row) / cols as f32;
        total += f64::from(share) * f64::from(row[code as usize] - mean);
        if let Some(grad) = grad.as_deref_mut() {
            let g = &mut grad[i * cols..(i + 1) * cols];
            g.iter_mut().for_each(|g| *g -= each);
            g[code as usize] += scale * share;
        }
    }
    total
}

pub(crate) fn register(catalog: &mut Catalog<dyn Objective>) -> Result<()> {
    catalog.add(Entry::new(
        "cross-entropy",
        env!("CARGO_PKG_NAME"),
        "Cross-entropy of the target's codes, summed over levels (TIGER, arXiv 2305.05065).",
        |options: CrossEntropyOptions, _: &()| {
            Ok(Box::new(CrossEntropy::new(options)?) as Box<dyn Objective>)
        },
    ))
}
