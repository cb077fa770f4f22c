//! A column of the catalogue as class numbers: `N x 1`.
//!
//! Feeds side inputs of quantizers, as in `[side.domain]`. A path such as `Beauty > Makeup > Nails`
//! is cut after `level` more parts than the first (the whole path, where it is shorter), and of
//! several paths, joined by ` | `, the first counts. Two items have one class when what is left is
//! the same text, so `A > C` and `B > C` differ. Classes are numbered from 0 in the order of their
//! texts, whatever the order of items; items without a value are one more class, the last. Exact in
//! f32 up to 16,777,216 classes. Cost: `N` look-ups and a sort of the distinct texts.

use crate::check_range;
use crate::key;
use crate::rows::items_have;
use crate::text::column;
use sidereal_core::{EncoderInput, Error, Event, ItemEncoder, Matrix, Result, Run};
use std::collections::BTreeMap;

sidereal_core::options! {
    /// Options of `labels`.
    pub struct LabelsOptions {
        /// Column of the item table.
        pub column: String = "categories".to_string(),
        /// Depth at which paths are cut: 0 keeps their first part, 1 two parts, 0 to 1000.
        pub level: usize = 0,
    }
}

/// Class numbers of items.
#[derive(Debug, Clone)]
pub struct Labels {
    options: LabelsOptions,
}

/// Parts of a path, and several paths.
const PART: &str = " > ";
const PATHS: &str = " | ";

impl Labels {
    /// Checks the options.
    pub fn new(options: LabelsOptions) -> Result<Self> {
        check_range("level", options.level, 0, 1000)?;
        if options.column.is_empty() {
            return Err(Error::config(key("column"), "missing: name a column of the items"));
        }
        Ok(Labels { options })
    }

    /// What decides the class of an item with this value.
    fn cut<'a>(&self, value: &'a str) -> &'a str {
        let path = value.split(PATHS).next().unwrap_or_default().trim();
        match path.match_indices(PART).nth(self.options.level) {
            Some((end, _)) => path[..end].trim_end(),
            None => path,
        }
    }
}

impl ItemEncoder for Labels {
    fn encode(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Matrix> {
        run.check()?;
        let column = column(input.items, "column", &self.options.column)?;
        let mut classes: BTreeMap<&str, usize> = column.iter().map(|v| (self.cut(v), 0)).collect();
        let unknown = classes.remove("").is_some();
        classes.values_mut().enumerate().for_each(|(i, class)| *class = i);
        if classes.is_empty() {
            let name = &self.options.column;
            return Err(Error::input(format!("no item has a value in the column `{name}`")));
        }
        if unknown {
            classes.insert("", classes.len());
            let count = column.iter().filter(|v| self.cut(v).is_empty()).count();
            run.emit(Event::Warning(&format!(
                "labels: {} no `{}`; they are class {}",
                items_have(count),
                self.options.column,
                classes.len() - 1
            )));
        }
        run.emit(Event::Note(&format!("labels: {} classes", classes.len())));
        let class = |v| classes.get(self.cut(v)).map_or(0.0, |&c| c as f32);
        Matrix::new(input.items.len(), 1, column.iter().map(class).collect())
    }

    fn seeded(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::{ItemTable, Sequences};

    fn encode(values: &[&str], column: &str, level: usize) -> Result<Vec<f32>> {
        let items = ItemTable::new((0..values.len()).map(|i| i.to_string()).collect())
            .with_column("categories", values.iter().collect())
            .unwrap();
        let options = LabelsOptions { column: column.into(), level };
        let input = EncoderInput { items: &items, train: &Sequences::default() };
        Ok(Labels::new(options)?.encode(&input, &Run::quiet(0))?.into_data())
    }

    #[test]
    fn paths_are_cut_and_classes_follow_their_texts() {
        let values = ["B > X > Y", "A > X", "", "A > X > Z | B", "A", "B > X"];
        let at = |level| encode(&values, "categories", level).unwrap();
        assert_eq!(at(0), [1.0, 0.0, 2.0, 0.0, 0.0, 1.0]);
        assert_eq!(at(1), [2.0, 1.0, 3.0, 1.0, 0.0, 2.0]);
        assert_eq!(at(2), [4.0, 1.0, 5.0, 2.0, 0.0, 3.0]);
        assert_eq!(at(9), at(2));
        // Plain values are paths of one part.
        assert_eq!(encode(&["x y", "b", "x y"], "categories", 3).unwrap(), [1.0, 0.0, 1.0]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let message = |values: &[&str], column| encode(values, column, 0).unwrap_err().to_string();
        assert!(message(&["a"], "brand").contains("known: categories"));
        assert!(message(&["a"], "categoris").contains("did you mean `categories`"));
        assert!(message(&["", " "], "categories").contains("no item has a value"));
        assert!(message(&["a"], "").contains("encoder.column"));
    }
}
