//! Source ids to dense numbers: one arena of bytes and an open-addressing table.

use rustc_hash::FxHasher;
use sidereal_core::StringColumn;
use std::hash::Hasher;

/// Distinct ids in order of first appearance. The n-th new id gets number n.
pub(crate) struct Interner {
    /// High half: upper hash bits as a tag, low half: number + 1; 0 is a free slot.
    table: Vec<u64>,
    /// All ids, one after the other; each was checked to be UTF-8 when it came.
    arena: String,
    /// End of every id in the arena.
    ends: Vec<u64>,
}

/// Why an id was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    NotUtf8,
    Empty,
    Full,
}

impl Refused {
    /// In words, after the name of the field.
    pub(crate) fn say(self, field: &str) -> String {
        match self {
            Refused::NotUtf8 => format!("{field} is not valid UTF-8"),
            Refused::Empty => format!("{field} is empty"),
            Refused::Full => format!("more than {} different values of {field}", u32::MAX - 1),
        }
    }
}

impl Interner {
    pub(crate) fn new() -> Self {
        Interner { table: vec![0; 1024], arena: String::new(), ends: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of id `n`.
    pub(crate) fn get(&self, n: u32) -> &str {
        let n = n as usize;
        let start = if n == 0 { 0 } else { self.ends[n - 1] as usize };
        &self.arena[start..self.ends[n] as usize]
    }

    /// The number of `id`, a new one if it was never seen.
    #[inline]
    pub(crate) fn intern(&mut self, id: &[u8]) -> Result<u32, Refused> {
        let hash = hash(id);
        match self.find(id, hash) {
            Ok(n) => Ok(n),
            Err(slot) => self.insert(id, hash, slot),
        }
    }

    /// The number of `id` if it was seen.
    pub(crate) fn lookup(&self, id: &[u8]) -> Option<u32> {
        self.find(id, hash(id)).ok()
    }

    /// Number, or the free slot where it would go.
    #[inline]
    fn find(&self, id: &[u8], hash: u64) -> Result<u32, usize> {
        let mask = self.table.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let entry = self.table[slot];
            if entry == 0 {
                return Err(slot);
            }
            let n = entry as u32 - 1;
            if entry >> 32 == hash >> 32 && self.get(n).as_bytes() == id {
                return Ok(n);
            }
            slot = (slot + 1) & mask;
        }
    }

    #[cold]
    fn insert(&mut self, id: &[u8], hash: u64, slot: usize) -> Result<u32, Refused> {
        if id.is_empty() {
            return Err(Refused::Empty);
        }
        let n = u32::try_from(self.ends.len()).ok().filter(|&n| n < u32::MAX - 1);
        let n = n.ok_or(Refused::Full)?;
        self.arena.push_str(std::str::from_utf8(id).map_err(|_| Refused::NotUtf8)?);
        self.ends.push(self.arena.len() as u64);
        self.table[slot] = (hash >> 32 << 32) | u64::from(n + 1);
        if self.ends.len() * 2 > self.table.len() {
            self.grow();
        }
        Ok(n)
    }

    /// Doubles the table; load stays at or below one half.
    fn grow(&mut self) {
        let mask = self.table.len() * 2 - 1;
        let mut table = vec![0u64; mask + 1];
        for n in 0..self.ends.len() as u32 {
            let h = hash(self.get(n).as_bytes());
            let mut slot = h as usize & mask;
            while table[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            table[slot] = (h >> 32 << 32) | u64::from(n + 1);
        }
        self.table = table;
    }

    /// The ids with the given numbers as a column.
    pub(crate) fn column(&self, numbers: &[u32]) -> StringColumn {
        numbers.iter().map(|&n| self.get(n)).collect()
    }
}

#[inline]
fn hash(id: &[u8]) -> u64 {
    let mut h = FxHasher::default();
    h.write(id);
    // FxHasher mixes upwards and rotates at the end; one multiply more spreads both halves.
    let x = h.finish().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x ^ (x >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_empty_and_broken_ids() {
        let mut i = Interner::new();
        assert_eq!(i.intern(b""), Err(Refused::Empty));
        assert_eq!(i.intern(&[0xff, 0x41]), Err(Refused::NotUtf8));
        assert_eq!(i.len(), 0);
    }

    proptest! {
        #[test]
        fn numbers_follow_first_appearance(ids in prop::collection::vec("[a-f]{1,5}", 0..3000)) {
            let mut i = Interner::new();
            let mut seen: Vec<String> = Vec::new();
            for id in &ids {
                let want = seen.iter().position(|s| s == id).unwrap_or_else(|| {
                    seen.push(id.clone());
                    seen.len() - 1
                });
                prop_assert_eq!(i.intern(id.as_bytes()), Ok(want as u32));
            }
            for (n, id) in seen.iter().enumerate() {
                prop_assert_eq!(i.lookup(id.as_bytes()), Some(n as u32));
                prop_assert_eq!(i.get(n as u32), id.as_str());
            }
            prop_assert_eq!(i.lookup(b"zzz"), None);
        }
    }
}
