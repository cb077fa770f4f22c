//! Texts to tokens, and tokens to packs of similar length.

use super::folder::Plan;
use crate::key;
use sidereal_core::{Error, Result, Run};
use std::ops::Range;
use tokenizers::{PostProcessor, Tokenizer, TruncationParams};

/// Texts given to the tokenizer at once.
const CHUNK: usize = 1024;
/// Tokens of a pack, unless one text is longer: enough rows for fast products, few enough that the
/// states stay in the second-level cache.
const PACK_TOKENS: usize = 384;

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

/// Reads the tokenizer, set to cut at the model's length and never to pad.
pub fn tokenizer(plan: &Plan) -> Result<Tokenizer> {
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
    // The file may ask for a fixed width and another limit; texts are packed here.
    tokenizer.with_padding(None);
    tokenizer
        .with_truncation(Some(TruncationParams { max_length, ..Default::default() }))
        .map_err(wrong)?;
    Ok(tokenizer)
}

impl Tokens {
    /// Tokenizes `n` texts, each after the prompt; `text(i, line)` replaces `line` by text `i`.
    pub fn encode(
        plan: &Plan,
        tokenizer: &Tokenizer,
        n: usize,
        text: impl Fn(usize, &mut String),
        run: &Run<'_>,
    ) -> Result<Self> {
        let path = &plan.transformer.tokenizer;
        let wrong = |e: tokenizers::Error| Error::data(path, e.to_string());
        let mut out = Tokens {
            ids: Vec::new(),
            offsets: vec![0],
            prompt_len: prompt_len(plan, tokenizer).map_err(wrong)?,
            without_text: 0,
        };
        let mut line = String::new();
        for start in (0..n).step_by(CHUNK) {
            run.check()?;
            let mut lines = Vec::with_capacity(CHUNK);
            for i in start..(start + CHUNK).min(n) {
                text(i, &mut line);
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

    /// Number of items.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of tokens in all.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Items in packs of at most `size`, longest first (equals by number). Items without any token
    /// are in no pack.
    pub fn packs(&self, size: usize) -> Packs {
        let mut order: Vec<u32> =
            (0..self.rows() as u32).filter(|&i| !self.row(i).is_empty()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(self.row(i).len()));
        let mut ends = Vec::new();
        let (mut items, mut tokens) = (0, 0);
        for (at, &i) in order.iter().enumerate() {
            let len = self.row(i).len();
            if items == size || (items > 0 && tokens + len > PACK_TOKENS) {
                ends.push(at);
                (items, tokens) = (0, 0);
            }
            (items, tokens) = (items + 1, tokens + len);
        }
        if items > 0 {
            ends.push(order.len());
        }
        Packs { order, ends }
    }
}

/// Groups of items that go through the model together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packs {
    order: Vec<u32>,
    ends: Vec<usize>,
}

impl Packs {
    /// Number of packs.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Items of some packs, one slice a pack.
    pub fn slices(&self, range: Range<usize>) -> Vec<&[u32]> {
        let start = |pack: usize| if pack == 0 { 0 } else { self.ends[pack - 1] };
        range.map(|pack| &self.order[start(pack)..self.ends[pack]]).collect()
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
    fn packs_are_sorted_and_bounded() {
        let lens = [3usize, 0, 450, 3, 378, 1];
        let mut offsets = vec![0];
        offsets.extend(lens.iter().scan(0, |end, len| {
            *end += len;
            Some(*end)
        }));
        let tokens = Tokens { ids: vec![0; 835], offsets, prompt_len: 0, without_text: 1 };
        let all = |size| {
            let packs = tokens.packs(size);
            packs.slices(0..packs.len()).iter().map(|p| p.to_vec()).collect::<Vec<_>>()
        };
        // 378 + 3 + 3 tokens just fit.
        assert_eq!(all(9), [vec![2], vec![4, 0, 3], vec![5]]);
        assert_eq!(all(2), [vec![2], vec![4, 0], vec![3, 5]]);
        let none = Tokens { ids: vec![], offsets: vec![0, 0], prompt_len: 0, without_text: 1 };
        assert!(none.packs(3).is_empty() && none.is_empty());
        assert_eq!((tokens.len(), tokens.packs(9).len()), (835, 3));
    }
}
