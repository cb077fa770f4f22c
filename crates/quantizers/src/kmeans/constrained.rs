//! k-means whose codes have sizes between bounds: the exact cheapest assignment, then the means.
//!
//! Neither half can raise the sum of squared distances, so the iteration ends. Costs of all rows
//! and codes are in memory (`N x K`), because the assignment looks at them in no order.

use super::balanced::Grouped;
use super::centroids::{Centroids, TILE};
use super::means::means;
use super::transport::{Sizes, assign};
use crate::residual::Entering;
use rayon::prelude::*;
use sidereal_core::{Code, Matrix, Result};

/// Centroids and codes, with the sum of squared distances before the last move of the centroids.
pub(crate) struct Bounded {
    pub grouped: Grouped,
    pub distortion: f64,
}

/// Iterates from `first`; `each` hears (iteration, mean distortion) and may stop it.
pub(crate) fn constrained(
    source: &Entering<'_>,
    first: Matrix,
    sizes: Sizes,
    iterations: u32,
    tolerance: f64,
    mut each: impl FnMut(u32, f64) -> Result<()>,
) -> Result<Bounded> {
    let (n, k) = (source.len(), first.rows());
    let mut centroids = Centroids::new(first);
    let mut costs = vec![0f32; n * k];
    let mut prices = vec![0f64; k];
    let mut codes = vec![Code::MAX; n];
    let mut distortion = f64::INFINITY;
    for i in 0..iterations {
        fill_costs(source, &centroids, &mut costs)?;
        let before = codes.clone();
        assign(&costs, sizes, &mut prices, &mut codes)?;
        let of = |(row, &code): (&[f32], &Code)| f64::from(row[code as usize]);
        let sum: f64 = costs.chunks_exact(k).zip(&codes).map(of).sum();
        each(i, sum / n as f64)?;
        let mut moved = Ok(());
        centroids.update(|values| moved = means(source, &codes, values));
        moved?;
        let little = distortion - sum <= tolerance * distortion && distortion.is_finite();
        distortion = sum;
        if before == codes || little {
            break;
        }
    }
    Ok(Bounded { grouped: Grouped { centroids, codes }, distortion })
}

/// Squared distances of all rows to all centroids, shape `N x K`.
fn fill_costs(source: &Entering<'_>, centroids: &Centroids, costs: &mut [f32]) -> Result<()> {
    let k = centroids.width();
    let tiles = costs.par_chunks_mut(TILE * k).enumerate().with_max_len(1);
    tiles.try_for_each(|(t, costs)| {
        let rows = costs.len() / k;
        let rows: Vec<u32> = (0..rows).map(|i| (t * TILE + i) as u32).collect();
        let residuals = source.gather(&rows)?;
        centroids.distances(residuals.data(), costs);
        Ok(())
    })
}
