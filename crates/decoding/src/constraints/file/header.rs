//! The header of an index file, and the checksum of both its parts.

use super::super::section::Number;
use super::{HEADER, damaged};
use sidereal_core::{Error, Result, seed};
use std::fs::File;
use std::io::Read;
use std::path::Path;

const MAGIC: &[u8; 8] = b"sidtrie\n";
const FORMAT: u32 = 1;
/// Stands for rows of differing length.
pub(super) const VARYING: u64 = u64::MAX;

pub(super) struct Header {
    pub code_bytes: u32,
    pub rows: u64,
    pub codes: u64,
    pub fixed: u64,
    pub max_len: u64,
    pub levels: u64,
    pub version: u64,
    pub body: u64,
}

impl Header {
    /// Length of the file, if it has one.
    pub fn length(&self) -> Option<u64> {
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

    pub fn bytes(&self, length: u64) -> Vec<u8> {
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

    pub fn read(path: &Path, file: &mut File, length: u64) -> Result<Self> {
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
                    // Else a file of no size could have billions of rows to look through.
                    && (self.rows == 0 || len > 0)
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

    pub fn check_body(&self, path: &Path, sum: Checksum) -> Result<()> {
        if sum.value() == self.body { Ok(()) } else { Err(damaged(path, "wrong checksum")) }
    }
}

pub(super) fn header_sum(bytes: &[u8]) -> u64 {
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
pub(super) struct Checksum([u64; 4]);

impl Default for Checksum {
    fn default() -> Self {
        Checksum([1, 2, 3, 4].map(seed::mix))
    }
}

impl Checksum {
    /// `bytes` are a multiple of 32.
    pub fn update(&mut self, bytes: &[u8]) {
        for step in bytes.chunks_exact(32) {
            for (sum, number) in self.0.iter_mut().zip(step.chunks_exact(8)) {
                *sum = (*sum ^ u64::read_le(number))
                    .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                    .rotate_left(29);
            }
        }
    }

    pub fn value(&self) -> u64 {
        self.0.iter().fold(0, |h, &sum| seed::mix(h ^ sum))
    }
}
