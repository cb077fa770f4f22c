//! Several codebooks as one.

use crate::files::codebook_from_tensors;
use sidereal_core::{Code, Codebook, Codes, Error, Matrix, Result, Run, Silent, seed};
use std::collections::BTreeMap;

/// Codebooks whose codes stand side by side.
pub(super) struct Parts {
    books: Vec<Box<dyn Codebook>>,
    widths: Vec<u32>,
}

impl Parts {
    /// From codebooks in the order of their codes.
    pub fn new(books: Vec<Box<dyn Codebook>>) -> Self {
        let widths = books.iter().flat_map(|b| b.widths()).copied().collect();
        Parts { books, widths }
    }

    pub fn books(&self) -> &[Box<dyn Codebook>] {
        &self.books
    }

    pub fn widths(&self) -> &[u32] {
        &self.widths
    }

    /// Codes of all parts side by side.
    ///
    /// Errors: codes of variable depth in a part that is not the last, whose padding would stand
    /// between codes.
    pub fn join(&self, rows: usize, parts: &[Codes]) -> Result<Codes> {
        let last = parts.len().saturating_sub(1);
        if let Some(m) = parts[..last].iter().position(|c| c.data().contains(&Codes::NONE)) {
            return Err(Error::mismatch(format!(
                "part {} of the quantizer gives codes of variable depth; only the last part may",
                m + 1
            )));
        }
        let levels = parts.iter().map(Codes::levels).sum();
        let mut data: Vec<Code> = Vec::with_capacity(rows * levels);
        for i in 0..rows {
            parts.iter().for_each(|c| data.extend_from_slice(c.row(i)));
        }
        Codes::new(rows, levels, data)
    }

    /// The codes of each part, and how many of its levels are among the first `levels` of all; `None`
    /// where the codes have fewer.
    pub fn split(&self, codes: &Codes, levels: usize) -> Option<Vec<Share>> {
        if levels > self.widths.len().min(codes.levels()) {
            return None;
        }
        let mut first = 0;
        let mut out = Vec::with_capacity(self.books.len());
        for book in &self.books {
            let used = levels.saturating_sub(first).min(book.widths().len());
            // Behind the last level that is asked for there is nothing to read.
            let range = if used == 0 { 0..0 } else { first..first + used };
            let row = |i: usize| &codes.row(i)[range.clone()];
            let data = (0..codes.rows()).flat_map(row).copied().collect();
            out.push(Share { codes: Codes::new(codes.rows(), used, data).ok()?, levels: used });
            first += book.widths().len();
        }
        Some(out)
    }

    /// The part of a level, and the level within the part.
    ///
    /// Errors: no such level.
    pub fn part_of(&self, level: usize) -> Result<PartLevel> {
        let mut first = 0;
        for (part, book) in self.books.iter().enumerate() {
            let count = book.widths().len();
            if level < first + count {
                return Ok(PartLevel { part, level: level - first });
            }
            first += count;
        }
        Err(Error::mismatch(format!("level {level} of a codebook of {first} levels")))
    }

    /// Tensors of all parts, `{prefix}{part}.{name}`.
    pub fn tensors(&self, prefix: &str) -> Vec<(String, Matrix)> {
        let mut out = Vec::new();
        for (m, book) in self.books.iter().enumerate() {
            let tensors = book.tensors().into_iter();
            out.extend(tensors.map(|(name, t)| (format!("{prefix}{m}.{name}"), t)));
        }
        out
    }

    /// From what [`Parts::tensors`] gives.
    ///
    /// Errors: another name, a part that is missing, tensors of a codebook that this crate does not
    /// know.
    pub fn from_tensors(tensors: Vec<(String, Matrix)>, prefix: &str) -> Result<Self> {
        let mut parts: BTreeMap<usize, Vec<(String, Matrix)>> = BTreeMap::new();
        for (name, tensor) in tensors {
            let split = name.strip_prefix(prefix).and_then(|rest| rest.split_once('.'));
            let part = split.and_then(|(m, rest)| Some((m.parse().ok()?, rest.to_string())));
            let Some((m, rest)) = part else {
                return Err(Error::mismatch(format!(
                    "codebook of parts: unknown tensor `{name}`; expected `{prefix}0.`, \
                     `{prefix}1.`, ... and the name of a part's tensor"
                )));
            };
            parts.entry(m).or_default().push((rest, tensor));
        }
        if let Some((at, _)) = parts.keys().enumerate().find(|(at, m)| at != *m) {
            return Err(Error::mismatch(format!(
                "codebook of parts: the tensors of part {at} (`{prefix}{at}.`) are missing"
            )));
        }
        let books = parts.into_values().map(codebook_from_tensors).collect::<Result<Vec<_>>>()?;
        if books.is_empty() {
            return Err(Error::mismatch("codebook of parts: no part"));
        }
        Ok(Parts::new(books))
    }
}

/// A level of one part.
pub(super) struct PartLevel {
    pub part: usize,
    pub level: usize,
}

/// Codes of one part.
pub(super) struct Share {
    /// The first levels of the part that are asked for.
    pub codes: Codes,
    /// How many those are.
    pub levels: usize,
}

/// The run of part `m`: a seed of its own and nobody who listens.
pub(super) fn part_run<'a>(run: &Run<'a>, purpose: &str, m: usize) -> Run<'a> {
    Run { seed: seed::key(run.seed, purpose, m as u64), observer: &Silent, ..run.clone() }
}
