//! Pointwise SiLU attention of HSTU (Zhai et al., arXiv 2402.17152) over packed causal spans.
//!
//! For query `i` and key `j <= i` of a span and each head:
//! `A_ij = silu(scale q_i . k_j + p[j - i] + t[bucket(t_i - t_j)]) / divisor` and `O_i = sum_j A_ij
//! v_j`. Both biases are optional and shared by all heads; see [`PositionBias`], [`TimeBias`].
//!
//! There is no softmax, so tiles of 48 x 48 are independent: the bias of a tile is computed once for
//! all heads, scores of a few rows live in registers until SiLU has turned them into weights, and
//! the weights of a tile stay in the first-level cache. Backward computes tiles again. Memory is
//! linear in the length: packed copies of the operands and, for backward, one gradient of the
//! queries a lane. Cost: two products forward and five backward of `q_len x k_len / 2 x width` a
//! head; tiles that the mask hides are skipped.
//!
//! Work is over (span, query block) forward and (span, key block) backward. Key blocks are dealt to
//! a fixed number of lanes by shapes alone, a lane works in order, and lanes are added in order: the
//! number of threads changes no bit. Threads pay for one long sequence; many short ones are better
//! served by one thread a micro-batch.
//!
//! Deviations: entries of the reference's position table for `j > i`, which its mask hides, do not
//! exist; `divisor` is the caller's (the reference's is the padded length); differences of times
//! are exact until they are rounded to f32.

mod bias;
mod pack;
#[cfg(test)]
mod tests;
mod tile;
mod vector;

pub use super::attention::{Grads, Place, Span};
pub use bias::{MAX_BUCKETS, PositionBias, TimeBias, next_times, time_bucket};

use super::Isa;
use bias::{BiasTile, TableGrads, Tile};
use pack::{panels, rows};
use std::sync::Mutex;
use tile::{AREA, Backward, Common, Forward, KEYS, QUERIES, Seen, Widths};
use vector::Lines;

/// Attention of all heads of a layer.
///
/// The methods panic when an operand is too short for its spans, a table for its reach, or when
/// query rows of spans overlap: a mistake of the caller.
#[derive(Debug, Clone, Copy)]
pub struct SiluAttention<'a> {
    /// Number of heads.
    pub heads: usize,
    /// Width of a head's queries and keys.
    pub width: usize,
    /// Width of a head's values and outputs.
    pub value_width: usize,
    /// Factor on products of queries and keys: 1 in the reference's research code.
    pub scale: f32,
    /// What weights are divided by: the padded length in the reference.
    pub divisor: f32,
    /// Bias by distance.
    pub position: Option<PositionBias<'a>>,
    /// Bias by time.
    pub time: Option<TimeBias<'a>>,
}

/// Gradients of the bias tables, added to; those that are not wanted stay `None`.
#[derive(Debug, Default)]
pub struct BiasGrads<'a> {
    /// Laid out as [`PositionBias::table`].
    pub position: Option<&'a mut [f32]>,
    /// Laid out as [`TimeBias::table`].
    pub time: Option<&'a mut [f32]>,
}

/// Reused buffers.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Keys and values of all spans (forward), queries and output gradients (backward).
    packed: Lines,
    workers: Vec<Worker>,
    lanes: Vec<Lane>,
    lists: Lists,
}

/// Lists of work, kept so that a pass on one thread allocates nothing.
#[derive(Debug, Default)]
struct Lists {
    queries: Vec<Block>,
    keys: Vec<Block>,
    /// Number of the first packed tile of each span.
    bases: Vec<usize>,
    /// What each lane has so far.
    load: Vec<usize>,
}

/// Buffers of one thread.
#[derive(Debug, Default)]
struct Worker {
    bias: BiasTile,
    weights: Lines,
    dscores: Lines,
    /// Queries (forward) or keys and values (backward) of a block, all heads.
    block: Lines,
    /// Outputs (forward) of a block, all heads.
    out: Lines,
}

