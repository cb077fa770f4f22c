//! Quantizers side by side: `grouped`.
//!
//! The columns are cut into runs of (nearly) equal width, as [`crate::pq`] cuts them, and each run has
//! a quantizer of its own; codes are concatenated, and so are reconstructions. With one-level
//! `rq-kmeans` in every group this is `pq`, to the bit and under the same seed.
//!
//! Side inputs and the catalogue are passed on to every part. Columns whose first codes are left away
//! are what their part makes of no codes. Cost: that of the parts; memory beside the vectors one run
//! of columns (`N D / G`).

use super::parts::{Parts, part_run};
use crate::pq::{columns, cut};
use crate::residual::check_vectors;
use sidereal_core::component::Inner;
use sidereal_core::{
    Codebook, Codes, Error, Event, Matrix, MatrixRef, Quantizer, QuantizerInput, Result, Run,
};

sidereal_core::options! {
    /// Options of `grouped`.
    pub struct GroupedOptions {
        /// Runs of columns, at most one a column; 0 takes as many as `parts`. With one entry in `parts`
        /// every group gets that quantizer.
        pub groups: u32 = 0,
        /// Quantizers, 1 to 64: names, or tables with a `type` and options; one for each group, or one
        /// for all.
        pub parts: Vec<Inner> = vec![Inner::Name("rq-kmeans".into()), Inner::Name("rq-kmeans".into())],
    }
}

/// Start of the tensors' names.
pub(super) const PREFIX: &str = "grouped.";

/// Name of the tensor with the number of columns of each group.
const COLUMNS: &str = "grouped.columns";

/// Fits a [`GroupedCodebook`].
pub struct Grouped {
    groups: usize,
    parts: Vec<Box<dyn Quantizer>>,
}

impl Grouped {
    /// From quantizers, one for each group or one for all; 0 groups take as many as there are
    /// quantizers.
    ///
    /// Errors: none or more than 64 quantizers or groups, another number of groups than quantizers.
    pub fn new(parts: Vec<Box<dyn Quantizer>>, groups: u32) -> Result<Self> {
        let groups = if groups == 0 { parts.len() } else { groups as usize };
        if parts.is_empty() || parts.len() > 64 {
            let message = format!("{} quantizers; expected a list of 1 to 64", parts.len());
            return Err(Error::config("quantizer.parts", message));
        }
        if groups > 64 || (parts.len() > 1 && groups != parts.len()) {
            let message = format!(
                "got {groups} with {} quantizers; expected at most 64, and as many as quantizers \
                 unless there is one",
                parts.len()
            );
            return Err(Error::config("quantizer.groups", message));
        }
        Ok(Grouped { groups, parts })
    }
}

impl Quantizer for Grouped {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        let vectors = input.vectors;
        check_vectors(vectors)?;
        if self.groups > vectors.cols() {
            let message = format!(
                "{} groups of vectors of width {}; expected at most one group a column",
                self.groups,
                vectors.cols()
            );
            return Err(Error::config("quantizer.groups", message));
        }
        let total = self.groups as u64;
        run.emit(Event::Started { task: "grouped", total, unit: "groups" });
        let mut books = Vec::with_capacity(self.groups);
        let mut widths = Vec::with_capacity(self.groups);
        for (m, range) in cut(vectors.cols(), self.groups).enumerate() {
            run.check()?;
            widths.push(range.len());
            let own = columns(vectors, range);
            let part = &self.parts[if self.parts.len() == 1 { 0 } else { m }];
            let here = QuantizerInput { vectors: own.view(), ..*input };
            books.push(part.fit(&here, &part_run(run, crate::pq::SEED, m))?);
            run.emit(Event::Advanced { task: "grouped", done: m as u64 + 1, numbers: &[] });
        }
        run.emit(Event::Finished { task: "grouped" });
        Ok(Box::new(GroupedCodebook { parts: Parts::new(books), columns: widths }))
    }
}

