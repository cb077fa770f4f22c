//! Softmax cross-entropy over rows, and over all items without keeping all scores.

use super::gemm::{Mat, Write, gemm};
use super::math::{exp_one, fold_add, max_body, size};

/// Sum of `-log softmax(logits)[target]` over rows of `cols`; `grad`, when given, is set to
/// `scale * (softmax - onehot)`.
///
/// # Panics
/// When `targets` does not hold one column below `cols` for each row.
pub fn softmax_cross_entropy(
    logits: &[f32],
    cols: usize,
    targets: &[u32],
    scale: f32,
    mut grad: Option<&mut [f32]>,
) -> f64 {
    assert_eq!(logits.len(), cols * targets.len(), "one target a row");
    let mut total = 0.0;
    for (i, (row, &t)) in logits.chunks_exact(cols.max(1)).zip(targets).enumerate() {
        let top = max_row(row);
        total += match grad.as_deref_mut() {
            Some(g) => {
                let g = &mut g[i * cols..(i + 1) * cols];
                let norm = exp_to(row, top, g);
                scale_row(g, scale / norm);
                g[t as usize] -= scale;
                f64::from(norm.ln() + top - row[t as usize])
            }
            None => f64::from(exp_sum(row, top).ln() + top - row[t as usize]),
        };
    }
    total
}

/// Scores that may be kept at a time: 4 MiB of them.
const KEEP: usize = 1 << 20;
/// Fewer queries than this together would read all items too often.
const MIN_TILE: usize = 64;
/// Items in a block, and queries in a tile, when scores are computed twice.
const BLOCK: usize = 512;

/// Cross-entropy of each query (`T x d`) against all items (`N x d`) by dot product times
/// `sharpness` (one over the temperature). Adds `scale` times the gradients of queries and items
/// when they are given, and gives the sum of losses. An item that must not compete (padding at row
/// 0) is left out by passing the other rows and targets less one.
///
/// Up to 16,384 items, scores of a tile of queries against all items are kept and three products
/// of `T x N x d` do; beyond, two passes over blocks of items need four, and memory for 512 x 512
/// scores whatever N is. `scratch` is reused.
///
/// # Panics
/// When a slice has not the shape above or a target is no item.
pub fn streamed_cross_entropy(
    queries: &[f32],
    items: &[f32],
    d: usize,
    targets: &[u32],
    sharpness: f32,
    scale: f32,
    grads: Option<(&mut [f32], &mut [f32])>,
    scratch: &mut Vec<f32>,
) -> f64 {
    let n = items.len() / d.max(1);
    assert!(queries.len() == d * targets.len() && items.len() == d * n, "rows of {d} values");
    assert!(targets.iter().all(|&t| (t as usize) < n), "targets are below {n}");
    if let Some((dq, di)) = &grads {
        assert!(dq.len() == queries.len() && di.len() == items.len(), "one gradient a value");
    }
    let task = Retrieval { items, d, n, sharpness, factor: scale * sharpness };
    if n * MIN_TILE <= KEEP {
        task.tiles((KEEP / n.max(1)).clamp(MIN_TILE, BLOCK), queries, targets, grads, scratch)
    } else {
        task.blocks(queries, targets, grads, scratch)
    }
}

struct Retrieval<'a> {
    items: &'a [f32],
    d: usize,
    n: usize,
    sharpness: f32,
    /// `scale * sharpness`: factor on the gradient of a score before sharpening.
    factor: f32,
}

impl Retrieval<'_> {
    /// Keeps the scores of a tile of queries against all items.
    fn tiles(
        &self,
        tile: usize,
        queries: &[f32],
        targets: &[u32],
        mut grads: Option<(&mut [f32], &mut [f32])>,
        scratch: &mut Vec<f32>,
    ) -> f64 {
        let (d, n) = (self.d, self.n);
        let items = Mat::rows(self.items, d);
        let mut total = 0.0;
        for (i, targets) in targets.chunks(tile).enumerate() {
            let (m, rows) = (targets.len(), i * tile * d..(i * tile + targets.len()) * d);
            let q = Mat::rows(&queries[rows.clone()], d);
            size(scratch, m * n);
            gemm(m, n, d, q, items.t(), scratch, n, Write::Set);
            for (row, &t) in scratch.chunks_exact_mut(n).zip(targets) {
                if self.sharpness != 1.0 {
                    scale_row(row, self.sharpness);
                }
                let (top, at) = (max_row(row), row[t as usize]);
                let norm = exp_row(row, top);
                total += f64::from(norm.ln() + top - at);
                scale_row(row, self.factor / norm);
                row[t as usize] -= self.factor;
            }
            if let Some((dq, di)) = grads.as_mut() {
                let g = Mat::rows(scratch, n);
                gemm(m, d, n, g, items, &mut dq[rows], d, Write::Add);
                gemm(n, d, m, g.t(), q, di, d, Write::Add);
            }
        }
        total
    }

    /// Two passes over blocks of items: the first finds the normaliser of each query.
    fn blocks(
        &self,
        queries: &[f32],
        targets: &[u32],
        mut grads: Option<(&mut [f32], &mut [f32])>,
        scratch: &mut Vec<f32>,
    ) -> f64 {
        let (d, n) = (self.d, self.n);
        size(scratch, BLOCK * BLOCK);
        let mut total = 0.0;
        for (i, targets) in targets.chunks(BLOCK).enumerate() {
            let (m, rows) = (targets.len(), i * BLOCK * d..(i * BLOCK + targets.len()) * d);
            let q = Mat::rows(&queries[rows.clone()], d);
            // Of each query: the largest score so far, and the sum of exponentials less it.
            let mut top = [f32::NEG_INFINITY; BLOCK];
            let mut norm = [0f64; BLOCK];
            for start in (0..n).step_by(BLOCK) {
                let cols = BLOCK.min(n - start);
                let scores = self.scores(m, q, start, cols, scratch);
                for (r, row) in scores.chunks_exact(cols).enumerate() {
                    let high = max_row(row);
                    if high > top[r] {
                        norm[r] *= f64::from(top[r] - high).exp();
                        top[r] = high;
                    }
                    norm[r] += f64::from(exp_sum(row, top[r]));
                    if let Some(&at) =
                        (targets[r] as usize).checked_sub(start).and_then(|c| row.get(c))
                    {
                        total -= f64::from(at);
                    }
                }
            }
            total += (0..m).map(|r| f64::from(top[r]) + norm[r].ln()).sum::<f64>();
            let Some((dq, di)) = grads.as_mut() else { continue };
            for start in (0..n).step_by(BLOCK) {
                let cols = BLOCK.min(n - start);
                let scores = self.scores(m, q, start, cols, scratch);
                for (r, row) in scores.chunks_exact_mut(cols).enumerate() {
                    exp_row(row, top[r]);
                    scale_row(row, (f64::from(self.factor) / norm[r]) as f32);
                    let column = (targets[r] as usize).checked_sub(start);
                    if let Some(at) = column.and_then(|c| row.get_mut(c)) {
                        *at -= self.factor;
                    }
                }
                let g = Mat::rows(scores, cols);
                let block = start * d..(start + cols) * d;
                let items = Mat::rows(&self.items[block.clone()], d);
                gemm(m, d, cols, g, items, &mut dq[rows.clone()], d, Write::Add);
                gemm(cols, d, m, g.t(), q, &mut di[block], d, Write::Add);
            }
        }
        total
    }

    /// Scores of `m` queries against `cols` items from `start` on.
    fn scores<'s>(
        &self,
        m: usize,
        q: Mat<'_>,
        start: usize,
        cols: usize,
        scratch: &'s mut [f32],
    ) -> &'s mut [f32] {
        let d = self.d;
        let out = &mut scratch[..m * cols];
        gemm(m, cols, d, q, Mat::rows(&self.items[start * d..], d).t(), out, cols, Write::Set);
        if self.sharpness != 1.0 {
            scale_row(out, self.sharpness);
        }
        out
    }
}

