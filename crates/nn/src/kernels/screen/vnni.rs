//! The screen's loops for AVX-512 VNNI: rows to bytes, register tiles of 8 x 48 integer sums with
//! the bounds as their epilogue, the list of points left, and their distances.

use super::{BLOCK, CROWD, Columns, HEIGHT, LANES, Row, Scratch, Screen, Screened, scales, widths};
use crate::kernels::math::size_up;
use std::arch::x86_64::*;

/// Rows longer than this are left to the plain product, which overflows as it likes.
const LONGEST: f32 = 1e18;

pub(super) fn nearest(
    screen: &Screen,
    points: &[f32],
    rows: &[f32],
    ahead: &[f32],
    scratch: &mut Scratch,
    codes: &mut [u32],
    distances: &mut [f32],
) -> Screened {
    assert!(super::available(), "a screen exists only where the processor has the instructions");
    // SAFETY: the processor has AVX-512 F, BW, DQ, VL and VNNI, as just checked.
    unsafe {
        if bounds(screen, rows, ahead, scratch) && collect(screen, codes.len(), scratch) {
            look(screen.dim, points, rows, scratch, codes, distances);
            return Screened::Found;
        }
    }
    Screened::Crowded
}

/// Brings the rows to bytes and fills `lower` and `upper`; false where a row is out of range. The
/// rows `ahead` are fetched meanwhile.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn bounds(screen: &Screen, rows: &[f32], ahead: &[f32], s: &mut Scratch) -> bool {
    let (stride, width) = (screen.dim.next_multiple_of(LANES), screen.columns.scale.len());
    if s.bytes.len() < BLOCK * stride {
        s.bytes.resize(BLOCK * stride, 0);
    }
    s.rows.resize(BLOCK, Row::default());
    size_up(&mut s.lower, BLOCK * width);
    size_up(&mut s.upper, BLOCK * LANES);
    s.upper.fill(f32::INFINITY);
    let count = rows.len() / screen.dim;
    let bytes = s.bytes.chunks_exact_mut(stride);
    for ((r, bytes), row) in rows.chunks_exact(screen.dim).zip(bytes).zip(&mut s.rows) {
        *row = to_bytes(r, &screen.shift, bytes);
        let longest = row.length + row.error;
        if longest.is_nan() || longest > LONGEST {
            return false;
        }
    }
    let c = &screen.columns;
    assert!(
        [&c.square, &c.error, &c.length, &c.rounding].iter().all(|x| x.len() == width)
            && c.start.len() == width
            && screen.panels.len() == width * stride,
        "columns"
    );
    // A line is 16 values; as many a tile as bring all of them in.
    let tiles = widths(width).count() * count.div_ceil(HEIGHT);
    let mut lines = ahead.chunks(LANES * ahead.len().div_ceil(LANES * tiles.max(1)).max(1));
    let mut column = 0;
    for panel in widths(width) {
        for top in (0..count).step_by(HEIGHT) {
            for line in lines.next().unwrap_or_default().chunks(LANES) {
                _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
            }
            let tile = Tile {
                bytes: s.bytes[top * stride..].as_ptr(),
                stride,
                panel: screen.panels[column * stride..].as_ptr(),
                columns: &screen.columns,
                column,
                rows: &s.rows[top..],
                lower: s.lower[top * width + column..].as_mut_ptr(),
                width,
                upper: s.upper[top * LANES..].as_mut_ptr(),
            };
            // SAFETY: `BLOCK` is a multiple of `HEIGHT`, so the tile's rows lie in all buffers, rows
            // behind the last as whatever they held. The panel holds `panel * stride` bytes, as
            // asserted for all panels; its columns lie below `width`.
            unsafe {
                match panel / LANES {
                    1 => tile.run::<1>(),
                    2 => tile.run::<2>(),
                    _ => tile.run::<3>(),
                }
            }
        }
        column += panel;
    }
    true
}

