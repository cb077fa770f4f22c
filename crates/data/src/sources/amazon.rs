//! Amazon reviews, one JSON object a line (`amazon-reviews`).
//!
//! | release | user | item | time | rating | metadata |
//! |---|---|---|---|---|---|
//! | 2014 (arXiv 1506.04757) | `reviewerID` | `asin` | `unixReviewTime` (s) | `overall` | Python literals, `asin` |
//! | 2018 | as 2014 | as 2014 | as 2014 | as 2014 | JSON, `asin` |
//! | 2023 (arXiv 2403.03952) | `user_id` | `parent_asin` | `timestamp` (ms) | `rating` | JSON, `parent_asin` |
//!
//! Only these keys are looked at; the text of a review is passed over. Metadata are read after the
//! filters and kept for the items that are left. Items are numbered by first appearance.

use crate::catalogue::{Texts, column_of, flatten};
use crate::filter::{Filters, filters};
use crate::read::json::{Raw, scan};
use crate::read::lines::Lines;
use crate::read::{number, python};
use crate::sink::{Ids, Loaded, Sink};
use crate::sources::options::source_options;
use crate::sources::{existing, names_in};
use crate::{Dataset, Source};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sidereal_core::{Catalog, Entry, Error, ItemTable, Result, Run};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Release of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Release {
    /// By the keys of the first line.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// Reviews up to 2014.
    #[serde(rename = "2014")]
    Y2014,
    /// Reviews up to 2018.
    #[serde(rename = "2018")]
    Y2018,
    /// Reviews up to 2023.
    #[serde(rename = "2023")]
    Y2023,
}

source_options! {
    /// Options of `amazon-reviews`.
    pub struct AmazonOptions {
        /// The file of reviews (.json or .jsonl, also .gz), or a folder with one such file and
        /// perhaps a `meta` file.
        pub path: String = String::new(),
        /// The file of metadata; unset: the `meta` file of the folder, or none.
        pub metadata: Option<String> = None,
        /// Release: auto, 2014, 2018 or 2023.
        pub release: Release = Release::Auto,
    }
}

/// Reads reviews.
pub struct Amazon {
    reviews: PathBuf,
    metadata: Option<PathBuf>,
    release: Release,
    filters: Filters,
}

/// Registers `amazon-reviews`.
pub fn register(catalog: &mut Catalog<dyn Source>) -> Result<()> {
    catalog.add(Entry::new(
        "amazon-reviews",
        env!("CARGO_PKG_NAME"),
        "Amazon reviews of 2014, 2018 or 2023 as JSON lines, with metadata.",
        |o: AmazonOptions, _: &()| Ok(Box::new(Amazon::new(o)?) as Box<dyn Source>),
    ))
}

impl Amazon {
    /// Checks the options; the files must exist.
    pub fn new(o: AmazonOptions) -> Result<Self> {
        let path = existing("data.path", &o.path)?;
        let mut metadata = match &o.metadata {
            Some(m) => Some(existing("data.metadata", m)?),
            None => None,
        };
        let mut reviews = path.clone();
        if path.is_dir() {
            let lines = |n: &String| {
                let n = n.strip_suffix(".gz").unwrap_or(n);
                n.ends_with(".json") || n.ends_with(".jsonl")
            };
            let names: Vec<String> = names_in(&path)?.into_iter().filter(lines).collect();
            let (meta, others): (Vec<_>, Vec<_>) =
                names.into_iter().partition(|n| n.starts_with("meta"));
            match &others[..] {
                [one] => reviews = path.join(one),
                [] => return Err(Error::data(&path, "no .json or .jsonl file of reviews in it")),
                many => {
                    let message = format!("several files, name one: {}", many.join(", "));
                    return Err(Error::data(&path, message));
                }
            }
            metadata = metadata.or_else(|| meta.first().map(|m| path.join(m)));
        }
        Ok(Amazon { reviews, metadata, release: o.release, filters: filters!(o) })
    }
}

const OLD: [&[u8]; 4] = [b"reviewerID", b"asin", b"unixReviewTime", b"overall"];
const NEW: [&[u8]; 4] = [b"user_id", b"parent_asin", b"timestamp", b"rating"];
const NEW_BARE: [&[u8]; 4] = [b"user_id", b"asin", b"timestamp", b"rating"];

impl Source for Amazon {
    fn load(&self, run: &Run<'_>) -> Result<Dataset> {
        let mut lines = Lines::open(&self.reviews, run)?;
        let keys = self.keys(&mut lines)?;
        let mut sink = Sink::new(&self.reviews, self.filters, Ids::text());
        let mut found = 0u64;
        loop {
            // The line borrows from the reader, so its number is taken first.
            let number = lines.number() + 1;
            let Some(line) = lines.next()? else { break };
            if line.is_empty() {
                continue;
            }
            match review(line, keys) {
                Ok(r) => sink.row(number, &r.user, &r.item, Some(r.time), r.rating, None)?,
                Err(message) => sink.bad(number, &message)?,
            }
            found += 1;
        }
        drop(lines);
        if found == 0 {
            return Err(Error::data(&self.reviews, "no reviews in it"));
        }
        let milliseconds = keys[2] == b"timestamp";
        let mut loaded = sink.finish(if milliseconds { 1000 } else { 1 }, run)?;
        let items = match &self.metadata {
            Some(path) => self.metadata(path, &mut loaded, run)?,
            None => ItemTable::new(loaded.wanted.ids()),
        };
        Ok(loaded.dataset(items))
    }

