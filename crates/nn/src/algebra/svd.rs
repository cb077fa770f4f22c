//! Truncated SVD of a sparse matrix by a random sketch.
//!
//! Halko, Martinsson and Tropp 2011 (arXiv 0909.4061), algorithms 4.4 and 5.1: `Y = A G` with a
//! Gaussian `G` (V x l), an orthonormal basis `Q` (N x l) of `Y`, sharpened by power iterations
//! with a new basis after every product, then the SVD of the small `B = Q^T A`. Deviation: the
//! SVD of `B` comes from the eigenvectors of `B B^T` (l x l), which f64 keeps exact to about 1e-8
//! of the largest singular value. Only the left side is computed.

use super::dense::{Dense, eigen};
use super::sparse::Csr;
use rand::Rng;
use rayon::prelude::*;
use sidereal_core::{Event, Result, Run, seed};

/// Singular values below this share of the largest count as zero.
const RANK: f64 = 1e-6;
/// Rows of the sketch drawn from one random stream.
const CHUNK: usize = 1024;

/// Size and effort of the sketch.
#[derive(Debug, Clone)]
pub struct Sketch {
    /// Name of the task in events; names the random stream too.
    pub task: &'static str,
    /// Singular values wanted, at most `min(N, V)`.
    pub dim: usize,
    /// Extra directions.
    pub oversampling: usize,
    /// Power iterations.
    pub power_iterations: usize,
}

/// The left side of a truncated SVD.
#[derive(Debug, Clone)]
pub struct Svd {
    /// Left singular vectors, N x dim. The entry of each column that is largest in size is
    /// positive (the first of equals), which fixes the sign.
    pub u: Dense,
    /// Singular values, largest first.
    pub s: Vec<f64>,
}

impl Svd {
    /// How many singular values are not zero.
    pub fn rank(&self) -> usize {
        let floor = RANK * self.s.first().copied().unwrap_or(0.0);
        self.s.iter().take_while(|&&s| s > floor).count()
    }
}

/// The `dim` largest singular values of `a` and their left vectors.
pub fn truncated(a: &Csr, sketch: &Sketch, run: &Run<'_>) -> Result<Svd> {
    let task = sketch.task;
    let l = (sketch.dim + sketch.oversampling).min(a.rows()).min(a.cols());
    let steps = sketch.power_iterations as u64 + 2;
    run.emit(Event::Started { task, total: steps, unit: "passes" });
    let advanced = |done| {
        run.emit(Event::Advanced { task, done, numbers: &[] });
        run.check()
    };
    let at = a.transpose();
    let mut q = a.times(&gaussian(a.cols(), l, run.seed, &format!("{task}-sketch")));
    q.orthonormalize();
    advanced(1)?;
    for i in 0..sketch.power_iterations {
        let mut z = at.times(&q);
        z.orthonormalize();
        q = a.times(&z);
        q.orthonormalize();
        advanced(i as u64 + 2)?;
    }
    let (values, vectors) = eigen(&at.times(&q).gram());
    let mut left = Dense::zeros(l, sketch.dim);
    for i in 0..l {
        left.row_mut(i).copy_from_slice(&vectors.row(i)[..sketch.dim]);
    }
    let mut u = q.times(&left);
    fix_signs(&mut u);
    run.emit(Event::Finished { task });
    Ok(Svd { u, s: values[..sketch.dim].iter().map(|v| v.max(0.0).sqrt()).collect() })
}

pub(crate) fn fix_signs(u: &mut Dense) {
    let l = u.cols();
    let mut extreme = vec![0.0f64; l];
    for i in 0..u.rows() {
        for (e, &v) in extreme.iter_mut().zip(u.row(i)) {
            if v.abs() > e.abs() {
                *e = v;
            }
        }
    }
    for i in 0..u.rows() {
        for (v, e) in u.row_mut(i).iter_mut().zip(&extreme) {
            if *e < 0.0 {
                *v = -*v;
            }
        }
    }
}

