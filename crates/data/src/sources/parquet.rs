//! To come.
use crate::Source;
use crate::sink::{Names, Sink};
use sidereal_core::{Catalog, Error, Result, Run};
use std::path::Path;
/// Registers nothing yet.
pub fn register(_: &mut Catalog<dyn Source>) -> Result<()> {
    Ok(())
}
pub(crate) fn read_into(path: &Path, _: &Names<'_>, _: &mut Sink, _: &Run<'_>) -> Result<()> {
    Err(Error::data(path, "Parquet needs the feature `parquet`"))
}
