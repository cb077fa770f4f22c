//! Decoding sessions: what is kept from step to step, and the steps.
//!
//! A row of a step depends on its own past and its request's prompt only. So a step is cut into
//! tiles of rows, and a tile goes through all layers and the head at once, on one thread, with
//! activations that stay in its cache; many tiles keep many threads busy, also of a single request.

use super::scratch::{Scratch, with_tile};
use super::tiles::{cut, tiles};
use super::{Keys, PackedHead, PackedStack};
use sidereal_decoding::{CodeScores, Normalize, Row, Wanted};
use sidereal_nn::kernels::decoding::{
    Chain, chain_mix, chain_scores, chain_softmax, log_sum_exp, softmax_rows,
};
use sidereal_nn::kernels::gemm::{Mat, Write, gemm_packed};
use sidereal_nn::kernels::math::{dot, size};
use sidereal_nn::parallel;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Rows of a tile where there are many rows, and where there are few.
const TILE_ROWS: usize = 104;
const SMALL_TILE_ROWS: usize = 32;
/// Below this many rows there are few.
const MANY_ROWS: usize = 128;
/// Scoring a code by itself takes as long as this many columns of a product.
const ALONE: usize = 8;
/// A session that held more than this many bytes gives them back when it ends.
const SPARE_BYTES: usize = 128 << 20;

/// What a session keeps.
#[derive(Default)]
pub(crate) struct Steps {
    /// Keys and values of the prompts.
    pub(crate) keys: Keys,
    /// Rows of the prompts, `tokens x width`.
    pub(crate) prompt: Vec<f32>,
    /// Table rows of the prompts, or of the codes of this step.
    pub(crate) ids: Vec<u32>,
    /// Keys and values of generated codes, step by step: `rows x layers x 2 inner`.
    past: Vec<Vec<f32>>,
    /// For each row, its row in every step so far: `rows x steps`.
    chain: Vec<u32>,
    next_chain: Vec<u32>,
    /// Biases of the steps, `steps x heads`, or by distance where a prompt is attended to.
    bias: Vec<f32>,
    parts: Vec<Range<usize>>,
}

/// Sessions that have ended, for those to come.
#[derive(Default)]
pub(crate) struct Spare(Mutex<Vec<Steps>>);

impl Spare {
    /// What an earlier session left, or something new.
    pub(crate) fn take(&self) -> Steps {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Keeps `steps` unless it is large.
    pub(crate) fn put(&self, steps: Steps) {
        let past: usize = steps.past.iter().map(|p| p.capacity() * 4).sum();
        if past + steps.keys.bytes() <= SPARE_BYTES {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(steps);
        }
    }
}

/// What enters a step: row `i` is row `ids[i]` of the table, plus row `at[i]` of the positions.
pub(crate) struct Input<'a> {
    pub(crate) table: &'a [f32],
    pub(crate) positions: Option<&'a [f32]>,
    /// Position of each row; empty without positions.
    pub(crate) at: &'a [u32],
}

/// Which prompts rows attend to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prompt {
    /// Self-attention reads the prompt before the generated codes.
    Own,
    /// Cross-attention reads it.
    Cross,
}

/// What a decoder wants to know.
pub(crate) enum Answer<'a> {
    /// All logits, in the order of the level's columns.
    Logits(&'a mut Vec<f32>),
    /// Some logits and, by [`Normalize`], the normaliser of each row.
    Chosen(&'a Wanted, Normalize, &'a mut CodeScores),
}

/// The answers of one tile.
enum Part<'a> {
    Logits(&'a mut [f32]),
    Chosen(&'a Wanted, &'a mut [f32], &'a mut [f64]),
}

/// The rows of one tile.
struct Tile<'a> {
    rows: Range<usize>,
    /// Their keys and values.
    own: &'a mut [f32],
    answer: Part<'a>,
}

/// One step of one session.
struct Step<'a> {
    w: &'a [f32],
    stack: &'a PackedStack,
    head: &'a PackedHead,
    level: usize,
    rows: &'a [Row],
    input: Input<'a>,
    prompt: Prompt,
    ids: &'a [u32],
    keys: &'a Keys,
    past: &'a [Vec<f32>],
    chain: &'a [u32],
    bias: &'a [f32],
    /// Codes of a chain, this one included.
    steps: usize,
}

