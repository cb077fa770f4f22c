//! Product quantization: `pq`.
//!
//! The vector is cut into M parts of (nearly) equal width and each part has its own k-means:
//! `c_m = argmin_k |x_m - C_m[k]|^2`, and `x^` is the concatenation of the `C_m[c_m]` (Jegou, Douze
//! and Schmid 2011; for item IDs VQ-Rec, arXiv 2210.12316, and RPG, arXiv 2506.05781). The digits of
//! an ID stand side by side: none refines another, and their order says nothing.
//!
//! Where M does not divide D the first `D mod M` parts are one wider. Cost: `2 N D K` operations an
//! iteration for all parts together, an L-th of residual k-means with as many levels; memory beside
//! the vectors one part of them (`N D / M`). Every part is a residual k-means of one level, with its
//! start, iterations and revival of dead codes. [`crate::opq`] rotates before the cut.

use crate::levels::check_levels;
use crate::residual::{ResidualCodebook, check_prefixes, check_vectors};
use crate::rq_kmeans::{RqKMeans, RqKMeansOptions};
use rayon::prelude::*;
use sidereal_core::{
    Codebook, Codes, Error, Event, Matrix, MatrixRef, Quantizer, QuantizerInput, Result, Run,
    Silent, seed,
};
use std::ops::Range;

sidereal_core::options! {
    /// Options of `pq`.
    pub struct PqOptions {
        /// Codes of each part: a list of 1 to 64 widths, as many as parts, at most the width of the
        /// vectors; each from 1 to the number of distinct sub-vectors. VQ-Rec: 32 of 256.
        pub levels: Vec<u32> = vec![256, 256, 256, 256],
        /// Iterations of Lloyd a part, at most; 1 and up.
        pub iterations: u32 = 50,
        /// Rows that the first centroids are chosen from, at least the largest width, or 0 for all.
        pub start_rows: u32 = 3072,
    }
}

/// Names the seed of a part.
pub(crate) const SEED: &str = "pq-part";

/// Fits a [`PqCodebook`].
///
/// ```
/// use sidereal_core::{Codebook, Matrix, QuantizerInput, Run};
/// use sidereal_quantizers::{Pq, PqOptions};
/// # fn main() -> sidereal_core::Result<()> {
/// let x = Matrix::new(4, 2, vec![0.0, 5.0, 0.0, 9.0, 1.0, 5.0, 1.0, 9.0])?;
/// let input = QuantizerInput::vectors(x.view());
/// let options = PqOptions { levels: vec![2, 2], ..Default::default() };
/// let book = Pq::new(options)?.fit_pq(&input, &Run::quiet(7))?;
/// let codes = book.quantize(&input)?;
/// assert_eq!(book.reconstruct(&codes, 2), Some(x.clone())); // two codes a part make all four rows
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Pq {
    options: PqOptions,
}

impl Pq {
    /// Checks the options.
    ///
    /// Errors name the key under `quantizer`, its value and what is allowed.
    pub fn new(options: PqOptions) -> Result<Self> {
        check_levels(&options.levels)?;
        if options.iterations == 0 {
            return Err(Error::config("quantizer.iterations", "got 0; expected at least 1"));
        }
        let pq = Pq { options };
        RqKMeans::new(pq.part(pq.options.levels.iter().copied().max().unwrap_or(1)))?;
        Ok(pq)
    }

    /// The k-means of a part with `width` codes.
    fn part(&self, width: u32) -> RqKMeansOptions {
        let PqOptions { iterations, start_rows, .. } = self.options;
        RqKMeansOptions { levels: vec![width], iterations, start_rows, ..Default::default() }
    }

