//! Reading prompts: the forward pass of a stack without gradients, unit by unit.
//!
//! A unit is a few short sequences or one long one, whose activations fit the cache of a core.
//! Within a unit, tiles of rows go from barrier to barrier: all keys and values of a layer must be
//! there before attention reads them, everything else belongs to a row. So one request alone keeps
//! several threads busy, and many requests meet no barrier that waits.

use super::keys::Filler;
use super::scratch::{Scratch, UnitScratch, with_tile, with_unit};
use super::tiles::{cut, equal_parts};
use super::{Keys, PackedStack};
use sidereal_nn::kernels::attention::{Attention, Place, RelativeBias};
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::gemm::Write;
use sidereal_nn::kernels::math::size;
use sidereal_nn::parallel;
use std::ops::Range;

/// Rows of a unit that is made of several sequences.
const UNIT_ROWS: usize = 128;
/// Rows of a tile where there is much to do, and where there is little.
const TILE_ROWS: usize = 96;
const SMALL_TILE_ROWS: usize = 40;
/// Below this many rows in all, there is little to do.
const MANY_ROWS: usize = 256;

/// What becomes of the prompts.
#[derive(Clone, Copy)]
pub(crate) enum Kept<'a> {
    /// Keys and values of every layer's own attention.
    Own,
    /// Keys and values that the cross-attention of this stack makes of the last states.
    Cross(&'a PackedStack),
}

/// Requests that are read together.
fn units(lens: &[usize]) -> Vec<Range<usize>> {
    let (mut out, mut open, mut rows) = (Vec::new(), 0..0, 0);
    for (request, len) in lens.iter().enumerate() {
        if !open.is_empty() && rows + len > UNIT_ROWS {
            out.push(std::mem::replace(&mut open, request..request));
            rows = 0;
        }
        (open.end, rows) = (request + 1, rows + len);
    }
    if !open.is_empty() {
        out.push(open);
    }
    out
}

/// One unit.
struct Unit<'a> {
    lens: &'a [usize],
    x: &'a mut [f32],
    keys: Filler<'a>,
}

/// A tile of a unit between two barriers.
struct Tile<'a> {
    rows: Range<usize>,
    x: &'a mut [f32],
    q: &'a mut [f32],
    next: &'a mut [f32],
}

impl PackedStack {
    /// Runs sequences of these lengths, whose rows lie in `x`, through the stack; `x` becomes the
    /// normalised output, `keys` (shaped for `kept`) is filled.
    pub(crate) fn read(
        &self,
        w: &[f32],
        lens: &[usize],
        x: &mut [f32],
        kept: Kept<'_>,
        keys: &mut Keys,
    ) {
        let reach = lens.iter().copied().max().unwrap_or(0);
        let mut table = Vec::new();
        if let Some(p) = &self.positions {
            p.table(w, reach, &mut table);
        }
        let bias = self.positions.as_ref().map(|_| RelativeBias { table: &table, reach });
        let groups = units(lens);
        let mut start = 0;
        let rows: Vec<Range<usize>> = groups
            .iter()
            .map(|g| {
                let first = start;
                start += lens[g.clone()].iter().sum::<usize>();
                first..start
            })
            .collect();
        let cap = if start < MANY_ROWS { SMALL_TILE_ROWS } else { TILE_ROWS };
        let xs = cut(x, &rows, self.shape.width);
        let mut units: Vec<Unit<'_>> = groups
            .iter()
            .zip(xs)
            .zip(keys.split(&groups))
            .map(|((g, x), keys)| Unit { lens: &lens[g.clone()], x, keys })
            .collect();
        parallel::each(&mut units, &|unit| {
            with_unit(|scratch| self.read_unit(w, bias, unit, kept, cap, scratch));
        });
    }

