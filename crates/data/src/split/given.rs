//! The split that the data came with (`split` column of a folder).
//!
//! A user's validation case has the training items as history, the test case those and the
//! validation items. Interactions need not be in order of their parts: within a user training
//! comes first, then validation, then test, each in its own order.

use super::{Splits, Splitter, Targets, TimeOrder, in_order, parts_in_order};
use crate::{Dataset, Part};
use sidereal_core::{Catalog, Entry, Error, ItemId, Result, Sequences, options};

options! {
    /// Options of `given`.
    pub struct GivenOptions {
        /// Relevant items: all of the part, or the next one.
        pub targets: Targets = Targets::All,
    }
}

/// The published split.
#[derive(Debug, Clone)]
pub struct Given(GivenOptions);

/// Registers `given`.
pub fn register(catalog: &mut Catalog<dyn Splitter>) -> Result<()> {
    catalog.add(Entry::new(
        "given",
        env!("CARGO_PKG_NAME"),
        "The split that the data came with.",
        |o: GivenOptions, _: &()| Ok(Box::new(Given(o)) as Box<dyn Splitter>),
    ))
}

impl Splitter for Given {
    fn split(&self, data: &Dataset) -> Result<Splits> {
        let parts = data.parts.as_ref().ok_or_else(|| {
            Error::config(
                "data.split",
                "`given` needs data that name the part of each row, and these do not; \
                 use leave-one-out, ratio or global-time",
            )
        })?;
        let all = &data.interactions;
        if parts.len() != all.all_items().len() {
            return Err(Error::mismatch("parts and interactions differ in length"));
        }
        // Histories with the parts in order; times only where that moved nothing.
        let mut items: Vec<ItemId> = Vec::with_capacity(parts.len());
        let mut cuts: Vec<(u64, u64)> = Vec::with_capacity(all.len());
        let mut moved = false;
        for w in all.offsets().windows(2) {
            let range = w[0] as usize..w[1] as usize;
            let (mine, part) = (&all.all_items()[range.clone()], &parts[range]);
            moved |= !parts_in_order(part);
            let mut ends = [0u64; 3];
            for (p, which) in [Part::Train, Part::Valid, Part::Test].into_iter().enumerate() {
                items.extend(mine.iter().zip(part).filter(|(_, q)| **q == which).map(|(i, _)| *i));
                ends[p] = items.len() as u64 - w[0];
            }
            cuts.push((ends[0], ends[1]));
        }
        let times = all.all_times().filter(|_| !moved).map(<[i64]>::to_vec);
        let ordered = Sequences::new(all.offsets().to_vec(), items, times)?;
        in_order(&ordered, data.items.len(), self.0.targets, |user| {
            let (train, known) = cuts[user.index()];
            (train as usize, known as usize)
        })
    }

    fn order(&self) -> TimeOrder {
        TimeOrder::Free
    }
}