/// Gradients of a fixed part of the key blocks.
#[derive(Debug, Default)]
struct Lane {
    blocks: Vec<Block>,
    /// Packed as the queries.
    dq: Lines,
    /// Keys and values of the lane's blocks, one after the other.
    dkv: Lines,
    tables: TableGrads,
}

/// A run of [`QUERIES`] query rows or [`KEYS`] key rows of a span.
#[derive(Debug, Clone, Copy)]
struct Block {
    span: Span,
    /// First row within the span.
    first: usize,
    /// Rows that exist.
    rows: usize,
    /// Number of the span's first packed tile.
    base: usize,
}

/// Score pairs of the longest span from which backward is dealt to [`LANES`] lanes; below, adding
/// the lanes would cost more than it gains.
const LONG: usize = 1 << 18;
/// Lanes of backward: the most threads that it can use.
const LANES: usize = 4;

impl SiluAttention<'_> {
    /// Writes attended values of all spans to `out`; rows that see no key become zero. Query `i` of
    /// a span sees keys up to `i + k_len - q_len`.
    ///
    /// `q` and `kv` may be the same fused buffer.
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
        threads: usize,
        scratch: &mut Scratch,
    ) {
        let input = Input { layer: self, isa: super::isa(), q, qp, kv, kp, vp };
        input.forward(spans, out, op, threads, scratch);
    }

    /// Adds the gradients of queries, keys and values, and those of the tables that are wanted.
    /// Takes the operands of the forward pass and the gradient of its output.
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
        grads: Grads<'_>,
        tables: BiasGrads<'_>,
        threads: usize,
        scratch: &mut Scratch,
    ) {
        let input = Input { layer: self, isa: super::isa(), q, qp, kv, kp, vp };
        input.backward(spans, dout, op, grads, tables, threads, scratch);
    }

    fn widths(&self) -> Widths {
        Widths { key: self.width, value: self.value_width }
    }

    fn has_bias(&self) -> bool {
        self.position.is_some() || self.time.is_some()
    }

    fn check(&self, spans: &[Span]) {
        let longest = spans.iter().map(|s| s.k_len.max(s.q_len)).max().unwrap_or(0);
        if let Some(p) = self.position {
            assert!(p.table.len() >= longest, "the position table does not reach across a span");
        }
        if let Some(t) = self.time {
            let fits = (1..=MAX_BUCKETS).contains(&t.table.len());
            assert!(fits, "a time table has 1 to {MAX_BUCKETS} buckets");
        }
    }
}

/// Operands of both passes.
#[derive(Clone, Copy)]
struct Input<'a> {
    layer: &'a SiluAttention<'a>,
    isa: Isa,
    q: &'a [f32],
    qp: Place,
    kv: &'a [f32],
    kp: Place,
    vp: Place,
}

/// First value of a row of a head.
fn at(row: usize, head: usize, width: usize, place: Place) -> usize {
    row * place.ld + place.offset + head * width
}

