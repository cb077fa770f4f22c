//! Newtypes for ids, so that a user can never be passed for an item.

use serde::{Deserialize, Serialize};

/// Dense number of an item: `0..N`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
#[repr(transparent)]
pub struct ItemId(pub u32);

/// Dense number of a user: `0..U`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
#[repr(transparent)]
pub struct UserId(pub u32);

/// One digit of a semantic ID: an index into the codebook of its level.
pub type Code = u32;

impl ItemId {
    /// The item's row in any per-item column.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl UserId {
    /// The user's row in any per-user column.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
