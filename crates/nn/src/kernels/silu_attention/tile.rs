//! One tile of queries x keys of one head: scores, SiLU and the products with them.
//!
//! Scores of a few queries and panels of sixteen keys are summed in registers, which start as the
//! bias, and leave them as weights. All products have the same inner form: a broadcast value times
//! a vector. Rows of weights lie [`KEYS`] apart, so that addresses are constants.

use super::vector::{LANES, Values, Vector};
#[cfg(target_arch = "x86_64")]
use super::vector::{Ymm, Zmm};
use crate::kernels::Isa;

/// Query rows of a tile.
pub(super) const QUERIES: usize = 48;
/// Keys of a tile.
pub(super) const KEYS: usize = 48;
/// Weights of a tile.
pub(super) const AREA: usize = QUERIES * KEYS;

/// Which keys of a tile a row sees: the first ones, one more from row to row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Number of keys that row 0 would see if there were enough on both sides.
    pub(super) first: isize,
    /// Keys that exist.
    pub(super) keys: usize,
}

impl Seen {
    /// Number of keys that `row` sees.
    #[inline(always)]
    pub(super) fn of(self, row: usize) -> usize {
        (self.first + row as isize).clamp(0, self.keys as isize) as usize
    }

    /// The first row that sees `key`.
    #[inline(always)]
    fn first_row(self, key: usize) -> usize {
        (key as isize + 1 - self.first).max(0) as usize
    }

    /// Whether every row sees every key of a full tile.
    #[inline(always)]
    fn everything(self) -> bool {
        self.first >= KEYS as isize && self.keys == KEYS
    }
}

/// Widths of a head as they lie in packed rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Widths {
    /// Of queries and keys.
    pub(super) key: usize,
    /// Of values.
    pub(super) value: usize,
}

impl Widths {
    /// Values from row to row of packed queries and keys: whole vectors.
    pub(super) fn key_row(self) -> usize {
        self.key.next_multiple_of(LANES)
    }

    /// The same of values and outputs.
    pub(super) fn value_row(self) -> usize {
        self.value.next_multiple_of(LANES)
    }
}

/// A tile's operands that both passes have.
#[derive(Clone, Copy)]
pub(super) struct Common<'a> {
    pub(super) isa: Isa,
    pub(super) widths: Widths,
    pub(super) seen: Seen,
    /// Query rows that exist.
    pub(super) rows: usize,
    /// [`QUERIES`] scaled rows; those that do not exist are zero.
    pub(super) q: &'a [f32],
    /// Key panels: sixteen keys beside each other, one line a column.
    pub(super) k_panels: &'a [f32],
    /// Rows of [`KEYS`] values; empty without.
    pub(super) bias: &'a [f32],
}

/// A tile of the forward pass.
pub(super) struct Forward<'a> {
    pub(super) common: Common<'a>,
    /// [`KEYS`] rows.
    pub(super) v: &'a [f32],
    /// Scratch.
    pub(super) weights: &'a mut [f32],
    /// [`QUERIES`] rows, added to.
    pub(super) out: &'a mut [f32],
}

/// A tile of the backward pass; gradients are added to.
pub(super) struct Backward<'a> {
    pub(super) common: Common<'a>,
    /// [`KEYS`] rows.
    pub(super) k: &'a [f32],
    /// Value panels.
    pub(super) v_panels: &'a [f32],
    /// [`QUERIES`] rows; those that do not exist are zero.
    pub(super) dout: &'a [f32],
    /// Scratch.
    pub(super) weights: &'a mut [f32],
    /// Scratch.
    pub(super) dscores: &'a mut [f32],
    pub(super) dq: &'a mut [f32],
    pub(super) dk: &'a mut [f32],
    pub(super) dv: &'a mut [f32],
    /// Laid out as the bias; empty when nobody wants it.
    pub(super) dbias: &'a mut [f32],
}

impl Common<'_> {
    fn check(&self) {
        let bias = self.bias.is_empty() || self.bias.len() >= AREA;
        let packed = self.q.len() >= QUERIES * self.widths.key_row()
            && self.k_panels.len() >= KEYS * self.widths.key;
        let inside = self.rows <= QUERIES && self.seen.keys <= KEYS;
        assert!(bias && packed && inside, "operands of a tile are whole");
    }
}

