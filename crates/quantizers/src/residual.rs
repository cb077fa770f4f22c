//! The residual loop, and the codebook that reads it.
//!
//! `r_0 = x`; at level `l`: with normalised residuals `r_l <- r_l / ||r_l||`; then
//! `c_l = argmin_w ||r_l - C_l[w]||^2` (ties to the lowest code) and `r_{l+1} = r_l - C_l[c_l]`.
//! Without normalisation `x = sum_l C_l[c_l] + r_L`; with it the scales are lost and codes stand
//! for no vector. A zero residual stays zero.
//!
//! Residuals are made from the vectors tile by tile and never stored: no `N x D` copy at any
//! level. Cost of quantizing a row: `2 D sum_l K_l` operations, all levels while the tile is in
//! cache. Source: RQ (Martinez et al. 2014) as GRID applies it (arXiv 2507.22224).

use crate::blocks::Blocks;
use crate::kmeans::centroids::{Centroids, Search, TILE};
use crate::kmeans::squared_norm;
use rayon::prelude::*;
use sidereal_core::{Code, Codebook, Codes, Error, Matrix, MatrixRef, QuantizerInput, Result};
use sidereal_nn::kernels::math::{axpy, difference};

/// Whether residuals keep their length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResidualScale {
    /// Residuals as they are.
    Raw,
    /// Every residual that enters a level is scaled to length one.
    Normalized,
}

/// Squared lengths above this could overflow in a distance.
const LARGEST_SQUARE: f32 = 1e36;

/// Refuses empty shapes and rows whose distances would not be finite numbers.
pub(crate) fn check_vectors(vectors: MatrixRef<'_>) -> Result<()> {
    check_shape(vectors.rows(), vectors.cols())?;
    check_rows(vectors, 0)
}

/// Refuses shapes without vectors and more vectors than a row number can name.
pub(crate) fn check_shape(rows: usize, cols: usize) -> Result<()> {
    if rows == 0 || cols == 0 {
        return Err(Error::input(format!(
            "quantizer: got {rows} vectors of width {cols}; expected at least one of each"
        )));
    }
    if u32::try_from(rows).is_err() {
        return Err(Error::input(format!(
            "quantizer: {rows} vectors; at most {} are supported",
            u32::MAX
        )));
    }
    Ok(())
}

/// Refuses rows whose distances would not be finite numbers; the first one is row `first`.
pub(crate) fn check_rows(vectors: MatrixRef<'_>, first: usize) -> Result<()> {
    let bad = vectors
        .data()
        .par_chunks(vectors.cols())
        .map(squared_norm)
        .position_first(|square| square.is_nan() || square > LARGEST_SQUARE);
    let Some(row) = bad else { return Ok(()) };
    let place = first + row;
    let message = match vectors.row(row).iter().position(|v| !v.is_finite()) {
        Some(column) => format!(
            "quantizer: the vector in row {place} has {} in column {column}; \
             expected finite numbers",
            vectors.row(row)[column]
        ),
        None => format!(
            "quantizer: the vector in row {place} is longer than 1e18, \
             too long for squared distances in f32; scale the vectors down"
        ),
    };
    Err(Error::input(message))
}

/// All residuals entering a level, made on demand from the vectors and the codes of the levels
/// below.
#[derive(Clone, Copy)]
pub(crate) struct Entering<'a> {
    vectors: &'a dyn Blocks,
    below: &'a [Centroids],
    /// Codes of the levels below, level after level: `below.len() x N`.
    codes: &'a [Code],
    scale: ResidualScale,
}

impl<'a> Entering<'a> {
    pub(crate) fn new(
        vectors: &'a dyn Blocks,
        below: &'a [Centroids],
        codes: &'a [Code],
        scale: ResidualScale,
    ) -> Self {
        Entering { vectors, below, codes, scale }
    }

    /// Residuals that are what they are: rows of a matrix.
    pub(crate) fn raw(rows: &'a MatrixRef<'a>) -> Self {
        Entering { vectors: rows, below: &[], codes: &[], scale: ResidualScale::Raw }
    }

    /// Number of rows N.
    pub(crate) fn len(&self) -> usize {
        self.vectors.rows()
    }

