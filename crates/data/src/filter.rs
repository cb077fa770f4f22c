//! Rows to histories: repeats, k-core, stable order by time, dense numbers.
//!
//! Rows arrive as columns of numbers. A counting sort groups them by user and keeps the order of
//! the file; a stable sort then orders each user's rows by time. The k-core is the largest set in
//! which every user has `min_user` rows and every item `min_item`; it is unique, and is found by
//! deleting from a queue whatever falls below, in O(rows).

use crate::{Dataset, LoadReport, Part};
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, ItemId, Result, Run, Sequences};
use std::path::Path;

/// What to do with rows that repeat the user and item of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duplicates {
    /// Keep all.
    #[default]
    Keep,
    /// Keep the earliest.
    First,
    /// Keep the latest.
    Last,
}

/// What to do with rows that cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BadLines {
    /// Count and skip them, up to `max_bad_lines`.
    Skip,
    /// Stop at the first.
    #[default]
    Fail,
}

/// Filters common to all readers, applied in this order.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Filters {
    pub(crate) min_rating: Option<f64>,
    pub(crate) duplicates: Duplicates,
    pub(crate) min_user: u32,
    pub(crate) min_item: u32,
    pub(crate) bad_lines: BadLines,
    pub(crate) max_bad_lines: u64,
}

/// Reads the common filters out of a source's options.
macro_rules! filters {
    ($o:expr) => {
        $crate::filter::Filters {
            min_rating: $o.min_rating,
            duplicates: $o.duplicates,
            min_user: $o.min_user,
            min_item: $o.min_item,
            bad_lines: $o.bad_lines,
            max_bad_lines: $o.max_bad_lines,
        }
        .checked()?
    };
}
pub(crate) use filters;

impl Filters {
    pub(crate) fn checked(self) -> Result<Self> {
        if self.min_rating.is_some_and(|r| !r.is_finite()) {
            return Err(Error::config("data.min_rating", "expected a finite number"));
        }
        Ok(self)
    }
}

/// How many bad lines the report quotes.
const QUOTED: usize = 5;

impl Filters {
    /// Counts a bad row, or turns it into the error that ends the reading.
    #[cold]
    pub(crate) fn bad(
        &self,
        report: &mut LoadReport,
        path: &Path,
        line: u64,
        message: &str,
    ) -> Result<()> {
        if self.bad_lines == BadLines::Fail {
            return Err(Error::data_line(
                path,
                line,
                format!("{message} (data.bad_lines = \"skip\" passes over such lines)"),
            ));
        }
        report.bad_lines += 1;
        if report.first_bad_lines.len() < QUOTED {
            report.first_bad_lines.push(format!("{}:{line}: {message}", path.display()));
        }
        if report.bad_lines > self.max_bad_lines {
            return Err(Error::data_line(
                path,
                line,
                format!(
                    "bad line number {}, more than data.max_bad_lines = {}; the first is {}",
                    report.bad_lines, self.max_bad_lines, report.first_bad_lines[0]
                ),
            ));
        }
        Ok(())
    }
}

/// Interactions as columns, in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    user: Vec<u32>,
    item: Vec<u32>,
    time: Vec<i64>,
    part: Vec<Part>,
    missing_times: u64,
}

