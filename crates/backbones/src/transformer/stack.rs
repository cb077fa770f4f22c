//! A stack of pre-norm blocks: self-attention, optional cross-attention, feed-forward, and a final
//! norm.

use super::attention::{Buffers, drop_in_place};
use super::{
    CrossAttention, Direction, Norm, NormKind, RelativePositions, SelfAttention, SublayerState,
};
use sidereal_nn::Params;
use sidereal_nn::kernels::attention::{Attention, Mask, RelativeBias, Span};
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::gemm::Write;
use sidereal_nn::kernels::math::size;
use sidereal_nn::layers::{FeedForward, FeedForwardShape, FeedForwardState};

/// Sizes and conventions of a stack.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) layers: usize,
    /// Width of the residual stream.
    pub(crate) width: usize,
    pub(crate) heads: usize,
    /// Width of a head.
    pub(crate) head_width: usize,
    pub(crate) feed_forward: FeedForwardShape,
    pub(crate) norm: NormKind,
    /// Factor on attention scores.
    pub(crate) scale: f32,
    pub(crate) mask: Mask,
    /// T5 position buckets and maximum distance.
    pub(crate) relative: Option<(usize, usize)>,
    /// Whether blocks attend to a memory.
    pub(crate) cross: bool,
}

/// One block.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) attention: SelfAttention,
    pub(super) cross: Option<CrossAttention>,
    pub(super) norm: Norm,
    pub(super) feed_forward: FeedForward,
}

/// A stack with its weights' places.
#[derive(Debug, Clone)]
pub(crate) struct Stack {
    pub(crate) shape: Shape,
    pub(super) blocks: Vec<Block>,
    pub(super) positions: Option<RelativePositions>,
    pub(super) final_norm: Norm,
    /// First dropout site; stacks of one model must not overlap.
    site: u32,
}

/// What one block keeps between forward and backward.
#[derive(Default)]
struct BlockState {
    attention: SublayerState,
    cross: SublayerState,
    /// Input of the feed-forward sublayer, its norm, statistics and hidden activations.
    x: Vec<f32>,
    normed: Vec<f32>,
    stats: Vec<f32>,
    hidden: FeedForwardState,
}

/// Activations of a stack, and work space; reused from batch to batch.
#[derive(Default)]
pub(crate) struct StackState {
    blocks: Vec<BlockState>,
    buffers: Buffers,
    bias: Vec<f32>,
    dbias: Vec<f32>,
    reach: usize,
    /// Residual stream; after forward, the input of the final norm.
    pub(crate) x: Vec<f32>,
    stats: Vec<f32>,
    /// Final output, `rows x width`.
    pub(crate) output: Vec<f32>,
    /// Gradient of the residual stream; after backward, that of the input.
    pub(crate) dx: Vec<f32>,
}

/// Encoder states that decoder rows attend to.
#[derive(Clone, Copy)]
pub(crate) struct Memory<'a> {
    pub(crate) states: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) spans: &'a [Span],
}

/// The gradient of a memory.
pub(crate) type MemoryGrad<'a> = Option<&'a mut [f32]>;

/// Sites per block: self-attention 2, cross-attention 2, feed-forward up to 8.
const SITES: u32 = 16;

impl Stack {
    /// Adds the weights of a stack named `prefix`, with the names of Hugging Face's T5.
    pub(crate) fn new(params: &mut Params, prefix: &str, shape: Shape, site: u32) -> Self {
        let inner = shape.heads * shape.head_width;
        let mut positions = None;
        let mut blocks = Vec::with_capacity(shape.layers);
        for i in 0..shape.layers {
            let layer = |n: usize| format!("{prefix}.block.{i}.layer.{n}");
            let attention = SelfAttention::new(params, &layer(0), shape.norm, shape.width, inner);
            if i == 0 {
                positions = shape.relative.map(|(buckets, max_distance)| {
                    let name = format!("{}.SelfAttention.relative_attention_bias.weight", layer(0));
                    let direction = match shape.mask {
                        Mask::Full => Direction::Both,
                        Mask::Causal => Direction::Past,
                    };
                    RelativePositions::new(
                        params,
                        &name,
                        shape.heads,
                        buckets,
                        max_distance,
                        direction,
                    )
                });
            }
            let cross = shape
                .cross
                .then(|| CrossAttention::new(params, &layer(1), shape.norm, shape.width, inner));
            let last = layer(if shape.cross { 2 } else { 1 });
            let norm = Norm::new(shape.norm, params, &format!("{last}.layer_norm"), shape.width);
            let name = format!("{last}.DenseReluDense");
            let feed_forward = FeedForward::new(params, &name, shape.width, shape.feed_forward);
            blocks.push(Block { attention, cross, norm, feed_forward });
        }
        let name = format!("{prefix}.final_layer_norm");
        let final_norm = Norm::new(shape.norm, params, &name, shape.width);
        Stack { shape, blocks, positions, final_norm, site }
    }

