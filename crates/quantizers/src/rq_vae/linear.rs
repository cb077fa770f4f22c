//! Codebooks as a frozen matrix and a learned one (SimVQ, arXiv 2411.02038): `codes = C W`.
//!
//! `C` (`K x D`) stays as it starts, `W` (`D x D`) is learned, so that every update moves all codes
//! together and none is left behind: `dW = C' dcodes`. Cost: `2 K D^2` operations a level and update.
//! `W` starts as the identity; the authors' code (from memory, unverified) starts it as a linear
//! layer with bias.

use super::model::RqVaeModel;
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::{Init, Slot};

/// The two matrices of a level.
#[derive(Debug, Clone)]
pub struct LinearCodes {
    frozen: Vec<f32>,
    weight: Slot,
    codes: Slot,
    width: usize,
}

impl LinearCodes {
    /// Takes the level's codes as `C`, and adds `W` to the model's parameters.
    pub fn new(model: &mut RqVaeModel, level: usize) -> Self {
        let d = model.shape().latent;
        let weight = model.add(&format!("auxiliary.linear_{level}"), &[d, d], Init::Zeros);
        let values = weight.of_mut(model.params_mut().values_mut());
        values.iter_mut().step_by(d + 1).for_each(|v| *v = 1.0);
        let codes = model.level_slot(level);
        LinearCodes { frozen: model.level(level).to_vec(), weight, codes, width: d }
    }

    /// Takes the level's codes as `C` anew, and the identity as `W`.
    pub(super) fn restart(&mut self, values: &mut [f32]) {
        self.frozen.copy_from_slice(self.codes.of(values));
        let weight = self.weight.of_mut(values);
        weight.fill(0.0);
        weight.iter_mut().step_by(self.width + 1).for_each(|v| *v = 1.0);
    }

    /// Where `W` lies.
    pub fn weight(&self) -> Slot {
        self.weight
    }

    /// Turns the gradient of the codes into that of `W`, and sets it to 0.
    pub fn pull(&self, grads: &mut [f32]) {
        let (d, k) = (self.width, self.frozen.len() / self.width);
        let codes = self.codes.of(grads).to_vec();
        let (c, g) = (Mat::rows(&self.frozen, d).t(), Mat::rows(&codes, d));
        gemm(d, d, k, c, g, self.weight.of_mut(grads), d, Write::Set);
        self.codes.of_mut(grads).fill(0.0);
    }

    /// Writes `codes = C W`.
    pub fn push(&self, values: &mut [f32]) {
        let (d, k) = (self.width, self.frozen.len() / self.width);
        let weight = self.weight.of(values).to_vec();
        let (c, w) = (Mat::rows(&self.frozen, d), Mat::rows(&weight, d));
        gemm(k, d, d, c, w, self.codes.of_mut(values), d, Write::Set);
    }
}
