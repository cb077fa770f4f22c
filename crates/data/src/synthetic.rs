//! `synthetic`: a seeded world whose best possible Recall@K is known.
//!
//! A newcomer needs no download, and a test knows the right answer.
//!
//! - The **catalogue** is a tree, departments > categories > styles, and each style of a category
//!   is a leaf with a few items. Titles are made of the tree's words ([`catalogue`]), so text
//!   vectors recover it.
//! - **Users** drift from leaf to leaf and never take an item twice. The probability of the next
//!   item given the observed history is known in closed form ([`world`]).
//! - The **optimum** is what a recommender that knows these probabilities would score
//!   ([`mod@optimum`]); the data set's report carries it in `extras`.
//!
//! The world depends on its options only, not on the seed of a run, so that runs with several seeds
//! differ by the model alone.

pub mod catalogue;
pub mod optimum;
mod oracle;
mod words;
pub mod world;

pub use optimum::{Best, Holdout, optimum};
pub use oracle::Oracle;
pub use world::World;

use crate::{Dataset, Source};
use sidereal_core::{Catalog, Entry, Error, Options, Result, Run, options};
use std::path::PathBuf;

options! {
    /// Options of the synthetic world.
    pub struct SyntheticOptions {
        /// Number of the world: another number gives another catalogue and other users.
        pub world: u64 = 0,
        /// Users, 1 to 10000000.
        pub users: usize = 2800,
        /// Departments of the catalogue, 1 to 1000.
        pub departments: usize = 6,
        /// Categories of a department, 1 to 1000.
        pub categories: usize = 5,
        /// Styles of a category, 1 to 1000; one style of one category is a leaf.
        pub styles: usize = 5,
        /// Items of a leaf, 1 to 1000; at most 10000000 items in all.
        pub leaf_items: usize = 10,
        /// Shortest history, 1 and up; leave-one-out needs 3.
        pub min_length: usize = 5,
        /// Longest history, from `min_length` to the number of items; lengths are uniform.
        pub max_length: usize = 9,
        /// Probability that the next item is from the same leaf, 0 to 1.
        pub stay: f64 = 0.45,
        /// Probability of a step to a neighbour leaf on the ring of styles, 0 to 1 - stay.
        pub step: f64 = 0.25,
        /// Probability of a jump within the department, 0 to 1 - stay - step; what is left are
        /// jumps to anywhere.
        pub jump: f64 = 0.12,
        /// Probability that a step keeps the direction of the step before it, 0 to 1.
        pub momentum: f64 = 0.9,
        /// Zipf exponent of the items inside a leaf, 0 (all alike) to 4.
        pub item_skew: f64 = 1.1,
        /// Zipf exponent of the leaves as goals of jumps, 0 (all alike) to 4.
        pub leaf_skew: f64 = 0.8,
    }
}

impl SyntheticOptions {
    /// Number of leaves of the tree.
    pub fn leaves(&self) -> usize {
        self.departments * self.categories * self.styles
    }

    /// Number of items N.
    pub fn items(&self) -> usize {
        self.leaves() * self.leaf_items
    }

    /// Refuses values outside their ranges, by key.
    pub fn validate(&self) -> Result<()> {
        whole("users", self.users, 1, 10_000_000)?;
        for (key, value) in [
            ("departments", self.departments),
            ("categories", self.categories),
            ("styles", self.styles),
            ("leaf_items", self.leaf_items),
        ] {
            whole(key, value, 1, 1000)?;
        }
        if self.items() > 10_000_000 {
            return Err(Error::config(
                "data.leaf_items",
                format!(
                    "departments x categories x styles x leaf_items = {}; expected at most \
                     10000000 items",
                    self.items()
                ),
            ));
        }
        whole("min_length", self.min_length, 1, self.items())?;
        whole("max_length", self.max_length, self.min_length, self.items())?;
        real("stay", self.stay, 1.0)?;
        // A hair of room, so that 0.6 + 0.3 + 0.1 passes.
        real("step", self.step, 1.0 - self.stay + 1e-12)?;
        real("jump", self.jump, 1.0 - self.stay - self.step + 1e-12)?;
        real("momentum", self.momentum, 1.0)?;
        real("item_skew", self.item_skew, 4.0)?;
        real("leaf_skew", self.leaf_skew, 4.0)
    }
}

fn whole(key: &str, value: usize, low: usize, high: usize) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::config(format!("data.{key}"), format!("{value}: expected {low} to {high}")))
}

fn real(key: &str, value: f64, high: f64) -> Result<()> {
    if (0.0..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::config(format!("data.{key}"), format!("{value}: expected 0 to {high:.4}")))
}

/// The world as a source of data.
#[derive(Debug, Clone)]
pub struct Synthetic {
    options: SyntheticOptions,
}

impl Synthetic {
    /// Fails when an option is outside its range.
    pub fn new(options: SyntheticOptions) -> Result<Self> {
        options.validate()?;
        Ok(Synthetic { options })
    }
}

impl Source for Synthetic {
    fn load(&self, run: &Run<'_>) -> Result<Dataset> {
        let world = World::new(self.options.clone())?;
        run.check()?;
        let mut data = Dataset::new(world.items()?, world.user_ids(), world.interactions()?)?;
        run.check()?;
        for (key, holdout) in [("optimum", Holdout::Test), ("optimum_valid", Holdout::Valid)] {
            let best = serde_json::to_value(optimum(&world, &data.interactions, holdout)?)
                .map_err(|e| Error::other("writing the optimum as JSON", e))?;
            data.report.extras.insert(key.into(), best);
        }
        data.report.extras.insert("world".into(), self.options.to_map().into());
        Ok(data)
    }

    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// Registers `synthetic`.
pub fn register(catalog: &mut Catalog<dyn Source>) -> Result<()> {
    catalog.add(Entry::new(
        "synthetic",
        env!("CARGO_PKG_NAME"),
        "A seeded world with a hierarchical catalogue and a known best possible recall.",
        |o: SyntheticOptions, _: &()| Ok(Box::new(Synthetic::new(o)?) as Box<dyn Source>),
    ))
}

#[cfg(test)]
mod tests;
