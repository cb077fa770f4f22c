//! Calibration@k (Steck 2018): does a list have the categories of the user's history?
//!
//! p(c) is the share of class c in the history, q(c) in the items within k; an item of several
//! classes gives each an equal part, an item without class gives nothing. The value is
//! KL(p || q') = sum_c p(c) ln(p(c) / q'(c)) with q' = (1 - a) q + a p, in nats; mean over requests.
//! 0 is calibrated. Without classes in the history there is nothing to be faithful to: 0; without
//! classes in the list q is 0, the largest value, -ln a.

use super::inside;
use crate::{Classes, CutOff, Direction, EvalContext, Form, Formula, Judged, Metric, Need, Reads};
use sidereal_core::{Error, ItemId, Result, Sequences, UserId};
use std::collections::BTreeMap;

sidereal_core::options! {
    /// Options of `calibration`.
    pub struct CalibrationOptions {
        /// Cut-off: how many distinct items count, 1 and up; `name@20` is short for `k = 20`.
        pub k: usize = 10,
        /// Smoothing a, above 0 and below 1 (Steck: 0.01).
        pub alpha: f64 = 0.01,
    }
}

/// Kullback-Leibler divergence of the categories of lists from those of histories.
#[derive(Debug, Clone)]
pub struct Calibration {
    options: CalibrationOptions,
}

impl Calibration {
    /// Fails when `k` is 0 or `alpha` outside its range.
    pub fn new(options: CalibrationOptions) -> Result<Self> {
        CutOff { k: options.k }.checked("calibration")?;
        if !(options.alpha > 0.0 && options.alpha < 1.0) {
            let message = format!("{}; allowed: above 0, below 1", options.alpha);
            return Err(Error::config("metric.alpha", message));
        }
        Ok(Calibration { options })
    }
}

impl Metric for Calibration {
    fn name(&self) -> String {
        let CalibrationOptions { k, alpha } = self.options;
        if alpha == CalibrationOptions::default().alpha {
            return format!("calibration@{k}");
        }
        format!("calibration[alpha={alpha}]@{k}")
    }

    fn direction(&self) -> Direction {
        Direction::LowerIsBetter
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Categories, Need::Histories]
    }

    fn form<'a>(&self, context: &EvalContext<'a>) -> Result<Option<Form<'a>>> {
        let histories = context.histories("calibration")?;
        inside("calibration", histories, context.n_items)?;
        let CalibrationOptions { k, alpha } = self.options;
        let formula = Divergence { classes: context.categories("calibration")?, histories, alpha };
        Ok(Some(Form::mean(format!("calibration {alpha}"), k, formula)))
    }
}

struct Divergence<'a> {
    classes: &'a Classes,
    histories: &'a Sequences,
    alpha: f64,
}

/// Mass of each class, and all of it.
#[derive(Default)]
struct Mass {
    of: BTreeMap<u32, f64>,
    total: f64,
}

impl Mass {
    fn add(&mut self, classes: &[u32]) {
        for &class in classes {
            *self.of.entry(class).or_default() += 1.0 / classes.len() as f64;
        }
        self.total += if classes.is_empty() { 0.0 } else { 1.0 };
    }

    fn share(&self, class: u32) -> f64 {
        self.of.get(&class).map_or(0.0, |mass| mass / self.total)
    }
}

impl Formula for Divergence<'_> {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        let history: &[ItemId] = match judged.request < self.histories.len() {
            true => self.histories.items(UserId(judged.request as u32)),
            false => &[],
        };
        let mut wanted = Mass::default();
        history.iter().for_each(|&item| wanted.add(self.classes.of(item)));
        judged.over_items(
            cut_offs,
            values,
            Mass::default(),
            |given, _, item| given.add(self.classes.of(item)),
            |given, _, _| {
                let term = |(&class, mass): (&u32, &f64)| {
                    let p = mass / wanted.total;
                    p * (p / ((1.0 - self.alpha) * given.share(class) + self.alpha * p)).ln()
                };
                // Rounding can leave a hair below 0.
                wanted.of.iter().map(term).sum::<f64>().max(0.0)
            },
        );
    }

    fn reads(&self) -> Reads {
        Reads::Items
    }
}
