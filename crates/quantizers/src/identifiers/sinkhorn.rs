//! `sinkhorn`: items of a shared tuple take new codes on the last level, balanced by Sinkhorn's
//! iteration.
//!
//! LC-Rec (arXiv 2311.09049) and MiniOneRec (arXiv 2510.24431) repair collisions so: in at most 20
//! rounds, each group of items with equal tuples is encoded again, alone, with the balanced
//! assignment of [`crate::sinkhorn`] (epsilon 0.003, 50 iterations) on the last level. Codes before
//! it stay, other items stay; a group may run into an item of the same prefix, which the next round
//! sees. What is left after the last round is accepted there (`tolerate`); `ordinal` gives it a digit.
//!
//! Equal vectors have equal distances and stay together in every round. A group that moves as one
//! is not encoded again until another item joins it, because nothing would change.
//!
//! Deviations: groups of more than 4096 items are encoded in pieces of 4096, in item order, because
//! the balanced plan of m items over K codes takes `16 m K` bytes; the published code asks the whole
//! model again and replaces every code of the group, which on the levels before the last gives the
//! codes that the group has already.
//!
//! Cost a round: the distances of the items of shared tuples to the K codes of the last level, and
//! `4 m K` operations for each of the iterations. Only prefixes with a shared tuple are looked at
//! after the first sort.

use super::{CHUNK, Ordinal, OrdinalOptions, by_codes, check_moves, distances, groups, one_each};
use crate::sinkhorn::assign;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sidereal_core::{
    Code, Codes, Error, Event, Identifier, IdentifierInput, Matrix, MatrixRef, Quantized, Result,
    Run, SidTable,
};
use sidereal_nn::parallel::pool;
use std::collections::HashMap;

/// What happens to tuples that are still shared after the last round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leftover {
    /// They stay shared.
    Tolerate,
    /// All items get one more digit, as `ordinal` gives it.
    Ordinal,
}

sidereal_core::options! {
    /// Options of `sinkhorn`.
    pub struct SinkhornOptions {
        /// Rounds, at most; 1 and up. MiniOneRec: 20.
        pub rounds: u32 = 20,
        /// Sharpness of the assignment, above 0. MiniOneRec: 0.003.
        pub epsilon: f64 = 0.003,
        /// Iterations of each assignment, 1 and up. MiniOneRec: 50.
        pub iterations: u32 = 50,
        /// Tuples that are shared to the end: `tolerate` or `ordinal`.
        pub leftover: Leftover = Leftover::Tolerate,
    }
}

/// Encodes shared tuples again.
#[derive(Debug, Clone)]
pub struct Sinkhorn {
    options: SinkhornOptions,
}

const TASK: &str = "sinkhorn";

