//! What a metric is: lists and truth in, a directed score out.

use crate::Truth;
use crate::ranks::RankFinder;
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, RankedLists, Result};

/// A number that says how good all lists are together.
pub trait Metric: Send + Sync {
    /// Name with its cut-off, as in `recall@10`; a non-standard formula has a non-standard name.
    fn name(&self) -> String;

    /// Which way is better.
    fn direction(&self) -> Direction;

    /// Scores R lists against R target sets. Fails when the two differ in number, when there is no
    /// request, or when an item is outside the catalogue.
    fn evaluate(
        &self,
        lists: &RankedLists,
        truth: &Truth,
        context: &EvalContext<'_>,
    ) -> Result<Score>;
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

/// What metrics may know beside lists and truth.
#[derive(Debug, Clone, Copy)]
pub struct EvalContext<'a> {
    /// Number of items N of the catalogue.
    pub n_items: usize,
    /// Training interactions of each item, N values. The metrics of this crate that do not look at
    /// popularity accept any length.
    pub popularity: &'a [u32],
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
    /// The mean of per-request values, summed in request order in f64; NaN for no values.
    pub fn mean_of(per_user: Vec<f64>) -> Self {
        let value = per_user.iter().sum::<f64>() / per_user.len() as f64;
        Score { value, per_user: Some(per_user) }
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

/// Whether lists, truth and catalogue fit together.
pub(crate) fn check(lists: &RankedLists, truth: &Truth, n_items: usize) -> Result<()> {
    if lists.len() != truth.len() {
        return Err(Error::mismatch(format!(
            "{} ranked lists for {} target sets",
            lists.len(),
            truth.len()
        )));
    }
    if lists.is_empty() {
        return Err(Error::input(
            "no request to evaluate: expected at least one user with a target",
        ));
    }
    for (what, request, items) in lists
        .iter()
        .enumerate()
        .map(|(r, l)| ("ranked list", r, l))
        .chain((0..truth.len()).map(|r| ("target set", r, truth.get(r))))
    {
        // A fold without early exit, because it compiles to vector code.
        let largest = items.iter().fold(0, |m, i| m.max(i.0));
        if !items.is_empty() && largest as usize >= n_items {
            return Err(Error::mismatch(format!(
                "{what} {request} holds item {largest}, outside the catalogue of {n_items} items"
            )));
        }
    }
    Ok(())
}

/// A mean over requests: `value` sees the 0-based ranks of the targets that were found (ascending,
/// all below `k`) and the number of targets.
pub(crate) fn mean_over_requests(
    lists: &RankedLists,
    truth: &Truth,
    context: &EvalContext<'_>,
    k: usize,
    value: impl Fn(&[u32], usize) -> f64,
) -> Result<Score> {
    check(lists, truth, context.n_items)?;
    let mut finder = RankFinder::new(context.n_items);
    let values = (0..lists.len()).map(|r| {
        let targets = truth.get(r);
        let ranks = finder.ranks(lists.get(r), targets);
        let in_cut = ranks.partition_point(|&rank| (rank as usize) < k);
        value(&ranks[..in_cut], targets.len())
    });
    Ok(Score::mean_of(values.collect()))
}

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
        let context = EvalContext { n_items: 5, popularity: &[] };
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
