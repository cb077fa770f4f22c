//! Pre-norm blocks: self-attention, cross-attention where there is a memory, feed-forward, each as
//! `x += dropout(f(norm(x)))`, and a final norm. Names are those of Hugging Face's T5.

use super::grid::Grid;
use super::ops::{Buckets, Gate, Heads, Norm, linear};
use super::view::View;
use candle_core::{Result, Tensor};
use sidereal_nn::candle::Weights;
use sidereal_nn::kernels::attention::Mask;
use sidereal_nn::kernels::dropout::Dropout;

/// Sizes and conventions of a stack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) prefix: &'static str,
    pub(crate) layers: usize,
    pub(crate) heads: Heads,
    pub(crate) hidden_layers: usize,
    pub(crate) gate: Gate,
    pub(crate) norm: Norm,
    pub(crate) mask: Mask,
    /// Position buckets and the distance from which all share one.
    pub(crate) relative: Option<(usize, usize)>,
    /// First dropout site.
    pub(crate) site: u32,
}

/// Dropout sites of a block.
const SITES: u32 = 16;

/// States of another stack, and which of them each query sees.
pub(crate) struct Memory<'a> {
    pub(crate) states: &'a Tensor,
    pub(crate) view: &'a View,
}

impl Shape {
    /// The blocks of SASRec, as `dense::item_shape` has them.
    pub(crate) fn of_items(layers: usize, heads: usize, head_width: usize) -> Self {
        let scale = 1.0 / (head_width as f64).sqrt();
        Shape {
            prefix: "layers",
            layers,
            heads: Heads { count: heads, width: head_width, scale },
            hidden_layers: 1,
            gate: Gate::None,
            norm: Norm::Layer,
            mask: Mask::Causal,
            relative: None,
            site: 0,
        }
    }

    /// Runs `x`, the rows of `grid`, through the blocks.
    pub(crate) fn forward(
        &self,
        w: &Weights,
        x: Tensor,
        grid: &Grid,
        view: &View,
        memory: Option<Memory<'_>>,
        dropout: Dropout,
    ) -> Result<Tensor> {
        let device = w.device();
        let visible = view.visible(device)?;
        let bias = match self.relative {
            Some((count, max_distance)) => {
                let name = "block.0.layer.0.SelfAttention.relative_attention_bias.weight";
                let weight = w.get(&format!("{}.{name}", self.prefix))?;
                let buckets = Buckets { count, max_distance, mask: self.mask };
                Some(buckets.bias(weight, view.k_len, device)?)
            }
            None => None,
        };
        let seen = memory.as_ref().map(|m| m.view.visible(device)).transpose()?;
        let mut x = grid.drop(x, dropout, self.site)?;
        for i in 0..self.layers {
            let site = self.site + SITES * (i as u32 + 1);
            let layer = |n: usize| format!("{}.block.{i}.layer.{n}", self.prefix);
            let name = format!("{}.SelfAttention", layer(0));
            let y = self.norm.apply(w, &x, &format!("{}.layer_norm", layer(0)))?;
            let part = |n: &str| linear(w, &y, &format!("{name}.{n}"));
            let (q, k, v) = (part("q")?, part("k")?, part("v")?);
            let heads = self.heads;
            let y = heads.attend(view, &visible, &q, &k, &v, bias.as_ref(), dropout, site)?;
            let y = linear(w, &y, &format!("{name}.o"))?;
            x = (x + grid.drop(y, dropout, site + 1)?)?;
            let mut last = layer(1);
            if let (Some(memory), Some(visible)) = (&memory, &seen) {
                let name = format!("{}.EncDecAttention", layer(1));
                let y = self.norm.apply(w, &x, &format!("{}.layer_norm", layer(1)))?;
                let q = linear(w, &y, &format!("{name}.q"))?;
                let k = linear(w, memory.states, &format!("{name}.k"))?;
                let v = linear(w, memory.states, &format!("{name}.v"))?;
                let site = site + 2;
                let y = heads.attend(memory.view, visible, &q, &k, &v, None, dropout, site)?;
                let y = linear(w, &y, &format!("{name}.o"))?;
                x = (x + grid.drop(y, dropout, site + 1)?)?;
                last = layer(2);
            }
            let y = self.norm.apply(w, &x, &format!("{last}.layer_norm"))?;
            let name = format!("{last}.DenseReluDense");
            x = (x + self.feed_forward(w, y, &name, grid, dropout, site + 4)?)?;
        }
        let x = self.norm.apply(w, &x, &format!("{}.final_layer_norm", self.prefix))?;
        grid.drop(x, dropout, self.site + 1)
    }

    fn feed_forward(
        &self,
        w: &Weights,
        y: Tensor,
        name: &str,
        grid: &Grid,
        dropout: Dropout,
        site: u32,
    ) -> Result<Tensor> {
        let half = |i: usize| linear(w, &y, &format!("{name}.wi_{i}"));
        let hidden = match self.gate {
            Gate::None => {
                let mut hidden = linear(w, &y, &format!("{name}.wi"))?.relu()?;
                for i in 1..self.hidden_layers {
                    hidden = linear(w, &hidden, &format!("{name}.wm.{}", i - 1))?.relu()?;
                }
                hidden
            }
            // Candle's `gelu` is the one by tanh.
            Gate::Gelu => (half(0)?.gelu()? * half(1)?)?,
            Gate::Silu => (half(0)?.silu()? * half(1)?)?,
        };
        let y = grid.drop(hidden, dropout, site)?;
        grid.drop(linear(w, &y, &format!("{name}.wo"))?, dropout, site + 8)
    }
}
