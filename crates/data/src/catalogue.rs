//! Texts of items, gathered from metadata in whatever order they come.

use crate::read::fields::{Format, Records, text};
use crate::read::lines::Lines;
use crate::sink::Wanted;
use serde_json::Value;
use sidereal_core::{Error, ItemTable, Result, Run, StringColumn};
use std::collections::BTreeMap;
use std::path::Path;

/// Columns of text with one row for each described item, in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    rows: usize,
    columns: BTreeMap<String, StringColumn>,
}

impl Texts {
    /// Sets a value of the row under construction; the first value of a column stays.
    pub(crate) fn set(&mut self, column: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        if !self.columns.contains_key(column) {
            self.columns.insert(column.to_string(), StringColumn::default());
        }
        if let Some(c) = self.columns.get_mut(column) {
            while c.len() < self.rows {
                c.push("");
            }
            if c.len() == self.rows {
                c.push(value);
            }
        }
    }

    /// Ends the row and gives its number.
    pub(crate) fn end_row(&mut self) -> u32 {
        self.rows += 1;
        (self.rows - 1) as u32
    }

    /// The catalogue `ids`, item `i` described by row `row_of[i]` (`u32::MAX`: by none).
    pub(crate) fn table(mut self, ids: StringColumn, row_of: &[u32]) -> Result<ItemTable> {
        let mut table = ItemTable::new(ids);
        for (name, mut column) in std::mem::take(&mut self.columns) {
            while column.len() < self.rows {
                column.push("");
            }
            let in_order = row_of.len() == self.rows
                && row_of.iter().enumerate().all(|(i, &r)| i == r as usize);
            let column = if in_order {
                column
            } else {
                row_of
                    .iter()
                    .map(|&r| if r == u32::MAX { "" } else { column.get(r as usize) })
                    .collect()
            };
            table = table.with_column(&name, column)?;
        }
        Ok(table)
    }
}

/// A JSON value as one text: paths of categories joined by ` > ` and ` | `, paragraphs by a
/// blank, numbers by a blank; `None` for objects and for nothing.
pub(crate) fn flatten(column: &str, value: &Value) -> Option<String> {
    let join = |list: &[Value], by: &str| {
        let parts: Vec<String> = list.iter().filter_map(|v| flatten("", v)).collect();
        (!parts.is_empty()).then(|| parts.join(by))
    };
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        Value::Null | Value::Object(_) => None,
        Value::Array(list) if list.iter().any(Value::is_array) => {
            let paths: Vec<String> = list
                .iter()
                .filter_map(|path| match path {
                    Value::Array(parts) => join(parts, " > "),
                    other => flatten("", other),
                })
                .collect();
            (!paths.is_empty()).then(|| paths.join(" | "))
        }
        Value::Array(list) if column == "categories" => join(list, " > "),
        Value::Array(list) if list.iter().all(Value::is_number) => join(list, " "),
        Value::Array(list) if matches!(column, "description" | "features" | "text") => {
            join(list, " ")
        }
        Value::Array(list) => join(list, " | "),
    }
}

/// Names that mean a conventional column, in lower case.
fn conventional(name: &str) -> &str {
    match name {
        "movie_title" | "name" | "item_name" | "product_title" => "title",
        "category" | "genres" | "genre" | "class" => "categories",
        "store" => "brand",
        "feature" => "features",
        other => other,
    }
}

/// The column that `name` goes to: its conventional one, unless that stands there too.
pub(crate) fn column_of(name: &str, has: impl Fn(&str) -> bool) -> &str {
    let usual = conventional(name);
    if usual != name && has(usual) { name } else { usual }
}

/// Reads the texts of wanted items from a JSON-lines file or a delimited file with a header.
/// `key` is the column of the item's id; `None` looks for the usual names.
pub(crate) fn load_items(
    path: &Path,
    key: Option<&str>,
    separator: Option<&str>,
    wanted: &Wanted,
    run: &Run<'_>,
) -> Result<ItemTable> {
    let mut lines = Lines::open(path, run)?;
    let json = match separator {
        Some(_) => false,
        None => lines.peek()?.is_some_and(|l| l.trim_ascii_start().starts_with(b"{")),
    };
    if json { from_json(lines, key, wanted) } else { from_table(lines, key, separator, wanted) }
}

const KEYS: [&str; 9] =
    ["item", "item_id", "itemId", "itemID", "asin", "parent_asin", "movieId", "movie_id", "id"];

