//! Many metrics in one pass over the lists, in blocks, on several threads and in shards.
//!
//! A [`Panel`] groups metrics by formula, so that every formula is evaluated once a request for all
//! of its cut-offs. A [`Tally`] holds what was added so far: exact sums ([`Sum`]) and whole-number
//! counts, so blocks, threads and shards change no bit of a result, and the order in which tallies
//! are merged changes none of the means. Memory: one stamp an item and thread, N counters for each
//! cut-off of an exposure metric, and one column of R values a mean where they are kept.

use crate::form::{Counter, Figure, Form, Formula, Reads};
use crate::ranks::RankFinder;
use crate::{EvalContext, Judged, Metric, Score, Sum, Truth};
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, ItemId, RankedLists, Result};
use std::ops::Range;

/// Requests below which a thread is not worth its start.
const PIECE: usize = 1024;

/// Whether the values of single requests are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// The values of the panel only.
    #[default]
    Means,
    /// A column of values for every mean, for breakdowns and significance tests.
    PerRequest,
}

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

/// What was added so far; shards write it down and merge it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tally {
    start: usize,
    requests: usize,
    /// One a formula and cut-off.
    sums: Vec<Sum>,
    /// One a formula.
    weights: Vec<u64>,
    /// One vector a counter.
    counts: Vec<Vec<u64>>,
    /// One a formula and cut-off.
    columns: Option<Vec<Vec<f64>>>,
    #[serde(skip)]
    finders: Vec<RankFinder>,
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
        Tally {
            start,
            requests: 0,
            sums: vec![Sum::default(); self.columns()],
            weights: vec![0; self.means.len()],
            counts: self.counts.iter().map(|c| vec![0; c.counter.counters()]).collect(),
            columns: (keep == Keep::PerRequest).then(|| vec![Vec::new(); self.columns()]),
            finders: Vec::new(),
        }
    }

    /// Adds the next block of requests with up to `threads` threads, which change no bit.
    ///
    /// Fails when lists and truth differ in number, when an item is outside the catalogue, and on
    /// the tally of another panel; the tally is of no use then.
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
        let n = lists.len();
        let threads = threads.clamp(1, n.div_ceil(PIECE).max(1));
        let finders = &mut tally.finders;
        finders.resize_with(threads.max(finders.len()), || RankFinder::new(self.n_items));
        let block = Block { lists, truth, first: tally.start + tally.requests };
        let mut parts: Vec<Part<'_>> = Vec::with_capacity(threads);
        let share = n.div_ceil(threads).max(1);
        let mut columns: Vec<&mut [f64]> = Vec::new();
        for column in tally.columns.iter_mut().flatten() {
            let old = column.len();
            column.resize(old + n, 0.0);
            columns.push(&mut column[old..]);
        }
        for (t, finder) in finders.iter_mut().take(threads).enumerate() {
            let range = (t * share).min(n)..((t + 1) * share).min(n);
            let mut mine = Vec::with_capacity(columns.len());
            for column in &mut columns {
                let (head, tail) = std::mem::take(column).split_at_mut(range.len());
                mine.push(head);
                *column = tail;
            }
            parts.push(Part {
                range,
                finder,
                sums: vec![Sum::default(); self.columns()],
                weights: vec![0; self.means.len()],
                counts: self.counts.iter().map(|c| vec![0; c.counter.counters()]).collect(),
                columns: mine,
                values: vec![0.0; self.means.iter().map(|m| m.cut_offs.len()).max().unwrap_or(0)],
            });
        }
        let done: Vec<Result<()>> = if let [part] = &mut parts[..] {
            vec![self.judge(&block, part)]
        } else {
            std::thread::scope(|scope| {
                let block = &block;
                let started: Vec<_> =
                    parts.iter_mut().map(|p| scope.spawn(|| self.judge(block, p))).collect();
                let died = || Error::mismatch("a thread of the evaluation died");
                started.into_iter().map(|t| t.join().map_err(|_| died())?).collect()
            })
        };
        done.into_iter().collect::<Result<()>>()?;
        let parts: Vec<_> = parts.into_iter().map(|p| (p.sums, p.weights, p.counts)).collect();
        for (sums, weights, counts) in &parts {
            join(&mut tally.sums, &mut tally.weights, &mut tally.counts, sums, weights, counts);
        }
        tally.requests += n;
        Ok(())
    }

    /// The score of each metric, in their order. Fails when nothing was added.
    pub fn scores(&self, tally: &Tally) -> Result<Vec<Score>> {
        self.own(tally)?;
        if tally.requests == 0 {
            return Err(Error::input(
                "no request to evaluate: expected at least one user with a target",
            ));
        }
        let score = |slot: &Slot<'_>| match slot {
            Slot::Mean { family, k } => {
                let column = self.column(*family, *k);
                let value = tally.sums[column].value() / tally.weights[*family] as f64;
                Score { value, per_user: tally.columns.as_ref().map(|c| c[column].clone()) }
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
        self.scores(&tally)
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
        if tally.sums.len() != self.columns()
            || tally.weights.len() != self.means.len()
            || !counters.eq(tally.counts.iter().map(Vec::len))
        {
            return Err(Error::mismatch("the tally was made by a panel of other metrics"));
        }
        Ok(())
    }

    /// Judges the requests of a part.
    fn judge(&self, block: &Block<'_>, part: &mut Part<'_>) -> Result<()> {
        let lists = part.range.clone().map(|r| (r, block.lists.get(r), block.truth.get(r)));
        for (at, (r, list, targets)) in lists.enumerate() {
            let request = block.first + r;
            self.inside("ranked list", request, list)?;
            self.inside("target set", request, targets)?;
            let found = match self.reads {
                Reads::Ranks => part.finder.ranks(list, targets, self.longest),
                Reads::Items => part.finder.items(list, targets, self.longest),
            };
            let judged = Judged {
                request,
                targets,
                gains: block.truth.gains(r),
                ranks: found.ranks,
                hits: found.hits,
                list,
                head: found.head,
            };
            let mut column = 0;
            for (family, weights) in self.means.iter().zip(&mut part.weights) {
                let values = &mut part.values[..family.cut_offs.len()];
                family.formula.values(&judged, &family.cut_offs, values);
                let weight = family.formula.weight(&judged);
                *weights += weight;
                for &value in values.iter() {
                    let sum = &mut part.sums[column];
                    match weight {
                        1 => sum.add(value),
                        _ => sum.add_times(value, weight),
                    }
                    if let Some(values) = part.columns.get_mut(column) {
                        values[at] = value;
                    }
                    column += 1;
                }
            }
            for (family, counts) in self.counts.iter().zip(&mut part.counts) {
                family.counter.count(&judged, family.k, counts);
            }
        }
        Ok(())
    }

    fn inside(&self, what: &str, request: usize, items: &[ItemId]) -> Result<()> {
        // A fold without early exit, because it compiles to vector code.
        let largest = items.iter().fold(0, |m, i| m.max(i.0));
        if !items.is_empty() && largest as usize >= self.n_items {
            return Err(Error::mismatch(format!(
                "{what} {request} holds item {largest}, outside the catalogue of {} items",
                self.n_items
            )));
        }
        Ok(())
    }
}

