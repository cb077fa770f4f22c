//! Matrix products on strided views, on the calling thread.
//!
//! With AVX-512 or AVX2 the products are our own, made for training on micro-batches: few hundred
//! rows against weights of a hundred to a thousand columns. B is packed into panels that the
//! first-level cache holds, A is read where it lies unless its columns are contiguous, and nothing
//! is allocated once a thread's buffer has grown. Against the `gemm` crate, which packs both sides
//! for every product, that is worth a tenth of a training step. Elsewhere the `gemm` crate works.
//! With the feature `mkl` or `openblas` a C library that the user has takes over.
//!
//! Blocks, as in Goto and van de Geijn's "Anatomy of high-performance matrix multiplication": for
//! each block of columns and of products, pack B; for each block of rows, run tiles, panel by panel.

#[cfg(all(any(feature = "mkl", feature = "openblas"), not(miri)))]
mod blas;
mod pack;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod tile;

use super::{Isa, isa};
#[cfg(all(target_arch = "x86_64", not(miri)))]
use std::{cell::RefCell, ops::Range};

/// A read-only matrix: element `(i, j)` is `data[i * rs + j * cs]`.
#[derive(Debug, Clone, Copy)]
pub struct Mat<'a> {
    /// Values.
    pub data: &'a [f32],
    /// Distance between rows.
    pub rs: usize,
    /// Distance between columns.
    pub cs: usize,
}

impl<'a> Mat<'a> {
    /// Row-major with `ld` values from row to row.
    pub fn rows(data: &'a [f32], ld: usize) -> Self {
        Mat { data, rs: ld, cs: 1 }
    }

    /// The transpose.
    pub fn t(self) -> Self {
        Mat { data: self.data, rs: self.cs, cs: self.rs }
    }

    fn holds(&self, rows: usize, cols: usize) -> bool {
        (rows - 1) * self.rs + (cols - 1) * self.cs < self.data.len()
    }
}

/// Whether a result replaces what is there or is added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// Replace.
    Set,
    /// Add.
    Add,
}

/// `C (+)= A B` with `A: m x k`, `B: k x n` and `C: m x n` row-major with `ldc` values from row to
/// row.
///
/// # Panics
/// When a matrix does not fit into its slice: a mistake of the caller.
pub fn gemm(
    m: usize,
    n: usize,
    k: usize,
    a: Mat<'_>,
    b: Mat<'_>,
    c: &mut [f32],
    ldc: usize,
    write: Write,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(ldc >= n && (m - 1) * ldc + n <= c.len(), "C does not fit");
    if k == 0 {
        if write == Write::Set {
            c.chunks_mut(ldc).take(m).for_each(|row| row[..n].fill(0.0));
        }
        return;
    }
    assert!(a.holds(m, k) && b.holds(k, n), "A or B does not fit");
    #[cfg(all(any(feature = "mkl", feature = "openblas"), not(miri)))]
    if blas::product(m, n, k, a, b, c, ldc, write) {
        return;
    }
    product(isa(), m, n, k, a, b, c, ldc, write);
}

/// Checked operands: `m`, `n` and `k` are not 0 and every element lies in its slice.
fn product(
    isa: Isa,
    m: usize,
    n: usize,
    k: usize,
    a: Mat<'_>,
    b: Mat<'_>,
    c: &mut [f32],
    ldc: usize,
    write: Write,
) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    match isa {
        Isa::V4 => return blocked(&V4, m, n, k, a, b, c, ldc, write),
        Isa::V3 => return blocked(&V3, m, n, k, a, b, c, ldc, write),
        Isa::Plain => {}
    }
    #[cfg(any(not(target_arch = "x86_64"), miri))]
    let _ = isa;
    if cfg!(miri) {
        return plain(m, n, k, a, b, c, ldc, write);
    }
    elsewhere(m, n, k, a, b, c, ldc, write);
}

