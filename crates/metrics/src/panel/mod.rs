//! Many metrics in one pass over the lists, in blocks, on several threads and in shards.
//!
//! A [`Panel`] groups metrics by formula, so that every formula is evaluated once a request for all
//! of its cut-offs. A [`Tally`] holds what was added so far: exact sums ([`Sum`]) and whole-number
//! counts, so blocks, threads and shards change no bit of a result, and the order in which tallies
//! are merged changes none of the means. Memory: one stamp an item and thread, N counters for each
//! cut-off of an exposure metric and thread, and one column of R values a mean where they are kept.

mod pass;
mod tally;

pub use tally::{Keep, Tally};

use crate::form::{Counter, Figure, Form, Formula, Reads};
use crate::{EvalContext, Metric, Score, Truth};
use pass::Block;
use sidereal_core::{Error, RankedLists, Result};

/// Metrics that are computed together.
pub struct Panel<'a> {
    n_items: usize,
    means: Vec<Means<'a>>,
    counts: Vec<Counts<'a>>,
    /// Where the value of each metric is.
    slots: Vec<Slot<'a>>,
    longest: usize,
    reads: Reads,
}

struct Means<'a> {
    family: String,
    formula: Box<dyn Formula + 'a>,
    /// Ascending and distinct.
    cut_offs: Vec<usize>,
}

struct Counts<'a> {
    family: String,
    counter: Box<dyn Counter + 'a>,
    k: usize,
}

enum Slot<'a> {
    Mean { family: usize, k: usize },
    Counts { family: usize, figure: Figure<'a> },
}

