//! Shapes of a BERT (Devlin et al. 2018, arXiv 1810.04805), MiniLM included; [`super::forward`]
//! runs it.

use serde::Deserialize;
use sidereal_core::files::read_json;
use sidereal_core::{Error, Result};
use sidereal_nn::kernels::activation::Activation;
use std::path::Path;

/// Values of `model_type` that run.
const SUPPORTED: [&str; 1] = ["bert"];

/// The part of `config.json` that decides the shape.
#[derive(Debug, Clone, Deserialize)]
pub struct BertConfig {
    /// Rows of the word table.
    pub vocab_size: usize,
    /// Width H.
    pub hidden_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Heads of a block; a divisor of H.
    pub num_attention_heads: usize,
    /// Width inside the feed-forward layer.
    pub intermediate_size: usize,
    /// Activation of the feed-forward layer.
    #[serde(default = "gelu")]
    pub hidden_act: String,
    /// Rows of the position table.
    pub max_position_embeddings: usize,
    /// Rows of the segment table.
    #[serde(default = "two")]
    pub type_vocab_size: usize,
    /// Added to variances.
    #[serde(default = "tiny")]
    pub layer_norm_eps: f64,
    /// Token that fills short rows elsewhere; texts are packed here.
    #[serde(default)]
    pub pad_token_id: usize,
    /// How positions enter.
    #[serde(default = "absolute")]
    pub position_embedding_type: String,
}

fn gelu() -> String {
    "gelu".into()
}

fn absolute() -> String {
    "absolute".into()
}

fn two() -> usize {
    2
}

fn tiny() -> f64 {
    1e-12
}

impl BertConfig {
    /// Reads and checks `config.json`.
    pub fn read(path: &Path) -> Result<Self> {
        let value: serde_json::Value = read_json(path)?;
        let kind = value.get("model_type").and_then(|v| v.as_str()).unwrap_or("missing");
        if !SUPPORTED.contains(&kind) {
            return Err(Error::data(
                path,
                format!("model_type `{kind}` is not supported; known: {}", SUPPORTED.join(", ")),
            ));
        }
        let config: BertConfig =
            serde_json::from_value(value).map_err(|e| Error::data(path, e.to_string()))?;
        for (name, value) in [
            ("vocab_size", config.vocab_size),
            ("hidden_size", config.hidden_size),
            ("num_attention_heads", config.num_attention_heads),
            ("intermediate_size", config.intermediate_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("type_vocab_size", config.type_vocab_size),
        ] {
            if !(1..=1 << 24).contains(&value) {
                return Err(Error::data(path, format!("{name} = {value} is outside 1..=16777216")));
            }
        }
        if !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            return Err(Error::data(
                path,
                format!(
                    "hidden_size {} is no multiple of num_attention_heads {}",
                    config.hidden_size, config.num_attention_heads
                ),
            ));
        }
        if config.pad_token_id >= config.vocab_size {
            return Err(Error::data(
                path,
                format!("pad_token_id {} is outside the vocabulary", config.pad_token_id),
            ));
        }
        if config.position_embedding_type != "absolute" {
            return Err(Error::data(
                path,
                format!(
                    "position_embedding_type `{}` is not supported; known: absolute",
                    config.position_embedding_type
                ),
            ));
        }
        config.activation().map_err(|e| Error::data(path, e))?;
        Ok(config)
    }

    /// Activation of the feed-forward layer.
    pub fn activation(&self) -> Result<Activation, String> {
        match self.hidden_act.as_str() {
            "gelu" => Ok(Activation::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
            "relu" => Ok(Activation::Relu),
            other => Err(format!(
                "hidden_act `{other}` is not supported; known: gelu, gelu_new, gelu_pytorch_tanh, \
                 gelu_fast, relu"
            )),
        }
    }
}
