//! A folder of interactions and items with dense numbers (`folder`).
//!
//! | file | holds |
//! |---|---|
//! | `interactions.tsv.gz` or `interactions.parquet` | header; `user`, `item`, where known `timestamp` (Unix seconds), `rating`, `split` (`train`, `valid`, `test`) |
//! | `items.jsonl.gz` or `items.tsv.gz` | one item a line: `item`, source `id`, texts |
//! | `users.tsv.gz` | `user`, source `id` |
//!
//! Each may also stand there without `.gz`. `user` and `item` count from 0 without gaps. Without
//! filters item `i` of the data set is item `i` of the folder, described or not interacted with,
//! so rows of vectors that lie beside keep their meaning; `min_user` and `min_item` renumber.

use crate::catalogue::{Texts, column_of, flatten};
use crate::filter::{BadLines, Duplicates, Filters, filters};
use crate::read::fields::{Format, Records, text};
use crate::read::lines::Lines;
use crate::read::number;
use crate::sink::{EmptyTime, Ids, Names, Sink, TimeUnit};
use crate::sources::{existing, first_existing};
use crate::{Dataset, Source};
use serde_json::{Map, Value};
use sidereal_core::{Catalog, Entry, Error, Result, Run, StringColumn, options};
use std::path::{Path, PathBuf};

options! {
    /// Options of `folder`.
    pub struct FolderOptions {
        /// The folder.
        pub path: String = String::new(),
        /// Fewest interactions of a user (k-core with min_item); 0 keeps all.
        pub min_user: u32 = 0,
        /// Fewest interactions of an item (k-core with min_user); 0 keeps all.
        pub min_item: u32 = 0,
        /// Rows with a lower rating are dropped; unset keeps all.
        pub min_rating: Option<f64> = None,
        /// Rows that repeat a user and item: keep, first or last.
        pub duplicates: Duplicates = Duplicates::Keep,
        /// Rows that cannot be understood: skip or fail.
        pub bad_lines: BadLines = BadLines::Fail,
        /// With skip: more bad rows than this are an error.
        pub max_bad_lines: u64 = 100,
    }
}

/// Reads a folder.
pub struct Folder {
    path: PathBuf,
    filters: Filters,
}

/// Registers `folder`.
pub fn register(catalog: &mut Catalog<dyn Source>) -> Result<()> {
    catalog.add(Entry::new(
        "folder",
        env!("CARGO_PKG_NAME"),
        "A folder with interactions.tsv.gz or .parquet, items.jsonl.gz, users.tsv.gz.",
        |o: FolderOptions, _: &()| Ok(Box::new(Folder::new(o)?) as Box<dyn Source>),
    ))
}

impl Folder {
    /// Checks the options; the folder must exist.
    pub fn new(o: FolderOptions) -> Result<Self> {
        let path = existing("data.path", &o.path)?;
        if !path.is_dir() {
            return Err(Error::data(&path, "expected a folder"));
        }
        Ok(Folder { path, filters: filters!(o) })
    }

    fn interactions(&self) -> Option<PathBuf> {
        first_existing(&self.path, &["interactions.tsv", "interactions.parquet"])
    }

    fn items(&self) -> Option<PathBuf> {
        first_existing(&self.path, &["items.jsonl", "items.tsv"])
    }

    fn users(&self) -> Option<PathBuf> {
        first_existing(&self.path, &["users.tsv"])
    }
}

impl Source for Folder {
    fn load(&self, run: &Run<'_>) -> Result<Dataset> {
        let interactions = self.interactions().ok_or_else(|| {
            Error::data(&self.path, "no interactions.tsv.gz, interactions.tsv or .parquet in it")
        })?;
        let items = match self.items() {
            None => None,
            Some(path) if path.to_string_lossy().contains(".jsonl") => {
                Some(items_from_json(&path, run)?)
            }
            Some(path) => Some(described(&path, "item", run)?),
        };
        let users = match self.users() {
            None => None,
            Some(path) => Some(described(&path, "user", run)?),
        };
        let n_items = items.as_ref().map(|d| d.ids.len() as u32);
        let n_users = users.as_ref().map(|d| d.ids.len() as u32);
        let mut sink = Sink::new(&interactions, self.filters, Ids::dense(n_users, n_items));
        let mut unit = TimeUnit::S;
        if interactions.extension().is_some_and(|e| e == "parquet") {
            let names = Names { user: Some("user"), item: Some("item"), ..Names::default() };
            let stated = super::parquet::read_into(&interactions, &names, &mut sink, run)?;
            unit = stated.unwrap_or_default();
        } else {
            let lines = Lines::open(&interactions, run)?;
            let mut records = Records::new(lines, Format::new("\t", false));
            let header = match records.next()? {
                Some(h) => h.texts(),
                None => return Err(Error::data(&interactions, "expected a header line")),
            };
            let names = Names {
                user: Some("user"),
                item: Some("item"),
                part: header.iter().any(|h| h == "split").then_some("split"),
                ..Names::default()
            };
            let places =
                names.find(&interactions, &header, &self.filters).map_err(|e| match e {
                    // No key of the config is at fault here: the layout fixes the names.
                    Error::Config { message, key } if key != "data.min_rating" => {
                        Error::data_line(&interactions, 1, message)
                    }
                    other => other,
                })?;
            sink.records(&mut records, &places, EmptyTime::Unknown)?;
        }
        let (histories, report) = sink.finish_dense(unit.divisor(), run)?;
        let user_ids = match &users {
            Some(d) => histories.users.iter().map(|&u| d.ids.get(u as usize)).collect(),
            None => numbers(&histories.users),
        };
        let items = match items {
            Some(d) => {
                let ids = histories.items.iter().map(|&i| d.ids.get(i as usize)).collect();
                d.texts.table(ids, &histories.items)?
            }
            None => sidereal_core::ItemTable::new(numbers(&histories.items)),
        };
        Ok(histories.dataset(items, user_ids, report))
    }