impl Rows {
    /// Appends a row. Pass `part` for every row or for none.
    #[inline]
    pub(crate) fn push(&mut self, user: u32, item: u32, time: Option<i64>, part: Option<Part>) {
        self.user.push(user);
        self.item.push(item);
        if let Some(t) = time {
            // Rows without a time that came before get a filler that is never read.
            if self.time.len() + 1 < self.user.len() {
                self.time.resize(self.user.len() - 1, 0);
            }
            self.time.push(t);
        } else {
            self.missing_times += 1;
            if !self.time.is_empty() {
                self.time.push(0);
            }
        }
        if let Some(p) = part {
            self.part.push(p);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.user.len()
    }
}

/// Histories, and which of the old numbers are left.
#[derive(Debug)]
pub(crate) struct Histories {
    /// Histories of the users that are left, with new numbers.
    pub(crate) sequences: Sequences,
    /// Part of each interaction.
    pub(crate) parts: Option<Vec<Part>>,
    /// Old number of every user that is left, rising.
    pub(crate) users: Vec<u32>,
    /// Old number of every item that is left, rising.
    pub(crate) items: Vec<u32>,
}

impl Histories {
    /// The data set with the given texts, and its counts in `report`.
    pub(crate) fn dataset(
        self,
        items: sidereal_core::ItemTable,
        user_ids: sidereal_core::StringColumn,
        report: LoadReport,
    ) -> Dataset {
        let mut data =
            Dataset { items, user_ids, interactions: self.sequences, parts: self.parts, report };
        data.count();
        data
    }
}

/// Groups, orders and filters `rows` of `users x items` numbers. A user or item below its bound
/// vanishes and the rest moves up; with a bound of 0 it stays even without a row.
///
/// `time_divisor` turns times into seconds after ordering.
pub(crate) fn histories(
    rows: Rows,
    users: usize,
    items: usize,
    filters: &Filters,
    time_divisor: i64,
    path: &Path,
    report: &mut LoadReport,
    run: &Run<'_>,
) -> Result<Histories> {
    run.check()?;
    let read = rows.len() as u64;
    if read == 0 {
        let why = if report.dropped_by_rating > 0 {
            format!("no row is left: data.min_rating drops all {}", report.dropped_by_rating)
        } else if report.bad_lines > 0 {
            format!("no good row: all {} lines are bad", report.bad_lines)
        } else {
            "no rows: the file holds a header at most".to_string()
        };
        return Err(Error::data(path, why));
    }
    let timed = rows.missing_times == 0;
    if !timed && rows.missing_times < read {
        report.notes.push(format!(
            "{} of {read} rows have no time: all times are left out and the file's order stands",
            rows.missing_times
        ));
    }
    let mut table = group(rows, users, timed);
    table.order();
    report.dropped_duplicates = table.repeats(filters.duplicates, items);
    let kept = table.core(items, filters.min_user, filters.min_item, run)?;
    report.dropped_by_core = kept.dropped;
    if kept.rows == 0 {
        return Err(Error::data(
            path,
            format!(
                "no row is left: of {read} rows in {users} users and {items} items none is in the \
                 core of min_user = {} and min_item = {}; lower them",
                filters.min_user, filters.min_item
            ),
        ));
    }
    table.compact(&kept, time_divisor)
}

/// Rows by user: user `u` owns rows `offsets[u]..offsets[u + 1]`.
struct Table {
    offsets: Vec<u64>,
    item: Vec<u32>,
    time: Option<Vec<i64>>,
    part: Option<Vec<Part>>,
    /// Rows still in; empty while all are.
    alive: Vec<bool>,
}

/// Counting sort by user, stable.
fn group(rows: Rows, users: usize, timed: bool) -> Table {
    let mut offsets = vec![0u64; users + 1];
    for &u in &rows.user {
        offsets[u as usize + 1] += 1;
    }
    for u in 0..users {
        offsets[u + 1] += offsets[u];
    }
    // Files that are grouped by user already need no move.
    if rows.user.windows(2).all(|w| w[0] <= w[1]) {
        return Table {
            offsets,
            item: rows.item,
            time: timed.then_some(rows.time),
            part: (!rows.part.is_empty()).then_some(rows.part),
            alive: Vec::new(),
        };
    }
    // One column at a time: each old column is freed before the next is moved.
    let user = rows.user;
    let item = scatter(&user, &offsets, rows.item);
    let time = timed.then(|| scatter(&user, &offsets, rows.time));
    let part = (!rows.part.is_empty()).then(|| scatter(&user, &offsets, rows.part));
    Table { offsets, item, time, part, alive: Vec::new() }
}

fn scatter<T: Copy>(user: &[u32], offsets: &[u64], column: Vec<T>) -> Vec<T> {
    let mut next = offsets[..offsets.len() - 1].to_vec();
    // Every slot is written exactly once; the first value only fills the space.
    let mut out = vec![column[0]; column.len()];
    for (&u, &value) in user.iter().zip(&column) {
        let slot = &mut next[u as usize];
        out[*slot as usize] = value;
        *slot += 1;
    }
    out
}

/// What the k-core leaves.
struct Kept {
    /// New number of every item, `u32::MAX` for those that vanish.
    item: Vec<u32>,
    user: Vec<bool>,
    rows: u64,
    dropped: u64,
}

impl Table {
    fn users(&self) -> usize {
        self.offsets.len() - 1
    }

