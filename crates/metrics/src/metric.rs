//! What a metric is: lists and truth in, a directed score out.

use crate::{Classes, Form, Panel, Sum, Truth};
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, MatrixRef, RankedLists, Result, Sequences};

/// A number that says how good all lists are together.
///
/// A metric implements [`Metric::form`], which streams, merges and shares the pass over the lists
/// with other metrics, or [`Metric::evaluate`] alone.
pub trait Metric: Send + Sync {
    /// Name with its cut-off, as in `recall@10`; a non-standard formula has a non-standard name.
    fn name(&self) -> String;

    /// Which way is better.
    fn direction(&self) -> Direction;

    /// What it reads beside lists, truth, catalogue size and popularity, so that a run can refuse
    /// a metric before it trains.
    fn needs(&self) -> &'static [Need] {
        &[]
    }

    /// The metric as a mean of a formula or as sums of counts; none for metrics that only know
    /// [`Metric::evaluate`]. Fails when the context lacks what it needs.
    fn form<'a>(&self, context: &EvalContext<'a>) -> Result<Option<Form<'a>>> {
        let _ = context;
        Ok(None)
    }

    /// Scores R lists against R target sets, with the value of every request. Fails when the two
    /// differ in number, when there is no request, when an item is outside the catalogue or when
    /// the context lacks what the metric needs.
    fn evaluate(
        &self,
        lists: &RankedLists,
        truth: &Truth,
        context: &EvalContext<'_>,
    ) -> Result<Score> {
        let none = || Error::mismatch(format!("`{}` has neither form nor evaluate", self.name()));
        let panel = Panel::of(vec![self.form(context)?.ok_or_else(none)?], context.n_items);
        panel.evaluate(lists, truth, 1)?.pop().ok_or_else(none)
    }
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// As for Recall.
    HigherIsBetter,
    /// As for a mean rank.
    LowerIsBetter,
}

impl Direction {
    /// Whether `new` beats `old`; NaN beats nothing and is beaten by every number.
    pub fn improves(self, new: f64, old: f64) -> bool {
        match self {
            _ if new.is_nan() || old.is_nan() => old.is_nan() && !new.is_nan(),
            Direction::HigherIsBetter => new > old,
            Direction::LowerIsBetter => new < old,
        }
    }
}

/// What a metric may need beside lists, truth, catalogue size and popularity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Training histories of all users.
    Train,
    /// What the user of each request had before.
    Histories,
    /// Categories of the items.
    Categories,
    /// A vector an item.
    Vectors,
}

impl Need {
    /// In words, for errors.
    pub fn what(self) -> &'static str {
        match self {
            Need::Train => "the training histories of all users",
            Need::Histories => "the histories of the requests",
            Need::Categories => "item categories",
            Need::Vectors => "item vectors",
        }
    }
}

/// What metrics may know beside lists and truth.
#[derive(Debug, Clone, Copy, Default)]
pub struct EvalContext<'a> {
    /// Number of items N of the catalogue.
    pub n_items: usize,
    /// Training interactions of each item, N values. The metrics of this crate that do not look at
    /// popularity accept any length.
    pub popularity: &'a [u32],
    /// Training histories of all users.
    pub train: Option<&'a Sequences>,
    /// What the user of each request had before: row r belongs to request r.
    pub histories: Option<&'a Sequences>,
    /// Categories of the N items.
    pub categories: Option<&'a Classes>,
    /// Vectors of the items, shape `N x D`.
    pub vectors: Option<MatrixRef<'a>>,
}

impl<'a> EvalContext<'a> {
    /// A catalogue of `n_items` with training interactions of each item, and nothing else.
    pub fn new(n_items: usize, popularity: &'a [u32]) -> Self {
        EvalContext { n_items, popularity, ..EvalContext::default() }
    }

    /// Training histories, or an error that names the metric.
    pub fn train(&self, metric: &str) -> Result<&'a Sequences> {
        self.train.ok_or_else(|| missing(metric, Need::Train))
    }

    /// Histories of the requests, or an error that names the metric.
    pub fn histories(&self, metric: &str) -> Result<&'a Sequences> {
        self.histories.ok_or_else(|| missing(metric, Need::Histories))
    }

    /// Categories, or an error that names the metric.
    pub fn categories(&self, metric: &str) -> Result<&'a Classes> {
        let found = self.categories.ok_or_else(|| missing(metric, Need::Categories))?;
        self.one_an_item(metric, found.len(), "categories")?;
        Ok(found)
    }

    /// Vectors, or an error that names the metric.
    pub fn vectors(&self, metric: &str) -> Result<MatrixRef<'a>> {
        let found = self.vectors.ok_or_else(|| missing(metric, Need::Vectors))?;
        self.one_an_item(metric, found.rows(), "vectors")?;
        Ok(found)
    }

    /// Popularity with its length checked.
    pub fn popularity(&self, metric: &str) -> Result<&'a [u32]> {
        self.one_an_item(metric, self.popularity.len(), "popularity")?;
        Ok(self.popularity)
    }

    fn one_an_item(&self, metric: &str, rows: usize, what: &str) -> Result<()> {
        if rows != self.n_items {
            let n = self.n_items;
            let message = format!("`{metric}`: {what} of {rows} items for a catalogue of {n}");
            return Err(Error::mismatch(message));
        }
        Ok(())
    }
}

