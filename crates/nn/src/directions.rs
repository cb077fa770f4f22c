//! Rows of a matrix scaled to length 1, and the way of gradients back through that.
//!
//! The gradient through a direction `u = v / |v|` is `dv = (du - <du, u> u) / |v|`. A row of length
//! [`TINY`] or less has no direction: it becomes zero and gets no gradient.

use crate::kernels::math;

/// Rows of this length or less have no direction.
pub const TINY: f32 = 1e-12;

/// Directions of the rows of a matrix, their lengths, and gradients with respect to directions.
#[derive(Debug, Clone, Default)]
pub struct Directions {
    /// `rows x d`, each row of length 1 or zero.
    pub unit: Vec<f32>,
    /// Gradient of `unit`, zero after [`Directions::set`].
    pub grad: Vec<f32>,
    length: Vec<f32>,
}

impl Directions {
    /// Takes the directions of `vectors`, rows of `d` values.
    pub fn set(&mut self, vectors: &[f32], d: usize) {
        math::zeros(&mut self.grad, vectors.len());
        self.unit.clear();
        self.unit.extend_from_slice(vectors);
        self.length.clear();
        for row in self.unit.chunks_exact_mut(d) {
            let length = math::dot(row, row).sqrt();
            // An infinite length makes every later gradient zero, as a missing direction should.
            let length = if length <= TINY { f32::INFINITY } else { length };
            self.length.push(length);
            row.iter_mut().for_each(|x| *x /= length);
        }
    }

    /// Adds the gradients with respect to the vectors.
    pub fn backward(&self, d: usize, out: &mut [f32]) {
        let rows = self.unit.chunks_exact(d).zip(self.grad.chunks_exact(d));
        for (((u, du), &length), out) in rows.zip(&self.length).zip(out.chunks_exact_mut(d)) {
            let along = math::dot(u, du);
            for ((o, u), du) in out.iter_mut().zip(u).zip(du) {
                *o += (du - along * u) / length;
            }
        }
    }
}
