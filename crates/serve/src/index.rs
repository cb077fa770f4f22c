//! Finding items and users: by source id through a sorted permutation (4 bytes an id), and items by
//! words of their titles through one scan over all titles in lower case; items by a filter, whose
//! sets are kept for the last few filters, because clients send the same ones again and again.

use crate::fault::Fault;
use memchr::memmem;
use sidereal_core::{ItemId, ItemSet, Result, StringColumn, UserId};
use sidereal_decoding::attributes::{Attributes, Filter};
use sidereal_experiment::Catalogue;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Columns of prose, in which no filter looks.
const PROSE: [&str; 2] = ["title", "description"];
/// Filters whose sets are kept: N / 8 bytes each.
const KEPT: usize = 32;

/// Index of a catalogue.
pub struct Index {
    items: Vec<u32>,
    users: Vec<u32>,
    /// Titles in lower case, each behind a line break, which no query holds.
    titles: String,
    /// Begin of each title.
    starts: Vec<usize>,
    attributes: Attributes,
    kept: Mutex<VecDeque<Kept>>,
}

struct Kept {
    filter: String,
    set: Arc<ItemSet>,
}

/// Items that match a query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matches {
    /// The best ones, best first.
    pub items: Vec<ItemId>,
    /// All that match.
    pub total: usize,
}

/// How well an item matches; less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Id,
    Whole,
    Beginning,
    WordStarts,
    Inside,
}

impl Index {
    /// Sorts ids, copies titles and indexes attributes: O(N log N) comparisons once a catalogue.
    ///
    /// Errors: more than 2^32 - 1 values in a column.
    pub fn new(catalogue: &Catalogue) -> Result<Self> {
        let mut titles = String::new();
        let mut starts = Vec::with_capacity(catalogue.items.len());
        for i in 0..catalogue.items.len() as u32 {
            titles.push('\n');
            starts.push(titles.len());
            titles.extend(plain(catalogue.items.title(ItemId(i))));
        }
        titles.push('\n');
        let items = sorted(catalogue.items.ids());
        let columns = catalogue.items.column_names().filter(|name| !PROSE.contains(name));
        let attributes = Attributes::of(&catalogue.items, columns)?;
        let users = sorted(&catalogue.users);
        Ok(Index { items, users, titles, starts, attributes, kept: Mutex::default() })
    }

    /// Items for which a filter holds.
    ///
    /// Errors: 422 for a text that is no filter or names an attribute that the items do not have.
    pub fn filtered(&self, filter: &str) -> Result<Arc<ItemSet>, Fault> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept().iter().find(|k| k.filter == filter) {
            return Ok(known.set.clone());
        }
        let set = Filter::parse(filter).and_then(|f| self.attributes.items(&f)).map_err(|e| {
            let mut fault = Fault::new(422, "bad_filter", format!("`filter`: {e}"));
            fault.detail.field = Some("filter".into());
            let columns: Vec<&str> = self.attributes.columns().collect();
            fault.detail.allowed = Some(format!("a condition on {}", columns.join(", ")));
            fault
        })?;
        let set = Arc::new(set);
        let mut kept = kept();
        kept.push_back(Kept { filter: filter.into(), set: set.clone() });
        if kept.len() > KEPT {
            kept.pop_front();
        }
        Ok(set)
    }

    /// The item of a source id.
    pub fn item(&self, catalogue: &Catalogue, id: &str) -> Option<ItemId> {
        find(&self.items, catalogue.items.ids(), id).map(ItemId)
    }

    /// The user of a source id.
    pub fn user(&self, catalogue: &Catalogue, id: &str) -> Option<UserId> {
        find(&self.users, &catalogue.users, id).map(UserId)
    }

    /// The best `limit` items whose title holds all words of the query; an id counts as well.
    /// Equal matches go by popularity, then by number. Cost: a scan over all titles for the longest
    /// word.
    pub fn search(&self, catalogue: &Catalogue, query: &str, limit: usize) -> Matches {
        let text: String = plain(query).collect();
        let words: Vec<&str> = text.split_whitespace().collect();
        let Some(longest) = words.iter().max_by_key(|w| w.len()) else {
            return Matches::default();
        };
        let whole = words.join(" ");
        let mut found: Vec<(Fit, u32, ItemId)> = Vec::new();
        let popularity = |i: ItemId| catalogue.popularity.get(i.index()).copied().unwrap_or(0);
        let mut add = |fit, item| found.push((fit, u32::MAX - popularity(item), item));
        let by_id = self.item(catalogue, query.trim());
        by_id.into_iter().for_each(|item| add(Fit::Id, item));
        let mut last = None;
        for at in memmem::find_iter(self.titles.as_bytes(), longest.as_bytes()) {
            let item = ItemId((self.starts.partition_point(|&s| s <= at) - 1) as u32);
            if last == Some(item) || by_id == Some(item) {
                continue;
            }
            last = Some(item);
            if let Some(fit) = fit(self.title(item), &whole, &words) {
                add(fit, item);
            }
        }
        let total = found.len();
        if limit < total {
            found.select_nth_unstable(limit);
            found.truncate(limit);
        }
        found.sort_unstable();
        Matches { items: found.into_iter().map(|(_, _, item)| item).collect(), total }
    }

    fn title(&self, item: ItemId) -> &str {
        let next = self.starts.get(item.index() + 1).copied().unwrap_or(self.titles.len());
        &self.titles[self.starts[item.index()]..next - 1]
    }
}

