//! Operands in the order in which tiles read them.

use super::Mat;

/// Writes columns `cols` of rows `rows` of B as panels of `width` columns: panel by panel, row by
/// row. The last panels are narrower where `cols` do not fill them, by whole vectors of `lanes`;
/// missing columns are zero.
pub(super) fn columns(
    b: Mat<'_>,
    rows: std::ops::Range<usize>,
    cols: std::ops::Range<usize>,
    width: usize,
    lanes: usize,
    out: &mut [f32],
) {
    let mut rest = out;
    let mut first = cols.start;
    while first < cols.end {
        let n = super::panel_width(cols.end - first, width, lanes);
        let padded = n.next_multiple_of(lanes);
        let (panel, after) = rest.split_at_mut(padded * rows.len());
        if b.cs == 1 {
            for (row, p) in panel.chunks_exact_mut(padded).zip(rows.clone()) {
                let at = p * b.rs + first;
                let (vectors, tail) = b.data[at..at + n].as_chunks::<16>();
                let (whole, rest) = row.as_chunks_mut::<16>();
                // Vector by vector: a call to copy a few of them costs more than the copy.
                for (to, from) in whole.iter_mut().zip(vectors) {
                    *to = *from;
                }
                if n < padded || !tail.is_empty() {
                    let last = whole[vectors.len()..].as_flattened_mut().iter_mut().chain(rest);
                    let from = tail.iter().copied().chain(std::iter::repeat(0.0));
                    last.zip(from).for_each(|(to, x)| *to = x);
                }
            }
        } else {
            transposed(b, rows.clone(), first, n, padded, panel);
        }
        rest = after;
        first += n;
    }
}

/// One panel of a B whose columns are contiguous, or lie anyhow.
fn transposed(
    b: Mat<'_>,
    rows: std::ops::Range<usize>,
    first: usize,
    n: usize,
    padded: usize,
    panel: &mut [f32],
) {
    let k = rows.len();
    let mut done = 0;
    if b.rs == 1 && crate::kernels::isa() == crate::kernels::Isa::V4 {
        let whole = k - k % 16;
        while done + 16 <= n {
            for p in (0..whole).step_by(16) {
                let at = rows.start + p + (first + done) * b.cs;
                let source = &b.data[at..at + 15 * b.cs + 16];
                let target = &mut panel[p * padded + done..];
                assert!(target.len() >= 15 * padded + 16, "a block fits its panel");
                // SAFETY: `isa` found AVX-512 F; 16 rows of 16 values, `b.cs` apart, lie in
                // `source`, and 16 rows `padded` apart in `target`, as just checked.
                unsafe { transpose16(source.as_ptr(), b.cs, target.as_mut_ptr(), padded) };
            }
            for (p, row) in panel.chunks_exact_mut(padded).enumerate().skip(whole) {
                for (j, x) in row[done..done + 16].iter_mut().enumerate() {
                    *x = b.data[rows.start + p + (first + done + j) * b.cs];
                }
            }
            done += 16;
        }
    }
    for j in done..n {
        let start = rows.start * b.rs + (first + j) * b.cs;
        for (p, row) in panel.chunks_exact_mut(padded).enumerate() {
            row[j] = b.data[start + p * b.rs];
        }
    }
    if n < padded {
        panel.chunks_exact_mut(padded).for_each(|row| row[n..].fill(0.0));
    }
}

/// `target[j * to + i] = source[i * from + j]` for 16 x 16 values.
///
/// # Safety
/// The processor must have AVX-512 F; 16 rows of 16 values must be readable from `source`, `from`
/// apart, and writable at `target`, `to` apart.
#[target_feature(enable = "avx512f")]
unsafe fn transpose16(source: *const f32, from: usize, target: *mut f32, to: usize) {
    use std::arch::x86_64::*;
    // SAFETY: the caller vouches for all rows.
    unsafe {
        let mut rows = [_mm512_setzero_ps(); 16];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = _mm512_loadu_ps(source.add(i * from));
        }
        // Pairs of rows, then pairs of pairs: each 128-bit lane becomes a 4 x 4 transpose.
        let mut pairs = [_mm512_setzero_ps(); 16];
        for i in (0..16).step_by(2) {
            pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
            pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
        }
        for i in (0..16).step_by(4) {
            let p =
                [pairs[i], pairs[i + 1], pairs[i + 2], pairs[i + 3]].map(|x| _mm512_castps_pd(x));
            rows[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(p[0], p[2]));
            rows[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(p[0], p[2]));
            rows[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(p[1], p[3]));
            rows[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(p[1], p[3]));
        }
        // `rows[4 q + r]` holds, in lane l, column 4 l + r of rows 4 q .. 4 q + 4. Gather the
        // lanes of one column from the four groups.
        for r in 0..4 {
            let g = [rows[r], rows[4 + r], rows[8 + r], rows[12 + r]];
            let low01 = _mm512_shuffle_f32x4::<0x44>(g[0], g[1]);
            let high01 = _mm512_shuffle_f32x4::<0xEE>(g[0], g[1]);
            let low23 = _mm512_shuffle_f32x4::<0x44>(g[2], g[3]);
            let high23 = _mm512_shuffle_f32x4::<0xEE>(g[2], g[3]);
            let columns = [
                _mm512_shuffle_f32x4::<0x88>(low01, low23),
                _mm512_shuffle_f32x4::<0xDD>(low01, low23),
                _mm512_shuffle_f32x4::<0x88>(high01, high23),
                _mm512_shuffle_f32x4::<0xDD>(high01, high23),
            ];
            for (l, column) in columns.into_iter().enumerate() {
                _mm512_storeu_ps(target.add((4 * l + r) * to), column);
            }
        }
    }
}

/// Writes rows `rows` of columns `cols` of A as tiles of `H` rows: tile by tile, column by column,
/// `H` values each; missing rows are zero.
pub(super) fn rows<const H: usize>(
    a: Mat<'_>,
    rows: std::ops::Range<usize>,
    cols: std::ops::Range<usize>,
    out: &mut [f32],
) {
    let (k, m) = (cols.len(), rows.len());
    let (out, _) = out.as_chunks_mut::<H>();
    // Column by column, because that is how they lie in memory.
    for (p, col) in cols.enumerate() {
        let at = rows.start * a.rs + col * a.cs;
        let mut done = 0;
        if a.rs == 1 {
            let (whole, _) = a.data[at..at + m].as_chunks::<H>();
            for (source, to) in whole.iter().zip(out[p..].iter_mut().step_by(k)) {
                *to = *source;
            }
            done = whole.len() * H;
        }
        for first in (done..m).step_by(H) {
            let to = &mut out[first / H * k + p];
            for (i, x) in to.iter_mut().enumerate() {
                *x = if first + i < m { a.data[at + (first + i) * a.rs] } else { 0.0 };
            }
        }
    }
}
