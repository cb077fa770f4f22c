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
    /// Hits within each cut-off of the formula that is asked.
    pub(crate) within: &'a [u32],
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

    /// A figure of the number of hits within each cut-off.
    pub fn by_hits(
        &self,
        cut_offs: &[usize],
        values: &mut [f64],
        value: impl Fn(f64, usize) -> f64,
    ) {
        for ((&k, &hits), out) in cut_offs.iter().zip(self.within).zip(values) {
            *out = value(f64::from(hits), k);
        }
    }

    /// A figure of the sum of the terms of the hits within each cut-off; `term` sees the number and
    /// the rank of each hit once. Without branches that depend on ranks, which a processor cannot
    /// foretell.
    pub fn over_hits(
        &self,
        cut_offs: &[usize],
        values: &mut [f64],
        term: impl Fn(usize, u32) -> f64,
        value: impl Fn(f64, usize) -> f64,
    ) {
        values.fill(0.0);
        for (hit, &rank) in self.ranks.iter().enumerate() {
            let term = term(hit, rank);
            for (sum, &within) in values.iter_mut().zip(self.within) {
                *sum += if (hit as u32) < within { term } else { 0.0 };
            }
        }
        for (out, &k) in values.iter_mut().zip(cut_offs) {
            *out = value(*out, k);
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
