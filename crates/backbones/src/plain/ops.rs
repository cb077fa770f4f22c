//! The parts of a block in candle operations. Rows are `groups * len x width`.

use super::grid::masked;
use super::view::View;
use candle_core::{D, Device, Result, Tensor};
use sidereal_nn::candle::Weights;
use sidereal_nn::kernels::dropout::Dropout;

/// Which normalisation a stack uses; weights are `{name}.weight` and `{name}.bias`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Norm {
    /// `x / rms(x) * w`, epsilon 1e-6.
    Rms,
    /// `(x - mean) / std * w + b`, epsilon 1e-8.
    Layer,
}

impl Norm {
    pub(crate) fn apply(self, weights: &Weights, x: &Tensor, name: &str) -> Result<Tensor> {
        let weight = weights.get(&format!("{name}.weight"))?;
        let scaled = |x: &Tensor, eps: f64| -> Result<Tensor> {
            let square = x.sqr()?.mean_keepdim(D::Minus1)?;
            x.broadcast_div(&(square + eps)?.sqrt()?)?.broadcast_mul(weight)
        };
        match self {
            Norm::Rms => scaled(x, 1e-6),
            Norm::Layer => {
                let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
                scaled(&centred, 1e-8)?.broadcast_add(weights.get(&format!("{name}.bias"))?)
            }
        }
    }
}

/// `x W^T`, plus `b` where the layer has one.
pub(crate) fn linear(weights: &Weights, x: &Tensor, name: &str) -> Result<Tensor> {
    let y = x.matmul(&weights.get(&format!("{name}.weight"))?.t()?)?;
    match weights.find(&format!("{name}.bias")) {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

/// What multiplies the hidden layer of a gated feed-forward; options spell the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    None,
    Gelu,
    Silu,
}

impl Gate {
    /// Other names were refused when the parameters were made.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "gelu" => Gate::Gelu,
            "silu" => Gate::Silu,
            _ => Gate::None,
        }
    }
}

/// Softmax of each row.
pub(crate) fn softmax(x: &Tensor) -> Result<Tensor> {
    // What is subtracted changes no result, so no gradient flows through it.
    let e = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?.exp()?;
    e.broadcast_div(&e.sum_keepdim(D::Minus1)?)
}

/// Heads of a stack and the factor on its scores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) count: usize,
    pub(crate) width: usize,
    pub(crate) scale: f64,
}

impl Heads {
    /// `groups * len x inner` to `groups x heads x len x width`.
    fn split(self, x: &Tensor, groups: usize, len: usize) -> Result<Tensor> {
        x.reshape((groups, len, self.count, self.width))?.transpose(1, 2)?.contiguous()
    }

    /// Attended values, `groups * q_len x inner`. `bias` is added to scores and broadcasts.
    pub(crate) fn attend(
        self,
        view: &View,
        visible: &Tensor,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        bias: Option<&Tensor>,
        dropout: Dropout,
        site: u32,
    ) -> Result<Tensor> {
        let q = self.split(q, view.groups, view.q_len)?;
        let k = self.split(k, view.groups, view.k_len)?;
        let v = self.split(v, view.groups, view.k_len)?;
        let mut scores = q.matmul(&k.t()?)?;
        if self.scale != 1.0 {
            scores = (scores * self.scale)?;
        }
        if let Some(bias) = bias {
            scores = scores.broadcast_add(bias)?;
        }
        let mut p = softmax(&scores.broadcast_add(&View::hiding(visible)?)?)?;
        if view.is_blind() {
            p = p.broadcast_mul(visible)?;
        }
        if dropout.is_active() {
            p = masked(&p, &view.kept(dropout, site, self.count, p.device())?, dropout)?;
        }
        let attended = p.matmul(&v)?.transpose(1, 2)?.contiguous()?;
        attended.reshape((view.groups * view.q_len, self.count * self.width))
    }
}

/// T5's buckets of `key - query` (arXiv 1910.10683, section 2.1): half of them exact, half
/// logarithmic; with `Mask::Full` half of each are for keys after the query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buckets {
    pub(crate) count: usize,
    pub(crate) max_distance: usize,
    pub(crate) mask: sidereal_nn::kernels::attention::Mask,
}

impl Buckets {
    fn of(self, distance: i64) -> i64 {
        use sidereal_nn::kernels::attention::Mask;
        let (count, after, steps) = match self.mask {
            Mask::Causal => (self.count as i64, 0, (-distance).max(0)),
            Mask::Full => {
                let half = self.count as i64 / 2;
                (half, if distance > 0 { half } else { 0 }, distance.abs())
            }
        };
        let exact = count / 2;
        let bucket = match steps {
            s if s < exact => s,
            s => {
                let far = self.max_distance as f32 / exact as f32;
                let log = (s as f32 / exact as f32).ln() / far.ln();
                (exact + (log * (count - exact) as f32) as i64).min(count - 1)
            }
        };
        after + bucket
    }

    /// `1 x heads x len x len` from a weight of `buckets x heads`: a product with one-hot rows, so
    /// that its gradient is a product too and not a long scatter.
    pub(crate) fn bias(self, weight: &Tensor, len: usize, device: &Device) -> Result<Tensor> {
        let mut rows = vec![0f32; len * len * self.count];
        for i in 0..len {
            for j in 0..len {
                let bucket = self.of(j as i64 - i as i64) as usize;
                rows[(i * len + j) * self.count + bucket] = 1.0;
            }
        }
        let rows = Tensor::from_vec(rows, (len * len, self.count), device)?;
        rows.matmul(weight)?.t()?.contiguous()?.reshape((1, weight.dim(1)?, len, len))
    }
}