/// Codebooks side by side, each for its own columns.
pub struct GroupedCodebook {
    parts: Parts,
    /// Columns of each part.
    columns: Vec<usize>,
}

impl GroupedCodebook {
    /// From what [`Codebook::tensors`] gives.
    pub fn from_tensors(tensors: Vec<(String, Matrix)>) -> Result<Self> {
        let (own, tensors): (Vec<_>, Vec<_>) =
            tensors.into_iter().partition(|(name, _)| name == COLUMNS);
        let parts = Parts::from_tensors(tensors, PREFIX)?;
        let columns = own.first().map_or(&[][..], |(_, m)| m.data());
        let columns = crate::autoencoder::whole_numbers(columns)?;
        if columns.len() != parts.books().len() || columns.contains(&0) {
            return Err(Error::mismatch(format!(
                "grouped codebook: `{COLUMNS}` must have a number above 0 for each of {} parts",
                parts.books().len()
            )));
        }
        let columns = columns.into_iter().map(|c| c as usize).collect();
        Ok(GroupedCodebook { parts, columns })
    }

    /// The codebooks, in the order of the columns.
    pub fn books(&self) -> &[Box<dyn Codebook>] {
        self.parts.books()
    }

    fn dim(&self) -> usize {
        self.columns.iter().sum()
    }

    /// Each codebook with its first column and the number of columns.
    fn groups(&self) -> impl Iterator<Item = (&dyn Codebook, std::ops::Range<usize>)> {
        let mut start = 0;
        self.parts.books().iter().zip(&self.columns).map(move |(book, &width)| {
            let range = start..start + width;
            start = range.end;
            (book.as_ref(), range)
        })
    }
}

impl Codebook for GroupedCodebook {
    fn widths(&self) -> &[u32] {
        self.parts.widths()
    }

    fn quantize(&self, input: &QuantizerInput<'_>) -> Result<Codes> {
        let vectors = input.vectors;
        if vectors.cols() != self.dim() {
            return Err(Error::mismatch(format!(
                "the codebook was fitted on vectors of width {}, got width {}",
                self.dim(),
                vectors.cols()
            )));
        }
        let mut codes = Vec::with_capacity(self.columns.len());
        for (book, range) in self.groups() {
            let own = columns(vectors, range);
            codes.push(book.quantize(&QuantizerInput { vectors: own.view(), ..*input })?);
        }
        self.parts.join(vectors.rows(), &codes)
    }

    fn reconstruct(&self, codes: &Codes, levels: usize) -> Option<Matrix> {
        let shares = self.parts.split(codes, levels)?;
        let mut out = Matrix::zeros(codes.rows(), self.dim());
        for ((book, range), share) in self.groups().zip(&shares) {
            let own = book.reconstruct(&share.codes, share.levels)?;
            if own.cols() != range.len() {
                return None;
            }
            for i in 0..codes.rows() {
                out.row_mut(i)[range.clone()].copy_from_slice(own.row(i));
            }
        }
        Some(out)
    }

    fn distances(
        &self,
        vectors: MatrixRef<'_>,
        codes: &Codes,
        level: usize,
    ) -> Result<Option<Matrix>> {
        let at = self.parts.part_of(level)?;
        let shares = self.parts.split(codes, level);
        let group = self.groups().zip(shares.into_iter().flatten()).nth(at.part);
        let ((book, range), share) = match group {
            Some(group) if vectors.cols() == self.dim() && vectors.rows() == codes.rows() => group,
            _ => return Err(Error::mismatch("distances: shapes that do not fit the codebook")),
        };
        book.distances(columns(vectors, range).view(), &share.codes, at.level)
    }

    fn tensors(&self) -> Vec<(String, Matrix)> {
        let mut out = self.parts.tensors(PREFIX);
        let mut columns = Matrix::zeros(1, self.columns.len());
        columns.data_mut().iter_mut().zip(&self.columns).for_each(|(v, c)| *v = *c as f32);
        out.push((COLUMNS.into(), columns));
        out
    }
}