/// Lower case, one line.
fn plain(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).flat_map(char::to_lowercase)
}

fn fit(title: &str, whole: &str, words: &[&str]) -> Option<Fit> {
    if title == whole {
        return Some(Fit::Whole);
    }
    if title.starts_with(whole) {
        return Some(Fit::Beginning);
    }
    let mut best = Fit::WordStarts;
    for word in words {
        let mut places = title.match_indices(word).peekable();
        places.peek()?;
        let begins =
            |at: usize| !title[..at].chars().next_back().is_some_and(char::is_alphanumeric);
        if !places.any(|(at, _)| begins(at)) {
            best = Fit::Inside;
        }
    }
    Some(best)
}

fn sorted(ids: &StringColumn) -> Vec<u32> {
    let mut order: Vec<u32> = (0..ids.len() as u32).collect();
    order.sort_unstable_by_key(|&i| ids.get(i as usize));
    order
}

fn find(order: &[u32], ids: &StringColumn, id: &str) -> Option<u32> {
    let found = order.binary_search_by(|&i| ids.get(i as usize).cmp(id)).ok()?;
    Some(order[found])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sidereal_core::{ItemTable, Sequences};

    fn catalogue(titles: &[&str], popularity: &[u32]) -> Catalogue {
        let ids: StringColumn = (0..titles.len()).map(|i| format!("id{i}")).collect();
        let items = ItemTable::new(ids).with_column("title", titles.iter().collect()).unwrap();
        Catalogue {
            items,
            users: ["z", "a", "m"].iter().collect(),
            histories: Sequences::default(),
            popularity: popularity.to_vec(),
            identity: serde_json::Value::Null,
        }
    }

    fn search(catalogue: &Catalogue, query: &str) -> Vec<u32> {
        let found = Index::new(catalogue).unwrap().search(catalogue, query, 10);
        found.items.iter().map(|i| i.0).collect()
    }

    #[test]
    fn matches_in_order_of_fit_then_popularity() {
        let c = catalogue(
            &["Unredeemed", "A red hat", "Red", "red shoe", "Hat, red", "", "Crème"],
            &[9, 1, 0, 0, 2, 0, 0],
        );
        assert_eq!(search(&c, " RED "), [2, 3, 4, 1, 0]);
        assert_eq!(search(&c, "hat red"), [4, 1]);
        assert_eq!(search(&c, "crème"), [6]);
        assert_eq!(search(&c, "id3"), [3]);
        assert_eq!(search(&c, "id5"), [5]); // no title: the id is the title
        assert!(search(&c, "  ").is_empty() && search(&c, "\n").is_empty());
        assert!(search(&c, "hatter").is_empty());
        let index = Index::new(&c).unwrap();
        let some = index.search(&c, "red", 2);
        assert_eq!((some.items.len(), some.total), (2, 5));
        assert_eq!(some.items, [2, 3].map(ItemId));
        let none = catalogue(&[], &[]);
        assert_eq!(Index::new(&none).unwrap().search(&none, "x", 3).total, 0);
    }

    #[test]
    fn ids_are_found_exactly() {
        let c = catalogue(&["t"; 12], &[]);
        let index = Index::new(&c).unwrap();
        assert_eq!(index.item(&c, "id11"), Some(ItemId(11)));
        assert_eq!((index.item(&c, "id12"), index.item(&c, "1")), (None, None));
        assert_eq!((index.user(&c, "a"), index.user(&c, "q")), (Some(UserId(1)), None));
    }

    proptest! {
        #[test]
        fn every_title_with_all_words_is_found(
            titles in proptest::collection::vec("[abAB \n\u{130}]{0,8}", 0..12),
            query in "[ab \u{130}]{1,5}",
        ) {
            let c = catalogue(&titles.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
            let mut found = search(&c, &query);
            found.sort_unstable();
            let low: String = plain(&query).collect();
            let words: Vec<&str> = low.split_whitespace().collect();
            let want: Vec<u32> = (0..titles.len() as u32)
                .filter(|&i| {
                    let title: String = plain(c.items.title(ItemId(i))).collect();
                    !words.is_empty() && words.iter().all(|w| title.contains(w))
                })
                .collect();
            let want: Vec<u32> = want.into_iter().take(12).collect();
            prop_assert!(found.len() == want.len().min(10));
            prop_assert!(found.iter().all(|i| want.contains(i)));
        }
    }
}