impl Input<'_> {
    fn forward(
        &self,
        spans: &[Span],
        out: &mut [f32],
        op: Place,
        threads: usize,
        scratch: &mut Scratch,
    ) {
        self.layer.check(spans);
        let (heads, widths) = (self.layer.heads, self.layer.widths());
        let Scratch { packed, workers, lists, .. } = scratch;
        let Lists { queries, keys, bases, .. } = lists;
        ready(workers, threads);

        blocks(spans, KEYS, |s| s.k_len, keys);
        let stride = heads * KEYS * (widths.key + widths.value_row());
        packed.size(keys.len() * stride);
        let tiles = packed.all_mut().chunks_exact_mut(stride.max(1));
        each(few(workers, keys.len()), keys.iter().zip(tiles), |_, (b, tile)| {
            let row = b.span.k + b.first;
            for (h, part) in tile.chunks_exact_mut(stride / heads).enumerate() {
                let (k, v) = part.split_at_mut(KEYS * widths.key);
                let (w, x) = (widths.key, widths.value);
                panels(&self.kv[at(row, h, w, self.kp)..], self.kp.ld, b.rows, w, KEYS, k);
                rows(&self.kv[at(row, h, x, self.vp)..], self.vp.ld, b.rows, x, 1.0, KEYS, v);
            }
        });

        // Blocks of query rows from the last to the first, each with its part of the output: those
        // of a span that see most come first, so that threads end together.
        blocks(spans, QUERIES, |s| s.q_len, queries);
        first_tiles(spans, KEYS, |s| s.k_len, bases);
        queries.iter_mut().for_each(|b| b.base = bases[b.base]);
        queries.sort_unstable_by_key(|b| b.span.q + b.first);
        let apart = |w: &[Block]| w[0].span.q + w[0].first + w[0].rows <= w[1].span.q + w[1].first;
        assert!(queries.windows(2).all(apart), "query rows of spans overlap");
        let mut rest = out;
        let items = queries.iter().rev().map(|b| {
            let start = (b.span.q + b.first) * op.ld;
            let (before, part) = std::mem::take(&mut rest).split_at_mut(start);
            let len = (b.rows * op.ld).min(part.len());
            rest = before;
            (*b, &mut part[..len])
        });
        let packed = packed.all();
        each(workers, items, |worker, (b, part)| {
            self.forward_block(&b, packed, stride, worker);
            let out = worker.out.all();
            let (w, factor) = (widths.value, 1.0 / self.layer.divisor);
            for h in 0..heads {
                for r in 0..b.rows {
                    let from = &out[(h * QUERIES + r) * widths.value_row()..][..w];
                    let to = &mut part[at(r, h, w, op)..][..w];
                    to.iter_mut().zip(from).for_each(|(o, x)| *o = x * factor);
                }
            }
        });
    }

    /// Unscaled outputs of a block of queries into `worker.out`.
    fn forward_block(&self, b: &Block, packed: &[f32], stride: usize, worker: &mut Worker) {
        let (layer, widths) = (self.layer, self.layer.widths());
        let (heads, key, value) = (layer.heads, widths.key_row(), widths.value_row());
        let Worker { bias, weights, block, out, .. } = worker;
        weights.size(AREA);
        block.size(heads * QUERIES * key);
        out.size(heads * QUERIES * value);
        out.all_mut()[..heads * QUERIES * value].fill(0.0);
        let row = b.span.q + b.first;
        for (h, part) in block.all_mut().chunks_exact_mut(QUERIES * key).enumerate().take(heads) {
            let q = &self.q[at(row, h, widths.key, self.qp)..];
            rows(q, self.qp.ld, b.rows, widths.key, layer.scale, QUERIES, part);
        }
        let last = seen(&b.span, b.first + b.rows, 0, b.span.k_len).of(0);
        for n in 0..last.div_ceil(KEYS) {
            let first = n * KEYS;
            let keys = KEYS.min(b.span.k_len - first);
            let seen = seen(&b.span, b.first + 1, first, keys);
            let tile = Tile { query: row, rows: b.rows, key: b.span.k + first, seen };
            let bias: &[f32] =
                if layer.has_bias() { bias.fill(&tile, layer.position, layer.time) } else { &[] };
            let keys = &packed[(b.base + n) * stride..][..stride];
            for (h, part) in keys.chunks_exact(stride / heads).enumerate() {
                let (k_panels, v) = part.split_at(KEYS * widths.key);
                let q = &block.all()[h * QUERIES * key..][..QUERIES * key];
                let common =
                    Common { isa: self.isa, widths, seen, rows: b.rows, q, k_panels, bias };
                let out = &mut out.all_mut()[h * QUERIES * value..][..QUERIES * value];
                Forward { common, v, weights: weights.all_mut(), out }.run();
            }
        }
    }

    fn backward(
        &self,
        spans: &[Span],
        dout: &[f32],
        op: Place,
        mut grads: Grads<'_>,
        tables: BiasGrads<'_>,
        threads: usize,
        scratch: &mut Scratch,
    ) {
        self.layer.check(spans);
        let (heads, widths) = (self.layer.heads, self.layer.widths());
        let (key, value) = (widths.key_row(), widths.value_row());
        let Scratch { packed, workers, lanes, lists } = scratch;
        ready(workers, threads);

        let lanes = deal(lanes, spans, lists);
        let queries = &mut lists.queries;
        blocks(spans, QUERIES, |s| s.q_len, queries);
        let stride = heads * QUERIES * (key + value);
        packed.size(queries.len() * stride);
        let tiles = packed.all_mut().chunks_exact_mut(stride.max(1));
        each(few(workers, queries.len()), queries.iter().zip(tiles), |_, (b, tile)| {
            let row = b.span.q + b.first;
            let (w, x) = (widths.key, widths.value);
            for (h, part) in tile.chunks_exact_mut(stride / heads).enumerate() {
                let (q, g) = part.split_at_mut(QUERIES * key);
                let from = &self.q[at(row, h, w, self.qp)..];
                rows(from, self.qp.ld, b.rows, w, self.layer.scale, QUERIES, q);
                let factor = 1.0 / self.layer.divisor;
                rows(&dout[at(row, h, x, op)..], op.ld, b.rows, x, factor, QUERIES, g);
            }
        });

        let dq_len = queries.len() * heads * QUERIES * key;
        for lane in lanes.iter_mut() {
            let position = self.layer.position.filter(|_| tables.position.is_some());
            let time = self.layer.time.filter(|_| tables.time.is_some());
            let TableGrads { position: p, time: t } = &mut lane.tables;
            p.clear();
            p.resize(position.map_or(0, |p| p.table.len()), 0.0);
            t.clear();
            t.resize(time.map_or(0, |t| t.table.len()), 0.0);
        }
        let packed = packed.all();
        each(workers, lanes.iter_mut(), |worker, lane: &mut Lane| {
            lane.dq.size(dq_len);
            lane.dq.all_mut()[..dq_len].fill(0.0);
            let stride = heads * KEYS * (key + value);
            lane.dkv.size(lane.blocks.len() * stride);
            lane.dkv.all_mut()[..lane.blocks.len() * stride].fill(0.0);
            for at in 0..lane.blocks.len() {
                self.backward_block(at, packed, lane, worker);
            }
        });

        self.collect(queries, lanes, &mut grads);
        if let Some(table) = tables.position {
            for lane in lanes.iter() {
                table.iter_mut().zip(&lane.tables.position).for_each(|(t, g)| *t += g);
            }
        }
        if let Some(table) = tables.time {
            for (i, t) in table.iter_mut().enumerate() {
                *t += lanes.iter().filter_map(|l| l.tables.time.get(i)).sum::<f64>() as f32;
            }
        }
    }

    /// All queries against block `n` of the lane's key blocks.
    fn backward_block(&self, n: usize, packed: &[f32], lane: &mut Lane, worker: &mut Worker) {
        let (layer, widths) = (self.layer, self.layer.widths());
        let (heads, key, value) = (layer.heads, widths.key_row(), widths.value_row());
        let Worker { bias, weights, dscores, block, .. } = worker;
        weights.size(AREA);
        dscores.size(AREA);
        let Lane { blocks, dq, dkv, tables } = lane;
        let b = blocks[n];
        let row = b.span.k + b.first;
        let own = KEYS * (widths.key + key + widths.value);
        block.size(heads * own);
        for (h, part) in block.all_mut().chunks_exact_mut(own).enumerate().take(heads) {
            let (k_panels, rest) = part.split_at_mut(KEYS * widths.key);
            let (k, v_panels) = rest.split_at_mut(KEYS * key);
            let from = &self.kv[at(row, h, widths.key, self.kp)..];
            panels(from, self.kp.ld, b.rows, widths.key, KEYS, k_panels);
            rows(from, self.kp.ld, b.rows, widths.key, 1.0, KEYS, k);
            let from = &self.kv[at(row, h, widths.value, self.vp)..];
            panels(from, self.vp.ld, b.rows, widths.value, KEYS, v_panels);
        }
        let (whole, per_head) = (heads * QUERIES * (key + value), QUERIES * (key + value));
        let dkv = &mut dkv.all_mut()[n * heads * KEYS * (key + value)..];
        let want_bias = !tables.position.is_empty() || !tables.time.is_empty();
        // The first query that sees the block's first key.
        let start = (b.first + b.span.q_len).saturating_sub(b.span.k_len);
        for m in start / QUERIES..b.span.q_len.div_ceil(QUERIES) {
            let first = m * QUERIES;
            let rows = QUERIES.min(b.span.q_len - first);
            let seen = seen(&b.span, first + 1, b.first, b.rows);
            let tile = Tile { query: b.span.q + first, rows, key: row, seen };
            let (bias_values, bias_grads): (&[f32], &mut [f32]) = if layer.has_bias() {
                bias.fill(&tile, layer.position, layer.time);
                let parts = bias.parts();
                (parts.values, if want_bias { parts.grads } else { &mut [] })
            } else {
                (&[], &mut [])
            };
            for h in 0..heads {
                let q = &packed[(b.base + m) * whole + h * per_head..][..per_head];
                let (q, dout) = q.split_at(QUERIES * key);
                let own = &block.all()[h * own..][..own];
                let (k_panels, rest) = own.split_at(KEYS * widths.key);
                let (k, v_panels) = rest.split_at(KEYS * key);
                let common =
                    Common { isa: self.isa, widths, seen, rows, q, k_panels, bias: bias_values };
                let dkv = &mut dkv[h * KEYS * (key + value)..][..KEYS * (key + value)];
                let (dk, dv) = dkv.split_at_mut(KEYS * key);
                let dq = &mut dq.all_mut()[((b.base + m) * heads + h) * QUERIES * key..];
                Backward {
                    common,
                    k,
                    v_panels,
                    dout,
                    weights: weights.all_mut(),
                    dscores: dscores.all_mut(),
                    dq: &mut dq[..QUERIES * key],
                    dk,
                    dv,
                    dbias: bias_grads,
                }
                .run();
            }
            if want_bias {
                bias.add_to(&tile, tables);
            }
        }
    }

    /// Adds the lanes' gradients of queries, keys and values.
    fn collect(&self, queries: &[Block], lanes: &[Lane], grads: &mut Grads<'_>) {
        let (heads, widths) = (self.layer.heads, self.layer.widths());
        let (key, value) = (widths.key_row(), widths.value_row());
        let target = match grads {
            Grads::Joint(g) => &mut **g,
            Grads::Split { dq, .. } => &mut **dq,
        };
        for (n, b) in queries.iter().enumerate() {
            for h in 0..heads {
                for r in 0..b.rows {
                    let to = at(b.span.q + b.first + r, h, widths.key, self.qp);
                    let to = &mut target[to..to + widths.key];
                    let from = ((n * heads + h) * QUERIES + r) * key;
                    for lane in lanes {
                        let from = &lane.dq.all()[from..from + widths.key];
                        to.iter_mut().zip(from).for_each(|(t, x)| *t += x * self.layer.scale);
                    }
                }
            }
        }
        let target = match grads {
            Grads::Joint(g) => &mut **g,
            Grads::Split { dkv, .. } => &mut **dkv,
        };
        let mut add = |to: usize, from: &[f32]| {
            target[to..to + from.len()].iter_mut().zip(from).for_each(|(t, x)| *t += x);
        };
        for lane in lanes {
            let all = lane.dkv.all();
            for (n, b) in lane.blocks.iter().enumerate() {
                for h in 0..heads {
                    let (dk, dv) =
                        all[(n * heads + h) * KEYS * (key + value)..].split_at(KEYS * key);
                    for r in 0..b.rows {
                        let row = b.span.k + b.first + r;
                        add(at(row, h, widths.key, self.kp), &dk[r * key..][..widths.key]);
                        add(at(row, h, widths.value, self.vp), &dv[r * value..][..widths.value]);
                    }
                }
            }
        }
    }
}

