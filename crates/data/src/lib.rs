//! Readers, filters, splits, sequences and synthetic worlds for recommendation data.
//!
//! A [`Source`] turns files into a [`Dataset`]: a catalogue and the histories of all users, oldest
//! first, as columns. A [`Splitter`] cuts the histories into training and evaluation cases, and
//! [`augment`] lists the training samples of a history without copying it.
//!
//! ```no_run
//! use sidereal_core::{Catalog, Run, Spec};
//! # fn main() -> sidereal_core::Result<()> {
//! let mut sources = Catalog::new("data");
//! sidereal_data::register(&mut sources)?;
//! let spec = Spec::new("data", "csv").with("path", "ratings.csv").with("min_user", 5);
//! let data = sources.build(&spec, &())?.load(&Run::quiet(0))?;
//! println!("{} users, {} items", data.interactions.len(), data.items.len());
//! # Ok(())
//! # }
//! ```

pub mod augment;
mod catalogue;
mod dataset;
mod filter;
mod inspect;
mod read;
mod rows;
mod sink;
mod source;
pub mod sources;
pub mod split;
pub mod synthetic;

pub use augment::{Augment, Sample, Samples};
pub use dataset::{Dataset, LoadReport, Part};
pub use filter::{BadLines, Duplicates};
pub use inspect::{ColumnSummary, FirstItem, Inspection, Lengths, TimeRange, inspect};
pub use rows::{CsvRow, csv_rows};
pub use sink::TimeUnit;
pub use source::{Source, register};
pub use split::{EvalSet, SplitReport, Splits, Splitter, TimeOrder, register_splits};
