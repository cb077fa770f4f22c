//! What `rq-vae` learns: the encoder in front of residual codes, and the decoder behind them.

use super::model::{EncoderForm, RqVaeModel, RqVaeShape};
use super::scale::Standardize;
use super::step::CHUNK;
use crate::residual::{ResidualCodebook, ResidualScale, check_vectors};
use rayon::prelude::*;
use sidereal_core::{Codebook, Codes, Error, Matrix, MatrixRef, QuantizerInput, Result};
use sidereal_nn::MlpState;
use sidereal_nn::kernels::activation::Activation;

/// Tensor that marks the file of an RQ-VAE.
pub(crate) const FIRST: &str = "encoder.0.weight";

/// Tensors that mark forms of the networks.
const RESIDUAL_ENCODER: &str = "residual_encoder";
const SIGMOID_DECODER: &str = "sigmoid_decoder";

/// A trained RQ-VAE: `c = codes(Enc(x))`, `x^ = Dec(sum_l C_l[c_l])`.
#[derive(Debug, Clone)]
pub struct RqVaeCodebook {
    model: RqVaeModel,
    scale: Option<Standardize>,
    residual: ResidualCodebook,
}

impl RqVaeCodebook {
    /// Takes a trained model and the scaling of its input.
    ///
    /// Errors: codes that are not finite.
    pub fn new(model: RqVaeModel, scale: Option<Standardize>) -> Result<Self> {
        let shape = model.shape();
        let level =
            |(l, &k): (usize, &u32)| Matrix::new(k as usize, shape.latent, model.level(l).to_vec());
        let levels = shape.levels.iter().enumerate().map(level).collect::<Result<_>>()?;
        let residual = ResidualCodebook::new(levels, ResidualScale::Raw)?;
        Ok(RqVaeCodebook { model, scale, residual })
    }

    /// From what [`Codebook::tensors`] gives.
    pub fn from_tensors(tensors: Vec<(String, Matrix)>) -> Result<Self> {
        let find = |name: &str| tensors.iter().find(|(n, _)| n == name).map(|(_, m)| m);
        let count = |prefix: &str, suffix: &str| {
            (0..).take_while(|i| find(&format!("{prefix}{i}{suffix}")).is_some()).count()
        };
        let missing = |name: &str| Error::mismatch(format!("rq-vae: tensor `{name}` is missing"));
        let input = find(FIRST).ok_or_else(|| missing(FIRST))?.cols();
        let mut widths = Vec::new();
        for i in 0..count("encoder.", ".weight") {
            widths.extend(find(&format!("encoder.{i}.weight")).map(Matrix::rows));
        }
        let latent = widths.pop().unwrap_or(0);
        let levels = (0..count("level_", ""))
            .filter_map(|l| find(&format!("level_{l}")).map(|m| m.rows() as u32))
            .collect();
        let residual = find(RESIDUAL_ENCODER).is_some();
        let sigmoid = find(SIGMOID_DECODER).is_some();
        let shape = RqVaeShape {
            input,
            hidden: widths,
            latent,
            levels,
            activation: Activation::Relu,
            decoder_activation: if sigmoid { Activation::Sigmoid } else { Activation::Relu },
            encoder: if residual { EncoderForm::Residual } else { EncoderForm::Plain },
        };
        let mut model = RqVaeModel::new(shape, 0)?;
        let infos = model.params().infos().to_vec();
        for info in &infos {
            let tensor = find(&info.name).ok_or_else(|| missing(&info.name))?;
            let (rows, cols) = matrix_shape(&info.shape);
            if (tensor.rows(), tensor.cols()) != (rows, cols) {
                return Err(Error::mismatch(format!(
                    "rq-vae: tensor `{}` is {} x {}, the model needs {rows} x {cols}",
                    info.name,
                    tensor.rows(),
                    tensor.cols()
                )));
            }
            check_vectors(tensor.view())?;
            info.slot.of_mut(model.params_mut().values_mut()).copy_from_slice(tensor.data());
        }
        let known = |name: &str| model.params().info(name).is_some();
        let [mean, inverse] = Standardize::NAMES;
        let beside = [mean, inverse, RESIDUAL_ENCODER, SIGMOID_DECODER];
        let extra = tensors.iter().find(|(n, _)| !known(n) && !beside.contains(&&n[..]));
        if let Some((name, _)) = extra {
            return Err(Error::mismatch(format!("rq-vae: unknown tensor `{name}`")));
        }
        let scale = Standardize::from_tensors(&tensors, input)?;
        RqVaeCodebook::new(model, scale)
    }