impl Steps {
    /// Cuts `rows` into tiles of whole requests, where these are not too long.
    fn cut(&mut self, rows: &[Row]) {
        let cap = if rows.len() < MANY_ROWS { SMALL_TILE_ROWS } else { TILE_ROWS };
        let mut start = 0;
        let groups = rows.chunk_by(|a, b| a.request == b.request).map(|group| {
            start += group.len();
            start - group.len()..start
        });
        tiles(groups, cap, &mut self.parts);
    }

    /// Step `step` (from 0) for `rows`, whose table rows are in `self.ids`, and the scores of
    /// `level`. Step 0 starts the session again.
    pub(crate) fn step(
        &mut self,
        w: &[f32],
        stack: &PackedStack,
        head: &PackedHead,
        level: usize,
        step: usize,
        rows: &[Row],
        input: Input<'_>,
        prompt: Prompt,
        answer: Answer<'_>,
    ) {
        self.next_chain.clear();
        for (r, row) in rows.iter().enumerate() {
            let parent = row.parent as usize * step;
            if step > 0 {
                self.next_chain.extend_from_slice(&self.chain[parent..parent + step]);
            }
            self.next_chain.push(r as u32);
        }
        std::mem::swap(&mut self.chain, &mut self.next_chain);
        self.cut(rows);
        let ld = stack.blocks.len() * 2 * stack.inner();
        while self.past.len() <= step {
            self.past.push(Vec::new());
        }
        // The longest prompt decides how far the biases reach.
        self.bias.clear();
        if let Some(p) = &stack.positions {
            let own = (0..self.keys.requests()).map(|r| self.keys.len(r)).max().unwrap_or(0);
            let reach = step + 1 + if prompt == Prompt::Own { own } else { 0 };
            p.table(w, reach, &mut self.bias);
        }
        let (past, now) = self.past.split_at_mut(step);
        let Some(now) = now.first_mut() else { return };
        size(now, rows.len() * ld);
        let step = Step {
            w,
            stack,
            head,
            level,
            rows,
            input,
            prompt,
            ids: &self.ids,
            keys: &self.keys,
            past,
            chain: &self.chain,
            bias: &self.bias,
            steps: step + 1,
        };
        let own = cut(now, &self.parts, ld);
        let mut work: Vec<Tile<'_>> = answers(answer, &self.parts, head.levels[level].cols)
            .zip(own)
            .zip(&self.parts)
            .map(|((answer, own), rows)| Tile { rows: rows.clone(), own, answer })
            .collect();
        parallel::each(&mut work, &|tile| with_tile(|s| step.run(tile, s)));
    }

    /// Scores of hidden states that are there already, one a row: `rows x width`.
    pub(crate) fn score(
        &mut self,
        w: &[f32],
        head: &PackedHead,
        level: usize,
        rows: &[Row],
        hidden: &[f32],
        answer: Answer<'_>,
    ) {
        self.cut(rows);
        let mut work: Vec<(Range<usize>, Part<'_>)> =
            answers(answer, &self.parts, head.levels[level].cols)
                .zip(&self.parts)
                .map(|(answer, rows)| (rows.clone(), answer))
                .collect();
        parallel::each(&mut work, &|(rows, answer)| {
            with_tile(|s| {
                s.normed.clear();
                s.normed.extend_from_slice(&hidden[rows.start * head.width..rows.end * head.width]);
                head.answer(w, level, rows.clone(), answer, s);
            });
        });
    }
}

/// Makes room for the answers and cuts them at `parts`.
fn answers<'a>(
    answer: Answer<'a>,
    parts: &'a [Range<usize>],
    cols: usize,
) -> Box<dyn Iterator<Item = Part<'a>> + 'a> {
    let rows = parts.last().map_or(0, |p| p.end);
    match answer {
        Answer::Logits(out) => {
            size(out, rows * cols);
            Box::new(cut(out, parts, cols).map(Part::Logits))
        }
        Answer::Chosen(wanted, normalize, scores) => {
            let each = usize::from(normalize == Normalize::Full);
            size(&mut scores.logits, wanted.len());
            scores.normalizers.resize(rows * each, 0.0);
            let mut rest = &mut scores.logits[..];
            let normalizers = cut(&mut scores.normalizers, parts, each);
            Box::new(parts.iter().zip(normalizers).map(move |(part, normalizers)| {
                let n = wanted.start(part.end) - wanted.start(part.start);
                let (logits, after) = std::mem::take(&mut rest).split_at_mut(n);
                rest = after;
                Part::Chosen(wanted, logits, normalizers)
            }))
        }
    }
}

