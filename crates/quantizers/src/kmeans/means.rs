//! Means of given groups of rows, for assignments that are not those of the nearest centroid.
//!
//! Rows are sorted by code (a counting sort keeps their order) and each group is added up in f64 by
//! one thread: no partial sums. Cost `N D`; memory `N` words beside a tile of residuals a thread.

use super::centroids::TILE;
use crate::residual::Entering;
use rayon::prelude::*;
use sidereal_core::{Code, Matrix, Result};

/// Moves every centroid to the mean of the rows that have its code; codes without rows stay.
pub(crate) fn means(source: &Entering<'_>, codes: &[Code], centroids: &mut Matrix) -> Result<()> {
    let dim = centroids.cols();
    let (rows, ends) = by_code(codes, centroids.rows());
    let groups = centroids.data_mut().par_chunks_mut(dim.max(1)).enumerate().with_max_len(1);
    groups.try_for_each(|(k, centroid)| {
        let group = &rows[ends[k]..ends[k + 1]];
        if group.is_empty() {
            return Ok(());
        }
        let mut sum = vec![0f64; dim];
        for part in group.chunks(TILE) {
            for row in source.gather(part)?.data().chunks_exact(dim) {
                sum.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v));
            }
        }
        let n = group.len() as f64;
        centroid.iter_mut().zip(sum).for_each(|(c, s)| *c = (s / n) as f32);
        Ok(())
    })
}

/// Rows in the order of (code, row), and where the rows of each of `k` codes begin and end.
pub(crate) fn by_code(codes: &[Code], k: usize) -> (Vec<u32>, Vec<usize>) {
    let mut ends = vec![0usize; k + 1];
    codes.iter().for_each(|&c| ends[c as usize + 1] += 1);
    (0..k).for_each(|c| ends[c + 1] += ends[c]);
    let mut next = ends.clone();
    let mut rows = vec![0u32; codes.len()];
    for (row, &c) in codes.iter().enumerate() {
        rows[next[c as usize]] = row as u32;
        next[c as usize] += 1;
    }
    (rows, ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_by_hand() {
        let x = Matrix::new(5, 1, vec![1.0, 2.0, 3.0, 4.0, 10.0]).unwrap();
        let codes = [2, 0, 2, 0, 2];
        assert_eq!(by_code(&codes, 3), (vec![1, 3, 0, 2, 4], vec![0, 2, 2, 5]));
        let mut c = Matrix::new(3, 1, vec![0.0, 7.0, 0.0]).unwrap();
        let view = x.view();
        means(&Entering::raw(&view), &codes, &mut c).unwrap();
        assert_eq!(c.data(), [3.0, 7.0, (14.0f64 / 3.0) as f32]);
    }
}