    fn read_unit(
        &self,
        w: &[f32],
        bias: Option<RelativeBias<'_>>,
        unit: &mut Unit<'_>,
        kept: Kept<'_>,
        cap: usize,
        scratch: &mut UnitScratch,
    ) {
        let (d, inner) = (self.shape.width, self.inner());
        let (lens, x) = (unit.lens, &mut *unit.x);
        let (rows, layers) = (x.len() / d, self.blocks.len());
        let mut parts = Vec::new();
        equal_parts(0..rows, cap, &mut parts);
        let UnitScratch { q, kv, next } = scratch;
        size(q, rows * inner);
        size(kv, rows * 2 * inner);
        size(next, rows * 2 * inner);
        let mut places = unit.keys.layers(lens);
        for layer in 0..=layers {
            let (xs, qs) = (cut(x, &parts, d), cut(q, &parts, inner));
            let (nexts, now) = (cut(next, &parts, 2 * inner), &kv[..]);
            let mut tiles: Vec<Tile<'_>> = parts
                .iter()
                .zip(xs)
                .zip(qs.zip(nexts))
                .map(|((rows, x), (q, next))| Tile { rows: rows.clone(), x, q, next })
                .collect();
            parallel::each(&mut tiles, &|tile| {
                with_tile(|s| {
                    if let Some(before) = layer.checked_sub(1) {
                        self.finish(w, bias, before, lens, tile, now, s);
                    }
                    self.begin(w, layer, tile, s);
                });
            });
            std::mem::swap(kv, next);
            if matches!(kept, Kept::Own) {
                for place in places.iter_mut().filter(|p| p.layer == layer) {
                    let start: usize = lens[..place.request].iter().sum();
                    place.fill(&kv[start * 2 * inner..], lens[place.request]);
                }
            }
        }
        if let Kept::Cross(stack) = kept {
            parallel::each(&mut places, &|place| {
                let (start, len) =
                    (lens[..place.request].iter().sum::<usize>(), lens[place.request]);
                if let Some(cross) = &stack.blocks[place.layer].cross {
                    with_tile(|s| {
                        let ld = cross.kv.outputs();
                        size(&mut s.kv, len * ld);
                        let x = &x[start * d..(start + len) * d];
                        cross.kv.forward(x, len, &mut s.kv, ld, Write::Set);
                        place.fill(&s.kv, len);
                    });
                }
            });
        }
    }

    /// Queries, keys and values of a layer; behind the last one, the final norm.
    fn begin(&self, w: &[f32], layer: usize, tile: &mut Tile<'_>, s: &mut Scratch) {
        let (n, inner) = (tile.rows.len(), self.inner());
        let Some(block) = self.blocks.get(layer) else {
            self.final_norm.forward(w, tile.x, &mut s.normed, &mut s.stats);
            return tile.x.copy_from_slice(&s.normed);
        };
        block.norm.forward(w, tile.x, &mut s.normed, &mut s.stats);
        block.q.forward(&s.normed, n, tile.q, inner, Write::Set);
        block.kv.forward(&s.normed, n, tile.next, 2 * inner, Write::Set);
    }

    /// Attention and feed-forward of a layer whose keys and values are all there.
    fn finish(
        &self,
        w: &[f32],
        bias: Option<RelativeBias<'_>>,
        layer: usize,
        lens: &[usize],
        tile: &mut Tile<'_>,
        kv: &[f32],
        s: &mut Scratch,
    ) {
        let (n, inner, shape) = (tile.rows.len(), self.inner(), &self.shape);
        let core = Attention {
            heads: shape.heads,
            width: shape.head_width,
            scale: shape.scale,
            mask: shape.mask,
            bias,
            dropout: Dropout::none(),
            site: 0,
        };
        let row = Place { ld: inner, offset: 0 };
        let (key, value) =
            (Place { ld: 2 * inner, offset: 0 }, Place { ld: 2 * inner, offset: inner });
        size(&mut s.attended, n * inner);
        let mut start = 0;
        for &len in lens {
            let (first, last) = (tile.rows.start.max(start), tile.rows.end.min(start + len));
            if first < last {
                let at = (first - tile.rows.start) * inner;
                core.forward_part(
                    len,
                    first - start..last - start,
                    &tile.q[at..],
                    row,
                    &kv[start * 2 * inner..],
                    key,
                    value,
                    &mut s.attended[at..],
                    row,
                    &mut s.attention,
                );
            }
            start += len;
        }
        let block = &self.blocks[layer];
        block.out.forward(&s.attended, n, tile.x, shape.width, Write::Add);
        block.ff_norm.forward(w, tile.x, &mut s.normed, &mut s.stats);
        block.feed_forward.add(&s.normed, n, &mut s.feed_forward, tile.x);
    }
}
