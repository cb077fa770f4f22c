//! The co-occurrence graph of items, without its edges.
//!
//! Two items are joined as often as users met both: `W = R^T R - diag(R^T R)` for the binary `R`
//! (U x N), so item `i` has degree `d_i = sum over its users of (|u| - 1)`. A user of n items would
//! bring `n^2` edges; `W x = R^T (R x) - diag(..) x` needs `2 n`. Cost of a product:
//! `4 nnz(R) D` operations.

use super::user_items;
use rayon::prelude::*;
use sidereal_core::{EncoderInput, Result};
use sidereal_nn::algebra::sparse::Csr;

/// `S = D^-1/2 W D^-1/2` over N items.
#[derive(Debug, Clone)]
pub struct CoOccurrence {
    /// `R`, shape `U x N`, all values 1.
    users: Csr,
    /// Its transpose.
    items: Csr,
    /// `1 / sqrt(d_i)`, 0 for items without a neighbour.
    inverse_roots: Vec<f32>,
}

/// Values that a thread scales at a time.
const PART: usize = 1 << 14;

impl CoOccurrence {
    /// The graph of the training histories; see [`user_items`] for errors.
    pub fn new(input: &EncoderInput<'_>) -> Result<Self> {
        let mut users = user_items(input)?;
        users.values_mut().fill(1.0);
        let items = users.transpose();
        let degree = |i| items.row(i).0.iter().map(|&u| users.row_len(u as usize) - 1).sum();
        let degrees: Vec<usize> = (0..items.rows()).map(degree).collect();
        let root = |&d: &usize| if d == 0 { 0.0 } else { (1.0 / (d as f64).sqrt()) as f32 };
        let inverse_roots = degrees.iter().map(root).collect();
        Ok(CoOccurrence { users, items, inverse_roots })
    }

    /// Number of items N.
    pub fn len(&self) -> usize {
        self.items.rows()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether item `i` shares a user with no other item.
    pub fn is_alone(&self, i: usize) -> bool {
        self.inverse_roots[i] == 0.0
    }

    /// `out = S x` for `x` and `out` of shape `N x width`.
    ///
    /// # Panics
    /// When the slices do not have these shapes: a mistake of the caller.
    pub fn times(&self, x: &[f32], width: usize, out: &mut [f32]) {
        let rows = (PART / width.max(1)).max(1);
        let mut scaled = x.to_vec();
        let scale = |block: &mut [f32], first: usize| {
            for (row, r) in block.chunks_exact_mut(width).zip(&self.inverse_roots[first..]) {
                row.iter_mut().for_each(|v| *v *= r);
            }
        };
        let part = (rows * width).max(1);
        scaled.par_chunks_mut(part).enumerate().for_each(|(c, block)| scale(block, c * rows));
        let mut means = vec![0f32; self.users.rows() * width];
        self.users.times_f32(&scaled, width, &[], 1.0, &mut means);
        self.items.times_f32(&means, width, &[], 1.0, out);
        out.par_chunks_mut(part).enumerate().for_each(|(c, block)| {
            // The item itself is among the items of each of its users.
            let own = block.chunks_exact_mut(width).zip(scaled[c * part..].chunks_exact(width));
            for (i, (row, own)) in own.enumerate() {
                let times = self.items.row_len(c * rows + i) as f32;
                row.iter_mut().zip(own).for_each(|(v, x)| *v -= times * x);
            }
            scale(block, c * rows);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::{ItemId, ItemTable, Sequences};

    #[test]
    fn products_agree_with_the_dense_graph() {
        let histories: [&[u32]; 5] = [&[0, 1, 2], &[2, 1, 1], &[3], &[0, 2], &[]];
        let mut train = Sequences::default();
        for h in histories {
            train.push(&h.iter().map(|&i| ItemId(i)).collect::<Vec<_>>());
        }
        let items = ItemTable::new((0..5).map(|i| i.to_string()).collect());
        let graph = CoOccurrence::new(&EncoderInput { items: &items, train: &train }).unwrap();
        // Edges by hand: 0-1 once, 0-2 twice, 1-2 twice.
        let w = |i: usize, j: usize| match (i.min(j), i.max(j)) {
            (0, 1) => 1.0,
            (0, 2) | (1, 2) => 2.0,
            _ => 0.0,
        };
        let degrees = [3.0f32, 3.0, 4.0];
        assert!(graph.is_alone(3) && graph.is_alone(4) && !graph.is_alone(2));
        let x: Vec<f32> = (0..10).map(|i| i as f32 * 0.7 - 2.0).collect();
        let mut out = vec![f32::NAN; 10];
        graph.times(&x, 2, &mut out);
        for i in 0..5 {
            for k in 0..2 {
                let term = |j: usize| {
                    let own = if i == j { 0.0 } else { w(i, j) };
                    own * x[2 * j + k] / (degrees[i] * degrees[j]).sqrt()
                };
                let want = if i < 3 { (0..3).map(term).sum() } else { 0.0f32 };
                assert!((out[2 * i + k] - want).abs() < 1e-6, "{i} {k}");
            }
        }
    }
}