impl Step<'_> {
    fn run(&self, tile: &mut Tile<'_>, s: &mut Scratch) {
        let (d, n, inner) = (self.stack.shape.width, tile.rows.len(), self.stack.inner());
        let ld = self.stack.blocks.len() * 2 * inner;
        let mut x = std::mem::take(&mut s.x);
        size(&mut x, n * d);
        for (r, x) in tile.rows.clone().zip(x.chunks_exact_mut(d)) {
            let id = self.ids[r] as usize;
            x.copy_from_slice(&self.input.table[id * d..(id + 1) * d]);
            if let Some(positions) = self.input.positions {
                let at = self.input.at[r] as usize;
                x.iter_mut().zip(&positions[at * d..(at + 1) * d]).for_each(|(x, p)| *x += p);
            }
        }
        for (layer, block) in self.stack.blocks.iter().enumerate() {
            block.norm.forward(self.w, &x, &mut s.normed, &mut s.stats);
            size(&mut s.q, n * inner);
            block.q.forward(&s.normed, n, &mut s.q, inner, Write::Set);
            block.kv.forward(&s.normed, n, &mut tile.own[layer * 2 * inner..], ld, Write::Set);
            self.attend(layer, tile, s);
            block.out.forward(&s.attended, n, &mut x, d, Write::Add);
            if let Some(cross) = &block.cross {
                cross.norm.forward(self.w, &x, &mut s.normed, &mut s.stats);
                cross.q.forward(&s.normed, n, &mut s.q, inner, Write::Set);
                self.attend_across(layer, tile, s);
                cross.out.forward(&s.attended, n, &mut x, d, Write::Add);
            }
            block.ff_norm.forward(self.w, &x, &mut s.normed, &mut s.stats);
            block.feed_forward.add(&s.normed, n, &mut s.feed_forward, &mut x);
        }
        self.stack.final_norm.forward(self.w, &x, &mut s.normed, &mut s.stats);
        s.x = x;
        self.head.answer(self.w, self.level, tile.rows.clone(), &mut tile.answer, s);
    }

    /// Rows of a tile that share a request, as places in the tile.
    fn pieces(&self, rows: &Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
        let mut start = 0;
        self.rows[rows.clone()].chunk_by(|a, b| a.request == b.request).map(move |group| {
            start += group.len();
            (group[0].request as usize, start - group.len()..start)
        })
    }

    /// Bias of head `h` by distance: `count` distances up to the row's own place.
    fn bias_of(&self, h: usize, count: usize) -> &[f32] {
        if self.bias.is_empty() {
            return &[];
        }
        let columns = self.bias.len() / self.stack.shape.heads;
        let end = h * columns + columns / 2 + 1;
        &self.bias[end - count..end]
    }

    /// Self-attention: the prompt where it is the stack's own, then the generated codes.
    fn attend(&self, layer: usize, tile: &Tile<'_>, s: &mut Scratch) {
        let shape = &self.stack.shape;
        let (heads, width, n, inner) =
            (shape.heads, shape.head_width, tile.rows.len(), self.stack.inner());
        let chain = Chain {
            heads,
            width,
            steps: self.steps,
            past: self.past,
            own: tile.own,
            ld: self.stack.blocks.len() * 2 * inner,
            key: layer * 2 * inner,
            value: layer * 2 * inner + inner,
            rows: &self.chain[tile.rows.start * self.steps..tile.rows.end * self.steps],
        };
        size(&mut s.attended, n * inner);
        size(&mut s.chain, self.steps * n * heads);
        chain_scores(&chain, &s.q, &mut s.chain);
        if self.prompt == Prompt::Cross {
            size(&mut s.top, n * heads);
            let mut bias = [0f32; 64];
            let mut many = Vec::new();
            let bias = match self.steps * heads {
                _ if self.bias.is_empty() => &mut bias[..0],
                few if few <= bias.len() => &mut bias[..few],
                more => {
                    many.resize(more, 0.0);
                    &mut many[..]
                }
            };
            for h in 0..heads {
                for (l, b) in self.bias_of(h, self.steps).iter().enumerate() {
                    bias[l * heads + h] = *b;
                }
            }
            chain_softmax(&mut s.chain, shape.scale, bias, heads, &mut s.top);
            return chain_mix(&chain, &s.chain, &mut s.attended, Write::Set);
        }
        for (request, piece) in self.pieces(&tile.rows) {
            let (len, m) = (self.keys.len(request), piece.len());
            let cols = len + self.steps;
            size(&mut s.weights, m * cols);
            for h in 0..heads {
                let prompt = self.keys.head(request, layer, h);
                let q = Mat::rows(&s.q[piece.start * inner + h * width..], inner);
                gemm_packed(m, q, prompt.keys, &mut s.weights, cols, Write::Set);
                // The chain's scores move between the prompt's, and their weights back.
                let place = |i: usize, l: usize| (l * n + piece.start + i) * heads + h;
                for (i, row) in s.weights.chunks_exact_mut(cols).enumerate() {
                    let own = row[len..].iter_mut().enumerate();
                    own.for_each(|(l, x)| *x = s.chain[place(i, l)]);
                }
                softmax_rows(&mut s.weights, cols, shape.scale, self.bias_of(h, cols));
                for (i, row) in s.weights.chunks_exact(cols).enumerate() {
                    let own = row[len..].iter().enumerate();
                    own.for_each(|(l, x)| s.chain[place(i, l)] = *x);
                }
                let out = &mut s.attended[piece.start * inner + h * width..];
                gemm_packed(m, Mat::rows(&s.weights, cols), prompt.values, out, inner, Write::Set);
            }
        }
        chain_mix(&chain, &s.chain, &mut s.attended, Write::Add);
    }

    /// Cross-attention to the prompts; rows whose prompt is empty get zeros.
    fn attend_across(&self, layer: usize, tile: &Tile<'_>, s: &mut Scratch) {
        let shape = &self.stack.shape;
        let (width, inner) = (shape.head_width, self.stack.inner());
        for (request, piece) in self.pieces(&tile.rows) {
            let (len, m) = (self.keys.len(request), piece.len());
            if len == 0 {
                s.attended[piece.start * inner..piece.end * inner].fill(0.0);
                continue;
            }
            size(&mut s.weights, m * len);
            for h in 0..shape.heads {
                let prompt = self.keys.head(request, layer, h);
                let at = piece.start * inner + h * width;
                gemm_packed(
                    m,
                    Mat::rows(&s.q[at..], inner),
                    prompt.keys,
                    &mut s.weights,
                    len,
                    Write::Set,
                );
                softmax_rows(&mut s.weights, len, shape.scale, &[]);
                let weights = Mat::rows(&s.weights, len);
                gemm_packed(m, weights, prompt.values, &mut s.attended[at..], inner, Write::Set);
            }
        }
    }
}

