//! `taxonomy`: the path of an item's categories, and a number that tells its neighbours apart.
//!
//! The semantic indexing (SemID) of arXiv 2305.06569: one code for each category on the path, from
//! the top, then a running number among the items of the same path. Items are counted in a shuffled
//! order, so that the number says nothing of time or of the order of the data.
//!
//! The column holds paths of parts joined by ` > `, several of them by ` | `; the first path counts.
//! Equal names at one depth are one code wherever they stand, numbered by the alphabet. The numbers
//! at a depth have codes behind those of the categories there, so no ID begins another one, and an
//! item without a category is numbered at the top.
//!
//! Deviations: the paper gives an item without category its own number as its only category; the
//! paper's Yelp recipe (categories by frequency) is not built in: such a column can be made first.
//!
//! Cost `O(N L log N)`.

use super::Ids;
use rand::seq::SliceRandom;
use sidereal_core::{
    Code, CodeOrder, Error, Identifier, IdentifierInput, Result, Run, SidTable, seed,
};
use std::collections::{BTreeSet, HashMap};

sidereal_core::options! {
    /// Options of `taxonomy`.
    pub struct TaxonomyOptions {
        /// Column of the catalogue with the paths.
        pub column: String = "categories".into(),
        /// Parts left out at the top of each path, where the root is the same for all; 0 and up.
        /// The paper leaves out one.
        pub skip: u32 = 1,
        /// Parts used of each path, at most; 0 for all.
        pub depth: u32 = 0,
    }
}

/// Reads the categories.
#[derive(Debug, Clone)]
pub struct Taxonomy {
    options: TaxonomyOptions,
}

impl Taxonomy {
    /// An identifier with these options.
    pub fn new(options: TaxonomyOptions) -> Self {
        Taxonomy { options }
    }

    fn path<'a>(&self, value: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
        let depth = match self.options.depth {
            0 => usize::MAX,
            depth => depth as usize,
        };
        let first = value.split('|').map(str::trim).find(|path| !path.is_empty()).unwrap_or("");
        let parts = first.split('>').map(str::trim).filter(|part| !part.is_empty());
        parts.skip(self.options.skip as usize).take(depth)
    }
}

impl Identifier for Taxonomy {
    fn identify(&self, input: &IdentifierInput<'_>, run: &Run<'_>) -> Result<SidTable> {
        let items = input.catalogue.items;
        let column = items.column(&self.options.column).ok_or_else(|| {
            let known: Vec<&str> = items.column_names().collect();
            let message = format!(
                "the catalogue has no column `{}`; it has {}",
                self.options.column,
                if known.is_empty() { "none".into() } else { known.join(", ") }
            );
            Error::config("identifier.column", message)
        })?;
        let mut names: Vec<BTreeSet<&str>> = Vec::new();
        for value in column.iter() {
            for (level, part) in self.path(value).enumerate() {
                if level == names.len() {
                    names.push(BTreeSet::new());
                }
                names[level].insert(part);
            }
        }
        let codes: Vec<HashMap<&str, Code>> =
            names.iter().map(|level| level.iter().copied().zip(0..).collect()).collect();
        let mut paths = Ids::new();
        for value in column.iter() {
            paths.extend(self.path(value).zip(&codes).filter_map(|(p, c)| c.get(p).copied()));
        }
        let mut order: Vec<usize> = (0..paths.len()).collect();
        order.shuffle(&mut seed::stream(run.seed, "taxonomy", 0));
        let mut next: HashMap<&[Code], Code> = HashMap::new();
        let mut numbers = vec![0; paths.len()];
        for item in order {
            let path = paths.get(item);
            let first = codes.get(path.len()).map_or(0, |level| level.len() as Code);
            let number = next.entry(path).or_insert(first);
            numbers[item] = *number;
            *number += 1;
        }
        let mut ids = Ids::new();
        for (path, number) in paths.iter().zip(numbers) {
            ids.extend(path.iter().copied().chain([number]));
        }
        ids.table(CodeOrder::Sequence)
    }

    fn reads_codes(&self) -> bool {
        false
    }
}
