//! Transformer blocks over packed rows, each with its own backward pass, shared by the backbones.
//!
//! A stack works on a residual stream of `rows x width`. Rows of different sequences lie back to
//! back; spans say which rows see which. Every sublayer is `x += dropout(f(norm(x)))`.

mod attention;
mod bias;
mod decode;
mod head;
mod norm;
mod stack;
mod steps;

use attention::{CrossAttention, SelfAttention, SublayerState};
use bias::{Direction, RelativePositions};
use decode::{Chains, DecodeScratch, Prompt, decode_attention};
pub(crate) use head::{Head, check_kind};
use norm::Norm;
pub(crate) use norm::NormKind;
pub(crate) use stack::{Memory, MemoryCache, Shape, Stack, StackState, StepCache};
pub(crate) use steps::Steps;
