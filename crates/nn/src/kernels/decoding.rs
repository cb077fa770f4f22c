//! What a decoding step needs beside matrix products: softmax over rows, attention to the few codes
//! that a hypothesis has generated, and log-normalisers.
//!
//! A hypothesis finds the keys and values of its codes through a chain: the row of each earlier step
//! that led to it. Nothing is copied when hypotheses are reordered. Scores of a chain lie step by
//! step, `steps x rows x heads`, so that the softmax over a handful of steps runs across rows.

use super::gemm::Write;
use super::math::{dot_body, exp_one, max_body, sum_body};

/// Keys and values of generated codes. A row of step `l` holds those of all layers: keys of all
/// heads at `key`, values at `value`, rows `ld` apart.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a> {
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub width: usize,
    /// Codes of a chain: all of `past` and the row's own.
    pub steps: usize,
    /// Rows of earlier steps.
    pub past: &'a [Vec<f32>],
    /// Rows of this step: the `i`-th belongs to the `i`-th query.
    pub own: &'a [f32],
    /// Values from row to row.
    pub ld: usize,
    /// First key of a row.
    pub key: usize,
    /// First value of a row.
    pub value: usize,
    /// For each query, its row in every step: `queries x steps`.
    pub rows: &'a [u32],
}

impl Chain<'_> {
    /// What query `i` sees at step `l`.
    #[inline(always)]
    fn row(&self, i: usize, l: usize) -> &[f32] {
        match self.past.get(l).filter(|_| l + 1 < self.steps) {
            Some(past) => {
                let at = self.rows[i * self.steps + l] as usize;
                &past[at * self.ld..(at + 1) * self.ld]
            }
            None => &self.own[i * self.ld..(i + 1) * self.ld],
        }
    }
}

simd! {
    /// Products of queries (`rows x heads * width`) with the keys of their chains.
    pub fn chain_scores(chain: &Chain<'_>, q: &[f32], scores: &mut [f32]) {
        let (heads, width) = (chain.heads, chain.width);
        let inner = heads * width;
        let rows = q.len() / inner;
        for (l, scores) in scores.chunks_exact_mut((rows * heads).max(1)).take(chain.steps).enumerate() {
            let rows = q.chunks_exact(inner).zip(scores.chunks_exact_mut(heads));
            for (i, (q, scores)) in rows.enumerate() {
                let keys = &chain.row(i, l)[chain.key..][..inner];
                let heads = q.chunks_exact(width).zip(keys.chunks_exact(width));
                for (s, (q, k)) in scores.iter_mut().zip(heads) {
                    *s = dot_body(q, k);
                }
            }
        }
    }
}

simd! {
    /// Softmax over the steps of `scale * score + bias`; `bias` is `steps x heads`, or empty. `top`
    /// holds `rows x heads` values.
    pub fn chain_softmax(scores: &mut [f32], scale: f32, bias: &[f32], heads: usize, top: &mut [f32]) {
        let n = top.len();
        if n == 0 {
            return;
        }
        top.fill(f32::NEG_INFINITY);
        for (l, scores) in scores.chunks_exact_mut(n).enumerate() {
            if scale != 1.0 {
                for s in scores.iter_mut() {
                    *s *= scale;
                }
            }
            if !bias.is_empty() {
                let bias = &bias[l * heads..(l + 1) * heads];
                for row in scores.chunks_exact_mut(heads) {
                    for (s, b) in row.iter_mut().zip(bias) {
                        *s += *b;
                    }
                }
            }
            for (t, s) in top.iter_mut().zip(scores.iter()) {
                *t = if *s > *t { *s } else { *t };
            }
        }
        for scores in scores.chunks_exact_mut(n) {
            for (s, t) in scores.iter_mut().zip(top.iter()) {
                *s = exp_one(*s - *t);
            }
        }
        top.fill(0.0);
        for scores in scores.chunks_exact(n) {
            for (t, s) in top.iter_mut().zip(scores) {
                *t += *s;
            }
        }
        for scores in scores.chunks_exact_mut(n) {
            for (s, t) in scores.iter_mut().zip(top.iter()) {
                *s /= *t;
            }
        }
    }
}

simd! {
    /// Sets `out` (`rows x heads * width`) to the values of the chains, mixed by these weights, or
    /// adds them.
    pub fn chain_mix(chain: &Chain<'_>, weights: &[f32], out: &mut [f32], write: Write) {
        let (heads, width) = (chain.heads, chain.width);
        let inner = heads * width;
        let rows = out.len() / inner;
        for (i, out) in out.chunks_exact_mut(inner).enumerate() {
            if write == Write::Set {
                out.fill(0.0);
            }
            for l in 0..chain.steps {
                let values = &chain.row(i, l)[chain.value..][..inner];
                let weights = &weights[(l * rows + i) * heads..][..heads];
                let heads = out.chunks_exact_mut(width).zip(values.chunks_exact(width));
                for (p, (out, v)) in weights.iter().zip(heads) {
                    for (o, v) in out.iter_mut().zip(v) {
                        *o += *p * *v;
                    }
                }
            }
        }
    }
}