    /// Calls `visit` with the residuals of every block in order.
    pub(crate) fn each(&self, visit: &mut dyn FnMut(Residuals<'_>) -> Result<()>) -> Result<()> {
        self.vectors.each(&mut |first, vectors| visit(Residuals { of: *self, first, vectors }))
    }

    /// Residuals of the listed rows, shape `rows.len() x D`.
    pub(crate) fn gather(&self, rows: &[u32]) -> Result<Matrix> {
        let mut out = self.vectors.gather(rows)?;
        let pairs = out.data_mut().par_chunks_mut(self.vectors.cols().max(1)).zip(rows);
        pairs.with_min_len(64).for_each(|(out, &row)| self.make(out, row as usize));
        Ok(out)
    }

    /// The vector of a row becomes its residual.
    fn make(&self, vector: &mut [f32], row: usize) {
        enter(vector, self.scale);
        for (l, level) in self.below.iter().enumerate() {
            subtract(vector, level.row(self.codes[l * self.len() + row]));
            enter(vector, self.scale);
        }
    }
}

/// Residuals of a block of rows.
#[derive(Clone, Copy)]
pub(crate) struct Residuals<'a> {
    of: Entering<'a>,
    /// Row that the block begins with.
    first: usize,
    vectors: MatrixRef<'a>,
}

impl<'a> Residuals<'a> {
    /// Rows of the block.
    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.vectors.rows()
    }

    /// Residuals of `count` rows from position `start` of the block, shape `count x D`: in
    /// `buffer`, or the vectors themselves where they are the residuals.
    pub(crate) fn tile<'b>(&self, start: usize, count: usize, buffer: &'b mut Vec<f32>) -> &'b [f32]
    where
        'a: 'b,
    {
        let dim = self.vectors.cols();
        let vectors = self.vectors(start, count);
        if let ([], ResidualScale::Raw) = (self.of.below, self.of.scale) {
            return vectors;
        }
        if let ([lowest, rest @ ..], ResidualScale::Raw) = (self.of.below, self.of.scale) {
            buffer.resize(count * dim, 0.0);
            let pairs = buffer.chunks_exact_mut(dim).zip(vectors.chunks_exact(dim));
            for (i, (out, vector)) in pairs.enumerate() {
                let (row, n) = (self.first + start + i, self.of.len());
                difference(vector, lowest.row(self.of.codes[row]), out);
                for (l, level) in rest.iter().enumerate() {
                    subtract(out, level.row(self.of.codes[(l + 1) * n + row]));
                }
            }
            return buffer;
        }
        buffer.clear();
        buffer.extend_from_slice(vectors);
        for (i, out) in buffer.chunks_exact_mut(dim).enumerate() {
            self.of.make(out, self.first + start + i);
        }
        buffer
    }

    /// The vectors themselves of `count` rows from position `start` of the block.
    pub(crate) fn vectors(&self, start: usize, count: usize) -> &'a [f32] {
        let dim = self.vectors.cols();
        &self.vectors.data()[start * dim..(start + count) * dim]
    }
}

/// What happens to a residual as it enters a level.
fn enter(residual: &mut [f32], scale: ResidualScale) {
    if scale == ResidualScale::Raw {
        return;
    }
    // Scaling by the largest value first keeps tiny residuals from underflowing in the square.
    let largest = residual.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    if largest == 0.0 {
        return;
    }
    if !(1e-12..=1e12).contains(&largest) {
        residual.iter_mut().for_each(|v| *v /= largest);
    }
    let inverse = 1.0 / squared_norm(residual).sqrt();
    residual.iter_mut().for_each(|v| *v *= inverse);
}

fn subtract(residual: &mut [f32], centroid: &[f32]) {
    axpy(-1.0, centroid, residual);
}