    fn range(&self, u: usize) -> std::ops::Range<usize> {
        self.offsets[u] as usize..self.offsets[u + 1] as usize
    }

    /// Stable sort of each user's rows by time.
    fn order(&mut self) {
        let Some(time) = &mut self.time else { return };
        let mut order: Vec<u32> = Vec::new();
        let mut items: Vec<u32> = Vec::new();
        let mut times: Vec<i64> = Vec::new();
        let mut parts: Vec<Part> = Vec::new();
        for w in self.offsets.windows(2) {
            let range = w[0] as usize..w[1] as usize;
            let t = &mut time[range.clone()];
            if t.is_sorted() {
                continue;
            }
            order.clear();
            order.extend(0..t.len() as u32);
            order.sort_by_key(|&i| t[i as usize]);
            rearrange(t, &order, &mut times);
            rearrange(&mut self.item[range.clone()], &order, &mut items);
            if let Some(p) = &mut self.part {
                rearrange(&mut p[range], &order, &mut parts);
            }
        }
    }

    /// Marks repeats of a user and item; gives their number.
    fn repeats(&mut self, keep: Duplicates, items: usize) -> u64 {
        if keep == Duplicates::Keep {
            return 0;
        }
        self.alive = vec![true; self.item.len()];
        // The last user that had the item, plus one.
        let mut seen = vec![0u32; items];
        let mut dropped = 0;
        for u in 0..self.users() {
            let mark = u as u32 + 1;
            let mut visit = |row: usize| {
                let last = &mut seen[self.item[row] as usize];
                if *last == mark {
                    self.alive[row] = false;
                    dropped += 1;
                }
                *last = mark;
            };
            let range = self.offsets[u] as usize..self.offsets[u + 1] as usize;
            if keep == Duplicates::First {
                range.for_each(&mut visit);
            } else {
                range.rev().for_each(&mut visit);
            }
        }
        dropped
    }

    #[inline]
    fn is_alive(&self, row: usize) -> bool {
        self.alive.get(row).copied().unwrap_or(true)
    }

    /// The k-core with a work queue.
    fn core(&self, items: usize, min_user: u32, min_item: u32, run: &Run<'_>) -> Result<Kept> {
        let mut of_user = vec![0u32; self.users()];
        let mut of_item = vec![0u32; items];
        let mut total = 0u64;
        for u in 0..self.users() {
            for row in self.range(u) {
                if self.is_alive(row) {
                    of_user[u] += 1;
                    of_item[self.item[row] as usize] += 1;
                    total += 1;
                }
            }
        }
        let mut user_in: Vec<bool> = of_user.iter().map(|&c| c >= min_user).collect();
        let mut item_in: Vec<bool> = of_item.iter().map(|&c| c >= min_item).collect();
        // A bound of 1 takes no row from the other side, so nothing can cascade.
        if min_user > 1 || min_item > 1 {
            run.check()?;
            self.peel(&mut of_user, &mut of_item, &mut user_in, &mut item_in, min_user, min_item);
        }
        let rows: u64 = if min_user > 1 || min_item > 1 {
            // Counts of what is in are exact once the queue is empty.
            of_user.iter().zip(&user_in).map(|(&c, &k)| if k { u64::from(c) } else { 0 }).sum()
        } else {
            total
        };
        let mut next = 0u32;
        let item = item_in
            .iter()
            .map(|&k| {
                next += u32::from(k);
                if k { next - 1 } else { u32::MAX }
            })
            .collect();
        Ok(Kept { item, user: user_in, rows, dropped: total - rows })
    }

