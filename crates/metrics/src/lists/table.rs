//! Formats with one row an item: TREC runs and qrels, CSV, RecBole.

use super::rows::{csv_fields, each_line};
use super::{Names, UserLists, UserTruth};
use crate::Truth;
use sidereal_core::{Error, ItemId, RankedLists, Result};
use std::path::Path;

/// How fields stand in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// `user Q0 item rank score tag`
    Run,
    /// `user 0 item grade`
    Qrels,
    /// Header and commas.
    Csv,
    /// Header with types and tabs.
    RecBole,
}

/// What the number of a row means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Higher is earlier.
    Score,
    /// Lower is earlier.
    Rank,
    /// Above 0 is relevant.
    Gain,
    /// There is none.
    Nothing,
}

/// Places of the fields in a line.
#[derive(Debug, Clone, Copy)]
struct Columns {
    user: usize,
    item: usize,
    number: Option<usize>,
    meaning: Meaning,
    /// Number of fields.
    width: usize,
}

/// All rows of a file: users and items as numbers.
struct Rows {
    users: Names,
    rows: Vec<Row>,
    meaning: Meaning,
    unknown: Option<Unknown>,
    n_unknown: u64,
}

struct Row {
    user: u32,
    item: ItemId,
    number: f64,
}

/// The first item that the catalogue does not have.
struct Unknown {
    line: u64,
    name: String,
}

/// Which numbers a header may have: those of lists or of truth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Lists,
    Truth,
}

pub(super) fn lists(path: &Path, layout: Layout, items: &mut Names) -> Result<UserLists> {
    let mut read = read(path, layout, Of::Lists, items)?;
    match read.meaning {
        Meaning::Rank => {
            read.rows.sort_by(|a, b| a.user.cmp(&b.user).then(a.number.total_cmp(&b.number)))
        }
        _ => read.rows.sort_by(|a, b| {
            let order = a.user.cmp(&b.user).then(b.number.total_cmp(&a.number));
            match layout {
                Layout::Run => order.then_with(|| items.name(b.item).cmp(items.name(a.item))),
                _ => order,
            }
        }),
    }
    let (mut lists, mut rest) = (RankedLists::new(), &read.rows[..]);
    for user in 0..read.users.len() as u32 {
        let end = rest.partition_point(|r| r.user == user);
        lists.push(rest[..end].iter().map(|r| r.item));
        rest = &rest[end..];
    }
    Ok(UserLists { users: read.users.into_names(), lists, unknown: read.n_unknown })
}

pub(super) fn truth(path: &Path, layout: Layout, items: &mut Names) -> Result<UserTruth> {
    let mut read = read(path, layout, Of::Truth, items)?;
    if let Some(Unknown { line, name }) = read.unknown {
        let message = format!("relevant item `{name}` is not in the catalogue");
        return Err(Error::data_line(path, line, message));
    }
    read.rows.sort_by_key(|r| r.user);
    let mut made = UserTruth { users: Vec::new(), truth: Truth::new(), left_out: 0 };
    let mut rest = &read.rows[..];
    for (user, name) in read.users.into_names().into_iter().enumerate() {
        let end = rest.partition_point(|r| r.user == user as u32);
        let own = rest[..end].iter().filter(|r| r.number > 0.0);
        rest = &rest[end..];
        let targets: Vec<(ItemId, f32)> = own.map(|r| (r.item, r.number as f32)).collect();
        if targets.is_empty() {
            made.left_out += 1;
            continue;
        }
        match read.meaning {
            Meaning::Gain => made.truth.push_graded(&targets)?,
            _ => made.truth.push(&targets.iter().map(|t| t.0).collect::<Vec<_>>())?,
        }
        made.users.push(name);
    }
    Ok(made)
}

fn read(path: &Path, layout: Layout, of: Of, items: &mut Names) -> Result<Rows> {
    let fixed = |number, meaning, width| {
        Some(Columns { user: 0, item: 2, number: Some(number), meaning, width })
    };
    let mut columns = match layout {
        Layout::Run => fixed(4, Meaning::Score, 6),
        Layout::Qrels => fixed(3, Meaning::Gain, 4),
        Layout::Csv | Layout::RecBole => None,
    };
    let mut out = Rows {
        users: Names::new(),
        rows: Vec::new(),
        meaning: Meaning::Nothing,
        unknown: None,
        n_unknown: 0,
    };
    each_line(path, |line, text| {
        let at = |message: String| Error::data_line(path, line, message);
        let csv;
        let fields: Vec<&str> = match layout {
            Layout::Run | Layout::Qrels => text.split_whitespace().collect(),
            Layout::RecBole => text.split('\t').collect(),
            Layout::Csv => {
                csv = csv_fields(text).ok_or_else(|| at("a quote does not end".into()))?;
                csv.iter().map(String::as_str).collect()
            }
        };
        let Some(columns) = columns else {
            columns = Some(header(&fields, of).map_err(at)?);
            return Ok(());
        };
        out.meaning = columns.meaning;
        if fields.len() != columns.width {
            return Err(at(format!("{} fields, expected {}", fields.len(), columns.width)));
        }
        let number = match columns.number {
            None => 1.0,
            Some(column) => {
                let text = fields[column].trim();
                let number: f64 =
                    text.parse().ok().filter(|n: &f64| n.is_finite()).ok_or_else(|| {
                        at(format!("`{text}` in field {}, expected a number", column + 1))
                    })?;
                // -0.0 and 0.0 are one score; trec_eval reads scores in 32 bits, and what is equal
                // there is a tie.
                match layout {
                    Layout::Run => f64::from(number as f32) + 0.0,
                    _ => number + 0.0,
                }
            }
        };
        let (user, item) = (fields[columns.user], fields[columns.item]);
        let user = out.users.number(user).ok_or_else(|| at(format!("user `{user}`")))?;
        match items.number(item) {
            Some(item) => out.rows.push(Row { user, item: ItemId(item), number }),
            None => {
                out.n_unknown += 1;
                out.unknown.get_or_insert(Unknown { line, name: item.to_string() });
            }
        }
        Ok(())
    })?;
    if out.users.is_empty() {
        return Err(Error::data(path, "the file has no rows"));
    }
    Ok(out)
}

/// Columns by their names, types behind `:` taken off.
fn header(fields: &[&str], of: Of) -> std::result::Result<Columns, String> {
    let names: Vec<&str> = fields.iter().map(|f| f.split(':').next().unwrap_or(f).trim()).collect();
    let find = |wanted: &[&str]| names.iter().position(|n| wanted.contains(n));
    let needed = |wanted: &[&str]| {
        find(wanted).ok_or_else(|| {
            format!("the header has no column `{}`: it has {}", wanted[0], names.join(", "))
        })
    };
    let (user, item) = (needed(&["user", "user_id"])?, needed(&["item", "item_id"])?);
    let candidates: &[(&[&str], Meaning)] = match of {
        Of::Lists => &[(&["rank"], Meaning::Rank), (&["score"], Meaning::Score)],
        Of::Truth => &[(&["gain", "relevance"], Meaning::Gain)],
    };
    let number = candidates.iter().find_map(|(names, meaning)| Some((find(names)?, *meaning)));
    let (number, meaning) = match number {
        Some((number, meaning)) => (Some(number), meaning),
        None => (None, Meaning::Nothing),
    };
    Ok(Columns { user, item, number, meaning, width: fields.len() })
}
