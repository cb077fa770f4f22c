//! Text embeddings by a BERT-like model in the sentence-transformers layout.
//!
//! Reimers and Gurevych 2019 (arXiv 1908.10084). The model folder decides what happens to a text:
//! prompt, tokens, transformer (`[T, H]` hidden states), pooling (`[D]`), dense layers,
//! normalisation; [`folder`] reads that plan from `modules.json` and the files it names. Weights
//! are frozen. Cost: about `24 H^2 + 4 T H` floating-point operations a token and layer
//! ([`forward`]).
//!
//! Texts are sorted by length and packed without padding into groups whose states fit the cache of
//! a core; threads take whole packs. A text sees only itself, so the others of its pack change its
//! vector by rounding at most. Packs depend on the texts and options alone, hence so do the
//! vectors.

pub mod bert;
pub mod folder;
pub mod forward;
pub mod head;
mod model;
pub mod pooling;
pub mod tokens;
pub mod weights;

pub use model::TextModel;

use crate::hub::Environment;
use crate::text::{ItemText, default_fields};
use crate::threads::with_threads;
use crate::{check_range, rows};
use folder::Plan;
use model::Network;
use sidereal_core::{EncoderInput, Error, Event, ItemEncoder, Matrix, Result, Run};
use std::path::PathBuf;
use tokens::Tokens;

sidereal_core::options! {
    /// Options of `sentence-transformer`.
    pub struct SentenceTransformerOptions {
        /// A local model folder, or a hub id such as `sentence-transformers/all-MiniLM-L6-v2`.
        pub model: String = "sentence-transformers/all-MiniLM-L6-v2".to_string(),
        /// Branch, tag or commit of a hub id.
        pub revision: String = "main".to_string(),
        /// Columns of the item table that make up the text, joined by `. `.
        pub fields: Vec<String> = default_fields(),
        /// Name of one of the model's prompts, put before every text; empty takes the model's
        /// default prompt, `none` takes no prompt.
        pub prompt: String = String::new(),
        /// The prompt itself, instead of a name.
        pub prompt_text: String = String::new(),
        /// Longest text in tokens, 0 (the model's own limit) or up to the model's positions.
        pub max_length: usize = 0,
        /// Texts that go through the model together, 1 to 4096; fewer where they have more than
        /// 384 tokens.
        pub batch: usize = 32,
        /// Whether vectors are scaled to length 1 even if the model does not say so.
        pub normalize: bool = false,
    }
}

/// A frozen text model.
#[derive(Debug)]
pub struct SentenceTransformer {
    options: SentenceTransformerOptions,
    plan: Plan,
}

impl SentenceTransformer {
    /// Finds the model (and fetches it, where that is built in and allowed) and reads its
    /// configuration; weights are read by `encode`.
    pub fn new(options: SentenceTransformerOptions) -> Result<Self> {
        SentenceTransformer::with_environment(options, &Environment::from_process())
    }

    /// As [`SentenceTransformer::new`], with the given cache and network settings.
    pub fn with_environment(
        options: SentenceTransformerOptions,
        env: &Environment,
    ) -> Result<Self> {
        check_range("batch", options.batch, 1, 4096)?;
        let plan = Plan::read(&options, env)?;
        Ok(SentenceTransformer { options, plan })
    }

    /// Width of the vectors.
    pub fn dim(&self) -> usize {
        self.plan.dim()
    }

    /// Reads tokenizer and weights once, for texts that come in several calls.
    pub fn load(&self) -> Result<TextModel<'_>> {
        TextModel::load(&self.options, &self.plan)
    }

    fn run(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Matrix> {
        let n = input.items.len();
        let text = ItemText::new(input.items, &self.options.fields)?;
        for note in &self.plan.notes {
            run.emit(Event::Note(note));
        }
        let tokenizer = tokens::tokenizer(&self.plan)?;
        let tokens = Tokens::encode(&self.plan, &tokenizer, n, |i, line| text.write(i, line), run)?;
        drop(tokenizer);
        if tokens.without_text > 0 {
            run.emit(Event::Warning(&format!(
                "sentence-transformer: {} no text; such vectors are those of the empty text",
                rows::items_have(tokens.without_text)
            )));
        }
        let network = Network::load(&self.plan)?;
        let mut out = network.encode(&self.plan, &tokens, self.options.batch, run)?;
        rows::check_finite(&format!("embedding by {}", self.options.model), &out, input.items)?;
        if self.options.normalize {
            rows::normalize_all(&mut out);
        }
        Ok(out)
    }
}

impl ItemEncoder for SentenceTransformer {
    fn encode(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Matrix> {
        if input.items.is_empty() {
            return Err(Error::input("the catalogue has no item to encode"));
        }
        with_threads(run.threads, || self.run(input, run))
    }

    fn files(&self) -> Vec<PathBuf> {
        self.plan.files.clone()
    }

    fn seeded(&self) -> bool {
        false
    }
}
