//! BERT (Devlin et al. 2018, arXiv 1810.04805) through candle-transformers, MiniLM included.

use super::folder::Transformer;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config, HiddenAct, PositionEmbeddingType};
use serde::Deserialize;
use sidereal_core::files::read_json;
use sidereal_core::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

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
    /// Token that fills short rows.
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

    fn activation(&self) -> Result<HiddenAct, String> {
        match self.hidden_act.as_str() {
            "gelu" => Ok(HiddenAct::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(HiddenAct::GeluApproximate),
            "relu" => Ok(HiddenAct::Relu),
            other => Err(format!(
                "hidden_act `{other}` is not supported; known: gelu, gelu_new, gelu_pytorch_tanh, \
                 gelu_fast, relu"
            )),
        }
    }
}

/// Loads the model's weights as f32.
pub fn load(plan: &Transformer) -> Result<BertModel> {
    let c = &plan.config;
    let place = plan.weights.first().unwrap_or(&plan.tokenizer);
    let config = Config {
        vocab_size: c.vocab_size,
        hidden_size: c.hidden_size,
        num_hidden_layers: c.num_hidden_layers,
        num_attention_heads: c.num_attention_heads,
        intermediate_size: c.intermediate_size,
        hidden_act: c.activation().map_err(|e| Error::data(place, e))?,
        // Frozen: dropout and initialisation play no part.
        hidden_dropout_prob: 0.0,
        max_position_embeddings: c.max_position_embeddings,
        type_vocab_size: c.type_vocab_size,
        initializer_range: 0.02,
        layer_norm_eps: c.layer_norm_eps,
        pad_token_id: c.pad_token_id,
        position_embedding_type: PositionEmbeddingType::Absolute,
        use_cache: false,
        classifier_dropout: None,
        model_type: Some("bert".into()),
    };
    let tensors = read_tensors(&plan.weights)?;
    let vb = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    BertModel::load(vb, &config).map_err(|e| Error::data(place, e.to_string()))
}

/// All tensors of some safetensors files by name; old names of layer norms are made new.
pub(super) fn read_tensors(paths: &[PathBuf]) -> Result<HashMap<String, Tensor>> {
    let mut all = HashMap::new();
    for path in paths {
        let bytes = std::fs::read(path).map_err(|e| Error::read(path, e))?;
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
            .map_err(|e| Error::data(path, e.to_string()))?;
        for (name, tensor) in tensors {
            let name = match (name.strip_suffix(".gamma"), name.strip_suffix(".beta")) {
                (Some(stem), _) => format!("{stem}.weight"),
                (_, Some(stem)) => format!("{stem}.bias"),
                _ => name,
            };
            all.insert(name, tensor);
        }
    }
    Ok(all)
}
