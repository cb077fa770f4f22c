//! From codes to identifiers: what happens when items share a code tuple.

mod ordinal;
mod table;
mod tolerate;

pub use ordinal::{Ordinal, OrdinalOptions, OrdinalStart};
pub use table::{Table, TableOptions};
pub use tolerate::{Tolerate, TolerateOptions};

use rayon::prelude::*;
use sidereal_core::{CodeOrder, Codes, ItemId, Result, SidTable};

/// Rows by (codes, row): equal tuples stand together, in item order. Cost `O(N L log N)`.
pub(crate) fn by_codes(codes: &Codes) -> Vec<u32> {
    let mut order: Vec<u32> = (0..codes.rows() as u32).collect();
    order.par_sort_unstable_by(|&a, &b| {
        codes.row(a as usize).cmp(codes.row(b as usize)).then(a.cmp(&b))
    });
    order
}

/// Runs of rows with equal codes, in the order of [`by_codes`].
pub(crate) fn groups<'a>(codes: &'a Codes, order: &'a [u32]) -> impl Iterator<Item = &'a [u32]> {
    order.chunk_by(|&a, &b| codes.row(a as usize) == codes.row(b as usize))
}

/// A table of one ID an item, row `i` for item `i`.
fn one_each(codes: &Codes) -> Result<SidTable> {
    let rows = (0..codes.rows()).map(|i| (ItemId(i as u32), codes.sid(i)));
    SidTable::new(codes.rows(), CodeOrder::Sequence, rows)
}
