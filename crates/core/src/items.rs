//! The catalogue as columns of strings.

use crate::{Error, ItemId, Result};
use std::collections::BTreeMap;

/// Strings in one buffer: string `i` is `bytes[offsets[i]..offsets[i + 1]]`. An empty string
/// means that the item has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StringColumn {
    offsets: Vec<u64>,
    bytes: String,
}

impl Default for StringColumn {
    fn default() -> Self {
        StringColumn { offsets: vec![0], bytes: String::new() }
    }
}

impl StringColumn {
    /// Appends a value.
    pub fn push(&mut self, value: &str) {
        self.bytes.push_str(value);
        self.offsets.push(self.bytes.len() as u64);
    }

    /// Value `i`.
    pub fn get(&self, i: usize) -> &str {
        &self.bytes[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All values in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|i| self.get(i))
    }
}

impl<S: AsRef<str>> FromIterator<S> for StringColumn {
    fn from_iter<I: IntoIterator<Item = S>>(iter: I) -> Self {
        let mut column = StringColumn::default();
        for s in iter {
            column.push(s.as_ref());
        }
        column
    }
}

/// The catalogue: source ids and named text columns, one row an item.
///
/// Conventional columns: `title`, `description`, `brand`, `categories` (path from the root, parts
/// joined by ` > `, several paths by ` | `).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemTable {
    ids: StringColumn,
    columns: BTreeMap<String, StringColumn>,
}

impl ItemTable {
    /// A catalogue with the given source ids and no text.
    pub fn new(ids: StringColumn) -> Self {
        ItemTable { ids, columns: BTreeMap::new() }
    }

    /// Adds or replaces a column; it must have one value an item.
    pub fn with_column(mut self, name: &str, values: StringColumn) -> Result<Self> {
        if values.len() != self.len() {
            return Err(Error::mismatch(format!(
                "column `{name}` has {} values for {} items",
                values.len(),
                self.len()
            )));
        }
        self.columns.insert(name.to_string(), values);
        Ok(self)
    }

    /// Number of items N.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item's id in the source data.
    pub fn id(&self, item: ItemId) -> &str {
        self.ids.get(item.index())
    }

    /// All source ids in item order.
    pub fn ids(&self) -> &StringColumn {
        &self.ids
    }

    /// A column by name.
    pub fn column(&self, name: &str) -> Option<&StringColumn> {
        self.columns.get(name)
    }

    /// Names of the columns, sorted.
    pub fn column_names(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    /// The item's title, or its source id where it has none.
    pub fn title(&self, item: ItemId) -> &str {
        match self.column("title").map(|c| c.get(item.index())) {
            Some(t) if !t.is_empty() => t,
            _ => self.id(item),
        }
    }
}
