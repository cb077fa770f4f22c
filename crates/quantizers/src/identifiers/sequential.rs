//! `sequential`: items are numbered as users meet them, so neighbours in time share digits.
//!
//! The sequential indexing (SID) of arXiv 2305.06569: users in some order, each user's items in
//! time; an item that is met for the first time gets the next number, from 1001. Numbers are written
//! in digits, and items bought one after the other share their first ones.
//!
//! Only training histories are walked. Items that no training history has come last, by their
//! source id: their order says nothing of the targets, even where the catalogue is numbered as the
//! data were read. (Numbering in the order of whole histories, targets included, puts the answer
//! into the ID.)
//!
//! Deviations: numbers have a fixed count of digits in `base`, two decimal digits a code by default,
//! where the paper leaves the cut to the subword tokenizer of T5.
//!
//! Cost: one pass over the interactions, `O(U log U)` for the order of users.

use super::Ids;
use super::ids::{digit_count, digits};
use super::random_id::check_base;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use sidereal_core::{
    CodeOrder, EncoderInput, Identifier, IdentifierInput, ItemId, Result, Run, SidTable, UserId,
    seed,
};
use std::cmp::Reverse;

/// Which users are walked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserOrder {
    /// As the data have them.
    Original,
    /// Short histories first.
    ShortToLong,
    /// Long histories first.
    LongToShort,
    /// Shuffled.
    Random,
}

sidereal_core::options! {
    /// Options of `sequential`.
    pub struct SequentialOptions {
        /// Which users are walked first: `original`, `short-to-long`, `long-to-short` or `random`;
        /// users with equally long histories stay as the data have them.
        pub users: UserOrder = UserOrder::Original,
        /// The first number.
        pub start: u32 = 1001,
        /// Codes of each digit, 2 to 65536; 100 is two decimal digits.
        pub base: u32 = 100,
    }
}

/// Numbers the items.
#[derive(Debug, Clone)]
pub struct Sequential {
    options: SequentialOptions,
}

impl Sequential {
    /// Checks the options.
    ///
    /// Errors name the key under `identifier`, its value and what is allowed.
    pub fn new(options: SequentialOptions) -> Result<Self> {
        check_base(options.base)?;
        Ok(Sequential { options })
    }

    /// The number of each item.
    pub fn numbers(&self, catalogue: &EncoderInput<'_>, run: &Run<'_>) -> Vec<u64> {
        const NONE: u64 = u64::MAX;
        let EncoderInput { items, train } = catalogue;
        let mut users: Vec<u32> = (0..train.len() as u32).collect();
        let length = |u: &u32| train.items(UserId(*u)).len();
        match self.options.users {
            UserOrder::Original => {}
            UserOrder::ShortToLong => users.sort_by_key(length),
            UserOrder::LongToShort => users.sort_by_key(|u| Reverse(length(u))),
            UserOrder::Random => {
                users.shuffle(&mut seed::stream(run.seed, "sequential-users", 0));
            }
        }
        let mut numbers = vec![NONE; items.len()];
        let mut next = u64::from(self.options.start)..;
        let mut name = |item: ItemId| {
            if let Some(number @ &mut NONE) = numbers.get_mut(item.index()) {
                *number = next.next().unwrap_or(NONE);
            }
        };
        users.iter().flat_map(|&u| train.items(UserId(u))).for_each(|&item| name(item));
        let mut unseen: Vec<u32> =
            (0..items.len() as u32).filter(|&i| numbers[i as usize] == NONE).collect();
        unseen.sort_by_key(|&i| (items.id(ItemId(i)), i));
        for (item, number) in unseen.into_iter().zip(next) {
            numbers[item as usize] = number;
        }
        numbers
    }
}

impl Identifier for Sequential {
    fn identify(&self, input: &IdentifierInput<'_>, run: &Run<'_>) -> Result<SidTable> {
        let numbers = self.numbers(&input.catalogue, run);
        let base = self.options.base;
        let count = digit_count(numbers.iter().copied().max().unwrap_or(0), base);
        let mut ids = Ids::new();
        numbers.iter().for_each(|&number| ids.extend(digits(number, base, count)));
        ids.table(CodeOrder::Sequence)
    }

    fn reads_codes(&self) -> bool {
        false
    }
}
