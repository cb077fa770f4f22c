//! Multi-head softmax attention over packed sequences (Vaswani et al., arXiv 1706.03762).
//!
//! Sequences lie back to back in row matrices; a [`Span`] says which query rows see which key
//! rows. Scores exist for a block of query rows of one (span, head) only, so memory is linear in
//! the length; backward computes them again. Cost: two products forward and five backward of
//! `q_len x k_len x width` a head; causal blocks skip the keys that none of their rows sees.

use super::dropout::{Dropout, Keep};
use super::gemm::{Mat, Write, gemm};
use super::math::{dot_body, exp_one, max_body, size, sum_body};

/// Rows of one sequence: queries `q..q + q_len` see keys `k..k + k_len`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First query row.
    pub q: usize,
    /// Number of query rows.
    pub q_len: usize,
    /// First key row.
    pub k: usize,
    /// Number of key rows.
    pub k_len: usize,
}

/// Which keys of its span a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// All.
    Full,
    /// Query `i` sees keys up to `i + k_len - q_len`.
    Causal,
}

/// A bias on scores by distance: `heads x (2 reach + 1)`, entry `reach + (j - i - k_len + q_len)`
/// for key `j` and query `i` of a span.
#[derive(Debug, Clone, Copy)]
pub struct RelativeBias<'a> {
    /// Values.
    pub table: &'a [f32],
    /// The largest distance in the table; at least the longest span less one.
    pub reach: usize,
}

/// Where an operand lies: row `r` of head `h` begins at `r * ld + offset + h * width`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Values from row to row.
    pub ld: usize,
    /// First value of head 0.
    pub offset: usize,
}

/// Attention of all heads of a layer.
///
/// The methods panic when an operand is too short for its spans or the bias table for its reach:
/// a mistake of the caller.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Number of heads.
    pub heads: usize,
    /// Width of a head.
    pub width: usize,
    /// Factor on scores.
    pub scale: f32,
    /// Which keys a query sees.
    pub mask: Mask,
    /// Bias by distance.
    pub bias: Option<RelativeBias<'a>>,
    /// Dropout on attention weights.
    pub dropout: Dropout,
    /// Dropout site.
    pub site: u32,
}

/// Gradients of queries, keys and values; all are added to.
pub enum Grads<'a> {
    /// One fused buffer; the places are those of queries, keys and values.
    Joint(&'a mut [f32]),
    /// Queries apart from keys and values.
    Split {
        /// Gradient of the query buffer.
        dq: &'a mut [f32],
        /// Gradient of the key and value buffer.
        dkv: &'a mut [f32],
    },
}

impl Grads<'_> {
    fn queries(&mut self) -> &mut [f32] {
        match self {
            Grads::Joint(g) => g,
            Grads::Split { dq, .. } => dq,
        }
    }

    fn keys(&mut self) -> &mut [f32] {
        match self {
            Grads::Joint(g) => g,
            Grads::Split { dkv, .. } => dkv,
        }
    }
}

/// Reused buffers of one worker.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Attention weights of a block.
    weights: Vec<f32>,
    /// The same after dropout.
    used: Vec<f32>,
    /// Gradients of scores.
    dscores: Vec<f32>,
}

/// Scores in a block, about: 256 KiB of them stay in the second-level cache.
const BLOCK: usize = 1 << 16;
/// Query rows in a causal block: small enough to skip most of what the mask hides.
const CAUSAL_ROWS: usize = 64;
/// Up to this many query rows, scores are computed for [`FEW_SCORES`] of them at a time: the
/// `gemm` crate takes such products without packing the keys first, three times as fast.
const FEW: usize = 16;
const FEW_SCORES: usize = 256;

/// Query rows `first..first + rows` of one head of a span, and the keys that any of them sees.
#[derive(Clone, Copy)]
struct Block {
    span: Span,
    head: usize,
    /// Dropout of the (span, head).
    keep: Option<Keep>,
    first: usize,
    rows: usize,
    /// Number of keys: those that the last row sees.
    cols: usize,
}

impl Block {
    /// First value of the block's rows in a query-shaped operand.
    fn query(&self, place: Place, width: usize) -> usize {
        (self.span.q + self.first) * place.ld + place.offset + self.head * width
    }

