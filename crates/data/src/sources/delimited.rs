//! Any delimited file with a map of its columns (`csv`, `tsv`).
//!
//! `csv` understands quoted fields (RFC 4180), also with line breaks in them; `tsv` takes quotes as
//! they stand. Ids are text. Unset columns are looked for under their usual names.

use crate::catalogue::load_items;
use crate::filter::{Filters, filters};
use crate::read::fields::{Format, Records};
use crate::read::lines::Lines;
use crate::sink::{EmptyTime, Ids, Names, Sink, TimeUnit};
use crate::sources::existing;
use crate::sources::options::source_options;
use crate::{Dataset, Source};
use sidereal_core::{Catalog, Entry, Error, ItemTable, Result, Run};
use std::path::PathBuf;

source_options! {
    /// Options of `csv` and `tsv`.
    pub struct DelimitedOptions {
        /// The file, plain or gzip.
        pub path: String = String::new(),
        /// Field separator; unset: `,` for csv, a tab for tsv.
        pub separator: Option<String> = None,
        /// Whether the first line names the columns; without it they are called "0", "1" and so on.
        pub header: bool = true,
        /// Column of the user; unset looks for user, user_id and the like.
        pub user: Option<String> = None,
        /// Column of the item; unset looks for item, item_id and the like.
        pub item: Option<String> = None,
        /// Column of the time; unset looks for timestamp and the like; without one the order of
        /// the file stands.
        pub time: Option<String> = None,
        /// Unit of the time: s, ms, us or ns.
        pub time_unit: TimeUnit = TimeUnit::S,
        /// Column of the rating; unset looks for rating and the like.
        pub rating: Option<String> = None,
        /// Column with train, valid or test, for the split `given`.
        pub split: Option<String> = None,
        /// File with the texts of the items: JSON lines, or delimited with a header.
        pub items: Option<String> = None,
        /// Column or key of the item's id in that file; unset looks for the usual names.
        pub item_key: Option<String> = None,
    }
}

/// Reads a delimited file.
pub struct Delimited {
    path: PathBuf,
    items: Option<PathBuf>,
    separator: String,
    options: DelimitedOptions,
    filters: Filters,
}

/// Registers `csv` and `tsv`.
pub fn register(catalog: &mut Catalog<dyn Source>) -> Result<()> {
    for (name, separator, doc) in [
        ("csv", ",", "A CSV file with a map of its columns."),
        ("tsv", "\t", "A tab-separated file with a map of its columns."),
    ] {
        catalog.add(Entry::new(
            name,
            env!("CARGO_PKG_NAME"),
            doc,
            move |o: DelimitedOptions, _: &()| {
                Ok(Box::new(Delimited::new(o, separator)?) as Box<dyn Source>)
            },
        ))?;
    }
    Ok(())
}

impl Delimited {
    /// Checks the options; the files must exist. `separator` stands where the options have none.
    pub fn new(o: DelimitedOptions, separator: &str) -> Result<Self> {
        let path = existing("data.path", &o.path)?;
        let items = match &o.items {
            Some(i) => Some(existing("data.items", i)?),
            None => None,
        };
        let separator = o.separator.clone().unwrap_or_else(|| separator.to_string());
        if separator.is_empty() {
            return Err(Error::config("data.separator", "is empty, expected a character or more"));
        }
        let filters = filters!(o);
        Ok(Delimited { path, items, separator, options: o, filters })
    }
}

impl Source for Delimited {
    fn load(&self, run: &Run<'_>) -> Result<Dataset> {
        let o = &self.options;
        let mut lines = Lines::open(&self.path, run)?;
        let format = Format::new(&self.separator, self.separator == ",");
        let names = Names {
            user: o.user.as_deref(),
            item: o.item.as_deref(),
            time: o.time.as_deref(),
            rating: o.rating.as_deref(),
            part: o.split.as_deref(),
        };
        let numbered = if o.header {
            None
        } else {
            let mut fields = Vec::new();
            format.split(lines.peek()?.unwrap_or_default(), &mut fields);
            Some((0..fields.len()).map(|i| i.to_string()).collect::<Vec<_>>())
        };
        let mut records = Records::new(lines, format);
        let header = match numbered {
            Some(numbers) => numbers,
            None => match records.next()? {
                Some(h) => h.texts(),
                None => return Err(Error::data(&self.path, "expected a header line")),
            },
        };
        let places = names.find(&self.path, &header, &self.filters)?;
        let mut sink = Sink::new(&self.path, self.filters, Ids::text());
        sink.records(&mut records, &places, EmptyTime::Bad)?;
        drop(records);
        let loaded = sink.finish(o.time_unit.divisor(), run)?;
        let items = match &self.items {
            Some(items) => load_items(items, o.item_key.as_deref(), None, &loaded.wanted, run)?,
            None => ItemTable::new(loaded.wanted.ids()),
        };
        Ok(loaded.dataset(items))
    }

    fn files(&self) -> Vec<PathBuf> {
        std::iter::once(self.path.clone()).chain(self.items.clone()).collect()
    }
}
