//! The model of the next item: level by level, in the context of ever longer prefixes of the last
//! item, each order smoothed by the one below ([`Counts`]).
//!
//! `p(b | a) = prod_l p(b_l | b_<l, a_1..a_M) / |items with b's ID|`. Order 0 has no context (the
//! popularity of prefixes); below it lies the number of items under each continuation, so every
//! item has a probability above 0 and all of them sum to 1.

use super::super::prefixes::Prefixes;
use super::counts::Counts;
use rayon::prelude::*;

/// Context lengths used at most: the shortest ones and the whole ID.
const CONTEXTS: usize = 6;
/// Transitions that the smoothing of an order is fitted on.
const FITTED: usize = 20_000;

/// A fitted model.
pub(super) struct Model<'a> {
    prefixes: &'a Prefixes,
    /// Prefix lengths that split; the first is 0.
    pub lengths: Vec<usize>,
    /// Prefix lengths of the last item, ascending; the first is 0.
    pub contexts: Vec<usize>,
    steps: Vec<Step>,
}

/// From the prefixes of one length to those of the next that splits them.
struct Step {
    /// Parent of every continuation.
    parent: Vec<u32>,
    /// First continuation of every parent, and the end of the last.
    first: Vec<u32>,
    /// Items under a continuation as a share of those under its parent.
    share: Vec<f64>,
    /// One a context length.
    orders: Vec<Counts>,
    /// Order 0 of every continuation.
    unigram: Vec<f64>,
}

/// Buffers for the probabilities of all items.
#[derive(Clone)]
pub(super) struct Scratch {
    conditional: Vec<Vec<f64>>,
    joint: Vec<Vec<f64>>,
}

impl<'a> Model<'a> {
    /// Counts transitions (last, next); all items have IDs.
    pub fn fit(prefixes: &'a Prefixes, transitions: &[(u32, u32)]) -> Self {
        let lengths = prefixes.splitting();
        let mut contexts = lengths.clone();
        if let (true, Some(&whole)) = (contexts.len() > CONTEXTS, lengths.last()) {
            contexts.truncate(CONTEXTS - 1);
            contexts.push(whole);
        }
        let step = |w: &[usize]| Step::fit(prefixes, w[0], w[1], &contexts, transitions);
        let steps = lengths.par_windows(2).map(step).collect();
        Model { prefixes, lengths, contexts, steps }
    }

    fn label(&self, length: usize, item: u32) -> u32 {
        self.prefixes.labels(length)[item as usize]
    }

    /// `log2` of the probability of `next` in each order (`orders[m]`: contexts up to the m-th), and
    /// what the longest context adds to order 0 at each step (`gains`).
    pub fn log2(&self, last: u32, next: u32, orders: &mut [f64], gains: &mut [f64]) {
        orders.fill(0.0);
        for ((step, w), gain) in self.steps.iter().zip(self.lengths.windows(2)).zip(gains) {
            let (parent, child) = (self.label(w[0], next), self.label(w[1], next));
            let mut p = step.share[child as usize];
            let mut first = p;
            for (m, (&context, counts)) in self.contexts.iter().zip(&step.orders).enumerate() {
                p = counts.mix(self.label(context, last), parent, child, p);
                if m == 0 {
                    first = p;
                }
                orders[m] += p.log2();
            }
            *gain = p.log2() - first.log2();
        }
        let alike = (self.bucket(next) as f64).log2();
        orders.iter_mut().for_each(|o| *o -= alike);
    }

    /// Items with the ID of `item`.
    fn bucket(&self, item: u32) -> usize {
        let whole = self.lengths.last().copied().unwrap_or(0);
        self.prefixes.places(whole, self.label(whole, item) as usize).len()
    }

    /// Buffers of the right sizes.
    pub fn scratch(&self) -> Scratch {
        let sizes = || self.steps.iter().map(|s| vec![0.0; s.parent.len()]).collect();
        Scratch { conditional: sizes(), joint: sizes() }
    }

    /// Probability of every ID after `last`, divided by its number of items; by group of the longest
    /// length. Cost: the number of prefixes, and what was seen of each context.
    pub fn after<'s>(&self, last: u32, scratch: &'s mut Scratch) -> &'s [f64] {
        for (s, step) in self.steps.iter().enumerate() {
            let p = &mut scratch.conditional[s];
            p.copy_from_slice(&step.unigram);
            for (&context, counts) in self.contexts.iter().zip(&step.orders).skip(1) {
                for seen in counts.all_seen(self.label(context, last)) {
                    let parent = seen.parent as usize;
                    let children = step.first[parent] as usize..step.first[parent + 1] as usize;
                    p[children].iter_mut().for_each(|p| *p *= seen.keep);
                    counts.gains(&seen).for_each(|(child, gain)| p[child as usize] += gain);
                }
            }
            let (above, here) = scratch.joint.split_at_mut(s);
            for (child, joint) in here[0].iter_mut().enumerate() {
                let parent = above.last().map_or(1.0, |a| a[step.parent[child] as usize]);
                *joint = parent * p[child];
            }
        }
        let whole = self.lengths.last().copied().unwrap_or(0);
        if let Some(joint) = scratch.joint.last_mut() {
            joint.iter_mut().zip(self.prefixes.sizes(whole)).for_each(|(p, n)| *p /= n as f64);
        }
        scratch.joint.last().map_or(&[], Vec::as_slice)
    }

    /// How many items are likelier than `next` after `last`, and how many are as likely, `next`
    /// among them.
    pub fn rank(&self, last: u32, next: u32, scratch: &mut Scratch) -> Rank {
        let whole = self.lengths.last().copied().unwrap_or(0);
        let group = self.label(whole, next) as usize;
        let scores = self.after(last, scratch);
        let Some(&own) = scores.get(group) else {
            // No step at all: one ID for everything.
            return Rank { better: 0, equal: self.prefixes.order().len() };
        };
        let mut rank = Rank { better: 0, equal: 0 };
        for (&p, size) in scores.iter().zip(self.prefixes.sizes(whole)) {
            rank.better += if p > own { size } else { 0 };
            rank.equal += if p == own { size } else { 0 };
        }
        rank
    }
}

