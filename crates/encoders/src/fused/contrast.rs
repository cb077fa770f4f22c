//! InfoNCE in both directions over a batch of B pairs of vectors.
//!
//! With unit rows `a_i`, `b_i` (B x d) and `s_ij = b_i . a_j / tau`:
//! `L = (1 / 2B) sum_i [lse_j s_ij + lse_j s_ji - 2 s_ii]`, and the gradient of `b` is
//! `(1 / 2 B tau) (softmax over rows of s + softmax over columns of s - 2 I) a`. The `a` are held
//! fixed. Cost: `4 B^2 d` operations and `2 B^2` exponentials; `B^2` values are stored.
//!
//! Threads take [`ROWS`] rows; maxima and sums of columns are added in the order of pieces.

use rayon::prelude::*;
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::kernels::math::{exp_in_place, max, size, sum};

/// Rows in a piece of work.
pub const ROWS: usize = 128;

/// Buffers of the contrast, kept between batches.
#[derive(Debug, Default)]
pub struct Contrast {
    scores: Vec<f32>,
}

/// Largest value and sum of exponentials below it.
type Stats = [f64; 2];

impl Contrast {
    /// The loss; writes its gradient with respect to `b` to `db`. On the current pool.
    ///
    /// # Panics
    /// When the slices do not hold the same number of rows: a mistake of the caller.
    pub fn run(&mut self, a: &[f32], b: &[f32], width: usize, tau: f32, db: &mut [f32]) -> f64 {
        assert!(a.len() == b.len() && b.len() == db.len(), "one row on either side");
        let n = b.len() / width.max(1);
        if n == 0 {
            return 0.0;
        }
        let s = &mut self.scores;
        size(s, n * n);
        // Scores, statistics of rows, largest values of columns.
        let pieces: Vec<(Vec<Stats>, Vec<f32>)> = s
            .par_chunks_mut(ROWS * n)
            .zip(b.par_chunks(ROWS * width))
            .map(|(s, b)| {
                let rows = b.len() / width;
                gemm(
                    rows,
                    n,
                    width,
                    Mat::rows(b, width),
                    Mat::rows(a, width).t(),
                    s,
                    n,
                    Write::Set,
                );
                s.iter_mut().for_each(|v| *v /= tau);
                let mut top = vec![f32::NEG_INFINITY; n];
                let mut line = vec![0f32; n];
                let stats = s.chunks_exact(n).map(|row| {
                    top.iter_mut().zip(row).for_each(|(t, v)| *t = t.max(*v));
                    let most = max(row);
                    line.iter_mut().zip(row).for_each(|(l, v)| *l = v - most);
                    exp_in_place(&mut line);
                    [f64::from(most), f64::from(sum(&line))]
                });
                (stats.collect(), top)
            })
            .collect();
        let rows: Vec<Stats> = pieces.iter().flat_map(|(r, _)| r).copied().collect();
        let mut tops = vec![f32::NEG_INFINITY; n];
        for (_, top) in &pieces {
            tops.iter_mut().zip(top).for_each(|(t, v)| *t = t.max(*v));
        }
        let s = &*s;
        let sums: Vec<Vec<f32>> = s
            .par_chunks(ROWS * n)
            .map(|s| {
                let (mut sums, mut line) = (vec![0f32; n], vec![0f32; n]);
                for row in s.chunks_exact(n) {
                    line.iter_mut().zip(row).zip(&tops).for_each(|((l, v), t)| *l = v - t);
                    exp_in_place(&mut line);
                    sums.iter_mut().zip(&line).for_each(|(s, l)| *s += l);
                }
                sums
            })
            .collect();
        let mut columns: Vec<Stats> = tops.iter().map(|&t| [f64::from(t), 0.0]).collect();
        for part in &sums {
            columns.iter_mut().zip(part).for_each(|(c, v)| c[1] += f64::from(*v));
        }
        let lse = |stats: &Stats| stats[0] + stats[1].ln();
        let total: f64 =
            (0..n).map(|i| lse(&rows[i]) + lse(&columns[i]) - 2.0 * f64::from(s[i * n + i])).sum();
        let logs: Vec<f32> = columns.iter().map(|c| lse(c) as f32).collect();
        let share = 0.5 / (n as f32 * tau);
        let pieces = db.par_chunks_mut(ROWS * width).zip(s.par_chunks(ROWS * n)).enumerate();
        pieces.for_each(|(chunk, (db, s))| {
            let mut slopes = vec![0f32; s.len()];
            let mut line = vec![0f32; n];
            for (r, (row, slope)) in s.chunks_exact(n).zip(slopes.chunks_exact_mut(n)).enumerate() {
                let i = chunk * ROWS + r;
                let log = lse(&rows[i]) as f32;
                slope.iter_mut().zip(row).for_each(|(o, v)| *o = v - log);
                exp_in_place(slope);
                line.iter_mut().zip(row).zip(&logs).for_each(|((l, v), log)| *l = v - log);
                exp_in_place(&mut line);
                slope.iter_mut().zip(&line).for_each(|(o, l)| *o = (*o + l) * share);
                slope[i] -= 2.0 * share;
            }
            let (rows, a) = (db.len() / width, Mat::rows(a, width));
            gemm(rows, width, n, Mat::rows(&slopes, n), a, db, width, Write::Set);
        });
        0.5 * total / n as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use sidereal_core::seed::stream;

    fn run(a: &[f32], b: &[f32], width: usize, tau: f32) -> (f64, Vec<f32>) {
        let mut db = vec![f32::NAN; b.len()];
        (Contrast::default().run(a, b, width, tau, &mut db), db)
    }

    fn loss(a: &[f64], b: &[f64], width: usize, tau: f64) -> f64 {
        let n = a.len() / width;
        let s = |i: usize, j: usize| -> f64 {
            (0..width).map(|k| b[i * width + k] * a[j * width + k]).sum::<f64>() / tau
        };
        let row = |i| (0..n).map(|j| s(i, j).exp()).sum::<f64>().ln() - s(i, i);
        let column = |i| (0..n).map(|j| s(j, i).exp()).sum::<f64>().ln() - s(i, i);
        (0..n).map(|i| row(i) + column(i)).sum::<f64>() / (2 * n) as f64
    }

    #[test]
    fn limits_by_formula() {
        for n in [1, 5, 300] {
            let same: Vec<f32> = [0.6, 0.8].repeat(n);
            assert!((run(&same, &same, 2, 0.07).0 - (n as f64).ln()).abs() < 1e-5);
        }
        // Perfect pairs of orthogonal vectors.
        let n = 6;
        let unit: Vec<f32> = (0..n * n).map(|c| f32::from(u8::from(c / n == c % n))).collect();
        for tau in [0.07f32, 0.5, 2.0] {
            let want = (1.0 + 5.0 * (-1.0 / f64::from(tau)).exp()).ln();
            assert!((run(&unit, &unit, n, tau).0 - want).abs() < 1e-5);
        }
        assert_eq!(run(&[], &[], 3, 0.1).0, 0.0);
    }

    #[test]
    fn symmetric_and_its_gradient_equals_differences() {
        let mut rng = stream(6, "contrast-test", 0);
        let mut rows =
            |n: usize| -> Vec<f32> { (0..n).map(|_| rng.random::<f32>() - 0.5).collect() };
        // More rows than a piece holds.
        let (n, d, tau) = (ROWS + 9, 3, 0.2);
        let (a, b) = (rows(n * d), rows(n * d));
        let (got, db) = run(&a, &b, d, tau);
        assert!((got - run(&b, &a, d, tau).0).abs() < 1e-5);
        let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        let (wa, wb) = (wide(&a), wide(&b));
        let tau = f64::from(tau);
        assert!((got - loss(&wa, &wb, d, tau)).abs() < 1e-5);
        for i in (0..n * d).step_by(17) {
            let (mut up, mut down) = (wb.clone(), wb.clone());
            up[i] += 1e-5;
            down[i] -= 1e-5;
            let want = (loss(&wa, &up, d, tau) - loss(&wa, &down, d, tau)) / 2e-5;
            assert!((f64::from(db[i]) - want).abs() < 1e-5, "{i}: {} {want}", db[i]);
        }
    }
}
