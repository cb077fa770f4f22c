//! Ranking metrics with per-user values, for recommenders of any kind.
//!
//! A [`Metric`] reads the ranked lists of all requests ([`RankedLists`]) and the items that should
//! have been in them ([`Truth`]) and gives a [`Score`]: a mean and, where the metric has one, the
//! value of every request, which significance tests and [`breakdown`] need. A [`Panel`] computes
//! many metrics in one pass, in blocks, on threads and in shards, always to the same bits.
//!
//! Two rules hold for every metric here:
//! - **Repeats do not count.** An item that a list holds twice counts at its first place and the
//!   items behind the repeat move up, so that Recall and NDCG never exceed 1. The one exception is
//!   `pass@k`, whose lists are bags of samples.
//! - **Every request has a target.** [`Truth::push`] refuses an empty target set, so that a mean is
//!   never silently taken over fewer users than were asked.
//!
//! ```
//! use sidereal_core::{Catalog, ItemId, RankedLists, Spec};
//! use sidereal_metrics::{EvalContext, Metric, Truth};
//! # fn main() -> sidereal_core::Result<()> {
//! let mut metrics: Catalog<dyn Metric> = Catalog::new("metric");
//! sidereal_metrics::register(&mut metrics)?;
//! let ndcg = metrics.build(&Spec::from_short("metric", "ndcg@10")?, &())?;
//!
//! let mut lists = RankedLists::new();
//! lists.push([4, 2, 7].map(ItemId));
//! let mut truth = Truth::new();
//! truth.push(&[ItemId(2)])?;
//! let context = EvalContext::new(8, &[1; 8]);
//! let score = ndcg.evaluate(&lists, &truth, &context)?;
//! assert_eq!(score.value, 1.0 / 3f64.log2());
//! # Ok(())
//! # }
//! ```

pub mod agreement;
mod auc;
pub mod breakdown;
mod classes;
pub mod content;
pub mod evidence;
pub mod exposure;
mod f1;
mod form;
mod hit_rate;
pub mod identifiers;
mod item_groups;
mod judged;
pub mod lists;
mod map;
mod metric;
mod micro;
mod mrr;
mod ndcg;
mod panel;
mod pass_at_k;
pub mod popularity;
mod precision;
mod r_precision;
mod ranks;
mod recall;
mod register;
pub mod sampled;
pub mod statistics;
pub mod steering;
mod sum;
mod sweep;
pub mod text;
mod truth;

pub use auc::{Auc, Gauc, auc, gauc};
pub use classes::Classes;
pub use exposure::Coverage;
pub use f1::F1;
pub use form::{Counter, Figure, Form, Formula, Reads};
pub use hit_rate::HitRate;
pub use item_groups::recall_by_item_group;
pub use judged::Judged;
pub use map::{Map, MapElliot, MapTrec};
pub use metric::{CutOff, Direction, EvalContext, Metric, Need, Score};
pub use micro::{F1Micro, PrecisionMicro, RecallMicro};
pub use mrr::Mrr;
pub use ndcg::{Ndcg, NdcgExponential, NdcgLinear};
pub use panel::{Keep, Panel, Tally, evaluate_all};
pub use pass_at_k::{PassAtK, pass_at_k};
pub use precision::Precision;
pub use r_precision::RPrecision;
pub use recall::Recall;
pub use register::register;
pub use sidereal_core::RankedLists;
pub use sum::Sum;
pub use sweep::{Accuracy, sweep};
pub use truth::Truth;