    /// A key-shaped operand from the span's rows on; nothing where there are none.
    fn keys<'a>(&self, kv: &'a [f32], place: Place, width: usize) -> &'a [f32] {
        if self.cols == 0 { &[] } else { &kv[self.key(place, width)..] }
    }

    /// First value of the span's rows in a key-shaped operand.
    fn key(&self, place: Place, width: usize) -> usize {
        self.span.k * place.ld + place.offset + self.head * width
    }
}

impl Attention<'_> {
    /// Writes attended values of all spans to `out`; rows that see no key become zero.
    ///
    /// `q` and `kv` may be the same fused buffer. Query rows of different spans must not overlap.
    pub fn forward(
        &self,
        spans: &[Span],
        q: &[f32],
        qp: Place,
        kv: &[f32],
        kp: Place,
        vp: Place,
        out: &mut [f32],
        op: Place,
        scratch: &mut Scratch,
    ) {
        let w = self.width;
        self.for_blocks(spans, |b| {
            let (k, v) = (b.keys(kv, kp, w), b.keys(kv, vp, w));
            let (q, out) = (&q[b.query(qp, w)..], &mut out[b.query(op, w)..]);
            self.attend(b, q, qp.ld, k, kp.ld, v, vp.ld, out, op.ld, scratch);
        });
    }

    /// Attended values of the queries `part` of one sequence of `len` rows: `q` and `out` begin at
    /// the first of them, `kv` at the first row of the sequence. What [`Attention::forward`] gives
    /// for the same rows; parts can be computed at the same time.
    pub fn forward_part(
        &self,
        len: usize,
        part: std::ops::Range<usize>,
        q: &[f32],
        qp: Place,
        kv: &[f32],
        kp: Place,
        vp: Place,
        out: &mut [f32],
        op: Place,
        scratch: &mut Scratch,
    ) {
        let w = self.width;
        let span = Span { q: 0, q_len: len, k: 0, k_len: len };
        let at = |b: &Block, p: Place| (b.first - part.start) * p.ld + p.offset + b.head * w;
        self.for_part(0, span, part.clone(), &mut |b: &Block| {
            let (k, v) = (b.keys(kv, kp, w), b.keys(kv, vp, w));
            let (q, out) = (&q[at(b, qp)..], &mut out[at(b, op)..]);
            self.attend(b, q, qp.ld, k, kp.ld, v, vp.ld, out, op.ld, scratch);
        });
    }

    /// One block; operands begin at its first value.
    fn attend(
        &self,
        b: &Block,
        q: &[f32],
        ldq: usize,
        k: &[f32],
        ldk: usize,
        v: &[f32],
        ldv: usize,
        out: &mut [f32],
        ldo: usize,
        scratch: &mut Scratch,
    ) {
        let (w, m, n) = (self.width, b.rows, b.cols);
        if n == 0 {
            return out.chunks_mut(ldo).take(m).for_each(|row| row[..w].fill(0.0));
        }
        size(&mut scratch.weights, m * n);
        let p = &mut scratch.weights[..];
        scores(m, n, w, q, ldq, k, ldk, p);
        self.softmax(b, p, &mut []);
        if let Some(keep) = b.keep {
            drop_rows(p, n, keep, b.first * b.span.k_len, b.span.k_len);
        }
        mix(m, w, n, p, v, ldv, out, ldo, Write::Set);
    }

    /// Adds the gradients of queries, keys and values, and with `dbias` (laid out as the table)
    /// those of the bias. Takes the operands of the forward pass and the gradient of its output.
    pub fn backward(
        &self,
        spans: &[Span],
        q: &[f32],
        qp: Place,
        kv: &[f32],
        kp: Place,
        vp: Place,
        dout: &[f32],
        op: Place,
        mut grads: Grads<'_>,
        mut dbias: Option<&mut [f32]>,
        scratch: &mut Scratch,
    ) {
        let w = self.width;
        self.for_blocks(spans, |b| {
            let (m, n) = (b.rows, b.cols);
            if n == 0 {
                return;
            }
            let (q, k) = (&q[b.query(qp, w)..], &kv[b.key(kp, w)..]);
            let dout = &dout[b.query(op, w)..];
            let Scratch { weights, used, dscores } = &mut *scratch;
            size(weights, m * n);
            scores(m, n, w, q, qp.ld, k, kp.ld, weights);
            size(used, if b.keep.is_some() { m * n } else { 0 });
            self.softmax(b, weights, used);
            let used: &[f32] = if b.keep.is_some() { used } else { weights };
            // With P the weights and P' those after dropout: dV += P'^T dO, dP' = dO V^T and
            // dS = P' dP' - P sum(P' dP').
            spread(n, w, m, used, dout, op.ld, &mut grads.keys()[b.key(vp, w)..], vp.ld);
            size(dscores, m * n);
            scores(m, n, w, dout, op.ld, &kv[b.key(vp, w)..], vp.ld, dscores);
            let both = self.bias.zip(dbias.as_deref_mut());
            softmax_backward(
                weights,
                used,
                dscores,
                n,
                if both.is_some() { 1.0 } else { self.scale },
            );
            if let Some((bias, dbias)) = both {
                let range = self.bias_range(b, bias.reach);
                add_to_bias(dscores, n, &mut dbias[range]);
                if self.scale != 1.0 {
                    dscores.iter_mut().for_each(|x| *x *= self.scale);
                }
            }
            let dq = &mut grads.queries()[b.query(qp, w)..];
            mix(m, w, n, dscores, k, kp.ld, dq, qp.ld, Write::Add);
            spread(n, w, m, dscores, q, qp.ld, &mut grads.keys()[b.key(kp, w)..], kp.ld);
        });
    }

    /// Calls `work` for every block of query rows, in order.
    fn for_blocks(&self, spans: &[Span], mut work: impl FnMut(&Block)) {
        for (at, &span) in spans.iter().enumerate() {
            self.for_part(at, span, 0..span.q_len, &mut work);
        }
    }

    /// Calls `work` for every block of the queries `part` of the span with the number `at`.
    fn for_part(
        &self,
        at: usize,
        span: Span,
        part: std::ops::Range<usize>,
        work: &mut impl FnMut(&Block),
    ) {
        let cap = (BLOCK / span.k_len.max(1)).max(16);
        let cap = if self.mask == Mask::Causal { cap.min(CAUSAL_ROWS) } else { cap };
        for head in 0..self.heads {
            let keep = self.dropout.keeper(self.site, (at * self.heads + head) as u64);
            let mut first = part.start;
            while first < part.end {
                // Equal blocks: 80 rows become 40 and 40, not 64 and 16.
                let left = part.end - first;
                let rows = left.div_ceil(left.div_ceil(cap));
                let cols = self.seen(&span, first + rows - 1);
                work(&Block { span, head, keep, first, rows, cols });
                first += rows;
            }
        }
    }

    /// Number of keys that query `i` of a span sees.
    fn seen(&self, span: &Span, i: usize) -> usize {
        match self.mask {
            Mask::Full => span.k_len,
            Mask::Causal => (i + 1 + span.k_len).saturating_sub(span.q_len).min(span.k_len),
        }
    }

    /// Bias entries that a block reads: its last row begins at the first of them, and each row
    /// above begins one later.
    fn bias_range(&self, b: &Block, reach: usize) -> std::ops::Range<usize> {
        let zero = b.head * (2 * reach + 1) + reach + b.span.q_len;
        let start = zero - (b.first + b.rows - 1) - b.span.k_len;
        start..start + b.rows - 1 + b.cols
    }

    /// Turns scores into weights; `used`, unless empty, gets them after dropout.
    fn softmax(&self, b: &Block, p: &mut [f32], used: &mut [f32]) {
        let bias = self.bias.map(|bias| {
            assert!(
                bias.reach + 1 >= b.span.q_len.max(b.span.k_len),
                "the bias table does not reach across the span"
            );
            &bias.table[self.bias_range(b, bias.reach)]
        });
        let causal = self.mask == Mask::Causal;
        // The last row sees all columns of the block, and under the mask each row above sees one
        // less; rows before the first key see none.
        softmax_rows(p, b.cols, self.scale, bias.unwrap_or(&[]), causal, b, used);
    }
}