/// Independent N(0, 1) entries by Box and Muller, every chunk of rows from its own stream.
pub fn gaussian(rows: usize, cols: usize, seed: u64, purpose: &str) -> Dense {
    let mut g = Dense::zeros(rows, cols);
    g.data_mut().par_chunks_mut(CHUNK * cols).enumerate().for_each(|(chunk, block)| {
        let mut rng = seed::stream(seed, purpose, chunk as u64);
        for pair in block.chunks_mut(2) {
            // 1 - [0, 1) keeps the logarithm finite.
            let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
            let (sin, cos) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
            pair[0] = radius * cos;
            if let Some(second) = pair.get_mut(1) {
                *second = radius * sin;
            }
        }
    });
    g
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random_sparse(rows: usize, cols: usize, each: usize, seed: u64) -> Csr {
        let mut rng = seed::stream(seed, "svd-test", 0);
        let (mut offsets, mut columns, mut values) = (vec![0], vec![], vec![]);
        for _ in 0..rows {
            let mut cs: Vec<u32> = (0..each).map(|_| rng.random_range(0..cols as u32)).collect();
            cs.sort_unstable();
            cs.dedup();
            values.extend(cs.iter().map(|_| rng.random::<f32>() - 0.3));
            columns.extend(cs);
            offsets.push(values.len());
        }
        Csr::from_parts(cols, offsets, columns, values)
    }

    /// The exact SVD by plain two-sided Jacobi on `A A^T`: another algorithm in every part.
    fn exact(a: &Csr) -> (Vec<f64>, Vec<Vec<f64>>) {
        let n = a.rows();
        let dense = |i: usize| {
            let mut row = vec![0.0f64; a.cols()];
            let (cs, vs) = a.row(i);
            cs.iter().zip(vs).for_each(|(&c, &v)| row[c as usize] += f64::from(v));
            row
        };
        let rows: Vec<_> = (0..n).map(dense).collect();
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(a, b)| a * b).sum::<f64>();
        let mut m: Vec<Vec<f64>> =
            rows.iter().map(|x| rows.iter().map(|y| dot(x, y)).collect()).collect();
        let mut v: Vec<Vec<f64>> =
            (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
        for _ in 0..30 {
            for p in 0..n {
                for q in p + 1..n {
                    if m[p][q].abs() < 1e-300 {
                        continue;
                    }
                    let theta = 0.5 * (2.0 * m[p][q]).atan2(m[q][q] - m[p][p]);
                    let (s, c) = theta.sin_cos();
                    for k in 0..n {
                        let (x, y) = (m[k][p], m[k][q]);
                        (m[k][p], m[k][q]) = (c * x - s * y, s * x + c * y);
                        let (x, y) = (v[k][p], v[k][q]);
                        (v[k][p], v[k][q]) = (c * x - s * y, s * x + c * y);
                    }
                    for k in 0..n {
                        let (x, y) = (m[p][k], m[q][k]);
                        (m[p][k], m[q][k]) = (c * x - s * y, s * x + c * y);
                    }
                }
            }
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| m[b][b].total_cmp(&m[a][a]));
        let s = order.iter().map(|&k| m[k][k].max(0.0).sqrt()).collect();
        (s, order.iter().map(|&k| v.iter().map(|row| row[k]).collect()).collect())
    }

    #[test]
    fn agrees_with_an_exact_svd() {
        let a = random_sparse(60, 45, 9, 1);
        let (s, u) = exact(&a);
        let sketch = Sketch { task: "lsa", dim: 12, oversampling: 16, power_iterations: 12 };
        let svd = truncated(&a, &sketch, &Run::quiet(5)).unwrap();
        for k in 0..12 {
            assert!((svd.s[k] - s[k]).abs() < 1e-8 * s[0], "{k}: {} {}", svd.s[k], s[k]);
            let dot: f64 = (0..60).map(|i| svd.u.row(i)[k] * u[k][i]).sum();
            assert!(dot.abs() > 1.0 - 1e-6, "{k}: {dot}");
            let extreme =
                (0..60).map(|i| svd.u.row(i)[k]).max_by(|a, b| a.abs().total_cmp(&b.abs()));
            assert!(extreme.unwrap() > 0.0);
        }
        let g = svd.u.gram();
        for i in 0..12 {
            for j in 0..12 {
                assert!((g.row(i)[j] - f64::from(u8::from(i == j))).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn a_full_sketch_keeps_every_row_length() {
        // With dim = min(N, V) the rows of U S have the lengths of the rows of A.
        let a = random_sparse(30, 20, 5, 2);
        let sketch = Sketch { task: "lsa", dim: 20, oversampling: 4, power_iterations: 1 };
        let svd = truncated(&a, &sketch, &Run::quiet(0)).unwrap();
        for i in 0..30 {
            let want: f64 = a.row(i).1.iter().map(|&v| f64::from(v).powi(2)).sum();
            let got: f64 = (0..20).map(|k| (svd.u.row(i)[k] * svd.s[k]).powi(2)).sum();
            assert!((want - got).abs() < 1e-9, "{i}: {want} {got}");
        }
    }

    #[test]
    fn low_rank_is_seen_as_such() {
        // Every row is one of three: rank 3.
        let (mut offsets, mut columns, mut values) = (vec![0], vec![], vec![]);
        for i in 0..50u32 {
            columns.extend([i % 3, 3 + i % 3]);
            values.extend([1.0, 0.5]);
            offsets.push(values.len());
        }
        let a = Csr::from_parts(6, offsets, columns, values);
        let sketch = Sketch { task: "lsa", dim: 5, oversampling: 8, power_iterations: 3 };
        let svd = truncated(&a, &sketch, &Run::quiet(0)).unwrap();
        assert_eq!(svd.rank(), 3);
        assert!(svd.u.data().iter().all(|v| v.is_finite()));
    }
}
