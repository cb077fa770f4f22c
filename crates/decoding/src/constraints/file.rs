//! A [`Trie`] as a file: written whole or not at all, mapped or read, checked before it is used.
//!
//! Little-endian. A header of 128 bytes, then the sections, each filled up with zeros to a multiple
//! of 64 bytes:
//!
//! | bytes | header |
//! |---|---|
//! | 0..8 | `sidtrie\n` |
//! | 8..12, 12..16 | format, bytes a code (2 or 4) |
//! | 16..24, 24..32 | rows M, codes C |
//! | 32..40 | codes of every row, or 2^64 - 1 where they differ |
//! | 40..48, 48..56 | codes of the longest row, levels S with marks |
//! | 56..64 | version of the identifiers |
//! | 64..72, 72..80 | length of the file, checksum behind the header |
//! | 80..120, 120..128 | zeros, checksum of the bytes before |
//!
//! | section | numbers |
//! |---|---|
//! | codes | C |
//! | starts, where lengths differ | M + 1 of 4 bytes |
//! | marks and their summary, S times | M / 64 and M / 4096 of 8 bytes, rounded up |
//!
//! The checksums find accidents, not intent; a file made to deceive is found by [`Verify::Content`],
//! which makes everything but the codes again and compares. With [`Verify::Header`] a wrong file
//! gives wrong answers, but still no panic and no access outside of it: every look is bounded.
//!
//! See [`section`](super::section) on files that are changed while they are mapped.

use super::bits::Bits;
use super::section::{self, Number, Section};
use super::trie::{Column, Starts, Trie};
use memmap2::Mmap;
use sidereal_core::{Error, Result, files, seed};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"sidtrie\n";
const FORMAT: u32 = 1;
const HEADER: usize = 128;
const ALIGN: usize = 64;
/// Numbers that are turned into bytes at a time.
const BLOCK: usize = 1 << 16;
/// Stands for rows of differing length.
const VARYING: u64 = u64::MAX;

/// Where an opened index lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Place {
    /// In the file, which the system reads page by page as it is needed and shares between
    /// programs. Nobody may change the file meanwhile; replacing it by another is fine. On
    /// big-endian machines the file is read instead.
    #[default]
    Map,
    /// In memory; the file is read once and closed.
    Memory,
}

/// What is checked when an index is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// Everything: checksums, order of the rows, marks. One pass over the file.
    #[default]
    Content,
    /// The header and the length of the file. Opens any size at once.
    Header,
}

impl Trie {
    /// Writes the index to a file, whole or not at all.
    ///
    /// Errors: the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        files::write_atomic(path, |out| self.write(out))
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut sum = Checksum::default();
        let mut header = Header {
            code_bytes: match self.codes {
                Column::Narrow(_) => 2,
                Column::Wide(_) => 4,
            },
            rows: self.len() as u64,
            codes: self.codes.len() as u64,
            fixed: match self.starts {
                Starts::Fixed(len) => len as u64,
                Starts::Varying(_) => VARYING,
            },
            max_len: self.max_len as u64,
            levels: self.splits.len() as u64,
            version: self.version,
            body: 0,
        };
        self.each_block(&mut |bytes| {
            sum.update(bytes);
            Ok(())
        })?;
        header.body = sum.value();
        let length = header.length().ok_or_else(|| io::Error::other("too large for a file"))?;
        out.write_all(&header.bytes(length))?;
        self.each_block(&mut |bytes| out.write_all(bytes))
    }

    /// Opens what [`Trie::save`] wrote.
    ///
    /// Errors: a file that cannot be read, that is none of these, of another format, damaged or
    /// (with [`Verify::Content`]) not what a [`Trie`] would have written.
    pub fn open(path: &Path, place: Place, verify: Verify) -> Result<Self> {
        let mut file = File::open(path).map_err(|e| Error::read(path, e))?;
        let about = file.metadata().map_err(|e| Error::read(path, e))?;
        if !about.is_file() {
            return Err(Error::data(path, "not a regular file"));
        }
        let header = Header::read(path, &mut file, about.len())?;
        let trie = match place {
            Place::Map if cfg!(target_endian = "little") => {
                let map = section::map(path, &file)?;
                if map.len() as u64 != about.len() {
                    return Err(Error::data(path, "the file changes while it is opened"));
                }
                if verify == Verify::Content {
                    let mut sum = Checksum::default();
                    sum.update(map.get(HEADER..).unwrap_or_default());
                    header.check_body(path, sum)?;
                }
                header.trie(path, &mut Mapped { path, map, at: HEADER })?
            }
            _ => {
                let mut reader = Reader { path, file, sum: Checksum::default() };
                let trie = header.trie(path, &mut reader)?;
                if verify == Verify::Content {
                    header.check_body(path, reader.sum)?;
                }
                trie
            }
        };
        if verify == Verify::Content {
            trie.check_content().map_err(|what| damaged(path, what))?;
        }
        Ok(trie)
    }

    /// Whether everything is as [`Trie::assemble`] would have made it.
    fn check_content(&self) -> std::result::Result<(), &'static str> {
        if let Starts::Varying(starts) = &self.starts {
            let whole = starts.first() == Some(&0)
                && starts.last().is_some_and(|&end| end as usize == self.codes.len())
                && starts.windows(2).all(|w| w[0] < w[1]);
            if !whole {
                return Err("rows do not follow each other");
            }
        }
        let codes = |row| {
            let (start, end) = self.span(row);
            (start..end).map(|i| self.codes.get(i))
        };
        if !(1..self.len()).all(|row| codes(row - 1).lt(codes(row))) {
            return Err("rows are not in order");
        }
        let longest = (0..self.len()).map(|row| self.row_len(row)).max().unwrap_or(0);
        if longest != self.max_len || (longest == 0 && !self.is_empty()) {
            return Err("the longest row has another length");
        }
        if self.marks() != self.splits {
            return Err("the marks of new prefixes do not fit the rows");
        }
        Ok(())
    }

    /// Bytes of all sections, filled up.
    fn each_block(&self, write: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        match &self.codes {
            Column::Narrow(codes) => blocks(codes, write)?,
            Column::Wide(codes) => blocks(codes, write)?,
        }
        if let Starts::Varying(starts) = &self.starts {
            blocks(starts, write)?;
        }
        self.splits.iter().try_for_each(|bits| {
            blocks(&bits.words, write)?;
            blocks(&bits.summary, write)
        })
    }
}