    /// Fits and keeps the type, for callers that want more than [`Codebook`] offers.
    pub fn fit_pq(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<PqCodebook> {
        let vectors = input.vectors;
        check_vectors(vectors)?;
        let widths = &self.options.levels;
        if widths.len() > vectors.cols() {
            return Err(Error::config(
                "quantizer.levels",
                format!(
                    "{} parts of vectors of width {}; expected at most one part a column",
                    widths.len(),
                    vectors.cols()
                ),
            ));
        }
        run.emit(Event::Started { task: "pq", total: widths.len() as u64, unit: "parts" });
        let mut parts = Vec::with_capacity(widths.len());
        for (m, (&width, range)) in widths.iter().zip(cut(vectors.cols(), widths.len())).enumerate()
        {
            run.check()?;
            let sub = columns(vectors, range);
            let quiet = Run {
                seed: seed::key(run.seed, SEED, m as u64),
                observer: &Silent,
                cancel: run.cancel.clone(),
                threads: run.threads,
            };
            let input = QuantizerInput::vectors(sub.view());
            parts.push(RqKMeans::new(self.part(width))?.fit_residual(&input, &quiet)?);
            run.emit(Event::Advanced { task: "pq", done: m as u64 + 1, numbers: &[] });
        }
        run.emit(Event::Finished { task: "pq" });
        PqCodebook::new(parts)
    }
}

impl Quantizer for Pq {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(self.fit_pq(input, run)?))
    }
}

/// The columns of each of `parts` parts: the first ones are one wider where they do not divide.
pub(crate) fn cut(columns: usize, parts: usize) -> impl Iterator<Item = Range<usize>> {
    let (width, wider) = (columns / parts, columns % parts);
    (0..parts).map(move |m| {
        let start = m * width + m.min(wider);
        start..start + width + usize::from(m < wider)
    })
}

/// A copy of some columns.
pub(crate) fn columns(vectors: MatrixRef<'_>, range: Range<usize>) -> Matrix {
    let mut out = Matrix::zeros(vectors.rows(), range.len());
    let rows = out.data_mut().par_chunks_mut(range.len().max(1)).enumerate();
    rows.for_each(|(i, out)| out.copy_from_slice(&vectors.row(i)[range.clone()]));
    out
}

/// One codebook a part of the vector.
#[derive(Debug, Clone, PartialEq)]
pub struct PqCodebook {
    parts: Vec<ResidualCodebook>,
    widths: Vec<u32>,
}

/// Start of the tensors' names.
pub(crate) const PART: &str = "part_";

impl PqCodebook {
    /// From codebooks of one level, in the order of the columns.
    ///
    /// Errors: no part, a part of several levels, widths that no cut into equal parts gives.
    pub fn new(parts: Vec<ResidualCodebook>) -> Result<Self> {
        let dim: usize = parts.iter().map(ResidualCodebook::dim).sum();
        let fits = cut(dim, parts.len().max(1)).zip(&parts).all(|(r, p)| r.len() == p.dim());
        if parts.is_empty() || !fits || parts.iter().any(|p| p.len() != 1) {
            return Err(Error::mismatch(
                "product codebook: expected parts of one level and of equal width, \
                 the first ones at most one wider",
            ));
        }
        let widths = parts.iter().map(|p| p.widths()[0]).collect();
        Ok(PqCodebook { parts, widths })
    }

    /// From what [`Codebook::tensors`] gives.
    pub fn from_tensors(tensors: Vec<(String, Matrix)>) -> Result<Self> {
        let mut parts = Vec::new();
        for (name, matrix) in tensors {
            let part = name.strip_prefix(PART).and_then(|m| m.parse::<usize>().ok());
            let part = part.ok_or_else(|| {
                Error::mismatch(format!(
                    "product codebook: unknown tensor `{name}`; expected `{PART}0`, `{PART}1`, ..."
                ))
            })?;
            parts.push((part, matrix));
        }
        parts.sort_by_key(|(m, _)| *m);
        if let Some(m) = (0..parts.len()).find(|&m| parts[m].0 != m) {
            return Err(Error::mismatch(format!(
                "product codebook: tensor `{PART}{m}` is missing"
            )));
        }
        let book = |(_, m)| ResidualCodebook::new(vec![m], crate::ResidualScale::Raw);
        PqCodebook::new(parts.into_iter().map(book).collect::<Result<_>>()?)
    }

    /// The codebooks, in the order of the columns.
    pub fn parts(&self) -> &[ResidualCodebook] {
        &self.parts
    }

    /// Length of the vectors D.
    pub fn dim(&self) -> usize {
        self.parts.iter().map(ResidualCodebook::dim).sum()
    }
}

impl Codebook for PqCodebook {
    fn widths(&self) -> &[u32] {
        &self.widths
    }