    fn core<'a>(
        &self,
        layer: usize,
        dropout: Dropout,
        bias: Option<RelativeBias<'a>>,
    ) -> Attention<'a> {
        Attention {
            heads: self.shape.heads,
            width: self.shape.head_width,
            scale: self.shape.scale,
            mask: match self.shape.mask {
                Mask::Full => Mask::Full,
                Mask::Causal => Mask::Causal,
            },
            bias,
            dropout,
            site: self.site + SITES * (layer as u32 + 1),
        }
    }

    fn cross_core(&self, layer: usize, dropout: Dropout) -> Attention<'static> {
        Attention {
            heads: self.shape.heads,
            width: self.shape.head_width,
            scale: self.shape.scale,
            mask: Mask::Full,
            bias: None,
            dropout,
            site: self.site + SITES * (layer as u32 + 1) + 2,
        }
    }

    fn bias_table(&self, w: &[f32], spans: &[Span], state: &mut StackState) {
        state.reach = spans.iter().map(|s| s.k_len).max().unwrap_or(0);
        if let Some(p) = &self.positions {
            p.table(w, state.reach, &mut state.bias);
        }
    }

    fn bias_of<'a>(&self, bias: &'a [f32], reach: usize) -> Option<RelativeBias<'a>> {
        self.positions.as_ref().map(|_| RelativeBias { table: bias, reach })
    }

    /// Runs `state.x` (`rows x width`, set by the caller) through the stack into `state.output`.
    pub(crate) fn forward(
        &self,
        w: &[f32],
        rows: usize,
        spans: &[Span],
        memory: Option<Memory<'_>>,
        dropout: Dropout,
        state: &mut StackState,
    ) {
        self.bias_table(w, spans, state);
        let StackState { blocks, buffers, bias, reach, x, stats, output, .. } = state;
        blocks.resize_with(self.blocks.len(), BlockState::default);
        drop_in_place(dropout, self.site, x);
        for (i, (block, s)) in self.blocks.iter().zip(blocks.iter_mut()).enumerate() {
            let core = self.core(i, dropout, self.bias_of(bias, *reach));
            block.attention.forward(w, x, rows, &core, spans, &mut s.attention, buffers);
            if let (Some(cross), Some(m)) = (&block.cross, memory) {
                let core = self.cross_core(i, dropout);
                cross.forward(w, x, rows, m.states, m.rows, &core, m.spans, &mut s.cross, buffers);
            }
            self.feed_forward(i, w, x, rows, dropout, s, buffers);
        }
        self.final_norm.forward(w, x, output, stats);
        drop_in_place(dropout, self.site + 1, output);
    }

    fn feed_forward(
        &self,
        i: usize,
        w: &[f32],
        x: &mut [f32],
        rows: usize,
        dropout: Dropout,
        s: &mut BlockState,
        buffers: &mut Buffers,
    ) {
        let block = &self.blocks[i];
        let site = self.site + SITES * (i as u32 + 1) + 4;
        s.x.clear();
        s.x.extend_from_slice(x);
        block.norm.forward(w, &s.x, &mut s.normed, &mut s.stats);
        size(&mut buffers.out, x.len());
        block.feed_forward.forward(
            w,
            &s.normed,
            rows,
            dropout,
            site,
            &mut s.hidden,
            &mut buffers.out,
        );
        dropout.add_to(site + 8, &buffers.out, x);
    }

    /// Takes the gradient of the output in `d_output` (overwritten), leaves that of the input in
    /// `state.dx`, and adds the memory's gradient to `d_memory`.
    pub(crate) fn backward(
        &self,
        w: &[f32],
        rows: usize,
        spans: &[Span],
        memory: Option<Memory<'_>>,
        mut d_memory: MemoryGrad<'_>,
        dropout: Dropout,
        d_output: &mut [f32],
        state: &mut StackState,
        grads: &mut [f32],
    ) {
        let StackState { blocks, buffers, bias, dbias, reach, x, stats, dx, .. } = state;
        drop_in_place(dropout, self.site + 1, d_output);
        size(dx, d_output.len());
        self.final_norm.backward(w, x, stats, d_output, dx, Write::Set, grads);
        dbias.clear();
        dbias.resize(bias.len(), 0.0);
        for (i, (block, s)) in self.blocks.iter().zip(blocks.iter_mut()).enumerate().rev() {
            let site = self.site + SITES * (i as u32 + 1) + 4;
            size(&mut buffers.out, dx.len());
            size(&mut buffers.d_normed, dx.len());
            dropout.apply_to(site + 8, dx, &mut buffers.out);
            block.feed_forward.backward(
                w,
                &s.normed,
                &buffers.out,
                rows,
                dropout,
                site,
                &mut s.hidden,
                &mut buffers.d_normed,
                grads,
            );
            block.norm.backward(w, &s.x, &s.stats, &buffers.d_normed, dx, Write::Add, grads);
            if let (Some(cross), Some(m), Some(dm)) =
                (&block.cross, memory, d_memory.as_deref_mut())
            {
                let core = self.cross_core(i, dropout);
                cross.backward(
                    w, dx, rows, m.states, m.rows, dm, &core, m.spans, &s.cross, buffers, grads,
                );
            }
            let core = self.core(i, dropout, self.bias_of(bias, *reach));
            let db = self.positions.as_ref().map(|_| &mut dbias[..]);
            block.attention.backward(w, dx, rows, &core, spans, db, &s.attention, buffers, grads);
        }
        if let Some(p) = &self.positions {
            p.backward(dbias, *reach, grads);
        }
        drop_in_place(dropout, self.site, dx);
    }
}
