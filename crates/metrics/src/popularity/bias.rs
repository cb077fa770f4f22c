//! PopREO@k and PopRSP@k (Zhu et al. 2020; Elliot v0.3.1): do head and tail get the same chance?
//!
//! With p_g for g in {short head, long tail}, the value is the population standard deviation of the
//! two over their mean, |p_h - p_t| / (p_h + p_t): 0 is fair, 1 means that one group has nothing.
//! - PopREO, equal opportunity: p_g = hits in g within k / targets in g that the user has not had.
//! - PopRSP, statistical parity: p_g = items of g within k / items of g that the user has not had.
//!
//! "Has not had" is read from the histories of the requests, a set. Where both chances are 0, or a
//! group has no candidate, the value is not defined; here it is 0 when nobody got anything and the
//! group without candidates counts as chance 0 otherwise.

use super::{LongTailOptions, ShortHead};
use crate::form::Counter;
use crate::{Direction, EvalContext, Form, Judged, Metric, Need};
use sidereal_core::{Error, ItemId, Result, Sequences, UserId};

/// Popularity-based ranking-based equal opportunity.
#[derive(Debug, Clone)]
pub struct PopReo {
    options: LongTailOptions,
}

/// Popularity-based ranking-based statistical parity.
#[derive(Debug, Clone)]
pub struct PopRsp {
    options: LongTailOptions,
}

impl PopReo {
    /// Fails when `k` is 0 or `head` outside its range.
    pub fn new(options: LongTailOptions) -> Result<Self> {
        Ok(PopReo { options: options.checked("pop-reo")? })
    }
}

impl PopRsp {
    /// Fails when `k` is 0 or `head` outside its range.
    pub fn new(options: LongTailOptions) -> Result<Self> {
        Ok(PopRsp { options: options.checked("pop-rsp")? })
    }
}

impl Metric for PopReo {
    fn name(&self) -> String {
        self.options.name("pop-reo")
    }

    fn direction(&self) -> Direction {
        Direction::LowerIsBetter
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Train, Need::Histories]
    }

    fn form<'a>(&self, context: &EvalContext<'a>) -> Result<Option<Form<'a>>> {
        let groups = Groups::new("pop-reo", &self.options, context)?;
        let family = self.options.family("pop-reo");
        Ok(Some(Form::counts(family, self.options.k, Opportunity(groups), disparity)))
    }
}

impl Metric for PopRsp {
    fn name(&self) -> String {
        self.options.name("pop-rsp")
    }

    fn direction(&self) -> Direction {
        Direction::LowerIsBetter
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Train, Need::Histories]
    }

    fn form<'a>(&self, context: &EvalContext<'a>) -> Result<Option<Form<'a>>> {
        let groups = Groups::new("pop-rsp", &self.options, context)?;
        let family = self.options.family("pop-rsp");
        Ok(Some(Form::counts(family, self.options.k, Parity(groups), disparity)))
    }
}

/// Got and possible of head, then of tail.
const COUNTERS: usize = 4;

struct Groups<'a> {
    head: ShortHead,
    sizes: [u64; 2],
    histories: &'a Sequences,
}

impl<'a> Groups<'a> {
    fn new(name: &str, options: &LongTailOptions, context: &EvalContext<'a>) -> Result<Self> {
        let head = options.head(name, context)?;
        let histories = context.histories(name)?;
        if let Some(item) = histories.all_items().iter().find(|i| i.index() >= context.n_items) {
            return Err(Error::mismatch(format!(
                "`{name}`: a history holds item {}, outside the catalogue of {} items",
                item.0, context.n_items
            )));
        }
        let sizes = [head.len() as u64, (context.n_items - head.len()) as u64];
        Ok(Groups { head, sizes, histories })
    }

    /// 0 for the head, 1 for the tail.
    fn of(&self, item: ItemId) -> usize {
        usize::from(!self.head.contains(item))
    }

    /// What the user of a request had before; nothing for requests without a history.
    fn had(&self, request: usize) -> &[ItemId] {
        if request < self.histories.len() {
            self.histories.items(UserId(request as u32))
        } else {
            &[]
        }
    }
}

struct Opportunity<'a>(Groups<'a>);

impl Counter for Opportunity<'_> {
    fn counters(&self) -> usize {
        COUNTERS
    }

    fn count(&self, judged: &Judged<'_>, k: usize, counts: &mut [u64]) {
        let had = self.0.had(judged.request);
        for &hit in &judged.hits[..judged.hits_within(k)] {
            counts[2 * self.0.of(hit)] += 1;
        }
        for target in judged.targets.iter().filter(|t| !had.contains(t)) {
            counts[2 * self.0.of(*target) + 1] += 1;
        }
    }
}

struct Parity<'a>(Groups<'a>);

impl Counter for Parity<'_> {
    fn counters(&self) -> usize {
        COUNTERS
    }

    fn count(&self, judged: &Judged<'_>, k: usize, counts: &mut [u64]) {
        for &item in judged.first(k) {
            counts[2 * self.0.of(item)] += 1;
        }
        let mut had = self.0.had(judged.request).to_vec();
        had.sort_unstable();
        had.dedup();
        let mut possible = self.0.sizes;
        had.iter().for_each(|&item| possible[self.0.of(item)] -= 1);
        counts[1] += possible[0];
        counts[3] += possible[1];
    }
}

/// |p_h - p_t| / (p_h + p_t).
fn disparity(counts: &[u64]) -> f64 {
    let chance = |got: u64, possible: u64| got as f64 / possible.max(1) as f64;
    let (head, tail) = (chance(counts[0], counts[1]), chance(counts[2], counts[3]));
    if head + tail == 0.0 { 0.0 } else { (head - tail).abs() / (head + tail) }
}
