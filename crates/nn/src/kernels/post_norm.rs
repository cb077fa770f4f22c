//! LayerNorm (Ba et al., arXiv 1607.06450) in place, with what stands before it in a post-norm
//! encoder (arXiv 1706.03762): the bias of the product that was added to the residual, or the sum
//! of the embeddings. One pass over memory instead of three. Inference only: no statistics are
//! kept. Rows are as long as the weight; slices that do not fit are a mistake of the caller and
//! panic.

use super::math::{dot_body, sum_body};

/// `row = (row - mean) / sqrt(var + eps) * weight + bias`.
#[inline(always)]
fn norm_row(row: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    let n = row.len() as f32;
    let mean = sum_body(row) / n;
    for v in row.iter_mut() {
        *v -= mean;
    }
    let r = 1.0 / (dot_body(row, row) / n + eps).sqrt();
    for ((v, w), b) in row.iter_mut().zip(weight).zip(bias) {
        *v = *v * r * *w + *b;
    }
}

simd! {
    /// `x = norm(x + shift)` for each row.
    pub fn shift_norm(x: &mut [f32], shift: &[f32], weight: &[f32], bias: &[f32], eps: f32) {
        let d = weight.len();
        assert!(shift.len() == d && bias.len() == d, "one value a column");
        assert!(d > 0 && x.len().is_multiple_of(d), "whole rows");
        for row in x.chunks_exact_mut(d) {
            for (v, s) in row.iter_mut().zip(shift) {
                *v += *s;
            }
            norm_row(row, weight, bias, eps);
        }
    }
}

simd! {
    /// `out[i] = norm(words[ids[i]] + places[at[i]])` for each row.
    pub fn embed_norm(
        words: &[f32],
        ids: &[u32],
        places: &[f32],
        at: &[u32],
        weight: &[f32],
        bias: &[f32],
        eps: f32,
        out: &mut [f32],
    ) {
        let d = weight.len();
        assert!(d > 0 && bias.len() == d, "one value a column");
        assert!(at.len() == ids.len() && out.len() == ids.len() * d, "one row an id");
        for ((row, &id), &at) in out.chunks_exact_mut(d).zip(ids).zip(at) {
            let word = &words[id as usize * d..][..d];
            let place = &places[at as usize * d..][..d];
            for ((v, w), p) in row.iter_mut().zip(word).zip(place) {
                *v = *w + *p;
            }
            norm_row(row, weight, bias, eps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, step: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * step + 3) % 31) as f32 * 0.13 - 2.0).collect()
    }

    fn definition(x: &[f64], weight: &[f32], bias: &[f32], eps: f64) -> Vec<f64> {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let var = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let scaled = x.iter().map(|v| (v - mean) / (var + eps).sqrt());
        scaled.zip(weight).zip(bias).map(|((v, w), b)| v * f64::from(*w) + f64::from(*b)).collect()
    }

    fn close(got: &[f32], want: &[f64]) {
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().zip(want) {
            assert!((f64::from(*g) - w).abs() < 2e-6, "{g} {w}");
        }
    }

    #[test]
    fn shifted_rows_against_the_definition() {
        for d in [1, 5, 16, 37, 64] {
            let (x, shift) = (values(3 * d, 7), values(d, 11));
            let (weight, bias) = (values(d, 5), values(d, 3));
            let mut y = x.clone();
            shift_norm(&mut y, &shift, &weight, &bias, 0.01);
            for (y, x) in y.chunks_exact(d).zip(x.chunks_exact(d)) {
                let sum: Vec<f64> =
                    x.iter().zip(&shift).map(|(x, s)| f64::from(*x) + f64::from(*s)).collect();
                close(y, &definition(&sum, &weight, &bias, 0.01));
            }
        }
    }

    #[test]
    fn embedded_rows_against_the_definition() {
        let d = 21;
        let (words, places) = (values(6 * d, 7), values(4 * d, 13));
        let (weight, bias) = (values(d, 5), values(d, 3));
        let (ids, at) = ([5u32, 0, 5], [0u32, 1, 3]);
        let mut out = vec![0.0; 3 * d];
        embed_norm(&words, &ids, &places, &at, &weight, &bias, 1e-12, &mut out);
        for ((row, &id), &at) in out.chunks_exact(d).zip(&ids).zip(&at) {
            let sum: Vec<f64> = (0..d)
                .map(|c| {
                    f64::from(words[id as usize * d + c]) + f64::from(places[at as usize * d + c])
                })
                .collect();
            close(row, &definition(&sum, &weight, &bias, 1e-12));
        }
    }
}
