//! What the codes of the last item say about the next one, in bits, without a recommender.
//!
//! A model of counts (`model.rs`) learns from the transitions (last item, next item) of most users
//! and predicts those of the users held out (a fifth, chosen by hash). Bits saved per next item
//! against the popularity of items, `mean log2 p(b | a) / p(b)`, estimate the part of the mutual
//! information of last and next item that this many transitions teach through these IDs. In
//! expectation they are that information, less what the model misses of `p(b | a)`, plus what the
//! popularity misses of `p(b)` (relative entropies); the second is the same for all IDs.
//!
//! Items that are told apart by their whole ID can be memorised even when their codes mean nothing,
//! so the same is measured for the same IDs dealt to other items at random: `structure_bits` is
//! what is left above them, and about 0 for random IDs.
//!
//! `recall` ranks every item of the catalogue by its exact probability, for a sample of held-out
//! transitions; ties count in expectation. Popularity and all orders share one rule of smoothing,
//! so none has an advantage by it.
//!
//! This estimator is this project's own; it is not taken from a paper. Cost: a sort of the
//! transitions for each pair of levels, and one pass over all prefixes for each ranked transition.

mod counts;
mod model;

use super::behaviour::check;
use super::prefixes::{NO_GROUP, Prefixes};
use counts::Counts;
use model::{Model, Rank};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sidereal_core::{Result, Run, Sequences, seed};

/// Of so many users one is held out.
const FOLD: u64 = 5;
/// Held-out transitions that are ranked at most.
const RANKED: usize = 4000;
/// Items that all rankings score at most, so that a catalogue of millions takes a minute: it gets a
/// smaller sample, of at least 200 transitions. The same for all IDs of a catalogue.
const SCORED: usize = 100_000_000;
/// Length of the ranked lists.
pub const LIST: usize = 10;
/// Transitions of one unit of work.
const CHUNK: usize = 512;

/// Bits that IDs save, and the recall of counting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictionReport {
    /// Transitions that the model learnt from.
    pub fitted: usize,
    /// Transitions that it was measured on, of other users.
    pub held_out: usize,
    /// Bits of a next item under the popularity of items.
    pub popularity_bits: f64,
    /// Bits saved by the codes of the last item.
    pub bits: f64,
    /// Standard error of `bits`, with users as the independent units.
    pub standard_error: f64,
    /// Bits saved by the same IDs, dealt to items at random.
    pub shuffled_bits: f64,
    /// `bits - shuffled_bits`: what the structure of the IDs is worth.
    pub structure_bits: f64,
    /// Transitions that were ranked.
    pub ranked: usize,
    /// Recall at 10 of the model, over the whole catalogue.
    pub recall: f64,
    /// The same with IDs dealt at random.
    pub shuffled_recall: f64,
    /// Recall at 10 of the popularity of items.
    pub popularity_recall: f64,
    /// Bits saved with contexts up to a length, from 0; only lengths that split prefixes.
    pub contexts: Vec<PrefixBits>,
    /// Bits that the context saves at each code of the next item, against no context.
    pub levels: Vec<PrefixBits>,
}

/// Bits at a prefix length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrefixBits {
    /// Codes.
    pub length: usize,
    /// Bits an item.
    pub bits: f64,
}

/// Transitions (last, next) with users side by side.
struct Split {
    fit: Vec<(u32, u32)>,
    held: Vec<(u32, u32)>,
    /// First of every held-out user in `held`, and the end of the last.
    users: Vec<usize>,
}

impl PredictionReport {
    /// Of training histories; none where nobody is held out or nothing is left to learn from.
    ///
    /// Errors: an item outside the catalogue; stopped on request.
    pub fn of(prefixes: &Prefixes, train: &Sequences, run: &Run<'_>) -> Result<Option<Self>> {
        check(prefixes, train)?;
        let split = Split::of(prefixes, train, run.seed);
        if split.fit.is_empty() || split.held.is_empty() {
            return Ok(None);
        }
        let popular = Popularity::of(prefixes, &split.fit);
        let items = prefixes.order().len().max(1);
        let sample = split.sample(RANKED.min((SCORED / items).max(200)), run.seed);
        run.check()?;
        let own = Measured::of(prefixes, &split, &popular, &sample);
        run.check()?;
        let mut places: Vec<u32> = (0..prefixes.order().len() as u32).collect();
        places.shuffle(&mut seed::stream(run.seed, "sid-report-shuffle", 0));
        let control = Measured::of(&prefixes.shuffled(&places), &split, &popular, &sample);
        let bits = own.bits();
        let popularity: f64 = split.held.iter().map(|t| -popular.log2[t.1 as usize]).sum();
        let at_top: f64 = sample.iter().map(|t| popular.rank(t.1).recall(LIST)).sum();
        Ok(Some(PredictionReport {
            fitted: split.fit.len(),
            held_out: split.held.len(),
            popularity_bits: popularity / split.held.len() as f64,
            bits,
            standard_error: own.standard_error(&split.users),
            shuffled_bits: control.bits(),
            structure_bits: bits - control.bits(),
            ranked: sample.len(),
            recall: own.recall,
            shuffled_recall: control.recall,
            popularity_recall: at_top / sample.len() as f64,
            contexts: own.contexts,
            levels: own.levels,
        }))
    }
}

