//! `second-best`: all but one item of a shared tuple move to the nearest code that is free.
//!
//! One item keeps the tuple: the one nearest to its last code, or the most popular one. The others
//! go, best first, to the nearest code of the last level whose ID is free; where the prefix has no
//! free ID they change the code of the level before, to the nearest one with a free ID below it,
//! and take the nearest code with a free ID at every level behind; and so on up to the first level.
//! IDs keep their length and all are distinct, as long as there are as many tuples as items.
//!
//! Deviation: none known; systems that name this policy do not write it down, so that the order of
//! moves and the way up the levels are reconstructions.
//!
//! Cost: `O(N L log N)` and, for each item of a shared tuple, the distances to the codes of one
//! level (one of the codebook's products) for every level tried. No distance of unshared items is
//! computed.

use super::places::Places;
use super::{CHUNK, by_codes, check_moves, distances, groups, one_each};
use serde::{Deserialize, Serialize};
use sidereal_core::{
    Code, Codes, Error, Event, Identifier, IdentifierInput, Quantized, Result, Run, SidTable,
};
use sidereal_nn::parallel::pool;

/// Which item of a shared tuple keeps it, and who chooses first among those that move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The one nearest to its code on the last level.
    Nearest,
    /// The one with the most training interactions, then the nearest.
    Popular,
}

sidereal_core::options! {
    /// Options of `second-best`.
    pub struct SecondBestOptions {
        /// Which item keeps a shared tuple, and who chooses first among the others: `nearest` to the
        /// code, or `popular`.
        pub keep: Keep = Keep::Nearest,
    }
}

/// Moves items to other codes.
#[derive(Debug, Clone)]
pub struct SecondBest {
    options: SecondBestOptions,
}

const TASK: &str = "second-best";

impl SecondBest {
    /// An identifier with these options.
    pub fn new(options: SecondBestOptions) -> Self {
        SecondBest { options }
    }

    /// Distinct codes, `N x L`; `popularity` has N counts.
    ///
    /// Errors: rows that differ in depth, a codebook without distances, more items than tuples.
    pub fn separate(
        &self,
        from: &Quantized<'_>,
        popularity: &[u32],
        run: &Run<'_>,
    ) -> Result<Codes> {
        self.separate_beside(from, popularity, Places::new(from.codebook.widths()), run)
    }

    /// As [`SecondBest::separate`], where some IDs are taken already.
    pub(super) fn separate_beside(
        &self,
        from: &Quantized<'_>,
        popularity: &[u32],
        mut places: Places,
        run: &Run<'_>,
    ) -> Result<Codes> {
        check_moves(from)?;
        let (codes, items) = (from.codes, from.codes.rows());
        if items as u64 > places.left() {
            return Err(Error::mismatch(format!(
                "{items} items share {} free tuples of codes; `second-best` needs at least as many \
                 tuples as items: raise quantizer.levels",
                places.left()
            )));
        }
        let mut movers = self.movers(from, popularity, &mut places, run)?;
        let mut now = codes.data().to_vec();
        let total = movers.len() as u64;
        run.emit(Event::Started { task: TASK, total, unit: "items" });
        for level in (0..codes.levels()).rev() {
            if movers.is_empty() {
                break;
            }
            let (moved, stuck) = choose(from, &movers, level, &mut now, &mut places, run)?;
            for below in level + 1..codes.levels() {
                descend(from, &moved, below, &mut now, &mut places, run)?;
            }
            movers = stuck;
            let done = total - movers.len() as u64;
            run.emit(Event::Advanced { task: TASK, done, numbers: &[] });
        }
        run.emit(Event::Finished { task: TASK });
        Codes::new(items, codes.levels(), now)
    }

