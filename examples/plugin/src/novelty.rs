//! `novelty@k`: mean self-information of the recommended items (Zhou et al. 2010).
//!
//! For a list with the distinct items `i` among its first k, the mean of `log2(n / (c_i + 1))`,
//! where `c_i` counts training interactions and `n` is their sum plus the number of items. A list
//! without items has novelty 0.

use sidereal::core::{Catalog, Entry, Error, RankedLists, Result};
use sidereal::metrics::{CutOff, Direction, EvalContext, Metric, Score, Truth};

/// Registers `novelty`.
pub fn register(catalog: &mut Catalog<dyn Metric>) -> Result<()> {
    catalog.add(Entry::new(
        "novelty",
        env!("CARGO_PKG_NAME"),
        "Mean self-information of the recommended items in bits.",
        |o: CutOff, _: &()| Ok(Box::new(Novelty { k: o.k }) as Box<dyn Metric>),
    ))
}

struct Novelty {
    k: usize,
}

impl Metric for Novelty {
    fn name(&self) -> String {
        format!("novelty@{}", self.k)
    }

    fn direction(&self) -> Direction {
        Direction::HigherIsBetter
    }

    fn evaluate(
        &self,
        lists: &RankedLists,
        _truth: &Truth,
        context: &EvalContext<'_>,
    ) -> Result<Score> {
        let counts = context.popularity;
        let total: f64 = counts.iter().map(|&c| f64::from(c) + 1.0).sum();
        let information = |item: usize| -> Result<f64> {
            let count = counts.get(item).ok_or_else(|| {
                Error::mismatch(format!("item {item} of {} has no popularity", counts.len()))
            })?;
            Ok((total / (f64::from(*count) + 1.0)).log2())
        };
        let mut values = Vec::with_capacity(lists.len());
        for list in lists.iter() {
            let mut seen: Vec<_> = Vec::with_capacity(self.k);
            for item in list {
                if seen.len() < self.k && !seen.contains(item) {
                    seen.push(*item);
                }
            }
            let sum: f64 = seen.iter().map(|i| information(i.index())).sum::<Result<f64>>()?;
            values.push(sum / seen.len().max(1) as f64);
        }
        Ok(Score::mean_of(values))
    }
}
