//! The stages of the pipeline as traits, on one screen.
//!
//! Learner and learned are two types: a [`Quantizer`] fits and gives a [`Codebook`], which
//! quantizes. Model-side traits (backbone, objective, decoder, metric) live in the lightest crate
//! that can hold them: `nn`, `decoding`, `metrics`.

use crate::{
    Code, Error, ItemId, ItemTable, Matrix, MatrixRef, Result, Run, Sequences, SidTable, UserId,
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

/// What a quantizer sees: vectors to quantize (items, or states of a model) and named side inputs.
#[derive(Clone, Copy)]
pub struct QuantizerInput<'a> {
    /// Vectors of shape `N x D`.
    pub vectors: MatrixRef<'a>,
    /// Named columns of N values, as in `domain` or `advantage`; most quantizers read none.
    pub side: &'a BTreeMap<String, Vec<f32>>,
}

impl<'a> QuantizerInput<'a> {
    /// Vectors alone.
    pub fn vectors(vectors: MatrixRef<'a>) -> Self {
        static NONE: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        QuantizerInput { vectors, side: &NONE }
    }
}

/// Codes of N rows: a dense `N x L` matrix of levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codes {
    rows: usize,
    levels: usize,
    data: Vec<Code>,
}

impl Codes {
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

    /// Named tensors to save, as in `level_0`.
    fn tensors(&self) -> Vec<(String, Matrix)>;
}

/// What a collision policy may use.
#[derive(Clone, Copy)]
pub struct IdentifierInput<'a> {
    /// Codes of the N items.
    pub codes: &'a Codes,
    /// Training interactions of each item.
    pub popularity: &'a [u32],
    /// The codebook, for policies that look for the second-best code.
    pub codebook: &'a dyn Codebook,
    /// The quantized vectors.
    pub vectors: MatrixRef<'a>,
}

/// Codes to finished identifiers: resolves (or tolerates) collisions.
pub trait Identifier: Send + Sync {
    /// The SID table of the catalogue.
    fn identify(&self, input: &IdentifierInput<'_>, run: &Run<'_>) -> Result<SidTable>;
}

/// One request for recommendations.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The user, for models that know users.
    pub user: Option<UserId>,
    /// Items of the user, oldest first; may be empty.
    pub history: &'a [ItemId],
    /// Times of the history in Unix seconds.
    pub times: Option<&'a [i64]>,
    /// Items that must not come back.
    pub exclude: &'a [ItemId],
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