/// What the row with `count - 1` queries of its span before it sees of `keys` keys from `first`.
fn seen(span: &Span, count: usize, first: usize, keys: usize) -> Seen {
    let visible = (count + span.k_len) as isize - span.q_len as isize;
    Seen { first: visible - first as isize, keys }
}

/// Number of the first packed tile of each span.
fn first_tiles(spans: &[Span], size: usize, len: impl Fn(&Span) -> usize, out: &mut Vec<usize>) {
    let mut next = 0;
    out.clear();
    out.extend(spans.iter().map(|s| {
        let base = next;
        next += len(s).div_ceil(size);
        base
    }));
}

/// Runs of `size` rows of all spans in order; `base` is the number of the span.
fn blocks(spans: &[Span], size: usize, len: impl Fn(&Span) -> usize, out: &mut Vec<Block>) {
    out.clear();
    for (base, &span) in spans.iter().enumerate() {
        let n = len(&span);
        let block = |first| Block { span, first, rows: size.min(n - first), base };
        out.extend((0..n).step_by(size).map(block));
    }
}

/// Deals all key blocks to lanes by the queries that see them, the costliest first, each to the
/// lane with the least so far.
fn deal<'a>(lanes: &'a mut Vec<Lane>, spans: &[Span], lists: &mut Lists) -> &'a mut [Lane] {
    let pairs = spans.iter().map(|s| s.q_len * s.k_len).max().unwrap_or(0);
    let n = if pairs < LONG { 1 } else { LANES };
    lanes.resize_with(n.max(lanes.len()), Lane::default);
    let lanes = &mut lanes[..n];
    lanes.iter_mut().for_each(|l| l.blocks.clear());
    let Lists { keys, bases, load, .. } = lists;
    first_tiles(spans, QUERIES, |s| s.q_len, bases);
    blocks(spans, KEYS, |s| s.k_len, keys);
    let cost = |b: &Block| {
        let start = (b.first + b.span.q_len).saturating_sub(b.span.k_len);
        b.span.q_len.saturating_sub(start)
    };
    // Spans are told apart by their number, which `base` still holds.
    keys.sort_unstable_by_key(|b| (std::cmp::Reverse(cost(b)), b.base, b.first));
    load.clear();
    load.resize(n, 0);
    for mut b in keys.iter().copied() {
        b.base = bases[b.base];
        let least = (0..n).min_by_key(|&l| load[l]).unwrap_or(0);
        load[least] += cost(&b);
        lanes[least].blocks.push(b);
    }
    lanes
}