/// `q + 128` of a row less `shift`; bytes behind the row become those of zero.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn to_bytes(row: &[f32], shift: &[f32], bytes: &mut [u8]) -> Row {
    assert!(row.len() == shift.len() && bytes.len() == row.len().next_multiple_of(LANES));
    let (whole, rest) = row.as_chunks::<LANES>();
    let (bytes, last) = bytes.as_chunks_mut::<LANES>().0.split_at_mut(whole.len());
    let shifts = shift.as_chunks::<LANES>();
    let full = |r: &[f32; LANES], s: &[f32; LANES]| {
        // SAFETY: both are 16 values.
        unsafe { _mm512_sub_ps(_mm512_loadu_ps(r.as_ptr()), _mm512_loadu_ps(s.as_ptr())) }
    };
    let mask = (1u16 << rest.len()) - 1;
    // SAFETY: both are as long as the mask has bits; values behind them stay unread.
    let tail = unsafe {
        let r = _mm512_maskz_loadu_ps(mask, rest.as_ptr());
        _mm512_sub_ps(r, _mm512_maskz_loadu_ps(mask, shifts.1.as_ptr()))
    };
    let mut most = [_mm512_abs_ps(tail), _mm512_setzero_ps()];
    let (pairs, odd) = whole.as_chunks::<2>();
    let (shift_pairs, shift_odd) = shifts.0.as_chunks::<2>();
    for (r, s) in pairs.iter().zip(shift_pairs) {
        most[0] = _mm512_max_ps(_mm512_abs_ps(full(&r[0], &s[0])), most[0]);
        most[1] = _mm512_max_ps(_mm512_abs_ps(full(&r[1], &s[1])), most[1]);
    }
    for (r, s) in odd.iter().zip(shift_odd) {
        most[0] = _mm512_max_ps(_mm512_abs_ps(full(r, s)), most[0]);
    }
    let most = _mm512_reduce_max_ps(_mm512_max_ps(most[0], most[1]));
    let (scale, inverse) = scales(most);
    let times = _mm512_set1_ps(inverse);
    let (mut length, mut error) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    let mut to = |x: __m512, out: &mut [u8; LANES]| {
        let x = _mm512_mul_ps(x, times);
        let q = _mm512_cvtps_epi32(x);
        let whole = _mm512_cvtepi32_ps(q);
        let off = _mm512_sub_ps(x, whole);
        length = _mm512_fmadd_ps(whole, whole, length);
        error = _mm512_fmadd_ps(off, off, error);
        let byte = _mm_xor_si128(_mm512_cvtepi32_epi8(q), _mm_set1_epi8(-128));
        // SAFETY: `out` is 16 bytes.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), byte) };
    };
    for ((r, s), out) in whole.iter().zip(shifts.0).zip(bytes) {
        to(full(r, s), out);
    }
    for out in last {
        to(tail, out);
    }
    // Rounding of the sums, of the scale and of its inverse.
    let slack = 1.0 + 1e-5 + 1e-8 * row.len() as f32;
    let length = scale * _mm512_reduce_add_ps(length).sqrt() * slack;
    if scale == 0.0 {
        return Row { scale, length, error: most * (row.len() as f32).sqrt() * slack };
    }
    let error = scale * _mm512_reduce_add_ps(error).sqrt() * slack;
    Row { scale, length, error: error + 1e-6 * (length + error) }
}

/// A register tile: 8 rows and up to three vectors of points.
struct Tile<'a> {
    /// Bytes of the rows, `stride` from row to row.
    bytes: *const u8,
    stride: usize,
    /// `stride / 4` groups of `V * 16` columns of four bytes.
    panel: *const i8,
    columns: &'a Columns,
    /// First column.
    column: usize,
    rows: &'a [Row],
    /// Bounds of the first row and column, `width` from row to row.
    lower: *mut f32,
    width: usize,
    /// 16 values a row.
    upper: *mut f32,
}

impl Tile<'_> {
    /// # Safety
    /// The processor must have the instructions; the pointers must be good for 8 rows and `V`
    /// vectors as the fields say, and `column + V * 16` be within the columns.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn run<const V: usize>(&self) {
        let c = self.columns;
        let mut sums = [[Vector([0; LANES]); V]; HEIGHT];
        // SAFETY: all accesses are those that the caller vouches for.
        unsafe {
            self.products(&mut sums);
            for v in 0..V {
                let load = |x: &[f32]| _mm512_loadu_ps(x.as_ptr().add(self.column + v * LANES));
                let (scale, square) = (load(&c.scale), load(&c.square));
                let (error, length) = (load(&c.error), load(&c.length));
                let rounding = load(&c.rounding);
                for (i, (sums, row)) in sums.iter().zip(self.rows).enumerate() {
                    let dot = _mm512_cvtepi32_ps(_mm512_load_si512(sums[v].0.as_ptr().cast()));
                    let dot = _mm512_mul_ps(dot, _mm512_set1_ps(row.scale));
                    let score = _mm512_fnmadd_ps(dot, scale, square);
                    let half = _mm512_fmadd_ps(_mm512_set1_ps(row.error), length, rounding);
                    let error = _mm512_fmadd_ps(_mm512_set1_ps(row.length), error, half);
                    let lower = self.lower.add(i * self.width + v * LANES);
                    _mm512_storeu_ps(lower, _mm512_sub_ps(score, error));
                    let upper = self.upper.add(i * LANES);
                    let low = _mm512_min_ps(_mm512_add_ps(score, error), _mm512_loadu_ps(upper));
                    _mm512_storeu_ps(upper, low);
                }
            }
        }
    }

    /// `q . p` of all rows and columns. A function of its own: in one with the bounds the compiler
    /// keeps the sums in memory.
    ///
    /// # Safety
    /// As for [`Tile::run`].
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn products<const V: usize>(&self, out: &mut [[Vector; V]; HEIGHT]) {
        // SAFETY: all accesses are those that the caller vouches for.
        unsafe {
            let mut start = [_mm512_setzero_si512(); V];
            for (v, x) in start.iter_mut().enumerate() {
                let at = self.columns.start.as_ptr().add(self.column + v * LANES);
                *x = _mm512_loadu_si512(at.cast());
            }
            let mut sums = [start; HEIGHT];
            let (mut a, mut b, stride) = (self.bytes, self.panel, self.stride);
            for _ in 0..stride / 4 {
                let mut points = [_mm512_setzero_si512(); V];
                for (v, x) in points.iter_mut().enumerate() {
                    *x = _mm512_loadu_si512(b.add(v * 64).cast());
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let four = a.add(i * stride).cast::<i32>().read_unaligned();
                    let row = _mm512_set1_epi32(four);
                    for (s, point) in sums.iter_mut().zip(&points) {
                        *s = _mm512_dpbusd_epi32(*s, row, *point);
                    }
                }
                a = a.add(4);
                b = b.add(V * 64);
            }
            for (out, sums) in out.iter_mut().zip(&sums) {
                for (out, s) in out.iter_mut().zip(sums) {
                    _mm512_store_si512(out.0.as_mut_ptr().cast(), *s);
                }
            }
        }
    }
}

