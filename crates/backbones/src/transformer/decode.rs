//! Attention of one decoding step: each row sees its request's prompt (shared by all beams) and
//! the codes it has generated so far, found through its parents and never copied.

use sidereal_nn::kernels::attention::{Place, RelativeBias};
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::kernels::math::{dot, exp_in_place, max, size, sum};

/// Keys and values of the prompts of all requests.
pub(crate) struct Prompt<'a> {
    pub(crate) kv: &'a [f32],
    pub(crate) k: Place,
    pub(crate) v: Place,
    /// First row and length of each request's prompt.
    pub(crate) spans: &'a [(usize, usize)],
}

/// Keys and values of generated codes: for row `r` and level `l`, row `rows[r * levels + l]` of
/// `kv[l]`.
pub(crate) struct Chains<'a> {
    pub(crate) levels: usize,
    pub(crate) rows: &'a [u32],
    pub(crate) kv: &'a [Vec<f32>],
    pub(crate) k: Place,
    pub(crate) v: Place,
}

#[derive(Default)]
pub(crate) struct DecodeScratch {
    scores: Vec<f32>,
}

/// Writes attended values of `groups` (request `g` owns query rows `groups[g]`) to `out`,
/// `rows x (heads * width)`.
pub(crate) fn decode_attention(
    heads: usize,
    width: usize,
    scale: f32,
    bias: Option<&RelativeBias<'_>>,
    q: &[f32],
    qp: Place,
    groups: &[std::ops::Range<usize>],
    prompt: Option<&Prompt<'_>>,
    chains: &Chains<'_>,
    out: &mut [f32],
    scratch: &mut DecodeScratch,
) {
    let inner = heads * width;
    for (g, rows) in groups.iter().enumerate().filter(|(_, r)| !r.is_empty()) {
        let (start, len) = prompt.map_or((0, 0), |p| p.spans[g]);
        // Scores of one head: the prompt first, then the generated codes.
        let columns = len + chains.levels;
        size(&mut scratch.scores, rows.len() * columns);
        for h in 0..heads {
            let scores = &mut scratch.scores[..];
            if let Some(p) = prompt.filter(|_| len > 0) {
                let keys = &p.kv[start * p.k.ld + p.k.offset + h * width..];
                let queries = &q[rows.start * qp.ld + qp.offset + h * width..];
                let (a, b) = (Mat::rows(queries, qp.ld), Mat::rows(keys, p.k.ld).t());
                gemm(rows.len(), len, width, a, b, scores, columns, Write::Set);
            }
            for (i, r) in rows.clone().enumerate() {
                let row = &mut scores[i * columns..(i + 1) * columns];
                let query = &q[r * qp.ld + qp.offset + h * width..][..width];
                for l in 0..chains.levels {
                    let at = chains.rows[r * chains.levels + l] as usize;
                    let key =
                        &chains.kv[l][at * chains.k.ld + chains.k.offset + h * width..][..width];
                    row[len + l] = dot(query, key);
                }
                if scale != 1.0 {
                    row.iter_mut().for_each(|s| *s *= scale);
                }
                if let Some(b) = bias {
                    // The query stands at the last column; distances are column - last.
                    let zero = h * (2 * b.reach + 1) + b.reach;
                    let table = &b.table[zero + 1 - columns..=zero];
                    row.iter_mut().zip(table).for_each(|(s, t)| *s += t);
                }
                let top = max(row);
                row.iter_mut().for_each(|s| *s -= top);
                exp_in_place(row);
                let norm = 1.0 / sum(row);
                row.iter_mut().for_each(|s| *s *= norm);
            }
            if let Some(p) = prompt.filter(|_| len > 0) {
                let values = &p.kv[start * p.v.ld + p.v.offset + h * width..];
                let (a, b) = (Mat::rows(scores, columns), Mat::rows(values, p.v.ld));
                let o = &mut out[rows.start * inner + h * width..];
                gemm(rows.len(), width, len, a, b, o, inner, Write::Set);
            }
            for (i, r) in rows.clone().enumerate() {
                let o = &mut out[r * inner + h * width..][..width];
                if len == 0 {
                    o.fill(0.0);
                }
                for l in 0..chains.levels {
                    let at = chains.rows[r * chains.levels + l] as usize;
                    let value =
                        &chains.kv[l][at * chains.v.ld + chains.v.offset + h * width..][..width];
                    let p = scratch.scores[i * columns + len + l];
                    o.iter_mut().zip(value).for_each(|(o, v)| *o += p * v);
                }
            }
        }
    }
}
