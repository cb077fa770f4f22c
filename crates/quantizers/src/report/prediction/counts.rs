//! Counts of one order of the model, smoothed by the order below.
//!
//! For a context x, a prefix of the next item (the parent) and its continuations c, counted `n(c)`
//! with sum n and T different ones, the hierarchical Pitman-Yor rule with one table a continuation
//! (Teh 2006; with D = 0 the Dirichlet prior of MacKay and Peto 1995, with theta = 0 absolute
//! discounting):
//! `p(c) = (max(n(c) - D, 0) + (theta + D T) p'(c)) / (n + theta)`, where p' is the order below;
//! `p = p'` where nothing was counted.
//!
//! D and theta are chosen for each order by the likelihood of the transitions left out one at a
//! time ([`Evidence`]), so that an order that teaches nothing gets a theta that silences it.
//!
//! Rows lie sorted by (context, continuation); the continuations of a parent are neighbours, so
//! those of a pair (context, parent) are a range. Cost: a sort of the transitions.

use rayon::prelude::*;
use std::ops::Range;

/// Values tried for D.
const DISCOUNTS: [f64; 6] = [0.0, 0.2, 0.4, 0.6, 0.8, 0.95];
/// Powers of two tried for theta: the first and the last.
const THETA: [i32; 2] = [-3, 24];

/// Counts of continuations in context.
#[derive(Debug)]
pub(super) struct Counts {
    /// (context, continuation), ascending, and how often.
    pairs: Vec<u64>,
    counts: Vec<u32>,
    /// (context, parent), ascending; their first place in `pairs`, and the end of the last.
    parents: Vec<u64>,
    starts: Vec<u32>,
    totals: Vec<u32>,
    rule: Rule,
}

/// The two numbers of the smoothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rule {
    /// D, from 0 to below 1.
    pub discount: f64,
    /// theta, above 0.
    pub theta: f64,
}

impl Rule {
    /// Weight of the order below: `different` continuations in `total`.
    fn keep(&self, different: f64, total: f64) -> f64 {
        (self.theta + self.discount * different) / (total + self.theta)
    }

    /// What a count adds.
    fn gain(&self, count: f64, total: f64) -> f64 {
        (count - self.discount).max(0.0) / (total + self.theta)
    }
}

/// What a context and parent say of all continuations: `p = keep * p'`, plus what was counted.
pub(super) struct Seen {
    /// The parent.
    pub parent: u32,
    /// Weight of the order below.
    pub keep: f64,
    places: Range<usize>,
    total: f64,
}

/// A transition as the others see it.
pub(super) struct Evidence {
    count: f64,
    total: f64,
    different: f64,
    /// Its probability by the order below, itself left out there too.
    below: f64,
}

impl Evidence {
    fn probability(&self, rule: &Rule) -> f64 {
        match self.total > 0.0 {
            true => {
                rule.keep(self.different, self.total) * self.below
                    + rule.gain(self.count, self.total)
            }
            false => self.below,
        }
    }
}