/// Refuses what [`Codebook::distances`] cannot take.
pub(crate) fn check_prefixes(
    vectors: MatrixRef<'_>,
    codes: &Codes,
    level: usize,
    dim: usize,
    widths: &[u32],
) -> Result<()> {
    if vectors.cols() != dim || vectors.rows() != codes.rows() || level >= widths.len() {
        return Err(Error::mismatch(format!(
            "distances to level {level} for {} vectors of width {} and {} rows of codes; the \
             codebook has width {dim} and {} levels",
            vectors.rows(),
            vectors.cols(),
            codes.rows(),
            widths.len()
        )));
    }
    let known = |row: &[Code]| row.iter().zip(widths).all(|(c, w)| c < w);
    if codes.levels() < level || !(0..codes.rows()).all(|i| known(&codes.row(i)[..level])) {
        return Err(Error::mismatch(format!(
            "distances to level {level}: a row has no code, or none that the codebook has, at a \
             level before"
        )));
    }
    Ok(())
}

/// The learned codebooks of a residual quantizer.
#[derive(Debug, Clone, PartialEq)]
pub struct ResidualCodebook {
    levels: Vec<Centroids>,
    widths: Vec<u32>,
    scale: ResidualScale,
}

/// Name of the tensor that marks normalised residuals.
const NORMALIZED: &str = "normalized";

impl ResidualCodebook {
    /// From one matrix a level, shapes `K_l x D`.
    ///
    /// Errors: no level, a level without codes, widths D that differ, values that are not finite.
    pub fn new(levels: Vec<Matrix>, scale: ResidualScale) -> Result<Self> {
        let dim = levels.first().map_or(0, Matrix::cols);
        if dim == 0 {
            return Err(Error::mismatch("residual codebook: expected at least one level"));
        }
        for (l, m) in levels.iter().enumerate() {
            if m.cols() != dim {
                return Err(Error::mismatch(format!(
                    "residual codebook: level {l} has width {}, level 0 has {dim}",
                    m.cols()
                )));
            }
            check_vectors(m.view())
                .map_err(|e| Error::mismatch(format!("residual codebook, level {l}: {e}")))?;
        }
        let widths = levels.iter().map(|m| m.rows() as u32).collect();
        Ok(ResidualCodebook {
            levels: levels.into_iter().map(Centroids::new).collect(),
            widths,
            scale,
        })
    }

    /// From what [`Codebook::tensors`] gives.
    pub fn from_tensors(tensors: Vec<(String, Matrix)>) -> Result<Self> {
        let mut scale = ResidualScale::Raw;
        let mut levels = Vec::new();
        for (name, matrix) in tensors {
            if name == NORMALIZED {
                scale = ResidualScale::Normalized;
                continue;
            }
            let level = name.strip_prefix("level_").and_then(|l| l.parse::<usize>().ok());
            let level = level.ok_or_else(|| {
                Error::mismatch(format!(
                    "residual codebook: unknown tensor `{name}`; expected `level_0`, `level_1`, \
                     ... and `{NORMALIZED}`"
                ))
            })?;
            levels.push((level, matrix));
        }
        levels.sort_by_key(|(l, _)| *l);
        if let Some(l) = (0..levels.len()).find(|&l| levels[l].0 != l) {
            return Err(Error::mismatch(format!(
                "residual codebook: tensor `level_{l}` is missing"
            )));
        }
        Self::new(levels.into_iter().map(|(_, m)| m).collect(), scale)
    }

    /// Number of levels L.
    pub fn len(&self) -> usize {
        self.levels.len()
    }

    /// Whether there is no level; never true.
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Length of the vectors D.
    pub fn dim(&self) -> usize {
        self.levels[0].dim()
    }

    /// Centroids of a level, shape `K x D`.
    pub fn level(&self, level: usize) -> &Matrix {
        self.levels[level].values()
    }

    /// Whether residuals are normalised.
    pub fn scale(&self) -> ResidualScale {
        self.scale
    }

    /// All levels of one tile of vectors; `codes` is `rows x L`.
    fn quantize_tile(&self, vectors: &[f32], codes: &mut [Code], s: &mut TileScratch) {
        let (dim, count) = (self.dim(), self.levels.len());
        let rows = vectors.len() / dim;
        s.tile.clear();
        s.tile.extend_from_slice(vectors);
        s.codes.resize(rows, 0);
        s.distances.resize(rows, 0.0);
        for (l, level) in self.levels.iter().enumerate() {
            s.tile.chunks_exact_mut(dim).for_each(|r| enter(r, self.scale));
            level.nearest(&s.tile, &mut s.search, &mut s.codes, &mut s.distances);
            for (i, residual) in s.tile.chunks_exact_mut(dim).enumerate() {
                codes[i * count + l] = s.codes[i];
                if l + 1 < count {
                    subtract(residual, level.row(s.codes[i]));
                }
            }
        }
    }
}

