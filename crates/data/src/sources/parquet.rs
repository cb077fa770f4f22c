//! Parquet files with a map of their columns (`parquet`).
//!
//! Needs the feature `parquet` (pure Rust: snappy, gzip, lz4), and `zstd` for zstd pages, which
//! builds a C library. Without them the name is still known and tells what to enable. Columns are
//! read through the crate's column readers, a batch of rows of each at a time; ids may be strings
//! or whole numbers, signed or not; a timestamp column states its own unit, dates are days, and the
//! old 96-bit timestamps are nanoseconds. Places in errors count rows from 1.

use crate::filter::Filters;
#[cfg(feature = "parquet")]
use crate::filter::filters;
use crate::sink::{Ids, Names, Sink, TimeUnit};
#[cfg(feature = "parquet")]
use crate::sources::existing;
use crate::sources::options::source_options;
use crate::{Dataset, Source};
use sidereal_core::{Catalog, Entry, ItemTable, Result, Run};
use std::path::{Path, PathBuf};

source_options! {
    /// Options of `parquet`.
    pub struct ParquetOptions {
        /// The file.
        pub path: String = String::new(),
        /// Column of the user; unset looks for user, user_id and the like.
        pub user: Option<String> = None,
        /// Column of the item; unset looks for item, item_id and the like.
        pub item: Option<String> = None,
        /// Column of the time; unset looks for timestamp and the like; without one the order of
        /// the file stands.
        pub time: Option<String> = None,
        /// Unit of the time: s, ms, us or ns; unset: the unit that the column states, else s.
        pub time_unit: Option<TimeUnit> = None,
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

/// Reads a Parquet file.
pub struct Parquet {
    path: PathBuf,
    items: Option<PathBuf>,
    options: ParquetOptions,
    filters: Filters,
}

/// Registers `parquet`, with or without the feature.
pub fn register(catalog: &mut Catalog<dyn Source>) -> Result<()> {
    catalog.add(Entry::new(
        "parquet",
        env!("CARGO_PKG_NAME"),
        "A Parquet file with a map of its columns (feature `parquet`).",
        |o: ParquetOptions, _: &()| Ok(Box::new(Parquet::new(o)?) as Box<dyn Source>),
    ))
}

impl Parquet {
    /// Checks the options; the files must exist and the feature must be on.
    pub fn new(o: ParquetOptions) -> Result<Self> {
        #[cfg(not(feature = "parquet"))]
        return Err(sidereal_core::Error::config(
            "data.type",
            format!("`parquet` needs a build with --features parquet (path = {:?})", o.path),
        ));
        #[cfg(feature = "parquet")]
        {
            let path = existing("data.path", &o.path)?;
            let items = match &o.items {
                Some(i) => Some(existing("data.items", i)?),
                None => None,
            };
            let filters = filters!(o);
            Ok(Parquet { path, items, options: o, filters })
        }
    }
}

impl Source for Parquet {
    fn load(&self, run: &Run<'_>) -> Result<Dataset> {
        let o = &self.options;
        let names = Names {
            user: o.user.as_deref(),
            item: o.item.as_deref(),
            time: o.time.as_deref(),
            rating: o.rating.as_deref(),
            part: o.split.as_deref(),
        };
        let mut sink = Sink::new(&self.path, self.filters, Ids::text());
        let stated = read_into(&self.path, &names, &mut sink, run)?;
        let loaded = sink.finish(o.time_unit.or(stated).unwrap_or_default().divisor(), run)?;
        let items = match &self.items {
            Some(items) => {
                let key = o.item_key.as_deref();
                crate::catalogue::load_items(items, key, None, &loaded.wanted, run)?
            }
            None => ItemTable::new(loaded.wanted.ids()),
        };
        Ok(loaded.dataset(items))
    }

    fn files(&self) -> Vec<PathBuf> {
        std::iter::once(self.path.clone()).chain(self.items.clone()).collect()
    }
}

/// Without the feature: an error that names it.
#[cfg(not(feature = "parquet"))]
pub(crate) fn read_into(
    path: &Path,
    _: &Names<'_>,
    _: &mut Sink,
    _: &Run<'_>,
) -> Result<Option<TimeUnit>> {
    Err(sidereal_core::Error::data(path, "needs a build with --features parquet"))
}

#[cfg(feature = "parquet")]
pub(crate) use columns::read_into;

#[cfg(feature = "parquet")]
mod columns {
    use super::*;
    use crate::Part;
    use crate::read::number;
    use crate::sink::{Places, part_of};
    use parquet::basic::{
        Compression, ConvertedType, LogicalType, TimeUnit as StatedUnit, Type as Physical,
    };
    use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
    use parquet::data_type::{ByteArray, DataType, Int96};
    use parquet::errors::ParquetError;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::schema::types::ColumnDescriptor;
    use sidereal_core::Error;
    use std::fs::File;
    use std::io::Write;
    use std::panic::AssertUnwindSafe;

    /// Rows of a batch.
    const BATCH: usize = 8192;

    /// Puts all rows of a file into `sink`; gives the unit that the time column states.
    pub(crate) fn read_into(
        path: &Path,
        names: &Names<'_>,
        sink: &mut Sink,
        run: &Run<'_>,
    ) -> Result<Option<TimeUnit>> {
        let broken = |e: ParquetError| Error::data(path, format!("not readable as Parquet: {e}"));
        let file = File::open(path).map_err(|e| Error::read(path, e))?;
        let reader = guarded(|| SerializedFileReader::new(file)).map_err(broken)?;
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        // Leaves of nested columns keep their place in the list but get no name to be found by.
        let header: Vec<String> = (schema.columns().iter())
            .map(|c| if c.max_rep_level() == 0 { c.path().string() } else { String::new() })
            .collect();
        let places = names.find(path, &header, &sink.filters)?;
        let list = [Some(places.user), Some(places.item), places.time, places.rating, places.part];
        let stated = places.time.and_then(|t| unit(&schema.columns()[t]));
        let mut row = 0u64;
        for group in 0..reader.num_row_groups() {
            let group = guarded(|| reader.get_row_group(group)).map_err(broken)?;
            let mut cursors = Vec::with_capacity(list.len());
            for at in list {
                let Some(at) = at else {
                    cursors.push(None);
                    continue;
                };
                let codec = group.metadata().column(at).compression();
                if matches!(codec, Compression::ZSTD(_)) && !cfg!(feature = "zstd") {
                    let message = "its pages are compressed with zstd: build with --features zstd";
                    return Err(Error::data(path, message));
                }
                let reader = guarded(|| group.get_column_reader(at)).map_err(broken)?;
                cursors.push(Some(Cursor::new(reader, &header[at], &schema.columns()[at])));
            }
            loop {
                run.check()?;
                let mut rows = None;
                for cursor in cursors.iter_mut().flatten() {
                    let n = cursor.fill().map_err(|e| e.at(path))?;
                    if rows.is_some_and(|r| r != n) {
                        return Err(Error::data(path, "its columns differ in length"));
                    }
                    rows = Some(n);
                }
                let rows = rows.unwrap_or(0);
                if rows == 0 {
                    break;
                }
                for _ in 0..rows {
                    row += 1;
                    take(row, &mut cursors, &places, sink)?;
                }
            }
        }
        Ok(stated)
    }

    /// What `read` gives. The decoders of the library trust lengths inside a file and panic where
    /// damage makes them wrong: that is an error of the file, after which nothing more is read.
    fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
        std::panic::catch_unwind(AssertUnwindSafe(read))
            .unwrap_or_else(|_| Err(ParquetError::General("the file is damaged".into())))
    }

    /// Moves the next row of all cursors into the sink.
    fn take(
        row: u64,
        cursors: &mut [Option<Cursor>],
        places: &Places,
        sink: &mut Sink,
    ) -> Result<()> {
        let [user, item, time, rating, part] = cursors else {
            return Err(Error::mismatch("five columns expected"));
        };
        // All move on before any is looked at, so that a bad row keeps them in step.
        let at = [&mut *user, item, time, rating, part].map(|c| c.as_mut().and_then(Cursor::next));
        let mut texts = [[0u8; 20]; 2];
        match read([user, item, time, rating, part], at, places, &mut texts) {
            Ok(r) => sink.row(row, r.user, r.item, r.time, r.rating, r.part),
            Err(message) => sink.bad(row, message),
        }
    }

    struct Row<'a> {
        user: &'a [u8],
        item: &'a [u8],
        time: Option<i64>,
        rating: Option<f64>,
        part: Option<Part>,
    }

    /// Checks the types of a row's cells.
    #[inline]
    fn read<'a>(
        [user, item, time, rating, part]: [&'a Option<Cursor>; 5],
        at: [Option<usize>; 5],
        places: &Places,
        [for_user, for_item]: &'a mut [[u8; 20]; 2],
    ) -> Result<Row<'a>, &'static str> {
        let time = match look(time, at[2]) {
            _ if places.time.is_none() => None,
            Cell::Int(t) => Some(t),
            Cell::Natural(t) => Some(i64::try_from(t).map_err(|_| "time: too large")?),
            Cell::Real(t) if t.abs() < 4.6e18 => Some(t.floor() as i64),
            Cell::Bytes(b) => Some(number::time(b).ok_or("time: expected a number")?),
            _ => return Err("time: expected a number"),
        };
        let rating = match look(rating, at[3]) {
            Cell::Int(r) => Some(r as f64),
            Cell::Natural(r) => Some(r as f64),
            Cell::Real(r) if r.is_finite() => Some(r),
            Cell::Bytes(b) => Some(number::decimal(b).ok_or("rating: expected a number")?),
            Cell::Null => None,
            Cell::Real(_) => return Err("rating: expected a finite number"),
        };
        let part = match look(part, at[4]) {
            _ if places.part.is_none() => None,
            Cell::Bytes(b) => Some(part_of(b).ok_or("split: expected train, valid or test")?),
            _ => return Err("split: expected train, valid or test"),
        };
        Ok(Row {
            user: look(user, at[0]).id(for_user).ok_or("user: expected text or a number")?,
            item: look(item, at[1]).id(for_item).ok_or("item: expected text or a number")?,
            time,
            rating,
            part,
        })
    }

    #[inline]
    fn look(cursor: &Option<Cursor>, at: Option<usize>) -> Cell<'_> {
        cursor.as_ref().map_or(Cell::Null, |c| c.get(at))
    }

    fn unit(column: &ColumnDescriptor) -> Option<TimeUnit> {
        match (column.logical_type_ref(), column.converted_type()) {
            (Some(LogicalType::Timestamp(t)), _) => Some(match t.unit {
                StatedUnit::MILLIS => TimeUnit::Ms,
                StatedUnit::MICROS => TimeUnit::Us,
                StatedUnit::NANOS => TimeUnit::Ns,
            }),
            (_, ConvertedType::TIMESTAMP_MILLIS) => Some(TimeUnit::Ms),
            (_, ConvertedType::TIMESTAMP_MICROS) => Some(TimeUnit::Us),
            _ if column.physical_type() == Physical::INT96 => Some(TimeUnit::Ns),
            _ if meaning(column) == Meaning::Days => Some(TimeUnit::S),
            _ => None,
        }
    }

    /// What the stored whole numbers of a column stand for.
    #[derive(Clone, Copy, PartialEq)]
    enum Meaning {
        Signed,
        Unsigned,
        /// Days since 1970-01-01, given on as seconds.
        Days,
        /// `value / 10^scale`.
        Decimal(i32),
    }

    fn meaning(column: &ColumnDescriptor) -> Meaning {
        use ConvertedType as C;
        match (column.logical_type_ref(), column.converted_type()) {
            (Some(LogicalType::Integer(t)), _) if !t.is_signed => Meaning::Unsigned,
            (_, C::UINT_8 | C::UINT_16 | C::UINT_32 | C::UINT_64) => Meaning::Unsigned,
            (Some(LogicalType::Date), _) | (_, C::DATE) => Meaning::Days,
            (Some(LogicalType::Decimal(t)), _) => Meaning::Decimal(t.scale),
            (_, C::DECIMAL) => Meaning::Decimal(column.type_scale()),
            _ => Meaning::Signed,
        }
    }

    #[derive(Clone, Copy)]
    enum Cell<'a> {
        Null,
        Int(i64),
        Natural(u64),
        Real(f64),
        Bytes(&'a [u8]),
    }

    impl<'a> Cell<'a> {
        /// The value as an id; numbers are printed into `text`.
        fn id(self, text: &'a mut [u8; 20]) -> Option<&'a [u8]> {
            let mut rest = &mut text[..];
            match self {
                Cell::Bytes(b) => return Some(b),
                Cell::Int(i) => write!(rest, "{i}").ok()?,
                Cell::Natural(i) => write!(rest, "{i}").ok()?,
                Cell::Null | Cell::Real(_) => return None,
            }
            let left = rest.len();
            Some(&text[..20 - left])
        }
    }

    /// Values of the current batch that are not null.
    enum Values {
        Ints(Vec<i64>),
        Naturals(Vec<u64>),
        Reals(Vec<f64>),
        Bytes(Vec<ByteArray>),
    }

    impl Meaning {
        fn values(self, stored: Vec<i64>) -> Values {
            match self {
                Meaning::Signed => Values::Ints(stored),
                Meaning::Unsigned => {
                    Values::Naturals(stored.into_iter().map(|v| v as u64).collect())
                }
                Meaning::Days => {
                    Values::Ints(stored.into_iter().map(|v| v.saturating_mul(86_400)).collect())
                }
                Meaning::Decimal(scale) => {
                    let unit = 10f64.powi(scale);
                    Values::Reals(stored.into_iter().map(|v| v as f64 / unit).collect())
                }
            }
        }
    }

    /// Nanoseconds since 1970 of a 96-bit timestamp: nanoseconds of the day, then the Julian day.
    fn nanoseconds(t: &Int96) -> i64 {
        let [low, high, day] = [t.data()[0], t.data()[1], t.data()[2]];
        let of_day = (i64::from(high) << 32) | i64::from(low);
        (i64::from(day) - 2_440_588).saturating_mul(86_400_000_000_000).saturating_add(of_day)
    }

    /// One column, batch by batch.
    struct Cursor {
        reader: ColumnReader,
        name: String,
        meaning: Meaning,
        values: Values,
        /// Definition level of every row of the batch; below `full` means null.
        levels: Vec<i16>,
        full: i16,
        row: usize,
        value: usize,
    }

    /// What went wrong in a column.
    enum Fault {
        Type(String),
        File(String, ParquetError),
    }

    impl Fault {
        fn at(self, path: &Path) -> Error {
            match self {
                Fault::Type(name) => Error::data(
                    path,
                    format!("column `{name}`: expected strings, whole or decimal numbers"),
                ),
                Fault::File(name, e) => Error::data(path, format!("column `{name}`: {e}")),
            }
        }
    }

    impl Cursor {
        fn new(reader: ColumnReader, name: &str, column: &ColumnDescriptor) -> Self {
            Cursor {
                reader,
                name: name.into(),
                meaning: meaning(column),
                values: Values::Ints(Vec::new()),
                levels: Vec::new(),
                full: column.max_def_level(),
                row: 0,
                value: 0,
            }
        }

        /// Reads the next batch; gives its rows, 0 at the end of the group.
        fn fill(&mut self) -> Result<usize, Fault> {
            self.row = 0;
            self.value = 0;
            self.levels.clear();
            let levels = &mut self.levels;
            let wrong = |e| Fault::File(self.name.clone(), e);
            let (values, rows) = match &mut self.reader {
                ColumnReader::Int32ColumnReader(r) => {
                    let (v, n) = batch(r, levels).map_err(wrong)?;
                    let whole = |v: i32| match self.meaning {
                        Meaning::Unsigned => i64::from(v as u32),
                        _ => i64::from(v),
                    };
                    (self.meaning.values(v.into_iter().map(whole).collect()), n)
                }
                ColumnReader::Int64ColumnReader(r) => {
                    let (v, n) = batch(r, levels).map_err(wrong)?;
                    (self.meaning.values(v), n)
                }
                ColumnReader::Int96ColumnReader(r) => {
                    let (v, n) = batch(r, levels).map_err(wrong)?;
                    (Values::Ints(v.iter().map(nanoseconds).collect()), n)
                }
                ColumnReader::FloatColumnReader(r) => {
                    let (v, n) = batch(r, levels).map_err(wrong)?;
                    (Values::Reals(v.into_iter().map(f64::from).collect()), n)
                }
                ColumnReader::DoubleColumnReader(r) => {
                    let (v, n) = batch(r, levels).map_err(wrong)?;
                    (Values::Reals(v), n)
                }
                ColumnReader::ByteArrayColumnReader(r) => {
                    let (v, n) = batch(r, levels).map_err(wrong)?;
                    (Values::Bytes(v), n)
                }
                _ => return Err(Fault::Type(self.name.clone())),
            };
            self.values = values;
            Ok(rows)
        }

        /// Moves on; gives the place of the row's value, `None` for null.
        #[inline]
        fn next(&mut self) -> Option<usize> {
            let null = self.full > 0 && self.levels.get(self.row) != Some(&self.full);
            self.row += 1;
            if null {
                return None;
            }
            self.value += 1;
            Some(self.value - 1)
        }

        #[inline]
        fn get(&self, at: Option<usize>) -> Cell<'_> {
            let Some(at) = at else { return Cell::Null };
            let cell = match &self.values {
                Values::Ints(v) => v.get(at).map(|&i| Cell::Int(i)),
                Values::Naturals(v) => v.get(at).map(|&i| Cell::Natural(i)),
                Values::Reals(v) => v.get(at).map(|&r| Cell::Real(r)),
                Values::Bytes(v) => v.get(at).map(|b| Cell::Bytes(b.data())),
            };
            cell.unwrap_or(Cell::Null)
        }
    }

    /// Up to a batch of rows: their values that are not null, and how many rows.
    fn batch<T: DataType>(
        reader: &mut ColumnReaderImpl<T>,
        levels: &mut Vec<i16>,
    ) -> Result<(Vec<T::T>, usize), ParquetError> {
        let mut values = Vec::with_capacity(BATCH);
        let mut rows = 0;
        while rows < BATCH {
            let left = BATCH - rows;
            let read = || reader.read_records(left, Some(&mut *levels), None, &mut values);
            let (n, _, _) = guarded(read)?;
            if n == 0 {
                break;
            }
            rows += n;
        }
        Ok((values, rows))
    }
}
