//! Where readers put their rows: checks, ids to numbers, the count of what went wrong.

use crate::filter::{Filters, Histories, Rows, histories};
use crate::read::fields::{Record, Records};
use crate::read::intern::{Interner, hash};
use crate::read::number;
use crate::{Dataset, LoadReport, Part};
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, ItemTable, Result, Run, StringColumn};
use std::path::{Path, PathBuf};

/// How ids become numbers.
pub(crate) enum Ids {
    /// Any text; numbers follow first appearance.
    Text { users: Interner, items: Interner },
    /// Numbers already, below the bounds where those are known.
    Dense { users: Option<u32>, items: Option<u32>, seen_users: u32, seen_items: u32 },
}

impl Ids {
    pub(crate) fn text() -> Self {
        Ids::Text { users: Interner::new(), items: Interner::new() }
    }

    pub(crate) fn dense(users: Option<u32>, items: Option<u32>) -> Self {
        Ids::Dense { users, items, seen_users: 0, seen_items: 0 }
    }
}

#[inline]
fn dense(what: &str, bytes: &[u8], bound: Option<u32>) -> Result<u32, String> {
    let n = number::dense(bytes).ok_or_else(|| {
        format!("{what}: expected a number from 0, got `{}`", String::from_utf8_lossy(bytes))
    })?;
    match bound {
        Some(bound) if n >= bound => {
            Err(format!("{what} {n} is not described: the {what}s are 0 to {}", bound - 1))
        }
        _ => Ok(n),
    }
}

/// Collects rows of one file.
pub(crate) struct Sink {
    pub(crate) path: PathBuf,
    pub(crate) filters: Filters,
    pub(crate) report: LoadReport,
    ids: Ids,
    rows: Rows,
    batch: Batch,
}

/// Rows whose ids are not looked up yet: looked up together, their cache misses overlap.
#[derive(Default)]
struct Batch {
    /// User, item, user, item and so on.
    bytes: Vec<u8>,
    rows: Vec<Waiting>,
}

struct Waiting {
    line: u64,
    /// Ends of user and item in the bytes.
    user_end: usize,
    item_end: usize,
    time: Option<i64>,
    part: Option<Part>,
    user_hash: u64,
    item_hash: u64,
}

/// Rows of a batch; their entries and records fit the first cache.
const BATCH: usize = 64;

impl Sink {
    pub(crate) fn new(path: &Path, filters: Filters, ids: Ids) -> Self {
        Sink {
            path: path.into(),
            filters,
            report: LoadReport::default(),
            ids,
            rows: Rows::default(),
            batch: Batch::default(),
        }
    }

    /// Takes a row; `rating` decides by `min_rating` whether it stays.
    #[inline]
    pub(crate) fn row(
        &mut self,
        line: u64,
        user: &[u8],
        item: &[u8],
        time: Option<i64>,
        rating: Option<f64>,
        part: Option<Part>,
    ) -> Result<()> {
        if let Some(min) = self.filters.min_rating {
            match rating {
                None => return self.bad(line, "no rating, which data.min_rating needs"),
                Some(r) if r < min => {
                    self.report.rows += 1;
                    self.report.dropped_by_rating += 1;
                    return Ok(());
                }
                _ => {}
            }
        }
        match &mut self.ids {
            Ids::Text { .. } => {
                let batch = &mut self.batch;
                batch.bytes.extend_from_slice(user);
                let user_end = batch.bytes.len();
                batch.bytes.extend_from_slice(item);
                let item_end = batch.bytes.len();
                let (user_hash, item_hash) = (hash(user), hash(item));
                batch.rows.push(Waiting {
                    line,
                    user_end,
                    item_end,
                    time,
                    part,
                    user_hash,
                    item_hash,
                });
                if batch.rows.len() >= BATCH { self.flush() } else { Ok(()) }
            }
            Ids::Dense { users, items, seen_users, seen_items } => {
                let both =
                    dense("user", user, *users).and_then(|u| Ok((u, dense("item", item, *items)?)));
                match both {
                    Ok((u, i)) => {
                        *seen_users = (*seen_users).max(u + 1);
                        *seen_items = (*seen_items).max(i + 1);
                        self.report.rows += 1;
                        self.rows.push(u, i, time, part);
                        Ok(())
                    }
                    Err(message) => self.bad(line, &message),
                }
            }
        }
    }

