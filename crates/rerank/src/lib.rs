//! Rerankers: what orders the candidates of a recommender again.
//!
//! | name | file | what it does |
//! |---|---|---|
//! | `score-fusion` | [`score_fusion`] | the decoder's score with other signals, weighted or by ranks |
//! | `verifier` | [`verifier`] | a second scorer orders, accepts and rejects |
//! | `mmr` | [`mmr`] | relevance against similarity to what stands before |
//! | `calibrated-popularity`, `calibrated-category` | [`calibrated`] | shares of groups as in the history |
//!
//! A [`Reranker`] sees the head of a ranked list, as long as its [`Budget`] says, and never adds an
//! item. [`Reranked`] puts a chain of them behind any recommender; [`MultiHead`] makes one recommender
//! of several. No tensor library here: item
//! vectors are rows of a [`Side`].
//!
//! ```
//! use sidereal_core::{ItemId, MatrixRef, Recommendation, Recommender, Request, Response, Result, Run};
//! use sidereal_rerank::{Mmr, MmrOptions, Reranked, Side};
//!
//! /// Items 0, 1, 2 for everyone.
//! struct Fixed;
//! impl Recommender for Fixed {
//!     fn recommend(&self, r: &[Request<'_>], k: usize, _: &Run<'_>) -> Result<Vec<Response>> {
//!         let item = |i: u32| Recommendation { item: ItemId(i), score: -f64::from(i), sid: None };
//!         let items: Vec<_> = (0..3).map(item).take(k).collect();
//!         Ok(r.iter().map(|_| Response { items: items.clone(), invalid: 0 }).collect())
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! // Items 0 and 1 are the same thing, item 2 is another.
//! let vectors = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
//! let side = Side::default().with_vectors(MatrixRef::new(3, 2, &vectors)?)?;
//! let mmr = Mmr::new(MmrOptions { lambda: 0.6, ..Default::default() })?;
//! let recommender = Reranked::new(Fixed, vec![Box::new(mmr)], side)?;
//! let request = Request::default();
//! let lists = recommender.recommend(&[request], 2, &Run::quiet(0))?;
//! let items: Vec<u32> = lists[0].items.iter().map(|r| r.item.0).collect();
//! assert_eq!(items, [0, 2]);
//! # Ok(())
//! # }
//! ```

pub mod calibrated;
pub mod mmr;
pub mod multi_head;
mod normalisation;
mod reranked;
mod reranker;
pub mod score_fusion;
mod scorer;
mod side;
pub mod verifier;

pub use calibrated::{Calibrated, CalibratedCategoryOptions, CalibratedPopularityOptions};
pub use mmr::{Mmr, MmrOptions, Similarity};
pub use multi_head::{Head, Merge, MultiHead};
pub use normalisation::Normalisation;
pub use reranked::{Reranked, check_chain};
pub use reranker::{Budget, Clock, Cost, Need, Pick, Reordered, Reranker, Task};
pub use score_fusion::{Fusion, ScoreFusion, ScoreFusionOptions};
pub use scorer::{ByItem, ByRecommender, Scorer, Signal};
pub use side::{Groups, Popularity, Side, UnitVectors};
pub use verifier::{Order, Rejected, Verifier, VerifierOptions};

use sidereal_core::{Catalog, Entry, Result};

/// Registers the rerankers of this crate.
pub fn register(catalog: &mut Catalog<dyn Reranker>) -> Result<()> {
    let origin = env!("CARGO_PKG_NAME");
    catalog.add(Entry::new(
        "score-fusion",
        origin,
        "Decoder score with popularity, similarity to the history or category, weighted or by ranks.",
        |o: ScoreFusionOptions, _: &()| Ok(Box::new(ScoreFusion::new(o)?) as Box<dyn Reranker>),
    ))?;
    catalog.add(Entry::new(
        "verifier",
        origin,
        "A second scorer orders the candidates, or accepts and rejects them (rejection sampling, \
         arXiv 2312.12457; test-time reranking, arXiv 2508.18132).",
        |o: VerifierOptions, _: &()| Ok(Box::new(Verifier::new(o)?) as Box<dyn Reranker>),
    ))?;
    catalog.add(Entry::new(
        "mmr",
        origin,
        "Maximal marginal relevance: relevance against similarity to the items before (Carbonell \
         and Goldstein 1998).",
        |o: MmrOptions, _: &()| Ok(Box::new(Mmr::new(o)?) as Box<dyn Reranker>),
    ))?;
    catalog.add(Entry::new(
        "calibrated-popularity",
        origin,
        "Shares of popular, middle and rare items as in the user's history (Steck 2018).",
        |o: CalibratedPopularityOptions, _: &()| {
            Ok(Box::new(Calibrated::by_popularity(o)?) as Box<dyn Reranker>)
        },
    ))?;
    catalog.add(Entry::new(
        "calibrated-category",
        origin,
        "Shares of categories as in the user's history (Steck 2018).",
        |o: CalibratedCategoryOptions, _: &()| {
            Ok(Box::new(Calibrated::by_category(o)?) as Box<dyn Reranker>)
        },
    ))
}
