//! `hybrid`: IDs of several identifiers, one behind the other.
//!
//! The hybrid indexing (HID) of arXiv 2305.06569: an ID that groups items (collaborative, taxonomy,
//! sequential) followed by a code of the item's own (`atomic`), or two that group them. `cut = 1`
//! leaves out the last code of every part but the last, which for `collaborative` and `taxonomy`
//! only tells neighbours apart: the paper's CID+IID replaces it.
//!
//! Parts speak of different things, so their codes must not be taken for each other: behind a part
//! whose IDs differ in length the codes of the next part begin where those of all parts before end.
//! IDs that still begin others get an end code. IDs are distinct if those of the last part are, or
//! those of any part without a cut. Every part must give each item exactly one ID.

use super::Ids;
use sidereal_core::{
    Catalog, Code, CodeOrder, Error, Identifier, IdentifierInput, Inner, ItemId, Result, Run,
    SidTable,
};
use std::path::PathBuf;

sidereal_core::options! {
    /// Options of `hybrid`.
    pub struct HybridOptions {
        /// The parts, from the first: two or more identifiers.
        pub parts: Vec<Inner> = vec![
            Inner::Name("collaborative".into()),
            Inner::Name("atomic".into()),
        ],
        /// Codes left out at the end of every part but the last, 0 and up; a part keeps at least
        /// one code. The paper's CID+IID: 1.
        pub cut: u32 = 1,
    }
}

/// Puts IDs behind each other.
pub struct Hybrid {
    parts: Vec<Box<dyn Identifier>>,
    cut: usize,
}

impl Hybrid {
    /// From options, the parts built from `all`.
    ///
    /// Errors: fewer than two parts, what the parts refuse.
    pub fn new(options: HybridOptions, all: &Catalog<dyn Identifier>) -> Result<Self> {
        let build = |part: &Inner| all.build(&part.spec("identifier.parts")?, &());
        let parts = options.parts.iter().map(build).collect::<Result<_>>()?;
        Hybrid::of(parts, options.cut)
    }

    /// From identifiers.
    ///
    /// Errors: fewer than two parts.
    pub fn of(parts: Vec<Box<dyn Identifier>>, cut: u32) -> Result<Self> {
        if parts.len() < 2 {
            let message = format!("got {}; expected at least two identifiers", parts.len());
            return Err(Error::config("identifier.parts", message));
        }
        Ok(Hybrid { parts, cut: cut as usize })
    }
}

impl Identifier for Hybrid {
    fn identify(&self, input: &IdentifierInput<'_>, run: &Run<'_>) -> Result<SidTable> {
        let items = input.catalogue.items.len();
        let mut joined = Ids::new();
        (0..items).for_each(|_| joined.push(&[]));
        for (p, part) in self.parts.iter().enumerate() {
            let table = part.identify(input, run)?;
            let cut = if p + 1 < self.parts.len() { self.cut } else { 0 };
            joined = behind(&joined, &table, cut)?;
        }
        joined.end_tokens();
        joined.table(CodeOrder::Sequence)
    }

    fn reads_codes(&self) -> bool {
        self.parts.iter().any(|part| part.reads_codes())
    }

    fn files(&self) -> Vec<PathBuf> {
        self.parts.iter().flat_map(|part| part.files()).collect()
    }
}

/// The IDs with those of a table behind them.
fn behind(before: &Ids, table: &SidTable, cut: usize) -> Result<Ids> {
    if table.n_items() != before.len() || table.n_rows() != before.len() {
        return Err(Error::mismatch(format!(
            "hybrid: a part has {} IDs of {} items; expected one for each of {} items",
            table.n_rows(),
            table.n_items(),
            before.len()
        )));
    }
    let mut lengths = before.iter().map(<[Code]>::len);
    let first = lengths.next().unwrap_or(0);
    let shift = match lengths.all(|length| length == first) {
        true => 0,
        false => before.widths().into_iter().max().unwrap_or(0),
    };
    let mut out = Ids::new();
    for (i, id) in before.iter().enumerate() {
        let own = table.first_sid(ItemId(i as u32)).unwrap_or(&[]);
        let kept = own.len().saturating_sub(cut).max(own.len().min(1));
        out.extend(id.iter().copied().chain(own[..kept].iter().map(|c| c.saturating_add(shift))));
    }
    Ok(out)
}