fn key(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

impl Counts {
    /// From (context, continuation) of every transition; `parent` of a continuation.
    pub fn of(transitions: impl Iterator<Item = (u32, u32)>, parent: &[u32]) -> Self {
        let mut keys: Vec<u64> = transitions.map(|(x, c)| key(x, c)).collect();
        keys.par_sort_unstable();
        let mut out = Counts {
            pairs: Vec::new(),
            counts: Vec::new(),
            parents: Vec::new(),
            starts: Vec::new(),
            totals: Vec::new(),
            rule: Rule { discount: 0.0, theta: 1.0 },
        };
        for same in keys.chunk_by(|a, b| a == b) {
            let count = same.len() as u32;
            let above = key((same[0] >> 32) as u32, parent[same[0] as u32 as usize]);
            if out.parents.last() != Some(&above) {
                out.parents.push(above);
                out.starts.push(out.pairs.len() as u32);
                out.totals.push(0);
            }
            out.pairs.push(same[0]);
            out.counts.push(count);
            if let Some(total) = out.totals.last_mut() {
                *total += count;
            }
        }
        out.starts.push(out.pairs.len() as u32);
        out
    }

    /// Chooses the rule by transitions (context, parent, continuation) that were counted, each left
    /// out of the counts. `below` has their probabilities by the order below, left out likewise;
    /// it becomes those of this order.
    pub fn fit(&mut self, transitions: impl Iterator<Item = [u32; 3]>, below: &mut [f64]) {
        let evidence: Vec<Evidence> = transitions
            .zip(below.iter())
            .map(|([context, parent, child], &below)| self.without(context, parent, child, below))
            .collect();
        let likelihood = |rule: &Rule| -> f64 {
            // Products of eight at a time stay far from the smallest number and save logarithms.
            let product = |part: &[Evidence]| -> f64 {
                part.iter().map(|e| e.probability(rule).max(1e-30)).product()
            };
            evidence.chunks(8).map(|part| product(part).ln()).sum()
        };
        let mut best = (f64::NEG_INFINITY, self.rule);
        let mut power = 6;
        for discount in DISCOUNTS {
            let at = |power: i32| {
                let rule = Rule { discount, theta: f64::from(power).exp2() };
                (likelihood(&rule), rule)
            };
            // The likelihood has one peak over theta: climb from where the last D had its own.
            let mut here = at(power);
            for step in [-1, 1] {
                while (THETA[0]..=THETA[1]).contains(&(power + step)) {
                    let next = at(power + step);
                    if next.0 <= here.0 {
                        break;
                    }
                    (here, power) = (next, power + step);
                }
            }
            if here.0 > best.0 {
                best = here;
            }
        }
        self.rule = best.1;
        below.iter_mut().zip(&evidence).for_each(|(b, e)| *b = e.probability(&self.rule));
    }

    /// A counted transition as the others see it.
    fn without(&self, context: u32, parent: u32, child: u32, below: f64) -> Evidence {
        let Some(seen) = self.seen(context, parent) else {
            return Evidence { count: 0.0, total: 0.0, different: 0.0, below };
        };
        let count = self.count(&seen, context, child);
        Evidence {
            count: count - 1.0,
            total: seen.total - 1.0,
            different: seen.places.len() as f64 - f64::from(u8::from(count == 1.0)),
            below,
        }
    }

    /// What was seen of a context and parent.
    pub fn seen(&self, context: u32, parent: u32) -> Option<Seen> {
        self.parents.binary_search(&key(context, parent)).ok().map(|at| self.at(at))
    }

    /// All that was seen of a context, by parent.
    pub fn all_seen(&self, context: u32) -> impl Iterator<Item = Seen> {
        let start = self.parents.partition_point(|&p| p < key(context, 0));
        let rest = &self.parents[start..];
        let end = start + rest.partition_point(|&p| p <= key(context, u32::MAX));
        (start..end).map(|at| self.at(at))
    }

    fn at(&self, at: usize) -> Seen {
        let places = self.starts[at] as usize..self.starts[at + 1] as usize;
        let total = f64::from(self.totals[at]);
        let keep = self.rule.keep(places.len() as f64, total);
        Seen { parent: self.parents[at] as u32, keep, places, total }
    }

    /// Continuations that were counted, with what is added to their probability.
    pub fn gains(&self, seen: &Seen) -> impl Iterator<Item = (u32, f64)> {
        let total = seen.total;
        let gain = move |at: usize| self.rule.gain(f64::from(self.counts[at]), total);
        seen.places.clone().map(move |at| (self.pairs[at] as u32, gain(at)))
    }

    /// How often a continuation was counted.
    fn count(&self, seen: &Seen, context: u32, continuation: u32) -> f64 {
        let found = self.pairs[seen.places.clone()].binary_search(&key(context, continuation));
        found.map_or(0.0, |at| f64::from(self.counts[seen.places.start + at]))
    }

    /// Probability of a continuation, given that of the order below.
    pub fn mix(&self, context: u32, parent: u32, continuation: u32, below: f64) -> f64 {
        let Some(seen) = self.seen(context, parent) else { return below };
        let count = self.count(&seen, context, continuation);
        seen.keep * below + self.rule.gain(count, seen.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: [(u32, u32); 5] = [(4, 0), (4, 1), (4, 0), (4, 2), (9, 1)];

    #[test]
    fn probabilities_by_hand() {
        // Continuations 0, 1 of parent 0 and 2 of parent 1; context 4 saw 0, 0, 1 and 2.
        let mut c = Counts::of(PAIRS.into_iter(), &[0, 0, 1]);
        c.rule = Rule { discount: 0.5, theta: 3.0 };
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-15, "{a} {b}");
        near(c.mix(4, 0, 0, 0.5), (1.5 + 4.0 * 0.5) / 6.0);
        near(c.mix(4, 0, 1, 0.5), (0.5 + 4.0 * 0.5) / 6.0);
        near(c.mix(9, 0, 0, 0.5), (3.0 + 0.5) * 0.5 / 4.0);
        assert_eq!((c.mix(9, 1, 2, 0.25), c.mix(5, 0, 0, 0.25)), (0.25, 0.25));
        let all: Vec<u32> = c.all_seen(4).map(|s| s.parent).collect();
        assert_eq!(all, [0, 1]);
        assert_eq!(c.all_seen(5).count(), 0);
    }

    #[test]
    fn left_out_means_counted_without() {
        let parent = [0, 0, 1];
        for leave in 0..PAIRS.len() {
            let rule = Rule { discount: 0.4, theta: 2.0 };
            let rest = PAIRS.iter().enumerate().filter(|(i, _)| *i != leave).map(|(_, p)| *p);
            let (mut all, mut less) =
                (Counts::of(PAIRS.into_iter(), &parent), Counts::of(rest, &parent));
            (all.rule, less.rule) = (rule, rule);
            let (context, child) = PAIRS[leave];
            let above = parent[child as usize];
            let evidence = all.without(context, above, child, 0.3);
            let expected = less.mix(context, above, child, 0.3);
            assert!((evidence.probability(&rule) - expected).abs() < 1e-15);
        }
    }

    #[test]
    fn an_order_that_teaches_nothing_is_silenced_and_one_that_does_is_heard() {
        let fit = |pairs: &[(u32, u32)]| {
            let mut c = Counts::of(pairs.iter().copied(), &[0; 50]);
            let mut below = vec![1.0 / 50.0; pairs.len()];
            c.fit(pairs.iter().map(|&(x, y)| [x, 0, y]), &mut below);
            c
        };
        let draw = |i: u64| (sidereal_core::seed::mix(i) % 50) as u32;
        let chance: Vec<_> = (0..3000).map(|i| (draw(i), draw(!i))).collect();
        let silent = fit(&chance);
        assert!((silent.mix(7, 0, 3, 0.02) - 0.02).abs() < 0.002, "{:?}", silent.rule);
        let rule: Vec<_> = (0..3000).map(|i| (draw(i), (draw(i) + 1) % 50)).collect();
        let heard = fit(&rule);
        assert!(heard.mix(7, 0, 8, 0.02) > 0.95, "{:?}", heard.rule);
    }
}
