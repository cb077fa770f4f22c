//! `text`: the words of an item's title, keywords or address as its ID.
//!
//! - Titles are the TID of arXiv 2305.06569 and the IDs of GENRE and CorpusBrain (arXiv 2208.07652).
//! - `source = "url"` is the title-or-URL rule of DDRO (arXiv 2504.05181), cut to 99 tokens.
//! - Keywords as ZeroGR (arXiv 2510.10419) writes them: `column = "keywords"`, `max_tokens = 8`,
//!   `form = "shortest-prefix"`: six to eight words, cut behind the first that tells items apart.
//!
//! Tokens are the words of the catalogue (runs of letters and digits in lower case, the most frequent
//! has code 0), or those of a `tokenizer.json`, whose own numbers are the codes. Behind them come the
//! end token and the numbers `#1`, `#2`, ... of items that share a text: titles are not unique, and
//! long ones are cut. Every ID ends in the end token, so none begins another one. [`Text::read`] gives
//! the table with the string of every code.
//!
//! An item without a text in the column takes its title, and without one its source id.
//!
//! Deviations: tokenizers of the papers' language models are read from a file, none is built in; the
//! text identifiers that a model writes (ZeroGR's keywords) must stand in a column.
//!
//! Cost: `O(total length)` for the tokens, `O(N L log N)` for equal texts and prefixes.

mod prefix;
mod url;
mod words;

use super::Ids;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sidereal_core::{
    Code, CodeOrder, Error, Identifier, IdentifierInput, ItemId, ItemTable, Result, Run, SidTable,
    StringColumn,
};
use sidereal_nn::parallel::pool;
use std::path::PathBuf;
use tokenizers::Tokenizer;

/// What the text is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextSource {
    /// The column as it is.
    Plain,
    /// The column holds addresses: readable ones turned round, titles for the others.
    Url,
}

/// How much of the text an ID keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextForm {
    /// All tokens.
    Whole,
    /// Up to the first token that tells the item from all others.
    ShortestPrefix,
}

/// What happens to items with the same tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SharedText {
    /// All but the first, in the order of the catalogue, get a number.
    Number,
    /// They share the ID.
    Tolerate,
}

sidereal_core::options! {
    /// Options of `text`.
    pub struct TextOptions {
        /// Column of the catalogue.
        pub column: String = "title".into(),
        /// `plain`, or `url` where the column holds addresses.
        pub source: TextSource = TextSource::Plain,
        /// Path of a `tokenizer.json`; empty for the words of the catalogue.
        pub tokenizer: String = String::new(),
        /// Tokens of a text, at most, 1 and up. DDRO: 99.
        pub max_tokens: u32 = 99,
        /// `whole` or `shortest-prefix`.
        pub form: TextForm = TextForm::Whole,
        /// Items with the same tokens: `number` or `tolerate`.
        pub shared: SharedText = SharedText::Number,
    }
}

/// Turns texts into IDs.
#[derive(Debug, Clone)]
pub struct Text {
    options: TextOptions,
}

/// IDs of texts, and what their codes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextIds {
    /// The table.
    pub table: SidTable,
    /// The string of each code.
    pub tokens: StringColumn,
}

impl TextIds {
    /// The strings of an ID, joined by spaces. Codes outside the vocabulary are left out.
    pub fn text(&self, sid: &[Code]) -> String {
        let known = sid.iter().map(|&c| c as usize).filter(|&c| c < self.tokens.len());
        known.map(|c| self.tokens.get(c)).collect::<Vec<_>>().join(" ")
    }
}

/// What the end token reads as.
pub const END: &str = "<end>";

impl Text {
    /// Checks the options.
    ///
    /// Errors name the key under `identifier`, its value and what is allowed.
    pub fn new(options: TextOptions) -> Result<Self> {
        if options.max_tokens == 0 {
            return Err(Error::config("identifier.max_tokens", "got 0; expected at least 1"));
        }
        Ok(Text { options })
    }

