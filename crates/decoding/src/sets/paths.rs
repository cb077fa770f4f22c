//! Live paths of order-free decoding, in flat columns.

use super::{PostingLists, SetRow};
use sidereal_core::Code;

/// Marks a codebook that a path has not used.
pub(super) const OPEN: Code = Code::MAX;

/// Paths of all requests, request after request, in flat columns.
#[derive(Debug, Default)]
pub(super) struct Paths {
    pub(super) heads: Vec<Head>,
    /// `paths x M`: the code of each codebook, or [`OPEN`].
    pub(super) codes: Vec<Code>,
    /// `paths x M`: codebooks in the order they were used; the first `step` count.
    pub(super) order: Vec<u32>,
    /// Identifiers that hold the paths' sets.
    pub(super) rows: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) request: u32,
    pub(super) full: f64,
    pub(super) masked: f64,
    /// Its part of [`Paths::rows`].
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A path and one more member.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extension {
    pub(super) path: u32,
    pub(super) codebook: u32,
    pub(super) code: Code,
    pub(super) full: f64,
    pub(super) masked: f64,
}

impl Paths {
    pub(super) fn clear(&mut self) {
        self.heads.clear();
        self.codes.clear();
        self.order.clear();
        self.rows.clear();
    }

    pub(super) fn codes(&self, path: usize, books: usize) -> &[Code] {
        &self.codes[path * books..(path + 1) * books]
    }

    pub(super) fn rows(&self, path: usize) -> &[u32] {
        &self.rows[self.heads[path].start..self.heads[path].end]
    }

    /// Code of the extended set in a codebook.
    pub(super) fn code_after(&self, e: &Extension, codebook: usize, books: usize) -> Code {
        if e.codebook as usize == codebook {
            e.code
        } else {
            self.codes[e.path as usize * books + codebook]
        }
    }

    /// Adds a path with one more member to `next`.
    pub(super) fn extend(
        &self,
        e: &Extension,
        step: usize,
        books: usize,
        index: &PostingLists,
        next: &mut Paths,
    ) {
        let path = e.path as usize;
        let at = next.codes.len();
        next.codes.extend_from_slice(self.codes(path, books));
        next.codes[at + e.codebook as usize] = e.code;
        next.order.extend_from_slice(&self.order[path * books..(path + 1) * books]);
        next.order[at + step] = e.codebook;
        let start = next.rows.len();
        index.extend(self.rows(path), e.codebook as usize, e.code, &mut next.rows);
        let (request, end) = (self.heads[path].request, next.rows.len());
        next.heads.push(Head { request, full: e.full, masked: e.masked, start, end });
    }
}

pub(super) fn root(request: u32) -> SetRow {
    SetRow { request, parent: 0, codebook: 0, code: 0 }
}

pub(super) fn open_books(codes: &[Code], open: &mut Vec<usize>) {
    open.clear();
    open.extend((0..codes.len()).filter(|&m| codes[m] == OPEN));
}