/// The error of a metric that lacks something.
pub(crate) fn missing(metric: &str, need: Need) -> Error {
    Error::mismatch(format!("metric `{metric}` needs {}, which were not given", need.what()))
}

/// The value of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The value over all requests.
    pub value: f64,
    /// The value of each of the R requests, where the metric is a mean over requests.
    pub per_user: Option<Vec<f64>>,
}

impl Score {
    /// The mean of per-request values, summed exactly (see [`Sum`]); NaN for no values.
    pub fn mean_of(per_user: Vec<f64>) -> Self {
        let mut sum = Sum::default();
        per_user.iter().for_each(|&v| sum.add(v));
        Score { value: sum.value() / per_user.len() as f64, per_user: Some(per_user) }
    }
}

sidereal_core::options! {
    /// Options of metrics that look at the head of a list.
    pub struct CutOff {
        /// Cut-off: how many distinct items count, 1 and up; `name@20` is short for `k = 20`.
        pub k: usize = 10,
    }
}

impl CutOff {
    /// The cut-off, refused when 0.
    pub(crate) fn checked(self, name: &str) -> Result<usize> {
        if self.k == 0 {
            return Err(Error::config(
                "metric.k",
                format!("`{name}` has k = 0; expected 1 and up, as in `{name}@10`"),
            ));
        }
        Ok(self.k)
    }
}

/// A metric with a cut-off and no other option: `$form` makes the formula, or counter and score,
/// from the context.
macro_rules! at_k {
    ($(#[$doc:meta])* $type:ident, $name:literal, $direction:ident, $needs:expr, $form:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $type {
            k: usize,
        }

        impl $type {
            /// Fails when `k` is 0.
            pub fn new(options: $crate::CutOff) -> sidereal_core::Result<Self> {
                Ok($type { k: options.checked($name)? })
            }
        }

        impl $crate::Metric for $type {
            fn name(&self) -> String {
                format!("{}@{}", $name, self.k)
            }

            fn direction(&self) -> $crate::Direction {
                $crate::Direction::$direction
            }

            fn needs(&self) -> &'static [$crate::Need] {
                &$needs
            }

            fn form<'a>(
                &self,
                context: &$crate::EvalContext<'a>,
            ) -> sidereal_core::Result<Option<$crate::Form<'a>>> {
                fn make<'a>(
                    context: &$crate::EvalContext<'a>,
                    k: usize,
                ) -> sidereal_core::Result<$crate::Form<'a>> {
                    ($form)($name, k, context)
                }
                make(context, self.k).map(Some)
            }
        }
    };
}
pub(crate) use at_k;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recall;
    use sidereal_core::ItemId;

    #[test]
    fn nan_never_counts_as_progress() {
        let (up, down) = (Direction::HigherIsBetter, Direction::LowerIsBetter);
        assert!(up.improves(0.2, 0.1) && !up.improves(0.1, 0.1));
        assert!(down.improves(0.1, 0.2) && !down.improves(0.2, 0.1));
        assert!(!up.improves(f64::NAN, 0.1) && up.improves(0.1, f64::NAN));
    }

    #[test]
    fn what_does_not_fit_is_an_error_that_says_where() {
        let context = EvalContext::new(5, &[]);
        let metric = Recall::new(CutOff::default()).unwrap();
        let message = |lists: &[&[u32]], targets: &[u32]| {
            let (mut l, mut t) = (RankedLists::new(), Truth::new());
            lists.iter().for_each(|x| l.push(x.iter().copied().map(ItemId)));
            targets.iter().for_each(|&x| t.push(&[ItemId(x)]).unwrap());
            metric.evaluate(&l, &t, &context).unwrap_err().to_string()
        };
        assert!(message(&[&[1]], &[1, 2]).contains("1 ranked lists for 2 target sets"));
        assert!(message(&[], &[]).contains("no request"));
        assert!(message(&[&[1], &[2, 5]], &[0, 0]).contains("ranked list 1 holds item 5"));
        assert!(message(&[&[1], &[2]], &[0, 9]).contains("target set 1 holds item 9"));
        assert!(Recall::new(CutOff { k: 0 }).unwrap_err().to_string().contains("recall@10"));
    }
}