impl<'a> Panel<'a> {
    /// Prepares metrics. Fails when one lacks what it needs or has no [`Metric::form`].
    pub fn new<'m>(
        metrics: impl IntoIterator<Item = &'m dyn Metric>,
        context: &EvalContext<'a>,
    ) -> Result<Self> {
        let form = |m: &dyn Metric| {
            m.form(context)?.ok_or_else(|| {
                Error::mismatch(format!("`{}` cannot be computed in blocks", m.name()))
            })
        };
        let forms = metrics.into_iter().map(form).collect::<Result<_>>()?;
        Ok(Panel::of(forms, context.n_items))
    }

    /// Takes forms over a catalogue of `n_items`.
    pub fn of(forms: Vec<Form<'a>>, n_items: usize) -> Self {
        let (mut means, mut counts) = (Vec::<Means<'a>>::new(), Vec::<Counts<'a>>::new());
        let (mut longest, mut reads) = (0, Reads::Ranks);
        let mut slots = Vec::with_capacity(forms.len());
        let mut look = |k: usize, what: Reads| {
            longest = longest.max(k);
            if what == Reads::Items {
                reads = Reads::Items;
            }
        };
        for form in forms {
            slots.push(match form {
                Form::Mean { family, k, formula } => {
                    look(k, formula.reads());
                    let at = means.iter().position(|m| m.family == family).unwrap_or_else(|| {
                        means.push(Means { family, formula, cut_offs: Vec::new() });
                        means.len() - 1
                    });
                    let cut_offs = &mut means[at].cut_offs;
                    if let Err(place) = cut_offs.binary_search(&k) {
                        cut_offs.insert(place, k);
                    }
                    Slot::Mean { family: at, k }
                }
                Form::Counts { family, k, counter, figure } => {
                    look(k, counter.reads());
                    let same = |c: &Counts<'_>| c.family == family && c.k == k;
                    let at = counts.iter().position(same).unwrap_or_else(|| {
                        counts.push(Counts { family, counter, k });
                        counts.len() - 1
                    });
                    Slot::Counts { family: at, figure }
                }
            });
        }
        Panel { n_items, means, counts, slots, longest, reads }
    }

    /// Nothing added yet; `start` is the number of the first request, 0 unless this is a later
    /// shard.
    pub fn tally(&self, start: usize, keep: Keep) -> Tally {
        let counters = self.counts.iter().map(|c| c.counter.counters());
        Tally::new(start, keep, self.columns(), self.means.len(), counters)
    }

    /// Adds the next block of requests with up to `threads` threads, which change no bit.
    ///
    /// Fails when lists and truth differ in number, when an item is outside the catalogue (naming
    /// the first request that has one), and on the tally of another panel; the tally is of no use
    /// then.
    pub fn add(
        &self,
        tally: &mut Tally,
        lists: &RankedLists,
        truth: &Truth,
        threads: usize,
    ) -> Result<()> {
        self.own(tally)?;
        if lists.len() != truth.len() {
            return Err(Error::mismatch(format!(
                "{} ranked lists for {} target sets",
                lists.len(),
                truth.len()
            )));
        }
        let block = Block { lists, truth, first: tally.end() };
        self.pass(tally, &block, threads)
    }

    /// The score of each metric, in their order. Fails when nothing was added.
    pub fn scores(&self, tally: &Tally) -> Result<Vec<Score>> {
        let column = |at: usize| tally.columns.as_ref().map(|c| c[at].clone());
        self.scores_with(tally, column)
    }

    /// The same from a tally that is not needed any more, whose columns become those of the scores
    /// without a copy.
    pub fn into_scores(&self, mut tally: Tally) -> Result<Vec<Score>> {
        let mut columns = tally.columns.take();
        let mut uses = vec![0usize; self.columns()];
        for slot in &self.slots {
            if let Slot::Mean { family, k } = slot {
                uses[self.column(*family, *k)] += 1;
            }
        }
        // A metric that was asked for twice needs its column twice.
        let column = |at: usize| {
            uses[at] -= 1;
            let own = &mut columns.as_mut()?[at];
            Some(if uses[at] == 0 { std::mem::take(own) } else { own.clone() })
        };
        self.scores_with(&tally, column)
    }

    fn scores_with(
        &self,
        tally: &Tally,
        mut per_user: impl FnMut(usize) -> Option<Vec<f64>>,
    ) -> Result<Vec<Score>> {
        self.own(tally)?;
        if tally.requests() == 0 {
            return Err(Error::input(
                "no request to evaluate: expected at least one user with a target",
            ));
        }
        let score = |slot: &Slot<'_>| match slot {
            Slot::Mean { family, k } => {
                let column = self.column(*family, *k);
                let value = tally.sums[column].value() / tally.weights[*family] as f64;
                Score { value, per_user: per_user(column) }
            }
            Slot::Counts { family, figure } => {
                Score { value: figure(&tally.counts[*family]), per_user: None }
            }
        };
        Ok(self.slots.iter().map(score).collect())
    }

    /// The scores of all lists with their per-request values.
    pub fn evaluate(
        &self,
        lists: &RankedLists,
        truth: &Truth,
        threads: usize,
    ) -> Result<Vec<Score>> {
        let mut tally = self.tally(0, Keep::PerRequest);
        self.add(&mut tally, lists, truth, threads)?;
        self.into_scores(tally)
    }

    fn columns(&self) -> usize {
        self.means.iter().map(|m| m.cut_offs.len()).sum()
    }

    fn column(&self, family: usize, k: usize) -> usize {
        let before: usize = self.means[..family].iter().map(|m| m.cut_offs.len()).sum();
        before + self.means[family].cut_offs.partition_point(|&c| c < k)
    }

    fn own(&self, tally: &Tally) -> Result<()> {
        let counters = self.counts.iter().map(|c| c.counter.counters());
        match tally.is_of(self.columns(), self.means.len(), counters) {
            true => Ok(()),
            false => Err(Error::mismatch("the tally was made by a panel of other metrics")),
        }
    }
}

/// The score of each metric, in their order: those with a [`Metric::form`] in one pass with
/// `threads` threads, the others one after the other. Fails as [`Metric::evaluate`] does.
pub fn evaluate_all(
    metrics: &[Box<dyn Metric>],
    lists: &RankedLists,
    truth: &Truth,
    context: &EvalContext<'_>,
    threads: usize,
) -> Result<Vec<Score>> {
    let (mut forms, mut alone) = (Vec::new(), Vec::new());
    for (m, metric) in metrics.iter().enumerate() {
        match metric.form(context)? {
            Some(form) => forms.push(form),
            None => alone.push(m),
        }
    }
    let panel = Panel::of(forms, context.n_items);
    let mut together = panel.evaluate(lists, truth, threads)?.into_iter();
    let one = |m: usize| match alone.contains(&m) {
        true => metrics[m].evaluate(lists, truth, context),
        false => together.next().ok_or_else(|| Error::mismatch("a metric without score")),
    };
    (0..metrics.len()).map(one).collect()
}
