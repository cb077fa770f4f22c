//! Optimized product quantization: `opq`.
//!
//! A rotation in front of product quantization spreads the variance over the parts: with an
//! orthogonal `R` (`D x D`) and codebooks `C_m`, `min |X R - Y|^2` over `R`, `C` and codes, where `Y`
//! holds the chosen centroids of every row (Ge, He, Ke and Sun 2013, "Optimized Product
//! Quantization"; the non-parametric form, their algorithm 1). The two halves take turns:
//!
//! 1. `R` fixed: one iteration of k-means a part on the rotated rows, from the centroids before;
//! 2. codes and centroids fixed: `R = U V^T` of `X^T Y = U S V^T`, the orthogonal Procrustes problem
//!    ([`sidereal_nn::algebra::polar`]).
//!
//! Neither half can raise the distortion, and the first codebooks are those of [`crate::pq`] on the
//! rotated rows, so with `start = "identity"` the result is never worse than `pq` with the same
//! options and seed, and equal to it with `rotations = 0`. `start = "balanced"` is the parametric
//! solution of the same paper: principal axes, dealt to the parts so that the products of their
//! variances are balanced ("eigenvalue allocation").
//!
//! Cost a turn: `2 N D K` for the codes, `4 N D^2` for the products with `R` and `X^T Y`, about
//! `16 D^3` for the rotation; memory beside the vectors: the rotated rows (`N D`) and their parts.
//! Products run in f32, sums over chunks of rows and the rotation in f64.
//!
//! Deviations: k-means runs to the end at the start, where the paper draws centroids; the last
//! rotation is followed by up to `iterations` of k-means.

use crate::kmeans::DeadCode;
use crate::kmeans::centroids::Centroids;
use crate::kmeans::lloyd::{Lloyd, Stop};
use crate::kmeans::pass::{Assigned, Collect, Scratch, pass};
use crate::pq::{Pq, PqCodebook, PqOptions, columns, cut};
use crate::residual::{Entering, ResidualCodebook, ResidualScale, check_prefixes, check_vectors};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sidereal_core::{
    Codebook, Codes, Error, Event, Matrix, MatrixRef, Quantizer, QuantizerInput, Result, Run,
    Silent,
};
use sidereal_nn::algebra::dense::{Dense, eigen};
use sidereal_nn::algebra::polar;
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::parallel;

/// First rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RotationStart {
    /// None: the columns as they are.
    Identity,
    /// Principal axes, dealt to the parts by their variances.
    Balanced,
}

sidereal_core::options! {
    /// Options of `opq`.
    pub struct OpqOptions {
        /// Codes of each part: a list of 1 to 64 widths, as many as parts, at most the width of the
        /// vectors; each from 1 to the number of distinct sub-vectors. Ge et al.: 4, 8 or 16 of 256.
        pub levels: Vec<u32> = vec![256, 256, 256, 256],
        /// First rotation: `identity`, never worse than `pq`, or `balanced` (principal axes; the
        /// parametric solution of Ge et al.).
        pub start: RotationStart = RotationStart::Identity,
        /// Turns of rotation and k-means, 0 and up. 0 keeps the first rotation.
        pub rotations: u32 = 20,
        /// Iterations of Lloyd a part at the start and at the end, at most; 1 and up.
        pub iterations: u32 = 50,
        /// Rows that the first centroids are chosen from, at least the largest width, or 0 for all.
        pub start_rows: u32 = 3072,
    }
}

/// Rows that one product of `X^T Y` sums over.
const CHUNK: usize = 2048;
/// Chunks whose products are kept at once.
const WAVE: usize = 4;
/// Rows that one task rotates.
const TILE: usize = 512;
/// The smallest relative fall of the distortion that is worth another iteration of k-means at the
/// end; `pq` has the same.
const TOLERANCE: f64 = 1e-4;

/// Fits an [`OpqCodebook`].
#[derive(Debug, Clone)]
pub struct Opq {
    options: OpqOptions,
    pq: Pq,
}

impl Opq {
    /// Checks the options.
    ///
    /// Errors name the key under `quantizer`, its value and what is allowed.
    pub fn new(options: OpqOptions) -> Result<Self> {
        let OpqOptions { levels, iterations, start_rows, .. } = options.clone();
        Ok(Opq { options, pq: Pq::new(PqOptions { levels, iterations, start_rows })? })
    }

