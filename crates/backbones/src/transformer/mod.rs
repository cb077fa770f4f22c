//! Transformer blocks over packed rows, each with its own backward pass, shared by the backbones.
//!
//! A stack works on a residual stream of `rows x width`. Rows of different sequences lie back to
//! back; spans say which rows see which. Every sublayer is `x += dropout(f(norm(x)))`.
//!
//! Training and decoding have a pass each over the same weights: `stack` keeps what the backward
//! pass needs; `packed`, `read` and `steps` keep nothing but keys and values, work tile by tile, and
//! take weights that were packed once.

mod attention;
mod bias;
mod head;
mod keys;
mod norm;
mod packed;
mod read;
mod scratch;
mod stack;
mod steps;
mod tiles;

use attention::{CrossAttention, SelfAttention, SublayerState};
use bias::{Direction, RelativePositions};
pub(crate) use head::{Head, check_kind};
pub(crate) use keys::Keys;
use norm::Norm;
pub(crate) use norm::NormKind;
pub(crate) use packed::{Once, PackedHead, PackedStack};
pub(crate) use read::Kept;
pub(crate) use stack::{Memory, Shape, Stack, StackState};
pub(crate) use steps::{Answer, Input, Prompt, Spare, Steps};