simd! {
    fn max_row(row: &[f32]) -> f32 { max_body(row) }
}

simd! {
    /// `row = e^(row - top)`, and the sum.
    fn exp_row(row: &mut [f32], top: f32) -> f32 {
        let (chunks, rest) = row.as_chunks_mut::<16>();
        let mut lanes = [0f32; 16];
        for x in chunks {
            for i in 0..16 {
                x[i] = exp_one(x[i] - top);
                lanes[i] += x[i];
            }
        }
        let mut sum = fold_add(lanes);
        for x in rest {
            *x = exp_one(*x - top);
            sum += *x;
        }
        sum
    }
}

simd! {
    /// `out = e^(row - top)`, and the sum.
    fn exp_to(row: &[f32], top: f32, out: &mut [f32]) -> f32 {
        let (chunks, rest) = row.as_chunks::<16>();
        let (outs, out_rest) = out.as_chunks_mut::<16>();
        let mut lanes = [0f32; 16];
        for (x, o) in chunks.iter().zip(outs) {
            for i in 0..16 {
                o[i] = exp_one(x[i] - top);
                lanes[i] += o[i];
            }
        }
        let mut sum = fold_add(lanes);
        for (x, o) in rest.iter().zip(out_rest) {
            *o = exp_one(*x - top);
            sum += *o;
        }
        sum
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
        fold_add(lanes) + rest.iter().map(|x| exp_one(*x - top)).sum::<f32>()
    }
}

simd! {
    fn scale_row(row: &mut [f32], factor: f32) {
        row.iter_mut().for_each(|x| *x *= factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_equal_logits_by_hand() {
        let mut g = [9.0; 4];
        let loss = softmax_cross_entropy(&[1.0, 1.0, 50.0, -50.0], 2, &[1, 1], 0.5, Some(&mut g));
        assert!((loss - (2f64.ln() + 100.0)).abs() < 1e-4);
        assert_eq!(g[..2], [0.25, -0.25]);
        assert!((g[2] - 0.5).abs() < 1e-6 && (g[3] + 0.5).abs() < 1e-6);
        assert_eq!(softmax_cross_entropy(&[], 3, &[], 1.0, None), 0.0);
    }

    #[test]
    fn blocks_equal_tiles() {
        let (t, n, d) = (BLOCK + 3, BLOCK + 5, 3);
        let value = |i: usize| ((i * 37 + 11) % 64) as f32 / 32.0 - 1.0;
        let queries: Vec<f32> = (0..t * d).map(value).collect();
        let items: Vec<f32> = (0..n * d).map(|i| value(i + 5)).collect();
        let targets: Vec<u32> = (0..t).map(|i| (i * 29 % n) as u32).collect();
        let task = Retrieval { items: &items, d, n, sharpness: 2.0, factor: 0.3 };
        let run = |tiled: bool| {
            let (mut dq, mut di) = (vec![0.5; t * d], vec![-0.25; n * d]);
            let grads = Some((&mut dq[..], &mut di[..]));
            let loss = if tiled {
                task.tiles(100, &queries, &targets, grads, &mut Vec::new())
            } else {
                task.blocks(&queries, &targets, grads, &mut Vec::new())
            };
            (loss, dq, di)
        };
        let (a, b) = (run(true), run(false));
        assert!((a.0 - b.0).abs() < 1e-3 * a.0);
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-4);
        assert!(close(&a.1, &b.1) && close(&a.2, &b.2));
    }
}