/// Tiles of an instruction set.
#[cfg(all(target_arch = "x86_64", not(miri)))]
struct Tiles {
    lanes: usize,
    /// By rows less one, then by vectors less one.
    tiles: &'static [&'static [tile::Tile]],
    pack_rows: fn(Mat<'_>, Range<usize>, Range<usize>, &mut [f32]),
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
static V4: Tiles =
    Tiles { lanes: tile::v4::LANES, tiles: tile::v4::TILES, pack_rows: pack::rows::<8> };
#[cfg(all(target_arch = "x86_64", not(miri)))]
static V3: Tiles =
    Tiles { lanes: tile::v3::LANES, tiles: tile::v3::TILES, pack_rows: pack::rows::<6> };

/// Products of a block: a panel of 48 columns takes 36 KiB of a first-level cache.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const KC: usize = 192;
/// Rows and columns of a block: with `KC` products, A takes 240 KiB and B 360 KiB of the second.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const MC: usize = 320;
#[cfg(all(target_arch = "x86_64", not(miri)))]
const NC: usize = 480;

#[cfg(all(target_arch = "x86_64", not(miri)))]
thread_local! {
    /// Packed blocks of B and A; they grow to a size that does not depend on the product.
    static PACKED: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// `n` cut into equal parts of at most `most`: the length of a part.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn part(n: usize, most: usize) -> usize {
    n.div_ceil(n.div_ceil(most))
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
fn blocked(
    set: &Tiles,
    m: usize,
    n: usize,
    k: usize,
    a: Mat<'_>,
    b: Mat<'_>,
    c: &mut [f32],
    ldc: usize,
    write: Write,
) {
    let (height, vectors) = (set.tiles.len(), set.tiles[0].len());
    let width = vectors * set.lanes;
    // Rows of A as they lie are read along; columns of A far apart would miss every cache.
    let pack_a = a.cs != 1;
    let (kc, mc) = (part(k, KC), part(m, MC).next_multiple_of(height));
    let nc = part(n, NC).next_multiple_of(width);
    PACKED.with_borrow_mut(|[packed_b, packed_a]| {
        super::math::size_up(packed_b, kc * nc);
        if pack_a {
            super::math::size_up(packed_a, kc * mc);
        }
        for j in (0..n).step_by(nc) {
            let cols = j..n.min(j + nc);
            for p in (0..k).step_by(kc) {
                let depth = p..k.min(p + kc);
                pack::columns(b, depth.clone(), cols.clone(), width, set.lanes, packed_b);
                let write = if p == 0 { write } else { Write::Add };
                for i in (0..m).step_by(mc) {
                    let rows = i..m.min(i + mc);
                    if pack_a {
                        (set.pack_rows)(a, rows.clone(), depth.clone(), packed_a);
                    }
                    let mut panel = 0;
                    for first in cols.clone().step_by(width) {
                        let used = width.min(cols.end - first);
                        let padded = used.next_multiple_of(set.lanes);
                        let end = panel + padded * depth.len();
                        let panel_b = &packed_b[std::mem::replace(&mut panel, end)..end];
                        for (t, top) in rows.clone().step_by(height).enumerate() {
                            let tall = height.min(rows.end - top);
                            let (source, rs, cs) = if pack_a {
                                let at = t * depth.len() * height;
                                (&packed_a[at..at + depth.len() * height], 1, height)
                            } else {
                                (&a.data[top * a.rs + depth.start..], a.rs, 1)
                            };
                            let operands = tile::Operands {
                                k: depth.len(),
                                a: source.as_ptr(),
                                rs,
                                cs,
                                b: panel_b.as_ptr(),
                                c: c[top * ldc + first..].as_mut_ptr(),
                                ldc,
                                cols: used,
                                write,
                            };
                            // SAFETY: `isa` found the instructions of `set`. A: the caller of
                            // `product` checked that rows up to `m` and products up to `k` lie in
                            // `a.data`, and a packed tile holds `height` rows. B: the panel holds
                            // `padded` columns for each of `depth`. C: rows up to `m` and columns
                            // up to `n` lie in `c`, which is borrowed mutably.
                            unsafe { set.tiles[tall - 1][padded / set.lanes - 1](operands) };
                        }
                    }
                }
            }
        }
    });
}

/// Through the `gemm` crate.
fn elsewhere(
    m: usize,
    n: usize,
    k: usize,
    a: Mat<'_>,
    b: Mat<'_>,
    c: &mut [f32],
    ldc: usize,
    write: Write,
) {
    // SAFETY: the caller of `product` checked that every element that the product reads or writes
    // lies in its slice, and `c` is borrowed mutably, so it overlaps neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            ldc as isize,
            write == Write::Add,
            a.data.as_ptr(),
            a.cs as isize,
            a.rs as isize,
            b.data.as_ptr(),
            b.cs as isize,
            b.rs as isize,
            1f32,
            1f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// The definition, for interpreters that cannot run vector code, and for tests.
fn plain(
    m: usize,
    n: usize,
    k: usize,
    a: Mat<'_>,
    b: Mat<'_>,
    c: &mut [f32],
    ldc: usize,
    write: Write,
) {
    for i in 0..m {
        for j in 0..n {
            let sum: f32 =
                (0..k).map(|l| a.data[i * a.rs + l * a.cs] * b.data[l * b.rs + j * b.cs]).sum();
            let c = &mut c[i * ldc + j];
            *c = if write == Write::Set { sum } else { *c + sum };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Small whole numbers, so that every order of sums gives the same bits.
    fn value(i: usize) -> f32 {
        ((i * 31 + 7) % 13) as f32 - 6.0
    }

    /// The instruction sets of this processor.
    fn sets() -> Vec<Isa> {
        match isa() {
            Isa::V4 => vec![Isa::V4, Isa::V3, Isa::Plain],
            Isa::V3 => vec![Isa::V3, Isa::Plain],
            Isa::Plain => vec![Isa::Plain],
        }
    }

    fn check(m: usize, n: usize, k: usize, ta: bool, tb: bool, write: Write, pad: usize) {
        let (ac, bc) = (if ta { m } else { k } + pad, if tb { k } else { n } + pad);
        let a: Vec<f32> = (0..(m + k + 1) * ac).map(value).collect();
        let b: Vec<f32> = (0..(k + n + 1) * bc).map(|i| value(i + 5)).collect();
        let view = |d, ld, t| if t { Mat::rows(d, ld).t() } else { Mat::rows(d, ld) };
        let (a, b) = (view(&a, ac, ta), view(&b, bc, tb));
        let ldc = n + pad;
        let before: Vec<f32> = (0..m * ldc).map(|i| value(i + 2)).collect();
        let mut want = before.clone();
        if m * n * k > 0 {
            plain(m, n, k, a, b, &mut want, ldc, write);
        } else if write == Write::Set {
            want.chunks_mut(ldc.max(1)).for_each(|row| row[..n].fill(0.0));
        }
        let mut c = before.clone();
        gemm(m, n, k, a, b, &mut c, ldc, write);
        assert_eq!(c, want, "{m} x {n} x {k}");
        if m * n * k > 0 {
            for set in sets() {
                c.copy_from_slice(&before);
                product(set, m, n, k, a, b, &mut c, ldc, write);
                assert_eq!(c, want, "{set:?}: {m} x {n} x {k}");
            }
        }
    }

    proptest! {
        #[test]
        fn equals_the_definition(m in 0usize..20, n in 0usize..70, k in 0usize..40,
                                 ta: bool, tb: bool, add: bool, pad in 0usize..3) {
            check(m, n, k, ta, tb, if add { Write::Add } else { Write::Set }, pad);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "too slow in an interpreter; the small shapes run there")]
    fn several_blocks_each_way() {
        for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
            check(331, 497, 389, ta, tb, Write::Add, 1);
        }
    }
}
