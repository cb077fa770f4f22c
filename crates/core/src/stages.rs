//! The stages of the pipeline as traits, on one screen.
//!
//! Learner and learned are two types: a [`Quantizer`] fits and gives a [`Codebook`], which
//! quantizes. Model-side traits (backbone, objective, decoder, metric) live in the lightest crate
//! that can hold them: `nn`, `decoding`, `metrics`.

use crate::{
    Code, Error, ItemId, ItemSet, ItemTable, Matrix, MatrixRef, Result, Run, Sequences, SidTable,
    UserId,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What an encoder may look at: the catalogue and the training interactions, never the targets.
#[derive(Clone, Copy)]
pub struct EncoderInput<'a> {
    /// The catalogue, N items.
    pub items: &'a ItemTable,
    /// Training histories, for collaborative and graph encoders.
    pub train: &'a Sequences,
}

/// Items to vectors.
pub trait ItemEncoder: Send + Sync {
    /// One finite vector an item: shape `N x D`.
    fn encode(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Matrix>;

    /// Files beside the config that decide the result; their content is part of the cache key.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Whether the run's seed decides the result. Encoders that draw nothing say no, so that runs
    /// with several seeds share their vectors.
    fn seeded(&self) -> bool {
        true
    }
}

/// What a quantizer sees: vectors to quantize (items, or states of a model) and what is known
/// beside them.
#[derive(Clone, Copy)]
pub struct QuantizerInput<'a> {
    /// Vectors of shape `N x D`.
    pub vectors: MatrixRef<'a>,
    /// Named matrices of N rows, as in `domain` (`N x 1`) or `collaborative` (`N x D'`); most
    /// quantizers read none. In a configuration, encoders under `[side]` make them.
    pub side: &'a BTreeMap<String, Matrix>,
    /// The catalogue and the training histories, where the rows are its items; quantizers that
    /// build a graph read them.
    pub catalogue: Option<EncoderInput<'a>>,
}

impl<'a> QuantizerInput<'a> {
    /// Vectors alone.
    pub fn vectors(vectors: MatrixRef<'a>) -> Self {
        static NONE: BTreeMap<String, Matrix> = BTreeMap::new();
        QuantizerInput { vectors, side: &NONE, catalogue: None }
    }

    /// A side input.
    ///
    /// Errors: there is none of that name, or its number of rows is not that of the vectors.
    pub fn side(&self, name: &str) -> Result<&'a Matrix> {
        let found = self.side.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.side.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            Error::input(format!(
                "the quantizer needs the side input `{name}`, there is {known}; give it an encoder \
                 under [side], as in `[side.{name}]`"
            ))
        })?;
        if found.rows() != self.vectors.rows() {
            return Err(Error::mismatch(format!(
                "side input `{name}` has {} rows for {} vectors",
                found.rows(),
                self.vectors.rows()
            )));
        }
        Ok(found)
    }
}

/// Codes of N rows: a dense `N x L` matrix of levels. Rows of quantizers whose depth differs from
/// row to row end in [`Codes::NONE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codes {
    rows: usize,
    levels: usize,
    data: Vec<Code>,
}

impl Codes {
    /// Stands behind the last code of a short row, and nowhere else.
    pub const NONE: Code = Code::MAX;

    /// Takes `data` as `rows x levels`, row-major.
    pub fn new(rows: usize, levels: usize, data: Vec<Code>) -> Result<Self> {
        if rows * levels != data.len() {
            return Err(Error::mismatch(format!(
                "{rows} rows of {levels} codes need {} values, got {}",
                rows * levels,
                data.len()
            )));
        }
        Ok(Codes { rows, levels, data })
    }

    /// Number of rows N.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of levels L.
    pub fn levels(&self) -> usize {
        self.levels
    }

    /// Codes of row `i`.
    pub fn row(&self, i: usize) -> &[Code] {
        &self.data[i * self.levels..(i + 1) * self.levels]
    }

    /// Codes of row `i` without the [`Codes::NONE`] behind them.
    pub fn sid(&self, i: usize) -> &[Code] {
        let row = self.row(i);
        let end = row.iter().rposition(|&c| c != Codes::NONE).map_or(0, |last| last + 1);
        &row[..end]
    }

    /// All codes, row after row.
    pub fn data(&self) -> &[Code] {
        &self.data
    }
}

/// Learns a codebook. Staged and stateful training happens inside [`Quantizer::fit`]; quantizers
/// trained inside a recommender implement [`Codebook`] alone.
pub trait Quantizer: Send + Sync {
    /// Fits on the input; the same seed gives the same bytes with any number of threads.
    fn fit(&self, input: &QuantizerInput<'_>, run: &Run<'_>) -> Result<Box<dyn Codebook>>;
}

/// A learned quantizer.
pub trait Codebook: Send + Sync {
    /// Number of codes of each level.
    fn widths(&self) -> &[u32];

