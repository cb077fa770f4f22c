//! Multi-head attention over many short texts, forward only (Vaswani et al., arXiv 1706.03762).
//!
//! At twenty tokens a text the products of a head are a few thousand operations, and calling
//! `gemm` for each of them costs as much as they do. Here the keys of a head are laid out in
//! columns of sixteen, scores of four queries stay in registers, rows are padded to whole vectors
//! (so softmax has no remainder), and the sum divides the result instead of the weights. Same
//! mathematics as [`Attention::forward`]; sums run in another order. A row's result depends on its
//! own span alone. Cost: `4 q_len k_len width` operations a head, scores rounded up to sixteen
//! keys.

use super::attention::{Attention, Mask, Place, Scratch, Span};
use super::math::{exp_one, fold_add, size};

/// Values of a vector.
const LANES: usize = 16;
/// Query rows at a time.
const ROWS: usize = 4;
/// Longer spans go through [`Attention::forward`]: its products pay there.
const LONGEST: usize = 192;

/// Reused buffers of one worker.
#[derive(Debug, Default)]
pub struct ShortScratch {
    /// Keys of a head: for sixteen of them at a time, `width x 16`.
    keys: Vec<f32>,
    /// Scores of the rows at hand, padded.
    scores: Vec<f32>,
    long: Scratch,
}

/// Where a (span, head) begins in its operands.
#[derive(Clone, Copy)]
struct Head<'a> {
    q: &'a [f32],
    ldq: usize,
    k: &'a [f32],
    ldk: usize,
    v: &'a [f32],
    ldv: usize,
    ldo: usize,
    m: usize,
    n: usize,
    width: usize,
    scale: f32,
}

impl Attention<'_> {
    /// As [`Attention::forward`], faster for spans of some dozen keys, where there is no mask, bias
    /// or dropout and heads are a multiple of sixteen wide; anything else is passed on.
    pub fn forward_short(
        &self,
        spans: &[Span],
        q: &[f32],
        qp: Place,
        kv: &[f32],
        kp: Place,
        vp: Place,
        out: &mut [f32],
        op: Place,
        scratch: &mut ShortScratch,
    ) {
        let w = self.width;
        let simple = self.mask == Mask::Full
            && self.bias.is_none()
            && self.dropout.keeper(self.site, 0).is_none()
            && w > 0
            && w.is_multiple_of(LANES);
        if !simple {
            return self.forward(spans, q, qp, kv, kp, vp, out, op, &mut scratch.long);
        }
        for &span in spans {
            if span.q_len == 0 {
                continue;
            }
            if span.k_len == 0 || span.k_len > LONGEST {
                self.forward(&[span], q, qp, kv, kp, vp, out, op, &mut scratch.long);
                continue;
            }
            for head in 0..self.heads {
                let at = |row: usize, p: Place| row * p.ld + p.offset + head * w;
                let part = Head {
                    q: &q[at(span.q, qp)..],
                    ldq: qp.ld,
                    k: &kv[at(span.k, kp)..],
                    ldk: kp.ld,
                    v: &kv[at(span.k, vp)..],
                    ldv: vp.ld,
                    ldo: op.ld,
                    m: span.q_len,
                    n: span.k_len,
                    width: w,
                    scale: self.scale,
                };
                let padded = span.k_len.next_multiple_of(LANES);
                size(&mut scratch.keys, padded * w);
                size(&mut scratch.scores, padded * ROWS);
                attend(part, &mut scratch.keys, &mut scratch.scores, &mut out[at(span.q, op)..]);
            }
        }
    }
}

simd! {
    fn attend(h: Head<'_>, keys: &mut [f32], scores: &mut [f32], out: &mut [f32]) {
        lay_out(h, keys);
        if h.m < ROWS {
            for i in 0..h.m {
                rows::<1>(h, i, keys, scores, out);
            }
            return;
        }
        let mut i = 0;
        while i < h.m {
            // The last rows overlap those before them, and come out the same again.
            rows::<ROWS>(h, i.min(h.m - ROWS), keys, scores, out);
            i += ROWS;
        }
    }
}

/// Columns of sixteen keys; those beyond the last are zero.
#[inline(always)]
fn lay_out(h: Head<'_>, keys: &mut [f32]) {
    for (g, keys) in keys.chunks_exact_mut(h.width * LANES).enumerate() {
        let first = g * LANES;
        let count = LANES.min(h.n - first);
        let (blocks, _) = keys.as_chunks_mut::<{ LANES * LANES }>();
        for (b, block) in blocks.iter_mut().enumerate() {
            let mut rows = [0f32; LANES * LANES];
            for (lane, row) in rows.chunks_exact_mut(LANES).take(count).enumerate() {
                row.copy_from_slice(&h.k[(first + lane) * h.ldk + b * LANES..][..LANES]);
            }
            *block = transposed(rows);
        }
    }
}