impl PackedHead {
    /// Scores of the hidden states in `s.normed`, which are those of `rows`.
    fn answer(
        &self,
        w: &[f32],
        level: usize,
        rows: Range<usize>,
        answer: &mut Part<'_>,
        s: &mut Scratch,
    ) {
        let (matrix, l, n) = (self.matrix(level), &self.levels[level], rows.len());
        if self.scale != 1.0 {
            s.normed.iter_mut().for_each(|x| *x *= self.scale);
        }
        match answer {
            Part::Logits(out) => {
                if l.pieces.len() == 1 {
                    return matrix.forward(&s.normed, n, out, l.cols, Write::Set);
                }
                size(&mut s.logits, n * l.cols);
                matrix.forward(&s.normed, n, &mut s.logits, l.cols, Write::Set);
                // The level's own codes come first.
                let rows = out.chunks_exact_mut(l.cols).zip(s.logits.chunks_exact(l.cols));
                for (out, logits) in rows {
                    let mut at = 0;
                    for piece in &l.pieces {
                        out[at..at + piece.len()].copy_from_slice(&logits[piece.clone()]);
                        at += piece.len();
                    }
                }
            }
            Part::Chosen(wanted, out, normalizers) => {
                if normalizers.is_empty() && out.len() * ALONE < n * l.cols {
                    let mut out = out.iter_mut();
                    for (r, x) in rows.zip(s.normed.chunks_exact(self.width)) {
                        for (&code, out) in wanted.row(r).iter().zip(&mut out) {
                            *out = l.column(code).map_or(f32::NEG_INFINITY, |column| {
                                dot(x, &w[l.offset + column * self.width..][..self.width])
                            });
                        }
                    }
                    return;
                }
                size(&mut s.logits, n * l.cols);
                matrix.forward(&s.normed, n, &mut s.logits, l.cols, Write::Set);
                let mut out = out.iter_mut();
                for (r, logits) in rows.zip(s.logits.chunks_exact(l.cols)) {
                    for (&code, out) in wanted.row(r).iter().zip(&mut out) {
                        *out = l.column(code).map_or(f32::NEG_INFINITY, |column| logits[column]);
                    }
                }
                for (norm, logits) in normalizers.iter_mut().zip(s.logits.chunks_exact(l.cols)) {
                    *norm = log_sum_exp(logits);
                }
            }
        }
    }
}
