//! Do the first codes follow the shop's own categories?
//!
//! The column `categories` holds paths from the root, `A > B > C`; of several paths (` | `) the
//! first counts. The categories of depth d are the first d parts (a shorter path whole). Each
//! prefix length is compared with each depth by normalised and adjusted mutual information
//! ([`Agreement`]): the adjusted one is 0 for IDs that know nothing, however many there are.
//!
//! Cost `O(N)` and a sort for each pair of length and depth.

use super::agreement::Agreement;
use super::prefixes::{NO_GROUP, Prefixes};
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, ItemTable, Result, StringColumn};
use std::collections::HashMap;

/// Depths compared at most; deeper ones are nearly the items themselves.
const DEPTHS: usize = 4;

/// Agreement of prefixes with categories.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaxonomyReport {
    /// Number of categories of each depth that splits the one before.
    pub depths: Vec<CategoryDepth>,
    /// One entry a prefix length and depth, lengths from 1.
    pub levels: Vec<TaxonomyLevel>,
}

/// The categories of one depth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CategoryDepth {
    /// Parts of the path.
    pub depth: usize,
    /// Different categories.
    pub categories: usize,
}

/// Agreement of one prefix length with one depth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaxonomyLevel {
    /// Codes of the prefix.
    pub length: usize,
    /// Parts of the path.
    pub depth: usize,
    /// How well they agree.
    #[serde(flatten)]
    pub agreement: Agreement,
}

impl TaxonomyReport {
    /// Of a catalogue; none where no item has a category, or all have the same.
    ///
    /// Errors: a number of items that is not that of the IDs.
    pub fn of(prefixes: &Prefixes, items: &ItemTable) -> Result<Option<Self>> {
        if items.len() != prefixes.n_items() {
            let (a, b) = (items.len(), prefixes.n_items());
            return Err(Error::mismatch(format!("SID report: IDs of {b} items for {a} items")));
        }
        let Some(column) = items.column("categories") else { return Ok(None) };
        let (mut depths, mut levels) = (Vec::new(), Vec::new());
        let mut before = 1;
        for depth in 1..=DEPTHS {
            let (labels, categories) = categories(column, depth);
            if categories <= before {
                continue;
            }
            before = categories;
            depths.push(CategoryDepth { depth, categories });
            for length in 1..=prefixes.longest() {
                let agreement = Agreement::of(prefixes.labels(length), &labels)?;
                levels.push(TaxonomyLevel { length, depth, agreement });
            }
        }
        Ok((!depths.is_empty()).then_some(TaxonomyReport { depths, levels }))
    }

    /// The best adjusted mutual information of a prefix length over the depths.
    pub fn best(&self, length: usize) -> Option<f64> {
        let of_length = self.levels.iter().filter(|l| l.length == length);
        of_length.map(|l| l.agreement.ami).max_by(f64::total_cmp)
    }
}

/// Category of each item by the first `depth` parts, and how many there are.
fn categories(column: &StringColumn, depth: usize) -> (Vec<u32>, usize) {
    let mut known: HashMap<&str, u32> = HashMap::new();
    let mut label = |text| {
        let path = start(text, depth);
        if path.is_empty() {
            return NO_GROUP;
        }
        let next = known.len() as u32;
        *known.entry(path).or_insert(next)
    };
    let labels = column.iter().map(&mut label).collect();
    (labels, known.len())
}

/// The first `depth` parts of the first path.
fn start(text: &str, depth: usize) -> &str {
    let path = text.split(" | ").next().unwrap_or_default();
    let end = path.match_indices(" > ").nth(depth - 1).map_or(path.len(), |(at, _)| at);
    path[..end].trim()
}

#[cfg(test)]
mod tests {
    use super::super::prefixes::tests::table;
    use super::*;

    fn items(paths: &[&str]) -> ItemTable {
        let ids: StringColumn = (0..paths.len()).map(|i| i.to_string()).collect();
        ItemTable::new(ids).with_column("categories", paths.iter().collect()).unwrap()
    }

    #[test]
    fn paths_are_cut_by_depth() {
        assert_eq!(start("A > B > C | D > E", 2), "A > B");
        assert_eq!((start("A > B", 9), start("A > B", 1), start("", 1)), ("A > B", "A", ""));
    }

    #[test]
    fn codes_that_are_the_categories_agree_fully() {
        let shop = items(&["R > A > x", "R > A > y", "R > B > x", "R > B > y", "", "R > B > y"]);
        let ids: [&[u32]; 6] = [&[7, 0], &[7, 1], &[2, 0], &[2, 3], &[2, 4], &[2, 3]];
        let r = TaxonomyReport::of(&Prefixes::of(&table(&ids)), &shop).unwrap().unwrap();
        // The root holds all and is left out.
        let depths: Vec<_> = r.depths.iter().map(|d| (d.depth, d.categories)).collect();
        assert_eq!(depths, [(2, 2), (3, 4)]);
        assert_eq!((r.best(1), r.best(2)), (Some(1.0), Some(1.0)));
        let cross = r.levels.iter().find(|l| (l.length, l.depth) == (1, 3)).unwrap();
        assert_eq!(cross.agreement.items, 5);
        assert!(cross.agreement.nmi > 0.5 && cross.agreement.nmi < 1.0);
    }

    #[test]
    fn shops_without_categories() {
        let p = Prefixes::of(&table(&[&[0], &[1]]));
        assert_eq!(TaxonomyReport::of(&p, &items(&["", ""])).unwrap(), None);
        assert_eq!(TaxonomyReport::of(&p, &items(&["A", "A"])).unwrap(), None);
        let bare = ItemTable::new(["a", "b"].iter().collect());
        assert_eq!(TaxonomyReport::of(&p, &bare).unwrap(), None);
        assert!(TaxonomyReport::of(&p, &items(&["A"])).is_err());
    }
}
