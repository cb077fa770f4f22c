//! Balanced k-means of OneRec (arXiv 2502.18965, algorithm 1): every code has its share of rows.
//!
//! In each iteration, for `k = 1..K` in order: of the rows still free, the `w_k` that are nearest
//! to `c_k` get the code k, and `c_k` becomes their mean. `w_k = floor(N / K)`, one more for the
//! first `N mod K` codes (the paper leaves an `N` that K does not divide open). It is greedy in the
//! order of codes: the first ones take what they want, the last one gets what is left, and the
//! distortion may rise. It ends when no row changes its code.
//!
//! Cost of an iteration: `N K D` operations in products and about `N K / 2` steps of selection; no
//! sort. Scores of [`PANEL`] codes are in memory at a time: `N x PANEL`.

use super::centroids::{Centroids, TILE};
use super::means::means;
use super::squared_norm;
use crate::residual::Entering;
use rayon::prelude::*;
use sidereal_core::{Code, Matrix, Result};
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};

/// Codes whose scores are in memory at a time.
const PANEL: usize = 32;

/// Centroids, and the code of each row.
pub(crate) struct Grouped {
    pub centroids: Centroids,
    pub codes: Vec<Code>,
}

/// Number of rows of a code.
pub(crate) fn share(rows: usize, width: usize, code: usize) -> usize {
    rows / width + usize::from(code < rows % width)
}

/// Iterates from `first`, at most `iterations` times; `each` hears (iteration, mean distortion
/// before the centroids move) and may stop it.
pub(crate) fn balanced(
    source: &Entering<'_>,
    first: Matrix,
    iterations: u32,
    mut each: impl FnMut(u32, f64) -> Result<()>,
) -> Result<Grouped> {
    let n = source.len();
    let mut centroids = Centroids::new(first);
    let norms = norms(source, n)?;
    let mut codes = vec![Code::MAX; n];
    for i in 0..iterations {
        let before = std::mem::replace(&mut codes, vec![Code::MAX; n]);
        let sum = take_turns(source, &centroids, &norms, &mut codes)?;
        each(i, sum / n as f64)?;
        let mut moved = Ok(());
        centroids.update(|values| moved = means(source, &codes, values));
        moved?;
        if before == codes {
            break;
        }
    }
    Ok(Grouped { centroids, codes })
}

/// Squared length of every row.
fn norms(source: &Entering<'_>, n: usize) -> Result<Vec<f32>> {
    let mut norms = vec![0f32; n];
    let tiles = norms.par_chunks_mut(TILE).enumerate();
    tiles.try_for_each(|(t, out)| {
        let rows: Vec<u32> = (0..out.len()).map(|i| (t * TILE + i) as u32).collect();
        let residuals = source.gather(&rows)?;
        let dim = residuals.cols();
        let squares = residuals.data().chunks_exact(dim).map(squared_norm);
        out.iter_mut().zip(squares).for_each(|(o, s)| *o = s);
        Ok(())
    })?;
    Ok(norms)
}

/// Gives every row a code; returns the sum of squared distances.
fn take_turns(
    source: &Entering<'_>,
    centroids: &Centroids,
    norms: &[f32],
    codes: &mut [Code],
) -> Result<f64> {
    let (n, width) = (codes.len(), centroids.width());
    let mut free: Vec<u32> = (0..n as u32).collect();
    let mut scores = Vec::new();
    let mut keys: Vec<u64> = Vec::new();
    let mut sum = 0.0;
    for first in (0..width).step_by(PANEL) {
        let panel = PANEL.min(width - first);
        panel_scores(source, centroids, norms, &free, first, panel, &mut scores)?;
        for p in 0..panel {
            let code = first + p;
            keys.clear();
            for (t, rows) in free.chunks(TILE).enumerate() {
                let at = t * TILE * panel + p * rows.len();
                let scores = &scores[at..at + rows.len()];
                let pairs = rows.iter().zip(scores);
                let left = pairs.filter(|(r, _)| codes[**r as usize] == Code::MAX);
                keys.extend(left.map(|(&r, &s)| key(s, r)));
            }
            let share = share(n, width, code);
            if share < keys.len() {
                keys.select_nth_unstable(share);
                keys.truncate(share);
            }
            for &key in &keys {
                codes[key as u32 as usize] = code as Code;
            }
            let norm = f64::from(centroids.norms()[code]);
            // Added in the order of rows: selection leaves them in any order.
            keys.sort_unstable_by_key(|k| *k as u32);
            sum += keys.iter().map(|&k| (f64::from(score(k)) + norm).max(0.0)).sum::<f64>();
        }
        free.retain(|&r| codes[r as usize] == Code::MAX);
    }
    Ok(sum)
}

