//! Text embeddings by a BERT-like model in the sentence-transformers layout.
//!
//! Reimers and Gurevych 2019 (arXiv 1908.10084). The model folder decides what happens to a text:
//! prompt, tokens, transformer (`[T, H]` hidden states), pooling (`[D]`), dense layers,
//! normalisation; [`folder`] reads that plan from `modules.json` and the files it names. Weights
//! are frozen. Cost: about `24 H^2 + 4 T H` floating-point operations a token and layer.
//!
//! Texts are grouped by length, so a batch has little padding; padding is masked, so the other
//! texts of a batch change a vector by rounding at most. Batches depend on the texts and options
//! alone, hence so do the vectors.

pub mod bert;
pub mod folder;
pub mod head;
pub mod pooling;
pub mod tokens;

use crate::hub::Environment;
use crate::text::{ItemText, default_fields};
use crate::threads::with_threads;
use crate::{check_range, rows};
use candle_core::{Device, Tensor};
use folder::Plan;
use rayon::prelude::*;
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
        /// Texts in one batch, 1 to 4096; fewer where texts are long.
        pub batch: usize = 32,
        /// Whether vectors are scaled to length 1 even if the model does not say so.
        pub normalize: bool = false,
    }
}

/// Batches computed between two looks at the stop flag.
const WINDOW: usize = 16;

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

    fn run(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Matrix> {
        const TASK: &str = "encode";
        let n = input.items.len();
        let text = ItemText::new(input.items, &self.options.fields)?;
        for note in &self.plan.notes {
            run.emit(Event::Note(note));
        }
        let tokens = Tokens::encode(&self.plan, &text, n, run)?;
        if tokens.without_text > 0 {
            run.emit(Event::Warning(&format!(
                "sentence-transformer: {} no text; such vectors are those of the empty text",
                rows::items_have(tokens.without_text)
            )));
        }
        let model = bert::load(&self.plan.transformer)?;
        let head = head::load(&self.plan.steps)?;
        let batches = tokens.batches(self.options.batch);
        let dim = self.plan.dim();
        let mut out = Matrix::zeros(n, dim);
        let mut done = 0;
        run.emit(Event::Started { task: TASK, total: n as u64, unit: "items" });
        for window in batches.chunks(WINDOW) {
            run.check()?;
            let parts: Vec<Vec<f32>> = window
                .par_iter()
                .map(|batch| self.batch(&tokens, batch, &model, &head))
                .collect::<Result<_>>()?;
            for (batch, vectors) in window.iter().zip(&parts) {
                for (&item, vector) in batch.iter().zip(vectors.chunks_exact(dim)) {
                    out.row_mut(item as usize).copy_from_slice(vector);
                }
                done += batch.len() as u64;
            }
            run.emit(Event::Advanced { task: TASK, done, numbers: &[] });
        }
        run.emit(Event::Finished { task: TASK });
        rows::check_finite(&format!("embedding by {}", self.options.model), &out, input.items)?;
        if self.options.normalize {
            rows::normalize_all(&mut out);
        }
        Ok(out)
    }

    /// Vectors of the items of one batch, longest first: `B x D`.
    fn batch(
        &self,
        tokens: &Tokens,
        items: &[u32],
        model: &candle_transformers::models::bert::BertModel,
        head: &[head::Layer],
    ) -> Result<Vec<f32>> {
        let failed = |e: candle_core::Error| Error::other("running the text model", e);
        let transformer = &self.plan.transformer;
        let (b, t) = (items.len(), items.first().map_or(0, |&i| tokens.row(i).len()));
        let mut ids = vec![transformer.config.pad_token_id as u32; b * t];
        let mut mask = vec![0f32; b * t];
        for (r, &item) in items.iter().enumerate() {
            let row = tokens.row(item);
            ids[r * t..r * t + row.len()].copy_from_slice(row);
            mask[r * t..r * t + row.len()].fill(1.0);
        }
        let hidden = (|| {
            let ids = Tensor::from_vec(ids, (b, t), &Device::Cpu)?;
            let mask = Tensor::from_vec(mask, (b, t), &Device::Cpu)?;
            model.forward(&ids, &ids.zeros_like()?, Some(&mask))?.flatten_all()?.to_vec1::<f32>()
        })()
        .map_err(failed)?;
        let h = transformer.config.hidden_size;
        let mut pooled = Vec::with_capacity(b * self.plan.pooling.width(h));
        for (r, &item) in items.iter().enumerate() {
            let len = tokens.row(item).len();
            let states = &hidden[r * t * h..(r * t + len) * h];
            self.plan.pooling.pool(states, h, tokens.prompt_len, &mut pooled);
        }
        head::apply(head, pooled, b).map_err(failed)
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
