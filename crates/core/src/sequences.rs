//! Interaction histories as columns: users in order, items of a user oldest first.

use crate::{Error, ItemId, Result, UserId};

/// Histories of U users: user `u` owns `items[offsets[u]..offsets[u + 1]]`, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequences {
    offsets: Vec<u64>,
    items: Vec<ItemId>,
    times: Option<Vec<i64>>,
}

impl Default for Sequences {
    fn default() -> Self {
        Sequences { offsets: vec![0], items: Vec::new(), times: None }
    }
}

impl Sequences {
    /// Takes columns; `offsets` must rise from 0 to `items.len()`, `times` (Unix seconds) must be
    /// as long as `items`.
    pub fn new(offsets: Vec<u64>, items: Vec<ItemId>, times: Option<Vec<i64>>) -> Result<Self> {
        let rising = offsets.windows(2).all(|w| w[0] <= w[1]);
        if offsets.first() != Some(&0) || offsets.last() != Some(&(items.len() as u64)) || !rising {
            return Err(Error::mismatch(
                "sequence offsets must rise from 0 to the number of items",
            ));
        }
        if times.as_ref().is_some_and(|t| t.len() != items.len()) {
            return Err(Error::mismatch("times and items of sequences differ in length"));
        }
        Ok(Sequences { offsets, items, times })
    }

    /// Appends a user's history without times.
    pub fn push(&mut self, history: &[ItemId]) {
        debug_assert!(self.times.is_none());
        self.items.extend_from_slice(history);
        self.offsets.push(self.items.len() as u64);
    }

    /// Number of users U.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no user.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Items of a user, oldest first.
    pub fn items(&self, user: UserId) -> &[ItemId] {
        &self.items[self.range(user)]
    }

    /// Times of a user's interactions, if known.
    pub fn times(&self, user: UserId) -> Option<&[i64]> {
        self.times.as_ref().map(|t| &t[self.range(user)])
    }

    /// Items of all users, one after the other.
    pub fn all_items(&self) -> &[ItemId] {
        &self.items
    }

    /// Times of all users, one after the other.
    pub fn all_times(&self) -> Option<&[i64]> {
        self.times.as_deref()
    }

    /// Start of every user in [`Sequences::all_items`], and the end of the last.
    pub fn offsets(&self) -> &[u64] {
        &self.offsets
    }

    /// All users with their items.
    pub fn iter(&self) -> impl Iterator<Item = (UserId, &[ItemId])> {
        (0..self.len() as u32).map(|u| (UserId(u), self.items(UserId(u))))
    }

    /// How often each of `n_items` items occurs.
    pub fn popularity(&self, n_items: usize) -> Vec<u32> {
        let mut counts = vec![0u32; n_items];
        for item in &self.items {
            counts[item.index()] += 1;
        }
        counts
    }

    fn range(&self, user: UserId) -> std::ops::Range<usize> {
        self.offsets[user.index()] as usize..self.offsets[user.index() + 1] as usize
    }
}