    /// Deletes users and items below their bounds until none is left.
    fn peel(
        &self,
        of_user: &mut [u32],
        of_item: &mut [u32],
        user_in: &mut [bool],
        item_in: &mut [bool],
        min_user: u32,
        min_item: u32,
    ) {
        // Users of every item, for the way back.
        let mut starts = vec![0u64; of_item.len() + 1];
        for (i, &c) in of_item.iter().enumerate() {
            starts[i + 1] = starts[i] + u64::from(c);
        }
        let mut next = starts[..of_item.len()].to_vec();
        let mut user_of = vec![0u32; starts[of_item.len()] as usize];
        for u in 0..self.users() {
            for row in self.range(u).filter(|&r| self.is_alive(r)) {
                let slot = &mut next[self.item[row] as usize];
                user_of[*slot as usize] = u as u32;
                *slot += 1;
            }
        }
        drop(next);
        let fallen = |flags: &[bool]| -> Vec<u32> {
            (0..flags.len() as u32).filter(|&n| !flags[n as usize]).collect()
        };
        let (mut users, mut items) = (fallen(user_in), fallen(item_in));
        loop {
            if let Some(u) = users.pop() {
                for row in self.range(u as usize).filter(|&r| self.is_alive(r)) {
                    let i = self.item[row] as usize;
                    of_item[i] -= 1;
                    if item_in[i] && of_item[i] < min_item {
                        item_in[i] = false;
                        items.push(i as u32);
                    }
                }
            } else if let Some(i) = items.pop() {
                let i = i as usize;
                for &u in &user_of[starts[i] as usize..starts[i + 1] as usize] {
                    let u = u as usize;
                    of_user[u] -= 1;
                    if user_in[u] && of_user[u] < min_user {
                        user_in[u] = false;
                        users.push(u as u32);
                    }
                }
            } else {
                return;
            }
        }
    }

