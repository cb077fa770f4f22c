//! Retrieval against sets of evidence (KILT, Petroni et al., arXiv 2009.02252): a question may be
//! answered from several sets of pages, and a set counts when all of its pages were found.
//!
//! - R-precision = max over sets E of |first |E| guesses in E| / |E|; 0 for an empty set.
//! - The rank list walks the guesses: a page of no set that is left is a miss; a page of set i
//!   takes it out of the set and moves the set's point to this place, which is a hit once the set
//!   is empty. precision@k = hits among the first k points / k, recall@k = hits / number of distinct
//!   *sets* (not pages), success@k = any hit.
//!
//! Repeated guesses count once, and a page that is in two sets gives a point for each, as in KILT's
//! code, whose recorded outputs this equals.

use std::collections::BTreeSet;

/// The sets of one question; equal sets are one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EvidenceSets<T: Ord> {
    sets: Vec<BTreeSet<T>>,
}

/// A place of the rank list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    Hit,
    Miss,
    /// Part of a set, by number.
    Partial(usize),
}

impl<T: Ord + Clone> EvidenceSets<T> {
    /// Takes sets of page ids.
    pub fn new(sets: impl IntoIterator<Item = impl IntoIterator<Item = T>>) -> Self {
        let mut out: Vec<BTreeSet<T>> = Vec::new();
        for set in sets {
            let set: BTreeSet<T> = set.into_iter().collect();
            if !out.contains(&set) {
                out.push(set);
            }
        }
        EvidenceSets { sets: out }
    }

    /// Number of distinct sets.
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// R-precision of the best set.
    pub fn r_precision(&self, guesses: &[T]) -> f64 {
        let guesses = distinct(guesses);
        let of = |set: &BTreeSet<T>| {
            let found = guesses.iter().take(set.len()).filter(|g| set.contains(g)).count();
            found as f64 / set.len().max(1) as f64
        };
        self.sets.iter().map(of).fold(0.0, f64::max)
    }

    /// Hits among the first `k` points over `k`; 0 for `k` = 0.
    pub fn precision(&self, guesses: &[T], k: usize) -> f64 {
        self.hits(guesses, k) as f64 / k.max(1) as f64
    }

    /// Hits among the first `k` points over the number of sets; 0 without sets.
    pub fn recall(&self, guesses: &[T], k: usize) -> f64 {
        self.hits(guesses, k) as f64 / self.len().max(1) as f64
    }

    /// 1 if there is a hit among the first `k` points, else 0.
    pub fn success(&self, guesses: &[T], k: usize) -> f64 {
        f64::from(u8::from(self.hits(guesses, k) > 0))
    }

    fn hits(&self, guesses: &[T], k: usize) -> usize {
        self.points(guesses).iter().take(k).filter(|p| **p == Point::Hit).count()
    }

    fn points(&self, guesses: &[T]) -> Vec<Point> {
        let mut left = self.sets.clone();
        let mut points = Vec::new();
        for guess in distinct(guesses) {
            let mut found = false;
            for (i, set) in left.iter_mut().enumerate() {
                if !set.remove(&guess) {
                    continue;
                }
                found = true;
                points.retain(|p| *p != Point::Partial(i));
                points.push(if set.is_empty() { Point::Hit } else { Point::Partial(i) });
            }
            if !found {
                points.push(Point::Miss);
            }
        }
        points
    }
}

fn distinct<T: Ord + Clone>(guesses: &[T]) -> Vec<T> {
    let mut seen = BTreeSet::new();
    guesses.iter().filter(|g| seen.insert(*g)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_example() {
        let sets = EvidenceSets::new([vec!["A", "B"], vec!["C"]]);
        let guesses = ["A", "C", "B"];
        assert_eq!(sets.r_precision(&guesses), 0.5);
        assert_eq!(sets.points(&guesses), [Point::Hit, Point::Hit]);
        assert_eq!(sets.precision(&guesses, 1), 1.0);
        assert_eq!(sets.recall(&guesses, 5), 1.0);
        assert_eq!(sets.recall(&guesses, 1), 0.5);
    }

    #[test]
    fn parts_misses_and_repeats() {
        let sets = EvidenceSets::new([vec![1, 2, 3], vec![3, 2, 1], vec![9]]);
        assert_eq!(sets.len(), 2);
        assert_eq!(sets.points(&[1, 1, 5, 2]), [Point::Miss, Point::Partial(0)]);
        assert_eq!((sets.success(&[1, 2], 5), sets.success(&[5, 9], 1)), (0.0, 0.0));
        assert_eq!(sets.success(&[5, 9], 2), 1.0);
        assert_eq!(sets.precision(&[5, 9], 5), 0.2);
        assert_eq!(sets.r_precision(&[9, 9, 1]), 1.0);
        assert_eq!(sets.r_precision(&[2, 7, 1]), 2.0 / 3.0);
        let none = EvidenceSets::<u32>::new(Vec::<Vec<u32>>::new());
        assert!(none.is_empty());
        assert_eq!(
            (none.r_precision(&[1]), none.recall(&[1], 5), none.precision(&[], 0)),
            (0.0, 0.0, 0.0)
        );
        assert_eq!(EvidenceSets::new([Vec::<u32>::new()]).r_precision(&[1]), 0.0);
    }
}