struct Block<'a> {
    lists: &'a RankedLists,
    truth: &'a Truth,
    first: usize,
}

struct Part<'a> {
    range: Range<usize>,
    finder: &'a mut RankFinder,
    sums: Vec<Sum>,
    weights: Vec<u64>,
    counts: Vec<Vec<u64>>,
    columns: Vec<&'a mut [f64]>,
    values: Vec<f64>,
}

impl Tally {
    /// Requests added.
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// Adds the tally of another shard of the same panel. Where values of single requests are
    /// kept, `other` must begin where this one ends.
    pub fn merge(&mut self, other: Tally) -> Result<()> {
        let alike = self.sums.len() == other.sums.len()
            && self.weights.len() == other.weights.len()
            && self.counts.iter().map(Vec::len).eq(other.counts.iter().map(Vec::len))
            && self.columns.is_some() == other.columns.is_some();
        if !alike {
            return Err(Error::mismatch("tallies of different panels cannot be merged"));
        }
        if self.columns.is_some() && self.start + self.requests != other.start {
            return Err(Error::mismatch(format!(
                "this tally ends before request {}, the other begins at {}: merge in order where \
                 values of requests are kept",
                self.start + self.requests,
                other.start
            )));
        }
        let Tally { sums, weights, counts, .. } = self;
        join(sums, weights, counts, &other.sums, &other.weights, &other.counts);
        for (mine, theirs) in self.columns.iter_mut().flatten().zip(other.columns.iter().flatten())
        {
            mine.extend_from_slice(theirs);
        }
        self.requests += other.requests;
        self.start = self.start.min(other.start);
        Ok(())
    }
}

fn join(
    sums: &mut [Sum],
    weights: &mut [u64],
    counts: &mut [Vec<u64>],
    more_sums: &[Sum],
    more_weights: &[u64],
    more_counts: &[Vec<u64>],
) {
    sums.iter_mut().zip(more_sums).for_each(|(a, b)| a.merge(b));
    weights.iter_mut().zip(more_weights).for_each(|(a, b)| *a += b);
    for (mine, theirs) in counts.iter_mut().zip(more_counts) {
        mine.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
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