#[derive(Default)]
struct TileScratch {
    tile: Vec<f32>,
    search: Search,
    codes: Vec<Code>,
    distances: Vec<f32>,
}

impl Codebook for ResidualCodebook {
    fn widths(&self) -> &[u32] {
        &self.widths
    }

    fn quantize(&self, input: &QuantizerInput<'_>) -> Result<Codes> {
        let (vectors, count) = (input.vectors, self.levels.len());
        if vectors.cols() != self.dim() {
            return Err(Error::mismatch(format!(
                "the codebook was fitted on vectors of width {}, got width {}",
                self.dim(),
                vectors.cols()
            )));
        }
        let mut codes = vec![0; vectors.rows() * count];
        if vectors.rows() > 0 {
            check_vectors(vectors)?;
        }
        codes
            .par_chunks_mut(TILE * count)
            .zip(vectors.data().par_chunks(TILE * self.dim()))
            .for_each_init(TileScratch::default, |scratch, (codes, rows)| {
                self.quantize_tile(rows, codes, scratch);
            });
        Codes::new(vectors.rows(), count, codes)
    }

    fn reconstruct(&self, codes: &Codes, levels: usize) -> Option<Matrix> {
        if self.scale == ResidualScale::Normalized || levels > self.len().min(codes.levels()) {
            return None;
        }
        let known = |row: &[Code]| row.iter().zip(&self.widths).all(|(c, w)| c < w);
        if !(0..codes.rows()).all(|i| known(&codes.row(i)[..levels])) {
            return None;
        }
        let mut out = Matrix::zeros(codes.rows(), self.dim());
        out.data_mut().par_chunks_mut(self.dim()).enumerate().for_each(|(i, out)| {
            for (level, &code) in self.levels[..levels].iter().zip(codes.row(i)) {
                for (o, c) in out.iter_mut().zip(level.row(code)) {
                    *o += c;
                }
            }
        });
        Some(out)
    }

    fn distances(
        &self,
        vectors: MatrixRef<'_>,
        codes: &Codes,
        level: usize,
    ) -> Result<Option<Matrix>> {
        let dim = self.dim();
        check_prefixes(vectors, codes, level, dim, &self.widths)?;
        let (below, last) = (&self.levels[..level], &self.levels[level]);
        let mut out = Matrix::zeros(vectors.rows(), last.width());
        out.data_mut()
            .par_chunks_mut(TILE * last.width())
            .zip(vectors.data().par_chunks(TILE * dim))
            .enumerate()
            .for_each_init(Vec::new, |tile: &mut Vec<f32>, (t, (out, rows))| {
                tile.clear();
                tile.extend_from_slice(rows);
                for (i, residual) in tile.chunks_exact_mut(dim).enumerate() {
                    enter(residual, self.scale);
                    for (level, &code) in below.iter().zip(codes.row(t * TILE + i)) {
                        subtract(residual, level.row(code));
                        enter(residual, self.scale);
                    }
                }
                last.distances(tile, out);
            });
        Ok(Some(out))
    }

