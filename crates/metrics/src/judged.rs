//! What a formula sees of one request: where its list holds the targets.

use sidereal_core::ItemId;

/// One request: its list beside its targets. Ranks count distinct items from 0; nothing beyond the
/// largest cut-off in use is given.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// Number of the request, over all blocks.
    pub request: usize,
    /// Targets, ascending and distinct, at least one.
    pub targets: &'a [ItemId],
    /// Gains of the targets, where gains were given.
    pub gains: Option<&'a [f32]>,
    /// Ranks of the targets that the list holds, ascending.
    pub ranks: &'a [u32],
    /// The targets at those ranks.
    pub hits: &'a [ItemId],
    /// The list as it came, repeats included.
    pub list: &'a [ItemId],
    /// The distinct items of the list, best first; empty unless some formula
    /// [reads](crate::Reads) items.
    pub head: &'a [ItemId],
}

impl Judged<'_> {
    /// Number of targets as f64.
    pub fn n_targets(&self) -> f64 {
        self.targets.len() as f64
    }

    /// Number of hits among the first `k` items.
    pub fn hits_within(&self, k: usize) -> usize {
        self.ranks.partition_point(|&rank| (rank as usize) < k)
    }

    /// The first `k` distinct items.
    pub fn first(&self, k: usize) -> &[ItemId] {
        &self.head[..k.min(self.head.len())]
    }

    /// Gain of a target, 1 where no gains were given and 0 for other items.
    pub fn gain(&self, item: ItemId) -> f64 {
        match (self.targets.binary_search(&item), self.gains) {
            (Ok(at), Some(gains)) => f64::from(gains[at]),
            (Ok(_), None) => 1.0,
            (Err(_), _) => 0.0,
        }
    }

    /// All cut-offs (ascending) in one pass over the hits: `add` sees the number and the rank of
    /// each hit once, `value` makes the figure of a cut-off.
    pub fn over_hits<S>(
        &self,
        cut_offs: &[usize],
        values: &mut [f64],
        mut state: S,
        mut add: impl FnMut(&mut S, usize, u32),
        value: impl Fn(&S, usize) -> f64,
    ) {
        let mut next = 0;
        for (&k, out) in cut_offs.iter().zip(values) {
            while next < self.ranks.len() && (self.ranks[next] as usize) < k {
                add(&mut state, next, self.ranks[next]);
                next += 1;
            }
            *out = value(&state, k);
        }
    }

    /// All cut-offs (ascending) in one pass over the items: `add` sees the rank and the item of
    /// each place once, `value` the cut-off and the number of items within it.
    pub fn over_items<S>(
        &self,
        cut_offs: &[usize],
        values: &mut [f64],
        mut state: S,
        mut add: impl FnMut(&mut S, usize, ItemId),
        value: impl Fn(&S, usize, usize) -> f64,
    ) {
        let mut next = 0;
        for (&k, out) in cut_offs.iter().zip(values) {
            while next < self.head.len().min(k) {
                add(&mut state, next, self.head[next]);
                next += 1;
            }
            *out = value(&state, k, next);
        }
    }

    /// Whether an item is a target.
    pub fn is_target(&self, item: ItemId) -> bool {
        self.targets.binary_search(&item).is_ok()
    }
}