    /// Looks up the ids of the waiting rows.
    fn flush(&mut self) -> Result<()> {
        let Ids::Text { users, items } = &mut self.ids else { return Ok(()) };
        let Batch { bytes, rows } = &mut self.batch;
        // Loads that depend on nothing, so that they overlap; then those that depend on them.
        let mut entries = [(0u64, 0u64); BATCH];
        for (e, r) in entries.iter_mut().zip(rows.iter()) {
            *e = (users.touch(r.user_hash), items.touch(r.item_hash));
        }
        let mut sum = 0u8;
        for (user, item) in entries {
            sum ^= users.touch_record(user) ^ items.touch_record(item);
        }
        std::hint::black_box(sum);
        let mut start = 0;
        for r in rows.iter() {
            let (user, item) = (&bytes[start..r.user_end], &bytes[r.user_end..r.item_end]);
            start = r.item_end;
            self.report.rows += 1;
            let numbers =
                users.intern(user, r.user_hash).map_err(|e| e.say("the user")).and_then(|u| {
                    Ok((u, items.intern(item, r.item_hash).map_err(|e| e.say("the item"))?))
                });
            match numbers {
                Ok((u, i)) => self.rows.push(u, i, r.time, r.part),
                Err(message) => {
                    self.filters.bad(&mut self.report, &self.path, r.line, &message)?;
                }
            }
        }
        bytes.clear();
        rows.clear();
        Ok(())
    }

    /// Counts a row that cannot be understood, or fails.
    #[cold]
    pub(crate) fn bad(&mut self, line: u64, message: &str) -> Result<()> {
        // Earlier rows first, so that the first bad line is the first.
        self.flush()?;
        self.report.rows += 1;
        self.filters.bad(&mut self.report, &self.path, line, message)
    }

    /// Orders and filters what came, for sources with text ids. Users and items without a row
    /// vanish.
    pub(crate) fn finish(mut self, time_divisor: i64, run: &Run<'_>) -> Result<Loaded> {
        self.flush()?;
        let Sink { path, mut filters, mut report, ids, rows, .. } = self;
        let Ids::Text { users, items } = ids else {
            return Err(Error::mismatch("dense ids need `finish_dense`"));
        };
        filters.min_user = filters.min_user.max(1);
        filters.min_item = filters.min_item.max(1);
        let histories = histories(
            rows,
            users.len(),
            items.len(),
            &filters,
            time_divisor,
            &path,
            &mut report,
            run,
        )?;
        let user_ids = users.column(&histories.users);
        drop(users);
        let wanted = Wanted::new(items, &histories.items);
        warn(&report, run);
        Ok(Loaded { histories, user_ids, wanted, report })
    }

    /// Orders and filters what came, for dense numbers: they stay where nothing is filtered.
    pub(crate) fn finish_dense(
        self,
        time_divisor: i64,
        run: &Run<'_>,
    ) -> Result<(Histories, LoadReport)> {
        let Sink { path, filters, mut report, ids, rows, .. } = self;
        let Ids::Dense { users, items, seen_users, seen_items } = ids else {
            return Err(Error::mismatch("text ids need `finish`"));
        };
        // Dense numbers are about as many as rows; a wild one must not fill the memory.
        let limit = (rows.len() as u64) * 16 + 65_536;
        let users = users.unwrap_or(seen_users);
        let items = items.unwrap_or(seen_items);
        for (what, n) in [("user", users), ("item", items)] {
            if u64::from(n) > limit {
                return Err(Error::data(
                    &path,
                    format!("{what} numbers are not dense: {} with {} rows", n - 1, rows.len()),
                ));
            }
        }
        let histories = histories(
            rows,
            users as usize,
            items as usize,
            &filters,
            time_divisor,
            &path,
            &mut report,
            run,
        )?;
        warn(&report, run);
        Ok((histories, report))
    }
}

