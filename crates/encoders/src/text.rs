//! The text of an item: chosen columns joined by `. `, empty ones left out.

use crate::key;
use sidereal_core::component::nearest;
use sidereal_core::{Error, ItemTable, Result, StringColumn};

/// Columns that make up the text unless `fields` says otherwise; those that exist are used.
pub const DEFAULT_FIELDS: [&str; 5] = ["title", "brand", "categories", "genres", "description"];

/// [`DEFAULT_FIELDS`] as an option's default.
pub fn default_fields() -> Vec<String> {
    DEFAULT_FIELDS.iter().map(|f| f.to_string()).collect()
}

/// Text of every item of a catalogue.
#[derive(Debug, Clone)]
pub struct ItemText<'a> {
    columns: Vec<&'a StringColumn>,
}

impl<'a> ItemText<'a> {
    /// Picks the columns. A field of [`DEFAULT_FIELDS`] may be missing; any other must exist, and
    /// at least one field must.
    pub fn new(items: &'a ItemTable, fields: &[String]) -> Result<Self> {
        let mut columns = Vec::with_capacity(fields.len());
        for (i, field) in fields.iter().enumerate() {
            if fields[..i].contains(field) {
                return Err(Error::config(key("fields"), format!("`{field}` stands there twice")));
            }
            match items.column(field) {
                Some(column) => columns.push(column),
                None if DEFAULT_FIELDS.contains(&field.as_str()) => {}
                None => columns.push(column(items, "fields", field)?),
            }
        }
        if columns.is_empty() {
            return Err(Error::config(
                key("fields"),
                format!("items have none of the columns {fields:?}; {}", known(items)),
            ));
        }
        Ok(ItemText { columns })
    }

    /// Replaces `out` with the text of item `i`; empty when the item has none.
    pub fn write(&self, i: usize, out: &mut String) {
        out.clear();
        for column in &self.columns {
            let part = column.get(i).trim();
            if part.is_empty() {
                continue;
            }
            if !out.is_empty() {
                out.push_str(". ");
            }
            out.push_str(part);
        }
    }

    /// The text of item `i`.
    pub fn get(&self, i: usize) -> String {
        let mut out = String::new();
        self.write(i, &mut out);
        out
    }
}

/// A column by name; `option` is the one that names it.
///
/// Errors: there is none of that name.
pub(crate) fn column<'a>(
    items: &'a ItemTable,
    option: &str,
    name: &str,
) -> Result<&'a StringColumn> {
    items.column(name).ok_or_else(|| {
        let hint = nearest(name, items.column_names())
            .map(|n| format!(" (did you mean `{n}`?)"))
            .unwrap_or_default();
        let known = known(items);
        Error::config(key(option), format!("items have no column `{name}`{hint}; {known}"))
    })
}

fn known(items: &ItemTable) -> String {
    let names: Vec<_> = items.column_names().collect();
    if names.is_empty() {
        "they have no text column at all; use an encoder that needs no text".into()
    } else {
        format!("known: {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> ItemTable {
        ItemTable::new(["a", "b", "c"].iter().collect())
            .with_column("title", ["Red  ", "", " "].iter().collect())
            .unwrap()
            .with_column("keywords", ["x y", "z", ""].iter().collect())
            .unwrap()
    }

    fn fields(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| n.to_string()).collect()
    }

    #[test]
    fn joins_what_is_there() {
        let items = items();
        let text = ItemText::new(&items, &fields(&["title", "brand", "keywords"])).unwrap();
        assert_eq!([text.get(0), text.get(1), text.get(2)], ["Red. x y", "z", ""]);
    }

    #[test]
    fn wrong_fields_are_named() {
        let items = items();
        let message = |f: &[&str]| ItemText::new(&items, &fields(f)).unwrap_err().to_string();
        assert!(message(&["titel"]).contains("did you mean `title`"));
        assert!(message(&["brand"]).contains("known: keywords, title"));
        assert!(message(&[]).contains("encoder.fields"));
        assert!(message(&["title", "title"]).contains("twice"));
        let bare = ItemTable::new(["a"].iter().collect());
        let err = ItemText::new(&bare, &default_fields()).unwrap_err().to_string();
        assert!(err.contains("no text column at all"), "{err}");
    }
}