    /// Fits and keeps the type, for callers that want more than [`Codebook`] offers.
    pub fn fit_opq(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<OpqCodebook> {
        let vectors = input.vectors;
        check_vectors(vectors)?;
        parallel::pool(run.threads)?.install(|| self.fit_here(vectors, run))
    }

    fn fit_here(&self, vectors: MatrixRef<'_>, run: &Run<'_>) -> Result<OpqCodebook> {
        let o = &self.options;
        let total = u64::from(o.rotations) + 2;
        run.emit(Event::Started { task: "opq", total, unit: "rotations" });
        let mut rotation = match o.start {
            RotationStart::Identity => identity(vectors.cols()),
            RotationStart::Balanced => balanced(vectors, o.levels.len()),
        };
        let mut rotated = rotate(vectors, &to_matrix(&rotation));
        let quiet = Run { observer: &Silent, ..run.clone() };
        let first = self.pq.fit_pq(&QuantizerInput::vectors(rotated.view()), &quiet)?;
        run.emit(Event::Advanced { task: "opq", done: 1, numbers: &[] });
        if o.rotations == 0 {
            run.emit(Event::Finished { task: "opq" });
            return OpqCodebook::new(to_matrix(&rotation), first);
        }
        let mut parts = Parts::new(&first, vectors.rows());
        for turn in 0..o.rotations {
            run.check()?;
            let stop = Stop { iterations: 1, tolerance: 0.0 };
            let distortion = parts.improve(rotated.view(), stop, run)?;
            rotation = polar::nearest_orthogonal(&parts.product(vectors), &rotation);
            rotated = rotate(vectors, &to_matrix(&rotation));
            let numbers = [("distortion", distortion)];
            let done = u64::from(turn) + 2;
            run.emit(Event::Advanced { task: "opq", done, numbers: &numbers });
        }
        let stop = Stop { iterations: o.iterations, tolerance: TOLERANCE };
        parts.improve(rotated.view(), stop, run)?;
        run.emit(Event::Finished { task: "opq" });
        OpqCodebook::new(to_matrix(&rotation), parts.codebook()?)
    }
}

impl Quantizer for Opq {
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>> {
        Ok(Box::new(self.fit_opq(input, run)?))
    }
}

/// Centroids and codes of all parts between the turns.
struct Parts {
    centroids: Vec<Centroids>,
    assigned: Vec<Assigned>,
    scratch: Scratch,
    rows: usize,
    dim: usize,
}

impl Parts {
    fn new(book: &PqCodebook, rows: usize) -> Self {
        let parts = book.parts().iter();
        Parts {
            centroids: parts.map(|p| Centroids::new(p.level(0).clone())).collect(),
            assigned: book.parts().iter().map(|_| Assigned::default()).collect(),
            scratch: Scratch::default(),
            rows,
            dim: book.dim(),
        }
    }

    /// Iterations of k-means in every part, then the codes; gives the mean squared distance of a
    /// row.
    fn improve(&mut self, rotated: MatrixRef<'_>, stop: Stop, run: &Run<'_>) -> Result<f64> {
        let count = self.centroids.len();
        let mut distortion = 0.0;
        for (m, range) in cut(self.dim, count).enumerate() {
            let sub = columns(rotated, range);
            let view = sub.view();
            let source = Entering::raw(&view);
            let (assigned, scratch) = (&mut self.assigned[m], &mut self.scratch);
            assigned.codes.clear(); // the rows have moved: no code counts as kept
            let mut level = Lloyd::new(self.centroids[m].clone());
            while !level.done {
                level.step(&source, stop, DeadCode::Farthest, assigned, scratch)?;
                run.check()?;
            }
            let sums = pass(&source, &level.centroids, Collect::Codes, assigned, scratch)?;
            self.centroids[m] = level.centroids;
            distortion += sums.distortion / self.rows as f64;
        }
        Ok(distortion)
    }

    /// `X^T Y`, shape `D x D`: chunks of rows in f32, added in their order in f64.
    fn product(&self, vectors: MatrixRef<'_>) -> Dense {
        let (d, count) = (self.dim, self.centroids.len());
        let mut out = Dense::zeros(d, d);
        let starts: Vec<usize> = (0..self.rows).step_by(CHUNK).collect();
        for wave in starts.chunks(WAVE) {
            let products: Vec<Vec<f32>> = wave
                .par_iter()
                .map(|&start| {
                    let n = CHUNK.min(self.rows - start);
                    let mut y = vec![0.0; n * d];
                    for (i, row) in y.chunks_exact_mut(d).enumerate() {
                        for (m, range) in cut(d, count).enumerate() {
                            let code = self.assigned[m].codes[start + i];
                            row[range].copy_from_slice(self.centroids[m].row(code));
                        }
                    }
                    let x = &vectors.data()[start * d..(start + n) * d];
                    let mut product = vec![0.0; d * d];
                    let (x, y) = (Mat::rows(x, d).t(), Mat::rows(&y, d));
                    gemm(d, d, n, x, y, &mut product, d, Write::Set);
                    product
                })
                .collect();
            for product in &products {
                out.data_mut().iter_mut().zip(product).for_each(|(o, p)| *o += f64::from(*p));
            }
        }
        out
    }

