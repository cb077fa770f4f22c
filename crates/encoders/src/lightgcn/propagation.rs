//! The linear map of LightGCN over all users and items.
//!
//! `P x = (1 / (K + 1)) (x + L x + ... + L^K x)`, as in Horner's rule: `y <- x + L y`, K times. Rows
//! of `x` are U users, then N items. `L` has `1 / sqrt(deg_u deg_i)` where `u` met `i`; a row of
//! degree 0 is zero, so such a node keeps `x / (K + 1)`. `P` is symmetric: a gradient passes it as
//! values do. Cost: `4 K nnz(R) d` operations.

use crate::collaborative::inverse_roots;
use sidereal_nn::algebra::sparse::Csr;

/// The symmetric normalised graph and the number of layers.
#[derive(Debug, Clone)]
pub struct Propagation {
    graph: Csr,
    layers: usize,
}

impl Propagation {
    /// Over the user-item matrix (U x N), whose values are not read.
    pub fn new(user_items: &Csr, layers: usize) -> Self {
        let (u, n) = (user_items.rows(), user_items.cols());
        let item_users = user_items.transpose();
        let (ru, ri) = (inverse_roots(user_items), inverse_roots(&item_users));
        let mut offsets = Vec::with_capacity(u + n + 1);
        let mut columns = Vec::with_capacity(2 * user_items.nnz());
        let mut values = Vec::with_capacity(2 * user_items.nnz());
        offsets.push(0);
        for (a, own, other, shift) in [(user_items, &ru, &ri, u), (&item_users, &ri, &ru, 0)] {
            for row in 0..a.rows() {
                for &c in a.row(row).0 {
                    columns.push(c + shift as u32);
                    values.push((own[row] * other[c as usize]) as f32);
                }
                offsets.push(columns.len());
            }
        }
        Propagation { graph: Csr::from_parts(u + n, offsets, columns, values), layers }
    }

    /// Number of users and items together.
    pub fn nodes(&self) -> usize {
        self.graph.rows()
    }

    /// `out = P x` for rows of `width` values; `spare` is as long as both.
    ///
    /// # Panics
    /// When the slices do not have `nodes x width` values: a mistake of the caller.
    pub fn apply(&self, x: &[f32], width: usize, spare: &mut [f32], out: &mut [f32]) {
        let mean = 1.0 / (self.layers + 1) as f32;
        // The two buffers take turns so that the last layer ends in `out`.
        let (mut to, mut from) = if self.layers % 2 == 1 { (out, spare) } else { (spare, out) };
        if self.layers == 0 {
            from.copy_from_slice(x);
        }
        for k in 1..=self.layers {
            let scale = if k == self.layers { mean } else { 1.0 };
            let y = if k == 1 { x } else { &*from };
            self.graph.times_f32(y, width, x, scale, to);
            std::mem::swap(&mut to, &mut from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(p: &Propagation, x: &[f32], width: usize) -> Vec<f32> {
        let (mut spare, mut out) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
        p.apply(x, width, &mut spare, &mut out);
        out
    }

    /// u0 met i0 and i1, u1 met i1.
    fn toy() -> Csr {
        Csr::from_parts(2, vec![0, 2, 3], vec![0, 1, 1], vec![1.0; 3])
    }

    #[test]
    fn three_layers_by_hand() {
        let x = [1.0, 2.0, 3.0, 4.0];
        // E_1 = L E_0 and E_2 = L E_1 with entries .7071 (u0 i0), .5 (u0 i1), .7071 (u1 i1).
        let (e1, e2) = ([4.1213, 2.8284, 0.5f32.sqrt(), 1.9142], [1.4571, 1.3536, 2.9142, 4.0607]);
        let means = |layers: usize| -> Vec<f32> {
            let parts: [&[f32]; 3] = [&x, &e1, &e2];
            (0..4).map(|i| parts[..=layers].iter().map(|p| p[i]).sum::<f32>()).collect()
        };
        for layers in 0..3 {
            let got = apply(&Propagation::new(&toy(), layers), &x, 1);
            for (a, b) in got.iter().zip(means(layers)) {
                assert!((a * (layers + 1) as f32 - b).abs() < 3e-4, "{layers}: {a} {b}");
            }
        }
        let k2 = apply(&Propagation::new(&toy(), 2), &x, 1);
        for (a, b) in k2.iter().zip([2.1928, 2.0607, 2.2071, 3.3250]) {
            assert!((a - b).abs() < 1e-4);
        }
    }

    #[test]
    fn roots_of_degrees_stay_as_they_are() {
        // u0: i0 i1 i2, u1: i1, u2: nothing, i3: nothing.
        let r = Csr::from_parts(4, vec![0, 3, 4, 4], vec![0, 1, 2, 1], vec![1.0; 4]);
        let x: Vec<f32> = [3.0f32, 1.0, 0.0, 1.0, 2.0, 1.0, 0.0].map(f32::sqrt).to_vec();
        for layers in 0..5 {
            let got = apply(&Propagation::new(&r, layers), &x, 1);
            assert!(got.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-6), "{layers}");
        }
        // Nodes without an edge keep their share of the start.
        let got = apply(&Propagation::new(&r, 3), &[1.0; 7], 1);
        assert_eq!((got[2], got[6]), (0.25, 0.25));
    }

    #[test]
    fn complete_blocks_share_one_vector_and_columns_do_not_mix() {
        let r = Csr::from_parts(2, vec![0, 2, 4, 6], vec![0, 1, 0, 1, 0, 1], vec![1.0; 6]);
        let one = Propagation::new(&r, 1);
        let x: Vec<f32> = (0..10).map(|i| ((i * 7) % 5) as f32).collect();
        let got = apply(&one, &x, 2);
        // 2 P x - x = L x.
        let l: Vec<f32> = got.iter().zip(&x).map(|(p, x)| 2.0 * p - x).collect();
        for u in 1..3 {
            for k in 0..2 {
                assert!((l[2 * u + k] - l[k]).abs() < 1e-5);
            }
        }
        let single: Vec<f32> = x.iter().step_by(2).copied().collect();
        let alone = apply(&one, &single, 1);
        assert!(alone.iter().zip(got.iter().step_by(2)).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