/// Place of an item in a list with ties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rank {
    /// Items before it.
    pub better: usize,
    /// Items as good as it, itself among them.
    pub equal: usize,
}

impl Rank {
    /// Expected recall at `k` when ties fall at random.
    pub fn recall(&self, k: usize) -> f64 {
        (k.saturating_sub(self.better) as f64 / self.equal.max(1) as f64).min(1.0)
    }
}

impl Step {
    fn fit(
        prefixes: &Prefixes,
        from: usize,
        to: usize,
        contexts: &[usize],
        transitions: &[(u32, u32)],
    ) -> Self {
        let mut parent = vec![0u32; prefixes.groups(to)];
        let mut first = Vec::with_capacity(prefixes.groups(from) + 1);
        let (above, below) = (prefixes.labels(from), prefixes.labels(to));
        for &item in prefixes.order() {
            let (group, child) = (above[item as usize], below[item as usize]);
            if first.len() == group as usize {
                first.push(child);
            }
            parent[child as usize] = group;
        }
        first.push(parent.len() as u32);
        let under: Vec<usize> = prefixes.sizes(from).collect();
        let sizes = prefixes.sizes(to).zip(&parent);
        let share: Vec<f64> =
            sizes.map(|(size, &p)| size as f64 / under[p as usize] as f64).collect();
        // Each order is fitted on what the one below makes of a sample of the transitions.
        let stride = transitions.len().div_ceil(FITTED).max(1);
        let sample = || transitions.iter().step_by(stride);
        let mut left_out: Vec<f64> =
            sample().map(|t| share[below[t.1 as usize] as usize]).collect();
        let mut order = |&length: &usize| {
            let context = prefixes.labels(length);
            let pair = |&(a, b): &(u32, u32)| (context[a as usize], below[b as usize]);
            let mut counts = Counts::of(transitions.iter().map(pair), &parent);
            let triple = |t: &(u32, u32)| {
                let (context, child) = pair(t);
                [context, parent[child as usize], child]
            };
            counts.fit(sample().map(triple), &mut left_out);
            counts
        };
        let orders: Vec<Counts> = contexts.iter().map(&mut order).collect();
        let unigram =
            (0..parent.len()).map(|c| orders[0].mix(0, parent[c], c as u32, share[c])).collect();
        Step { parent, first, share, orders, unigram }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::prefixes::tests::table;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranks_with_ties() {
        let recall = |better, equal| Rank { better, equal }.recall(10);
        assert_eq!(
            [recall(9, 1), recall(10, 1), recall(0, 40), recall(8, 4)],
            [1.0, 0.0, 0.25, 0.5]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn the_sweep_is_the_chain_and_sums_to_one(
            ids in proptest::collection::vec(proptest::collection::vec(0u32..3, 1..4), 2..25),
            draws in proptest::collection::vec((0u32..1000, 0u32..1000), 0..60)) {
            let n = ids.len() as u32;
            let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
            let prefixes = Prefixes::of(&table(&ids));
            let transitions: Vec<_> = draws.iter().map(|(a, b)| (a % n, b % n)).collect();
            let model = Model::fit(&prefixes, &transitions);
            let mut scratch = model.scratch();
            let (m, s) = (model.contexts.len(), model.steps.len());
            for a in 0..n {
                let mut sums = vec![0.0; m];
                let mut chain = vec![0.0; n as usize];
                for b in 0..n {
                    let (mut orders, mut gains) = (vec![0.0; m], vec![0.0; s]);
                    model.log2(a, b, &mut orders, &mut gains);
                    sums.iter_mut().zip(&orders).for_each(|(s, o)| *s += o.exp2());
                    chain[b as usize] = orders[m - 1].exp2();
                    let gain = orders[m - 1] - orders[0];
                    prop_assert!((gains.iter().sum::<f64>() - gain).abs() < 1e-9);
                }
                prop_assert!(sums.iter().all(|s| (s - 1.0).abs() < 1e-9), "{:?}", sums);
                if s > 0 {
                    let whole = *model.lengths.last().unwrap();
                    let scores = model.after(a, &mut scratch).to_vec();
                    for b in 0..n {
                        let swept = scores[prefixes.labels(whole)[b as usize] as usize];
                        prop_assert!((swept - chain[b as usize]).abs() < 1e-12);
                    }
                }
                // The rank by an exhaustive look.
                let r = model.rank(a, 0, &mut scratch);
                let own = chain[0];
                let sure = chain.iter().filter(|p| **p > own + 1e-12).count();
                let maybe = chain.iter().filter(|p| **p > own - 1e-12).count();
                prop_assert!(sure <= r.better && r.better + r.equal <= maybe);
            }
        }
    }
}
