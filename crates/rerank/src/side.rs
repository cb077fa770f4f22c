//! What rerankers may know of the catalogue: training popularity, item vectors, categories. Never
//! the targets.

use crate::Need;
use sidereal_core::{Error, ItemId, MatrixRef, Recommender, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of the N items; parts that nobody [needs](Need) stay out.
#[derive(Clone, Default)]
pub struct Side {
    popularity: Option<Popularity>,
    vectors: Option<UnitVectors>,
    categories: BTreeMap<usize, Groups>,
    runs: BTreeMap<String, Arc<dyn Recommender>>,
}

impl Side {
    /// With the training interactions of each item.
    pub fn with_popularity(mut self, counts: &[u32]) -> Self {
        self.popularity = Some(Popularity::new(counts));
        self
    }

    /// With a vector for each item, `N x D`; they are kept at length 1.
    ///
    /// Errors: a value that is not finite.
    pub fn with_vectors(mut self, vectors: MatrixRef<'_>) -> Result<Self> {
        self.vectors = Some(UnitVectors::new(vectors)?);
        Ok(self)
    }

    /// With the category of each item at a depth.
    pub fn with_categories(mut self, level: usize, groups: Groups) -> Self {
        self.categories.insert(level, groups);
        self
    }

    /// With the recommender of a finished run, by its folder.
    pub fn with_run(mut self, folder: &str, recommender: Arc<dyn Recommender>) -> Self {
        self.runs.insert(folder.into(), recommender);
        self
    }

    /// Training interactions. Errors: there are none.
    pub fn popularity(&self) -> Result<&Popularity> {
        self.popularity.as_ref().ok_or_else(|| missing("training interactions"))
    }

    /// Item vectors. Errors: there are none.
    pub fn vectors(&self) -> Result<&UnitVectors> {
        self.vectors.as_ref().ok_or_else(|| missing("item vectors"))
    }

    /// Categories at a depth. Errors: there are none.
    pub fn categories(&self, level: usize) -> Result<&Groups> {
        self.categories.get(&level).ok_or_else(|| missing("categories"))
    }

    /// The recommender of a finished run. Errors: there is none.
    pub fn run(&self, folder: &str) -> Result<&Arc<dyn Recommender>> {
        self.runs.get(folder).ok_or_else(|| missing(&format!("the run {folder}")))
    }

    /// Whether everything in `needs` is there.
    pub fn check(&self, needs: &[Need]) -> Result<()> {
        needs.iter().try_for_each(|need| match need {
            Need::Popularity => self.popularity().map(drop),
            Need::Vectors => self.vectors().map(drop),
            Need::Categories(level) => self.categories(*level).map(drop),
            Need::Run(folder) => self.run(folder).map(drop),
        })
    }
}

fn missing(what: &str) -> Error {
    Error::mismatch(format!("a reranker needs {what}, and this recommender has none"))
}

fn outside(item: ItemId, n: usize) -> Error {
    Error::mismatch(format!("candidate or history item {} of {n} items", item.0))
}

/// Training interactions of each item, and how they add up from the most popular item down.
#[derive(Debug, Clone)]
pub struct Popularity {
    counts: Vec<u32>,
    /// Distinct counts, falling.
    steps: Vec<u32>,
    /// Interactions of all items of at least that count.
    above: Vec<u64>,
}

impl Popularity {
    fn new(counts: &[u32]) -> Self {
        let mut sorted = counts.to_vec();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        let (mut steps, mut above, mut sum) = (Vec::new(), Vec::new(), 0u64);
        for count in sorted {
            sum += u64::from(count);
            if steps.last() == Some(&count) {
                above.pop();
                steps.pop();
            }
            steps.push(count);
            above.push(sum);
        }
        Popularity { counts: counts.to_vec(), steps, above }
    }

    /// Training interactions of an item. Errors: an item outside the catalogue.
    pub fn of(&self, item: ItemId) -> Result<u32> {
        let n = self.counts.len();
        self.counts.get(item.index()).copied().ok_or_else(|| outside(item, n))
    }

    /// The lowest count of the most popular items that together hold at least `share` (0 to 1) of
    /// all interactions. Items of one count stay together.
    pub fn head(&self, share: f64) -> u32 {
        let wanted = share * self.above.last().copied().unwrap_or(0) as f64;
        let step = self.above.partition_point(|&sum| (sum as f64) < wanted);
        self.steps.get(step).or(self.steps.last()).copied().unwrap_or(0)
    }
}

/// Item vectors at length 1; a zero vector stays zero and is like nothing.
#[derive(Debug, Clone)]
pub struct UnitVectors {
    values: Vec<f32>,
    width: usize,
    rows: usize,
}

impl UnitVectors {
    fn new(vectors: MatrixRef<'_>) -> Result<Self> {
        if let Some(row) = vectors.first_not_finite() {
            return Err(Error::NotFinite {
                what: format!("the vector of item {row}"),
                step: None,
                help: "rerankers compare items by finite vectors".into(),
            });
        }
        let (rows, width) = (vectors.rows(), vectors.cols());
        let mut values = vectors.data().to_vec();
        for row in values.chunks_exact_mut(width.max(1)) {
            // Scaled first: squares of the largest finite numbers have no f32.
            let largest = row.iter().fold(0f32, |m, v| m.max(v.abs()));
            if largest > 0.0 {
                row.iter_mut().for_each(|v| *v /= largest);
                let norm = dot(row, row).sqrt();
                row.iter_mut().for_each(|v| *v /= norm);
            }
        }
        Ok(UnitVectors { values, width, rows })
    }

    /// Width D.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The vector of an item. Errors: an item outside the catalogue.
    pub fn of(&self, item: ItemId) -> Result<&[f32]> {
        let i = item.index();
        if i >= self.rows {
            return Err(outside(item, self.rows));
        }
        Ok(&self.values[i * self.width..(i + 1) * self.width])
    }
}

/// A group number for each item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    of: Vec<u32>,
    count: usize,
}

