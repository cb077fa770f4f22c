//! Epochs, steps and the order of examples: all of it a function of the seed and the step, so a
//! resumed run needs no position but the step.

use crate::options::TrainOptions;
use rand::seq::SliceRandom;
use sidereal_core::{Error, Result, seed};
use std::ops::Range;

/// Which examples each step sees.
pub(crate) struct Plan {
    seed: u64,
    examples: usize,
    /// Examples of one optimiser step.
    rows: usize,
    /// Steps of one epoch; the last one may be small.
    pub(crate) steps_per_epoch: u64,
    /// Steps in all.
    pub(crate) total: u64,
    /// Steps between validations.
    pub(crate) validate: u64,
    epoch: Option<u64>,
    order: Vec<u32>,
}

impl Plan {
    pub(crate) fn new(options: &TrainOptions, examples: usize, seed: u64) -> Result<Self> {
        if examples == 0 {
            return Err(Error::input("there is no training example: every history is too short"));
        }
        if examples > u32::MAX as usize {
            let message = format!("{examples} training examples; at most {} fit", u32::MAX);
            return Err(Error::input(message));
        }
        let rows = options.batch * options.accumulate;
        let steps_per_epoch = examples.div_ceil(rows) as u64;
        let mut total = options.epochs.saturating_mul(steps_per_epoch);
        if options.max_steps > 0 {
            total = total.min(options.max_steps);
        }
        let every = if options.validate_every > 0.0 { options.validate_every } else { 1.0 };
        let validate = match options.validate_steps {
            // Casting saturates: a huge interval means once, at the end.
            0 => ((every * steps_per_epoch as f64).round() as u64).max(1),
            steps => steps,
        };
        let order = Vec::new();
        Ok(Plan { seed, examples, rows, steps_per_epoch, total, validate, epoch: None, order })
    }

    /// Examples of the zero-based `step`.
    pub(crate) fn ids(&mut self, step: u64) -> &[u32] {
        let epoch = step / self.steps_per_epoch;
        if self.epoch != Some(epoch) {
            self.order.clear();
            self.order.extend(0..self.examples as u32);
            self.order.shuffle(&mut seed::stream(self.seed, "shuffle", epoch));
            self.epoch = Some(epoch);
        }
        let first = (step % self.steps_per_epoch) as usize * self.rows;
        &self.order[first..(first + self.rows).min(self.examples)]
    }

    /// Examples seen before `step`.
    pub(crate) fn examples_before(&self, step: u64) -> u64 {
        let in_epoch = (step % self.steps_per_epoch) * self.rows as u64;
        let epochs = step / self.steps_per_epoch;
        epochs.saturating_mul(self.examples as u64).saturating_add(in_epoch)
    }

    /// Epochs before `step`, with fractions.
    pub(crate) fn epochs_before(&self, step: u64) -> f64 {
        self.examples_before(step) as f64 / self.examples as f64
    }
}

/// Cuts rows that are sorted by cost into runs of about equal cost near `budget`; the number of
/// runs is a multiple of `lanes` where there are rows enough. A run passes its even share by less
/// than the cost of one row.
pub(crate) fn cut(costs: &[usize], budget: usize, lanes: usize, runs: &mut Vec<Range<usize>>) {
    let total: usize = costs.iter().map(|c| (*c).max(1)).sum();
    let parts = total.div_ceil(budget).next_multiple_of(lanes);
    runs.clear();
    let (mut start, mut before, mut part) = (0, 0usize, 0);
    for (i, cost) in costs.iter().map(|c| (*c).max(1)).enumerate() {
        // A row belongs to the part in which its middle lies.
        let middle = (2 * before + cost) as u128 * parts as u128 / (2 * total) as u128;
        if middle as usize != part && i > start {
            runs.push(start..i);
            start = i;
        }
        part = middle as usize;
        before += cost;
    }
    if start < costs.len() {
        runs.push(start..costs.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(batch: usize, accumulate: usize, examples: usize) -> Plan {
        let options = TrainOptions { batch, accumulate, epochs: 3, ..Default::default() };
        Plan::new(&options, examples, 5).unwrap()
    }

    #[test]
    fn an_epoch_sees_every_example_once_in_its_own_order() {
        let mut p = plan(4, 1, 10);
        assert_eq!((p.steps_per_epoch, p.total, p.validate), (3, 9, 3));
        let epoch = |p: &mut Plan, e: u64| -> Vec<u32> {
            (0..3).flat_map(|s| p.ids(e * 3 + s).to_vec()).collect()
        };
        let (first, second) = (epoch(&mut p, 0), epoch(&mut p, 1));
        assert_ne!(first, second);
        for mut order in [first.clone(), second] {
            order.sort_unstable();
            assert_eq!(order, (0..10).collect::<Vec<_>>());
        }
        // Any step can be asked for at any time.
        assert_eq!(plan(4, 1, 10).ids(2), &first[8..]);
        assert_eq!(p.examples_before(2), 8);
        assert_eq!(p.examples_before(3), 10);
        assert_eq!(p.epochs_before(6), 2.0);
        // Accumulating sees the examples of the larger batch.
        assert_eq!(plan(2, 2, 10).ids(1), &first[4..8]);
    }

    #[test]
    fn limits_and_intervals() {
        let with = |o: TrainOptions| Plan::new(&o, 100, 0).unwrap();
        let base = TrainOptions { batch: 10, epochs: 4, ..Default::default() };
        assert_eq!(with(TrainOptions { max_steps: 7, ..base.clone() }).total, 7);
        assert_eq!(with(TrainOptions { validate_every: 0.5, ..base.clone() }).validate, 5);
        assert_eq!(with(TrainOptions { validate_every: 1e-9, ..base.clone() }).validate, 1);
        assert_eq!(with(TrainOptions { validate_every: 0.0, ..base.clone() }).validate, 10);
        assert_eq!(with(TrainOptions { validate_steps: 3, ..base.clone() }).validate, 3);
        assert_eq!(with(TrainOptions { epochs: u64::MAX, ..base.clone() }).total, u64::MAX);
        assert!(Plan::new(&base, 0, 0).is_err());
    }

    proptest! {
        #[test]
        fn cuts_cover_in_order_and_are_even(
            mut costs in prop::collection::vec(0usize..50, 0..60), budget in 1usize..200, lanes in 1usize..6,
        ) {
            costs.sort_unstable();
            let mut runs: Vec<_> = std::iter::once(7..9).collect();
            cut(&costs, budget, lanes, &mut runs);
            let all: Vec<usize> = runs.iter().cloned().flatten().collect();
            prop_assert_eq!(all, (0..costs.len()).collect::<Vec<_>>());
            let total: usize = costs.iter().map(|c| (*c).max(1)).sum();
            let parts = total.div_ceil(budget).next_multiple_of(lanes);
            prop_assert!(runs.len() <= parts);
            for r in runs {
                let load: usize = costs[r.clone()].iter().map(|c| (*c).max(1)).sum();
                let largest = costs[r.end - 1].max(1);
                prop_assert!(load <= total / parts + 1 + largest, "{load} of {total} in {parts}");
            }
        }
    }
}