    fn codebook(self) -> Result<PqCodebook> {
        let one = |c: Centroids| ResidualCodebook::new(vec![c.into_values()], ResidualScale::Raw);
        PqCodebook::new(self.centroids.into_iter().map(one).collect::<Result<_>>()?)
    }
}

fn identity(d: usize) -> Dense {
    let mut out = Dense::zeros(d, d);
    (0..d).for_each(|i| out.row_mut(i)[i] = 1.0);
    out
}

fn to_matrix(m: &Dense) -> Matrix {
    let mut out = Matrix::zeros(m.rows(), m.cols());
    out.data_mut().iter_mut().zip(m.data()).for_each(|(o, v)| *o = *v as f32);
    out
}

/// Principal axes as columns, dealt to `parts` parts: the axis of the largest variance left goes to
/// the part with the smallest product of variances that has room.
fn balanced(vectors: MatrixRef<'_>, parts: usize) -> Dense {
    let (n, d) = (vectors.rows(), vectors.cols());
    let mut mean = vec![0.0f64; d];
    for row in vectors.data().chunks_exact(d) {
        mean.iter_mut().zip(row).for_each(|(m, v)| *m += f64::from(*v));
    }
    mean.iter_mut().for_each(|m| *m /= n as f64);
    let mut centred = Dense::zeros(n, d);
    let rows = centred.data_mut().par_chunks_mut(d).zip(vectors.data().par_chunks(d));
    rows.for_each(|(out, row)| {
        out.iter_mut().zip(row).zip(&mean).for_each(|((o, v), m)| *o = f64::from(*v) - m);
    });
    let mut covariance = centred.gram();
    let trace: f64 = (0..d).map(|i| covariance.row(i)[i]).sum();
    if trace <= 0.0 {
        return identity(d);
    }
    // Axes without variance need a direction too.
    let floor = 1e-9 * trace / d as f64;
    (0..d).for_each(|i| covariance.row_mut(i)[i] += floor);
    let (variances, axes) = eigen(&covariance);
    let mut order = vec![0; d];
    let ranges: Vec<_> = cut(d, parts.min(d)).collect();
    let (mut next, mut logs): (Vec<usize>, Vec<f64>) =
        ranges.iter().map(|r| (r.start, 0.0)).unzip();
    for (axis, variance) in variances.iter().enumerate() {
        let open = (0..ranges.len()).filter(|&m| next[m] < ranges[m].end);
        let Some(m) = open.min_by(|&a, &b| logs[a].total_cmp(&logs[b])) else { break };
        order[next[m]] = axis;
        next[m] += 1;
        // Above 0 for every axis, so that a fuller part never looks emptier.
        logs[m] += (variance / (0.5 * floor)).max(1.0).ln();
    }
    let mut out = Dense::zeros(d, d);
    for i in 0..d {
        let from = axes.row(i);
        out.row_mut(i).iter_mut().zip(&order).for_each(|(o, &axis)| *o = from[axis]);
    }
    // Jacobi leaves axes orthogonal to its tolerance; this brings them to f64's.
    polar::nearest_orthogonal(&out, &identity(d))
}

/// `X R` for rows `X`.
fn rotate(vectors: MatrixRef<'_>, rotation: &Matrix) -> Matrix {
    turn(vectors, Mat::rows(rotation.data(), rotation.cols()))
}

fn turn(vectors: MatrixRef<'_>, by: Mat<'_>) -> Matrix {
    let d = vectors.cols();
    let mut out = Matrix::zeros(vectors.rows(), d);
    let tiles = out.data_mut().par_chunks_mut(TILE * d).zip(vectors.data().par_chunks(TILE * d));
    tiles.for_each(|(out, x)| {
        gemm(x.len() / d, d, d, Mat::rows(x, d), by, out, d, Write::Set);
    });
    out
}

/// A rotation and one codebook a part of the rotated vector.
#[derive(Debug, Clone, PartialEq)]
pub struct OpqCodebook {
    rotation: Matrix,
    pq: PqCodebook,
}

/// Name of the rotation's tensor.
pub(crate) const ROTATION: &str = "rotation";

impl OpqCodebook {
    /// From a rotation `D x D` and codebooks of the rotated vectors `x R`.
    ///
    /// Errors: shapes that do not fit, columns that are not orthonormal to 1e-4.
    pub fn new(rotation: Matrix, pq: PqCodebook) -> Result<Self> {
        let d = pq.dim();
        if (rotation.rows(), rotation.cols()) != (d, d) {
            return Err(Error::mismatch(format!(
                "opq: a rotation of shape {} x {} for codebooks of width {d}",
                rotation.rows(),
                rotation.cols()
            )));
        }
        let mut wide = Dense::zeros(d, d);
        wide.data_mut().iter_mut().zip(rotation.data()).for_each(|(w, v)| *w = f64::from(*v));
        let gram = wide.gram();
        let near = |i: usize, j: usize| {
            (gram.row(i)[j] - f64::from(u8::from(i == j))).abs() < 1e-4 // false for NaN
        };
        if !(0..d).all(|i| (0..d).all(|j| near(i, j))) {
            return Err(Error::mismatch("opq: the rotation is not orthogonal"));
        }
        Ok(OpqCodebook { rotation, pq })
    }

