//! Lloyd's iteration over all rows: assign, then move every centroid to the mean of its rows.
//!
//! Neither half can raise the sum of squared distances. A code that no row chose has no mean; it
//! can be moved onto one of the rows that are farthest from their centroids, which cannot raise
//! the sum either. Cost `2 N K D` an iteration.

use super::centroids::Centroids;
use super::pass::{Assigned, Collect, Rows, Scratch, Sums, pass};
use crate::residual::Residuals;
use serde::{Deserialize, Serialize};
use sidereal_core::Result;

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

/// Improves `centroids`; `each` hears (iteration, mean distortion before its update) and may stop it.
pub(crate) fn lloyd(
    source: &Residuals<'_>,
    centroids: &mut Centroids,
    stop: Stop,
    dead: DeadCode,
    assigned: &mut Assigned,
    scratch: &mut Scratch,
    mut each: impl FnMut(u32, f64) -> Result<()>,
) -> Result<()> {
    let rows = Rows::First(source.len());
    let mut before = f64::INFINITY;
    for i in 0..stop.iterations {
        let sums = pass(source, rows, centroids, Collect::Sums, assigned, scratch);
        each(i, sums.distortion / rows.len() as f64)?;
        if sums.changed == 0 {
            break; // the centroids are the means already
        }
        move_to_means(centroids, &sums);
        if dead == DeadCode::Farthest {
            revive(centroids, &sums.counts, source, &assigned.distances);
        }
        if before - sums.distortion <= stop.tolerance * before && before.is_finite() {
            break;
        }
        before = sums.distortion;
    }
    Ok(())
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
fn revive(centroids: &mut Centroids, counts: &[u64], source: &Residuals<'_>, distances: &[f32]) {
    let dead: Vec<usize> = (0..counts.len()).filter(|&k| counts[k] == 0).collect();
    if dead.is_empty() {
        return;
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
    let mut buffer = Vec::new();
    centroids.update(|values| {
        for (k, row) in dead.into_iter().zip(order) {
            let residual = source.tile(Rows::Listed(&[row]), 0, 1, &mut buffer);
            values.row_mut(k).copy_from_slice(residual);
        }
    });
}
