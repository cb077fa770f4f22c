//! From codes, histories or texts to identifiers.
//!
//! | file | identifier |
//! |---|---|
//! | `tolerate` | codes as they are |
//! | `ordinal`, `popularity` | one more digit for items that share a tuple |
//! | `second_best`, `sinkhorn` | items of a shared tuple move to other codes |
//! | `table` | IDs of a file |
//! | `fixed_length` | IDs of another identifier, filled up to one length |
//! | `atomic`, `random_id` | IDs that know nothing of the item |
//! | `sequential`, `collaborative` | IDs of training histories |
//! | `taxonomy` | IDs of categories |
//! | `text` | IDs of titles, keywords and addresses |
//! | `code_set` | codes as an unordered set |
//! | `hybrid` | IDs of several identifiers, one behind the other |
//!
//! `extend` adds items to a finished table, `merge` joins tables of several domains, `users` gives IDs
//! to users. `ids` has IDs of any length before they are a table, `places` the IDs that are taken.

mod atomic;
mod code_set;
mod collaborative;
mod extend;
mod fixed_length;
mod hybrid;
mod ids;
mod merge;
mod ordinal;
mod places;
mod popularity;
mod random_id;
mod register;
mod second_best;
mod sequential;
mod sinkhorn;
mod table;
mod taxonomy;
mod text;
mod tolerate;
mod users;

pub use atomic::{Atomic, AtomicOptions};
pub use code_set::{CodeSet, CodeSetOptions, SharedSet};
pub use collaborative::{Collaborative, CollaborativeOptions, Numbering};
pub use extend::{NewItems, extend};
pub use fixed_length::{FixedLength, FixedLengthOptions, fill_up};
pub use hybrid::{Hybrid, HybridOptions};
pub use merge::{DomainRule, Merged, merge};
pub use ordinal::{Ordinal, OrdinalOptions, OrdinalStart};
pub use popularity::{Popularity, PopularityOptions};
pub use random_id::{RandomId, RandomIdOptions};
pub use register::register;
pub use second_best::{Keep, SecondBest, SecondBestOptions};
pub use sequential::{Sequential, SequentialOptions, UserOrder};
pub use sinkhorn::{Leftover, Sinkhorn, SinkhornOptions};
pub use table::{Table, TableOptions};
pub use taxonomy::{Taxonomy, TaxonomyOptions};
pub use text::{SharedText, Text, TextForm, TextIds, TextOptions, TextSource};
pub use tolerate::{Tolerate, TolerateOptions};
pub use users::{UserInput, UserSids};

use ids::Ids;
use rayon::prelude::*;
use sidereal_core::{Code, CodeOrder, Codes, Error, ItemId, Matrix, Quantized, Result, SidTable};

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

/// The codes with a digit behind each row, [`Codes::NONE`] for rows without one. Where rows differ
/// in depth, a tuple that another one begins with gets an end code first, so that digits cannot be
/// taken for deeper codes.
fn append(codes: &Codes, digits: &[Code]) -> Result<Codes> {
    let mut ids = Ids::from_codes(codes);
    ids.end_tokens();
    let mut out = Ids::new();
    for (id, &digit) in ids.iter().zip(digits) {
        out.extend(id.iter().copied().chain((digit != Codes::NONE).then_some(digit)));
    }
    out.to_codes()
}

/// Rows whose vectors are looked at together.
const CHUNK: usize = 4096;

/// Squared distances of the listed rows to the codes of `level`, shape `rows.len() x K_level`, given
/// the codes `now` (`N x L`, flat) of the levels before.
fn distances(from: &Quantized<'_>, rows: &[u32], now: &[Code], level: usize) -> Result<Matrix> {
    let (dim, levels) = (from.vectors.cols(), from.codes.levels());
    let mut vectors = Matrix::zeros(rows.len(), dim);
    let mut codes = Vec::with_capacity(rows.len() * levels);
    for (i, &row) in rows.iter().enumerate() {
        vectors.row_mut(i).copy_from_slice(from.vectors.row(row as usize));
        codes.extend_from_slice(&now[row as usize * levels..(row as usize + 1) * levels]);
    }
    let codes = Codes::new(rows.len(), levels, codes)?;
    from.codebook.distances(vectors.view(), &codes, level)?.ok_or_else(|| {
        Error::mismatch(
            "this identifier moves items to other codes, but the codes of this quantizer have no \
             distances; choose another quantizer, or the identifier `ordinal` or `popularity`",
        )
    })
}

/// Refuses codes that an identifier which looks for other codes cannot take: rows that differ in
/// depth, and codes that are not of the vectors.
fn check_moves(from: &Quantized<'_>) -> Result<()> {
    let (codes, widths) = (from.codes, from.codebook.widths());
    if from.vectors.rows() != codes.rows() || widths.len() != codes.levels() {
        return Err(Error::mismatch(format!(
            "{} rows of {} codes for {} vectors and a codebook of {} levels",
            codes.rows(),
            codes.levels(),
            from.vectors.rows(),
            widths.len()
        )));
    }
    let known = |row: &[Code]| row.iter().zip(widths).all(|(c, w)| c < w);
    match (0..codes.rows()).find(|&i| !known(codes.row(i))) {
        None => Ok(()),
        Some(i) => Err(Error::mismatch(format!(
            "item {i} has the codes {:?}; this identifier needs one code a level, below {widths:?}",
            codes.row(i)
        ))),
    }
}