simd! {
    /// Softmax of `scale * score + bias` over each row of `cols`; `bias` has `cols` values, or none.
    pub fn softmax_rows(scores: &mut [f32], cols: usize, scale: f32, bias: &[f32]) {
        for row in scores.chunks_exact_mut(cols.max(1)) {
            if scale != 1.0 {
                for x in row.iter_mut() {
                    *x *= scale;
                }
            }
            for (x, b) in row.iter_mut().zip(bias) {
                *x += *b;
            }
            let top = max_body(row);
            for x in row.iter_mut() {
                *x = exp_one(*x - top);
            }
            let norm = 1.0 / sum_body(row);
            for x in row.iter_mut() {
                *x *= norm;
            }
        }
    }
}

simd! {
    /// `ln sum exp` of a row, summed in f64: minus infinity where every value is, NaN where one is
    /// NaN or plus infinity.
    pub fn log_sum_exp(row: &[f32]) -> f64 {
        let top = max_body(row);
        if top == f32::NEG_INFINITY {
            return if row.iter().any(|x| x.is_nan()) { f64::NAN } else { f64::NEG_INFINITY };
        }
        let (chunks, rest) = row.as_chunks::<16>();
        let mut lanes = [0f64; 16];
        for x in chunks {
            for i in 0..16 {
                lanes[i] += f64::from(exp_one(x[i] - top));
            }
        }
        let rest: f64 = rest.iter().map(|x| f64::from(exp_one(*x - top))).sum();
        f64::from(top) + (lanes.iter().sum::<f64>() + rest).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 37 + seed * 13 + 5) % 101) as f32 / 40.0 - 1.2).collect()
    }

    #[test]
    fn log_sum_exp_against_f64_and_its_ends() {
        for n in [1, 5, 16, 33, 1026] {
            let row = ramp(n, 1);
            let want = row.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
            assert!((log_sum_exp(&row) - want).abs() < 1e-6, "{n}");
        }
        let gone = f32::NEG_INFINITY;
        assert_eq!(log_sum_exp(&[gone, -1e30, gone]), f64::from(-1e30f32));
        assert_eq!(log_sum_exp(&[gone; 20]), f64::NEG_INFINITY);
        assert_eq!(log_sum_exp(&[]), f64::NEG_INFINITY);
        let mut row = [0f32; 40];
        for bad in [f32::NAN, f32::INFINITY] {
            for at in [0, 20, 39] {
                row[at] = bad;
                assert!(log_sum_exp(&row).is_nan(), "{bad} at {at}");
                row[at] = 0.0;
            }
        }
        assert!(log_sum_exp(&[gone, f32::NAN]).is_nan());
    }

    #[test]
    fn rows_sum_to_one_and_keep_their_ratios() {
        let (bias, mut p) = (ramp(21, 2), ramp(3 * 21, 3));
        let before = p.clone();
        softmax_rows(&mut p, 21, 0.5, &bias);
        for (p, x) in p.chunks(21).zip(before.chunks(21)) {
            let e: Vec<f64> =
                x.iter().zip(&bias).map(|(x, b)| f64::from(0.5 * x + b).exp()).collect();
            let total: f64 = e.iter().sum();
            assert!(p.iter().zip(&e).all(|(p, e)| (f64::from(*p) - e / total).abs() < 1e-6));
        }
    }

    #[test]
    fn chains_attend_as_the_definition_says() {
        // Two heads of width 18 (no multiple of a vector), three steps, four queries; keys and
        // values stand at odd places of longer rows.
        let (heads, width, steps, ld, key, value) = (2, 18, 3, 90, 5, 50);
        let (inner, rows) = (heads * width, 4);
        let past = vec![ramp(2 * ld, 4), ramp(3 * ld, 5), vec![f32::NAN; 4 * ld]];
        let own = ramp(rows * ld, 6);
        let at = [0, 0, 9, 1, 2, 9, 1, 1, 9, 0, 2, 9];
        let chain =
            Chain { heads, width, steps, past: &past, own: &own, ld, key, value, rows: &at };
        let (q, bias) = (ramp(rows * inner, 7), ramp(steps * heads, 8));
        let mut p = vec![0.0; steps * rows * heads];
        let mut top = vec![0.0; rows * heads];
        let mut out = ramp(rows * inner, 9);
        let before = out.clone();
        chain_scores(&chain, &q, &mut p);
        chain_softmax(&mut p, 0.7, &bias, heads, &mut top);
        chain_mix(&chain, &p, &mut out, Write::Add);
        for i in 0..rows {
            for h in 0..heads {
                let row = |l: usize| match l {
                    2 => &own[i * ld..(i + 1) * ld],
                    _ => &past[l][at[i * steps + l] as usize * ld..][..ld],
                };
                let e: Vec<f64> = (0..steps)
                    .map(|l| {
                        let dot = |j| {
                            f64::from(q[i * inner + h * width + j] * row(l)[key + h * width + j])
                        };
                        let s: f64 = (0..width).map(dot).sum();
                        (0.7 * s + f64::from(bias[l * heads + h])).exp()
                    })
                    .collect();
                let total: f64 = e.iter().sum();
                for j in 0..width {
                    let mixed: f64 = (0..steps)
                        .map(|l| e[l] / total * f64::from(row(l)[value + h * width + j]))
                        .sum();
                    let o = i * inner + h * width + j;
                    let got = f64::from(out[o] - before[o]);
                    assert!((got - mixed).abs() < 1e-5, "row {i} head {h}: {got} {mixed}");
                }
            }
        }
    }
}