    /// The networks and codes.
    pub fn model(&self) -> &RqVaeModel {
        &self.model
    }

    /// What is quantized, shape `N x latent`.
    ///
    /// Errors: vectors of another width, values that are not finite.
    pub fn encode(&self, vectors: MatrixRef<'_>) -> Result<Matrix> {
        let width = self.model.shape().input;
        if vectors.cols() != width {
            return Err(Error::mismatch(format!(
                "the codebook was fitted on vectors of width {width}, got width {}",
                vectors.cols()
            )));
        }
        if vectors.rows() > 0 {
            check_vectors(vectors)?;
        }
        match &self.scale {
            None => Ok(encode(&self.model, vectors.data())),
            Some(scale) => Ok(encode(&self.model, scale.apply(vectors).data())),
        }
    }
}

/// Latents of rows of the model's width, in tiles whatever the number of threads.
pub(super) fn encode(model: &RqVaeModel, rows: &[f32]) -> Matrix {
    let shape = model.shape();
    in_tiles(rows, shape.input, shape.latent, |x, n, state| model.encode(x, n, state))
}

fn in_tiles(
    rows: &[f32],
    inputs: usize,
    outputs: usize,
    forward: impl Fn(&[f32], usize, &mut MlpState) + Sync,
) -> Matrix {
    let mut out = Matrix::zeros(rows.len() / inputs, outputs);
    out.data_mut()
        .par_chunks_mut(CHUNK * outputs)
        .zip(rows.par_chunks(CHUNK * inputs))
        .for_each_init(MlpState::default, |state, (out, x)| {
            forward(x, x.len() / inputs, state);
            out.copy_from_slice(state.output());
        });
    out
}

fn matrix_shape(shape: &[usize]) -> (usize, usize) {
    match shape {
        [rows, cols] => (*rows, *cols),
        other => (1, other.iter().product()),
    }
}

impl Codebook for RqVaeCodebook {
    fn widths(&self) -> &[u32] {
        self.residual.widths()
    }

    fn quantize(&self, input: &QuantizerInput<'_>) -> Result<Codes> {
        let latents = self.encode(input.vectors)?;
        self.residual.quantize(&QuantizerInput::vectors(latents.view()))
    }

    /// The decoder's output for the sum of the first `levels` codes; `None` too where the input was
    /// standardised, as rows have lost their lengths.
    fn reconstruct(&self, codes: &Codes, levels: usize) -> Option<Matrix> {
        if self.scale.is_some() {
            return None;
        }
        let latents = self.residual.reconstruct(codes, levels)?;
        let shape = self.model.shape();
        let values = self.model.params().values();
        Some(in_tiles(latents.data(), shape.latent, shape.input, |x, n, state| {
            self.model.decoder.forward(values, x, n, state);
        }))
    }

    fn distances(
        &self,
        vectors: MatrixRef<'_>,
        codes: &Codes,
        level: usize,
    ) -> Result<Option<Matrix>> {
        self.residual.distances(self.encode(vectors)?.view(), codes, level)
    }

    fn tensors(&self) -> Vec<(String, Matrix)> {
        let values = self.model.params().values();
        let mut out = Vec::new();
        for info in self.model.params().infos() {
            let (rows, cols) = matrix_shape(&info.shape);
            let mut m = Matrix::zeros(rows, cols);
            m.data_mut().copy_from_slice(info.slot.of(values));
            out.push((info.name.clone(), m));
        }
        out.extend(self.scale.iter().flat_map(Standardize::tensors));
        let mut flag = Matrix::zeros(1, 1);
        flag.data_mut()[0] = 1.0;
        if self.model.shape().encoder == EncoderForm::Residual {
            out.push((RESIDUAL_ENCODER.into(), flag.clone()));
        }
        if self.model.shape().decoder_activation == Activation::Sigmoid {
            out.push((SIGMOID_DECODER.into(), flag));
        }
        out
    }
}
