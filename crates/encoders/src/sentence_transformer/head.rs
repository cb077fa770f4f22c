//! What follows the pooling: dense layers and normalisation.

use super::weights::{Flat, Weights};
use crate::rows;
use serde::Deserialize;
use sidereal_core::Result;
use sidereal_nn::kernels::activation;
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::kernels::math::add_bias;
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

    fn apply(self, x: &mut [f32]) {
        match self {
            Activation::Identity => {}
            Activation::Tanh => x.iter_mut().for_each(|v| *v = v.tanh()),
            Activation::Relu => activation::Activation::Relu.forward(x),
            Activation::Gelu => activation::Activation::Gelu.forward(x),
            Activation::Sigmoid => x.iter_mut().for_each(|v| *v = 1.0 / (1.0 + (-*v).exp())),
            Activation::Silu => activation::Activation::Silu.forward(x),
        }
    }
}

/// A step with its weights.
#[derive(Debug)]
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
#[derive(Debug)]
pub enum Residual {
    /// Nothing.
    None,
    /// The input.
    Input,
    /// A projection of the input.
    Projected(Linear),
}

/// A matrix `inputs x outputs` and a bias, which may be empty.
#[derive(Debug)]
pub struct Linear {
    matrix: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
    outputs: usize,
}

impl Linear {
    fn read(from: &mut Weights, name: &str, config: &DenseConfig, biased: bool) -> Result<Self> {
        let (inputs, outputs) = (config.in_features, config.out_features);
        let mut flat = Flat::default();
        flat.products(from, &[format!("{name}.weight")], inputs, outputs)?;
        let mut bias = Vec::new();
        if biased {
            from.append(&format!("{name}.bias"), &[outputs], &mut bias)?;
        }
        Ok(Linear { matrix: flat.values, bias, inputs, outputs })
    }

    /// `x W + b` for rows of `x`.
    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let (i, o) = (self.inputs, self.outputs);
        let rows = x.len() / i;
        let mut y = vec![0.0; rows * o];
        gemm(rows, o, i, Mat::rows(x, i), Mat::rows(&self.matrix, o), &mut y, o, Write::Set);
        add_bias(&mut y, &self.bias);
        y
    }
}

/// Loads the weights of all steps.
pub fn load(steps: &[Step]) -> Result<Vec<Layer>> {
    steps
        .iter()
        .map(|step| match step {
            Step::Normalize => Ok(Layer::Normalize),
            Step::Dense { config, activation, weights } => dense(config, *activation, weights),
        })
        .collect()
}

fn dense(config: &DenseConfig, activation: Activation, weights: &[PathBuf]) -> Result<Layer> {
    let mut from = Weights::open(weights)?;
    let linear = Linear::read(&mut from, "linear", config, config.bias)?;
    let residual = match (config.use_residual, config.in_features == config.out_features) {
        (false, _) => Residual::None,
        (true, true) => Residual::Input,
        (true, false) => Residual::Projected(Linear::read(&mut from, "residual", config, false)?),
    };
    Ok(Layer::Dense { linear, activation, residual })
}

/// Sends `batch` pooled vectors through all layers.
pub fn apply(layers: &[Layer], mut vectors: Vec<f32>, batch: usize) -> Vec<f32> {
    for layer in layers {
        match layer {
            Layer::Normalize => {
                let width = vectors.len() / batch.max(1);
                vectors.chunks_exact_mut(width.max(1)).for_each(rows::normalize);
            }
            Layer::Dense { linear, activation, residual } => {
                let mut y = linear.forward(&vectors);
                activation.apply(&mut y);
                let added = match residual {
                    Residual::None => None,
                    Residual::Input => Some(vectors),
                    Residual::Projected(projection) => Some(projection.forward(&vectors)),
                };
                if let Some(added) = added {
                    y.iter_mut().zip(added).for_each(|(y, a)| *y += a);
                }
                vectors = y;
            }
        }
    }
    vectors
}
