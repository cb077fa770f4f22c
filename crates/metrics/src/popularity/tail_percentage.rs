//! RecBole's TailPercentage@k: the share of a list's items within k that are among the least popular
//! items of the training data; mean over requests. An empty list has 0.
//!
//! The tail is cut by items, not by interactions as in [`Aplt`](super::Aplt): of the M items that
//! training has, sorted by popularity (ties to the lower item), the first max(1, floor(`tail` M)).
//! `tail` above 1 is a count instead: items with at most that many training users. Items that
//! training does not have are no tail (RecBole counts what it has seen). RecBole counts interactions,
//! this crate users; they agree where no user has an item twice.

use super::Audience;
use crate::{CutOff, Direction, EvalContext, Form, Formula, Judged, Metric, Need, Reads};
use sidereal_core::{Error, Result};

sidereal_core::options! {
    /// Options of `tail-percentage`.
    pub struct TailOptions {
        /// Cut-off: how many distinct items count, 1 and up; `name@20` is short for `k = 20`.
        pub k: usize = 10,
        /// Up to 1: share of the items that is the tail; above 1: most users of an item of the tail
        /// (RecBole: 0.1).
        pub tail: f64 = 0.1,
    }
}

/// Share of a list that is tail.
#[derive(Debug, Clone)]
pub struct TailPercentage {
    options: TailOptions,
}

impl TailPercentage {
    /// Fails when `k` is 0 or `tail` not above 0.
    pub fn new(options: TailOptions) -> Result<Self> {
        CutOff { k: options.k }.checked("tail-percentage")?;
        if !(options.tail > 0.0 && options.tail.is_finite()) {
            let message =
                format!("{}; allowed: above 0 (a share up to 1, or a count)", options.tail);
            return Err(Error::config("metric.tail", message));
        }
        Ok(TailPercentage { options })
    }
}

impl Metric for TailPercentage {
    fn name(&self) -> String {
        let TailOptions { k, tail } = self.options;
        if tail == TailOptions::default().tail {
            return format!("tail-percentage@{k}");
        }
        format!("tail-percentage[tail={tail}]@{k}")
    }

    fn direction(&self) -> Direction {
        Direction::HigherIsBetter
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Train]
    }

    fn form<'a>(&self, context: &EvalContext<'a>) -> Result<Option<Form<'a>>> {
        let TailOptions { k, tail } = self.options;
        let users = Audience::of(context.train("tail-percentage")?, context.n_items)?.of_item;
        let member = match tail > 1.0 {
            true => users.iter().map(|&c| c > 0 && f64::from(c) <= tail).collect(),
            false => rarest(&users, tail),
        };
        Ok(Some(Form::mean(format!("tail-percentage {tail}"), k, Members(member))))
    }
}

/// The rarest items that somebody has, up to a share of them, one at least.
fn rarest(users: &[u32], share: f64) -> Vec<bool> {
    let mut order: Vec<u32> = (0..users.len() as u32).filter(|&i| users[i as usize] > 0).collect();
    order.sort_by_key(|&i| users[i as usize]);
    let cut = ((order.len() as f64 * share) as usize).max(1);
    let mut member = vec![false; users.len()];
    order.iter().take(cut).for_each(|&i| member[i as usize] = true);
    member
}

struct Members(Vec<bool>);

impl Formula for Members {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        judged.over_items(
            cut_offs,
            values,
            0u32,
            |tail, _, item| *tail += u32::from(self.0[item.index()]),
            |tail, _, n| f64::from(*tail) / n.max(1) as f64,
        );
    }

    fn reads(&self) -> Reads {
        Reads::Items
    }
}
