//! Categories of items as columns of class numbers.

use sidereal_core::{Error, ItemId, Result, StringColumn};
use std::collections::BTreeMap;

/// The set of classes of each of N items: item `i` owns `classes[offsets[i]..offsets[i + 1]]`,
/// ascending and distinct, maybe empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classes {
    offsets: Vec<u64>,
    classes: Vec<u32>,
    names: Vec<String>,
}

impl Classes {
    /// Takes names and the classes of each item. Fails when a class has no name.
    pub fn new<'a>(
        names: Vec<String>,
        of_items: impl IntoIterator<Item = &'a [u32]>,
    ) -> Result<Self> {
        let mut made = Classes { offsets: vec![0], classes: Vec::new(), names };
        for classes in of_items {
            if let Some(class) = classes.iter().find(|&&c| c as usize >= made.names.len()) {
                return Err(Error::mismatch(format!(
                    "item {} is in class {class}, but there are {}",
                    made.len(),
                    made.names.len()
                )));
            }
            made.push(classes.to_vec());
        }
        Ok(made)
    }

    /// Reads a column of categories: paths from the root with parts joined by ` > `, several paths
    /// joined by ` | `. Every node of a path is a class, named by the path to it; classes are
    /// numbered in the order of their names.
    pub fn of_column(column: &StringColumn) -> Self {
        let nodes = |text: &str, add: &mut dyn FnMut(&str)| {
            for path in text.split(" | ").filter(|p| !p.trim().is_empty()) {
                path.match_indices(" > ").for_each(|(end, _)| add(&path[..end]));
                add(path);
            }
        };
        let mut numbers = BTreeMap::new();
        for text in column.iter() {
            nodes(text, &mut |node| {
                if !numbers.contains_key(node) {
                    numbers.insert(node.to_string(), 0);
                }
            });
        }
        numbers.values_mut().enumerate().for_each(|(i, n)| *n = i as u32);
        let names = numbers.keys().cloned().collect();
        let mut made = Classes { offsets: vec![0], classes: Vec::new(), names };
        for text in column.iter() {
            let mut classes = Vec::new();
            nodes(text, &mut |node| classes.extend(numbers.get(node)));
            made.push(classes);
        }
        made
    }

    fn push(&mut self, mut classes: Vec<u32>) {
        classes.sort_unstable();
        classes.dedup();
        self.classes.append(&mut classes);
        self.offsets.push(self.classes.len() as u64);
    }

    /// Number of items N.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of the classes.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Classes of an item, ascending.
    pub fn of(&self, item: ItemId) -> &[u32] {
        let i = item.index();
        &self.classes[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }

    /// Jaccard distance 1 - |A and B| / |A or B| of the classes of two items; 1 where neither has
    /// one.
    pub fn distance(&self, a: ItemId, b: ItemId) -> f64 {
        let (a, b) = (self.of(a), self.of(b));
        let both = a.iter().filter(|c| b.binary_search(c).is_ok()).count();
        let either = a.len() + b.len() - both;
        if either == 0 { 1.0 } else { 1.0 - both as f64 / either as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_paths_are_classes() {
        let column: StringColumn =
            ["Beauty > Hair | Gifts", "", "Beauty > Skin", "Gifts | Gifts"].iter().collect();
        let classes = Classes::of_column(&column);
        assert_eq!(classes.names(), ["Beauty", "Beauty > Hair", "Beauty > Skin", "Gifts"]);
        let of = |i| classes.of(ItemId(i)).to_vec();
        assert_eq!([of(0), of(1), of(2), of(3)], [vec![0, 1, 3], vec![], vec![0, 2], vec![3]]);
        let distance = |a, b| classes.distance(ItemId(a), ItemId(b));
        assert_eq!([distance(0, 2), distance(0, 3)], [0.75, 1.0 - 1.0 / 3.0]);
        assert_eq!([distance(1, 1), distance(1, 2), distance(3, 3)], [1.0, 1.0, 0.0]);
        assert!(Classes::new(vec!["a".into()], [&[0, 1][..]]).is_err());
        assert!(Classes::of_column(&StringColumn::default()).is_empty());
    }
}
