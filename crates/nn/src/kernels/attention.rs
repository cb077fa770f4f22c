//! Multi-head softmax attention over packed sequences.
//!
//! Sequences lie back to back in row matrices; a [`Span`] says which query rows see which key
//! rows. Scores of one (span, head) live in scratch only; backward computes them again. Cost: two
//! products forward and five backward of `q_len x k_len x width` a head.

use super::dropout::Dropout;
use super::gemm::{Mat, Write, gemm};
use super::math::{dot_body, exp_one, max_body, sum_body, zeros};

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
    /// The largest distance in the table.
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

/// Reused buffers of one worker.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Attention weights.
    p: Vec<f32>,
    /// Attention weights after dropout.
    dropped: Vec<f32>,
    /// Gradients of scores.
    ds: Vec<f32>,
}

impl Attention<'_> {
    /// Writes attended values of all spans to `out`.
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
        for (n, s) in spans.iter().enumerate().filter(|(_, s)| s.q_len > 0) {
            for h in 0..self.heads {
                let o = &mut out[s.q * op.ld + op.offset + h * w..];
                if s.k_len == 0 {
                    o.chunks_mut(op.ld).take(s.q_len).for_each(|row| row[..w].fill(0.0));
                    continue;
                }
                self.weights(
                    s,
                    h,
                    head(q, s.q, qp, h, w),
                    qp.ld,
                    head(kv, s.k, kp, h, w),
                    kp.ld,
                    &mut scratch.p,
                );
                self.dropout.apply_part(self.site, (n * self.heads + h) as u64, &mut scratch.p);
                let v = Mat::rows(head(kv, s.k, vp, h, w), vp.ld);
                product(
                    s.q_len,
                    w,
                    s.k_len,
                    Mat::rows(&scratch.p, s.k_len),
                    v,
                    o,
                    op.ld,
                    Write::Set,
                );
            }
        }
    }

    /// Adds the gradients of queries, keys and values, and of the bias table where one is given.
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
        for (n, s) in spans.iter().enumerate().filter(|(_, s)| s.q_len > 0 && s.k_len > 0) {
            let (ql, kl) = (s.q_len, s.k_len);
            for h in 0..self.heads {
                let (qh, kh) = (head(q, s.q, qp, h, w), head(kv, s.k, kp, h, w));
                self.weights(s, h, qh, qp.ld, kh, kp.ld, &mut scratch.p);
                let Scratch { p, dropped, ds } = &mut *scratch;
                let used: &[f32] = if self.dropout.is_active() {
                    dropped.clear();
                    dropped.extend_from_slice(p);
                    self.dropout.apply_part(self.site, (n * self.heads + h) as u64, dropped);
                    dropped
                } else {
                    p
                };
                let go = Mat::rows(head(dout, s.q, op, h, w), op.ld);
                let (dq, dkv) = match &mut grads {
                    Grads::Joint(g) => (None, &mut **g),
                    Grads::Split { dq, dkv } => (Some(&mut **dq), &mut **dkv),
                };
                let at = |row: usize, p: Place| row * p.ld + p.offset + h * w;
                // dV += P'^T dO and dP' = dO V^T.
                let dv = &mut dkv[at(s.k, vp)..];
                product(kl, w, ql, Mat::rows(used, kl).t(), go, dv, vp.ld, Write::Add);
                zeros(ds, ql * kl);
                let v = Mat::rows(head(kv, s.k, vp, h, w), vp.ld);
                product(ql, kl, w, go, v.t(), ds, kl, Write::Set);
                // dS = P' dP' - P (P' . dP'), where P' is P after dropout.
                softmax_backward(p, used, ds, kl);
                if let (Some(db), Some(bias)) = (dbias.as_deref_mut(), self.bias) {
                    bias_backward(s, h, bias.reach, ds, db);
                }
                if self.scale != 1.0 {
                    ds.iter_mut().for_each(|x| *x *= self.scale);
                }
                let (ds, kh, qh) = (Mat::rows(ds, kl), Mat::rows(kh, kp.ld), Mat::rows(qh, qp.ld));
                match dq {
                    Some(dq) => {
                        product(ql, w, kl, ds, kh, &mut dq[at(s.q, qp)..], qp.ld, Write::Add);
                    }
                    None => {
                        product(ql, w, kl, ds, kh, &mut dkv[at(s.q, qp)..], qp.ld, Write::Add);
                    }
                }
                product(kl, w, ql, ds.t(), qh, &mut dkv[at(s.k, kp)..], kp.ld, Write::Add);
            }
        }
    }

    /// Softmax weights of one head, `q_len x k_len`, before dropout.
    fn weights(
        &self,
        s: &Span,
        h: usize,
        q: &[f32],
        ldq: usize,
        k: &[f32],
        ldk: usize,
        p: &mut Vec<f32>,
    ) {
        zeros(p, s.q_len * s.k_len);
        let (a, b) = (Mat::rows(q, ldq), Mat::rows(k, ldk).t());
        product(s.q_len, s.k_len, self.width, a, b, p, s.k_len, Write::Set);
        // Query i stands at key position i + shift.
        let shift = s.k_len as isize - s.q_len as isize;
        for (i, row) in p.chunks_exact_mut(s.k_len).enumerate() {
            let place = i as isize + shift;
            let seen = match self.mask {
                Mask::Full => s.k_len,
                Mask::Causal => (place + 1).clamp(0, s.k_len as isize) as usize,
            };
            let bias = self.bias.map(|b| {
                let zero = (h * (2 * b.reach + 1) + b.reach) as isize;
                let first = (zero - place) as usize;
                &b.table[first..first + s.k_len]
            });
            softmax_row(row, seen, self.scale, bias.unwrap_or(&[]));
        }
    }
}