/// The transpose of sixteen rows of sixteen: interleaving the two halves moves the highest bit of
/// an index to the lowest place, so four times swaps row and column. Plain loops over strided
/// columns become scatters, which are several times slower.
#[inline(always)]
fn transposed(mut a: [f32; LANES * LANES]) -> [f32; LANES * LANES] {
    const HALF: usize = LANES * LANES / 2;
    for _ in 0..LANES.ilog2() {
        let mut b = [0f32; 2 * HALF];
        for i in 0..HALF {
            b[2 * i] = a[i];
            b[2 * i + 1] = a[i + HALF];
        }
        a = b;
    }
    a
}

/// Attended values of query rows `first..first + R`.
#[inline(always)]
fn rows<const R: usize>(
    h: Head<'_>,
    first: usize,
    keys: &[f32],
    scores: &mut [f32],
    out: &mut [f32],
) {
    let q: [&[f32]; R] = std::array::from_fn(|r| &h.q[(first + r) * h.ldq..][..h.width]);
    let padded = h.n.next_multiple_of(LANES);
    let group = h.width * LANES;
    let mut g = 0;
    while (g + 2) * LANES <= padded {
        let pair = &keys[g * group..(g + 2) * group];
        products::<R, 2>(q, pair, padded, &mut scores[g * LANES..]);
        g += 2;
    }
    if g * LANES < padded {
        products::<R, 1>(q, &keys[g * group..], padded, &mut scores[g * LANES..]);
    }
    let inverse = weights::<R>(scores, padded, h.n, h.scale);
    let mut column = 0;
    while column + 2 * LANES <= h.width {
        mix::<R, 2>(h, first, column, scores, padded, inverse, out);
        column += 2 * LANES;
    }
    if column < h.width {
        mix::<R, 1>(h, first, column, scores, padded, inverse, out);
    }
}

/// Scores of `R` queries against `C` groups of keys.
#[inline(always)]
fn products<const R: usize, const C: usize>(
    q: [&[f32]; R],
    keys: &[f32],
    padded: usize,
    scores: &mut [f32],
) {
    let width = q[0].len();
    let (columns, _) = keys.as_chunks::<LANES>();
    let groups: [&[[f32; LANES]]; C] = std::array::from_fn(|c| &columns[c * width..][..width]);
    let mut sums = [[[0f32; LANES]; C]; R];
    for d in 0..width {
        for r in 0..R {
            let x = q[r][d];
            for c in 0..C {
                for l in 0..LANES {
                    sums[r][c][l] = x.mul_add(groups[c][d][l], sums[r][c][l]);
                }
            }
        }
    }
    for r in 0..R {
        for c in 0..C {
            scores[r * padded + c * LANES..][..LANES].copy_from_slice(&sums[r][c]);
        }
    }
}

/// `x = e^(scale (x - max))` over the first `n` values of `R` rows; gives one over their sums.
#[inline(always)]
fn weights<const R: usize>(scores: &mut [f32], padded: usize, n: usize, scale: f32) -> [f32; R] {
    let last = padded - LANES;
    let mut shift = [0f32; R];
    for r in 0..R {
        let (groups, _) = scores[r * padded..][..padded].as_chunks_mut::<LANES>();
        // Padding must not be the largest, and its weight must not count.
        if let Some(g) = groups.last_mut() {
            for l in 0..LANES {
                g[l] = if l < n - last { g[l] } else { f32::NEG_INFINITY };
            }
        }
        let mut top = [f32::NEG_INFINITY; LANES];
        for g in groups.iter() {
            for l in 0..LANES {
                top[l] = if g[l] > top[l] { g[l] } else { top[l] };
            }
        }
        shift[r] = fold_max(top) * scale;
    }
    let mut inverse = [0f32; R];
    for r in 0..R {
        let (groups, _) = scores[r * padded..][..padded].as_chunks_mut::<LANES>();
        let mut sum = [0f32; LANES];
        for g in groups.iter_mut() {
            for l in 0..LANES {
                // At padding this is e^-87, far below the rounding of a sum that holds a one.
                g[l] = exp_one(g[l] * scale - shift[r]);
                sum[l] += g[l];
            }
        }
        inverse[r] = 1.0 / fold_add(sum);
    }
    inverse
}

#[inline(always)]
fn fold_max(mut v: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            v[l] = if v[l + half] > v[l] { v[l + half] } else { v[l] };
        }
        half /= 2;
    }
    v[0]
}

/// `out = inverse (weights V)` for `16 C` columns from `column`.
#[inline(always)]
fn mix<const R: usize, const C: usize>(
    h: Head<'_>,
    first: usize,
    column: usize,
    scores: &[f32],
    padded: usize,
    inverse: [f32; R],
    out: &mut [f32],
) {
    let p: [&[f32]; R] = std::array::from_fn(|r| &scores[r * padded..][..h.n]);
    let mut sums = [[[0f32; LANES]; C]; R];
    for j in 0..h.n {
        // A reference to an array: with a slice the sums do not stay in registers.
        let (v, _) = h.v[j * h.ldv + column..].as_chunks::<LANES>();
        let Some(v) = v.first_chunk::<C>() else { return };
        for r in 0..R {
            add_scaled(p[r][j], v, &mut sums[r]);
        }
    }
    for r in 0..R {
        for c in 0..C {
            let mut y = sums[r][c];
            for l in 0..LANES {
                y[l] *= inverse[r];
            }
            out[(first + r) * h.ldo + column + c * LANES..][..LANES].copy_from_slice(&y);
        }
    }
}

