//! Which target a row of a field belongs to.

use sidereal_core::{Error, Result};
use sidereal_nn::{Batch, Field};

/// Targets of all rows of `field` in order; a field without a map has one row a target.
pub(crate) fn targets_of<'a>(
    name: &str,
    field: &'a Field,
    batch: &Batch,
) -> Result<impl Iterator<Item = usize> + use<'a>> {
    let targets = batch.targets.len();
    let map = &field.target_of[..];
    if map.is_empty() && field.rows != targets {
        return Err(Error::mismatch(format!(
            "output `{name}` has {} rows for {targets} targets and does not say which is whose",
            field.rows
        )));
    }
    if !map.is_empty() && map.len() != field.rows {
        return Err(Error::mismatch(format!(
            "output `{name}` has {} rows but names the targets of {}",
            field.rows,
            map.len()
        )));
    }
    if let Some(bad) = map.iter().find(|&&t| t as usize >= targets) {
        return Err(Error::mismatch(format!(
            "output `{name}` has a row for target {bad} of {targets}"
        )));
    }
    let rows = field.rows;
    Ok((0..rows).map(move |r| map.get(r).map_or(r, |&t| t as usize)))
}