    /// Items that must move, the first to choose first; the IDs of all others are taken.
    fn movers(
        &self,
        from: &Quantized<'_>,
        popularity: &[u32],
        places: &mut Places,
        run: &Run<'_>,
    ) -> Result<Vec<u32>> {
        let codes = from.codes;
        let order = by_codes(codes);
        let taken: Vec<bool> =
            groups(codes, &order).map(|g| places.taken(codes.row(g[0] as usize))).collect();
        let contested = groups(codes, &order).zip(&taken);
        let contested = contested.filter(|(group, taken)| group.len() > 1 || **taken);
        let rows: Vec<u32> = contested.flat_map(|(group, _)| group).copied().collect();
        let mut own = Vec::with_capacity(rows.len());
        let last = codes.levels().saturating_sub(1);
        for chunk in rows.chunks(CHUNK) {
            run.check()?;
            let d = distances(from, chunk, codes.data(), last)?;
            let at = |(i, &row): (usize, &u32)| d.row(i)[codes.row(row as usize)[last] as usize];
            own.extend(chunk.iter().enumerate().map(at));
        }
        let count = |row: u32| match self.options.keep {
            Keep::Nearest => 0,
            Keep::Popular => popularity.get(row as usize).copied().unwrap_or(0),
        };
        let mut movers: Vec<(f32, u32)> = Vec::with_capacity(rows.len());
        let mut at = 0;
        for (group, taken) in groups(codes, &order).zip(taken) {
            if group.len() == 1 && !taken {
                places.take_path(codes.row(group[0] as usize));
                continue;
            }
            let start = movers.len();
            movers.extend(own[at..].iter().copied().zip(group.iter().copied()));
            at += group.len();
            if !taken {
                let better = |&a: &usize, &b: &usize| first(movers[a], movers[b], &count);
                let best = (start..movers.len()).min_by(better).unwrap_or(start);
                places.take_path(codes.row(movers.swap_remove(best).1 as usize));
            }
        }
        movers.sort_unstable_by(|&a, &b| first(a, b, &count));
        Ok(movers.into_iter().map(|(_, row)| row).collect())
    }
}

/// Who of two (distance, row) chooses first.
fn first(a: (f32, u32), b: (f32, u32), count: &impl Fn(u32) -> u32) -> std::cmp::Ordering {
    count(b.1).cmp(&count(a.1)).then(a.0.total_cmp(&b.0)).then(a.1.cmp(&b.1))
}

/// Items that found a code, and those that did not.
type Split = (Vec<u32>, Vec<u32>);

/// Every item takes the nearest code of `level` with a free ID below it, if there is one.
fn choose(
    from: &Quantized<'_>,
    rows: &[u32],
    level: usize,
    now: &mut [Code],
    places: &mut Places,
    run: &Run<'_>,
) -> Result<Split> {
    let levels = from.codes.levels();
    let (mut moved, mut stuck) = (Vec::new(), Vec::new());
    for chunk in rows.chunks(CHUNK) {
        run.check()?;
        let d = distances(from, chunk, now, level)?;
        for (i, &row) in chunk.iter().enumerate() {
            let id = &mut now[row as usize * levels..(row as usize + 1) * levels];
            let node = places.find(&id[..level]);
            match nearest(d.row(i), |code| places.free(node, level, code)) {
                None => stuck.push(row),
                Some(code) => {
                    id[level] = code;
                    places.take_path(&id[..=level]);
                    moved.push(row);
                }
            }
        }
    }
    Ok((moved, stuck))
}

/// Every item takes the nearest code of `level` with a free ID below it: there is one, because the
/// prefix had room for each of them.
fn descend(
    from: &Quantized<'_>,
    rows: &[u32],
    level: usize,
    now: &mut [Code],
    places: &mut Places,
    run: &Run<'_>,
) -> Result<()> {
    let levels = from.codes.levels();
    for chunk in rows.chunks(CHUNK) {
        run.check()?;
        let d = distances(from, chunk, now, level)?;
        for (i, &row) in chunk.iter().enumerate() {
            let id = &mut now[row as usize * levels..(row as usize + 1) * levels];
            let node = places.find(&id[..level]);
            let code = nearest(d.row(i), |code| places.free(node, level, code));
            if let (Some(node), Some(code)) = (node, code) {
                id[level] = code;
                places.take(node, code);
            }
        }
    }
    Ok(())
}

/// The nearest code that is free, ties to the lowest.
fn nearest(distances: &[f32], free: impl Fn(Code) -> bool) -> Option<Code> {
    let mut best: Option<(f32, Code)> = None;
    for (code, &d) in distances.iter().enumerate() {
        let closer = best.is_none_or(|(low, _)| d < low);
        if closer && free(code as Code) {
            best = Some((d, code as Code));
        }
    }
    best.map(|(_, code)| code)
}

impl Identifier for SecondBest {
    fn identify(&self, input: &IdentifierInput<'_>, run: &Run<'_>) -> Result<SidTable> {
        let from = input.quantized()?;
        one_each(&pool(run.threads)?.install(|| self.separate(from, input.popularity, run))?)
    }
}