    fn files(&self) -> Vec<PathBuf> {
        [self.interactions(), self.items(), self.users()].into_iter().flatten().collect()
    }
}

fn numbers(numbers: &[u32]) -> StringColumn {
    let mut column = StringColumn::default();
    let mut text = String::new();
    for n in numbers {
        use std::fmt::Write;
        text.clear();
        // Writing to a string cannot fail.
        let _ = write!(text, "{n}");
        column.push(&text);
    }
    column
}

/// Source ids and texts of dense numbers, in their order.
struct Described {
    ids: StringColumn,
    texts: Texts,
}

/// Checks that numbers come as 0, 1, 2 and so on.
struct Order<'a> {
    path: &'a Path,
    what: &'a str,
    next: u32,
}

impl Order<'_> {
    fn done(&self) -> Result<()> {
        if self.next == 0 {
            return Err(Error::data(self.path, format!("no {} in it", self.what)));
        }
        Ok(())
    }

    fn check(&mut self, line: u64, number: u32) -> Result<()> {
        let (what, next) = (self.what, self.next);
        if number == next {
            self.next += 1;
            return Ok(());
        }
        let message = if number < next {
            format!("{what} {number} stands here a second time")
        } else {
            format!("expected {what} {next}, got {number}: they must follow each other")
        };
        Err(Error::data_line(self.path, line, message))
    }
}

fn items_from_json(path: &Path, run: &Run<'_>) -> Result<Described> {
    let mut lines = Lines::open(path, run)?;
    let mut order = Order { path, what: "item", next: 0 };
    let mut out = Described { ids: StringColumn::default(), texts: Texts::default() };
    while let Some(line) = lines.next()? {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let parsed: Result<Map<String, Value>, _> = serde_json::from_slice(line);
        let at = lines.number();
        let object =
            parsed.map_err(|e| Error::data_line(path, at, format!("not a JSON object ({e})")))?;
        let number = object.get("item").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        let number = number
            .ok_or_else(|| Error::data_line(path, at, "expected a whole number under `item`"))?;
        order.check(at, number)?;
        match object.get("id").and_then(|v| flatten("", v)) {
            Some(id) => out.ids.push(&id),
            None => out.ids.push(&number.to_string()),
        }
        for (k, v) in object.iter().filter(|(k, _)| !matches!(k.as_str(), "item" | "id")) {
            let column = column_of(k, |c| object.contains_key(c));
            if let Some(value) = flatten(column, v) {
                out.texts.set(column, &value);
            }
        }
        out.texts.end_row();
    }
    order.done()?;
    Ok(out)
}

/// A table with a column `what` of dense numbers and, where known, `id`.
fn described(path: &Path, what: &str, run: &Run<'_>) -> Result<Described> {
    let mut records = Records::new(Lines::open(path, run)?, Format::new("\t", false));
    let header = match records.next()? {
        Some(h) => h.texts(),
        None => return Err(Error::data(path, "expected a header line")),
    };
    let at = header.iter().position(|h| h == what).ok_or_else(|| {
        let message = format!("no column `{what}`; the header has: {}", header.join(", "));
        Error::data_line(path, 1, message)
    })?;
    let id = header.iter().position(|h| h == "id").unwrap_or(at);
    let mut order = Order { path, what, next: 0 };
    let mut out = Described { ids: StringColumn::default(), texts: Texts::default() };
    while let Some(record) = records.next()? {
        let line = record.line_number;
        let number = number::dense(&record.get(at)).ok_or_else(|| {
            Error::data_line(path, line, format!("expected a whole number under `{what}`"))
        })?;
        order.check(line, number)?;
        out.ids.push(&text(&record.get(id)));
        for (i, name) in header.iter().enumerate().filter(|(i, _)| *i != at && *i != id) {
            let column = column_of(name, |c| header.iter().any(|h| h == c));
            out.texts.set(column, &text(&record.get(i)));
        }
        out.texts.end_row();
    }
    order.done()?;
    Ok(out)
}
