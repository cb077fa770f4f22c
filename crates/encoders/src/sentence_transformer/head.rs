//! What follows the pooling: dense layers and normalisation.

use super::bert::read_tensors;
use crate::rows;
use candle_core::{DType, Device, Module, Tensor};
use candle_nn::{Linear, VarBuilder, linear_b, linear_no_bias};
use serde::Deserialize;
use sidereal_core::{Error, Result};
use std::path::PathBuf;

/// One module after the pooling.
#[derive(Debug)]
pub enum Step {
    /// `activation(W x + b)`, with the input added where the module says so.
    Dense {
        /// Shape.
        config: DenseConfig,
        /// What is applied to `W x + b`.
        activation: Activation,
        /// safetensors with `linear.weight` and `linear.bias`.
        weights: Vec<PathBuf>,
    },
    /// Scales to length 1.
    Normalize,
}

/// `config.json` of a dense module.
#[derive(Debug, Clone, Deserialize)]
pub struct DenseConfig {
    /// Width of the input.
    pub in_features: usize,
    /// Width of the output.
    pub out_features: usize,
    /// Whether there is a bias.
    #[serde(default = "yes")]
    pub bias: bool,
    /// Class of the activation.
    #[serde(default = "tanh")]
    pub activation_function: String,
    /// Whether the input (projected where widths differ) is added.
    #[serde(default)]
    pub use_residual: bool,
    /// What the module works on.
    #[serde(default = "sentence")]
    pub module_input_name: String,
}

fn yes() -> bool {
    true
}

fn tanh() -> String {
    "torch.nn.modules.activation.Tanh".into()
}

fn sentence() -> String {
    "sentence_embedding".into()
}

impl DenseConfig {
    /// Checks the module against the width that comes in.
    pub fn check(&self, width: usize) -> Result<(), String> {
        if self.in_features != width {
            return Err(format!("in_features is {}, but {width} come in", self.in_features));
        }
        if !(1..=1 << 20).contains(&self.out_features) {
            return Err(format!("out_features = {} is outside 1..=1048576", self.out_features));
        }
        if self.module_input_name != sentence() {
            return Err(format!(
                "module_input_name `{}` is not supported; known: sentence_embedding",
                self.module_input_name
            ));
        }
        Ok(())
    }
}

/// Activations of dense modules, by the last part of their class name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x`.
    Identity,
    /// `tanh x`.
    Tanh,
    /// `max(x, 0)`.
    Relu,
    /// `x Phi(x)`.
    Gelu,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `x sigmoid(x)`.
    Silu,
}

impl Activation {
    /// From a class name such as `torch.nn.modules.activation.Tanh`.
    pub fn parse(class: &str) -> Result<Self, String> {
        match class.rsplit('.').next().unwrap_or_default() {
            "Identity" => Ok(Activation::Identity),
            "Tanh" => Ok(Activation::Tanh),
            "ReLU" => Ok(Activation::Relu),
            "GELU" => Ok(Activation::Gelu),
            "Sigmoid" => Ok(Activation::Sigmoid),
            "SiLU" => Ok(Activation::Silu),
            _ => Err(format!(
                "activation_function `{class}` is not supported; known: Identity, Tanh, ReLU, \
                 GELU, Sigmoid, SiLU"
            )),
        }
    }

    fn apply(self, x: Tensor) -> candle_core::Result<Tensor> {
        match self {
            Activation::Identity => Ok(x),
            Activation::Tanh => x.tanh(),
            Activation::Relu => x.relu(),
            Activation::Gelu => x.gelu_erf(),
            Activation::Sigmoid => candle_nn::ops::sigmoid(&x),
            Activation::Silu => x.silu(),
        }
    }
}

/// A step with its weights.
pub enum Layer {
    /// See [`Step::Dense`].
    Dense {
        /// `W` and `b`.
        linear: Linear,
        /// What is applied to `W x + b`.
        activation: Activation,
        /// What is added at the end.
        residual: Residual,
    },
    /// See [`Step::Normalize`].
    Normalize,
}

/// What a dense module adds to its output.
pub enum Residual {
    /// Nothing.
    None,
    /// The input.
    Input,
    /// A projection of the input.
    Projected(Linear),
}

/// Loads the weights of all steps.
pub fn load(steps: &[Step]) -> Result<Vec<Layer>> {
    steps
        .iter()
        .map(|step| match step {
            Step::Normalize => Ok(Layer::Normalize),
            Step::Dense { config, activation, weights } => {
                let tensors = read_tensors(weights)?;
                let vb = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
                dense(config, *activation, &vb).map_err(|e| match weights.first() {
                    Some(path) => Error::data(path, e.to_string()),
                    None => Error::other("loading a dense module", e),
                })
            }
        })
        .collect()
}

fn dense(
    config: &DenseConfig,
    activation: Activation,
    vb: &VarBuilder<'_>,
) -> candle_core::Result<Layer> {
    let (from, to) = (config.in_features, config.out_features);
    let linear = linear_b(from, to, config.bias, vb.pp("linear"))?;
    let residual = match (config.use_residual, from == to) {
        (false, _) => Residual::None,
        (true, true) => Residual::Input,
        (true, false) => Residual::Projected(linear_no_bias(from, to, vb.pp("residual"))?),
    };
    Ok(Layer::Dense { linear, activation, residual })
}

/// Sends `batch` pooled vectors through all layers.
pub fn apply(
    layers: &[Layer],
    mut vectors: Vec<f32>,
    batch: usize,
) -> candle_core::Result<Vec<f32>> {
    for layer in layers {
        let width = vectors.len() / batch.max(1);
        match layer {
            Layer::Normalize => vectors.chunks_exact_mut(width).for_each(rows::normalize),
            Layer::Dense { linear, activation, residual } => {
                let x = Tensor::from_vec(vectors, (batch, width), &Device::Cpu)?;
                let y = activation.apply(linear.forward(&x)?)?;
                let y = match residual {
                    Residual::None => y,
                    Residual::Input => (y + x)?,
                    Residual::Projected(projection) => (y + projection.forward(&x)?)?,
                };
                vectors = y.flatten_all()?.to_vec1()?;
            }
        }
    }
    Ok(vectors)
}