/// Sums of a vector, where vectors may lie.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Vector([i32; LANES]);

/// Lists the points whose lower bound is not above the lowest upper one; false where they are too
/// many.
#[target_feature(enable = "avx512f")]
fn collect(screen: &Screen, count: usize, s: &mut Scratch) -> bool {
    let width = screen.columns.scale.len();
    let most = count * screen.points / CROWD;
    s.left.clear();
    s.ends.clear();
    let uppers = s.upper.as_chunks::<LANES>().0;
    for (lower, upper) in s.lower.chunks_exact(width).zip(uppers).take(count) {
        // SAFETY: `upper` is 16 values.
        let limit = unsafe { _mm512_reduce_min_ps(_mm512_loadu_ps(upper.as_ptr())) };
        let limit = _mm512_set1_ps(limit);
        for (v, lower) in lower.as_chunks::<LANES>().0.iter().enumerate() {
            // SAFETY: `lower` is 16 values.
            let lower = unsafe { _mm512_loadu_ps(lower.as_ptr()) };
            let mut mask = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(lower, limit);
            while mask != 0 {
                s.left.push((v * LANES) as u32 + mask.trailing_zeros());
                mask &= mask - 1;
            }
        }
        if s.left.len() > most.max(count) {
            return false;
        }
        s.ends.push(s.left.len());
    }
    true
}

/// The nearest of the points left.
#[target_feature(enable = "avx512f")]
fn look(
    dim: usize,
    points: &[f32],
    rows: &[f32],
    s: &Scratch,
    codes: &mut [u32],
    distances: &mut [f32],
) {
    let mut first = 0;
    let outputs = codes.iter_mut().zip(distances);
    for ((row, &end), (code, distance)) in rows.chunks_exact(dim).zip(&s.ends).zip(outputs) {
        let mut best = (0, f32::INFINITY);
        let mut consider = |ks: &[u32], ds: &[f32]| {
            for (&k, &d) in ks.iter().zip(ds) {
                if d < best.1 {
                    best = (k, d);
                }
            }
        };
        let point = |k: u32| &points[k as usize * dim..(k as usize + 1) * dim];
        let (fours, rest) = s.left[first..end].as_chunks::<4>();
        for four in fours {
            consider(four, &squares(row, four.map(point)));
        }
        for k in rest {
            consider(&[*k], &squares(row, [point(*k)]));
        }
        (*code, *distance) = best;
        first = end;
    }
}

/// Squared distances of a row to some points of its length, each summed in the same order however
/// many there are.
#[target_feature(enable = "avx512f")]
fn squares<const N: usize>(row: &[f32], points: [&[f32]; N]) -> [f32; N] {
    assert!(points.iter().all(|p| p.len() == row.len()));
    let mut sums = [[_mm512_setzero_ps(); 2]; N];
    let whole = row.len() / (2 * LANES) * (2 * LANES);
    // SAFETY: `i + 32` is at most `whole`, the length of the row and of all points.
    unsafe {
        for i in (0..whole).step_by(2 * LANES) {
            for half in 0..2 {
                let r = _mm512_loadu_ps(row.as_ptr().add(i + half * LANES));
                for (sums, p) in sums.iter_mut().zip(&points) {
                    let d = _mm512_sub_ps(r, _mm512_loadu_ps(p.as_ptr().add(i + half * LANES)));
                    sums[half] = _mm512_fmadd_ps(d, d, sums[half]);
                }
            }
        }
    }
    for i in (whole..row.len()).step_by(LANES) {
        let left = row.len() - i;
        let mask = if left < LANES { (1u16 << left) - 1 } else { u16::MAX };
        for (sums, p) in sums.iter_mut().zip(&points) {
            // SAFETY: the mask keeps values behind both slices unread.
            let (r, p) = unsafe {
                let r = _mm512_maskz_loadu_ps(mask, row[i..].as_ptr());
                (r, _mm512_maskz_loadu_ps(mask, p[i..].as_ptr()))
            };
            let d = _mm512_sub_ps(r, p);
            sums[0] = _mm512_fmadd_ps(d, d, sums[0]);
        }
    }
    sums.map(|[a, b]| _mm512_reduce_add_ps(_mm512_add_ps(a, b)))
}
