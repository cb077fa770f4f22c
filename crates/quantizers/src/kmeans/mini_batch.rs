//! Mini-batch k-means with running counts (Sculley 2010, as GRID writes it, arXiv 2507.22224).
//!
//! For the counts `n_w` and means `m_w` of a batch and running totals `N_w`, which grow *before*
//! they are used: `C[w] <- C[w] - (n_w / N_w) (C[w] - m_w)` where `n_w > 0`. Batches are cut from
//! seeded permutations of the rows, one permutation an epoch. Cost `2 B K D` a step. Codes that no
//! batch chose stay where they are.

use super::centroids::Centroids;
use super::pass::{Assigned, Collect, Scratch, Sums, pass};
use crate::residual::Entering;
use rand::seq::SliceRandom;
use sidereal_core::{Result, seed};

/// Batches of rows without end: each epoch visits every row once, in its own order.
pub(crate) struct Batches {
    order: Vec<u32>,
    next: usize,
    epoch: u64,
    size: usize,
    seed: u64,
}

impl Batches {
    /// Batches of at most `size` of `rows` rows; `seed` names the order.
    pub(crate) fn new(rows: usize, size: usize, seed: u64) -> Self {
        let size = size.clamp(1, rows.max(1));
        Batches { order: (0..rows as u32).collect(), next: rows, epoch: 0, size, seed }
    }

    /// The next batch; the last of an epoch may be smaller.
    pub(crate) fn draw(&mut self) -> &[u32] {
        if self.next >= self.order.len() {
            self.order.shuffle(&mut seed::stream(self.seed, "rq-kmeans-epoch", self.epoch));
            self.epoch += 1;
            self.next = 0;
        }
        let start = self.next;
        self.next = (start + self.size).min(self.order.len());
        &self.order[start..self.next]
    }
}

/// A level on its way.
pub(crate) struct MiniBatch {
    pub centroids: Centroids,
    /// Rows that each code has had in all batches so far.
    pub totals: Vec<u64>,
    /// Batches so far.
    pub iteration: u32,
    batches: Batches,
}

impl MiniBatch {
    /// From the first centroids.
    pub(crate) fn new(centroids: Centroids, batches: Batches) -> Self {
        MiniBatch { totals: vec![0; centroids.width()], centroids, iteration: 0, batches }
    }

    /// As after `iteration` batches, with the centroids and totals that they left.
    pub(crate) fn resume(mut self, iteration: u32, totals: Vec<u64>) -> Self {
        for _ in 0..iteration {
            self.batches.draw();
        }
        MiniBatch { iteration, totals, ..self }
    }

    /// One batch; gives the mean distortion of its rows before the update.
    pub(crate) fn step(&mut self, source: &Entering<'_>, scratch: &mut Scratch) -> Result<f64> {
        let batch = source.gather(self.batches.draw())?;
        let (view, mut assigned) = (batch.view(), Assigned::default());
        let rows = Entering::raw(&view);
        let sums = pass(&rows, &self.centroids, Collect::Sums, &mut assigned, scratch)?;
        running_update(&mut self.centroids, &mut self.totals, &sums);
        self.iteration += 1;
        Ok(sums.distortion / batch.rows() as f64)
    }
}

fn running_update(centroids: &mut Centroids, totals: &mut [u64], sums: &Sums) {
    let dim = centroids.dim();
    centroids.update(|values| {
        for (k, &count) in sums.counts.iter().enumerate().filter(|(_, c)| **c > 0) {
            totals[k] += count;
            let rate = count as f64 / totals[k] as f64;
            let sum = &sums.sums[k * dim..(k + 1) * dim];
            for (v, s) in values.row_mut(k).iter_mut().zip(sum) {
                let c = f64::from(*v);
                *v = (c - rate * (c - s / count as f64)) as f32;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::Matrix;

    /// C = [0, 10], batch {1, 2, 9}, totals before [2, 0] give counts [2, 1], totals [4, 1] and
    /// C = [0.75, 9]; one gradient step of rate 0.5 on `sum_w n_w/N_w ||C_w - m_w||^2` does too.
    #[test]
    fn one_step_by_hand() {
        let batch = Matrix::new(3, 1, vec![1.0, 2.0, 9.0]).unwrap();
        let view = batch.view();
        let source = Entering::raw(&view);
        let mut c = Centroids::new(Matrix::new(2, 1, vec![0.0, 10.0]).unwrap());
        let (mut assigned, mut scratch) = (Assigned::default(), Scratch::default());
        let sums = pass(&source, &c, Collect::Sums, &mut assigned, &mut scratch).unwrap();
        assert_eq!((assigned.codes, &sums.counts), (vec![0, 0, 1], &vec![2, 1]));
        assert_eq!(assigned.distances, [1.0, 4.0, 1.0]);
        let mut totals = vec![2, 0];
        running_update(&mut c, &mut totals, &sums);
        assert_eq!(totals, [4, 1]);
        assert_eq!(c.values().data(), [0.75, 9.0]);

        let gradient = |c: f64, n: f64, total: f64, mean: f64| 2.0 * n / total * (c - mean);
        let sgd =
            [0.0 - 0.5 * gradient(0.0, 2.0, 4.0, 1.5), 10.0 - 0.5 * gradient(10.0, 1.0, 1.0, 9.0)];
        for (a, b) in c.values().data().iter().zip(sgd) {
            assert!((f64::from(*a) - b).abs() < 1e-6);
        }
    }

    #[test]
    fn an_epoch_visits_every_row_once() {
        let mut batches = Batches::new(10, 4, 7);
        let mut epoch = || {
            let mut rows = Vec::new();
            for size in [4, 4, 2] {
                let b = batches.draw();
                assert_eq!(b.len(), size);
                rows.extend_from_slice(b);
            }
            rows
        };
        let (a, b) = (epoch(), epoch());
        assert_ne!(a, b);
        for mut rows in [a, b] {
            rows.sort_unstable();
            assert_eq!(rows, (0..10).collect::<Vec<_>>());
        }
    }
}
