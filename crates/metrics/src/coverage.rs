//! Catalogue coverage@k = |items in the first k places of any list| / N.
//!
//! A property of all lists together, so it has no per-request values.

use crate::metric::check;
use crate::ranks::Distinct;
use crate::{CutOff, Direction, EvalContext, Metric, Score, Truth};
use sidereal_core::{RankedLists, Result};

/// Share of the catalogue that was recommended to anyone.
#[derive(Debug, Clone)]
pub struct Coverage {
    k: usize,
}

impl Coverage {
    /// Fails when `k` is 0.
    pub fn new(options: CutOff) -> Result<Self> {
        Ok(Coverage { k: options.checked("coverage")? })
    }
}

impl Metric for Coverage {
    fn name(&self) -> String {
        format!("coverage@{}", self.k)
    }

    fn direction(&self) -> Direction {
        Direction::HigherIsBetter
    }

    fn evaluate(&self, lists: &RankedLists, truth: &Truth, ctx: &EvalContext<'_>) -> Result<Score> {
        check(lists, truth, ctx.n_items)?;
        let mut of_list = Distinct::new(ctx.n_items);
        let mut of_all = Distinct::new(ctx.n_items);
        of_all.start();
        let mut covered = 0usize;
        for list in lists.iter() {
            of_list.start();
            for item in list.iter().filter(|&&item| of_list.insert(item)).take(self.k) {
                covered += usize::from(of_all.insert(*item));
            }
        }
        Ok(Score { value: covered as f64 / ctx.n_items as f64, per_user: None })
    }
}
