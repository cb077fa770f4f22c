//! MovieLens in the layouts of its releases (`movielens`).
//!
//! | release | ratings | movies |
//! |---|---|---|
//! | 100k | `u.data`, tabs | `u.item`, bars, one flag a genre |
//! | 1m, 10m | `ratings.dat`, `::` | `movies.dat`, `::` |
//! | 20m and later, latest | `ratings.csv` with header | `movies.csv`, quoted |
//!
//! The older movie files are Latin-1. Each genre is a category of its own. Movies without a rating
//! that is left are not in the catalogue.

use crate::catalogue::Texts;
use crate::filter::{Filters, filters};
use crate::read::fields::{Format, Records, text};
use crate::read::lines::Lines;
use crate::sink::{EmptyTime, Ids, Loaded, Places, Sink};
use crate::sources::options::source_options;
use crate::sources::{existing, first_existing};
use crate::{Dataset, Source};
use sidereal_core::{Catalog, Entry, Error, ItemTable, Result, Run};
use std::path::{Path, PathBuf};

source_options! {
    /// Options of `movielens`.
    pub struct MovieLensOptions {
        /// The folder as unpacked, or its file of ratings.
        pub path: String = String::new(),
    }
}

/// Reads MovieLens.
pub struct MovieLens {
    ratings: PathBuf,
    movies: Option<PathBuf>,
    layout: Layout,
    filters: Filters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Data,
    Dat,
    Csv,
}

impl Layout {
    fn format(self) -> Format {
        match self {
            Layout::Data => Format::new("\t", false),
            Layout::Dat => Format::new("::", false),
            Layout::Csv => Format::new(",", true),
        }
    }
}

/// The genres of `u.item`, in the order of its flags.
const GENRES: [&str; 19] = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
];

/// Registers `movielens`.
pub fn register(catalog: &mut Catalog<dyn Source>) -> Result<()> {
    catalog.add(Entry::new(
        "movielens",
        env!("CARGO_PKG_NAME"),
        "MovieLens: u.data (100k), ratings.dat (1m, 10m) or ratings.csv (later).",
        |o: MovieLensOptions, _: &()| Ok(Box::new(MovieLens::new(o)?) as Box<dyn Source>),
    ))
}

/// File of ratings, file of movies, layout.
const FILES: [(&str, &str, Layout); 3] = [
    ("ratings.dat", "movies.dat", Layout::Dat),
    ("ratings.csv", "movies.csv", Layout::Csv),
    ("u.data", "u.item", Layout::Data),
];

/// Whether a folder holds a release.
pub(crate) fn is_movielens(folder: &Path) -> bool {
    FILES.iter().any(|(r, m, _)| {
        first_existing(folder, &[r]).is_some() && first_existing(folder, &[m]).is_some()
    })
}

impl MovieLens {
    /// Checks the options; the ratings must exist.
    pub fn new(o: MovieLensOptions) -> Result<Self> {
        let path = existing("data.path", &o.path)?;
        let folder = if path.is_dir() { path.clone() } else { path.join("..") };
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        for (ratings, movies, layout) in FILES {
            let found = if path.is_dir() {
                first_existing(&path, &[ratings])
            } else {
                (name.strip_suffix(".gz").unwrap_or(&name) == ratings).then(|| path.clone())
            };
            let folder = if path.is_dir() { &folder } else { path.parent().unwrap_or(&folder) };
            if let Some(ratings) = found {
                let movies = first_existing(folder, &[movies]);
                return Ok(MovieLens { ratings, movies, layout, filters: filters!(o) });
            }
        }
        Err(Error::data(&path, "expected ratings.dat, ratings.csv or u.data"))
    }
}

impl Source for MovieLens {
    fn load(&self, run: &Run<'_>) -> Result<Dataset> {
        let lines = Lines::open(&self.ratings, run)?;
        let mut records = Records::new(lines, self.layout.format());
        let mut places =
            Places { user: 0, item: 1, rating: Some(2), time: Some(3), part: None, width: 4 };
        if self.layout == Layout::Csv {
            let header = match records.next()? {
                Some(h) => h.texts(),
                None => return Err(Error::data(&self.ratings, "expected a header line")),
            };
            places = crate::sink::Names::default().find(&self.ratings, &header, &self.filters)?;
        }
        let mut sink = Sink::new(&self.ratings, self.filters, Ids::text());
        sink.records(&mut records, &places, EmptyTime::Bad)?;
        drop(records);
        let mut loaded = sink.finish(1, run)?;
        let items = match &self.movies {
            Some(path) => self.describe(path, &mut loaded, run)?,
            None => ItemTable::new(loaded.wanted.ids()),
        };
        Ok(loaded.dataset(items))
    }

    fn files(&self) -> Vec<PathBuf> {
        std::iter::once(self.ratings.clone()).chain(self.movies.clone()).collect()
    }
}

impl MovieLens {
    fn describe(&self, path: &Path, loaded: &mut Loaded, run: &Run<'_>) -> Result<ItemTable> {
        let format = match self.layout {
            Layout::Data => Format::new("|", false),
            other => other.format(),
        };
        let mut records = Records::new(Lines::open(path, run)?, format);
        if self.layout == Layout::Csv {
            records.next()?;
        }
        let mut texts = Texts::default();
        let mut row_of = vec![u32::MAX; loaded.wanted.len()];
        while let Some(record) = records.next()? {
            let width = if self.layout == Layout::Data { 5 + GENRES.len() } else { 3 };
            if record.len() != width {
                let message = format!("expected {width} fields, got {}", record.len());
                self.filters.bad(&mut loaded.report, path, record.line_number, &message)?;
                continue;
            }
            let Some(item) = loaded.wanted.lookup(&record.get(0)) else { continue };
            if row_of[item as usize] != u32::MAX {
                continue;
            }
            texts.set("title", &text(&record.get(1)));
            let genres = match self.layout {
                Layout::Data => {
                    let flags = GENRES.iter().enumerate();
                    let set = flags.filter(|(g, _)| record.get(5 + g).as_ref() == b"1");
                    set.map(|(_, name)| *name).collect::<Vec<_>>().join(" | ")
                }
                _ => text(&record.get(2)).replace('|', " | "),
            };
            if genres != "(no genres listed)" {
                texts.set("categories", &genres);
            }
            row_of[item as usize] = texts.end_row();
        }
        texts.table(loaded.wanted.ids(), &row_of)
    }
}
