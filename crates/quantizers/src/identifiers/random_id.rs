//! `random-id`: distinct random numbers, written in digits.
//!
//! The random indexing (RID) of arXiv 2305.06569: every item gets a number at random, no number
//! twice, and the model reads its digits, which unrelated items share. The same control for codes
//! that are random but not distinct is the quantizer `random`.
//!
//! Deviations: numbers are written with a fixed count of digits in `base` (the paper writes 1000 to
//! 13000 in decimal and lets the subword tokenizer of T5 cut them), so IDs have one length and none
//! begins another.

use super::Ids;
use super::ids::{digit_count, digits};
use rand::seq::index;
use sidereal_core::{CodeOrder, Error, Identifier, IdentifierInput, Result, Run, SidTable, seed};

sidereal_core::options! {
    /// Options of `random-id`.
    pub struct RandomIdOptions {
        /// Codes of each digit, 2 to 65536.
        pub base: u32 = 10,
        /// Digits, 1 to 64, or 0 for as few as give every item its number.
        pub digits: u32 = 0,
    }
}

/// Draws the numbers.
#[derive(Debug, Clone)]
pub struct RandomId {
    options: RandomIdOptions,
}

/// Refuses bases outside 2 to 65536.
pub(super) fn check_base(base: u32) -> Result<()> {
    if (2..=65536).contains(&base) {
        return Ok(());
    }
    Err(Error::config("identifier.base", format!("got {base}; expected 2 to 65536")))
}

impl RandomId {
    /// Checks the options.
    ///
    /// Errors name the key under `identifier`, its value and what is allowed.
    pub fn new(options: RandomIdOptions) -> Result<Self> {
        check_base(options.base)?;
        if options.digits > 64 {
            let message = format!("got {}; expected 0 to 64", options.digits);
            return Err(Error::config("identifier.digits", message));
        }
        Ok(RandomId { options })
    }
}

impl Identifier for RandomId {
    fn identify(&self, input: &IdentifierInput<'_>, run: &Run<'_>) -> Result<SidTable> {
        let (items, RandomIdOptions { base, digits: count }) =
            (input.catalogue.items.len(), self.options.clone());
        let count = match count {
            0 => digit_count((items as u64).saturating_sub(1), base),
            count => count as usize,
        };
        // Numbers beyond 2^48 are not needed to tell items apart.
        let room = (0..count).fold(1u64, |n, _| n.saturating_mul(u64::from(base)).min(1 << 48));
        if room < items as u64 {
            let message =
                format!("{count} digits in base {base} give {room} IDs for {items} items");
            return Err(Error::config("identifier.digits", message));
        }
        let mut rng = seed::stream(run.seed, "random-id", 0);
        let mut ids = Ids::new();
        for number in index::sample(&mut rng, room as usize, items) {
            ids.extend(digits(number as u64, base, count));
        }
        ids.table(CodeOrder::Sequence)
    }

    fn reads_codes(&self) -> bool {
        false
    }
}
