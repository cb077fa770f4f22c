//! Products in blocks, as in Goto and van de Geijn's "Anatomy of high-performance matrix
//! multiplication": for each block of columns and of products, pack B; for each block of rows, run
//! tiles, panel by panel.

mod pack;
mod tile;

use super::{Mat, Product, Write};
use crate::kernels::math::size_up;
use std::cell::RefCell;
use std::ops::Range;

/// Tiles of an instruction set.
pub(super) struct Tiles {
    lanes: usize,
    /// By rows less one, then by vectors less one.
    tiles: &'static [&'static [tile::Tile]],
    pack_rows: fn(Mat<'_>, Range<usize>, Range<usize>, &mut [f32]),
}

/// For AVX-512.
pub(super) static V4: Tiles =
    Tiles { lanes: tile::v4::LANES, tiles: tile::v4::TILES, pack_rows: pack::rows::<8> };
/// For AVX2.
pub(super) static V3: Tiles =
    Tiles { lanes: tile::v3::LANES, tiles: tile::v3::TILES, pack_rows: pack::rows::<6> };

/// Products of a block: a panel of 48 columns takes 36 KiB of a first-level cache.
const KC: usize = 192;
/// Rows and columns of a block: with `KC` products, A takes 240 KiB and B 360 KiB of the second.
const MC: usize = 320;
const NC: usize = 480;

thread_local! {
    /// Packed blocks of B and A; they grow to a size that does not depend on the product.
    static PACKED: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// `n` cut into equal parts of at most `most`: the length of a part.
fn part(n: usize, most: usize) -> usize {
    n.div_ceil(n.div_ceil(most))
}

/// Columns of the next panel of `left` columns: `width`, but where three vectors would leave one
/// behind, two and two. A tile one vector wide waits for its loads.
fn panel_width(left: usize, width: usize, lanes: usize) -> usize {
    if width == 3 * lanes && left > width && left <= width + lanes {
        return 2 * lanes;
    }
    left.min(width)
}

/// Runs a product with these tiles.
pub(super) fn run(set: &Tiles, product: &Product<'_>, c: &mut [f32]) {
    let Product { m, n, k, a, b, ldc, write } = *product;
    let (height, vectors) = (set.tiles.len(), set.tiles[0].len());
    let width = vectors * set.lanes;
    // Rows of A as they lie are read along; columns of A far apart would miss every cache.
    let pack_a = a.cs != 1;
    let (kc, mc) = (part(k, KC), part(m, MC).next_multiple_of(height));
    let nc = part(n, NC).next_multiple_of(width);
    PACKED.with_borrow_mut(|[packed_b, packed_a]| {
        size_up(packed_b, kc * nc);
        if pack_a {
            size_up(packed_a, kc * mc);
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
                    let mut next = cols.start;
                    while next < cols.end {
                        let first = next;
                        let used = panel_width(cols.end - first, width, set.lanes);
                        next += used;
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
                            // SAFETY: `isa` found the instructions of `set`. A: rows up to `m` and
                            // products up to `k` lie in `a.data`, as `Product` says, and a packed
                            // tile holds `height` rows. B: the panel holds `padded` columns for
                            // each of `depth`. C: rows up to `m` and columns up to `n` lie in
                            // `c`, which is borrowed mutably.
                            unsafe { set.tiles[tall - 1][padded / set.lanes - 1](operands) };
                        }
                    }
                }
            }
        }
    });
}