impl Split {
    fn of(prefixes: &Prefixes, train: &Sequences, seed: u64) -> Self {
        let known = prefixes.labels(0);
        let mut out = Split { fit: Vec::new(), held: Vec::new(), users: vec![0] };
        for (user, items) in train.iter() {
            let held = seed::key(seed, "sid-report-users", u64::from(user.0)).is_multiple_of(FOLD);
            let side = if held { &mut out.held } else { &mut out.fit };
            let pairs = items.windows(2).map(|w| (w[0].0, w[1].0));
            side.extend(
                pairs.filter(|&(a, b)| {
                    known[a as usize] != NO_GROUP && known[b as usize] != NO_GROUP
                }),
            );
            if held && out.users.last() != Some(&out.held.len()) {
                out.users.push(out.held.len());
            }
        }
        out
    }

    /// The transitions to rank: all, or `n` without repetition.
    fn sample(&self, n: usize, seed: u64) -> Vec<(u32, u32)> {
        let mut held = self.held.clone();
        let mut draws = seed::stream(seed, "sid-report-ranked", 0);
        let (chosen, _) = held.partial_shuffle(&mut draws, n);
        chosen.to_vec()
    }
}

/// Popularity of items: the reference, which no ID changes.
struct Popularity {
    log2: Vec<f64>,
    /// Likelihoods of items with IDs, descending.
    sorted: Vec<f64>,
}

impl Popularity {
    fn of(prefixes: &Prefixes, transitions: &[(u32, u32)]) -> Self {
        let items = prefixes.n_items();
        let mut counts = Counts::of(transitions.iter().map(|t| (0, t.1)), &vec![0; items]);
        let uniform = 1.0 / prefixes.order().len().max(1) as f64;
        let triples = transitions.iter().map(|t| [0, 0, t.1]);
        counts.fit(triples, &mut vec![uniform; transitions.len()]);
        let log2: Vec<f64> =
            (0..items as u32).map(|i| counts.mix(0, 0, i, uniform).log2()).collect();
        let mut sorted: Vec<f64> = prefixes.order().iter().map(|&i| log2[i as usize]).collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        Popularity { log2, sorted }
    }

    fn rank(&self, item: u32) -> Rank {
        let own = self.log2[item as usize];
        let better = self.sorted.partition_point(|p| *p > own);
        let upto = self.sorted.partition_point(|p| *p >= own);
        Rank { better, equal: upto - better }
    }
}

/// One set of IDs, measured.
struct Measured {
    /// Bits saved at every held-out transition.
    saved: Vec<f64>,
    contexts: Vec<PrefixBits>,
    levels: Vec<PrefixBits>,
    recall: f64,
}

impl Measured {
    fn of(prefixes: &Prefixes, split: &Split, popular: &Popularity, sample: &[(u32, u32)]) -> Self {
        let model = Model::fit(prefixes, &split.fit);
        let (orders, steps) = (model.contexts.len(), model.lengths.len() - 1);
        // A row a transition: bits saved by each order, then by each step.
        let width = orders + steps;
        let row = |rows: &mut Vec<f64>, &(a, b): &(u32, u32)| {
            let start = rows.len();
            rows.resize(start + width, 0.0);
            let (by_order, by_step) = rows[start..].split_at_mut(orders);
            model.log2(a, b, by_order, by_step);
            by_order.iter_mut().for_each(|o| *o -= popular.log2[b as usize]);
        };
        let chunks: Vec<Vec<f64>> = split
            .held
            .par_chunks(CHUNK)
            .map(|chunk| {
                let mut rows = Vec::with_capacity(chunk.len() * width);
                chunk.iter().for_each(|t| row(&mut rows, t));
                rows
            })
            .collect();
        let rows = chunks.concat();
        let mut sums = vec![0.0; width];
        for row in rows.chunks_exact(width) {
            sums.iter_mut().zip(row).for_each(|(s, v)| *s += v);
        }
        let n = split.held.len() as f64;
        let bits = |(&length, sum): (&usize, &f64)| PrefixBits { length, bits: sum / n };
        let scratch = model.scratch();
        let hits: Vec<f64> = sample
            .par_chunks(CHUNK / 8)
            .map_init(
                || scratch.clone(),
                |scratch, chunk| -> f64 {
                    chunk.iter().map(|&(a, b)| model.rank(a, b, scratch).recall(LIST)).sum()
                },
            )
            .collect();
        Measured {
            saved: rows.chunks_exact(width).map(|row| row[orders - 1]).collect(),
            contexts: model.contexts.iter().zip(&sums).map(bits).collect(),
            levels: model.lengths[1..].iter().zip(&sums[orders..]).map(bits).collect(),
            recall: hits.iter().sum::<f64>() / sample.len() as f64,
        }
    }

    fn bits(&self) -> f64 {
        self.saved.iter().sum::<f64>() / self.saved.len() as f64
    }

    /// Of the mean, with users as units: `sqrt(sum_u (s_u - n_u mean)^2) / n`.
    fn standard_error(&self, users: &[usize]) -> f64 {
        let mean = self.bits();
        let off = |w: &[usize]| {
            let own = &self.saved[w[0]..w[1]];
            (own.iter().sum::<f64>() - own.len() as f64 * mean).powi(2)
        };
        users.windows(2).map(off).sum::<f64>().sqrt() / self.saved.len() as f64
    }
}

#[cfg(test)]
mod tests;
