//! First centroids of a level, from a buffer of residuals.
//!
//! k-means++ (Arthur and Vassilvitskii 2007): the first centroid is uniform, each next one is a
//! row drawn with probability proportional to its squared distance to the nearest centroid so
//! far. Where all distances are zero the rest is drawn uniformly. The greedy form of the same paper
//! draws several rows each time and keeps the one that leaves the smallest sum of distances: it
//! rarely spends two centroids on one cluster. Cost `n0 K D` a candidate.

use super::{squared_distance, squared_norm};
use crate::residual::Entering;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sidereal_core::{Matrix, Result};
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};

/// How the first centroids are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Spread out: by squared distance to the centroids chosen before.
    #[serde(rename = "k-means++")]
    PlusPlus,
    /// Rows drawn uniformly, each at most once.
    Random,
}

/// Rows that one task works on.
const BLOCK: usize = 256;

/// How many rows k-means++ draws for each centroid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidates {
    /// `2 + ln K`, rounded down: the usual choice of the greedy form.
    ByWidth,
    /// So many; one is the plain form.
    Fixed(u32),
}

impl Candidates {
    fn count(self, width: usize) -> usize {
        match self {
            Candidates::ByWidth => 2 + (width as f64).ln() as usize,
            Candidates::Fixed(n) => n as usize,
        }
    }
}

/// Rows that first centroids are drawn from when nothing else is asked for (GRID).
const USUAL_ROWS: usize = 3072;

/// First centroids of a level from a sample of at most 3072 rows, or `width` where that is more.
pub(crate) fn first_centroids(
    source: &Entering<'_>,
    start: Start,
    width: usize,
    candidates: Candidates,
    rng: &mut ChaCha8Rng,
) -> Result<Matrix> {
    let rows = sample(source.len(), USUAL_ROWS.max(width), rng);
    Ok(choose(start, &source.gather(&rows)?, width, candidates, rng))
}

/// `wanted` of `rows` rows in rising order; all of them where there are no more.
pub(crate) fn sample(rows: usize, wanted: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    if wanted >= rows {
        return (0..rows as u32).collect();
    }
    let mut drawn = rand::seq::index::sample(rng, rows, wanted).into_vec();
    drawn.sort_unstable();
    drawn.into_iter().map(|r| r as u32).collect()
}

/// `width` centroids of shape `width x D` from `buffer`, which has at least `width` rows.
pub(crate) fn choose(
    start: Start,
    buffer: &Matrix,
    width: usize,
    candidates: Candidates,
    rng: &mut ChaCha8Rng,
) -> Matrix {
    let rows = match start {
        Start::PlusPlus => plus_plus(buffer, width, candidates, rng),
        Start::Random => rand::seq::index::sample(rng, buffer.rows(), width).into_vec(),
    };
    let mut out = Matrix::zeros(width, buffer.cols());
    for (i, row) in rows.into_iter().enumerate() {
        out.row_mut(i).copy_from_slice(buffer.row(row));
    }
    out
}

fn plus_plus(
    buffer: &Matrix,
    width: usize,
    candidates: Candidates,
    rng: &mut ChaCha8Rng,
) -> Vec<usize> {
    let n = buffer.rows();
    let count = candidates.count(width);
    let compare = (count > 1).then(|| Compare::new(buffer));
    let mut nearest = vec![f32::INFINITY; n];
    let mut chosen = Vec::with_capacity(width);
    let mut drawn = Vec::with_capacity(count);
    while chosen.len() < width {
        if let Some(&last) = chosen.last() {
            lower(&mut nearest, buffer, last);
        }
        drawn.clear();
        if chosen.is_empty() {
            drawn.push(rng.random_range(0..n));
        } else {
            drawn.extend((0..count).map_while(|_| by_weight(&nearest, rng)));
        }
        chosen.push(match (&drawn[..], &compare) {
            ([], _) => rng.random_range(0..n),
            ([_, _, ..], Some(compare)) => drawn[compare.best(&nearest, &drawn)],
            ([first, ..], _) => *first,
        });
    }
    chosen
}

/// The buffer as the products with a few candidates read it: blocks of rows, each transposed.
struct Compare<'a> {
    buffer: &'a Matrix,
    blocks: Vec<f32>,
    norms: Vec<f32>,
}

impl<'a> Compare<'a> {
    fn new(buffer: &'a Matrix) -> Self {
        let dim = buffer.cols();
        let mut blocks = vec![0.0; buffer.data().len()];
        let pairs = blocks.par_chunks_mut(BLOCK * dim).zip(buffer.data().par_chunks(BLOCK * dim));
        pairs.for_each(|(out, rows)| {
            let n = rows.len() / dim;
            for (i, row) in rows.chunks_exact(dim).enumerate() {
                row.iter().enumerate().for_each(|(d, v)| out[d * n + i] = *v);
            }
        });
        let norms = buffer.data().chunks_exact(dim).map(squared_norm).collect();
        Compare { buffer, blocks, norms }
    }