    /// The table and its vocabulary.
    ///
    /// Errors: no such column, a tokenizer that cannot be read.
    pub fn read(&self, items: &ItemTable) -> Result<TextIds> {
        let texts = self.texts(items)?;
        let longest = self.options.max_tokens as usize;
        let (codes, mut tokens) = match self.options.tokenizer.as_str() {
            "" => words::encode(&texts, longest),
            path => pieces(path, &texts, longest)?,
        };
        let end = tokens.len() as Code;
        tokens.push(END);
        let mut ids = Ids::new();
        codes.iter().for_each(|id| ids.push(id));
        drop(codes);
        if self.options.shared == SharedText::Number {
            ids = numbered(&ids, &mut tokens);
        }
        if self.options.form == TextForm::ShortestPrefix {
            ids = prefix::shortest(&ids);
        }
        let mut out = Ids::new();
        ids.iter().for_each(|id| out.extend(id.iter().copied().chain([end])));
        Ok(TextIds { table: out.table(CodeOrder::Sequence)?, tokens })
    }

    /// The text of each item.
    fn texts(&self, items: &ItemTable) -> Result<Vec<String>> {
        let name = self.options.column.as_str();
        let column = items.column(name);
        if column.is_none() && name != "title" {
            let known: Vec<&str> = items.column_names().collect();
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            let message = format!("the catalogue has no column `{name}`; it has {known}");
            return Err(Error::config("identifier.column", message));
        }
        let text = |i: usize| {
            let title = items.title(ItemId(i as u32));
            let value = column.map_or("", |column| column.get(i));
            let text = match self.options.source {
                TextSource::Plain => value.to_string(),
                TextSource::Url => url::text(value, title),
            };
            let candidates = [text.as_str(), title, items.id(ItemId(i as u32))];
            let spoken = candidates.into_iter().find(|t| words::words(t).next().is_some());
            spoken.unwrap_or("item").to_string()
        };
        Ok((0..items.len()).into_par_iter().map(text).collect())
    }
}

/// Tokens of a `tokenizer.json`, and the string of each of its codes.
fn pieces(path: &str, texts: &[String], longest: usize) -> Result<(Vec<Vec<Code>>, StringColumn)> {
    let wrong = |e: tokenizers::Error| Error::data(path, format!("no tokenizer: {e}"));
    let bytes = std::fs::read(path).map_err(|e| Error::read(path, e))?;
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(wrong)?;
    tokenizer.with_padding(None).with_truncation(None).map_err(wrong)?;
    let encode = |text: &String| {
        let encoding = tokenizer.encode_fast(text.as_str(), false).map_err(wrong)?;
        let ids = encoding.get_ids();
        if ids.is_empty() {
            return Err(Error::data(path, format!("the tokenizer gives `{text}` no token")));
        }
        Ok(ids[..longest.min(ids.len())].to_vec())
    };
    let codes = texts.par_iter().map(encode).collect::<Result<_>>()?;
    let size = tokenizer.get_vocab(true).into_values().max().map_or(0, |largest| largest + 1);
    Ok((codes, (0..size).map(|id| tokenizer.id_to_token(id).unwrap_or_default()).collect()))
}

/// The IDs with a number behind all but the first of equal ones; `tokens` gets the numbers.
fn numbered(ids: &Ids, tokens: &mut StringColumn) -> Ids {
    let first = tokens.len() as Code;
    let mut numbers = vec![0; ids.len()];
    let order = ids.sorted();
    for run in order.chunk_by(|&a, &b| ids.get(a as usize) == ids.get(b as usize)) {
        (0..).zip(run).for_each(|(number, &i)| numbers[i as usize] = number);
    }
    let largest = numbers.iter().copied().max().unwrap_or(0);
    (1..=largest).for_each(|number| tokens.push(&format!("#{number}")));
    let mut out = Ids::new();
    for (id, number) in ids.iter().zip(numbers) {
        let number = (number > 0).then(|| first + number - 1);
        out.extend(id.iter().copied().chain(number));
    }
    out
}

impl Identifier for Text {
    fn identify(&self, input: &IdentifierInput<'_>, run: &Run<'_>) -> Result<SidTable> {
        run.check()?;
        Ok(pool(run.threads)?.install(|| self.read(input.catalogue.items))?.table)
    }

    fn reads_codes(&self) -> bool {
        false
    }

    fn files(&self) -> Vec<PathBuf> {
        match self.options.tokenizer.as_str() {
            "" => Vec::new(),
            path => vec![path.into()],
        }
    }
}
