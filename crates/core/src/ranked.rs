//! Ranked lists of many requests as columns.

use crate::{ItemId, Response};

/// Ranked items of R requests: request `r` owns `items[offsets[r]..offsets[r + 1]]`, best first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RankedLists {
    offsets: Vec<u64>,
    items: Vec<ItemId>,
}

impl RankedLists {
    /// No lists yet.
    pub fn new() -> Self {
        RankedLists { offsets: vec![0], items: Vec::new() }
    }

    /// Appends the list of the next request, best item first.
    pub fn push(&mut self, items: impl IntoIterator<Item = ItemId>) {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        self.items.extend(items);
        self.offsets.push(self.items.len() as u64);
    }

    /// Appends the items of a recommender's answer.
    pub fn push_response(&mut self, response: &Response) {
        self.push(response.items.iter().map(|r| r.item));
    }

    /// Number of requests R.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no request.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The list of request `r`, best first.
    pub fn get(&self, r: usize) -> &[ItemId] {
        &self.items[self.offsets[r] as usize..self.offsets[r + 1] as usize]
    }

    /// All lists in order.
    pub fn iter(&self) -> impl Iterator<Item = &[ItemId]> {
        (0..self.len()).map(|r| self.get(r))
    }
}
