//! Stacks and heads of a model that decodes: weights packed once, until they change.

use super::{Head, Norm, RelativePositions, Shape, Stack};
use sidereal_nn::layers::{PackedFeedForward, PackedLinear};
use std::sync::OnceLock;

/// Made from a model's weights when it is first needed. The owner clears it whenever the weights
/// can have changed; a copy of the model starts without.
pub(crate) struct Once<T>(OnceLock<T>);

impl<T> Once<T> {
    pub(crate) fn get(&self, make: impl FnOnce() -> T) -> &T {
        self.0.get_or_init(make)
    }

    pub(crate) fn clear(&mut self) {
        self.0.take();
    }
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Once(OnceLock::new())
    }
}

impl<T> Clone for Once<T> {
    fn clone(&self) -> Self {
        Once::default()
    }
}

impl<T> std::fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.get().is_some() { "Once(made)" } else { "Once(empty)" })
    }
}

/// A block with packed weights. Keys and values apart from queries: they go to a cache.
pub(crate) struct PackedBlock {
    pub(crate) norm: Norm,
    pub(crate) q: PackedLinear,
    pub(crate) kv: PackedLinear,
    pub(crate) out: PackedLinear,
    pub(crate) cross: Option<PackedCross>,
    pub(crate) ff_norm: Norm,
    pub(crate) feed_forward: PackedFeedForward,
}

/// Cross-attention with packed weights.
pub(crate) struct PackedCross {
    pub(crate) norm: Norm,
    pub(crate) q: PackedLinear,
    pub(crate) kv: PackedLinear,
    pub(crate) out: PackedLinear,
}

/// A stack with packed weights; norms and biases stay where they are.
pub(crate) struct PackedStack {
    pub(crate) shape: Shape,
    pub(crate) blocks: Vec<PackedBlock>,
    pub(crate) positions: Option<RelativePositions>,
    pub(crate) final_norm: Norm,
}

impl PackedStack {
    /// Heads times head width.
    pub(crate) fn inner(&self) -> usize {
        self.shape.heads * self.shape.head_width
    }
}

impl Stack {
    /// The stack with packed weights.
    pub(crate) fn pack(&self, w: &[f32]) -> PackedStack {
        let block = |b: &super::stack::Block| {
            let a = &b.attention;
            PackedBlock {
                norm: a.norm.clone(),
                q: a.qkv.pack_outputs(w, 0..a.inner),
                kv: a.qkv.pack_outputs(w, a.inner..3 * a.inner),
                out: a.out.pack(w),
                cross: b.cross.as_ref().map(|c| PackedCross {
                    norm: c.norm.clone(),
                    q: c.q.pack(w),
                    kv: c.kv.pack(w),
                    out: c.out.pack(w),
                }),
                ff_norm: b.norm.clone(),
                feed_forward: b.feed_forward.pack(w),
            }
        };
        PackedStack {
            shape: self.shape.clone(),
            blocks: self.blocks.iter().map(block).collect(),
            positions: self.positions.clone(),
            final_norm: self.final_norm.clone(),
        }
    }
}

/// A head with packed matrices. Columns of a matrix are its rows in their own order, whatever the
/// level.
pub(crate) struct PackedHead {
    pub(crate) levels: Vec<PackedLevel>,
    pub(crate) scale: f32,
    pub(crate) width: usize,
    matrices: Vec<PackedLinear>,
}

/// A level of a [`PackedHead`].
pub(crate) struct PackedLevel {
    matrix: usize,
    /// First value of the matrix among the parameters.
    pub(crate) offset: usize,
    /// Columns in the order of [`Head::scores`]: the level's own codes first.
    pub(crate) pieces: Vec<std::ops::Range<usize>>,
    pub(crate) cols: usize,
}

impl PackedLevel {
    /// Column of a code of the level; tokens of other levels are none.
    pub(crate) fn column(&self, code: u32) -> Option<usize> {
        let own = self.pieces.first()?;
        (own.start + code as usize..own.end).next()
    }
}

impl PackedHead {
    /// Scores of all columns of a level.
    pub(crate) fn matrix(&self, level: usize) -> &PackedLinear {
        &self.matrices[self.levels[level].matrix]
    }
}

impl Head {
    /// The head with packed matrices.
    pub(crate) fn pack(&self, w: &[f32]) -> PackedHead {
        let (mut matrices, mut slots) = (Vec::new(), Vec::new());
        let mut levels = Vec::with_capacity(self.levels.len());
        for level in &self.levels {
            // Levels that share a matrix share the packed one.
            let known = slots.iter().position(|s| *s == level.slot);
            let matrix = known.unwrap_or(slots.len());
            if known.is_none() {
                slots.push(level.slot);
                matrices.push(PackedLinear::new(level.slot.of(w), self.width));
            }
            levels.push(PackedLevel {
                matrix,
                offset: level.slot.offset,
                pieces: level.pieces.clone(),
                cols: level.cols,
            });
        }
        PackedHead { levels, scale: self.scale, width: self.width, matrices }
    }
}