impl Forward<'_> {
    /// `out += silu(q k^T + bias) v`.
    pub(super) fn run(self) {
        self.common.check();
        let row = self.common.widths.value_row();
        let whole = self.v.len() >= KEYS * row && self.out.len() >= QUERIES * row;
        assert!(whole && self.weights.len() >= AREA, "operands of a tile are whole");
        // SAFETY: the operands are as long as the bodies need, and `isa` says what the processor
        // has.
        unsafe {
            match self.common.isa {
                #[cfg(target_arch = "x86_64")]
                Isa::V4 => forward_v4(self),
                #[cfg(target_arch = "x86_64")]
                Isa::V3 => forward_v3(self),
                _ => forward::<Values, 6, 1, 6, 1>(self),
            }
        }
    }
}

impl Backward<'_> {
    /// Adds the gradients of all operands; see the module above for the equations.
    pub(super) fn run(self) {
        self.common.check();
        let (key, value) = (self.common.widths.key_row(), self.common.widths.value_row());
        let packed = self.k.len() >= KEYS * key
            && self.v_panels.len() >= KEYS * self.common.widths.value
            && self.dout.len() >= QUERIES * value;
        let grads = self.dq.len() >= QUERIES * key
            && self.dk.len() >= KEYS * key
            && self.dv.len() >= KEYS * value
            && (self.dbias.is_empty() || self.dbias.len() >= AREA);
        let scratch = self.weights.len() >= AREA && self.dscores.len() >= AREA;
        assert!(packed && grads && scratch, "operands of a tile are whole");
        // SAFETY: the operands are as long as the bodies need, and `isa` says what the processor
        // has.
        unsafe {
            match self.common.isa {
                #[cfg(target_arch = "x86_64")]
                Isa::V4 => backward_v4(self),
                #[cfg(target_arch = "x86_64")]
                Isa::V3 => backward_v3(self),
                _ => backward::<Values, 3, 1, 6, 1>(self),
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn forward_v4(t: Forward<'_>) {
    // SAFETY: the caller vouches for lengths, this function for the instruction set.
    unsafe { forward::<Zmm, 8, 3, 12, 2>(t) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn forward_v3(t: Forward<'_>) {
    // SAFETY: the caller vouches for lengths, this function for the instruction set.
    unsafe { forward::<Ymm, 6, 1, 6, 1>(t) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn backward_v4(t: Backward<'_>) {
    // SAFETY: the caller vouches for lengths, this function for the instruction set.
    unsafe { backward::<Zmm, 4, 3, 12, 2>(t) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn backward_v3(t: Backward<'_>) {
    // SAFETY: the caller vouches for lengths, this function for the instruction set.
    unsafe { backward::<Ymm, 3, 1, 6, 1>(t) }
}

/// Forward with `R x P` vectors of scores and `MR x MP` vectors of output in registers.
///
/// # Safety
/// The processor has `V`'s instruction set, and `t` passed the checks of [`Forward::run`].
#[inline(always)]
unsafe fn forward<V: Vector, const R: usize, const P: usize, const MR: usize, const MP: usize>(
    t: Forward<'_>,
) {
    let (c, a) = (t.common, t.weights.as_mut_ptr());
    if !c.seen.everything() {
        t.weights[..AREA].fill(0.0);
    }
    for row in (0..c.rows).step_by(R) {
        let panels = c.seen.of(row + R - 1).div_ceil(LANES);
        let mut panel = 0;
        // SAFETY: rows and panels lie inside the tile, and the caller vouches for the rest.
        unsafe {
            while panel + P <= panels {
                weigh::<V, R, P>(&c, row, panel, a);
                panel += P;
            }
            while panel < panels {
                weigh::<V, R, 1>(&c, row, panel, a);
                panel += 1;
            }
        }
    }
    let width = c.widths.value_row();
    for row in (0..c.rows).step_by(MR) {
        let depth = 0..c.seen.of(row + MR - 1);
        // SAFETY: `MR` divides the rows of a tile; weights, values and outputs are whole.
        unsafe {
            let (a, out) = (a.add(row * KEYS), t.out.as_mut_ptr().add(row * width));
            multiply::<V, MR, MP, false>(a, depth, t.v.as_ptr(), out, width);
        }
    }
}

/// Backward with twice `R x P` vectors of scores and `MR x MP` vectors of gradients in registers.
///
/// # Safety
/// The processor has `V`'s instruction set, and `t` passed the checks of [`Backward::run`].
#[inline(always)]
unsafe fn backward<V: Vector, const R: usize, const P: usize, const MR: usize, const MP: usize>(
    t: Backward<'_>,
) {
    let c = t.common;
    let (a, ds) = (t.weights.as_mut_ptr(), t.dscores.as_mut_ptr());
    if !c.seen.everything() {
        t.weights[..AREA].fill(0.0);
        t.dscores[..AREA].fill(0.0);
    }
    let grads = Slopes {
        v_panels: t.v_panels.as_ptr(),
        dout: t.dout.as_ptr(),
        a,
        ds,
        dbias: if t.dbias.is_empty() { std::ptr::null_mut() } else { t.dbias.as_mut_ptr() },
    };
    for row in (0..c.rows).step_by(R) {
        let panels = c.seen.of(row + R - 1).div_ceil(LANES);
        let mut panel = 0;
        // SAFETY: rows and panels lie inside the tile, and the caller vouches for the rest.
        unsafe {
            while panel + P <= panels {
                slopes::<V, R, P>(&c, &grads, row, panel);
                panel += P;
            }
            while panel < panels {
                slopes::<V, R, 1>(&c, &grads, row, panel);
                panel += 1;
            }
        }
    }
    let (key, value) = (c.widths.key_row(), c.widths.value_row());
    for row in (0..c.seen.keys).step_by(MR) {
        let depth = c.seen.first_row(row).min(c.rows)..c.rows;
        // SAFETY: `MR` divides the keys of a tile; all operands are whole.
        unsafe {
            let dv = t.dv.as_mut_ptr().add(row * value);
            multiply::<V, MR, MP, true>(a.add(row), depth.clone(), grads.dout, dv, value);
            let dk = t.dk.as_mut_ptr().add(row * key);
            multiply::<V, MR, MP, true>(ds.add(row), depth, c.q.as_ptr(), dk, key);
        }
    }
    for row in (0..c.rows).step_by(MR) {
        let depth = 0..c.seen.of(row + MR - 1);
        // SAFETY: `MR` divides the rows of a tile; all operands are whole.
        unsafe {
            let (ds, dq) = (ds.add(row * KEYS), t.dq.as_mut_ptr().add(row * key));
            multiply::<V, MR, MP, false>(ds, depth, t.k.as_ptr(), dq, key);
        }
    }
}

/// Products of `R` rows with `P` panels, added to `sums`.
///
/// # Safety
/// `R` rows of `stride` values at `rows`, `P` panels of `depth` lines at `panels`.
#[inline(always)]
unsafe fn dot<V: Vector, const R: usize, const P: usize>(
    rows: *const f32,
    stride: usize,
    panels: *const f32,
    depth: usize,
    sums: &mut [[V; P]; R],
) {
    for c in 0..depth {
        // SAFETY: column `c` lies inside rows and panels.
        unsafe {
            let mut b = [V::splat(0.0); P];
            for p in 0..P {
                b[p] = V::load(panels.add((p * depth + c) * LANES));
            }
            for r in 0..R {
                let x = V::splat(*rows.add(r * stride + c));
                for p in 0..P {
                    sums[r][p] = x.mul_add(b[p], sums[r][p]);
                }
            }
        }
    }
}

/// Scores of `R` rows and `P` panels; they start as the bias.
///
/// # Safety
/// The block lies inside the tile.
#[inline(always)]
unsafe fn scores<V: Vector, const R: usize, const P: usize>(
    c: &Common<'_>,
    row: usize,
    panel: usize,
) -> [[V; P]; R] {
    let (depth, stride) = (c.widths.key, c.widths.key_row());
    // SAFETY: the block lies inside the tile, whose operands are whole.
    unsafe {
        let mut sums = [[V::splat(0.0); P]; R];
        if !c.bias.is_empty() {
            for r in 0..R {
                for p in 0..P {
                    sums[r][p] =
                        V::load(c.bias.as_ptr().add((row + r) * KEYS + (panel + p) * LANES));
                }
            }
        }
        let rows = c.q.as_ptr().add(row * stride);
        let panels = c.k_panels.as_ptr().add(panel * depth * LANES);
        dot(rows, stride, panels, depth, &mut sums);
        sums
    }
}

/// Writes the weights of `R` rows and `P` panels.
///
/// # Safety
/// The block lies inside the tile; `a` has room for the tile.
#[inline(always)]
unsafe fn weigh<V: Vector, const R: usize, const P: usize>(
    c: &Common<'_>,
    row: usize,
    panel: usize,
    a: *mut f32,
) {
    let edge = c.seen.of(row) < (panel + P) * LANES;
    // SAFETY: the block lies inside the tile.
    unsafe {
        let sums = scores::<V, R, P>(c, row, panel);
        for r in 0..R {
            for p in 0..P {
                let mut y = sums[r][p].mul(sums[r][p].sigmoid());
                if edge {
                    y = y.first(c.seen.of(row + r).saturating_sub((panel + p) * LANES));
                }
                y.store(a.add((row + r) * KEYS + (panel + p) * LANES));
            }
        }
    }
}

/// Where the backward pass of a tile finds and puts what belongs to scores.
struct Slopes {
    v_panels: *const f32,
    dout: *const f32,
    a: *mut f32,
    ds: *mut f32,
    dbias: *mut f32,
}

/// Writes weights and gradients of scores of `R` rows and `P` panels.
///
/// With `s` the scores, `w = sigmoid(s)` and `a = s w`, the slope of SiLU is `w + a (1 - w)`.
///
/// # Safety
/// The block lies inside the tile, whose operands are whole.
#[inline(always)]
unsafe fn slopes<V: Vector, const R: usize, const P: usize>(
    c: &Common<'_>,
    g: &Slopes,
    row: usize,
    panel: usize,
) {
    let edge = c.seen.of(row) < (panel + P) * LANES;
    let (depth, stride) = (c.widths.value, c.widths.value_row());
    // SAFETY: the block lies inside the tile, whose operands are whole.
    unsafe {
        let sums = scores::<V, R, P>(c, row, panel);
        let mut da = [[V::splat(0.0); P]; R];
        let panels = g.v_panels.add(panel * depth * LANES);
        dot(g.dout.add(row * stride), stride, panels, depth, &mut da);
        for r in 0..R {
            for p in 0..P {
                let w = sums[r][p].sigmoid();
                let mut a = sums[r][p].mul(w);
                let slope = a.neg_mul_add(w, w.add(a));
                let mut ds = da[r][p].mul(slope);
                if edge {
                    let n = c.seen.of(row + r).saturating_sub((panel + p) * LANES);
                    a = a.first(n);
                    ds = ds.first(n);
                }
                let at = (row + r) * KEYS + (panel + p) * LANES;
                a.store(g.a.add(at));
                ds.store(g.ds.add(at));
                if !g.dbias.is_null() {
                    ds.add(V::load(g.dbias.add(at))).store(g.dbias.add(at));
                }
            }
        }
    }
}

/// `out += x b` for `R` rows of `out` and all columns, where `x` is a part of a tile of weights:
/// row `r` and depth `t` lie at `r * KEYS + t`, or at `t * KEYS + r` when `TURNED`.
///
/// # Safety
/// The part lies inside the tile; `b` has rows for all of `depth` and `out` has `R` rows, both of
/// `width` values, which are whole vectors.
#[inline(always)]
unsafe fn multiply<V: Vector, const R: usize, const P: usize, const TURNED: bool>(
    x: *const f32,
    depth: std::ops::Range<usize>,
    b: *const f32,
    out: *mut f32,
    width: usize,
) {
    let mut col = 0;
    // SAFETY: columns lie inside the rows of `b` and `out`.
    unsafe {
        while col + P * LANES <= width {
            block::<V, R, P, TURNED>(x, depth.clone(), b.add(col), out.add(col), width);
            col += P * LANES;
        }
        while col < width {
            block::<V, R, 1, TURNED>(x, depth.clone(), b.add(col), out.add(col), width);
            col += LANES;
        }
    }
}

/// [`multiply`] for `P` vectors of columns.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn block<V: Vector, const R: usize, const P: usize, const TURNED: bool>(
    x: *const f32,
    depth: std::ops::Range<usize>,
    b: *const f32,
    out: *mut f32,
    width: usize,
) {
    let (across, along) = if TURNED { (1, KEYS) } else { (KEYS, 1) };
    // SAFETY: the caller vouches for all places.
    unsafe {
        let mut sums = [[V::splat(0.0); P]; R];
        for r in 0..R {
            for p in 0..P {
                sums[r][p] = V::load(out.add(r * width + p * LANES));
            }
        }
        for t in depth {
            let mut row = [V::splat(0.0); P];
            for p in 0..P {
                row[p] = V::load(b.add(t * width + p * LANES));
            }
            for r in 0..R {
                let x = V::splat(*x.add(r * across + t * along));
                for p in 0..P {
                    sums[r][p] = x.mul_add(row[p], sums[r][p]);
                }
            }
        }
        for r in 0..R {
            for p in 0..P {
                sums[r][p].store(out.add(r * width + p * LANES));
            }
        }
    }
}