fn from_json(mut lines: Lines<'_>, key: Option<&str>, wanted: &Wanted) -> Result<ItemTable> {
    let path = lines.path().to_path_buf();
    let mut texts = Texts::default();
    let mut row_of = vec![u32::MAX; wanted.len()];
    let mut first = None;
    while let Some(line) = lines.next()? {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let parsed = serde_json::from_slice::<serde_json::Map<String, Value>>(line);
        let number = lines.number();
        let object = parsed
            .map_err(|e| Error::data_line(&path, number, format!("not a JSON object ({e})")))?;
        let name = match &first {
            Some(name) => name,
            None => {
                let found = match key {
                    Some(k) => object.contains_key(k).then(|| k.to_string()),
                    None => KEYS.iter().find(|k| object.contains_key(**k)).map(|k| k.to_string()),
                };
                first.insert(found.ok_or_else(|| {
                    Error::data_line(&path, number, "no key with the item's id; name it")
                })?)
            }
        };
        let Some(id) = object.get(name).and_then(|v| flatten("", v)) else {
            return Err(Error::data_line(&path, number, format!("no item id under `{name}`")));
        };
        let Some(item) = wanted.lookup(id.as_bytes()) else { continue };
        if row_of[item as usize] != u32::MAX {
            continue;
        }
        for (k, v) in &object {
            if k != name
                && let column = column_of(k, |c| object.contains_key(c))
                && let Some(value) = flatten(column, v)
            {
                texts.set(column, &value);
            }
        }
        row_of[item as usize] = texts.end_row();
    }
    texts.table(wanted.ids(), &row_of)
}

fn from_table(
    mut lines: Lines<'_>,
    key: Option<&str>,
    separator: Option<&str>,
    wanted: &Wanted,
) -> Result<ItemTable> {
    let path = lines.path().to_path_buf();
    let separator = match separator {
        Some(s) => s.to_string(),
        None => guess_separator(lines.peek()?.unwrap_or_default()).to_string(),
    };
    let quotes = separator == ",";
    let mut records = Records::new(lines, Format::new(&separator, quotes));
    let header = match records.next()? {
        Some(h) => h.texts(),
        None => return Err(Error::data(&path, "expected a header line")),
    };
    // Typed headers write `name:type`.
    let header: Vec<String> =
        header.iter().map(|h| h.split(':').next().unwrap_or(h).trim().to_string()).collect();
    let at = match key {
        Some(k) => header.iter().position(|h| h == k),
        None => KEYS.iter().find_map(|k| header.iter().position(|h| h == k)),
    };
    let at = at.ok_or_else(|| {
        Error::data_line(
            &path,
            1,
            format!("no column with the item's id; the header has: {}", header.join(", ")),
        )
    })?;
    let mut texts = Texts::default();
    let mut row_of = vec![u32::MAX; wanted.len()];
    while let Some(record) = records.next()? {
        let Some(item) = wanted.lookup(&record.get(at)) else { continue };
        if row_of[item as usize] != u32::MAX {
            continue;
        }
        for (i, name) in header.iter().enumerate().filter(|(i, _)| *i != at) {
            let column = column_of(name, |c| header.iter().any(|h| h == c));
            texts.set(column, &text(&record.get(i)));
        }
        row_of[item as usize] = texts.end_row();
    }
    texts.table(wanted.ids(), &row_of)
}

/// The separator that a header most likely uses.
pub(crate) fn guess_separator(header: &[u8]) -> &'static str {
    let count = |b: u8| memchr::memchr_iter(b, header).count();
    [("\t", count(b'\t')), (",", count(b',')), ("|", count(b'|')), (";", count(b';'))]
        .into_iter()
        .rev()
        .max_by_key(|(_, n)| *n)
        .map_or("\t", |(s, _)| s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_become_one_text() {
        let case = |column: &str, v: Value| flatten(column, &v);
        let paths = json!([["Beauty", "Hair"], ["Gifts"]]);
        assert_eq!(case("categories", paths).unwrap(), "Beauty > Hair | Gifts");
        assert_eq!(case("categories", json!(["A", "B"])).unwrap(), "A > B");
        assert_eq!(case("description", json!(["One.", "", "Two."])).unwrap(), "One.  Two.");
        assert_eq!(case("attributes", json!([1, 2])).unwrap(), "1 2");
        assert_eq!(case("tags", json!(["x", "y"])).unwrap(), "x | y");
        assert_eq!(case("cold", json!(true)).unwrap(), "true");
        assert_eq!(case("x", json!(null)), None);
        assert_eq!(case("x", json!([])), None);
        assert_eq!(case("categories", json!([[]])), None);
    }

    #[test]
    fn rows_in_any_order_with_gaps() {
        let mut texts = Texts::default();
        texts.set("title", "two");
        assert_eq!(texts.end_row(), 0);
        texts.set("brand", "acme");
        assert_eq!(texts.end_row(), 1);
        let ids = ["a", "b", "c"].iter().collect();
        let table = texts.table(ids, &[1, u32::MAX, 0]).unwrap();
        let column = |c: &str| table.column(c).unwrap().iter().collect::<Vec<_>>();
        assert_eq!(column("title"), ["", "", "two"]);
        assert_eq!(column("brand"), ["acme", "", ""]);
    }

    #[test]
    fn separators() {
        assert_eq!(guess_separator(b"a\tb,c\td"), "\t");
        assert_eq!(guess_separator(b"a,b"), ",");
        assert_eq!(guess_separator(b"a"), "\t");
    }
}