impl Groups {
    /// From one number an item; their range is taken from the largest.
    pub fn new(of: Vec<u32>) -> Self {
        let count = of.iter().max().map_or(0, |&g| g as usize + 1);
        Groups { of, count }
    }

    /// Number of groups.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The group of an item. Errors: an item outside the catalogue.
    pub fn of(&self, item: ItemId) -> Result<u32> {
        self.of.get(item.index()).copied().ok_or_else(|| outside(item, self.of.len()))
    }
}

/// Dot product in eight partial sums, which compiles to vector code.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a8.zip(b8) {
        (0..8).for_each(|l| sums[l] += x[l] * y[l]);
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (b + f)) + ((c + g) + (d + h)) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_counts_by_hand() {
        // 10 interactions: the first item has half, the second and third 2 each, the last 1, one 0.
        let p = Popularity::new(&[2, 5, 1, 2, 0]);
        assert_eq!([0.0, 0.5, 0.51, 0.9, 0.91, 1.0].map(|s| p.head(s)), [5, 5, 2, 2, 1, 1]);
        assert_eq!(Popularity::new(&[]).head(0.5), 0);
        assert_eq!(Popularity::new(&[0, 0]).head(0.5), 0);
        assert!(p.of(ItemId(5)).unwrap_err().to_string().contains("item 5 of 5"));
    }

    #[test]
    fn vectors_have_length_one_or_zero() {
        let data = [3e38, 3e38, 0.0, 0.0, -2.0, 0.0];
        let v = UnitVectors::new(MatrixRef::new(3, 2, &data).unwrap()).unwrap();
        let norm = |i| dot(v.of(ItemId(i)).unwrap(), v.of(ItemId(i)).unwrap());
        assert!((norm(0) - 1.0).abs() < 1e-6 && norm(1) == 0.0 && (norm(2) - 1.0).abs() < 1e-6);
        let bad = [0.0, f32::NAN];
        let e = UnitVectors::new(MatrixRef::new(2, 1, &bad).unwrap()).unwrap_err();
        assert!(e.to_string().contains("item 1"));
    }

    #[test]
    fn dot_is_the_sum() {
        let a: Vec<f32> = (0..21).map(|i| i as f32).collect();
        assert_eq!(dot(&a, &a), (0..21).map(|i| (i * i) as f32).sum::<f32>());
        assert_eq!(dot(&[], &[]), 0.0);
    }

    #[test]
    fn what_is_missing_has_a_name() {
        let side = Side::default().with_popularity(&[1]);
        side.check(&[Need::Popularity]).unwrap();
        let e = side.check(&[Need::Vectors]).unwrap_err().to_string();
        assert!(e.contains("item vectors"), "{e}");
        let e = side.check(&[Need::Categories(1)]).unwrap_err().to_string();
        assert!(e.contains("categories"), "{e}");
    }
}