/// `out = A B^T` with `A: m x width` and `B: n x width`.
fn scores(
    m: usize,
    n: usize,
    width: usize,
    a: &[f32],
    lda: usize,
    b: &[f32],
    ldb: usize,
    out: &mut [f32],
) {
    let step = if m <= FEW { FEW_SCORES / m.max(1) } else { n.max(1) };
    for first in (0..n).step_by(step) {
        let keys = Mat::rows(&b[first * ldb..], ldb).t();
        let cols = step.min(n - first);
        gemm(m, cols, width, Mat::rows(a, lda), keys, &mut out[first..], n, Write::Set);
    }
}

/// `out (+)= P B` with `P: m x k` dense and `B: k x width`.
fn mix(
    m: usize,
    width: usize,
    k: usize,
    p: &[f32],
    b: &[f32],
    ldb: usize,
    out: &mut [f32],
    ldo: usize,
    write: Write,
) {
    gemm(m, width, k, Mat::rows(p, k), Mat::rows(b, ldb), out, ldo, write);
}

/// `out += P^T B` with `P: k x n` dense and `B: k x width`.
fn spread(
    n: usize,
    width: usize,
    k: usize,
    p: &[f32],
    b: &[f32],
    ldb: usize,
    out: &mut [f32],
    ldo: usize,
) {
    gemm(n, width, k, Mat::rows(p, n).t(), Mat::rows(b, ldb), out, ldo, Write::Add);
}

