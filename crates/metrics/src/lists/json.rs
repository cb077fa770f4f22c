//! MiniOneRec's result file: a JSON array with one object a request, `predict` (strings, best
//! first) and `output` (a string, or several).
//!
//! The layout is that of the writer (`evaluate.py`) and the reader (`calc.py`) in its repository;
//! no published file was at hand. Quotes and white space around an item are taken off, as there.
//! Rows have no user; they are numbered from 0.
//!
//! Two things are ours: several strings in `output` are all relevant (`calc.py` takes the first), and
//! of an item that a list holds twice the first place counts and the items behind move up (`calc.py`
//! counts places as they come, so where beams repeat an item our figures are the higher ones).

use super::{Names, UserLists, UserTruth};
use crate::Truth;
use serde_json::{Map, Value};
use sidereal_core::{Error, ItemId, RankedLists, Result};
use std::path::Path;

pub(super) fn lists(path: &Path, items: &mut Names) -> Result<UserLists> {
    let rows = rows(path)?;
    let (mut lists, mut unknown) = (RankedLists::new(), 0);
    for (r, row) in rows.iter().enumerate() {
        let mut list = Vec::new();
        for name in strings(path, r, row, "predict")? {
            match items.number(clean(name)) {
                Some(item) => list.push(ItemId(item)),
                None => unknown += 1,
            }
        }
        lists.push(list);
    }
    Ok(UserLists { users: users(rows.len()), lists, unknown })
}

pub(super) fn truth(path: &Path, items: &mut Names) -> Result<UserTruth> {
    let rows = rows(path)?;
    let mut truth = Truth::new();
    for (r, row) in rows.iter().enumerate() {
        let mut targets = Vec::new();
        for name in strings(path, r, row, "output")? {
            let name = clean(name);
            let item = items.number(name).ok_or_else(|| {
                Error::data(
                    path,
                    format!("row {r}: relevant item `{name}` is not in the catalogue"),
                )
            })?;
            targets.push(ItemId(item));
        }
        if targets.is_empty() {
            return Err(Error::data(path, format!("row {r}: `output` is empty")));
        }
        truth.push(&targets)?;
    }
    Ok(UserTruth { users: users(rows.len()), truth, left_out: 0 })
}

fn rows(path: &Path) -> Result<Vec<Map<String, Value>>> {
    let rows: Vec<Map<String, Value>> =
        serde_json::from_reader(super::rows::open(path)?).map_err(|e| {
            if e.is_io() {
                return Error::read(path, e.into());
            }
            Error::data_line(path, e.line() as u64, format!("expected an array of objects: {e}"))
        })?;
    if rows.is_empty() {
        return Err(Error::data(path, "the file has no rows"));
    }
    Ok(rows)
}

fn users(n: usize) -> Vec<String> {
    (0..n).map(|r| r.to_string()).collect()
}

/// The string, or the strings, under a key.
fn strings<'a>(
    path: &Path,
    row: usize,
    object: &'a Map<String, Value>,
    key: &str,
) -> Result<Vec<&'a str>> {
    let wrong = |found: &str| {
        Error::data(path, format!("row {row}: `{key}` {found}, expected a string or strings"))
    };
    let each = |v: &'a Value| v.as_str().ok_or_else(|| wrong(&format!("holds {v}")));
    match object.get(key) {
        None => Err(wrong("is missing")),
        Some(Value::Array(values)) => values.iter().map(each).collect(),
        Some(one) => Ok(vec![each(one)?]),
    }
}

fn clean(name: &str) -> &str {
    name.trim_matches(|c: char| c == '"' || c.is_whitespace())
}