    /// Keeps what is left and gives it new numbers.
    fn compact(mut self, kept: &Kept, time_divisor: i64) -> Result<Histories> {
        let mut offsets = Vec::with_capacity(self.offsets.len());
        offsets.push(0u64);
        let mut users = Vec::new();
        let mut to = 0usize;
        for u in 0..self.users() {
            if !kept.user[u] {
                continue;
            }
            for row in self.range(u) {
                let item = kept.item[self.item[row] as usize];
                if item == u32::MAX || !self.is_alive(row) {
                    continue;
                }
                self.item[to] = item;
                if let Some(t) = &mut self.time {
                    t[to] = t[row].div_euclid(time_divisor);
                }
                if let Some(p) = &mut self.part {
                    p[to] = p[row];
                }
                to += 1;
            }
            offsets.push(to as u64);
            users.push(u as u32);
        }
        self.item.truncate(to);
        self.item.shrink_to_fit();
        if let Some(t) = &mut self.time {
            t.truncate(to);
            t.shrink_to_fit();
        }
        if let Some(p) = &mut self.part {
            p.truncate(to);
            p.shrink_to_fit();
        }
        let items =
            (0..kept.item.len() as u32).filter(|&i| kept.item[i as usize] != u32::MAX).collect();
        // Collecting a vector of numbers into one of their newtype reuses the memory.
        let column: Vec<ItemId> = self.item.into_iter().map(ItemId).collect();
        Ok(Histories {
            sequences: Sequences::new(offsets, column, self.time)?,
            parts: self.part,
            users,
            items,
        })
    }
}

fn rearrange<T: Copy>(values: &mut [T], order: &[u32], scratch: &mut Vec<T>) {
    scratch.clear();
    scratch.extend_from_slice(values);
    for (to, &from) in values.iter_mut().zip(order) {
        *to = scratch[from as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sidereal_core::UserId;

    type Row = (u32, u32, i64);

    fn load(rows: &[Row], filters: Filters) -> Result<(Histories, LoadReport)> {
        let mut table = Rows::default();
        for &(u, i, t) in rows {
            table.push(u, i, Some(t), None);
        }
        let users = rows.iter().map(|r| r.0 as usize + 1).max().unwrap_or(0);
        let items = rows.iter().map(|r| r.1 as usize + 1).max().unwrap_or(0);
        let mut report = LoadReport::default();
        let run = Run::quiet(0);
        let path = Path::new("rows");
        let h = histories(table, users, items, &filters, 1, path, &mut report, &run)?;
        Ok((h, report))
    }

    fn items(h: &Histories, u: u32) -> Vec<u32> {
        h.sequences.items(UserId(u)).iter().map(|i| h.items[i.index()]).collect()
    }

    #[test]
    fn equal_times_keep_the_order_of_the_file() {
        let rows = [(1, 5, 9), (0, 4, 7), (1, 3, 7), (1, 2, 9), (1, 1, 7), (0, 0, 7)];
        let (h, _) = load(&rows, Filters::default()).unwrap();
        assert_eq!(items(&h, 0), [4, 0]);
        assert_eq!(items(&h, 1), [3, 1, 5, 2]);
        assert_eq!(h.sequences.times(UserId(1)).unwrap(), [7, 7, 9, 9]);
    }

    #[test]
    fn repeats_by_time() {
        let rows = [(0, 1, 3), (0, 2, 2), (0, 1, 1), (1, 1, 1), (1, 1, 1)];
        let with = |duplicates| load(&rows, Filters { duplicates, ..Filters::default() }).unwrap();
        assert_eq!(items(&with(Duplicates::Keep).0, 0), [1, 2, 1]);
        let (first, report) = with(Duplicates::First);
        assert_eq!(report.dropped_duplicates, 2);
        assert_eq!((items(&first, 0), items(&first, 1)), (vec![1, 2], vec![1]));
        assert_eq!(items(&with(Duplicates::Last).0, 0), [2, 1]);
    }

    #[test]
    fn an_empty_core_is_an_error() {
        let filters = Filters { min_user: 2, min_item: 2, ..Filters::default() };
        let err = load(&[(0, 0, 0), (0, 1, 0), (1, 1, 0)], filters).unwrap_err().to_string();
        assert!(err.contains("min_user = 2") && err.contains("3 rows"), "{err}");
    }

    #[test]
    fn bounds_of_zero_keep_numbers_and_bounds_of_one_close_gaps() {
        let rows = [(3, 2, 0), (1, 5, 0)];
        let (all, _) = load(&rows, Filters::default()).unwrap();
        assert_eq!((all.users.len(), all.items.len()), (4, 6));
        let (some, _) =
            load(&rows, Filters { min_user: 1, min_item: 1, ..Filters::default() }).unwrap();
        assert_eq!((some.users, some.items), (vec![1, 3], vec![2, 5]));
    }

    /// The k-core by deleting all that is below, again and again.
    fn plain_core(rows: &[Row], min_user: usize, min_item: usize) -> Vec<Row> {
        let mut rows = rows.to_vec();
        loop {
            let before = rows.clone();
            rows.retain(|r| {
                before.iter().filter(|x| x.0 == r.0).count() >= min_user
                    && before.iter().filter(|x| x.1 == r.1).count() >= min_item
            });
            if rows.len() == before.len() {
                return rows;
            }
        }
    }

    proptest! {
        #[test]
        fn the_core_equals_repeated_deletion(
            rows in prop::collection::vec((0u32..8, 0u32..8, 0i64..5), 1..60),
            min_user in 1u32..5, min_item in 1u32..5,
        ) {
            let want = plain_core(&rows, min_user as usize, min_item as usize);
            let filters = Filters { min_user, min_item, ..Filters::default() };
            match load(&rows, filters) {
                Err(_) => prop_assert!(want.is_empty()),
                Ok((h, report)) => {
                    prop_assert_eq!(report.dropped_by_core as usize, rows.len() - want.len());
                    for (new, &old) in h.users.iter().enumerate() {
                        let mut mine: Vec<_> = want.iter().filter(|r| r.0 == old).collect();
                        mine.sort_by_key(|r| r.2);
                        let mine: Vec<u32> = mine.iter().map(|r| r.1).collect();
                        prop_assert_eq!(items(&h, new as u32), mine);
                    }
                    prop_assert_eq!(h.sequences.all_items().len(), want.len());
                }
            }
        }
    }
}
