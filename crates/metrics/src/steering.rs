//! Does a recommender do what it is told? m@k of Mender (arXiv 2412.08604, its sentiment axis).

use crate::{CutOff, EvalContext};
use crate::{HitRate, Metric, Score, Truth};
use sidereal_core::{RankedLists, Result};

/// m@k: the share of requests whose targets are within k of the list that was asked for with a
/// preference for them, and not within k of the list that was asked for with the opposite. Row r of
/// both belongs to target set r. A recommender that ignores preferences has 0, whatever its recall.
/// Fails as [`Metric::evaluate`] does.
pub fn both_ways(
    wanted: &RankedLists,
    unwanted: &RankedLists,
    truth: &Truth,
    k: usize,
    n_items: usize,
) -> Result<Score> {
    let (metric, context) = (HitRate::new(CutOff { k })?, EvalContext::new(n_items, &[]));
    let hits = |lists| Ok(metric.evaluate(lists, truth, &context)?.per_user.unwrap_or_default());
    let (shown, still): (Vec<f64>, Vec<f64>) = (hits(wanted)?, hits(unwanted)?);
    Ok(Score::mean_of(
        shown.iter().zip(&still).map(|(shown, still)| shown * (1.0 - still)).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::ItemId;

    #[test]
    fn by_hand() {
        // Hits wanted 1, 1, 0, 1; misses unwanted 1, 0, 1, 1.
        let list = |hits: [bool; 4]| {
            let mut lists = RankedLists::new();
            hits.iter().for_each(|&h| lists.push([ItemId(u32::from(h)), ItemId(2)]));
            lists
        };
        let (wanted, unwanted) =
            (list([true, true, false, true]), list([false, true, false, false]));
        let truth = Truth::single(&[ItemId(1); 4]);
        let score = both_ways(&wanted, &unwanted, &truth, 1, 3).unwrap();
        assert_eq!((score.value, score.per_user), (0.5, Some(vec![1.0, 0.0, 0.0, 1.0])));
        assert_eq!(both_ways(&wanted, &wanted, &truth, 1, 3).unwrap().value, 0.0);
        assert!(both_ways(&wanted, &RankedLists::new(), &truth, 1, 3).is_err());
        assert!(both_ways(&wanted, &unwanted, &truth, 0, 3).is_err());
    }
}