    fn tensors(&self) -> Vec<(String, Matrix)> {
        let named = |(l, c): (usize, &Centroids)| (format!("level_{l}"), c.values().clone());
        let mut out: Vec<_> = self.levels.iter().enumerate().map(named).collect();
        if self.scale == ResidualScale::Normalized {
            let mut flag = Matrix::zeros(1, 1);
            flag.data_mut()[0] = 1.0;
            out.push((NORMALIZED.into(), flag));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: usize, data: &[f32]) -> Matrix {
        Matrix::new(rows, data.len() / rows, data.to_vec()).unwrap()
    }

    #[test]
    fn two_levels_by_hand() {
        let book = ResidualCodebook::new(
            vec![matrix(2, &[0.0, 10.0]), matrix(3, &[-1.0, 0.0, 2.0])],
            ResidualScale::Raw,
        )
        .unwrap();
        let x = matrix(4, &[-1.0, 2.0, 9.0, 5.0]);
        let codes = book.quantize(&QuantizerInput::vectors(x.view())).unwrap();
        // 5 is as near to 0 as to 10; its residual 5 is nearest to 2. -0.5 would tie -1 and 0.
        assert_eq!(codes.data(), [0, 0, 0, 2, 1, 0, 0, 2]);
        assert_eq!(book.reconstruct(&codes, 2).unwrap().data(), [-1.0, 2.0, 9.0, 2.0]);
        assert_eq!(book.reconstruct(&codes, 1).unwrap().data(), [0.0, 0.0, 10.0, 0.0]);
        assert_eq!(book.reconstruct(&codes, 0).unwrap().data(), [0.0; 4]);
        assert!(book.reconstruct(&codes, 3).is_none());
        let foreign = Codes::new(1, 2, vec![0, 7]).unwrap();
        assert!(book.reconstruct(&foreign, 2).is_none());
    }

    #[test]
    fn normalised_residuals_have_length_one_or_zero() {
        let x = matrix(4, &[3.0, 4.0, 0.0, 0.0, 1e-25, 0.0, 1e17, 1e17]);
        let level = Centroids::new(matrix(1, &[0.5, 0.0]));
        for below in [&[][..], &[level][..]] {
            let x = x.view();
            let r = Entering::new(&x, below, &[0; 4], ResidualScale::Normalized);
            let gathered = r.gather(&[0, 1, 2, 3]).unwrap();
            r.each(&mut |block| {
                let mut buffer = Vec::new();
                let tile = block.tile(0, 4, &mut buffer);
                assert_eq!(tile, gathered.data());
                for row in tile.chunks(2) {
                    let norm = squared_norm(row).sqrt();
                    assert!(norm == 0.0 || (norm - 1.0).abs() < 1e-6, "{row:?}");
                }
                Ok(())
            })
            .unwrap();
        }
        let book = ResidualCodebook::new(
            vec![matrix(2, &[1.0, 0.0, 0.0, 1.0])],
            ResidualScale::Normalized,
        )
        .unwrap();
        let codes = book.quantize(&QuantizerInput::vectors(x.view())).unwrap();
        assert_eq!(codes.data(), [1, 0, 0, 0]);
        assert!(book.reconstruct(&codes, 1).is_none());
    }

    #[test]
    fn tensors_round_trip_in_any_order() {
        for scale in [ResidualScale::Raw, ResidualScale::Normalized] {
            let levels = (0..12).map(|l| matrix(2, &[l as f32, 1.0])).collect();
            let book = ResidualCodebook::new(levels, scale).unwrap();
            let mut tensors = book.tensors();
            tensors.reverse();
            assert_eq!(ResidualCodebook::from_tensors(tensors).unwrap(), book);
        }
    }

    #[test]
    fn wrong_shapes_and_numbers_are_refused() {
        let err =
            |levels| ResidualCodebook::new(levels, ResidualScale::Raw).unwrap_err().to_string();
        assert!(err(vec![]).contains("at least one level"));
        assert!(
            err(vec![matrix(1, &[1.0]), matrix(1, &[1.0, 2.0])]).contains("level 1 has width 2")
        );
        assert!(err(vec![matrix(2, &[1.0, f32::NAN])]).contains("row 1"));
        let missing = vec![("level_1".to_string(), matrix(1, &[1.0]))];
        let message = ResidualCodebook::from_tensors(missing).unwrap_err().to_string();
        assert!(message.contains("`level_0` is missing"), "{message}");
        let book = ResidualCodebook::new(vec![matrix(1, &[1.0])], ResidualScale::Raw).unwrap();
        let wide = matrix(1, &[1.0, 2.0]);
        let message = book.quantize(&QuantizerInput::vectors(wide.view())).unwrap_err().to_string();
        assert!(message.contains("width 1") && message.contains("width 2"), "{message}");
        let none = MatrixRef::new(0, 1, &[]).unwrap();
        assert_eq!(book.quantize(&QuantizerInput::vectors(none)).unwrap().rows(), 0);
    }
}