impl Sinkhorn {
    /// Checks the options.
    ///
    /// Errors name the key under `identifier`, its value and what is allowed.
    pub fn new(options: SinkhornOptions) -> Result<Self> {
        for (key, value) in [("rounds", options.rounds), ("iterations", options.iterations)] {
            if value == 0 {
                let key = format!("identifier.{key}");
                return Err(Error::config(key, "got 0; expected at least 1"));
            }
        }
        let epsilon = options.epsilon;
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            let message = format!("got {epsilon}; expected a number above 0");
            return Err(Error::config("identifier.epsilon", message));
        }
        Ok(Sinkhorn { options })
    }

    /// Codes after the rounds, `N x L`; some tuples may still be shared.
    ///
    /// Errors: rows that differ in depth, a codebook without distances.
    pub fn repair(&self, from: &Quantized<'_>, run: &Run<'_>) -> Result<Codes> {
        check_moves(from)?;
        let levels = from.codes.levels();
        let Some(last) = levels.checked_sub(1) else { return Ok(from.codes.clone()) };
        let mut now = from.codes.data().to_vec();
        let mut active = active(from.codes);
        // Groups that moved as one, by their first rows: encoding them again changes nothing.
        let mut stuck: HashMap<u32, Vec<u32>> = HashMap::new();
        let total = u64::from(self.options.rounds);
        run.emit(Event::Started { task: TASK, total, unit: "rounds" });
        for round in 0..total {
            let row = |r: u32| &now[r as usize * levels..(r as usize + 1) * levels];
            active.par_sort_unstable_by(|&a, &b| row(a).cmp(row(b)).then(a.cmp(&b)));
            let same = |a: &u32, b: &u32| row(*a) == row(*b);
            let known = |group: &[u32]| stuck.get(&group[0]).is_some_and(|rows| rows[..] == *group);
            let shared = active.chunk_by(same).filter(|group| group.len() > 1 && !known(group));
            let pieces: Vec<Vec<u32>> = batches(shared.flat_map(|group| group.chunks(CHUNK)));
            if pieces.is_empty() {
                break;
            }
            for rows in pieces {
                run.check()?;
                let row = |r: u32| &now[r as usize * levels..(r as usize + 1) * levels];
                let d = distances(from, &rows, &now, last)?;
                let codes = self.encode(&d, &rows, &now, levels)?;
                let mut at = 0;
                for group in rows.chunk_by(|a, b| row(*a) == row(*b)) {
                    let own = &codes[at..at + group.len()];
                    at += group.len();
                    if group.len() < CHUNK && own.iter().all(|c| *c == own[0]) {
                        stuck.insert(group[0], group.to_vec());
                    }
                }
                rows.iter().zip(codes).for_each(|(&r, c)| now[r as usize * levels + last] = c);
            }
            run.emit(Event::Advanced { task: TASK, done: round + 1, numbers: &[] });
        }
        run.emit(Event::Finished { task: TASK });
        Codes::new(from.codes.rows(), levels, now)
    }

    /// New codes of the last level for `rows`, runs of which have equal tuples.
    fn encode(&self, d: &Matrix, rows: &[u32], now: &[Code], levels: usize) -> Result<Vec<Code>> {
        let row = |r: u32| &now[r as usize * levels..(r as usize + 1) * levels];
        let mut start = 0;
        let mut tasks = Vec::new();
        for group in rows.chunk_by(|a, b| row(*a) == row(*b)) {
            let data = &d.data()[start * d.cols()..(start + group.len()) * d.cols()];
            tasks.push(MatrixRef::new(group.len(), d.cols(), data)?);
            start += group.len();
        }
        let SinkhornOptions { epsilon, iterations, .. } = self.options;
        let codes: Vec<Vec<Code>> =
            tasks.into_par_iter().map(|d| assign(d, epsilon, iterations)).collect();
        Ok(codes.concat())
    }
}

/// Rows of all prefixes below which a tuple is shared: moves stay among them.
fn active(codes: &Codes) -> Vec<u32> {
    let order = by_codes(codes);
    let prefix = |r: u32| codes.row(r as usize).split_last().map(|(_, prefix)| prefix);
    let collides = |rows: &&[u32]| groups(codes, rows).any(|group| group.len() > 1);
    order.chunk_by(|&a, &b| prefix(a) == prefix(b)).filter(collides).flatten().copied().collect()
}

/// Joins groups to batches of about [`CHUNK`] rows. Pieces of one group never meet in a batch.
fn batches<'a>(groups: impl Iterator<Item = &'a [u32]>) -> Vec<Vec<u32>> {
    let mut out: Vec<Vec<u32>> = Vec::new();
    for group in groups {
        match out.last_mut() {
            Some(batch) if batch.len() + group.len() <= CHUNK => batch.extend_from_slice(group),
            _ => out.push(group.to_vec()),
        }
    }
    out
}

impl Identifier for Sinkhorn {
    fn identify(&self, input: &IdentifierInput<'_>, run: &Run<'_>) -> Result<SidTable> {
        let from = input.quantized()?;
        let codes = pool(run.threads)?.install(|| self.repair(from, run))?;
        match self.options.leftover {
            Leftover::Tolerate => one_each(&codes),
            Leftover::Ordinal => one_each(&Ordinal::new(OrdinalOptions::default()).append(&codes)?),
        }
    }
}
