//! The tree of the catalogue and the text of its items.
//!
//! Leaf `l` is style `l mod S` of category `l / S mod C` of department `l / (S C)`. Numbers of
//! items are shuffled over the leaves, so that a number says nothing. A title is adjective, style,
//! department, category ("Sturdy Cottage Garden Trellis"): one word of its own and three of the
//! tree. Styles are shared by the categories of a department, so a leaf is known by the pair.

use super::{SyntheticOptions, words};
use rand::Rng;
use sidereal_core::{ItemId, ItemTable, Result, StringColumn, seed};

/// Where the items hang in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    departments: usize,
    categories: usize,
    styles: usize,
    leaf_items: usize,
    /// N items: leaf after leaf, the most popular item of a leaf first.
    members: Vec<ItemId>,
    /// Place of each item in `members`.
    places: Vec<u32>,
}

impl Tree {
    /// Hangs the items; `options` must be valid.
    pub(crate) fn new(options: &SyntheticOptions) -> Self {
        let n = options.items();
        let mut members: Vec<ItemId> = (0..n as u32).map(ItemId).collect();
        shuffle(&mut members, &mut seed::stream(options.world, "synthetic-items", 0));
        let mut places = vec![0; n];
        for (place, item) in members.iter().enumerate() {
            places[item.index()] = place as u32;
        }
        Tree {
            departments: options.departments,
            categories: options.categories,
            styles: options.styles,
            leaf_items: options.leaf_items,
            members,
            places,
        }
    }

    /// Number of items N.
    pub fn n_items(&self) -> usize {
        self.members.len()
    }

    /// Number of leaves.
    pub fn n_leaves(&self) -> usize {
        self.departments * self.categories * self.styles
    }

    /// Styles of a category: the length of the ring that interests step along.
    pub fn n_styles(&self) -> usize {
        self.styles
    }

    /// Items of a leaf, most popular first.
    pub fn members(&self, leaf: usize) -> &[ItemId] {
        &self.members[leaf * self.leaf_items..(leaf + 1) * self.leaf_items]
    }

    /// Leaf of an item of the catalogue.
    pub fn leaf(&self, item: ItemId) -> usize {
        self.places[item.index()] as usize / self.leaf_items
    }

    /// Rank of an item by popularity inside its leaf, from 0.
    pub fn rank(&self, item: ItemId) -> usize {
        self.places[item.index()] as usize % self.leaf_items
    }

    /// Category of a leaf, numbered through all departments.
    pub fn category(&self, leaf: usize) -> usize {
        leaf / self.styles
    }

    /// Department of a leaf.
    pub fn department(&self, leaf: usize) -> usize {
        leaf / (self.styles * self.categories)
    }

    /// Leaves of a department.
    pub fn leaves_of_department(&self, department: usize) -> std::ops::Range<usize> {
        let size = self.styles * self.categories;
        department * size..(department + 1) * size
    }

    /// The catalogue with columns `title`, `description`, `categories`.
    pub(crate) fn items(&self, world: u64) -> Result<ItemTable> {
        // Adjectives of a leaf differ; which ones it gets is drawn.
        let choices = self.leaf_items.max(words::N_ADJECTIVES);
        let mut adjectives = vec![0u32; self.n_items()];
        let mut deck: Vec<u32> = (0..choices as u32).collect();
        for leaf in 0..self.n_leaves() {
            shuffle(&mut deck, &mut seed::stream(world, "synthetic-titles", leaf as u64));
            for (item, &a) in self.members(leaf).iter().zip(&deck) {
                adjectives[item.index()] = a;
            }
        }
        let width = self.n_items().to_string().len();
        let ids = (0..self.n_items()).map(|i| format!("item-{i:0width$}")).collect();
        let (mut titles, mut descriptions, mut paths) =
            (StringColumn::default(), StringColumn::default(), StringColumn::default());
        for i in 0..self.n_items() {
            let leaf = self.leaf(ItemId(i as u32));
            let d = self.department(leaf);
            let department = words::department(d);
            let category = words::category(d, self.category(leaf) % self.categories);
            let style = words::style(d, leaf % self.styles);
            let adjective = words::adjective(adjectives[i] as usize);
            let [big_d, big_c, big_s, big_a] =
                [&department, &category, &style, &adjective].map(|w| words::capital(w));
            titles.push(&format!("{big_a} {big_s} {big_d} {big_c}"));
            descriptions
                .push(&format!("{big_c} in {style} style for the {department}. {big_a} finish."));
            paths.push(&format!("{big_d} > {big_c} > {big_s}"));
        }
        ItemTable::new(ids)
            .with_column("title", titles)?
            .with_column("description", descriptions)?
            .with_column("categories", paths)
    }
}

