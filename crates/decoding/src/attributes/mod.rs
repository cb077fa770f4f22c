//! Business filters: which items a condition on their attributes leaves, as an [`ItemSet`] for
//! [`Request::among`](sidereal_core::Request).
//!
//! ```
//! use sidereal_core::{ItemTable, Result};
//! use sidereal_decoding::attributes::{Attributes, Filter};
//!
//! # fn main() -> Result<()> {
//! let items = ItemTable::new(["a", "b", "c"].into_iter().collect())
//!     .with_column("brand", ["Ada", "Ada", "Bo"].into_iter().collect())?
//!     .with_column("price", ["12.50", "30", ""].into_iter().collect())?;
//! let attributes = Attributes::new(&items)?;
//! let set = attributes.items(&Filter::parse(r#"brand = "Ada" and price < 20"#)?)?;
//! assert_eq!(set.iter().map(|i| i.0).collect::<Vec<_>>(), [0]);
//! # Ok(())
//! # }
//! ```
//!
//! Rules where there is a choice:
//! * Text compares byte for byte. An empty string means that the item has no value; no comparison
//!   but `= ""` holds for it, so `brand != "Ada"` leaves it out and `not brand = "Ada"` does not.
//! * A value is a number when it reads as a finite one, after `$`, `€` or `£` if one stands before
//!   it. Comparisons with numbers hold for such values only.
//! * An item of the column `categories` has as its values every path, every beginning of one and
//!   every part (`Beauty > Hair | Gifts` has `Beauty`, `Beauty > Hair`, `Hair`, `Gifts`). Then
//!   `!=` holds where none of them is equal.
//!
//! Memory: 4 bytes and the text once for each value of an item, 12 bytes for each number.

mod column;
mod filter;
mod parse;

pub use filter::{Bound, Filter, Range, Value};

use column::Column;
use sidereal_core::{Error, ItemSet, ItemTable, Result, component};
use std::collections::BTreeMap;

/// Values of all items, by column and value.
#[derive(Debug, Clone)]
pub struct Attributes {
    n_items: usize,
    columns: BTreeMap<String, Column>,
}

impl Attributes {
    /// Indexes all columns of a catalogue.
    ///
    /// Errors: more than 2^32 - 1 values in a column.
    pub fn new(items: &ItemTable) -> Result<Self> {
        Attributes::of(items, items.column_names())
    }

    /// Indexes the columns named.
    ///
    /// Errors: a column that the catalogue does not have, more than 2^32 - 1 values in one.
    pub fn of<'a>(items: &ItemTable, names: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut columns = BTreeMap::new();
        for name in names {
            let texts = items.column(name).ok_or_else(|| unknown(name, items.column_names()))?;
            columns.insert(name.to_string(), Column::new(name, texts)?);
        }
        Ok(Attributes { n_items: items.len(), columns })
    }

    /// Names of the columns, sorted.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    /// Number of items N of the catalogue.
    pub fn n_items(&self) -> usize {
        self.n_items
    }

    /// Items for which a filter holds. Costs the items found and N / 64 words an operator.
    ///
    /// Errors: a column that is not indexed, a comparison with a number where a column has none.
    pub fn items(&self, filter: &Filter) -> Result<ItemSet> {
        match filter {
            Filter::AnyOf { column, values } => {
                let column = self.column(column)?;
                let mut set = ItemSet::none(self.n_items);
                values.iter().try_for_each(|value| column.equal(value, &mut set))?;
                Ok(set)
            }
            Filter::NoneOf { column, values } => {
                let any = Filter::AnyOf { column: column.clone(), values: values.clone() };
                let empty = Filter::equal(column, Value::Text(String::new()));
                Ok(self.items(&any)?.or(&self.items(&empty)?)?.not())
            }
            Filter::Within { column, range } => {
                let mut set = ItemSet::none(self.n_items);
                self.column(column)?.within(column, range, &mut set)?;
                Ok(set)
            }
            Filter::Not(inner) => Ok(self.items(inner)?.not()),
            Filter::And(parts) => parts
                .iter()
                .try_fold(ItemSet::all(self.n_items), |set, part| set.and(&self.items(part)?)),
            Filter::Or(parts) => parts
                .iter()
                .try_fold(ItemSet::none(self.n_items), |set, part| set.or(&self.items(part)?)),
        }
    }

    fn column(&self, name: &str) -> Result<&Column> {
        self.columns.get(name).ok_or_else(|| unknown(name, self.columns()))
    }
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<String> = known.map(str::to_string).collect();
    let nearest = component::nearest(name, known.iter().map(String::as_str));
    Error::UnknownName { kind: "attribute".into(), name: name.into(), known, nearest }
}

#[cfg(test)]
mod tests;
