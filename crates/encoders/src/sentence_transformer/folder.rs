//! What a model folder says: the transformer, the pooling, and what follows.
//!
//! `modules.json` lists the modules in order with the folders of their files; without it, the
//! folder is a plain transformer and its hidden states are averaged. Around it:
//! `sentence_bert_config.json` (longest text, lower-casing) and
//! `config_sentence_transformers.json` (prompts).

use super::SentenceTransformerOptions;
use super::bert::BertConfig;
use super::head::{Activation, DenseConfig, Step};
use super::pooling::Pooling;
use crate::hub::{Environment, ModelFiles};
use crate::key;
use serde::Deserialize;
use sidereal_core::component::nearest;
use sidereal_core::files::read_json;
use sidereal_core::{Error, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Modules that are understood.
const MODULES: &str = "Transformer, Pooling, Dense, Normalize, Dropout";

/// Everything but the weights.
#[derive(Debug)]
pub struct Plan {
    /// Tokens to hidden states.
    pub transformer: Transformer,
    /// Hidden states to a vector.
    pub pooling: Pooling,
    /// Vector to vector, in order.
    pub steps: Vec<Step>,
    /// Put before every text.
    pub prompt: String,
    /// What was assumed, for people.
    pub notes: Vec<String>,
    /// Files that were read or will be.
    pub files: Vec<PathBuf>,
}

/// The transformer's part of a plan.
#[derive(Debug)]
pub struct Transformer {
    /// Shape of the model.
    pub config: BertConfig,
    /// safetensors files, one or several shards.
    pub weights: Vec<PathBuf>,
    /// `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// Longest text in tokens, special ones included.
    pub max_length: usize,
    /// Whether texts are lower-cased before the tokenizer sees them.
    pub lowercase: bool,
}

#[derive(Deserialize)]
struct ModuleEntry {
    #[serde(default)]
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize, Default)]
struct SentenceBertConfig {
    #[serde(default)]
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

#[derive(Deserialize, Default)]
struct PromptConfig {
    #[serde(default)]
    prompts: BTreeMap<String, String>,
    #[serde(default)]
    default_prompt_name: Option<String>,
}

#[derive(Deserialize)]
struct TokenizerConfig {
    /// A float where the tokenizer knows no limit (1e30).
    #[serde(default)]
    model_max_length: Option<f64>,
}

#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

/// Files of a model, and which of them were asked for.
struct Reader {
    model: ModelFiles,
    used: Vec<PathBuf>,
}

impl Reader {
    fn need(&mut self, dir: &str, name: &str) -> Result<PathBuf> {
        let path = self.model.need(&join(dir, name))?;
        self.used.push(path.clone());
        Ok(path)
    }

    fn find(&mut self, dir: &str, name: &str) -> Result<Option<PathBuf>> {
        let path = self.model.find(&join(dir, name))?;
        self.used.extend(path.clone());
        Ok(path)
    }

    fn read_if_there<T: serde::de::DeserializeOwned>(
        &mut self,
        dir: &str,
        name: &str,
    ) -> Result<Option<T>> {
        self.find(dir, name)?.map(|path| read_json(&path)).transpose()
    }

