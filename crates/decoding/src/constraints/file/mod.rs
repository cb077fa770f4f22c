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
//! A mapped file belongs to whoever can write it: one that is changed changes what is read here,
//! and one that is shortened kills the program at its next look (SIGBUS). [`Trie::save`] never does
//! either; where others might, use [`Place::Memory`].

mod header;

use super::bits::Bits;
use super::section::{self, Number, Section};
use super::trie::{Column, Starts, Trie};
use header::{Checksum, Header, VARYING};
use memmap2::Mmap;
use sidereal_core::{Error, Result, files};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

const HEADER: usize = 128;
const ALIGN: usize = 64;
/// Numbers that are turned into bytes at a time.
const BLOCK: usize = 1 << 16;

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

impl Header {
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
