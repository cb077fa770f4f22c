//! Pairs of items of one history, and negatives.
//!
//! Ordered pairs of places of a history that are at most `window` apart are numbered, history after
//! history: a draw is a number. Nothing is stored a pair. Every [`CHUNK`] draws have their own
//! random stream.

use super::Item2VecOptions;
use rand::Rng;
use rayon::prelude::*;
use sidereal_core::{Error, ItemId, Result, Sequences, UserId, seed};

/// Draws of one stream.
pub const CHUNK: usize = 1024;

/// One pair with its negatives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draws {
    /// Centre and context of each pair.
    pub pairs: Vec<[u32; 2]>,
    /// Negatives of each pair, pair after pair; one that is the context does not count.
    pub negatives: Vec<u32>,
}

/// All pairs of the training histories.
pub struct Pairs<'a> {
    train: &'a Sequences,
    window: usize,
    negatives: usize,
    /// Number of the first pair of every history, and the number of all pairs.
    firsts: Vec<u64>,
    /// Probability of each item to stay; empty where all stay.
    keep: Vec<f32>,
    /// Rising sums of the weights of items as negatives.
    weights: Vec<f64>,
}

impl<'a> Pairs<'a> {
    /// Over the histories of `n` items.
    ///
    /// Errors: no history has two items.
    pub fn new(train: &'a Sequences, n: usize, options: &Item2VecOptions) -> Result<Self> {
        let mut firsts = vec![0];
        let mut sum = 0u64;
        for (_, items) in train.iter() {
            sum += count(items.len(), options.window);
            firsts.push(sum);
        }
        if sum == 0 {
            return Err(Error::input("no training history has two items, so there is no pair"));
        }
        let counts = train.popularity(n);
        let all = train.all_items().len() as f64;
        let limit = f64::from(options.subsample);
        let stays =
            |&c: &u32| if c == 0 { 1.0 } else { (limit * all / f64::from(c)).sqrt().min(1.0) };
        let keep =
            if limit > 0.0 { counts.iter().map(|c| stays(c) as f32).collect() } else { vec![] };
        let power = f64::from(options.smoothing);
        let mut total = 0.0;
        let weights = counts
            .iter()
            .map(|&c| {
                total += if c == 0 { 0.0 } else { f64::from(c).powf(power) };
                total
            })
            .collect();
        let (window, negatives) = (options.window, options.negatives);
        Ok(Pairs { train, window, negatives, firsts, keep, weights })
    }

    /// Number of ordered pairs.
    pub fn len(&self) -> u64 {
        self.firsts.last().copied().unwrap_or(0)
    }

    /// Whether there is none; never, since [`Pairs::new`] refuses that.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items of pair `number`.
    fn get(&self, number: u64) -> [ItemId; 2] {
        let user = self.firsts.partition_point(|&f| f <= number) - 1;
        let items = self.train.items(UserId(user as u32));
        let [a, b] = places(items.len(), self.window, (number - self.firsts[user]) as usize);
        [items[a], items[b]]
    }

    /// The draws of a step: at most `count`, because pairs of an item with itself and those that
    /// subsampling leaves out are drawn and dropped.
    pub fn draw(&self, seed: u64, step: u64, count: usize) -> Draws {
        let pieces = count.div_ceil(CHUNK);
        let drawn: Vec<Draws> = (0..pieces)
            .into_par_iter()
            .map(|chunk| {
                let index = step * pieces as u64 + chunk as u64;
                let mut rng = seed::stream(seed, "item2vec-pairs", index);
                let mut out = Draws { pairs: Vec::new(), negatives: Vec::new() };
                for _ in 0..CHUNK.min(count - chunk * CHUNK) {
                    let pair = self.get(rng.random_range(0..self.len()));
                    let stays = |i: ItemId| self.keep.get(i.index()).copied().unwrap_or(1.0);
                    let chance = stays(pair[0]) * stays(pair[1]);
                    if pair[0] == pair[1] || rng.random::<f32>() >= chance {
                        continue;
                    }
                    out.pairs.push(pair.map(|i| i.0));
                    out.negatives.extend((0..self.negatives).map(|_| self.negative(&mut rng)));
                }
                out
            })
            .collect();
        Draws {
            pairs: drawn.iter().flat_map(|d| &d.pairs).copied().collect(),
            negatives: drawn.iter().flat_map(|d| &d.negatives).copied().collect(),
        }
    }

