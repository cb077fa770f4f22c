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

/// Where blocks of columns and products begin and end, in the order in which they are packed.
struct Cuts {
    n: usize,
    k: usize,
    nc: usize,
    kc: usize,
}

impl Cuts {
    fn new(set: &Tiles, n: usize, k: usize) -> Self {
        let width = set.tiles[0].len() * set.lanes;
        Cuts { n, k, nc: part(n, NC).next_multiple_of(width), kc: part(k, KC) }
    }

    /// Calls `work` with the columns and the products of each block.
    fn each(&self, mut work: impl FnMut(Range<usize>, Range<usize>)) {
        for j in (0..self.n).step_by(self.nc) {
            for p in (0..self.k).step_by(self.kc) {
                work(j..self.n.min(j + self.nc), p..self.k.min(p + self.kc));
            }
        }
    }
}

/// Values of a packed block: whole vectors of columns.
fn block_len(set: &Tiles, cols: &Range<usize>, depth: &Range<usize>) -> usize {
    cols.len().next_multiple_of(set.lanes) * depth.len()
}

/// Values of all packed blocks of `k x n`.
pub(super) fn packed_len(set: &Tiles, k: usize, n: usize) -> usize {
    let mut len = 0;
    Cuts::new(set, n, k).each(|cols, depth| len += block_len(set, &cols, &depth));
    len
}

/// Packs all blocks of B, one behind the other.
pub(super) fn pack(set: &Tiles, k: usize, n: usize, b: Mat<'_>, out: &mut [f32]) {
    let (mut at, width) = (0, set.tiles[0].len() * set.lanes);
    Cuts::new(set, n, k).each(|cols, depth| {
        let len = block_len(set, &cols, &depth);
        pack::columns(b, depth, cols, width, set.lanes, &mut out[at..at + len]);
        at += len;
    });
}

/// Runs a product with these tiles.
pub(super) fn run(set: &Tiles, product: &Product<'_>, c: &mut [f32]) {
    let Product { n, k, b, .. } = *product;
    let (cuts, width) = (Cuts::new(set, n, k), set.tiles[0].len() * set.lanes);
    PACKED.with_borrow_mut(|[packed_b, packed_a]| {
        size_up(packed_b, cuts.kc * cuts.nc);
        cuts.each(|cols, depth| {
            pack::columns(b, depth.clone(), cols.clone(), width, set.lanes, packed_b);
            block(set, product, cols, depth, packed_b, &[], packed_a, c);
        });
    });
}

/// The same with a B that [`pack`] has packed; the product's own B is not looked at.
pub(super) fn run_packed(set: &Tiles, product: &Product<'_>, packed: &[f32], c: &mut [f32]) {
    let mut at = 0;
    PACKED.with_borrow_mut(|[_, packed_a]| {
        Cuts::new(set, product.n, product.k).each(|cols, depth| {
            let (end, rest) = (at + block_len(set, &cols, &depth), &packed[at..]);
            block(set, product, cols, depth, &packed[at..end], rest, packed_a, c);
            at = end;
        });
    });
}

/// Asks for cache lines that will be read soon.
fn prefetch(data: &[f32]) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    for line in data.chunks(16) {
        // SAFETY: a prefetch of memory that a slice holds; it reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
}

/// Multiplies A with one block of B. A B that was packed long ago lies far away: while a panel is
/// multiplied, the next one in `ahead`, which begins where the block begins, is fetched.
fn block(
    set: &Tiles,
    product: &Product<'_>,
    cols: Range<usize>,
    depth: Range<usize>,
    packed_b: &[f32],
    ahead: &[f32],
    packed_a: &mut Vec<f32>,
    c: &mut [f32],
) {
    let Product { m, a, ldc, write, .. } = *product;
    let (height, width) = (set.tiles.len(), set.tiles[0].len() * set.lanes);
    let mc = part(m, MC).next_multiple_of(height);
    // Rows of A as they lie are read along; columns of A far apart would miss every cache.
    let pack_a = a.cs != 1;
    if pack_a {
        size_up(packed_a, depth.len() * mc);
    }
    let write = if depth.start == 0 { write } else { Write::Add };
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
            let next_panel = ahead.get(end..ahead.len().min(end + panel_b.len())).unwrap_or(&[]);
            let mut soon = next_panel.chunks(
                next_panel.len().div_ceil(rows.len().div_ceil(height)).next_multiple_of(16).max(16),
            );
            for (t, top) in rows.clone().step_by(height).enumerate() {
                prefetch(soon.next().unwrap_or(&[]));
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
