//! Source ids to dense numbers: one arena of records and an open-addressing table.
//!
//! With a million ids nearly every look-up misses the cache. The table therefore points straight
//! at the record, which holds number, length and bytes side by side: two misses, not four. Callers
//! with many look-ups ahead first [`touch`](Interner::touch) them all, so that the misses of a
//! batch run at the same time.

use rustc_hash::FxHasher;
use sidereal_core::StringColumn;
use std::hash::Hasher;

/// Distinct ids in order of first appearance. The n-th new id gets number n.
pub(crate) struct Interner {
    /// Upper bits: hash bits as a tag, lower [`PLACE`] bits: start of the record + 1; 0 is free.
    table: Vec<u64>,
    /// Records, one after the other: number (4 bytes), length (4 bytes), the id, which was checked
    /// to be UTF-8 when it came.
    arena: Vec<u8>,
    /// Start of every record.
    starts: Vec<u64>,
}

/// Bits of a place in the arena: up to 1 TiB of ids.
const PLACE: u32 = 40;
/// Bytes before the id.
const HEAD: usize = 8;

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
        Interner { table: vec![0; 1024], arena: Vec::new(), starts: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Id `n`.
    pub(crate) fn get(&self, n: u32) -> &str {
        let (_, id) = self.record(self.starts[n as usize] as usize);
        // Checked when it came; an empty text cannot happen.
        std::str::from_utf8(id).unwrap_or_default()
    }

    /// Number and bytes of the record at `start`.
    #[inline]
    fn record(&self, start: usize) -> (u32, &[u8]) {
        let head = &self.arena[start..start + HEAD];
        let number = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        (number, &self.arena[start + HEAD..start + HEAD + length])
    }

    /// The number of `id`, a new one if it was never seen; `hash` is [`hash`] of it.
    #[inline]
    pub(crate) fn intern(&mut self, id: &[u8], hash: u64) -> Result<u32, Refused> {
        match self.find(id, hash) {
            Ok(n) => Ok(n),
            Err(slot) => self.insert(id, hash, slot),
        }
    }

    /// Loads what a look-up of `hash` will need first; the value means nothing.
    #[inline]
    pub(crate) fn touch(&self, hash: u64) -> u64 {
        self.table[hash as usize & (self.table.len() - 1)]
    }

    /// Loads the record that a touched entry points at; the value means nothing.
    #[inline]
    pub(crate) fn touch_record(&self, entry: u64) -> u8 {
        let place = (entry & ((1 << PLACE) - 1)) as usize;
        self.arena.get(place).copied().unwrap_or(0)
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
            if entry >> PLACE == hash >> PLACE {
                let (n, known) = self.record((entry & ((1 << PLACE) - 1)) as usize - 1);
                if known == id {
                    return Ok(n);
                }
            }
            slot = (slot + 1) & mask;
        }
    }

    #[cold]
    fn insert(&mut self, id: &[u8], hash: u64, slot: usize) -> Result<u32, Refused> {
        if id.is_empty() {
            return Err(Refused::Empty);
        }
        if std::str::from_utf8(id).is_err() {
            return Err(Refused::NotUtf8);
        }
        let start = self.arena.len() as u64;
        let n = u32::try_from(self.starts.len()).ok().filter(|&n| n < u32::MAX - 1);
        let n = n.filter(|_| start + 1 < 1 << PLACE).ok_or(Refused::Full)?;
        let length = u32::try_from(id.len()).map_err(|_| Refused::Full)?;
        self.arena.extend_from_slice(&n.to_le_bytes());
        self.arena.extend_from_slice(&length.to_le_bytes());
        self.arena.extend_from_slice(id);
        self.starts.push(start);
        self.table[slot] = entry(hash, start);
        if self.starts.len() * 2 > self.table.len() {
            self.grow();
        }
        Ok(n)
    }

    /// Doubles the table; load stays at or below one half.
    #[cold]
    fn grow(&mut self) {
        let mask = self.table.len() * 2 - 1;
        let mut table = vec![0u64; mask + 1];
        for &start in &self.starts {
            let h = hash(self.record(start as usize).1);
            let mut slot = h as usize & mask;
            while table[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            table[slot] = entry(h, start);
        }
        self.table = table;
    }

    /// The ids with the given numbers as a column.
    pub(crate) fn column(&self, numbers: &[u32]) -> StringColumn {
        numbers.iter().map(|&n| self.get(n)).collect()
    }
}

#[inline]
fn entry(hash: u64, start: u64) -> u64 {
    (hash >> PLACE << PLACE) | (start + 1)
}

/// Hash of an id, for [`Interner::intern`].
#[inline]
pub(crate) fn hash(id: &[u8]) -> u64 {
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
        assert_eq!(i.intern(b"", hash(b"")), Err(Refused::Empty));
        assert_eq!(i.intern(&[0xff, 0x41], 7), Err(Refused::NotUtf8));
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
                prop_assert_eq!(i.intern(id.as_bytes(), hash(id.as_bytes())), Ok(want as u32));
            }
            for (n, id) in seen.iter().enumerate() {
                prop_assert_eq!(i.lookup(id.as_bytes()), Some(n as u32));
                prop_assert_eq!(i.get(n as u32), id.as_str());
            }
            prop_assert_eq!(i.lookup(b"zzz"), None);
        }
    }
}