fn head(data: &[f32], row: usize, place: Place, head: usize, width: usize) -> &[f32] {
    &data[row * place.ld + place.offset + head * width..]
}

/// A product that skips the packing of `gemm` where the matrices are tiny.
fn product(
    m: usize,
    n: usize,
    k: usize,
    a: Mat<'_>,
    b: Mat<'_>,
    c: &mut [f32],
    ldc: usize,
    write: Write,
) {
    if m * n * k > TINY || !(a.cs == 1 || m <= 8) {
        return gemm(m, n, k, a, b, c, ldc, write);
    }
    if b.cs == 1 {
        outer(m, n, k, a, b, c, ldc, write);
    } else if a.cs == 1 && b.rs == 1 {
        inner(m, n, k, a, b, c, ldc, write);
    } else {
        gemm(m, n, k, a, b, c, ldc, write);
    }
}

/// Products of at most this many multiplications go through plain loops.
const TINY: usize = 4096;

simd! {
    /// Rows of `c` as sums of rows of `b`.
    fn outer(m: usize, n: usize, k: usize, a: Mat<'_>, b: Mat<'_>, c: &mut [f32], ldc: usize, write: Write) {
        for i in 0..m {
            let row = &mut c[i * ldc..i * ldc + n];
            if write == Write::Set {
                row.fill(0.0);
            }
            for l in 0..k {
                let x = a.data[i * a.rs + l * a.cs];
                let y = &b.data[l * b.rs..l * b.rs + n];
                for (c, y) in row.iter_mut().zip(y) {
                    *c += x * *y;
                }
            }
        }
    }
}

simd! {
    /// Elements of `c` as dot products of rows.
    fn inner(m: usize, n: usize, k: usize, a: Mat<'_>, b: Mat<'_>, c: &mut [f32], ldc: usize, write: Write) {
        for i in 0..m {
            let x = &a.data[i * a.rs..i * a.rs + k];
            for j in 0..n {
                let v = dot_body(x, &b.data[j * b.cs..j * b.cs + k]);
                let c = &mut c[i * ldc + j];
                *c = if write == Write::Set { v } else { *c + v };
            }
        }
    }
}

simd! {
    /// Softmax of `scale * row + bias` over the first `seen` columns; the rest become zero.
    fn softmax_row(row: &mut [f32], seen: usize, scale: f32, bias: &[f32]) {
        let (live, dead) = row.split_at_mut(seen);
        dead.fill(0.0);
        if live.is_empty() {
            return;
        }
        if scale != 1.0 {
            live.iter_mut().for_each(|x| *x *= scale);
        }
        for (x, b) in live.iter_mut().zip(bias) {
            *x += *b;
        }
        let top = max_body(live);
        for x in live.iter_mut() {
            *x = exp_one(*x - top);
        }
        let norm = 1.0 / sum_body(live);
        live.iter_mut().for_each(|x| *x *= norm);
    }
}

simd! {
    /// `ds = used * ds - p * (used . ds)` for rows of `cols`.
    fn softmax_backward(p: &[f32], used: &[f32], ds: &mut [f32], cols: usize) {
        let rows = p.chunks_exact(cols).zip(used.chunks_exact(cols)).zip(ds.chunks_exact_mut(cols));
        for ((p, used), ds) in rows {
            let s = dot_body(used, ds);
            for i in 0..cols {
                ds[i] = used[i] * ds[i] - p[i] * s;
            }
        }
    }
}

/// Adds score gradients to the bias entries that the scores read.
fn bias_backward(s: &Span, h: usize, reach: usize, ds: &[f32], dbias: &mut [f32]) {
    let zero = (h * (2 * reach + 1) + reach) as isize;
    let shift = s.k_len as isize - s.q_len as isize;
    for (i, row) in ds.chunks_exact(s.k_len).enumerate() {
        let first = (zero - i as isize - shift) as usize;
        for (b, g) in dbias[first..first + s.k_len].iter_mut().zip(row) {
            *b += g;
        }
    }
}
