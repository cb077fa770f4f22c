//! One pass over a block of requests, on threads.
//!
//! Threads take pieces of requests as they come free. Each adds up in memory of its own, allocated
//! on the thread, so that no two write to one cache line; sums are exact, so it does not matter who
//! takes which piece.

use super::{Panel, Tally};
use crate::form::Reads;
use crate::ranks::RankFinder;
use crate::sum::Lanes;
use crate::{Judged, Truth};
use sidereal_core::{Error, ItemId, RankedLists, Result};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Requests of a piece.
const PIECE: usize = 2048;

pub(super) struct Block<'a> {
    pub lists: &'a RankedLists,
    pub truth: &'a Truth,
    /// Number of the first request.
    pub first: usize,
}

/// Requests of a block, with their part of the columns.
struct Piece<'a> {
    range: Range<usize>,
    columns: Vec<&'a mut [f64]>,
}

/// What one thread adds up.
struct Worker {
    finder: RankFinder,
    lanes: Lanes,
    weights: Vec<u64>,
    counts: Vec<Vec<u64>>,
    /// The values of a request, one a column.
    values: Vec<f64>,
    /// Hits within each cut-off, by family; none for one that has those of the family before.
    within: Vec<Option<Vec<u32>>>,
}

/// What stopped a thread, and at which request.
struct Stop {
    request: usize,
    error: Error,
}

impl Panel<'_> {
    pub(super) fn pass(&self, tally: &mut Tally, block: &Block<'_>, threads: usize) -> Result<()> {
        let n = block.lists.len();
        let threads = threads.clamp(1, n.div_ceil(PIECE).max(1));
        let mut finders = std::mem::take(&mut tally.finders);
        let pieces = Mutex::new(pieces(&mut tally.columns, n).into_iter());
        let work = |finder: RankFinder| {
            let mut worker = self.worker(finder);
            let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
            while let Some(mut piece) = next() {
                if let Err(stop) = self.judge(block, &mut worker, &mut piece) {
                    return (worker, Some(stop));
                }
            }
            (worker, None)
        };
        let mut finder = || finders.pop().unwrap_or_else(|| RankFinder::new(self.n_items));
        let done = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads)
                .map(|_| {
                    let (finder, work) = (finder(), &work);
                    scope.spawn(move || work(finder))
                })
                .collect();
            let mut done = vec![work(finder())];
            for other in others {
                let died = |_| Error::mismatch("a thread of the evaluation died");
                done.push(other.join().map_err(died)?);
            }
            Ok::<_, Error>(done)
        })?;
        drop(pieces);
        let mut first: Option<Stop> = None;
        for (worker, stop) in done {
            let Worker { finder, lanes, weights, counts, .. } = worker;
            tally.finders.push(finder);
            tally.grow(0, &lanes.into_sums(), &weights, &counts);
            let earlier = |s: &Stop| first.as_ref().is_none_or(|f| s.request < f.request);
            if stop.as_ref().is_some_and(earlier) {
                first = stop;
            }
        }
        tally.grow(n, &[], &[], &[]);
        first.map_or(Ok(()), |stop| Err(stop.error))
    }

    fn worker(&self, finder: RankFinder) -> Worker {
        let mut before = &[][..];
        let within = self.means.iter().map(|m| {
            let other = before != m.cut_offs;
            before = &m.cut_offs;
            other.then(|| vec![0; m.cut_offs.len()])
        });
        let within = within.collect();
        Worker {
            finder,
            lanes: Lanes::new(self.columns()),
            weights: vec![0; self.means.len()],
            counts: self.counts.iter().map(|c| vec![0; c.counter.counters()]).collect(),
            values: vec![0.0; self.columns()],
            within,
        }
    }

    fn judge(
        &self,
        block: &Block<'_>,
        worker: &mut Worker,
        piece: &mut Piece<'_>,
    ) -> std::result::Result<(), Stop> {
        for (at, r) in piece.range.clone().enumerate() {
            let (list, targets) = (block.lists.get(r), block.truth.get(r));
            let request = block.first + r;
            self.inside("ranked list", request, list)?;
            self.inside("target set", request, targets)?;
            let found = match self.reads {
                Reads::Ranks => worker.finder.ranks(list, targets, self.longest),
                Reads::Items => worker.finder.items(list, targets, self.longest),
            };
            let mut judged = Judged {
                request,
                targets,
                gains: block.truth.gains(r),
                ranks: found.ranks,
                hits: found.hits,
                list,
                head: found.head,
                within: &[],
            };
            // Hits within each cut-off, once for the families that have the same.
            let mut rest = &mut worker.values[..];
            for (family, within) in self.means.iter().zip(&mut worker.within) {
                if let Some(within) = within {
                    count_within(found.ranks, &family.cut_offs, within);
                    judged.within = within;
                }
                let (values, more) = rest.split_at_mut(family.cut_offs.len());
                family.formula.values(&judged, &family.cut_offs, values);
                rest = more;
            }
            judged.within = &[];
            for (column, value) in piece.columns.iter_mut().zip(&worker.values) {
                column[at] = *value;
            }
            let mut column = 0;
            for (family, weights) in self.means.iter().zip(&mut worker.weights) {
                let weight = family.formula.weight(&judged);
                *weights += weight;
                let end = column + family.cut_offs.len();
                if weight != 1 {
                    for (c, value) in worker.values[..end].iter_mut().enumerate().skip(column) {
                        worker.lanes.add_times(c, std::mem::take(value), weight);
                    }
                }
                column = end;
            }
            worker.lanes.add(&worker.values);
            for (family, counts) in self.counts.iter().zip(&mut worker.counts) {
                family.counter.count(&judged, family.k, counts);
            }
        }
        Ok(())
    }

    fn inside(
        &self,
        what: &str,
        request: usize,
        items: &[ItemId],
    ) -> std::result::Result<(), Stop> {
        // A fold without early exit, because it compiles to vector code.
        let n_items = u32::try_from(self.n_items).unwrap_or(u32::MAX);
        if !items.iter().fold(false, |any, i| any | (i.0 >= n_items)) {
            return Ok(());
        }
        let largest = items.iter().max().map_or(0, |i| i.0);
        let error = Error::mismatch(format!(
            "{what} {request} holds item {largest}, outside the catalogue of {} items",
            self.n_items
        ));
        Err(Stop { request, error })
    }
}

/// Writes how many of the ranks lie within each cut-off.
fn count_within(ranks: &[u32], cut_offs: &[usize], within: &mut [u32]) {
    within.fill(0);
    for &rank in ranks {
        for (count, &k) in within.iter_mut().zip(cut_offs) {
            *count += u32::from((rank as usize) < k);
        }
    }
}

/// Cuts `n` requests into pieces, and as many new places of the columns.
fn pieces(columns: &mut Option<Vec<Vec<f64>>>, n: usize) -> Vec<Piece<'_>> {
    let mut rest: Vec<&mut [f64]> = Vec::new();
    for column in columns.iter_mut().flatten() {
        let old = column.len();
        if old == 0 {
            // Zeros from the system: the threads are the first to touch them.
            *column = vec![0.0; n];
        } else {
            column.resize(old + n, 0.0);
        }
        rest.push(&mut column[old..]);
    }
    let piece = |start: usize| {
        let range = start..n.min(start + PIECE);
        let mut mine = Vec::with_capacity(rest.len());
        for column in &mut rest {
            let (head, tail) = std::mem::take(column).split_at_mut(range.len());
            mine.push(head);
            *column = tail;
        }
        Piece { range, columns: mine }
    };
    (0..n).step_by(PIECE).map(piece).collect()
}