simd! {
    /// Softmax of `scale * row + bias` over what each row sees; the rest become zero.
    fn softmax_rows(
        p: &mut [f32],
        cols: usize,
        scale: f32,
        bias: &[f32],
        causal: bool,
        b: &Block,
        used: &mut [f32],
    ) {
        let rows = b.rows;
        for i in 0..rows {
            let row = &mut p[i * cols..(i + 1) * cols];
            // The number of keys that query `first + i` sees.
            let seen = if causal {
                (b.first + i + 1 + b.span.k_len).saturating_sub(b.span.q_len).min(cols)
            } else {
                cols
            };
            let (live, dead) = row.split_at_mut(seen);
            dead.fill(0.0);
            if bias.is_empty() {
                if scale != 1.0 {
                    for x in live.iter_mut() {
                        *x *= scale;
                    }
                }
            } else {
                let bias = &bias[rows - 1 - i..rows - 1 - i + seen];
                for (x, b) in live.iter_mut().zip(bias) {
                    *x = *x * scale + *b;
                }
            }
            let top = max_body(live);
            for x in live.iter_mut() {
                *x = exp_one(*x - top);
            }
            let norm = 1.0 / sum_body(live);
            for x in live.iter_mut() {
                *x *= norm;
            }
            if !used.is_empty() {
                let used = &mut used[i * cols..(i + 1) * cols];
                if let Some(keep) = b.keep {
                    let index = ((b.first + i) * b.span.k_len) as u32;
                    for j in 0..cols {
                        used[j] = row[j] * keep.at(index.wrapping_add(j as u32));
                    }
                }
            }
        }
    }
}

simd! {
    /// Dropout of rows of `cols` weights; the index of the first is `start`, and `stride` apart
    /// from row to row.
    fn drop_rows(p: &mut [f32], cols: usize, keep: Keep, start: usize, stride: usize) {
        for (i, row) in p.chunks_exact_mut(cols).enumerate() {
            let index = (start + i * stride) as u32;
            for (j, x) in row.iter_mut().enumerate() {
                *x *= keep.at(index.wrapping_add(j as u32));
            }
        }
    }
}

simd! {
    /// `ds = factor * (used * ds - p * (used . ds))` for rows of `cols`.
    fn softmax_backward(p: &[f32], used: &[f32], ds: &mut [f32], cols: usize, factor: f32) {
        let rows = p.chunks_exact(cols).zip(used.chunks_exact(cols)).zip(ds.chunks_exact_mut(cols));
        for ((p, used), ds) in rows {
            let s = dot_body(used, ds);
            for i in 0..cols {
                ds[i] = (used[i] * ds[i] - p[i] * s) * factor;
            }
        }
    }
}

simd! {
    /// Adds score gradients to the bias entries that the scores read.
    fn add_to_bias(ds: &[f32], cols: usize, dbias: &mut [f32]) {
        let rows = ds.len() / cols;
        for (i, row) in ds.chunks_exact(cols).enumerate() {
            let dbias = &mut dbias[rows - 1 - i..rows - 1 - i + cols];
            for (d, g) in dbias.iter_mut().zip(row) {
                *d += *g;
            }
        }
    }
}
