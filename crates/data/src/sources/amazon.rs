//! To come.
use crate::Source;
use sidereal_core::{Catalog, Result};
/// Registers nothing yet.
pub fn register(_: &mut Catalog<dyn Source>) -> Result<()> {
    Ok(())
}