    fn quantize(&self, input: &QuantizerInput<'_>) -> Result<Codes> {
        let (vectors, count) = (input.vectors, self.parts.len());
        if vectors.cols() != self.dim() {
            return Err(Error::mismatch(format!(
                "the codebook was fitted on vectors of width {}, got width {}",
                self.dim(),
                vectors.cols()
            )));
        }
        let mut codes = vec![0; vectors.rows() * count];
        for (m, (part, range)) in self.parts.iter().zip(cut(self.dim(), count)).enumerate() {
            let sub = columns(vectors, range);
            let own = part.quantize(&QuantizerInput::vectors(sub.view()))?;
            codes.iter_mut().skip(m).step_by(count).zip(own.data()).for_each(|(c, o)| *c = *o);
        }
        Codes::new(vectors.rows(), count, codes)
    }

    /// Parts behind the first `levels` are 0.
    fn reconstruct(&self, codes: &Codes, levels: usize) -> Option<Matrix> {
        let (count, dim) = (self.parts.len(), self.dim());
        if levels > count.min(codes.levels()) {
            return None;
        }
        let mut out = Matrix::zeros(codes.rows(), dim);
        for (m, (part, range)) in self.parts.iter().zip(cut(dim, count)).enumerate().take(levels) {
            for i in 0..codes.rows() {
                let code = codes.row(i)[m];
                if code >= self.widths[m] {
                    return None;
                }
                let centroid = part.level(0).row(code as usize);
                out.row_mut(i)[range.clone()].copy_from_slice(centroid);
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
        check_prefixes(vectors, codes, level, self.dim(), &self.widths)?;
        let mut ranges = cut(self.dim(), self.parts.len());
        let Some(range) = ranges.nth(level) else { return Ok(None) };
        self.parts[level].distances(columns(vectors, range).view(), codes, 0)
    }

    fn tensors(&self) -> Vec<(String, Matrix)> {
        let named = |(m, p): (usize, &ResidualCodebook)| (format!("{PART}{m}"), p.level(0).clone());
        self.parts.iter().enumerate().map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_differ_by_one_column_at_most() {
        let cuts = |d, m| cut(d, m).collect::<Vec<_>>();
        assert_eq!(cuts(8, 2), [0..4, 4..8]);
        assert_eq!(cuts(7, 3), [0..3, 3..5, 5..7]);
        assert_eq!(cuts(2, 2), [0..1, 1..2]);
    }

    #[test]
    fn three_columns_in_two_parts_by_hand() {
        let part = |cols: usize, data: &[f32]| {
            let m = Matrix::new(data.len() / cols, cols, data.to_vec()).unwrap();
            ResidualCodebook::new(vec![m], crate::ResidualScale::Raw).unwrap()
        };
        let parts = vec![part(2, &[0.0, 0.0, 4.0, 4.0]), part(1, &[-1.0, 0.5, 9.0])];
        let book = PqCodebook::new(parts.clone()).unwrap();
        assert_eq!(book.widths(), [2, 3]);
        let x = Matrix::new(2, 3, vec![3.0, 2.0, 0.0, 1.0, 1.0, 8.0]).unwrap();
        let codes = book.quantize(&QuantizerInput::vectors(x.view())).unwrap();
        assert_eq!(codes.data(), [1, 1, 0, 2]);
        let hat = |l| book.reconstruct(&codes, l).unwrap().into_data();
        assert_eq!(hat(2), [4.0, 4.0, 0.5, 0.0, 0.0, 9.0]);
        assert_eq!(hat(1), [4.0, 4.0, 0.0, 0.0, 0.0, 0.0]);
        assert!(book.reconstruct(&codes, 3).is_none());
        assert!(book.reconstruct(&Codes::new(1, 2, vec![0, 3]).unwrap(), 2).is_none());
        let mut tensors = book.tensors();
        tensors.reverse();
        assert_eq!(PqCodebook::from_tensors(tensors.clone()).unwrap(), book);
        tensors.pop();
        let message = PqCodebook::from_tensors(tensors).unwrap_err().to_string();
        assert!(message.contains("`part_0` is missing"), "{message}");
        let swapped = parts.into_iter().rev().collect();
        assert!(PqCodebook::new(swapped).is_err());
        assert!(PqCodebook::new(vec![]).is_err());
    }
}
