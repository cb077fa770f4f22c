//! Checks on the list of level widths that all quantizers share.

use sidereal_core::{Error, Result};

/// Config key of the list of widths.
pub(crate) const LEVELS: &str = "quantizer.levels";

/// More levels than any published table has (32), with room to spare.
const MOST_LEVELS: usize = 64;

/// Refuses an empty or overlong list and levels without codes.
pub(crate) fn check_levels(levels: &[u32]) -> Result<()> {
    if levels.is_empty() || levels.len() > MOST_LEVELS {
        return Err(Error::config(
            LEVELS,
            format!(
                "{} levels; expected a list of 1 to {MOST_LEVELS} widths, as in [256, 256, 256]",
                levels.len()
            ),
        ));
    }
    if let Some(l) = levels.iter().position(|&w| w == 0) {
        return Err(Error::config(
            LEVELS,
            format!("level {} has 0 codes in {levels:?}; each level needs at least 1", l + 1),
        ));
    }
    Ok(())
}

/// Refuses levels with more codes than there are distinct vectors to give them to.
pub(crate) fn check_enough(levels: &[u32], items: usize, distinct: usize) -> Result<()> {
    match levels.iter().position(|&w| w as usize > distinct) {
        None => Ok(()),
        Some(l) => Err(Error::config(
            LEVELS,
            format!(
                "level {} asks for {} codes, but the {items} items have {distinct} distinct \
                 vectors; allowed: 1 to {distinct} codes a level",
                l + 1,
                levels[l]
            ),
        )),
    }
}
