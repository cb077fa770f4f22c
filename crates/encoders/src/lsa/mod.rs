//! Latent semantic analysis: TF-IDF of the item text and a truncated SVD.
//!
//! Deerwester et al. 1990, with the randomized SVD of Halko, Martinsson and Tropp 2011
//! (arXiv 0909.4061). `A` (N x V) holds sublinear, smoothed, length-normalised TF-IDF weights
//! ([`tfidf`]); `A ~ U S W^T`; the vector of item `i` is row `i` of `U S` (N x dim), by default
//! scaled to length 1, so that a dot product is the cosine.
//!
//! Cost: `(2 q + 2) nnz(A) l` for the products and `(2 q + 1) (N + V) l^2` for the bases, with
//! `l = dim + oversampling` and `q` power iterations. Everything is deterministic: sums run in a
//! fixed order whatever the number of threads.

pub mod terms;
pub mod tfidf;

use crate::text::{ItemText, default_fields};
use crate::threads::with_threads;
use crate::{check_range, key, rows};
use rayon::prelude::*;
use sidereal_core::{EncoderInput, Error, Event, ItemEncoder, Matrix, Result, Run};
use sidereal_nn::algebra::{sparse, svd};

sidereal_core::options! {
    /// Options of `lsa`.
    pub struct LsaOptions {
        /// Width of the vectors, 1 to the rank of the TF-IDF matrix.
        pub dim: usize = 64,
        /// Columns of the item table that make up the text, joined by `. `.
        pub fields: Vec<String> = default_fields(),
        /// Longest run of neighbouring words that counts as a term, 1 or 2.
        pub ngrams: usize = 1,
        /// Items that must have a term for it to count, 1 and up.
        pub min_df: usize = 2,
        /// Terms kept at most, those in the most items first, 1 to 4294967295.
        pub max_terms: usize = 200_000,
        /// Extra directions of the random sketch, 0 to 4096 (arXiv 0909.4061, section 4.2).
        pub oversampling: usize = 16,
        /// Passes that sharpen the sketch, 0 to 64 (arXiv 0909.4061, section 4.5).
        pub power_iterations: usize = 4,
        /// Whether vectors are scaled to length 1.
        pub normalize: bool = true,
    }
}

/// Rows shorter than this are rounding noise: the item shares nothing with the kept directions.
const NOISE: f64 = 1e-9;

/// Text vectors without any weights to download.
#[derive(Debug, Clone)]
pub struct Lsa {
    options: LsaOptions,
}

impl Lsa {
    /// Checks the options.
    pub fn new(options: LsaOptions) -> Result<Self> {
        check_range("dim", options.dim, 1, 1 << 16)?;
        check_range("ngrams", options.ngrams, 1, 2)?;
        check_range("min_df", options.min_df, 1, u32::MAX as usize)?;
        check_range("max_terms", options.max_terms, 1, u32::MAX as usize)?;
        check_range("oversampling", options.oversampling, 0, 4096)?;
        check_range("power_iterations", options.power_iterations, 0, 64)?;
        if options.fields.is_empty() {
            return Err(Error::config(key("fields"), "[] names no column; name at least one"));
        }
        Ok(Lsa { options })
    }

    fn run(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Matrix> {
        let o = &self.options;
        let n = input.items.len();
        let text = ItemText::new(input.items, &o.fields)?;
        let counts = terms::count(&text, n, o.ngrams);
        if counts.is_empty() {
            return Err(Error::input(format!(
                "no item has a word in the columns {:?}, so there is no text to encode",
                o.fields
            )));
        }
        run.check()?;
        let a = tfidf::weigh(&counts, o.min_df as u32, o.max_terms);
        if o.dim > n.min(a.cols()) {
            return Err(Error::config(
                key("dim"),
                format!(
                    "{} is outside 1..={}: {n} items have {} terms (min_df = {}, ngrams = {})",
                    o.dim,
                    n.min(a.cols()),
                    a.cols(),
                    o.min_df,
                    o.ngrams
                ),
            ));
        }
        let sketch = svd::Sketch {
            task: "lsa",
            dim: o.dim,
            oversampling: o.oversampling,
            power_iterations: o.power_iterations,
        };
        let svd = svd::truncated(&a, &sketch, run)?;
        let rank = svd.rank();
        if o.dim > rank {
            return Err(Error::config(
                key("dim"),
                format!("{} is outside 1..={rank}: the TF-IDF matrix has rank {rank}", o.dim),
            ));
        }
        Ok(self.vectors(&counts, &a, svd, run))
    }

    fn vectors(
        &self,
        counts: &terms::Counts,
        a: &sparse::Csr,
        svd: svd::Svd,
        run: &Run<'_>,
    ) -> Matrix {
        let (n, dim) = (a.rows(), self.options.dim);
        let mut out = Matrix::zeros(n, dim);
        let lost = out
            .data_mut()
            .par_chunks_mut(dim)
            .enumerate()
            .map(|(i, row)| {
                let u = svd.u.row(i);
                let norm = (0..dim).map(|k| (u[k] * svd.s[k]).powi(2)).sum::<f64>().sqrt();
                if norm <= NOISE {
                    return 1;
                }
                let scale = if self.options.normalize { 1.0 / norm } else { 1.0 };
                for (k, v) in row.iter_mut().enumerate() {
                    *v = (u[k] * svd.s[k] * scale) as f32;
                }
                0
            })
            .sum::<usize>();
        let silent = (0..n).filter(|&i| counts.row_len(i) == 0).count();
        if silent > 0 {
            run.emit(Event::Warning(&format!(
                "lsa: {} no text; such vectors are zero",
                rows::items_have(silent)
            )));
        }
        if lost > silent {
            run.emit(Event::Warning(&format!(
                "lsa: {} only words that are rarer than min_df = {} or fall outside the first {dim} \
                 directions; such vectors are zero",
                rows::items_have(lost - silent),
                self.options.min_df
            )));
        }
        out
    }
}

impl ItemEncoder for Lsa {
    fn encode(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Matrix> {
        if input.items.is_empty() {
            return Err(Error::input("the catalogue has no item to encode"));
        }
        with_threads(run.threads, || self.run(input, run))
    }
}
