//! Ranking metrics with per-user values, for recommenders of any kind.
//!
//! A [`Metric`] reads the ranked lists of all requests ([`RankedLists`]) and the items that should
//! have been in them ([`Truth`]) and gives a [`Score`]: a mean and, where the metric has one, the
//! value of every request, which significance tests and [`breakdown`] need.
//!
//! Two rules hold for every metric here:
//! - **Repeats do not count.** An item that a list holds twice counts at its first place and the
//!   items behind the repeat move up, so that Recall and NDCG never exceed 1.
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
//! let context = EvalContext { n_items: 8, popularity: &[1; 8] };
//! let score = ndcg.evaluate(&lists, &truth, &context)?;
//! assert_eq!(score.value, 1.0 / 3f64.log2());
//! # Ok(())
//! # }
//! ```

pub mod breakdown;
mod coverage;
mod hit_rate;
mod metric;
mod mrr;
mod ndcg;
mod ranks;
mod recall;
mod sweep;
mod truth;

pub use coverage::Coverage;
pub use hit_rate::HitRate;
pub use metric::{CutOff, Direction, EvalContext, Metric, Score};
pub use mrr::Mrr;
pub use ndcg::Ndcg;
pub use recall::Recall;
pub use sidereal_core::RankedLists;
pub use sweep::{Accuracy, sweep};
pub use truth::Truth;

use sidereal_core::{Catalog, Entry, Result};

/// Registers every metric of this crate.
pub fn register(catalog: &mut Catalog<dyn Metric>) -> Result<()> {
    let origin = env!("CARGO_PKG_NAME");
    catalog.add(Entry::new(
        "recall",
        origin,
        "Share of a request's targets among its first k items.",
        |o: CutOff, _: &()| Ok(Box::new(Recall::new(o)?) as Box<dyn Metric>),
    ))?;
    catalog.add(Entry::new(
        "ndcg",
        origin,
        "Normalised discounted cumulative gain with binary relevance (Järvelin and Kekäläinen 2002).",
        |o: CutOff, _: &()| Ok(Box::new(Ndcg::new(o)?) as Box<dyn Metric>),
    ))?;
    catalog.add(Entry::new(
        "hit-rate",
        origin,
        "Share of requests with at least one target among the first k items.",
        |o: CutOff, _: &()| Ok(Box::new(HitRate::new(o)?) as Box<dyn Metric>),
    ))?;
    catalog.add(Entry::new(
        "mrr",
        origin,
        "Mean reciprocal rank of the first target, 0 beyond rank k.",
        |o: CutOff, _: &()| Ok(Box::new(Mrr::new(o)?) as Box<dyn Metric>),
    ))?;
    catalog.add(Entry::new(
        "coverage",
        origin,
        "Share of the catalogue that appears in the first k items of at least one list.",
        |o: CutOff, _: &()| Ok(Box::new(Coverage::new(o)?) as Box<dyn Metric>),
    ))
}