fn ready(workers: &mut Vec<Worker>, threads: usize) {
    workers.resize_with(threads.max(1), Worker::default);
}

/// The workers that copying `blocks` blocks is worth: a thread takes as long to start as some tens.
fn few(workers: &mut [Worker], blocks: usize) -> &mut [Worker] {
    let n = workers.len().min(1 + blocks / 64);
    &mut workers[..n]
}

/// Hands items to workers, a thread of rayon's pool each; items come in order to whoever is free.
fn each<T: Send>(
    workers: &mut [Worker],
    items: impl ExactSizeIterator<Item = T> + Send,
    work: impl Fn(&mut Worker, T) + Sync,
) {
    let busy = workers.len().min(items.len());
    if busy <= 1 {
        let Some(worker) = workers.first_mut() else { return };
        return items.for_each(|item| work(worker, item));
    }
    let queue = Mutex::new(items);
    let next = || queue.lock().unwrap_or_else(|e| e.into_inner()).next();
    let run = |worker: &mut Worker| {
        while let Some(item) = next() {
            work(worker, item);
        }
    };
    let Some((first, others)) = workers[..busy].split_first_mut() else { return };
    // Threads of the pool stay awake from phase to phase; new ones would cost up to a tick of the
    // scheduler each time.
    rayon::scope(|scope| {
        for worker in others {
            scope.spawn(|_| run(worker));
        }
        run(first);
    });
}