fn warn(report: &LoadReport, run: &Run<'_>) {
    if report.bad_lines > 0 {
        run.emit(sidereal_core::Event::Warning(&format!(
            "{} bad lines skipped; the first: {}",
            report.bad_lines, report.first_bad_lines[0]
        )));
    }
    for note in &report.notes {
        run.emit(sidereal_core::Event::Warning(note));
    }
}

/// Histories before their items are described.
pub(crate) struct Loaded {
    pub(crate) histories: Histories,
    pub(crate) user_ids: StringColumn,
    pub(crate) wanted: Wanted,
    pub(crate) report: LoadReport,
}

impl Loaded {
    pub(crate) fn dataset(self, items: ItemTable) -> Dataset {
        self.histories.dataset(items, self.user_ids, self.report)
    }
}

/// The items that are left, by source id.
pub(crate) struct Wanted {
    ids: Interner,
    kept: Vec<u32>,
    new: Vec<u32>,
}

impl Wanted {
    fn new(ids: Interner, kept: &[u32]) -> Self {
        let mut new = vec![u32::MAX; ids.len()];
        for (n, &old) in kept.iter().enumerate() {
            new[old as usize] = n as u32;
        }
        Wanted { ids, kept: kept.to_vec(), new }
    }

    /// Number of items.
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// The item with this source id.
    pub(crate) fn lookup(&self, id: &[u8]) -> Option<u32> {
        let old = self.ids.lookup(id)?;
        Some(self.new[old as usize]).filter(|&n| n != u32::MAX)
    }

    /// All source ids.
    pub(crate) fn ids(&self) -> StringColumn {
        self.ids.column(&self.kept)
    }
}

/// Unit of the times of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeUnit {
    /// Seconds.
    #[default]
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

impl TimeUnit {
    /// Units in a second.
    pub(crate) fn divisor(self) -> i64 {
        match self {
            TimeUnit::S => 1,
            TimeUnit::Ms => 1_000,
            TimeUnit::Us => 1_000_000,
            TimeUnit::Ns => 1_000_000_000,
        }
    }
}

/// Where the fields of a delimited file are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    pub(crate) user: usize,
    pub(crate) item: usize,
    pub(crate) time: Option<usize>,
    pub(crate) rating: Option<usize>,
    pub(crate) part: Option<usize>,
    /// Fields of every record.
    pub(crate) width: usize,
}

/// What an empty time means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EmptyTime {
    Unknown,
    Bad,
}

/// Names under which the columns of interactions are known, in order of preference.
pub(crate) const USER_NAMES: &[&str] =
    &["user", "user_id", "userId", "userID", "reviewerID", "uid"];
pub(crate) const ITEM_NAMES: &[&str] = &[
    "item",
    "item_id",
    "itemId",
    "itemID",
    "asin",
    "parent_asin",
    "movieId",
    "movie_id",
    "artistID",
    "iid",
];
pub(crate) const TIME_NAMES: &[&str] =
    &["timestamp", "time", "unixReviewTime", "ts", "unix_time", "datetime"];
pub(crate) const RATING_NAMES: &[&str] = &["rating", "overall", "score", "stars"];

/// Names as a user may give them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Names<'a> {
    pub(crate) user: Option<&'a str>,
    pub(crate) item: Option<&'a str>,
    pub(crate) time: Option<&'a str>,
    pub(crate) rating: Option<&'a str>,
    pub(crate) part: Option<&'a str>,
}