    /// Which of the drawn rows would leave the smallest sum of distances, first of equals.
    ///
    /// These distances come from one dense product a block, since they only compare candidates;
    /// the weights of later draws are exact differences.
    fn best(&self, nearest: &[f32], drawn: &[usize]) -> usize {
        let (dim, count) = (self.buffer.cols(), drawn.len());
        let rows: Vec<f32> = drawn.iter().flat_map(|&r| self.buffer.row(r)).copied().collect();
        let blocks = self.blocks.par_chunks(BLOCK * dim).enumerate();
        let sums: Vec<Vec<f64>> = blocks
            .map(|(b, block)| {
                let n = block.len() / dim;
                let mut dots = vec![0.0; count * n];
                let (chosen, block) = (Mat::rows(&rows, dim), Mat::rows(block, n));
                gemm(count, n, dim, chosen, block, &mut dots, n, Write::Set);
                let at = b * BLOCK..b * BLOCK + n;
                let (nearest, norms) = (&nearest[at.clone()], &self.norms[at]);
                let potential = |(dots, &row): (&[f32], &usize)| {
                    let left = |((dot, norm), near): ((&f32, &f32), &f32)| {
                        let distance = norm + self.norms[row] - 2.0 * dot;
                        f64::from(near.min(distance.max(0.0)))
                    };
                    dots.iter().zip(norms).zip(nearest).map(left).sum()
                };
                dots.chunks_exact(n).zip(drawn).map(potential).collect()
            })
            .collect();
        // Blocks are added in their order.
        let total = |c: usize| sums.iter().map(|s| s[c]).sum::<f64>();
        let totals: Vec<f64> = (0..count).map(total).collect();
        (1..count).fold(0, |best, c| if totals[c] < totals[best] { c } else { best })
    }
}

/// Takes the distances to the newest centroid into account.
fn lower(nearest: &mut [f32], buffer: &Matrix, centroid: usize) {
    let c = buffer.row(centroid);
    nearest.par_chunks_mut(BLOCK).enumerate().for_each(|(b, out)| {
        for (i, d) in out.iter_mut().enumerate() {
            *d = d.min(squared_distance(buffer.row(b * BLOCK + i), c));
        }
    });
}

/// An index drawn by weight; `None` when all weights are zero.
fn by_weight(weights: &[f32], rng: &mut ChaCha8Rng) -> Option<usize> {
    let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
    if total <= 0.0 {
        return None;
    }
    let target = rng.random::<f64>() * total;
    let mut sum = 0.0;
    for (i, &w) in weights.iter().enumerate() {
        sum += f64::from(w);
        if sum > target {
            return Some(i);
        }
    }
    weights.iter().rposition(|&w| w > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::seed::stream;

    #[test]
    fn far_points_are_drawn_by_their_squared_distance() {
        // From 0, the points 1 and 3 have weights 1 and 9.
        let data = Matrix::new(3, 1, vec![0.0, 1.0, 3.0]).unwrap();
        let (mut from_zero, mut far) = (0, 0);
        for i in 0..20_000 {
            let rows = plus_plus(&data, 2, Candidates::Fixed(1), &mut stream(1, "test", i));
            assert_ne!(rows[0], rows[1]);
            if rows[0] == 0 {
                from_zero += 1;
                far += usize::from(rows[1] == 2);
            }
        }
        let share = far as f64 / from_zero as f64;
        assert!((share - 0.9).abs() < 0.015, "{share}");
        assert!((from_zero as f64 / 20_000.0 - 1.0 / 3.0).abs() < 0.015);
    }

    #[test]
    fn of_several_candidates_the_best_is_kept() {
        // With rows 0, 1 and 3 and the first centroid at 0, the row 3 leaves 1, the row 1 leaves 4.
        let data = Matrix::new(3, 1, vec![0.0, 1.0, 3.0]).unwrap();
        let compare = Compare::new(&data);
        let nearest = [0.0, 1.0, 9.0];
        assert_eq!(compare.best(&nearest, &[1, 2]), 1);
        assert_eq!(compare.best(&nearest, &[2, 1, 2]), 0);
        // More rows than a block: the best of the candidates by distances written out.
        let data: Vec<f32> = (0..1800).map(|i| ((i * 7919) % 1009) as f32 / 100.0).collect();
        let data = Matrix::new(600, 3, data).unwrap();
        let nearest: Vec<f32> =
            (0..600).map(|i| squared_distance(data.row(i), data.row(0))).collect();
        let drawn = [17, 300, 599, 42, 555];
        let left = |c: usize| -> f64 {
            let to = |i: usize| nearest[i].min(squared_distance(data.row(i), data.row(drawn[c])));
            (0..600).map(|i| f64::from(to(i))).sum()
        };
        let best = Compare::new(&data).best(&nearest, &drawn);
        assert!((0..5).all(|c| left(best) <= left(c) * (1.0 + 1e-5)));
        assert_eq!(Candidates::ByWidth.count(256), 7);
    }

    #[test]
    fn equal_points_fall_back_to_uniform_draws() {
        let data = Matrix::new(4, 2, vec![7.0; 8]).unwrap();
        let c = choose(Start::PlusPlus, &data, 3, Candidates::ByWidth, &mut stream(1, "test", 0));
        assert_eq!(c.data(), [7.0; 6]);
    }

    #[test]
    fn distinct_points_are_never_drawn_twice() {
        for start in [Start::PlusPlus, Start::Random] {
            let data = Matrix::new(6, 1, (0..6).map(|i| i as f32).collect()).unwrap();
            let c = choose(start, &data, 6, Candidates::ByWidth, &mut stream(3, "test", 0));
            let mut got = c.into_data();
            got.sort_by(f32::total_cmp);
            assert_eq!(got, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        }
    }
}
