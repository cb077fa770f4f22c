//! Training samples of histories, as a list that is computed and never stored.
//!
//! A history of k items gives
//! - `contiguous`: every run of two items or more, its last item the target: k (k - 1) / 2 samples
//!   (GRID, arXiv 2507.22224),
//! - `prefix`: every beginning of two items or more: k - 1 samples,
//! - `packed`: the whole history once, every position after the first a target at the same time.
//!
//! A run of more than `max_history + 1` items keeps its most recent ones. The number of samples
//! does not change by that: as in GRID, long histories repeat their cut runs, and so weigh more.
//! Finding a sample costs O(log U); nothing is stored but one number a user.

use serde::{Deserialize, Serialize};
use sidereal_core::{ItemId, Sequences, UserId};

/// Which runs of a history are samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augment {
    /// Every run of two items or more.
    #[default]
    Contiguous,
    /// Every beginning of two items or more.
    Prefix,
    /// The whole history, all positions at once.
    Packed,
}

impl Augment {
    /// Number of samples of a history of `k` items.
    pub fn count(self, k: u64) -> u64 {
        match self {
            Augment::Contiguous => k * k.saturating_sub(1) / 2,
            Augment::Prefix => k.saturating_sub(1),
            Augment::Packed => u64::from(k > 1),
        }
    }
}

/// One sample: `items[start..end]` of the user, the last of them the target (for
/// [`Augment::Packed`] every one after the first).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Whose history.
    pub user: UserId,
    /// First item, counted within the user's history.
    pub start: usize,
    /// One past the target, counted within the user's history.
    pub end: usize,
}

impl Sample {
    /// All items of the sample, oldest first, the target last.
    pub fn items<'a>(&self, sequences: &'a Sequences) -> &'a [ItemId] {
        &sequences.items(self.user)[self.start..self.end]
    }

    /// Times of all items of the sample, if known.
    pub fn times<'a>(&self, sequences: &'a Sequences) -> Option<&'a [i64]> {
        Some(&sequences.times(self.user)?[self.start..self.end])
    }

    /// Items before the target, oldest first.
    pub fn history<'a>(&self, sequences: &'a Sequences) -> &'a [ItemId] {
        &sequences.items(self.user)[self.start..self.end - 1]
    }

    /// The target.
    pub fn target(&self, sequences: &Sequences) -> ItemId {
        sequences.items(self.user)[self.end - 1]
    }
}

/// The samples of all users, in order of users; holds U + 1 numbers.
#[derive(Debug, Clone)]
pub struct Samples {
    augment: Augment,
    max_history: usize,
    /// Samples before each user's first, and all of them at the end.
    starts: Vec<u64>,
    /// Length of each user's history.
    lengths: Vec<u32>,
}

impl Samples {
    /// Samples of `sequences`, with at most `max_history` items before a target.
    pub fn new(sequences: &Sequences, augment: Augment, max_history: usize) -> Self {
        let mut starts = Vec::with_capacity(sequences.len() + 1);
        let mut lengths = Vec::with_capacity(sequences.len());
        let mut total = 0;
        starts.push(0);
        for (_, items) in sequences.iter() {
            total += augment.count(items.len() as u64);
            starts.push(total);
            lengths.push(items.len() as u32);
        }
        Samples { augment, max_history: max_history.max(1), starts, lengths }
    }

    /// Number of samples.
    pub fn len(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sample `i` of `0..len()`.
    ///
    /// # Panics
    /// When `i` is not below [`Samples::len`], as indexing a slice does.
    pub fn get(&self, i: u64) -> Sample {
        assert!(i < self.len(), "sample {i} of {}", self.len());
        // The last user whose samples begin at or before i; users without samples are passed over.
        let u = self.starts.partition_point(|&s| s <= i) - 1;
        let k = self.lengths[u] as usize;
        let (start, end) = run(self.augment, (i - self.starts[u]) as usize, k);
        let start = start.max(end.saturating_sub(self.max_history + 1));
        Sample { user: UserId(u as u32), start, end }
    }

    /// All samples in order.
    pub fn iter(&self) -> impl Iterator<Item = Sample> + '_ {
        (0..self.len()).map(|i| self.get(i))
    }
}