    /// From what [`Codebook::tensors`] gives.
    pub fn from_tensors(tensors: Vec<(String, Matrix)>) -> Result<Self> {
        let (rotation, parts): (Vec<_>, Vec<_>) =
            tensors.into_iter().partition(|(name, _)| name == ROTATION);
        let rotation = rotation
            .into_iter()
            .next()
            .ok_or_else(|| Error::mismatch(format!("opq: tensor `{ROTATION}` is missing")))?;
        OpqCodebook::new(rotation.1, PqCodebook::from_tensors(parts)?)
    }

    /// The rotation `R`, shape `D x D`: rows are turned as `x R`.
    pub fn rotation(&self) -> &Matrix {
        &self.rotation
    }

    /// The codebooks of the rotated vectors.
    pub fn pq(&self) -> &PqCodebook {
        &self.pq
    }
}

impl Codebook for OpqCodebook {
    fn widths(&self) -> &[u32] {
        self.pq.widths()
    }

    fn quantize(&self, input: &QuantizerInput<'_>) -> Result<Codes> {
        let (vectors, d) = (input.vectors, self.pq.dim());
        if vectors.cols() != d {
            return Err(Error::mismatch(format!(
                "the codebook was fitted on vectors of width {d}, got width {}",
                vectors.cols()
            )));
        }
        if vectors.rows() > 0 {
            check_vectors(vectors)?;
        }
        let rotated = rotate(vectors, &self.rotation);
        self.pq.quantize(&QuantizerInput::vectors(rotated.view()))
    }

    /// Parts behind the first `levels` are 0 in the rotated space.
    fn reconstruct(&self, codes: &Codes, levels: usize) -> Option<Matrix> {
        let rotated = self.pq.reconstruct(codes, levels)?;
        let back = Mat::rows(self.rotation.data(), self.rotation.cols()).t();
        Some(turn(rotated.view(), back))
    }

    fn distances(
        &self,
        vectors: MatrixRef<'_>,
        codes: &Codes,
        level: usize,
    ) -> Result<Option<Matrix>> {
        check_prefixes(vectors, codes, level, self.pq.dim(), self.pq.widths())?;
        self.pq.distances(rotate(vectors, &self.rotation).view(), codes, level)
    }

    fn tensors(&self) -> Vec<(String, Matrix)> {
        let mut out = self.pq.tensors();
        out.push((ROTATION.into(), self.rotation.clone()));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_dealt_by_their_variances() {
        // Variances 64, 16, 4, 1 on the axes: {64, 1} and {16, 4} have equal products.
        let mut data = Vec::new();
        for i in 0..64 {
            let sign = |bit: usize| if i >> bit & 1 == 0 { -1.0 } else { 1.0 };
            data.extend([8.0 * sign(0), 4.0 * sign(1), 2.0 * sign(2), sign(3)]);
        }
        let x = Matrix::new(64, 4, data).unwrap();
        let r = balanced(x.view(), 2);
        let axis = |column: usize| {
            (0..4).find(|&i| (r.row(i)[column].abs() - 1.0).abs() < 1e-9).expect("an axis")
        };
        assert_eq!([axis(0), axis(1), axis(2), axis(3)], [0, 3, 1, 2]);
    }

    #[test]
    fn flat_and_empty_directions_still_give_a_rotation() {
        for x in [
            Matrix::new(3, 2, vec![5.0; 6]).unwrap(),
            Matrix::new(1, 3, vec![1.0, 2.0, 3.0]).unwrap(),
        ] {
            let gram = balanced(x.view(), 2).gram();
            for i in 0..x.cols() {
                for j in 0..x.cols() {
                    let want = f64::from(u8::from(i == j));
                    assert!((gram.row(i)[j] - want).abs() < 1e-9);
                }
            }
        }
        // One direction of variance among five columns.
        let data = (0..40).flat_map(|i| (0..5).map(move |j| (i * (j + 1)) as f32)).collect();
        let x = Matrix::new(40, 5, data).unwrap();
        let gram = balanced(x.view(), 3).gram();
        assert!((0..5).all(|i| (gram.row(i)[i] - 1.0).abs() < 1e-9));
    }
}
