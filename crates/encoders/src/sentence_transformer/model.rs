//! A text model with its weights, and the threads over packs of texts.

use super::folder::Plan;
use super::forward::{Bert, Workspace};
use super::tokens::{self, Tokens};
use super::{SentenceTransformerOptions, head};
use crate::rows;
use crate::threads::with_threads;
use rayon::prelude::*;
use sidereal_core::{Error, Event, Matrix, Result, Run};
use std::sync::Mutex;
use tokenizers::Tokenizer;

/// Packs computed between two looks at the stop flag.
const WINDOW: usize = 64;

/// A loaded model, for texts that come in several calls.
pub struct TextModel<'a> {
    options: &'a SentenceTransformerOptions,
    plan: &'a Plan,
    tokenizer: Tokenizer,
    network: Network,
}

impl<'a> TextModel<'a> {
    pub(super) fn load(options: &'a SentenceTransformerOptions, plan: &'a Plan) -> Result<Self> {
        let tokenizer = tokens::tokenizer(plan)?;
        Ok(TextModel { options, plan, tokenizer, network: Network::load(plan)? })
    }

    /// Vectors of some texts, one row a text.
    pub fn encode<S: AsRef<str> + Sync>(&self, texts: &[S], run: &Run<'_>) -> Result<Matrix> {
        with_threads(run.threads, || {
            let text = |i: usize, line: &mut String| {
                line.clear();
                line.push_str(texts[i].as_ref());
            };
            let tokens = Tokens::encode(self.plan, &self.tokenizer, texts.len(), text, run)?;
            let mut out = self.network.encode(self.plan, &tokens, self.options.batch, run)?;
            if let Some(row) = out.view().first_not_finite() {
                return Err(Error::NotFinite {
                    what: format!("embedding by {}, text {row}", self.options.model),
                    step: None,
                    help: "every value must be a number within the range of f32".into(),
                });
            }
            if self.options.normalize {
                rows::normalize_all(&mut out);
            }
            Ok(out)
        })
    }
}

/// All weights of a model.
pub(super) struct Network {
    bert: Bert,
    head: Vec<head::Layer>,
}

impl Network {
    pub(super) fn load(plan: &Plan) -> Result<Self> {
        Ok(Network { bert: Bert::load(&plan.transformer)?, head: head::load(&plan.steps)? })
    }

    /// Vectors of tokenized texts, at most `size` in a pack. Runs in the current pool of threads.
    pub(super) fn encode(
        &self,
        plan: &Plan,
        tokens: &Tokens,
        size: usize,
        run: &Run<'_>,
    ) -> Result<Matrix> {
        const TASK: &str = "encode";
        let (n, dim) = (tokens.rows(), plan.dim());
        let packs = tokens.packs(size);
        let mut out = Matrix::zeros(n, dim);
        let mut done = 0;
        // Workspaces that no thread holds.
        let idle = Mutex::new(Vec::new());
        run.emit(Event::Started { task: TASK, total: n as u64, unit: "items" });
        for first in (0..packs.len()).step_by(WINDOW) {
            run.check()?;
            let window = packs.slices(first..packs.len().min(first + WINDOW));
            let parts: Vec<Vec<f32>> = window
                .par_iter()
                .with_max_len(1)
                .map(|pack| {
                    let take = || idle.lock().unwrap_or_else(|e| e.into_inner()).pop();
                    let mut work = take().unwrap_or_default();
                    let vectors = self.pack(plan, tokens, pack, &mut work);
                    idle.lock().unwrap_or_else(|e| e.into_inner()).push(work);
                    vectors
                })
                .collect();
            for (pack, vectors) in window.iter().zip(&parts) {
                for (&item, vector) in pack.iter().zip(vectors.chunks_exact(dim)) {
                    out.row_mut(item as usize).copy_from_slice(vector);
                }
                done += pack.len() as u64;
            }
            run.emit(Event::Advanced { task: TASK, done, numbers: &[] });
        }
        run.emit(Event::Finished { task: TASK });
        Ok(out)
    }

    /// Vectors of the texts of one pack.
    fn pack(&self, plan: &Plan, tokens: &Tokens, items: &[u32], work: &mut PackWork) -> Vec<f32> {
        let h = plan.transformer.config.hidden_size;
        work.ids.clear();
        work.lengths.clear();
        for &item in items {
            work.ids.extend_from_slice(tokens.row(item));
            work.lengths.push(tokens.row(item).len());
        }
        let states = self.bert.forward(&work.ids, &work.lengths, &mut work.workspace);
        let mut pooled = Vec::with_capacity(items.len() * plan.pooling.width(h));
        let mut start = 0;
        for len in &work.lengths {
            let own = &states[start * h..(start + len) * h];
            plan.pooling.pool(own, h, tokens.prompt_len, &mut pooled);
            start += len;
        }
        head::apply(&self.head, pooled, items.len())
    }
}

/// Reused buffers of one thread.
#[derive(Default)]
struct PackWork {
    ids: Vec<u32>,
    lengths: Vec<usize>,
    workspace: Workspace,
}