/// Fisher and Yates.
pub(crate) fn shuffle<T>(values: &mut [T], rng: &mut impl Rng) {
    for i in (1..values.len()).rev() {
        values.swap(i, rng.random_range(0..=i as u64) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn words_of(text: &str) -> BTreeSet<String> {
        text.split(|c: char| !c.is_alphanumeric())
            .filter(|w| !w.is_empty())
            .map(str::to_lowercase)
            .collect()
    }

    #[test]
    fn each_item_hangs_at_one_place() {
        let tree = Tree::new(&SyntheticOptions::default());
        let mut seen = vec![false; tree.n_items()];
        for leaf in 0..tree.n_leaves() {
            for (rank, &item) in tree.members(leaf).iter().enumerate() {
                assert_eq!((tree.leaf(item), tree.rank(item)), (leaf, rank));
                assert!(!std::mem::replace(&mut seen[item.index()], true));
            }
            let department = tree.department(leaf);
            assert!(tree.leaves_of_department(department).contains(&leaf));
        }
        assert!(seen.iter().all(|&s| s));
    }

    #[test]
    fn titles_recover_the_tree() {
        let tree = Tree::new(&SyntheticOptions::default());
        let items = tree.items(0).unwrap();
        let titles: Vec<_> = items.column("title").unwrap().iter().map(words_of).collect();
        assert_eq!(titles.iter().collect::<BTreeSet<_>>().len(), items.len(), "titles differ");
        // Shared words by what two items share; an adjective can add one, within a leaf none.
        let shared =
            |a: ItemId, b: ItemId| titles[a.index()].intersection(&titles[b.index()]).count();
        let mut leaf_pairs = 0;
        for a in (0..tree.n_items() as u32).step_by(7).map(ItemId) {
            for b in (0..tree.n_items() as u32).map(ItemId).filter(|&b| b != a) {
                let (la, lb) = (tree.leaf(a), tree.leaf(b));
                if la == lb {
                    leaf_pairs += 1;
                    assert_eq!(shared(a, b), 3);
                } else if tree.department(la) == tree.department(lb) {
                    assert!((1..=3).contains(&shared(a, b)));
                } else {
                    assert!(shared(a, b) <= 1, "{:?} {:?}", titles[a.index()], titles[b.index()]);
                }
            }
        }
        assert!(leaf_pairs > 0);
        let item = tree.members(0)[0];
        assert_eq!(
            items.column("categories").unwrap().get(item.index()),
            "Kitchen > Kettle > Rustic"
        );
        assert!(items.title(item).ends_with(" Rustic Kitchen Kettle"));
    }

    #[test]
    fn trees_larger_than_the_word_lists() {
        let options = SyntheticOptions {
            departments: 9,
            categories: 9,
            styles: 1,
            leaf_items: 70,
            ..SyntheticOptions::default()
        };
        let items = Tree::new(&options).items(3).unwrap();
        let titles: BTreeSet<_> = items.column("title").unwrap().iter().collect();
        assert_eq!(titles.len(), options.items());
    }
}
