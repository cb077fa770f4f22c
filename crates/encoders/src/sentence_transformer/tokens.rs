//! Texts to tokens, and tokens to batches of similar length.

use super::folder::Plan;
use crate::key;
use crate::text::ItemText;
use sidereal_core::{Error, Result, Run};
use tokenizers::{PostProcessor, Tokenizer, TruncationParams};

/// Texts given to the tokenizer at once.
const CHUNK: usize = 1024;
/// A batch of longer texts has fewer of them: this many tokens at most, padding included, so that
/// the states of a batch stay in the cache.
const BATCH_TOKENS: usize = 2048;

/// Tokens of every item: row `i` is `ids[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Clone)]
pub struct Tokens {
    ids: Vec<u32>,
    offsets: Vec<usize>,
    /// Tokens of the prompt at the start of every row, the leading special token included.
    pub prompt_len: usize,
    /// Items whose text is empty.
    pub without_text: usize,
}

impl Tokens {
    /// Tokenizes the texts of `n` items, each after the prompt and cut at the model's length.
    pub fn encode(plan: &Plan, text: &ItemText<'_>, n: usize, run: &Run<'_>) -> Result<Self> {
        let path = &plan.transformer.tokenizer;
        let bytes = std::fs::read(path).map_err(|e| Error::read(path, e))?;
        let wrong = |e: tokenizers::Error| Error::data(path, e.to_string());
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(wrong)?;
        let special = tokenizer.get_post_processor().map_or(0, |p| p.added_tokens(false));
        let max_length = plan.transformer.max_length;
        if max_length <= special {
            return Err(Error::config(
                key("max_length"),
                format!("{max_length} leaves no room beside the {special} special tokens"),
            ));
        }
        // The file may ask for a fixed width and another limit; batches are padded here.
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(Some(TruncationParams { max_length, ..Default::default() }))
            .map_err(wrong)?;
        let mut out = Tokens {
            ids: Vec::new(),
            offsets: vec![0],
            prompt_len: prompt_len(plan, &tokenizer).map_err(wrong)?,
            without_text: 0,
        };
        let mut line = String::new();
        for start in (0..n).step_by(CHUNK) {
            run.check()?;
            let mut lines = Vec::with_capacity(CHUNK);
            for i in start..(start + CHUNK).min(n) {
                text.write(i, &mut line);
                out.without_text += usize::from(line.is_empty());
                lines.push(prepared(plan, &format!("{}{line}", plan.prompt)));
            }
            for encoding in tokenizer.encode_batch_fast(lines, true).map_err(wrong)? {
                out.ids.extend_from_slice(encoding.get_ids());
                out.offsets.push(out.ids.len());
            }
        }
        let vocabulary = plan.transformer.config.vocab_size;
        if let Some(id) = out.ids.iter().find(|&&id| id as usize >= vocabulary) {
            return Err(Error::data(
                path,
                format!("token {id} is outside the model's vocabulary of {vocabulary}"),
            ));
        }
        Ok(out)
    }

    /// Tokens of item `i`.
    pub fn row(&self, i: u32) -> &[u32] {
        &self.ids[self.offsets[i as usize]..self.offsets[i as usize + 1]]
    }

    /// Items in batches of at most `size`, longest first (equals by number). Items without any
    /// token are in no batch.
    pub fn batches(&self, size: usize) -> Vec<Vec<u32>> {
        let n = self.offsets.len() - 1;
        let mut order: Vec<u32> = (0..n as u32).filter(|&i| !self.row(i).is_empty()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(self.row(i).len()));
        let mut batches = Vec::new();
        let mut rest = &order[..];
        while let Some(&longest) = rest.first() {
            let fit = (BATCH_TOKENS / self.row(longest).len()).clamp(1, size);
            let (batch, later) = rest.split_at(fit.min(rest.len()));
            batches.push(batch.to_vec());
            rest = later;
        }
        batches
    }
}

fn prepared(plan: &Plan, text: &str) -> String {
    if plan.transformer.lowercase { text.to_lowercase() } else { text.to_string() }
}

/// Tokens that the prompt alone takes, without the special token at its end.
fn prompt_len(plan: &Plan, tokenizer: &Tokenizer) -> tokenizers::Result<usize> {
    if plan.prompt.is_empty() || !plan.pooling.skips_prompt() {
        return Ok(0);
    }
    let encoding = tokenizer.encode(prepared(plan, &plan.prompt), true)?;
    let closing = encoding.get_special_tokens_mask().last() == Some(&1);
    Ok(encoding.len() - usize::from(closing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_sorted_and_bounded() {
        let lens = [3usize, 0, 1500, 3, 900, 1];
        let mut offsets = vec![0];
        offsets.extend(lens.iter().scan(0, |end, len| {
            *end += len;
            Some(*end)
        }));
        let tokens = Tokens { ids: vec![0; 2407], offsets, prompt_len: 0, without_text: 1 };
        assert_eq!(tokens.batches(2), [vec![2], vec![4, 0], vec![3, 5]]);
        assert_eq!(tokens.batches(9), [vec![2], vec![4, 0], vec![3, 5]]);
    }
}