fn blocks<T: Number>(
    numbers: &[T],
    write: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(numbers.len().min(BLOCK) * size_of::<T>() + ALIGN);
    for block in numbers.chunks(BLOCK) {
        bytes.clear();
        block.iter().for_each(|n| n.put_le(&mut bytes));
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
        write(&bytes)?;
    }
    Ok(())
}

fn damaged(path: &Path, what: &str) -> Error {
    Error::data(path, format!("damaged prefix index: {what}; make it again from its SID table"))
}

struct Header {
    code_bytes: u32,
    rows: u64,
    codes: u64,
    fixed: u64,
    max_len: u64,
    levels: u64,
    version: u64,
    body: u64,
}

impl Header {
    /// Length of the file, if it has one.
    fn length(&self) -> Option<u64> {
        let section = |n: u64, bytes: u64| n.checked_mul(bytes)?.checked_next_multiple_of(64);
        let words = self.rows.div_ceil(64);
        let marks = section(words, 8)?.checked_add(section(words.div_ceil(64), 8)?)?;
        let starts = match self.fixed {
            VARYING => section(self.rows.checked_add(1)?, 4)?,
            _ => 0,
        };
        (HEADER as u64)
            .checked_add(section(self.codes, u64::from(self.code_bytes))?)?
            .checked_add(starts)?
            .checked_add(marks.checked_mul(self.levels)?)
    }

