//! LETTER's collaborative alignment (arXiv 2405.07314): InfoNCE between the quantized latent of an
//! item and its vector of a collaborative model, against the other items of the batch.
//!
//! `loss = -(alpha / B) sum_i log( exp(z^_i.h_i / t) / sum_j exp(z^_i.h_j / t) )`, with plain
//! products and `t = 1` in the authors' code. The gradient of `z^` goes on as the estimator says.
//!
//! Where the vectors are wider or narrower than latents, `h = V c` with a learned `V`
//! (`D x D'`, started uniformly in `+-1 / sqrt(D')`); LETTER's have one width. `V` is no part of what
//! is learned in the end.

use super::contrast::{Relation, Wanted, contrast};
use crate::rq_vae::{Auxiliary, AuxiliaryBatch, AuxiliaryGradients, RqVaeModel};
use sidereal_core::{Matrix, MatrixRef, Result};
use sidereal_nn::kernels::embedding;
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::{Init, Slot};

/// The loss over a batch.
#[derive(Debug, Clone)]
pub struct CollaborativeAlignment<'a> {
    vectors: &'a Matrix,
    projection: Option<Slot>,
    alpha: f32,
    tau: f32,
}

impl<'a> CollaborativeAlignment<'a> {
    /// For collaborative vectors of the rows, shape `N x D'`; adds `V` to the model where it is
    /// needed.
    pub fn new(model: &mut RqVaeModel, vectors: &'a Matrix, alpha: f32, tau: f32) -> Self {
        let (d, own) = (model.shape().latent, vectors.cols());
        let projection = (own != d).then(|| {
            let init = Init::Uniform(1.0 / (own.max(1) as f32).sqrt());
            model.add("auxiliary.collaborative", &[d, own], init)
        });
        CollaborativeAlignment { vectors, projection, alpha, tau }
    }
}

impl Auxiliary for CollaborativeAlignment<'_> {
    fn evaluate(&self, s: &AuxiliaryBatch<'_>, into: &mut AuxiliaryGradients) -> Result<f64> {
        let (b, d, own) = (s.rows.len(), s.quantized.cols(), self.vectors.cols());
        let mut gathered = vec![0.0; b * own];
        embedding::gather(self.vectors.data(), own, s.rows, &mut gathered);
        let mut projected = Vec::new();
        if let Some(slot) = self.projection {
            projected = vec![0.0; b * d];
            let v = Mat::rows(slot.of(s.model.params().values()), own).t();
            gemm(b, d, own, Mat::rows(&gathered, own), v, &mut projected, d, Write::Set);
        }
        let keys = if self.projection.is_some() { &projected } else { &gathered };
        let wanted = if self.projection.is_some() { Wanted::Both } else { Wanted::Queries };
        let keys = MatrixRef::new(b, d, keys)?;
        let relation = |i, j| if i == j { Relation::Positive } else { Relation::Negative };
        let alpha = f64::from(self.alpha);
        let got = contrast(s.quantized, keys, self.tau, alpha, wanted, relation);
        into.quantized.iter_mut().zip(&got.d_queries).for_each(|(o, g)| *o += g);
        if let Some(slot) = self.projection {
            let (dk, c) = (Mat::rows(&got.d_keys, d).t(), Mat::rows(&gathered, own));
            gemm(d, own, b, dk, c, slot.of_mut(&mut into.params), own, Write::Add);
        }
        Ok(got.loss)
    }
}
