//! Ranked lists and relevant items from files, of this and of other programs.
//!
//! | format | lists | relevant items |
//! |---|---|---|
//! | [`Format::Trec`] | run: `user Q0 item rank score tag`, by score in 32 bits, ties to the larger item name, both as in trec_eval; ranks are not read | qrels: `user 0 item grade`; grades above 0 are gains |
//! | [`Format::Csv`] | header with `user`, `item` and maybe `rank` or `score`; else file order | `user`, `item`, maybe `gain` |
//! | [`Format::RecBole`] | tab-separated, header `user_id:token item_id:token score:float` (an atomic file) | the same header; `rating:float`, where there is one, is ignored |
//! | [`Format::MiniOneRec`] | JSON array of objects, `predict` holds the list | `output` is the target; rows are users |
//!
//! Items are numbered by [`Names`], which lists and truth share. Names that a fixed catalogue does
//! not have are left out of lists and counted, and are an error in the truth; without a fixed
//! catalogue every name is an item, so that an invented one keeps its place. Files may be compressed
//! with gzip, whatever their name. Errors name file and line (or row).

mod json;
mod names;
mod rows;
mod table;

pub use names::Names;

use crate::Truth;
use sidereal_core::{Error, ItemId, RankedLists, Result};
use std::collections::HashMap;
use std::path::Path;

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TREC run or qrels.
    Trec,
    /// Comma-separated with a header.
    Csv,
    /// RecBole's atomic files.
    RecBole,
    /// MiniOneRec's result file.
    MiniOneRec,
}

impl Format {
    /// The format of a file by its ending (before `.gz`) and, for other endings than `.json` and
    /// `.csv`, its first line. Fails when the file cannot be read.
    pub fn of(path: &Path) -> Result<Self> {
        let ending = |p: &Path| p.extension().map(|e| e.to_string_lossy().to_lowercase());
        let ending = match ending(path) {
            Some(gz) if gz == "gz" => ending(&path.with_extension("")),
            other => other,
        };
        Ok(match ending.as_deref() {
            Some("json") => Format::MiniOneRec,
            Some("csv") => Format::Csv,
            _ if rows::first_line(path)?.contains(":token") => Format::RecBole,
            _ => Format::Trec,
        })
    }
}

/// Lists of named users.
#[derive(Debug, Clone, PartialEq)]
pub struct UserLists {
    /// User of each list, in the order of their first rows.
    pub users: Vec<String>,
    /// The lists.
    pub lists: RankedLists,
    /// Rows whose item the catalogue does not have.
    pub unknown: u64,
}

/// Relevant items of named users.
#[derive(Debug, Clone, PartialEq)]
pub struct UserTruth {
    /// User of each target set.
    pub users: Vec<String>,
    /// The target sets, with gains where the file has them.
    pub truth: Truth,
    /// Users with rows but without a relevant item.
    pub left_out: u64,
}

/// Lists beside the truth of the same users.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    /// Users in the order of the truth.
    pub users: Vec<String>,
    /// A list for each, empty for users without one.
    pub lists: RankedLists,
    /// What is relevant for each.
    pub truth: Truth,
    /// Users whose list is missing and counts as empty.
    pub without_list: u64,
    /// Users with a list but no truth, which are left out.
    pub without_truth: u64,
}

/// Reads ranked lists. Fails on what the format does not allow.
pub fn read_lists(path: &Path, format: Format, items: &mut Names) -> Result<UserLists> {
    match format {
        Format::MiniOneRec => json::lists(path, items),
        Format::Trec => table::lists(path, table::Layout::Run, items),
        Format::Csv => table::lists(path, table::Layout::Csv, items),
        Format::RecBole => table::lists(path, table::Layout::RecBole, items),
    }
}

/// Reads relevant items. Fails on what the format does not allow, on an item outside a fixed
/// catalogue and when no user has a relevant item.
pub fn read_truth(path: &Path, format: Format, items: &mut Names) -> Result<UserTruth> {
    let made = match format {
        Format::MiniOneRec => json::truth(path, items),
        Format::Trec => table::truth(path, table::Layout::Qrels, items),
        Format::Csv => table::truth(path, table::Layout::Csv, items),
        Format::RecBole => table::truth(path, table::Layout::RecBole, items),
    }?;
    if made.truth.is_empty() {
        return Err(Error::data(path, "no user has a relevant item"));
    }
    Ok(made)
}

/// Sets lists beside the truth, in the order of the truth.
pub fn join(lists: &UserLists, truth: UserTruth) -> Joined {
    let of: HashMap<&str, usize> =
        lists.users.iter().enumerate().map(|(i, user)| (user.as_str(), i)).collect();
    let (mut ranked, mut without_list) = (RankedLists::new(), 0);
    for user in &truth.users {
        match of.get(user.as_str()) {
            Some(&list) => ranked.push(lists.lists.get(list).iter().copied()),
            None => {
                ranked.push(std::iter::empty::<ItemId>());
                without_list += 1;
            }
        }
    }
    let used = truth.users.len() as u64 - without_list;
    Joined {
        users: truth.users,
        lists: ranked,
        truth: truth.truth,
        without_list,
        without_truth: lists.users.len() as u64 - used,
    }
}