impl Names<'_> {
    /// Looks the columns up in a header. User and item must be there; a column that was named
    /// must be there; `min_rating` needs a rating.
    pub(crate) fn find(&self, path: &Path, header: &[String], filters: &Filters) -> Result<Places> {
        let list = || header.join(", ");
        let find = |key: &str, name: Option<&str>, usual: &[&str]| -> Result<Option<usize>> {
            let at = |n: &str| header.iter().position(|h| h == n);
            match name {
                Some(n) => match at(n) {
                    Some(i) => Ok(Some(i)),
                    None => Err(Error::config(
                        format!("data.{key}"),
                        format!("{} has no column `{n}`; it has: {}", path.display(), list()),
                    )),
                },
                None => Ok(usual.iter().find_map(|n| at(n))),
            }
        };
        let need = |key: &str, at: Option<usize>| {
            at.ok_or_else(|| {
                Error::data_line(
                    path,
                    1,
                    format!("no column for the {key}; set data.{key} to one of: {}", list()),
                )
            })
        };
        let rating = find("rating", self.rating, RATING_NAMES)?;
        if filters.min_rating.is_some() && rating.is_none() {
            return Err(Error::config(
                "data.min_rating",
                format!("{} has no rating; its columns: {}", path.display(), list()),
            ));
        }
        Ok(Places {
            user: need("user", find("user", self.user, USER_NAMES)?)?,
            item: need("item", find("item", self.item, ITEM_NAMES)?)?,
            time: find("time", self.time, TIME_NAMES)?,
            rating,
            part: find("split", self.part, &[])?,
            width: header.len(),
        })
    }
}

impl Sink {
    /// Reads all records.
    pub(crate) fn records(
        &mut self,
        records: &mut Records<'_>,
        places: &Places,
        empty: EmptyTime,
    ) -> Result<()> {
        loop {
            let Some(record) = records.next()? else { return Ok(()) };
            // Taken apart first: the record borrows from the reader that knows the line.
            let parsed = parse(&record, places, empty);
            match parsed {
                Ok((time, rating, part)) => {
                    let (user, item) = (record.get(places.user), record.get(places.item));
                    let line = record.line_number;
                    self.row(line, &user, &item, time, rating, part)?;
                }
                Err(message) => self.bad(record.line_number, &message)?,
            }
        }
    }
}

type Rest = (Option<i64>, Option<f64>, Option<Part>);

#[inline]
fn parse(record: &Record<'_>, places: &Places, empty: EmptyTime) -> Result<Rest, String> {
    if record.len() != places.width {
        return Err(format!("expected {} fields, got {}", places.width, record.len()));
    }
    let wrong = |what: &str, expected: &str, got: &[u8]| {
        format!("{what}: expected {expected}, got `{}`", String::from_utf8_lossy(got))
    };
    let mut time = None;
    if let Some(at) = places.time {
        let field = record.get(at);
        if !(field.is_empty() && empty == EmptyTime::Unknown) {
            time = Some(number::time(&field).ok_or_else(|| wrong("time", "a number", &field))?);
        }
    }
    let mut rating = None;
    if let Some(at) = places.rating {
        let field = record.get(at);
        if !field.is_empty() {
            rating =
                Some(number::decimal(&field).ok_or_else(|| wrong("rating", "a number", &field))?);
        }
    }
    let mut part = None;
    if let Some(at) = places.part {
        let field = record.get(at);
        part = Some(part_of(&field).ok_or_else(|| wrong("split", "train, valid or test", &field))?);
    }
    Ok((time, rating, part))
}

/// Part by its name.
pub(crate) fn part_of(name: &[u8]) -> Option<Part> {
    match name {
        b"train" => Some(Part::Train),
        b"valid" | b"validation" | b"val" => Some(Part::Valid),
        b"test" => Some(Part::Test),
        _ => None,
    }
}
