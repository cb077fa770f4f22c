//! Lloyd's iteration over all rows: assign, then move every centroid to the mean of its rows.
//!
//! Neither half can raise the sum of squared distances. A code that no row chose has no mean; it
//! can be moved onto one of the rows that are farthest from their centroids, which cannot raise
//! the sum either. Cost `2 N K D` an iteration.

use super::centroids::Centroids;
use super::pass::{Assigned, Collect, Scratch, Sums, pass};
use crate::residual::Entering;
use serde::{Deserialize, Serialize};
use sidereal_core::{Matrix, Result};

/// What happens to a code that no row chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeadCode {
    /// Moves onto the row that is farthest from its centroid.
    Farthest,
    /// Stays where it is.
    Keep,
}

/// When the iteration ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop {
    pub iterations: u32,
    /// Smallest relative fall of the distortion that is worth another iteration.
    pub tolerance: f64,
}

/// A level on its way.
pub(crate) struct Lloyd {
    pub centroids: Centroids,
    /// The centroids of the last pass: they tell which rows it gave to which code.
    pub previous: Option<Matrix>,
    /// Iterations so far.
    pub iteration: u32,
    /// Sum of squared distances of the last pass, infinite before the first.
    pub before: f64,
    /// Whether another iteration is of no use.
    pub done: bool,
}

impl Lloyd {
    /// From the first centroids.
    pub(crate) fn new(centroids: Centroids) -> Self {
        Lloyd { centroids, previous: None, iteration: 0, before: f64::INFINITY, done: false }
    }

    /// Makes the codes of the last pass again, after a restart.
    pub(crate) fn restore(
        &self,
        source: &Entering<'_>,
        assigned: &mut Assigned,
        scratch: &mut Scratch,
    ) -> Result<()> {
        if let Some(previous) = &self.previous {
            let previous = Centroids::new(previous.clone());
            pass(source, &previous, Collect::Codes, assigned, scratch)?;
        }
        Ok(())
    }

    /// One iteration; gives the mean distortion before its update.
    pub(crate) fn step(
        &mut self,
        source: &Entering<'_>,
        stop: Stop,
        dead: DeadCode,
        assigned: &mut Assigned,
        scratch: &mut Scratch,
    ) -> Result<f64> {
        let sums = pass(source, &self.centroids, Collect::Sums, assigned, scratch)?;
        self.iteration += 1;
        self.done = self.iteration >= stop.iterations;
        if sums.changed == 0 {
            self.done = true; // the centroids are the means already
        } else {
            self.previous = Some(self.centroids.values().clone());
            move_to_means(&mut self.centroids, &sums);
            if dead == DeadCode::Farthest {
                revive(&mut self.centroids, &sums.counts, source, &assigned.distances)?;
            }
            let before = self.before;
            self.done |= before - sums.distortion <= stop.tolerance * before && before.is_finite();
            self.before = sums.distortion;
        }
        Ok(sums.distortion / source.len() as f64)
    }
}

fn move_to_means(centroids: &mut Centroids, sums: &Sums) {
    let dim = centroids.dim();
    centroids.update(|values| {
        for (k, &count) in sums.counts.iter().enumerate().filter(|(_, c)| **c > 0) {
            let sum = &sums.sums[k * dim..(k + 1) * dim];
            for (v, s) in values.row_mut(k).iter_mut().zip(sum) {
                *v = (s / count as f64) as f32;
            }
        }
    });
}

/// Moves codes without rows, lowest first, onto the farthest rows, farthest first.
fn revive(
    centroids: &mut Centroids,
    counts: &[u64],
    source: &Entering<'_>,
    distances: &[f32],
) -> Result<()> {
    let dead: Vec<usize> = (0..counts.len()).filter(|&k| counts[k] == 0).collect();
    if dead.is_empty() {
        return Ok(());
    }
    let farther =
        |a: &u32, b: &u32| distances[*b as usize].total_cmp(&distances[*a as usize]).then(a.cmp(b));
    let mut order: Vec<u32> = (0..distances.len() as u32).collect();
    if dead.len() < order.len() {
        order.select_nth_unstable_by(dead.len(), farther);
        order.truncate(dead.len());
    }
    order.sort_unstable_by(farther);
    // A row at its centroid gains nothing from a second one there.
    order.retain(|&r| distances[r as usize] > 0.0);
    let rows = source.gather(&order)?;
    centroids.update(|values| {
        for (i, k) in dead.into_iter().enumerate().take(rows.rows()) {
            values.row_mut(k).copy_from_slice(rows.row(i));
        }
    });
    Ok(())
}