#[inline(always)]
fn add_scaled<const C: usize>(x: f32, v: &[[f32; LANES]; C], sums: &mut [[f32; LANES]; C]) {
    for c in 0..C {
        for l in 0..LANES {
            sums[c][l] = x.mul_add(v[c][l], sums[c][l]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dropout::Dropout;

    fn values(n: usize, step: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * step + 5) % 97) as f32 / 24.0 - 2.0).collect()
    }

    /// Row `i` of a head, from the definition in f64.
    fn definition(h: Head<'_>, i: usize) -> Vec<f64> {
        let dot = |j: usize| -> f64 {
            let (q, k) = (&h.q[i * h.ldq..][..h.width], &h.k[j * h.ldk..][..h.width]);
            q.iter().zip(k).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum()
        };
        let p: Vec<f64> = (0..h.n).map(|j| (dot(j) * f64::from(h.scale)).exp()).collect();
        let sum: f64 = p.iter().sum();
        let value = |d: usize| (0..h.n).map(|j| p[j] / sum * f64::from(h.v[j * h.ldv + d])).sum();
        (0..h.width).map(value).collect()
    }

    fn attention(heads: usize, width: usize) -> Attention<'static> {
        Attention {
            heads,
            width,
            scale: 1.0 / (width as f32).sqrt(),
            mask: Mask::Full,
            bias: None,
            dropout: Dropout::none(),
            site: 0,
        }
    }

    /// Packed texts of these lengths in a fused buffer; every row against the definition.
    fn check(lengths: &[usize], heads: usize, width: usize) -> Vec<f32> {
        let h = heads * width;
        let n: usize = lengths.iter().sum();
        let qkv = values(n * 3 * h, 31);
        let place = |ld, offset| Place { ld, offset };
        let (qp, kp, vp) = (place(3 * h, 0), place(3 * h, h), place(3 * h, 2 * h));
        let mut spans = Vec::new();
        let mut first = 0;
        for &len in lengths {
            spans.push(Span { q: first, q_len: len, k: first, k_len: len });
            first += len;
        }
        let mut out = vec![f32::NAN; n * h];
        let a = attention(heads, width);
        let mut scratch = ShortScratch::default();
        a.forward_short(&spans, &qkv, qp, &qkv, kp, vp, &mut out, place(h, 0), &mut scratch);
        for span in &spans {
            for head in 0..heads {
                let at = |p: Place| &qkv[span.k * p.ld + p.offset + head * width..];
                let part = Head {
                    q: at(qp),
                    ldq: qp.ld,
                    k: at(kp),
                    ldk: kp.ld,
                    v: at(vp),
                    ldv: vp.ld,
                    ldo: h,
                    m: span.q_len,
                    n: span.k_len,
                    width,
                    scale: a.scale,
                };
                for i in 0..span.q_len {
                    let got = &out[(span.q + i) * h + head * width..][..width];
                    for (g, w) in got.iter().zip(definition(part, i)) {
                        assert!((f64::from(*g) - w).abs() < 2e-5, "{span:?} {head} {i}: {g} {w}");
                    }
                }
            }
        }
        out
    }

    #[test]
    fn every_length_around_a_vector_against_the_definition() {
        for n in 1..=50 {
            check(&[n], 2, 32);
        }
        check(&[3, 17, 0, 1, 40, 16], 3, 16);
        check(&[5, 33], 1, 48);
        // Passed on: too long, and heads that are no whole vectors.
        check(&[LONGEST, LONGEST + 1, 2], 1, 16);
        check(&[4, 9], 2, 4);
    }

    #[test]
    fn a_text_does_not_depend_on_its_neighbours() {
        let (long, short) = (check(&[18, 7, 30], 2, 32), check(&[18], 2, 32));
        assert_eq!(long[..18 * 64], short[..]);
    }

    #[test]
    fn queries_and_keys_may_differ_in_number() {
        let (q, kv) = (values(2 * 16, 7), values(21 * 32, 11));
        let span = Span { q: 0, q_len: 2, k: 0, k_len: 21 };
        let (qp, kp, vp) = (
            Place { ld: 16, offset: 0 },
            Place { ld: 32, offset: 0 },
            Place { ld: 32, offset: 16 },
        );
        let (mut fast, mut slow) = (vec![0.0; 32], vec![0.0; 32]);
        let a = attention(1, 16);
        let mut scratch = ShortScratch::default();
        a.forward_short(&[span], &q, qp, &kv, kp, vp, &mut fast, qp, &mut scratch);
        a.forward(&[span], &q, qp, &kv, kp, vp, &mut slow, qp, &mut Scratch::default());
        for (f, s) in fast.iter().zip(&slow) {
            assert!((f - s).abs() < 2e-6, "{f} {s}");
        }
    }
}
