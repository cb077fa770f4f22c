//! Quantizers one after the other: `residual`.
//!
//! `r_0 = x`; part `p` is fitted on `r_p` and `r_{p+1} = r_p - Q_p(r_p)`, where `Q_p` is what its
//! codebook makes of all its codes; codes are concatenated and `x^ = sum_p Q_p`. Parts may be any
//! quantizers whose codebooks reconstruct vectors (the last one need not): with one-level `rq-kmeans`
//! this is residual k-means again, with `rq-kmeans` and then `opq` the RQ-OPQ of OneSearch
//! (arXiv 2509.03236; from memory, unverified), whose parts are the default here.
//!
//! Side inputs and the catalogue are passed on to every part. Cost: that of the parts; memory beside
//! the vectors one copy of residuals (`N D`) and what a part needs.

use super::parts::{Parts, part_run};
use crate::residual::check_vectors;
use rayon::prelude::*;
use sidereal_core::{
    Codebook, Codes, Error, Event, Inner, Matrix, MatrixRef, Quantizer, QuantizerInput, Result, Run,
};

sidereal_core::options! {
    /// Options of `residual`.
    pub struct ResidualOptions {
        /// Quantizers in their order, 1 to 64: names, or tables with a `type` and options. All but the
        /// last must reconstruct vectors.
        pub levels: Vec<Inner> =
            vec![Inner::Name("rq-kmeans".into()), Inner::Name("opq".into())],
    }
}

/// Start of the tensors' names.
pub(super) const PREFIX: &str = "residual.";

/// Config key of the parts.
pub(crate) const LEVELS: &str = "quantizer.levels";

/// Fits a [`StackedCodebook`].
pub struct Residual {
    parts: Vec<Box<dyn Quantizer>>,
}

impl Residual {
    /// From quantizers in their order.
    ///
    /// Errors: none, or more than 64.
    pub fn new(parts: Vec<Box<dyn Quantizer>>) -> Result<Self> {
        if parts.is_empty() || parts.len() > 64 {
            let message = format!("{} quantizers; expected a list of 1 to 64", parts.len());
            return Err(Error::config(LEVELS, message));
        }
        Ok(Residual { parts })
    }
}

impl Quantizer for Residual {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        check_vectors(input.vectors)?;
        let total = self.parts.len() as u64;
        run.emit(Event::Started { task: "residual", total, unit: "quantizers" });
        let mut books: Vec<Box<dyn Codebook>> = Vec::with_capacity(self.parts.len());
        let mut left: Option<Matrix> = None;
        for (p, part) in self.parts.iter().enumerate() {
            run.check()?;
            let vectors = left.as_ref().map_or(input.vectors, Matrix::view);
            let here = QuantizerInput { vectors, ..*input };
            let book = part.fit(&here, &part_run(run, "residual-part", p))?;
            if p + 1 < self.parts.len() {
                let next = left_over(book.as_ref(), &here)?.ok_or_else(|| {
                    let message = format!(
                        "level {} stands for no vectors, so it leaves nothing for level {}; \
                         expected such a quantizer in the last place only",
                        p + 1,
                        p + 2
                    );
                    Error::config(LEVELS, message)
                })?;
                left = Some(next);
            }
            books.push(book);
            run.emit(Event::Advanced { task: "residual", done: p as u64 + 1, numbers: &[] });
        }
        run.emit(Event::Finished { task: "residual" });
        Ok(Box::new(StackedCodebook { parts: Parts::new(books) }))
    }
}

/// Vectors less what all codes stand for; `None` where they stand for nothing.
fn left_over(book: &dyn Codebook, input: &QuantizerInput<'_>) -> Result<Option<Matrix>> {
    let codes = book.quantize(input)?;
    Ok(subtract(book, input, &codes))
}

fn subtract(book: &dyn Codebook, input: &QuantizerInput<'_>, codes: &Codes) -> Option<Matrix> {
    let mut out = book.reconstruct(codes, codes.levels())?;
    let d = input.vectors.cols().max(1);
    let rows = out.data_mut().par_chunks_mut(d).zip(input.vectors.data().par_chunks(d));
    rows.for_each(|(out, x)| out.iter_mut().zip(x).for_each(|(o, x)| *o = x - *o));
    Some(out)
}

/// Codebooks one after the other on residuals.
pub struct StackedCodebook {
    parts: Parts,
}

impl StackedCodebook {
    /// From what [`Codebook::tensors`] gives.
    pub fn from_tensors(tensors: Vec<(String, Matrix)>) -> Result<Self> {
        Ok(StackedCodebook { parts: Parts::from_tensors(tensors, PREFIX)? })
    }

    /// The codebooks, in their order.
    pub fn books(&self) -> &[Box<dyn Codebook>] {
        self.parts.books()
    }
}

impl Codebook for StackedCodebook {
    fn widths(&self) -> &[u32] {
        self.parts.widths()
    }

    fn quantize(&self, input: &QuantizerInput<'_>) -> Result<Codes> {
        let books = self.parts.books();
        let mut codes = Vec::with_capacity(books.len());
        let mut left: Option<Matrix> = None;
        for (p, book) in books.iter().enumerate() {
            let vectors = left.as_ref().map_or(input.vectors, Matrix::view);
            let here = QuantizerInput { vectors, ..*input };
            let own = book.quantize(&here)?;
            if p + 1 < books.len() {
                let nothing = || Error::mismatch(format!("part {} stands for no vectors", p + 1));
                left = Some(subtract(book.as_ref(), &here, &own).ok_or_else(nothing)?);
            }
            codes.push(own);
        }
        self.parts.join(input.vectors.rows(), &codes)
    }

    /// The sum over the parts; a part without a code among the first `levels` adds nothing, except
    /// that the first part always counts (its width is that of the vectors).
    fn reconstruct(&self, codes: &Codes, levels: usize) -> Option<Matrix> {
        let shares = self.parts.split(codes, levels)?;
        let mut out: Option<Matrix> = None;
        for (book, share) in self.parts.books().iter().zip(&shares) {
            if share.levels == 0 && out.is_some() {
                break;
            }
            let own = book.reconstruct(&share.codes, share.levels)?;
            match &mut out {
                None => out = Some(own),
                Some(sum) => {
                    let pairs = sum.data_mut().iter_mut().zip(own.data());
                    pairs.for_each(|(s, o)| *s += o);
                }
            }
        }
        out
    }

    fn distances(
        &self,
        vectors: MatrixRef<'_>,
        codes: &Codes,
        level: usize,
    ) -> Result<Option<Matrix>> {
        let at = self.parts.part_of(level)?;
        let unfit = || Error::mismatch("distances: shapes that do not fit the codebook");
        let shares = self.parts.split(codes, level).ok_or_else(unfit)?;
        let mut left = vectors.to_owned();
        let below = self.parts.books().iter().zip(&shares).take(at.part);
        for (book, share) in below {
            let here = QuantizerInput::vectors(left.view());
            left = subtract(book.as_ref(), &here, &share.codes).ok_or_else(unfit)?;
        }
        self.parts.books()[at.part].distances(left.view(), &shares[at.part].codes, at.level)
    }

    fn tensors(&self) -> Vec<(String, Matrix)> {
        self.parts.tensors(PREFIX)
    }
}
