//! Version of a set of identifiers: equal sets have equal versions, in whatever order they came.
//!
//! A sum of hashes of the identifiers, so one more or one less costs its codes. It tells sets apart
//! that differ by accident (one in 2^64), not by intent.

use sidereal_core::{Code, seed};

/// Sum of hashes and number of the identifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SetVersion {
    sum: u64,
    count: u64,
}

impl SetVersion {
    pub fn add(&mut self, sid: impl Iterator<Item = Code>) {
        self.sum = self.sum.wrapping_add(hash(sid));
        self.count += 1;
    }

    /// Takes out one that was added.
    pub fn remove(&mut self, sid: impl Iterator<Item = Code>) {
        self.sum = self.sum.wrapping_sub(hash(sid));
        self.count = self.count.wrapping_sub(1);
    }

    pub fn value(self) -> u64 {
        seed::mix(seed::key(self.count, "identifiers", 0) ^ self.sum)
    }
}

fn hash(sid: impl Iterator<Item = Code>) -> u64 {
    let mut len = 0u64;
    let h = sid.fold(0x5eed, |h, code| {
        len += 1;
        seed::mix(h ^ (u64::from(code) + 1))
    });
    seed::mix(h.wrapping_add(len))
}
