//! ACLT@k and APLT@k (Abdollahpouri et al. 2019; Elliot v0.3.1): how many items of the long tail
//! stand within k, as a number (ACLT) or divided by the length of the list (APLT); mean over
//! requests. The long tail is what is not in the [`ShortHead`]. An empty list has 0.

use super::{Audience, ShortHead};
use crate::{CutOff, Direction, EvalContext, Form, Formula, Judged, Metric, Need, Reads};
use sidereal_core::Result;

sidereal_core::options! {
    /// Options of metrics of the long tail.
    pub struct LongTailOptions {
        /// Cut-off: how many distinct items count, 1 and up; `name@20` is short for `k = 20`.
        pub k: usize = 10,
        /// Share of all training interactions that the short head has, above 0 and at most 1
        /// (Elliot: 0.8).
        pub head: f64 = 0.8,
    }
}

impl LongTailOptions {
    /// Options whose ranges hold, for the metric `name`.
    pub(super) fn checked(self, name: &str) -> Result<Self> {
        CutOff { k: self.k }.checked(name)?;
        ShortHead::new(&Audience { of_item: Vec::new(), users: 0 }, self.head)?;
        Ok(self)
    }

    /// Name with cut-off, and the share where it is not the default.
    pub(super) fn name(&self, name: &str) -> String {
        if self.head == Self::default().head {
            return format!("{name}@{}", self.k);
        }
        format!("{name}[head={}]@{}", self.head, self.k)
    }

    /// The head of the context's training users.
    pub(super) fn head(&self, name: &str, context: &EvalContext<'_>) -> Result<ShortHead> {
        ShortHead::new(&Audience::of(context.train(name)?, context.n_items)?, self.head)
    }

    /// Name of the family: all options but the cut-off.
    pub(super) fn family(&self, name: &str) -> String {
        format!("{name} {}", self.head)
    }
}

/// Number of long-tail items in a list.
#[derive(Debug, Clone)]
pub struct Aclt {
    options: LongTailOptions,
}

/// Share of long-tail items in a list.
#[derive(Debug, Clone)]
pub struct Aplt {
    options: LongTailOptions,
}

impl Aclt {
    /// Fails when `k` is 0 or `head` outside its range.
    pub fn new(options: LongTailOptions) -> Result<Self> {
        Ok(Aclt { options: options.checked("aclt")? })
    }
}

impl Aplt {
    /// Fails when `k` is 0 or `head` outside its range.
    pub fn new(options: LongTailOptions) -> Result<Self> {
        Ok(Aplt { options: options.checked("aplt")? })
    }
}

impl Metric for Aclt {
    fn name(&self) -> String {
        self.options.name("aclt")
    }

    fn direction(&self) -> Direction {
        Direction::HigherIsBetter
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Train]
    }

    fn form<'a>(&self, context: &EvalContext<'a>) -> Result<Option<Form<'a>>> {
        let head = self.options.head("aclt", context)?;
        let formula = Tail { head, value: |tail, _| tail };
        Ok(Some(Form::mean(self.options.family("aclt"), self.options.k, formula)))
    }
}

impl Metric for Aplt {
    fn name(&self) -> String {
        self.options.name("aplt")
    }

    fn direction(&self) -> Direction {
        Direction::HigherIsBetter
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Train]
    }

    fn form<'a>(&self, context: &EvalContext<'a>) -> Result<Option<Form<'a>>> {
        let head = self.options.head("aplt", context)?;
        let formula = Tail { head, value: |tail, length| tail / length.max(1.0) };
        Ok(Some(Form::mean(self.options.family("aplt"), self.options.k, formula)))
    }
}

struct Tail {
    head: ShortHead,
    /// From the number of tail items and the length of the list.
    value: fn(f64, f64) -> f64,
}

impl Formula for Tail {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        judged.over_items(
            cut_offs,
            values,
            0u32,
            |tail, _, item| *tail += u32::from(!self.head.contains(item)),
            |tail, _, length| (self.value)(f64::from(*tail), length as f64),
        );
    }

    fn reads(&self) -> Reads {
        Reads::Items
    }
}
