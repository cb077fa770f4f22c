//! Texts that name the answer: an item's text with ids of items that were taken together with it
//! (`also_bought`), or of users that took it, is a copy of interactions, test included.
//!
//! For up to [`CASES`] test cases it counts how often a text of the last items of the history names
//! the id of the target, and how often a text of the target names the id of the user. Ids can be
//! plain numbers, which occur in texts anyway, so the same is counted for the target and the user of
//! another case; only what is named far more often than that is reported. Which columns an encoder
//! reads is not asked: a column that does this should be seen once and left out knowingly.

use super::{Finding, Verdict};
use crate::stages::data::Data;
use sidereal_core::{ItemId, StringColumn};

/// Test cases looked at, spread evenly.
const CASES: usize = 2000;
/// Items of a history whose texts are searched, the most recent ones.
const ITEMS: usize = 10;
/// Bytes of one text that are searched.
const BYTES: usize = 20_000;
/// Fewest cases, and standard deviations above the control.
const FEWEST: f64 = 5.0;
const SIGMAS: f64 = 4.0;

/// The finding `texts`.
pub fn mentions(data: &Data) -> Finding {
    let check = "texts";
    let (set, items) = (&data.splits.test, &data.dataset.items);
    let take = set.len().min(CASES);
    let cases: Vec<usize> = (0..take).map(|c| c * set.len() / take).collect();
    let columns: Vec<&str> = items.column_names().collect();
    if columns.is_empty() {
        return Finding::new(check, Verdict::Clean, "items have no texts");
    }
    let target = |c: usize| set.target(c).first().copied();
    let mut worst: Option<(f64, String)> = None;
    for name in columns {
        let Some(column) = items.column(name) else { continue };
        let history = |c: usize, id: &str| {
            set.history(c).iter().rev().take(ITEMS).any(|&i| names(column, i, id))
        };
        let mut counts = [Count::default(), Count::default()];
        for (at, &c) in cases.iter().enumerate() {
            let other = cases[(at + take / 2) % take];
            let (Some(mine), Some(theirs)) = (target(c), target(other)) else { continue };
            if mine != theirs {
                counts[0].hits += f64::from(u8::from(history(c, items.id(mine))));
                counts[0].control += f64::from(u8::from(history(c, items.id(theirs))));
            }
            let user = |c: usize| data.dataset.user_ids.get(set.user(c).index());
            if user(c) != user(other) {
                counts[1].hits += f64::from(u8::from(names(column, mine, user(c))));
                counts[1].control += f64::from(u8::from(names(column, mine, user(other))));
            }
        }
        let what = [
            format!("`{name}` of the history names the target's id"),
            format!("`{name}` of the target names the user's id"),
        ];
        for (count, what) in counts.iter().zip(what) {
            if count.excess() && worst.as_ref().is_none_or(|w| count.hits > w.0) {
                let text = format!(
                    "{what} in {} of {take} test cases ({} by chance)",
                    count.hits, count.control
                );
                worst = Some((count.hits, text));
            }
        }
    }
    match worst {
        Some((_, text)) => Finding::new(check, Verdict::Suspicious, text),
        None => Finding::new(check, Verdict::Clean, "no text names targets or their users"),
    }
}

#[derive(Default)]
struct Count {
    hits: f64,
    control: f64,
}

impl Count {
    fn excess(&self) -> bool {
        let Count { hits, control } = self;
        *hits >= FEWEST && hits - control > SIGMAS * (hits + control).sqrt()
    }
}

/// Whether the text of an item has `id` as a word of its own.
fn names(column: &StringColumn, item: ItemId, id: &str) -> bool {
    let text = column.get(item.index());
    let mut end = text.len().min(BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = &text[..end];
    !id.is_empty()
        && text.match_indices(id).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + id.len()..].chars().next();
            !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_words() {
        let column: StringColumn = ["see B00, B017", "B0012 B0017x", "B001"].iter().collect();
        let found: Vec<bool> = (0..3).map(|i| names(&column, ItemId(i), "B001")).collect();
        assert_eq!(found, [false, false, true]);
        assert!(names(&column, ItemId(0), "B017") && !names(&column, ItemId(0), ""));
    }

    #[test]
    fn chance_does_not_count() {
        assert!(Count { hits: 40.0, control: 2.0 }.excess());
        assert!(!Count { hits: 40.0, control: 30.0 }.excess());
        assert!(!Count { hits: 4.0, control: 0.0 }.excess());
        // Five of none is two standard deviations.
        assert!(!Count { hits: 5.0, control: 0.0 }.excess());
        assert!(Count { hits: 17.0, control: 0.0 }.excess());
    }
}
