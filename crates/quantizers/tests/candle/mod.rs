//! The RQ-VAE in plain candle operations: what the fused step must equal, and is timed against.

use candle_core::{D, DType, Device, Result, Tensor, Var};
use sidereal_nn::Mlp;
use sidereal_quantizers::rq_vae::{Estimator, RqVaeLoss, RqVaeModel};

/// The parameters of a model as variables, in the order of its flat buffer.
pub struct Composition {
    pub vars: Vec<Var>,
    encoder: Vec<(usize, usize)>,
    levels: Vec<usize>,
    decoder: Vec<(usize, usize)>,
}

impl Composition {
    pub fn new(model: &RqVaeModel, encoder: &Mlp, decoder: &Mlp) -> Result<Self> {
        let infos = model.params().infos();
        let var = |info: &sidereal_nn::params::ParamInfo| {
            let values = info.slot.of(model.params().values());
            Var::from_slice(values, info.shape.as_slice(), &Device::Cpu)
        };
        let at = |offset| infos.iter().position(|i| i.slot.offset == offset).unwrap_or(usize::MAX);
        let places = |mlp: &Mlp| {
            mlp.layers().iter().map(|l| (at(l.weight.offset), at(l.bias.offset))).collect()
        };
        let levels = 0..model.shape().levels.len();
        Ok(Composition {
            vars: infos.iter().map(var).collect::<Result<_>>()?,
            encoder: places(encoder),
            levels: levels.map(|l| at(model.level_slot(l).offset)).collect(),
            decoder: places(decoder),
        })
    }

    fn chain(&self, layers: &[(usize, usize)], x: &Tensor) -> Result<Tensor> {
        let mut h = x.clone();
        for (i, (w, b)) in layers.iter().enumerate() {
            h = h.matmul(&self.vars[*w].t()?)?.broadcast_add(&self.vars[*b])?;
            if i + 1 < layers.len() {
                h = h.relu()?;
            }
        }
        Ok(h)
    }

    /// The loss of a batch; every estimator but Gumbel's, whose noise is the step's own.
    pub fn loss(&self, x: &Tensor, loss: RqVaeLoss) -> Result<Tensor> {
        let z = self.chain(&self.encoder, x)?;
        let (mut r, mut sum) = (z.clone(), z.zeros_like()?);
        let mut levels = Tensor::zeros((), DType::F32, &Device::Cpu)?;
        for &level in &self.levels {
            let book = self.vars[level].as_tensor();
            let products = (r.matmul(&book.t()?)? * -2.0)?;
            let distances = products.broadcast_add(&book.sqr()?.sum(1)?)?;
            let q = book.index_select(&distances.detach().argmin(D::Minus1)?, 0)?;
            let codebook = (&q - r.detach())?.sqr()?.mean_all()?;
            let commitment = (&r - q.detach())?.sqr()?.mean_all()?;
            levels = ((levels + codebook)? + (commitment * f64::from(loss.beta))?)?;
            let tilde = match loss.estimator {
                Estimator::Rotation => turned(&r, &q.detach())?,
                Estimator::StraightThrough => (&r + (&q - &r)?.detach())?,
                _ => q.detach(),
            };
            r = (r - &tilde)?;
            sum = (sum + tilde)?;
        }
        if loss.estimator == Estimator::ResidualPath {
            sum = (&z + (sum - &z)?.detach())?;
        }
        let error = (self.chain(&self.decoder, &sum)? - x)?.sqr()?.mean_all()?;
        error + (levels * f64::from(loss.weight))?
    }
}

/// `a (r - 2 (r.s) s + 2 (r.r^) q^)` with everything but the outer `r` held fixed.
fn turned(r: &Tensor, q: &Tensor) -> Result<Tensor> {
    let length = |v: &Tensor| v.sqr()?.sum_keepdim(1)?.sqrt();
    let at = r.detach();
    let (u, v) = (at.broadcast_div(&length(&at)?)?, q.broadcast_div(&length(q)?)?);
    let s = (&u + &v)?;
    let s = s.broadcast_div(&length(&s)?)?;
    let on_s = (r * &s)?.sum_keepdim(1)?;
    let on_r = (r * &u)?.sum_keepdim(1)?;
    let turned = ((r - (s.broadcast_mul(&on_s)? * 2.0)?)? + (v.broadcast_mul(&on_r)? * 2.0)?)?;
    turned.broadcast_mul(&(length(q)? / length(&at)?)?)
}
