//! The popular items: sorted by audience descending (ties to the lower item), taken until they have
//! a share of all training interactions; the item that crosses the limit is included (Elliot v0.3.1).

use super::Audience;
use sidereal_core::{Error, ItemId, Result};

/// A partition of the catalogue into short head and long tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortHead {
    member: Vec<bool>,
    len: usize,
}

impl ShortHead {
    /// The head that has `share` (above 0, at most 1) of all interactions. Fails outside the range.
    pub fn new(audience: &Audience, share: f64) -> Result<Self> {
        if !(share > 0.0 && share <= 1.0) {
            return Err(Error::config(
                "metric.head",
                format!("{share}; allowed: above 0, at most 1 (a share of interactions)"),
            ));
        }
        let counts = &audience.of_item;
        let mut order: Vec<u32> = (0..counts.len() as u32).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(counts[i as usize]));
        let limit = share * audience.total() as f64;
        let mut head = ShortHead { member: vec![false; counts.len()], len: 0 };
        let mut sum = 0u64;
        for item in order {
            if sum as f64 >= limit || counts[item as usize] == 0 {
                break;
            }
            sum += u64::from(counts[item as usize]);
            head.member[item as usize] = true;
            head.len += 1;
        }
        Ok(head)
    }

    /// Whether an item is popular.
    pub fn contains(&self, item: ItemId) -> bool {
        self.member.get(item.index()).copied().unwrap_or(false)
    }

    /// Number of popular items.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no item is popular.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
