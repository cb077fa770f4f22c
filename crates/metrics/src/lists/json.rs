//! MiniOneRec's result file: a JSON array with one object a request, `predict` (strings, best
//! first) and `output` (a string, or several).
//!
//! The layout is from memory of its repository, not checked against a published file.
//!
//! Blanks, line breaks and one pair of quotes around an item are taken off, as its evaluation does.
//! Rows have no user; they are numbered from 0.

use super::{Names, UserLists, UserTruth};
use crate::Truth;
use serde_json::{Map, Value};
use sidereal_core::{Error, ItemId, RankedLists, Result};
use std::fs::File;
use std::io::BufReader;
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
    let file = BufReader::new(File::open(path).map_err(|e| Error::read(path, e))?);
    let rows: Vec<Map<String, Value>> = serde_json::from_reader(file).map_err(|e| {
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
    let name = name.trim();
    name.strip_prefix('"').and_then(|n| n.strip_suffix('"')).unwrap_or(name).trim()
}
