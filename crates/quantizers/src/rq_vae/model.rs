//! The parameters of an RQ-VAE: encoder, one codebook a level, decoder, all in one flat buffer.
//!
//! Names in files: `encoder.{i}.weight`, `encoder.{i}.bias`, `level_{l}`, `decoder.{i}.weight`, ...

use sidereal_core::{Code, Error, Matrix, Result};
use sidereal_nn::kernels::activation::Activation;
use sidereal_nn::{Init, Mlp, MlpState, Params, Slot};

/// Widths of all parts.
#[derive(Debug, Clone, PartialEq)]
pub struct RqVaeShape {
    /// Width of the vectors.
    pub input: usize,
    /// Widths of the encoder's hidden layers, first to last; the decoder mirrors them.
    pub hidden: Vec<usize>,
    /// Width of what is quantized.
    pub latent: usize,
    /// Codes of each level.
    pub levels: Vec<u32>,
    /// Between the layers of the encoder.
    pub activation: Activation,
    /// Between the layers of the decoder.
    pub decoder_activation: Activation,
    /// What the encoder adds.
    pub encoder: EncoderForm,
}

/// What stands beside the encoder's layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncoderForm {
    /// Nothing: `z = MLP(x)`.
    Plain,
    /// The vector itself: `z = x + MLP(x)`, with the last layer at 0 to begin with, so that `z = x`
    /// (MiniOneRec's `rq-kmeans-plus`, arXiv 2510.24431). Latents are as wide as vectors.
    Residual,
}

/// Encoder, codebooks and decoder.
#[derive(Debug, Clone)]
pub struct RqVaeModel {
    shape: RqVaeShape,
    params: Params,
    pub(super) encoder: Mlp,
    pub(super) decoder: Mlp,
    levels: Vec<Slot>,
    /// Parameters of encoder, codebooks and decoder.
    own: usize,
}

impl RqVaeModel {
    /// Draws all parameters from `seed`: layers as [`Mlp::new`] does, codes uniformly in `+-1 / K`
    /// (as in VQ-VAE, arXiv 1711.00937) until [`RqVaeModel::set_level`] gives better ones.
    ///
    /// Errors: a width of 0, no level, a level without codes.
    pub fn new(shape: RqVaeShape, seed: u64) -> Result<Self> {
        let widths: Vec<usize> =
            [shape.input].into_iter().chain(shape.hidden.clone()).chain([shape.latent]).collect();
        if widths.contains(&0) || shape.levels.is_empty() || shape.levels.contains(&0) {
            return Err(Error::mismatch(format!(
                "rq-vae: widths {widths:?} and levels {:?} must all be above 0",
                shape.levels
            )));
        }
        if shape.encoder == EncoderForm::Residual && shape.input != shape.latent {
            return Err(Error::mismatch(format!(
                "rq-vae: a residual encoder gives latents of width {}, not {}",
                shape.input, shape.latent
            )));
        }
        let mut params = Params::new(seed);
        let encoder = Mlp::new(&mut params, "encoder", &widths, shape.activation);
        if shape.encoder == EncoderForm::Residual
            && let Some(last) = encoder.layers().last()
        {
            last.weight.join(last.bias).of_mut(params.values_mut()).fill(0.0);
        }
        let mut level = |(l, &k): (usize, &u32)| {
            let size = [k as usize, shape.latent];
            params.add(&format!("level_{l}"), &size, Init::Uniform(1.0 / k as f32))
        };
        let levels = shape.levels.iter().enumerate().map(&mut level).collect();
        let mirrored: Vec<usize> = widths.into_iter().rev().collect();
        let decoder = Mlp::new(&mut params, "decoder", &mirrored, shape.decoder_activation);
        let own = params.len();
        Ok(RqVaeModel { shape, params, encoder, decoder, levels, own })
    }

    /// Adds parameters of an auxiliary loss or of a form of the codebooks. They are trained with the
    /// rest and are no part of what is learned in the end.
    ///
    /// # Panics
    /// When the name is taken: a mistake of the caller.
    pub fn add(&mut self, name: &str, shape: &[usize], init: Init) -> Slot {
        self.params.add(name, shape, init)
    }

    /// Number of parameters without those of [`RqVaeModel::add`], which stand behind them.
    pub(super) fn own_len(&self) -> usize {
        self.own
    }

    /// The same without what [`RqVaeModel::add`] added.
    pub(super) fn without_added(self) -> Result<Self> {
        if self.own == self.params.len() {
            return Ok(self);
        }
        let mut out = RqVaeModel::new(self.shape, 0)?;
        out.params.values_mut().copy_from_slice(&self.params.values()[..self.own]);
        Ok(out)
    }

    /// Latents of `rows` rows of `x`, in [`MlpState::output`].
    pub(super) fn encode(&self, x: &[f32], rows: usize, state: &mut MlpState) {
        self.encoder.forward(self.params.values(), x, rows, state);
        if self.shape.encoder == EncoderForm::Residual {
            state.output_mut().iter_mut().zip(x).for_each(|(z, x)| *z += x);
        }
    }

    /// Widths of all parts.
    pub fn shape(&self) -> &RqVaeShape {
        &self.shape
    }

    /// Vectors to latents.
    pub fn encoder(&self) -> &Mlp {
        &self.encoder
    }

    /// Latents to vectors.
    pub fn decoder(&self) -> &Mlp {
        &self.decoder
    }

    /// All parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// All parameters, writable.
    pub fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    /// Where a level's codebook lies in the flat parameters.
    pub fn level_slot(&self, level: usize) -> Slot {
        self.levels[level]
    }

    /// A level's codes, `K x latent` values.
    pub fn level(&self, level: usize) -> &[f32] {
        self.levels[level].of(self.params.values())
    }

    /// Replaces a level's codes.
    ///
    /// Errors: another shape than `K x latent`.
    pub fn set_level(&mut self, level: usize, codes: &Matrix) -> Result<()> {
        let (k, d) = (self.shape.levels[level] as usize, self.shape.latent);
        if (codes.rows(), codes.cols()) != (k, d) {
            return Err(Error::mismatch(format!(
                "rq-vae: {} codes of width {} for level {level}, which has {k} of width {d}",
                codes.rows(),
                codes.cols()
            )));
        }
        self.levels[level].of_mut(self.params.values_mut()).copy_from_slice(codes.data());
        Ok(())
    }

    /// Replaces one code.
    pub(super) fn set_code(&mut self, level: usize, code: Code, vector: &[f32]) -> Slot {
        let d = self.shape.latent;
        let slot = Slot { offset: self.levels[level].offset + code as usize * d, len: d };
        slot.of_mut(self.params.values_mut()).copy_from_slice(vector);
        slot
    }
}