/// Run `j` of a history of `k` items, before truncation. Contiguous runs are ordered by their end,
/// then by their start: the runs that end at `e` are the numbers from (e - 1)(e - 2) / 2 on.
fn run(augment: Augment, j: usize, k: usize) -> (usize, usize) {
    match augment {
        Augment::Prefix => (0, j + 2),
        Augment::Packed => (0, k),
        Augment::Contiguous => {
            let triangle = |m: usize| m * (m + 1) / 2;
            // The root is exact up to rounding, which the two steps mend.
            let mut m = (((8 * j + 1) as f64).sqrt() as usize).saturating_sub(1) / 2;
            while triangle(m) > j {
                m -= 1;
            }
            while triangle(m + 1) <= j {
                m += 1;
            }
            (j - triangle(m), m + 2)
        }
    }
}

/// The most recent `n` items of a history.
pub fn most_recent<T>(history: &[T], n: usize) -> &[T] {
    &history[history.len().saturating_sub(n)..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn world(lengths: &[usize]) -> Sequences {
        let mut s = Sequences::default();
        for &n in lengths {
            s.push(&(0..n as u32).map(ItemId).collect::<Vec<_>>());
        }
        s
    }

    #[test]
    fn four_items_give_six_runs() {
        let s = world(&[4]);
        let samples = Samples::new(&s, Augment::Contiguous, 100);
        let runs: Vec<_> = samples.iter().map(|x| (x.start, x.end)).collect();
        assert_eq!(runs, [(0, 2), (0, 3), (1, 3), (0, 4), (1, 4), (2, 4)]);
        let last = samples.get(5);
        assert_eq!(last.history(&s), [ItemId(2)]);
        assert_eq!(last.target(&s), ItemId(3));
        assert_eq!(last.items(&s).len(), 2);
        assert!(last.times(&s).is_none());
    }

    #[test]
    fn users_without_samples_are_passed_over() {
        let s = world(&[1, 3, 0, 1, 2, 0]);
        for (augment, want) in [
            (Augment::Contiguous, vec![(1, 0, 2), (1, 0, 3), (1, 1, 3), (4, 0, 2)]),
            (Augment::Prefix, vec![(1, 0, 2), (1, 0, 3), (4, 0, 2)]),
            (Augment::Packed, vec![(1, 0, 3), (4, 0, 2)]),
        ] {
            let samples = Samples::new(&s, augment, 9);
            let got: Vec<_> = samples.iter().map(|x| (x.user.0, x.start, x.end)).collect();
            assert_eq!(got, want);
        }
        assert!(Samples::new(&world(&[1, 0]), Augment::Prefix, 9).is_empty());
        assert!(Samples::new(&world(&[]), Augment::Packed, 9).is_empty());
    }

    #[test]
    fn long_runs_keep_the_most_recent() {
        let s = world(&[5]);
        let runs =
            |a| -> Vec<_> { Samples::new(&s, a, 2).iter().map(|x| (x.start, x.end)).collect() };
        assert_eq!(runs(Augment::Prefix), [(0, 2), (0, 3), (1, 4), (2, 5)]);
        assert_eq!(runs(Augment::Packed), [(2, 5)]);
        assert_eq!(runs(Augment::Contiguous).len(), 10);
        assert!(runs(Augment::Contiguous).iter().all(|(s, e)| e - s <= 3));
        assert_eq!(most_recent(&[1, 2, 3], 2), [2, 3]);
        assert_eq!(most_recent(&[1], 2), [1]);
    }

    proptest! {
        #[test]
        fn contiguous_runs_are_all_and_distinct(k in 0usize..40) {
            let samples = Samples::new(&world(&[k]), Augment::Contiguous, 1000);
            let mut runs: Vec<_> = samples.iter().map(|x| (x.start, x.end)).collect();
            runs.sort();
            let want: Vec<_> = (0..k)
                .flat_map(|s| (s + 2..=k).map(move |e| (s, e)))
                .collect();
            prop_assert_eq!(runs, want);
        }

        #[test]
        fn the_triangle_inverts(j in 0usize..2_000_000_000) {
            let (start, end) = run(Augment::Contiguous, j, usize::MAX);
            prop_assert!(start + 2 <= end);
            prop_assert_eq!((end - 1) * (end - 2) / 2 + start, j);
        }
    }
}
