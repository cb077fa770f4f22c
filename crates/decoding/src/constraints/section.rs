//! A run of numbers that lies in memory or in a mapped file, read the same way.
//!
//! The only `unsafe` of the crate. A mapped file belongs to whoever can write it: a program that
//! changes it changes what is read here, and one that shortens it kills this program at its next
//! look (SIGBUS). Nothing can be checked against that from inside; files are written under another
//! name and renamed ([`sidereal_core::files::write_atomic`]), so that a file in use is never
//! touched.

use memmap2::Mmap;
use sidereal_core::{Error, Result};
use std::fs::File;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

/// Whole numbers of a fixed width: every pattern of bits is one.
pub(super) trait Number: Copy + Eq + Send + Sync + 'static {
    /// Its first bytes as a number, little-endian; `bytes` is as long as it is.
    fn read_le(bytes: &[u8]) -> Self;
    /// Appends its bytes, little-endian.
    fn put_le(self, out: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($t:ty),*) => {$(
        impl Number for $t {
            fn read_le(bytes: &[u8]) -> Self {
                let mut array = [0; size_of::<$t>()];
                array.copy_from_slice(bytes);
                <$t>::from_le_bytes(array)
            }

            fn put_le(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

numbers!(u16, u32, u64);

/// Numbers that do not change, behind a pointer that can be shared.
#[derive(Clone)]
pub(super) struct Section<T: Number> {
    /// Points into `_owner`; never handed out for longer than `self` lives.
    numbers: &'static [T],
    _owner: Owner<T>,
}

#[derive(Clone)]
#[allow(dead_code)] // held, never read
enum Owner<T> {
    Memory(Arc<Vec<T>>),
    File(Arc<Mmap>),
}

impl<T: Number> Section<T> {
    /// `len` numbers from byte `start` of a file; none where they do not lie inside, aligned.
    pub fn mapped(map: &Arc<Mmap>, start: usize, len: usize) -> Option<Self> {
        let bytes = map.get(start..start.checked_add(len.checked_mul(size_of::<T>())?)?)?;
        let first = bytes.as_ptr().cast::<T>();
        if cfg!(target_endian = "big") || !first.is_aligned() {
            return None;
        }
        // SAFETY: the bytes lie in the map, are aligned, and every pattern of bits is a `Number`.
        // The map does not move and lives as long as `_owner`, thus as long as `self`, and the
        // slice is private and handed out for the life of `self` only. That nobody else changes
        // the file is asked of the caller, above.
        let numbers = unsafe { std::slice::from_raw_parts(first, len) };
        Some(Section { numbers, _owner: Owner::File(map.clone()) })
    }
}

impl<T: Number> From<Vec<T>> for Section<T> {
    fn from(mut vec: Vec<T>) -> Self {
        vec.shrink_to_fit();
        let vec = Arc::new(vec);
        // SAFETY: the vector never changes behind its `Arc`, so its numbers stay where they are for
        // as long as `_owner` lives, thus as long as `self`; the slice is private and handed out
        // for the life of `self` only.
        let numbers = unsafe { std::slice::from_raw_parts(vec.as_ptr(), vec.len()) };
        Section { numbers, _owner: Owner::Memory(vec) }
    }
}

impl<T: Number> Deref for Section<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.numbers
    }
}

impl<T: Number> PartialEq for Section<T> {
    fn eq(&self, other: &Self) -> bool {
        self.numbers == other.numbers
    }
}

impl<T: Number> Eq for Section<T> {}

impl<T: Number> std::fmt::Debug for Section<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} numbers", self.len())
    }
}

/// Maps a file that was opened for reading.
pub(super) fn map(path: &Path, file: &File) -> Result<Arc<Mmap>> {
    // SAFETY: that the file keeps its bytes while it is mapped is asked of the caller, above.
    let map = unsafe { Mmap::map(file) };
    map.map(Arc::new).map_err(|e| Error::read(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_of_memory_and_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("numbers");
        std::fs::write(&path, [1u8, 0, 0, 0, 2, 1, 0, 0, 9]).unwrap();
        let map = map(&path, &File::open(&path).unwrap()).unwrap();
        let section = Section::<u32>::mapped(&map, 0, 2).unwrap();
        assert_eq!(section, Section::from(vec![1, 258]));
        assert!(Section::<u32>::mapped(&map, 4, 2).is_none(), "beyond the end");
        assert!(Section::<u32>::mapped(&map, 2, 1).is_none(), "not aligned");
        assert!(Section::<u64>::mapped(&map, 8, usize::MAX).is_none());
        assert!(Section::<u64>::mapped(&map, usize::MAX, 1).is_none());
        // A copy outlives the first, and the map the name that opened it.
        let copy = section.clone();
        drop((section, map, dir));
        assert_eq!(copy[..], [1, 258]);
        assert!(Section::from(Vec::<u16>::new()).is_empty());
    }
}