    fn bytes(&self, length: u64) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        FORMAT.put_le(&mut bytes);
        self.code_bytes.put_le(&mut bytes);
        let numbers = [
            self.rows,
            self.codes,
            self.fixed,
            self.max_len,
            self.levels,
            self.version,
            length,
            self.body,
        ];
        numbers.iter().for_each(|n| n.put_le(&mut bytes));
        bytes.resize(HEADER - 8, 0);
        header_sum(&bytes).put_le(&mut bytes);
        bytes
    }

    fn read(path: &Path, file: &mut File, length: u64) -> Result<Self> {
        let mut bytes = [0u8; HEADER];
        if length < HEADER as u64 {
            return Err(Error::data(path, format!("no prefix index: only {length} bytes")));
        }
        file.read_exact(&mut bytes).map_err(|e| Error::read(path, e))?;
        if bytes[..8] != *MAGIC {
            return Err(Error::data(path, "no prefix index: it does not begin with `sidtrie`"));
        }
        let long = |at: usize| u64::read_le(&bytes[at..at + 8]);
        let format = u32::read_le(&bytes[8..12]);
        if format != FORMAT {
            return Err(Error::data(
                path,
                format!("a prefix index of format {format}; this program reads format {FORMAT}"),
            ));
        }
        if header_sum(&bytes[..HEADER - 8]) != long(HEADER - 8) {
            return Err(damaged(path, "wrong checksum of the header"));
        }
        let header = Header {
            code_bytes: u32::read_le(&bytes[12..16]),
            rows: long(16),
            codes: long(24),
            fixed: long(32),
            max_len: long(40),
            levels: long(48),
            version: long(56),
            body: long(72),
        };
        header.check(&bytes, long(64), length).map_err(|what| damaged(path, what))?;
        Ok(header)
    }

    /// Nothing is allocated before these hold.
    fn check(&self, bytes: &[u8], written: u64, length: u64) -> Result<(), &'static str> {
        let most = u64::from(u32::MAX);
        if !matches!(self.code_bytes, 2 | 4) {
            return Err("codes have neither 2 nor 4 bytes");
        }
        if self.rows > most {
            return Err("more rows than fit");
        }
        let lengths = match self.fixed {
            VARYING => self.codes <= most && self.max_len <= self.codes,
            len => {
                Some(self.codes) == self.rows.checked_mul(len)
                    && self.max_len == if self.rows == 0 { 0 } else { len }
            }
        };
        if !lengths {
            return Err("lengths of the rows do not fit their codes");
        }
        if self.levels > self.max_len.saturating_sub(1) {
            return Err("more levels than codes");
        }
        if bytes[80..HEADER - 8].iter().any(|&b| b != 0) {
            return Err("unknown fields in the header");
        }
        if self.length() != Some(written) {
            return Err("the length of the file does not fit its sections");
        }
        if length != written {
            return Err("the file is shorter or longer than it was written");
        }
        Ok(())
    }

    fn check_body(&self, path: &Path, sum: Checksum) -> Result<()> {
        if sum.value() == self.body { Ok(()) } else { Err(damaged(path, "wrong checksum")) }
    }

    /// The index from its sections, which come in their order.
    fn trie(&self, path: &Path, source: &mut impl Sections) -> Result<Trie> {
        let n =
            |n: u64| usize::try_from(n).map_err(|_| damaged(path, "too large for this machine"));
        let rows = n(self.rows)?;
        let codes = match self.code_bytes {
            2 => Column::Narrow(source.take(n(self.codes)?)?),
            _ => Column::Wide(source.take(n(self.codes)?)?),
        };
        let starts = match self.fixed {
            VARYING => Starts::Varying(source.take(rows + 1)?),
            len => Starts::Fixed(n(len)?),
        };
        let words = rows.div_ceil(64);
        let mut splits = Vec::new();
        for _ in 0..self.levels {
            splits.push(Bits {
                words: source.take(words)?,
                summary: source.take(words.div_ceil(64))?,
            });
        }
        let (rows, max_len) = (rows as u32, n(self.max_len)?);
        Ok(Trie { rows, max_len, codes, starts, splits, version: self.version })
    }
}

fn header_sum(bytes: &[u8]) -> u64 {
    // 120 bytes: filled up to whole steps.
    let mut whole = bytes.to_vec();
    whole.resize(whole.len().next_multiple_of(32), 0);
    let mut sum = Checksum::default();
    sum.update(&whole);
    sum.value()
}

/// Four sums side by side over numbers of 8 bytes. Each step can be undone, so one wrong number
/// always shows.
#[derive(Debug, Clone, Copy)]
struct Checksum([u64; 4]);

impl Default for Checksum {
    fn default() -> Self {
        Checksum([1, 2, 3, 4].map(seed::mix))
    }
}

impl Checksum {
    /// `bytes` are a multiple of 32.
    fn update(&mut self, bytes: &[u8]) {
        for step in bytes.chunks_exact(32) {
            for (sum, number) in self.0.iter_mut().zip(step.chunks_exact(8)) {
                *sum = (*sum ^ u64::read_le(number))
                    .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                    .rotate_left(29);
            }
        }
    }

    fn value(&self) -> u64 {
        self.0.iter().fold(0, |h, &sum| seed::mix(h ^ sum))
    }
}

/// Hands out the sections of a file one after the other.
trait Sections {
    fn take<T: Number>(&mut self, len: usize) -> Result<Section<T>>;
}

struct Mapped<'p> {
    path: &'p Path,
    map: Arc<Mmap>,
    at: usize,
}

impl Sections for Mapped<'_> {
    fn take<T: Number>(&mut self, len: usize) -> Result<Section<T>> {
        let section = Section::mapped(&self.map, self.at, len)
            .ok_or_else(|| damaged(self.path, "a section lies outside of the file"))?;
        self.at += (len * size_of::<T>()).next_multiple_of(ALIGN);
        Ok(section)
    }
}

struct Reader<'p> {
    path: &'p Path,
    file: File,
    sum: Checksum,
}

impl Sections for Reader<'_> {
    fn take<T: Number>(&mut self, len: usize) -> Result<Section<T>> {
        let mut numbers = Vec::with_capacity(len);
        let mut bytes = Vec::new();
        while numbers.len() < len {
            let n = (len - numbers.len()).min(BLOCK);
            bytes.resize((n * size_of::<T>()).next_multiple_of(ALIGN), 0);
            self.file.read_exact(&mut bytes).map_err(|e| Error::read(self.path, e))?;
            self.sum.update(&bytes);
            numbers.extend(bytes.chunks_exact(size_of::<T>()).take(n).map(T::read_le));
        }
        Ok(numbers.into())
    }
}

#[cfg(test)]
mod tests;
