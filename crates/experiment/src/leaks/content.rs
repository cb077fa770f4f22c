//! Sums over what stages read, so that two readings can be compared without keeping them.
//!
//! 64 bits over the values in order: enough to tell readings apart that differ by accident, no
//! protection against one who wants to deceive. They depend on the values alone, not on the format
//! of any file. Cost: one pass, a few nanoseconds a value.

use serde::{Deserialize, Serialize};
use sidereal_core::seed::mix;
use sidereal_core::{ItemId, ItemTable, Sequences};
use sidereal_data::{Dataset, EvalSet};

/// Something that was read: its sum and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Sum over the values, 16 hexadecimal digits.
    pub sum: String,
    /// Interactions, items, cases or values, as the thing has them.
    pub size: u64,
}

/// A running sum.
struct Sum(u64);

impl Sum {
    fn new(purpose: &str) -> Self {
        Sum(sidereal_core::seed::key(0, purpose, 0))
    }

    fn word(&mut self, word: u64) {
        self.0 = mix(self.0 ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
    }

    fn items(&mut self, items: &[ItemId]) {
        self.word(items.len() as u64);
        for pair in items.chunks(2) {
            let high = pair.get(1).map_or(0, |i| u64::from(i.0) << 32);
            self.word(u64::from(pair[0].0) | high);
        }
    }

    fn text(&mut self, text: &str) {
        self.word(text.len() as u64);
        for word in text.as_bytes().chunks(8) {
            let mut bytes = [0u8; 8];
            bytes[..word.len()].copy_from_slice(word);
            self.word(u64::from_le_bytes(bytes));
        }
    }

    fn histories(&mut self, sequences: &Sequences) {
        self.word(sequences.len() as u64);
        for (_, items) in sequences.iter() {
            self.items(items);
        }
    }

    fn of(self, size: usize) -> Content {
        Content { sum: format!("{:016x}", self.0), size: size as u64 }
    }
}

impl Content {
    /// Histories: who took what in which order. Times are left out, since copies without them are
    /// the same interactions.
    pub fn of_histories(sequences: &Sequences) -> Self {
        let mut sum = Sum::new("histories");
        sum.histories(sequences);
        sum.of(sequences.all_items().len())
    }

    /// Ids and all texts of a catalogue.
    pub fn of_items(items: &ItemTable) -> Self {
        let mut sum = Sum::new("items");
        items.ids().iter().for_each(|id| sum.text(id));
        for name in items.column_names() {
            sum.text(name);
            items.column(name).into_iter().flat_map(|c| c.iter()).for_each(|t| sum.text(t));
        }
        sum.of(items.len())
    }

    /// Interactions and item ids of a data set.
    pub fn of_dataset(data: &Dataset) -> Self {
        let mut sum = Sum::new("dataset");
        data.items.ids().iter().for_each(|id| sum.text(id));
        sum.histories(&data.interactions);
        sum.of(data.interactions.all_items().len())
    }

    /// Users, histories and targets of evaluation cases.
    pub fn of_cases(set: &EvalSet) -> Self {
        let mut sum = Sum::new("cases");
        for c in 0..set.len() {
            sum.word(u64::from(set.user(c).0));
            sum.items(set.history(c));
            sum.items(set.target(c));
        }
        sum.of(set.len())
    }

    /// Counts of items.
    pub fn of_counts(counts: &[u32]) -> Self {
        let mut sum = Sum::new("counts");
        counts.iter().for_each(|&c| sum.word(c.into()));
        sum.of(counts.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::{StringColumn, UserId};

    fn histories(rows: &[&[u32]]) -> Sequences {
        let mut s = Sequences::default();
        rows.iter().for_each(|r| s.push(&r.iter().map(|&i| ItemId(i)).collect::<Vec<_>>()));
        s
    }

    #[test]
    fn sums_follow_the_values_alone() {
        let sum = |rows: &[&[u32]]| Content::of_histories(&histories(rows)).sum;
        assert_eq!(sum(&[&[1, 2], &[3]]), sum(&[&[1, 2], &[3]]));
        let all = [
            sum(&[]),
            sum(&[&[]]),
            sum(&[&[1, 2], &[3]]),
            sum(&[&[1], &[2, 3]]),
            sum(&[&[2, 1], &[3]]),
            sum(&[&[1, 2, 0], &[3]]),
            sum(&[&[1, 2], &[3], &[]]),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b), "{i}");
        }
        let timed = Sequences::new(vec![0, 2], vec![ItemId(1), ItemId(2)], Some(vec![5, 6]));
        assert_eq!(Content::of_histories(&timed.unwrap()).sum, sum(&[&[1, 2]]));
    }

    #[test]
    fn catalogues_and_cases() {
        let ids: StringColumn = ["a", "b"].iter().collect();
        let plain = ItemTable::new(ids.clone());
        let text = |t: [&str; 2]| {
            ItemTable::new(ids.clone()).with_column("title", t.iter().collect()).unwrap()
        };
        let sums = [
            Content::of_items(&plain),
            Content::of_items(&text(["x", "y"])),
            Content::of_items(&text(["xy", ""])),
        ];
        assert!(sums[0] != sums[1] && sums[1] != sums[2] && sums[0].size == 2);
        let mut targets = sidereal_core::RankedLists::new();
        targets.push([ItemId(2)]);
        let mut set = EvalSet { users: vec![UserId(0)], histories: histories(&[&[1]]), targets };
        let before = Content::of_cases(&set);
        set.targets = sidereal_core::RankedLists::new();
        set.targets.push([ItemId(3)]);
        assert_ne!(before, Content::of_cases(&set));
        assert_ne!(Content::of_counts(&[1, 0]), Content::of_counts(&[0, 1]));
    }
}
