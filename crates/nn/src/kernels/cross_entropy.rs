//! Softmax cross-entropy over rows, and over all items without keeping all scores.

use super::gemm::{Mat, Write, gemm};
use super::math::{exp_one, max_body, size, sum_body};

/// Sum of `-log softmax(logits)[target]` over rows of `cols`; `grad`, when given, is set to
/// `scale * (softmax - onehot)`.
///
/// `targets` holds one column a row, below `cols`.
pub fn softmax_cross_entropy(
    logits: &[f32],
    cols: usize,
    targets: &[u32],
    scale: f32,
    mut grad: Option<&mut [f32]>,
) -> f64 {
    let mut total = 0.0;
    for (i, (row, &t)) in logits.chunks_exact(cols.max(1)).zip(targets).enumerate() {
        let top = max_row(row);
        total += match grad.as_deref_mut() {
            Some(g) => {
                let g = &mut g[i * cols..(i + 1) * cols];
                g.copy_from_slice(row);
                let norm = exp_row(g, top);
                scale_row(g, scale / norm);
                g[t as usize] -= scale;
                f64::from(norm.ln() + top - row[t as usize])
            }
            None => f64::from(exp_sum(row, top).ln() + top - row[t as usize]),
        };
    }
    total
}

/// Queries scored together against all items.
const TILE: usize = 32;

/// Cross-entropy of each query (`T x d`) against all items (`N x d`) by dot product times
/// `sharpness` (one over the temperature). Adds `scale` times the gradients when they are given.
/// Scores exist for `TILE` queries at a time.
pub fn streamed_cross_entropy(
    queries: &[f32],
    items: &[f32],
    d: usize,
    targets: &[u32],
    sharpness: f32,
    scale: f32,
    mut grads: Option<(&mut [f32], &mut [f32])>,
    scratch: &mut Vec<f32>,
) -> f64 {
    let n = items.len() / d.max(1);
    let mut total = 0.0;
    for (tile, targets) in targets.chunks(TILE).enumerate() {
        let (m, first) = (targets.len(), tile * TILE * d);
        let q = &queries[first..first + m * d];
        size(scratch, m * n);
        gemm(m, n, d, Mat::rows(q, d), Mat::rows(items, d).t(), scratch, n, Write::Set);
        for (row, &t) in scratch.chunks_exact_mut(n.max(1)).zip(targets) {
            if sharpness != 1.0 {
                scale_row(row, sharpness);
            }
            let (top, at) = (max_row(row), row[t as usize]);
            let norm = exp_row(row, top);
            total += f64::from(norm.ln() + top - at);
            scale_row(row, scale * sharpness / norm);
            row[t as usize] -= scale * sharpness;
        }
        if let Some((dq, di)) = grads.as_mut() {
            let g = Mat::rows(scratch, n);
            gemm(m, d, n, g, Mat::rows(items, d), &mut dq[first..first + m * d], d, Write::Add);
            gemm(n, d, m, g.t(), Mat::rows(q, d), di, d, Write::Add);
        }
    }
    total
}

simd! {
    fn max_row(row: &[f32]) -> f32 { max_body(row) }
}

simd! {
    fn exp_row(row: &mut [f32], top: f32) -> f32 {
        for x in row.iter_mut() {
            *x = exp_one(*x - top);
        }
        sum_body(row)
    }
}

simd! {
    fn exp_sum(row: &[f32], top: f32) -> f32 {
        let (chunks, rest) = row.as_chunks::<16>();
        let mut lanes = [0f32; 16];
        for x in chunks {
            for i in 0..16 {
                lanes[i] += exp_one(x[i] - top);
            }
        }
        super::math::fold_add(lanes) + rest.iter().map(|x| exp_one(*x - top)).sum::<f32>()
    }
}

simd! {
    fn scale_row(row: &mut [f32], factor: f32) {
        row.iter_mut().for_each(|x| *x *= factor);
    }
}
