//! RecBole atomic files (`recbole`): `NAME.inter`, and `NAME.item` if it is there.
//!
//! The header names and types every field, as in `user_id:token`. Users and items must be `token`,
//! time and rating `float`. All fields of `.item` become text columns; `movie_title` is taken for
//! `title`, `class` and `genre` for `categories`.

use crate::catalogue::load_items;
use crate::filter::{Filters, filters};
use crate::read::fields::{Format, Records};
use crate::read::lines::Lines;
use crate::sink::{EmptyTime, Ids, Names, Sink};
use crate::sources::options::source_options;
use crate::sources::{existing, names_in};
use crate::{Dataset, Source};
use sidereal_core::{Catalog, Entry, Error, ItemTable, Result, Run};
use std::path::{Path, PathBuf};

source_options! {
    /// Options of `recbole`.
    pub struct RecBoleOptions {
        /// The folder with one .inter file, or that file.
        pub path: String = String::new(),
        /// Field separator.
        pub separator: String = "\t".to_string(),
        /// Field of the user; unset looks for user_id and the like.
        pub user: Option<String> = None,
        /// Field of the item; unset looks for item_id and the like.
        pub item: Option<String> = None,
        /// Field of the time; unset looks for timestamp and the like.
        pub time: Option<String> = None,
        /// Field of the rating; unset looks for rating and the like.
        pub rating: Option<String> = None,
    }
}

/// Reads atomic files.
pub struct RecBole {
    inter: PathBuf,
    options: RecBoleOptions,
    filters: Filters,
}

/// Registers `recbole`.
pub fn register(catalog: &mut Catalog<dyn Source>) -> Result<()> {
    catalog.add(Entry::new(
        "recbole",
        env!("CARGO_PKG_NAME"),
        "RecBole atomic files: .inter and .item with typed headers.",
        |o: RecBoleOptions, _: &()| Ok(Box::new(RecBole::new(o)?) as Box<dyn Source>),
    ))
}

impl RecBole {
    /// Checks the options; the files must exist.
    pub fn new(o: RecBoleOptions) -> Result<Self> {
        let path = existing("data.path", &o.path)?;
        let filters = filters!(o);
        if o.separator.is_empty() {
            return Err(Error::config("data.separator", "is empty, expected a character or more"));
        }
        if !path.is_dir() {
            return Ok(RecBole { inter: path, options: o, filters });
        }
        let names = names_in(&path)?;
        let inter: Vec<_> = names.iter().filter(|n| n.ends_with(".inter")).collect();
        match inter[..] {
            [one] => Ok(RecBole { inter: path.join(one), options: o, filters }),
            [] => Err(Error::data(&path, "no .inter file in it")),
            _ => {
                let list = inter.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(", ");
                Err(Error::data(&path, format!("several .inter files, name one: {list}")))
            }
        }
    }

    fn items(&self) -> Option<PathBuf> {
        Some(self.inter.with_extension("item")).filter(|p| p.is_file())
    }
}

/// `name:type` to both.
fn typed(path: &Path, field: &str) -> Result<(String, String)> {
    match field.trim().split_once(':') {
        Some((name, ty @ ("token" | "float" | "token_seq" | "float_seq"))) => {
            Ok((name.to_string(), ty.to_string()))
        }
        _ => Err(Error::data_line(
            path,
            1,
            format!(
                "header field `{field}`: expected name:type with type token, float, token_seq or \
                 float_seq"
            ),
        )),
    }
}

impl Source for RecBole {
    fn load(&self, run: &Run<'_>) -> Result<Dataset> {
        let o = &self.options;
        let path = &self.inter;
        let mut records = Records::new(Lines::open(path, run)?, Format::new(&o.separator, false));
        let header = match records.next()? {
            Some(h) => h.texts(),
            None => return Err(Error::data(path, "expected a header line")),
        };
        let header: Vec<(String, String)> =
            header.iter().map(|f| typed(path, f)).collect::<Result<_>>()?;
        let fields: Vec<String> = header.iter().map(|(n, _)| n.clone()).collect();
        let names = Names {
            user: o.user.as_deref(),
            item: o.item.as_deref(),
            time: o.time.as_deref(),
            rating: o.rating.as_deref(),
            part: None,
        };
        let places = names.find(path, &fields, &self.filters)?;
        let wanted = [
            (Some(places.user), "token"),
            (Some(places.item), "token"),
            (places.time, "float"),
            (places.rating, "float"),
        ];
        for (at, expected) in wanted {
            if let Some((name, ty)) = at.map(|i| &header[i])
                && ty != expected
            {
                let message = format!("field `{name}` has type {ty}, expected {expected}");
                return Err(Error::data_line(path, 1, message));
            }
        }
        let mut sink = Sink::new(path, self.filters, Ids::text());
        sink.records(&mut records, &places, EmptyTime::Bad)?;
        drop(records);
        let loaded = sink.finish(1, run)?;
        let items = match self.items() {
            Some(items) => {
                load_items(&items, o.item.as_deref(), Some(&o.separator), &loaded.wanted, run)?
            }
            None => ItemTable::new(loaded.wanted.ids()),
        };
        Ok(loaded.dataset(items))
    }

    fn files(&self) -> Vec<PathBuf> {
        std::iter::once(self.inter.clone()).chain(self.items()).collect()
    }
}