    fn negative(&self, rng: &mut impl Rng) -> u32 {
        let total = self.weights.last().copied().unwrap_or(0.0);
        let at = rng.random::<f64>() * total;
        self.weights.partition_point(|&w| w <= at).min(self.weights.len() - 1) as u32
    }
}

/// Number of ordered pairs of `n` places at most `window` apart; a window of 0 has no end.
fn count(n: usize, window: usize) -> u64 {
    let (n, w) = (n as u64, reach(n, window) as u64);
    // 2 ((n - 1) + (n - 2) + ... + (n - w)).
    w * (2 * n).saturating_sub(w + 1)
}

fn reach(n: usize, window: usize) -> usize {
    let most = n.saturating_sub(1);
    if window == 0 { most } else { window.min(most) }
}

/// The two places of pair `number` of a history of `n`.
fn places(n: usize, window: usize, mut number: usize) -> [usize; 2] {
    if reach(n, window) == n - 1 {
        let (a, b) = (number / (n - 1), number % (n - 1));
        return [a, b + usize::from(b >= a)];
    }
    let mut distance = 1;
    while number >= 2 * (n - distance) {
        number -= 2 * (n - distance);
        distance += 1;
    }
    let (a, b) = (number / 2, number / 2 + distance);
    if number.is_multiple_of(2) { [a, b] } else { [b, a] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_pair_has_one_number() {
        for n in 2..9 {
            for window in 0..10 {
                let all: BTreeSet<_> =
                    (0..count(n, window)).map(|p| places(n, window, p as usize)).collect();
                let near = |a: usize, b: usize| window == 0 || a.abs_diff(b) <= window;
                let want: BTreeSet<_> = (0..n)
                    .flat_map(|a| (0..n).map(move |b| [a, b]))
                    .filter(|&[a, b]| a != b && near(a, b))
                    .collect();
                assert_eq!(all.len() as u64, count(n, window));
                assert_eq!(all, want, "{n} {window}");
            }
        }
        assert_eq!((count(0, 0), count(1, 0), count(1, 3)), (0, 0, 0));
    }

    #[test]
    fn draws_follow_counts_and_repeats_are_dropped() {
        let mut train = Sequences::default();
        let ids = |items: &[u32]| items.iter().map(|&i| ItemId(i)).collect::<Vec<_>>();
        train.push(&[]);
        train.push(&ids(&[0, 1]));
        train.push(&ids(&[3]));
        train.push(&ids(&[2, 2, 1]));
        let options =
            Item2VecOptions { subsample: 0.0, negatives: 2, smoothing: 1.0, ..Default::default() };
        let pairs = Pairs::new(&train, 5, &options).unwrap();
        assert_eq!(pairs.len(), 8);
        let draws = pairs.draw(1, 0, 8000);
        // Two of the eight pairs are item 2 with itself.
        let share = draws.pairs.len() as f64 / 8000.0;
        assert!((share - 0.75).abs() < 0.03, "{share}");
        assert_eq!(draws.negatives.len(), 2 * draws.pairs.len());
        let one = draws.pairs.iter().filter(|p| **p == [0, 1]).count() as f64 / 8000.0;
        assert!((one - 0.125).abs() < 0.03, "{one}");
        let of = |i| draws.negatives.iter().filter(|&&k| k == i).count() as f64;
        let all = draws.negatives.len() as f64;
        for (i, count) in [1.0, 2.0, 2.0, 1.0, 0.0].into_iter().enumerate() {
            assert!((of(i as u32) / all - count / 6.0).abs() < 0.03);
        }
        // Items 1 and 2 have a share of 1/3: with a limit of 1/12 half of each stays.
        let half = Item2VecOptions { subsample: 1.0 / 12.0, ..options };
        let kept = Pairs::new(&train, 5, &half).unwrap().draw(1, 0, 8000);
        let both = kept.pairs.iter().filter(|p| p.contains(&1) && p.contains(&2)).count();
        assert!((both as f64 / 8000.0 - 0.5 / 4.0).abs() < 0.03);
        let mut lonely = Sequences::default();
        lonely.push(&ids(&[1]));
        assert!(Pairs::new(&lonely, 5, &half).err().unwrap().to_string().contains("two items"));
    }
}