/// `||r||^2 - 2 r.c` of the free rows and a panel of codes: tile by tile, code by code.
fn panel_scores(
    source: &Entering<'_>,
    centroids: &Centroids,
    norms: &[f32],
    free: &[u32],
    first: usize,
    panel: usize,
    scores: &mut Vec<f32>,
) -> Result<()> {
    let dim = centroids.dim();
    scores.resize(free.len() * panel, 0.0);
    let rows = &centroids.values().data()[first * dim..(first + panel) * dim];
    let tiles = scores.par_chunks_mut(TILE * panel).zip(free.par_chunks(TILE)).with_max_len(1);
    tiles.try_for_each_init(Vec::new, |dots: &mut Vec<f32>, (out, free)| {
        let residuals = source.gather(free)?;
        let n = free.len();
        dots.resize(n * panel, 0.0);
        let (a, b) = (Mat::rows(residuals.data(), dim), Mat::rows(rows, dim).t());
        gemm(n, panel, dim, a, b, dots, panel, Write::Set);
        for (i, (dots, &row)) in dots.chunks_exact(panel).zip(free).enumerate() {
            for (p, dot) in dots.iter().enumerate() {
                out[p * n + i] = norms[row as usize] - 2.0 * dot;
            }
        }
        Ok(())
    })
}

/// Orders by score, then by row.
fn key(score: f32, row: u32) -> u64 {
    let bits = score.to_bits();
    let rising = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(rising) << 32 | u64::from(row)
}

/// The score of a key.
fn score(key: u64) -> f32 {
    let rising = (key >> 32) as u32;
    f32::from_bits(if rising >> 31 == 1 { rising & !(1 << 31) } else { !rising })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_scores_then_rows() {
        let scores = [-3.5f32, -0.0, 0.0, 1e-30, 2.0, 1e30];
        for w in scores.windows(2) {
            assert!(key(w[0], 9) < key(w[1], 3), "{w:?}");
            assert_eq!(score(key(w[0], 7)).to_bits(), w[0].to_bits());
        }
        assert!(key(1.0, 3) < key(1.0, 4));
    }

    /// Points 0, 1, 2, 9 with first centroids 1.4 and 0: the code 0 takes 1 and 2 (not 0, which is
    /// 1.4 away), the code 1 gets 0 and 9; means 1.5 and 4.5. Then the code 0 takes 1 and 2 again.
    #[test]
    fn greedy_in_the_order_of_codes() {
        let x = Matrix::new(4, 1, vec![0.0, 1.0, 2.0, 9.0]).unwrap();
        let first = Matrix::new(2, 1, vec![1.4, 0.0]).unwrap();
        let mut heard = Vec::new();
        let view = x.view();
        let got = balanced(&Entering::raw(&view), first, 9, |_, d| {
            heard.push(d);
            Ok(())
        });
        let got = got.unwrap();
        assert_eq!(got.codes, [1, 0, 0, 1]);
        assert_eq!(got.centroids.values().data(), [1.5, 4.5]);
        assert_eq!(heard.len(), 2);
        // (0.16 + 0.36 + 0 + 81) / 4, then (0.25 + 0.25 + 20.25 + 20.25) / 4.
        assert!((heard[0] - 20.38).abs() < 1e-5 && (heard[1] - 10.25).abs() < 1e-5, "{heard:?}");
    }
}
