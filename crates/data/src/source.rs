//! The trait of all readers, and their names.

use crate::{Dataset, sources, synthetic};
use sidereal_core::{Catalog, Result, Run};
use std::path::PathBuf;

/// Files (or a seed) to a data set.
pub trait Source: Send + Sync {
    /// Reads, filters, orders. Rows of equal time keep the order of the file; the number of
    /// threads changes no result.
    fn load(&self, run: &Run<'_>) -> Result<Dataset>;

    /// Files that decide the result, for cache keys; missing ones are left out.
    fn files(&self) -> Vec<PathBuf>;
}

/// Registers every reader of this crate.
pub fn register(catalog: &mut Catalog<dyn Source>) -> Result<()> {
    sources::folder::register(catalog)?;
    sources::amazon::register(catalog)?;
    sources::movielens::register(catalog)?;
    sources::recbole::register(catalog)?;
    sources::delimited::register(catalog)?;
    sources::parquet::register(catalog)?;
    synthetic::register(catalog)
}
