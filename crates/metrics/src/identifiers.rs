//! Item-level figures beside identifier-level ones.
//!
//! Where several items share an identifier, a list that holds the right identifier may hold the wrong
//! item. Evaluations that compare identifiers (GRID, MiniOneRec, OneRec) count that as a hit; metrics
//! on items do not. [`by_identifier`] replaces items by their identifiers, so that any metric gives the
//! identifier-level figure. Items of one identifier then are one place, as all repeats are.

use crate::Truth;
use sidereal_core::{Error, ItemId, RankedLists, Result};

/// Lists and truth in which identifiers stand for items; as a catalogue they have as many entries as
/// there are identifiers.
#[derive(Debug, Clone, PartialEq)]
pub struct ByIdentifier {
    /// Identifiers of the lists.
    pub lists: RankedLists,
    /// Identifiers of the targets. Gains are those of the best target of an identifier.
    pub truth: Truth,
    /// Largest identifier + 1.
    pub n_identifiers: usize,
}

/// Replaces each item by `identifier_of[item]`. Fails for an item without one.
pub fn by_identifier(
    lists: &RankedLists,
    truth: &Truth,
    identifier_of: &[u32],
) -> Result<ByIdentifier> {
    let of = |what: &str, r: usize, item: &ItemId| {
        identifier_of.get(item.index()).map(|&id| ItemId(id)).ok_or_else(|| {
            Error::mismatch(format!(
                "{what} {r} holds item {}, which has no identifier: {} were given",
                item.0,
                identifier_of.len()
            ))
        })
    };
    let (mut named, mut targets) = (RankedLists::new(), Truth::new());
    for (r, list) in lists.iter().enumerate() {
        let list = list.iter().map(|i| of("ranked list", r, i)).collect::<Result<Vec<_>>>()?;
        named.push(list);
    }
    for r in 0..truth.len() {
        let own =
            truth.get(r).iter().map(|i| of("target set", r, i)).collect::<Result<Vec<_>>>()?;
        match truth.gains(r) {
            Some(gains) => {
                let graded: Vec<_> = own.into_iter().zip(gains.iter().copied()).collect();
                targets.push_graded(&graded)?;
            }
            None => targets.push(&own)?,
        }
    }
    let n_identifiers = identifier_of.iter().max().map_or(0, |&id| id as usize + 1);
    Ok(ByIdentifier { lists: named, truth: targets, n_identifiers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CutOff, EvalContext, Metric, Recall};

    #[test]
    fn a_shared_identifier_is_a_hit_of_identifiers_only() {
        // Items 0 and 1 share identifier 0.
        let of = [0, 0, 1, 2];
        let mut lists = RankedLists::new();
        lists.push([1, 2, 1, 3].map(ItemId));
        lists.push([3, 1, 0, 2].map(ItemId));
        let mut truth = Truth::new();
        truth.push(&[ItemId(0)]).unwrap();
        truth.push(&[0, 1, 2].map(ItemId)).unwrap();
        let recall = |lists: &RankedLists, truth: &Truth, n, k| {
            let metric = Recall::new(CutOff { k }).unwrap();
            metric.evaluate(lists, truth, &EvalContext::new(n, &[])).unwrap().per_user.unwrap()
        };
        assert_eq!(recall(&lists, &truth, 4, 3), [0.0, 2.0 / 3.0]);
        let named = by_identifier(&lists, &truth, &of).unwrap();
        assert_eq!(named.n_identifiers, 3);
        assert_eq!(recall(&named.lists, &named.truth, 3, 1), [1.0, 0.0]);
        // Two targets, not three; the identifier that comes twice is one place.
        assert_eq!(recall(&named.lists, &named.truth, 3, 3), [1.0, 1.0]);
        assert!(by_identifier(&lists, &truth, &of[..3]).is_err());
        let mut graded = Truth::new();
        graded.push_graded(&[(ItemId(0), 1.0), (ItemId(1), 3.0)]).unwrap();
        let named = by_identifier(&RankedLists::new(), &graded, &of).unwrap();
        assert_eq!(
            (named.truth.get(0), named.truth.gains(0)),
            (&[ItemId(0)][..], Some(&[3.0][..]))
        );
    }
}
