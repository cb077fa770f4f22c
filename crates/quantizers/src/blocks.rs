//! Vectors that are read in blocks of rows: a matrix in memory is one block, a file has many.
//!
//! Blocks begin at multiples of [`BLOCK_UNIT`] rows, which is the unit that partial sums are made
//! of, so a result does not depend on how rows are cut into blocks.

use crate::residual::{check_rows, check_shape};
use rayon::prelude::*;
use sidereal_core::{Matrix, MatrixRef, Result, seed};

/// A block starts at a multiple of so many rows.
pub(crate) const BLOCK_UNIT: usize = crate::kmeans::pass::CHUNK;

/// `N x D` vectors, visited block by block or by row.
pub(crate) trait Blocks: Sync {
    /// Number of vectors N.
    fn rows(&self) -> usize;

    /// Length of a vector D.
    fn cols(&self) -> usize;

    /// Calls `visit` with every block in order, and the row it begins with.
    fn each(&self, visit: &mut dyn FnMut(usize, MatrixRef<'_>) -> Result<()>) -> Result<()>;

    /// The listed rows, shape `rows.len() x D`.
    fn gather(&self, rows: &[u32]) -> Result<Matrix>;
}

impl Blocks for MatrixRef<'_> {
    fn rows(&self) -> usize {
        MatrixRef::rows(self)
    }

    fn cols(&self) -> usize {
        MatrixRef::cols(self)
    }

    fn each(&self, visit: &mut dyn FnMut(usize, MatrixRef<'_>) -> Result<()>) -> Result<()> {
        visit(0, *self)
    }

    fn gather(&self, rows: &[u32]) -> Result<Matrix> {
        let mut out = Matrix::zeros(rows.len(), MatrixRef::cols(self));
        let pairs = out.data_mut().par_chunks_mut(MatrixRef::cols(self).max(1)).zip(rows);
        pairs.with_min_len(64).for_each(|(to, &row)| to.copy_from_slice(self.row(row as usize)));
        Ok(out)
    }
}

/// Refuses vectors that cannot be quantized and counts distinct ones, up to about `enough`.
pub(crate) fn survey(vectors: &dyn Blocks, enough: usize) -> Result<usize> {
    check_shape(vectors.rows(), vectors.cols())?;
    let mut distinct = Distinct::new(enough);
    vectors.each(&mut |first, block| {
        check_rows(block, first)?;
        distinct.add(block);
        Ok(())
    })?;
    Ok(distinct.count())
}

/// Counts distinct rows by a 64-bit hash of each; stops at `enough`.
pub(crate) struct Distinct {
    hashes: Vec<u64>,
    enough: usize,
}

impl Distinct {
    pub(crate) fn new(enough: usize) -> Self {
        Distinct { hashes: Vec::new(), enough }
    }

    pub(crate) fn add(&mut self, vectors: MatrixRef<'_>) {
        // Adding 0 makes -0 and 0 the same.
        let hash =
            |row: &[f32]| row.iter().fold(0, |h, v| seed::mix(h ^ u64::from((v + 0.0).to_bits())));
        for block in vectors.data().chunks(vectors.cols() * self.enough.max(1024)) {
            if self.hashes.len() >= self.enough {
                return;
            }
            self.hashes.par_extend(block.par_chunks(vectors.cols()).map(hash));
            self.hashes.par_sort_unstable();
            self.hashes.dedup();
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.hashes.len()
    }
}

/// Number of distinct rows of a matrix; stops counting at `enough`.
pub(crate) fn distinct_rows(vectors: MatrixRef<'_>, enough: usize) -> usize {
    let mut distinct = Distinct::new(enough);
    distinct.add(vectors);
    distinct.count()
}
