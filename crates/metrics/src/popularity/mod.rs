//! Metrics that set recommendations against what training users knew: long tail, popularity bias,
//! novelty. As in Elliot v0.3.1 the popularity of an item is the number of distinct users who have
//! it in training.

mod arp;
mod bias;
mod epc;
mod long_tail;
mod self_information;
mod short_head;
mod tail_percentage;

pub use arp::Arp;
pub use bias::{PopReo, PopRsp};
pub use epc::{Efd, Epc};
pub use long_tail::{Aclt, Aplt, LongTailOptions};
pub use self_information::SelfInformation;
pub use short_head::ShortHead;
pub use tail_percentage::{TailOptions, TailPercentage};

use sidereal_core::{Error, Result, Sequences};

/// Distinct training users of each item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    /// Users who have the item, one count an item.
    pub of_item: Vec<u32>,
    /// Users with at least one item.
    pub users: usize,
}

impl Audience {
    /// Counts users, repeats left out. Cost: one stamp an item, one pass over the interactions.
    /// Fails when an item is outside the catalogue.
    pub fn of(train: &Sequences, n_items: usize) -> Result<Self> {
        let mut audience = Audience { of_item: vec![0; n_items], users: 0 };
        let mut last_user = vec![u32::MAX; n_items];
        for (user, items) in train.iter() {
            audience.users += usize::from(!items.is_empty());
            for item in items {
                let last = last_user.get_mut(item.index()).ok_or_else(|| {
                    Error::mismatch(format!(
                        "training user {} has item {}, outside the catalogue of {n_items} items",
                        user.0, item.0
                    ))
                })?;
                if std::mem::replace(last, user.0) != user.0 {
                    audience.of_item[item.index()] += 1;
                }
            }
        }
        Ok(audience)
    }

    /// Sum over items.
    pub fn total(&self) -> u64 {
        self.of_item.iter().map(|&c| u64::from(c)).sum()
    }
}
