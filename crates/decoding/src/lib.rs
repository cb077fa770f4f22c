//! Decoding of semantic IDs: which codes may follow ([`Constraint`]), how a model scores them
//! ([`CodeScorer`]), and how hypotheses are searched ([`Decoder`]).
//!
//! No tensor library here: a scorer fills rows of logits, so any engine can plug in.
//!
//! ```
//! use sidereal_core::{CodeOrder, ItemId, Result, Run, SidTable};
//! use sidereal_decoding::{Beam, BeamOptions, CodeScorer, Decoder, ItemIndex, Row};
//! use std::sync::Arc;
//!
//! /// A model that likes high codes, whatever came before.
//! struct HighCodes;
//! impl CodeScorer for HighCodes {
//!     fn requests(&self) -> usize { 1 }
//!     fn levels(&self) -> usize { 2 }
//!     fn width(&self, _level: usize) -> usize { 4 }
//!     fn advance(&mut self, _level: usize, rows: &[Row], logits: &mut Vec<f32>) -> Result<()> {
//!         logits.clear();
//!         rows.iter().for_each(|_| logits.extend([0.0, 1.0, 2.0, 3.0]));
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! let ids = [(ItemId(0), &[0, 2][..]), (ItemId(1), &[2, 1]), (ItemId(2), &[3, 3])];
//! let table = Arc::new(SidTable::new(3, CodeOrder::Sequence, ids)?);
//! let index = ItemIndex::new(table.clone())?;
//! let beam = Beam::new(BeamOptions { width: 2, ..Default::default() })?;
//! let best = &beam.decode(&mut HighCodes, &[index.trie()], &Run::quiet(0))?[0];
//! assert_eq!(best[0].codes, [3, 3]); // the free optimum is an item
//! assert_eq!(best[1].codes, [2, 1]);
//! // The user has seen item 2.
//! let unseen = index.allowed(None, &[ItemId(2)])?;
//! let best = &beam.decode(&mut HighCodes, &[&unseen], &Run::quiet(0))?[0];
//! assert_eq!(table.items_of(&best[0].codes).next(), Some(ItemId(1)));
//! # Ok(())
//! # }
//! ```

pub mod attributes;
pub mod beam;
pub mod best_of_n;
pub mod constraint;
pub mod constraints;
pub mod diverse_beam;
pub mod exhaustive;
pub mod explain;
mod frontier;
pub mod levels;
pub mod multi_head;
pub mod provenance;
mod ranking;
pub mod sampling;
pub mod scorer;
pub mod sets;
mod softmax;
mod top;

pub use beam::{Beam, BeamOptions, FreeBeam, Sums};
pub use best_of_n::{BestOfN, BestOfNOptions, Reward};
pub use constraint::{Branch, Constraint, State, TrieRows, Unconstrained, accepts_sid};
pub use constraints::{
    Both, Changes, FmIndex, ItemIndex, LiveIndex, Occurrence, Place, Rows, SetIndex, Subset, Trie,
    Verify, Without,
};
pub use diverse_beam::{DiverseBeam, DiverseBeamOptions};
pub use exhaustive::{Exhaustive, ExhaustiveOptions};
pub use explain::{Path, Step, explain};
pub use levels::Levels;
pub use multi_head::{HeadMerge, MultiHead, MultiHeadOptions};
pub use provenance::{Draw, Provenance};
pub use sampling::{
    Ancestral, AncestralOptions, Annealed, AnnealedOptions, Replacement, StochasticBeam,
    StochasticBeamOptions,
};
pub use scorer::{CodeScorer, CodeScores, Normalize, Row, Wanted};
pub use sets::{OrderFree, OrderFreeOptions, PostingLists, SetRow, SetScorer};

use sidereal_core::{Catalog, Code, Result, Run};

/// One finished hypothesis.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis {
    /// Generated codes, first to last.
    pub codes: Vec<Code>,
    /// What ordered the result: a sum of log-probabilities by the decoder's score rule, unless the
    /// decoder says otherwise.
    pub score: f64,
    /// Sum of log-probabilities renormalised over the allowed codes of each step; NaN where it was
    /// not asked for.
    pub log_prob_masked: f64,
    /// Sum of log-probabilities over the full vocabulary of each step; NaN where it was not asked
    /// for.
    pub log_prob_full: f64,
    /// Whether the constraint accepts the codes as a whole identifier.
    pub valid: bool,
    /// How the hypothesis was found.
    pub provenance: Provenance,
}

/// Which sum of log-probabilities orders hypotheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScoreRule {
    /// Softmax over the full vocabulary of the level, as Hugging Face and MiniOneRec do.
    #[default]
    Full,
    /// Softmax over the allowed codes only, as GRID does.
    Masked,
}

/// Searches identifiers for a batch of requests. Beam is one decoder of many: sampling, diverse,
/// set and exhaustive decoding have the same shape.
pub trait Decoder: Send + Sync {
    /// Hypotheses of each request, best first: distinct, at most [`Decoder::width`], ties by code
    /// order. `constraints` holds one constraint a request, or a single one for all.
    ///
    /// Decoders that draw take one stream a request from `run.seed` and the place of the request in
    /// the batch: what they give depends on these, on nothing else in the batch. Long searches ask
    /// `run` whether to stop. Some decoders go through the levels of the scorer twice.
    fn decode(
        &self,
        scorer: &mut dyn CodeScorer,
        constraints: &[&dyn Constraint],
        run: &Run<'_>,
    ) -> Result<Vec<Vec<Hypothesis>>>;

    /// Most hypotheses a request can get.
    fn width(&self) -> usize;
}

/// Registers the decoders of this crate.
pub fn register(catalog: &mut Catalog<dyn Decoder>) -> Result<()> {
    beam::register(catalog)?;
    diverse_beam::register(catalog)?;
    sampling::register(catalog)?;
    best_of_n::register(catalog)?;
    multi_head::register(catalog)?;
    exhaustive::register(catalog)
}