    fn files(&self) -> Vec<PathBuf> {
        std::iter::once(self.reviews.clone()).chain(self.metadata.clone()).collect()
    }
}

struct Review<'a> {
    user: Cow<'a, [u8]>,
    item: Cow<'a, [u8]>,
    time: i64,
    rating: Option<f64>,
}

#[inline]
fn review<'a>(line: &'a [u8], keys: &[&[u8]; 4]) -> Result<Review<'a>, String> {
    let mut out = [None; 4];
    scan(line, keys, &mut out)?;
    let wrong = |k: usize, expected: &str, got: Option<Raw<'_>>| {
        let key = String::from_utf8_lossy(keys[k]);
        match got.and_then(Raw::text) {
            Some(t) => format!("{key}: expected {expected}, got `{}`", String::from_utf8_lossy(&t)),
            None => format!("no {key}, expected {expected}"),
        }
    };
    let text = |k: usize| out[k].and_then(Raw::text);
    let user = text(0).ok_or_else(|| wrong(0, "a string", None))?;
    let item = text(1).ok_or_else(|| wrong(1, "a string", None))?;
    let time = text(2).and_then(|t| number::time(&t));
    let time = time.ok_or_else(|| wrong(2, "a number", out[2]))?;
    let rating = match text(3) {
        None => None,
        Some(t) => Some(number::decimal(&t).ok_or_else(|| wrong(3, "a number", out[3]))?),
    };
    Ok(Review { user, item, time, rating })
}

impl Amazon {
    fn keys(&self, lines: &mut Lines<'_>) -> Result<&'static [&'static [u8]; 4]> {
        let mut out = [None; 3];
        if let Some(first) = lines.peek()?
            && self.release != Release::Y2014
            && self.release != Release::Y2018
        {
            // A first line that is broken says nothing; the reader will report it.
            let _ = scan(first, &[b"user_id", b"parent_asin", b"reviewerID"], &mut out);
        }
        Ok(match (self.release, out) {
            (Release::Y2014 | Release::Y2018, _) | (Release::Auto, [_, _, Some(_)]) => &OLD,
            (Release::Y2023 | Release::Auto, [Some(_), None, _]) => &NEW_BARE,
            (Release::Y2023, _) | (Release::Auto, [Some(_), ..]) => &NEW,
            (Release::Auto, _) => &OLD,
        })
    }

    /// Texts of the items that are left.
    fn metadata(&self, path: &Path, loaded: &mut Loaded, run: &Run<'_>) -> Result<ItemTable> {
        let mut texts = Texts::default();
        let mut row_of = vec![u32::MAX; loaded.wanted.len()];
        let mut lines = Lines::open(path, run)?;
        loop {
            let number = lines.number() + 1;
            let Some(line) = lines.next()? else { break };
            if line.is_empty() {
                continue;
            }
            // A JSON line of an item that nobody wants is not parsed any further.
            if let Some([parent, own]) = ids(line)
                && let Some(id) = parent.or(own)
                && loaded.wanted.lookup(&id).is_none()
            {
                continue;
            }
            let object = match object(line) {
                Ok(object) => object,
                Err(message) => {
                    self.filters.bad(&mut loaded.report, path, number, &message)?;
                    continue;
                }
            };
            let id = ["parent_asin", "asin"].iter().find_map(|k| object.get(*k)?.as_str());
            let Some(id) = id else {
                self.filters.bad(&mut loaded.report, path, number, "no asin")?;
                continue;
            };
            // Metadata repeat items now and then; the first line of an item counts.
            let Some(item) = loaded.wanted.lookup(id.as_bytes()) else { continue };
            if row_of[item as usize] != u32::MAX {
                continue;
            }
            for (key, value) in &object {
                let column = column_of(key, |c| object.contains_key(c));
                if matches!(column, "title" | "description" | "brand" | "categories" | "features")
                    && let Some(text) = flatten(column, value)
                {
                    texts.set(column, &text);
                }
            }
            row_of[item as usize] = texts.end_row();
        }
        let without = row_of.iter().filter(|&&r| r == u32::MAX).count();
        if without > 0 {
            loaded.report.notes.push(format!("{without} items are not in {}", path.display()));
        }
        texts.table(loaded.wanted.ids(), &row_of)
    }
}

/// `parent_asin` and `asin` of a JSON line; `None` for anything else.
fn ids(line: &[u8]) -> Option<[Option<Cow<'_, [u8]>>; 2]> {
    if !line.starts_with(b"{\"") {
        return None;
    }
    let mut out = [None; 2];
    scan(line, &[b"parent_asin", b"asin"], &mut out).ok()?;
    Some(out.map(|r| r.and_then(Raw::text)))
}

/// A line of metadata: JSON, or a Python literal.
fn object(line: &[u8]) -> Result<serde_json::Map<String, Value>, String> {
    let text = std::str::from_utf8(line).map_err(|_| "not valid UTF-8".to_string())?;
    let json = serde_json::from_str::<Value>(text);
    let value = match json {
        Ok(value) => value,
        Err(json) => python::parse(text)
            .map_err(|python| format!("neither JSON ({json}) nor a Python literal ({python})"))?,
    };
    match value {
        Value::Object(map) => Ok(map),
        _ => Err("expected an object".to_string()),
    }
}
