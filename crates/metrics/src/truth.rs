//! The items that should have been recommended, as columns.

use sidereal_core::{Error, ItemId, Result};

/// Target sets of R requests: request `r` owns `items[offsets[r]..offsets[r + 1]]`, ascending and
/// distinct. Relevance is binary unless gains were given.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    offsets: Vec<u64>,
    items: Vec<ItemId>,
    gains: Option<Vec<f32>>,
}

impl Default for Truth {
    fn default() -> Self {
        Truth { offsets: vec![0], items: Vec::new(), gains: None }
    }
}

impl Truth {
    /// No requests yet.
    pub fn new() -> Self {
        Truth::default()
    }

    /// One target a request, as leave-one-out gives.
    pub fn single(targets: &[ItemId]) -> Self {
        Truth {
            offsets: (0..=targets.len() as u64).collect(),
            items: targets.to_vec(),
            gains: None,
        }
    }

    /// Appends the target set of the next request. A repeated target counts once; an empty set is
    /// an error, because no metric has a value for it: leave such requests out.
    pub fn push(&mut self, targets: &[ItemId]) -> Result<()> {
        if self.gains.is_some() {
            return Err(self.mixed());
        }
        self.refuse_empty(targets)?;
        let start = self.items.len();
        self.items.extend_from_slice(targets);
        self.items[start..].sort_unstable();
        let mut last = start;
        for i in start + 1..self.items.len() {
            if self.items[i] != self.items[last] {
                last += 1;
                self.items[last] = self.items[i];
            }
        }
        self.items.truncate(last + 1);
        self.offsets.push(self.items.len() as u64);
        Ok(())
    }

    /// Appends targets with gains above 0, for graded metrics; binary metrics count every target
    /// as 1. A repeated target keeps its largest gain.
    pub fn push_graded(&mut self, targets: &[(ItemId, f32)]) -> Result<()> {
        if self.gains.is_none() && !self.items.is_empty() {
            return Err(self.mixed());
        }
        self.refuse_empty(targets)?;
        if let Some((item, gain)) = targets.iter().find(|(_, g)| !(g.is_finite() && *g > 0.0)) {
            return Err(Error::input(format!(
                "request {}: target {} has gain {gain}; expected a finite number above 0",
                self.len(),
                item.0
            )));
        }
        let mut sorted = targets.to_vec();
        sorted.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        sorted.dedup_by_key(|t| t.0);
        self.items.extend(sorted.iter().map(|t| t.0));
        self.gains.get_or_insert_default().extend(sorted.iter().map(|t| t.1));
        self.offsets.push(self.items.len() as u64);
        Ok(())
    }

    /// Number of requests R.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no request.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Targets of request `r`, ascending and distinct, at least one.
    pub fn get(&self, r: usize) -> &[ItemId] {
        &self.items[self.range(r)]
    }

    /// Gains of the targets of request `r`, where gains were given.
    pub fn gains(&self, r: usize) -> Option<&[f32]> {
        self.gains.as_ref().map(|g| &g[self.range(r)])
    }

    /// The largest target set.
    pub fn max_targets(&self) -> usize {
        self.offsets.windows(2).map(|w| (w[1] - w[0]) as usize).max().unwrap_or(0)
    }

    fn range(&self, r: usize) -> std::ops::Range<usize> {
        self.offsets[r] as usize..self.offsets[r + 1] as usize
    }

    fn refuse_empty<T>(&self, targets: &[T]) -> Result<()> {
        if targets.is_empty() {
            return Err(Error::input(format!(
                "request {} has no target; leave it out of the evaluation",
                self.len()
            )));
        }
        Ok(())
    }

    fn mixed(&self) -> Error {
        Error::mismatch(format!(
            "request {}: binary and graded targets cannot stand in one truth",
            self.len()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_distinct_and_never_empty() {
        let mut t = Truth::new();
        t.push(&[5, 1, 5, 1, 1].map(ItemId)).unwrap();
        t.push(&[ItemId(9)]).unwrap();
        assert_eq!(t.get(0), [1, 5].map(ItemId));
        assert_eq!(t.get(1), [ItemId(9)]);
        assert_eq!((t.len(), t.max_targets(), t.gains(0)), (2, 2, None));
        assert!(t.push(&[]).unwrap_err().to_string().contains("request 2 has no target"));
        assert_eq!(t.len(), 2);
    }

    #[test]
    fn gains_stay_with_their_targets() {
        let mut t = Truth::new();
        t.push_graded(&[(ItemId(5), 1.0), (ItemId(1), 2.0), (ItemId(5), 3.0)]).unwrap();
        assert_eq!((t.get(0), t.gains(0)), (&[ItemId(1), ItemId(5)][..], Some(&[2.0, 3.0][..])));
        assert!(t.push(&[ItemId(1)]).is_err());
        let err = t.push_graded(&[(ItemId(7), f32::NAN)]).unwrap_err().to_string();
        assert!(err.contains("request 1: target 7 has gain NaN"), "{err}");
        assert!(t.push_graded(&[]).is_err());
        let mut binary = Truth::single(&[ItemId(3)]);
        assert!(binary.push_graded(&[(ItemId(1), 1.0)]).is_err());
    }
}