    /// safetensors of a module, whole or in shards.
    fn weights(&mut self, dir: &str) -> Result<Vec<PathBuf>> {
        if let Some(path) = self.find(dir, "model.safetensors")? {
            return Ok(vec![path]);
        }
        if let Some(path) = self.find(dir, "model.safetensors.index.json")? {
            let index: ShardIndex = read_json(&path)?;
            let mut shards: Vec<String> = index.weight_map.into_values().collect();
            shards.sort_unstable();
            shards.dedup();
            return shards.iter().map(|s| self.need(dir, s)).collect();
        }
        if let Some(path) = self.model.find(&join(dir, "pytorch_model.bin"))? {
            return Err(Error::data(
                path,
                "weights are pickled, which is not read; save the model with \
                 `safe_serialization=True` to get model.safetensors",
            ));
        }
        self.need(dir, "model.safetensors").map(|path| vec![path])
    }
}

fn join(dir: &str, name: &str) -> String {
    match dir.trim_matches('/') {
        "" | "." => name.to_string(),
        dir => format!("{dir}/{name}"),
    }
}

impl Plan {
    /// Reads the plan of the model that the options name.
    pub fn read(options: &SentenceTransformerOptions, env: &Environment) -> Result<Self> {
        let model = ModelFiles::locate(&options.model, &options.revision, env)?;
        let mut reader = Reader { model, used: Vec::new() };
        let mut notes = Vec::new();
        let listed: Option<Vec<ModuleEntry>> = reader.read_if_there("", "modules.json")?;
        let modules = listed.unwrap_or_else(|| {
            notes.push(format!(
                "{} has no modules.json: hidden states are averaged (mean pooling)",
                options.model
            ));
            vec![ModuleEntry { path: String::new(), kind: "Transformer".into() }]
        });
        let wrong = |reader: &Reader, message: String| {
            Error::data(reader.model.place_of("modules.json"), message)
        };
        let kind = |m: &ModuleEntry| m.kind.rsplit('.').next().unwrap_or_default().to_string();
        if modules.first().map(kind).as_deref() != Some("Transformer") {
            return Err(wrong(&reader, "the first module must be a Transformer".into()));
        }
        let transformer = Transformer::read(&mut reader, &modules[0].path, options, &mut notes)?;
        let mut width = transformer.config.hidden_size;
        let mut pooling = None;
        let mut steps = Vec::new();
        for module in &modules[1..] {
            match (kind(module).as_str(), &pooling) {
                ("Pooling", None) => {
                    let path = reader.need(&module.path, "config.json")?;
                    let p = Pooling::read(&path, width)?;
                    width = p.width(width);
                    pooling = Some(p);
                }
                ("Dense", Some(_)) => {
                    let path = reader.need(&module.path, "config.json")?;
                    let config: DenseConfig = read_json(&path)?;
                    let activation = Activation::parse(&config.activation_function)
                        .map_err(|e| Error::data(&path, e))?;
                    config.check(width).map_err(|e| Error::data(&path, e))?;
                    width = config.out_features;
                    let weights = reader.weights(&module.path)?;
                    steps.push(Step::Dense { config, activation, weights });
                }
                ("Normalize", Some(_)) => steps.push(Step::Normalize),
                // Frozen models do not drop.
                ("Dropout", Some(_)) => {}
                ("Dense" | "Normalize" | "Dropout", None) => {
                    return Err(wrong(&reader, format!("{} comes before Pooling", kind(module))));
                }
                (other, _) => {
                    return Err(wrong(
                        &reader,
                        format!("module `{other}` is not supported here; known: {MODULES}"),
                    ));
                }
            }
        }
        let prompt = prompt(&mut reader, options)?;
        Ok(Plan {
            transformer,
            pooling: pooling.unwrap_or_else(Pooling::mean),
            steps,
            prompt,
            notes,
            files: reader.used,
        })
    }

    /// Width of the vectors.
    pub fn dim(&self) -> usize {
        let pooled = self.pooling.width(self.transformer.config.hidden_size);
        self.steps.iter().fold(pooled, |width, step| match step {
            Step::Dense { config, .. } => config.out_features,
            Step::Normalize => width,
        })
    }
}

impl Transformer {
    fn read(
        reader: &mut Reader,
        dir: &str,
        options: &SentenceTransformerOptions,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let config = BertConfig::read(&reader.need(dir, "config.json")?)?;
        let tokenizer = reader.need(dir, "tokenizer.json")?;
        let weights = reader.weights(dir)?;
        let sentence: SentenceBertConfig =
            reader.read_if_there(dir, "sentence_bert_config.json")?.unwrap_or_default();
        let tokens: Option<TokenizerConfig> = reader.read_if_there(dir, "tokenizer_config.json")?;
        let positions = config.max_position_embeddings;
        let own = sentence.max_seq_length.unwrap_or_else(|| {
            let limit = tokens.and_then(|t| t.model_max_length).unwrap_or(f64::INFINITY);
            // A float above the positions, as in 1e30, says nothing.
            if limit >= 1.0 && limit < positions as f64 { limit as usize } else { positions }
        });
        if own > positions {
            notes.push(format!(
                "{}: max_seq_length {own} is above the {positions} positions of the model; texts \
                 are cut at {positions} tokens",
                options.model
            ));
        }
        let max_length = match options.max_length {
            0 => own.min(positions),
            n if n <= positions => n,
            n => {
                return Err(Error::config(
                    key("max_length"),
                    format!("{n} is outside 0..={positions}, the positions of the model"),
                ));
            }
        };
        Ok(Transformer {
            config,
            weights,
            tokenizer,
            max_length,
            lowercase: sentence.do_lower_case,
        })
    }
}

fn prompt(reader: &mut Reader, options: &SentenceTransformerOptions) -> Result<String> {
    let known: PromptConfig =
        reader.read_if_there("", "config_sentence_transformers.json")?.unwrap_or_default();
    if !options.prompt_text.is_empty() {
        if !options.prompt.is_empty() {
            return Err(Error::config(
                key("prompt_text"),
                format!("`prompt` is `{}` too; set one of the two", options.prompt),
            ));
        }
        return Ok(options.prompt_text.clone());
    }
    let name = match options.prompt.as_str() {
        "" => match known.default_prompt_name {
            Some(name) => name,
            None => return Ok(String::new()),
        },
        "none" => return Ok(String::new()),
        name => name.to_string(),
    };
    known.prompts.get(&name).cloned().ok_or_else(|| {
        let names: Vec<&str> = known.prompts.keys().map(String::as_str).collect();
        let hint = nearest(&name, names.clone())
            .map(|n| format!(" (did you mean `{n}`?)"))
            .unwrap_or_default();
        let known = if names.is_empty() { "none".into() } else { names.join(", ") };
        Error::config(
            key("prompt"),
            format!(
                "the model has no prompt `{name}`{hint}; known: {known}. Use `prompt_text` for a \
                 prompt of your own"
            ),
        )
    })
}