    /// Nearest codes, shape `N x L`. May differ from the assignment used while fitting, which can
    /// be balanced.
    fn quantize(&self, input: &QuantizerInput<'_>) -> Result<Codes>;

    /// Vectors that the first `levels` codes stand for, shape `N x D`; `None` where codes carry no
    /// vectors (random ids) or scales are lost (residual normalisation).
    fn reconstruct(&self, codes: &Codes, levels: usize) -> Option<Matrix>;

    /// Squared distances of each row of `vectors` (`R x D`) to all codes of `level`, shape
    /// `R x K_level`, where `codes` (`R x L`) holds its codes of the levels before; what stands at
    /// `level` and behind is not read. `None` where codes have no distance (random ids).
    ///
    /// Errors: shapes that do not fit, a level or a code that the codebook does not have.
    fn distances(
        &self,
        vectors: MatrixRef<'_>,
        codes: &Codes,
        level: usize,
    ) -> Result<Option<Matrix>> {
        let _ = (vectors, codes, level);
        Ok(None)
    }

    /// Named tensors to save, as in `level_0`.
    fn tensors(&self) -> Vec<(String, Matrix)>;
}

/// What the quantizer made of the items.
#[derive(Clone, Copy)]
pub struct Quantized<'a> {
    /// Codes of the N items.
    pub codes: &'a Codes,
    /// The codebook, for policies that look for the second-best code.
    pub codebook: &'a dyn Codebook,
    /// The quantized vectors, shape `N x D`.
    pub vectors: MatrixRef<'a>,
}

/// What an identifier may use.
#[derive(Clone, Copy)]
pub struct IdentifierInput<'a> {
    /// The catalogue and the training histories, never the targets.
    pub catalogue: EncoderInput<'a>,
    /// Training interactions of each item.
    pub popularity: &'a [u32],
    /// Codes and codebook; none for identifiers that do not read them.
    pub quantized: Option<Quantized<'a>>,
}

impl<'a> IdentifierInput<'a> {
    /// Codes and codebook, for identifiers that cannot do without.
    pub fn quantized(&self) -> Result<&Quantized<'a>> {
        let none = || Error::mismatch("this identifier reads codes, but nothing was quantized");
        self.quantized.as_ref().ok_or_else(none)
    }
}

/// To finished identifiers: resolves (or tolerates) collisions of codes, or makes IDs of other
/// things.
pub trait Identifier: Send + Sync {
    /// The SID table of the catalogue.
    fn identify(&self, input: &IdentifierInput<'_>, run: &Run<'_>) -> Result<SidTable>;

    /// Whether the codes of a quantizer are read. Without, neither encoder nor quantizer runs.
    fn reads_codes(&self) -> bool {
        true
    }

    /// Files beside the config that decide the result; their content is part of the cache key.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// One request for recommendations. The default has no history and forbids nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// The user, for models that know users.
    pub user: Option<UserId>,
    /// Items of the user, oldest first; may be empty.
    pub history: &'a [ItemId],
    /// Times of the history in Unix seconds.
    pub times: Option<&'a [i64]>,
    /// Items that must not come back.
    pub exclude: &'a [ItemId],
    /// Only these may come back, where there is a set: candidates, business filters, stock. Its
    /// catalogue has the size of the recommender's, which is checked.
    pub among: Option<&'a ItemSet>,
}

impl Request<'_> {
    /// Whether the item may come back; looks at every excluded item.
    pub fn allows(&self, item: ItemId) -> bool {
        self.among.is_none_or(|among| among.contains(item)) && !self.exclude.contains(&item)
    }

    /// Refuses a set of a catalogue of another size.
    pub fn check(&self, n_items: usize) -> Result<()> {
        self.among.map_or(Ok(()), |among| among.check(n_items))
    }
}

/// One recommended item and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Recommendation {
    /// The item.
    pub item: ItemId,
    /// Score that ordered the list; comparable within one response only.
    pub score: f64,
    /// The generated ID, for generative models.
    pub sid: Option<Vec<Code>>,
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Response {
    /// Distinct items, best first.
    pub items: Vec<Recommendation>,
    /// Generated candidates that were no real item.
    pub invalid: usize,
}

/// Requests in, ranked items out: SID models, dense retrievers, popularity, bandits and language
/// models are all recommenders, so one evaluation compares them all.
pub trait Recommender: Send + Sync {
    /// At most `k` distinct items for each request, best first; ties by score go to the lower item.
    fn recommend(&self, requests: &[Request<'_>], k: usize, run: &Run<'_>)
    -> Result<Vec<Response>>;
}

impl<R: Recommender + ?Sized> Recommender for Box<R> {
    fn recommend(
        &self,
        requests: &[Request<'_>],
        k: usize,
        run: &Run<'_>,
    ) -> Result<Vec<Response>> {
        (**self).recommend(requests, k, run)
    }
}
