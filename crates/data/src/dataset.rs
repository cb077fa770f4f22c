//! What every source gives: a catalogue, users, and their histories as columns.

use serde::Serialize;
use sidereal_core::{ItemTable, Sequences, StringColumn};
use std::collections::BTreeMap;

/// A loaded data set of U users and N items.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dataset {
    /// The catalogue, N items.
    pub items: ItemTable,
    /// Source ids of the U users.
    pub user_ids: StringColumn,
    /// History of every user, oldest first; rows of equal time keep the order of the file.
    pub interactions: Sequences,
    /// For each interaction the part of a published split, where the source has one; as long as
    /// `interactions.all_items()`.
    pub parts: Option<Vec<Part>>,
    /// What was read and what was dropped.
    pub report: LoadReport,
}

/// Part of a published split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// For training.
    Train,
    /// For choosing a checkpoint.
    Valid,
    /// For the final figures.
    Test,
}

/// What a source read and dropped; kept with every result.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LoadReport {
    /// Data rows seen, good or bad, without headers.
    pub rows: u64,
    /// Rows that could not be understood and were skipped.
    pub bad_lines: u64,
    /// The first few of them, as `file:line: message`.
    pub first_bad_lines: Vec<String>,
    /// Rows below `min_rating`.
    pub dropped_by_rating: u64,
    /// Repeats of a user and item.
    pub dropped_duplicates: u64,
    /// Rows outside the k-core.
    pub dropped_by_core: u64,
    /// Users in the data set.
    pub users: u64,
    /// Items in the catalogue.
    pub items: u64,
    /// Interactions in the data set.
    pub interactions: u64,
    /// Users without any interaction.
    pub users_without_interactions: u64,
    /// Items without any interaction.
    pub items_without_interactions: u64,
    /// Items without a word in any conventional text column.
    pub items_without_text: u64,
    /// Sentences for people, as in times that had to be left out.
    pub notes: Vec<String>,
    /// Facts that only this source knows, as in a synthetic world's best possible recall.
    pub extras: BTreeMap<String, serde_json::Value>,
}

/// Columns that count as text of an item.
pub(crate) const TEXT_COLUMNS: [&str; 8] = [
    "title",
    "description",
    "brand",
    "categories",
    "categories_text",
    "features",
    "keywords",
    "text",
];

impl Dataset {
    /// A data set whose report holds the counts of its columns. `user_ids` and `interactions`
    /// must have one entry a user, and every item must be in the catalogue.
    pub fn new(
        items: ItemTable,
        user_ids: StringColumn,
        interactions: Sequences,
    ) -> sidereal_core::Result<Self> {
        if user_ids.len() != interactions.len() {
            return Err(sidereal_core::Error::mismatch(format!(
                "{} user ids for {} histories",
                user_ids.len(),
                interactions.len()
            )));
        }
        if let Some(bad) = interactions.all_items().iter().find(|i| i.index() >= items.len()) {
            return Err(sidereal_core::Error::mismatch(format!(
                "a history holds item {} but the catalogue has {} items",
                bad.0,
                items.len()
            )));
        }
        let mut data =
            Dataset { items, user_ids, interactions, parts: None, report: LoadReport::default() };
        data.count();
        data.report.rows = data.report.interactions;
        Ok(data)
    }

    /// Fills the counts of the report from the columns.
    pub(crate) fn count(&mut self) {
        let r = &mut self.report;
        r.users = self.interactions.len() as u64;
        r.items = self.items.len() as u64;
        r.interactions = self.interactions.all_items().len() as u64;
        r.users_without_interactions =
            self.interactions.offsets().windows(2).filter(|w| w[0] == w[1]).count() as u64;
        r.items_without_interactions =
            self.interactions.popularity(self.items.len()).iter().filter(|&&c| c == 0).count()
                as u64;
        let text: Vec<_> = TEXT_COLUMNS.iter().filter_map(|c| self.items.column(c)).collect();
        r.items_without_text = (0..self.items.len())
            .filter(|&i| text.iter().all(|c| c.get(i).is_empty()))
            .count() as u64;
    }
}
