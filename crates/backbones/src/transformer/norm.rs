//! The two normalisations behind one name.

use sidereal_nn::Params;
use sidereal_nn::layers::{LayerNorm, RmsNorm};

/// Which normalisation a stack uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NormKind {
    /// T5's: no mean, no bias, epsilon 1e-6.
    Rms,
    /// With mean and bias, epsilon 1e-8 as SASRec sets it.
    Layer,
}

/// A normalisation with its weights.
#[derive(Debug, Clone)]
pub(crate) enum Norm {
    Rms(RmsNorm),
    Layer(LayerNorm),
}

impl Norm {
    pub(crate) fn new(kind: NormKind, params: &mut Params, name: &str, width: usize) -> Self {
        match kind {
            NormKind::Rms => Norm::Rms(RmsNorm::new(params, name, width, 1e-6)),
            NormKind::Layer => Norm::Layer(LayerNorm::new(params, name, width, 1e-8)),
        }
    }

    /// `y = norm(x)`; `stats` keeps what the backward pass needs.
    pub(crate) fn forward(&self, w: &[f32], x: &[f32], y: &mut Vec<f32>, stats: &mut Vec<f32>) {
        sidereal_nn::kernels::math::size(y, x.len());
        match self {
            Norm::Rms(n) => {
                sidereal_nn::kernels::math::size(stats, x.len() / n.width);
                n.forward(w, x, y, stats);
            }
            Norm::Layer(n) => {
                sidereal_nn::kernels::math::size(stats, 2 * (x.len() / n.width));
                n.forward(w, x, y, stats);
            }
        }
    }

    /// Writes or adds the gradient of `x` to `dx`.
    pub(crate) fn backward(
        &self,
        w: &[f32],
        x: &[f32],
        stats: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        write: sidereal_nn::kernels::gemm::Write,
        grads: &mut [f32],
    ) {
        match self {
            Norm::Rms(n) => n.backward(w, x, stats, dy, dx, write, grads),
            Norm::Layer(n) => n.backward(w, x, stats, dy, dx, write, grads),
        }
    }
}
