//! New items in a finished table: old IDs stay as they are.
//!
//! New items take their nearest codes, and a policy says what happens where a tuple has an owner.
//! The items of the old table keep their numbers and IDs; the new ones follow, so a model, a trie and
//! histories stay valid for old items, and the table has another version. Cost
//! `O((N + M) L log N)`; `second-best` as [`super::SecondBest`] for the new items alone.

use super::places::Places;
use super::{Ids, SecondBest, by_codes, groups};
use sidereal_core::{Code, Error, ItemId, Quantized, Result, Run, SidTable};
use sidereal_nn::parallel::pool;

/// What happens to new items whose tuple has an owner, or that share one.
#[derive(Debug, Clone)]
pub enum NewItems {
    /// The tuple is the ID, and items share it.
    Share,
    /// The table ends in a digit that tells items of a tuple apart; new items get the next ones.
    Number,
    /// They move to the nearest free codes.
    Move(SecondBest),
}

/// `table` with M more items, whose codes, codebook and vectors are `new`; item `i` of them becomes
/// item `N + i`.
///
/// Errors: a table whose IDs are not as the policy needs them (as many codes as the codebook has
/// levels, one more for `Number`), what the policy refuses.
pub fn extend(
    table: &SidTable,
    new: &Quantized<'_>,
    policy: &NewItems,
    run: &Run<'_>,
) -> Result<SidTable> {
    let (codes, levels) = (new.codes, new.codes.levels());
    let want = levels + usize::from(matches!(policy, NewItems::Number));
    if let Some(r) = (0..table.n_rows()).find(|&r| table.sid(r).len() != want) {
        return Err(Error::mismatch(format!(
            "the ID {:?} of item {} has not {want} codes, which new items would have",
            table.sid(r),
            table.item(r).0
        )));
    }
    let mut ids = Ids::new();
    match policy {
        NewItems::Share => ids = Ids::from_codes(codes),
        NewItems::Number => {
            let mut digits = vec![0; codes.rows()];
            let order = by_codes(codes);
            for group in groups(codes, &order) {
                let first = next_digit(table, codes.row(group[0] as usize));
                (first..).zip(group).for_each(|(digit, &row)| digits[row as usize] = digit);
            }
            for (i, digit) in digits.into_iter().enumerate() {
                ids.extend(codes.row(i).iter().copied().chain([digit]));
            }
        }
        NewItems::Move(second_best) => {
            let widths = new.codebook.widths();
            let mut places = Places::new(widths);
            let mut before: &[Code] = &[];
            for &r in table.sorted_rows() {
                let sid = table.sid(r as usize);
                if sid.iter().zip(widths).any(|(c, w)| c >= w) {
                    return Err(Error::mismatch(format!(
                        "the ID {sid:?} of item {} is not of a codebook of {widths:?}",
                        table.item(r as usize).0
                    )));
                }
                if sid != before {
                    places.take_path(sid);
                }
                before = sid;
            }
            let moved = pool(run.threads)?
                .install(|| second_best.separate_beside(new, &[], places, run))?;
            ids = Ids::from_codes(&moved);
        }
    }
    let n = table.n_items();
    let old = (0..table.n_rows()).map(|r| (table.item(r), table.sid(r)));
    let more = ids.iter().enumerate().map(|(i, id)| (ItemId((n + i) as u32), id));
    SidTable::new(n + ids.len(), table.order(), old.chain(more))
}

/// The digit behind the largest one below a tuple.
fn next_digit(table: &SidTable, tuple: &[Code]) -> Code {
    let rows = table.sorted_rows();
    // IDs that begin with the tuple lie together; the last of them has the largest digit.
    let end = rows.partition_point(|&r| {
        let sid = table.sid(r as usize);
        sid[..sid.len().min(tuple.len())] <= *tuple
    });
    let last = end.checked_sub(1).map(|at| table.sid(rows[at] as usize));
    match last.and_then(|sid| sid.strip_prefix(tuple)) {
        Some([digit]) => digit.saturating_add(1),
        _ => 0,
    }
}
