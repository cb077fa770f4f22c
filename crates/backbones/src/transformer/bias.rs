//! T5's relative position bias (arXiv 1910.10683, section 2.1): one learned scalar per head for
//! each bucket of the distance between key and query; buckets grow logarithmically.

use sidereal_nn::{Init, Params, Slot};

/// Whether keys may lie after the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Half of the buckets for keys before, half for keys after the query.
    Both,
    /// All buckets for keys at or before the query.
    Past,
}

/// Bucketed biases of one stack, shared by its layers.
#[derive(Debug, Clone)]
pub(crate) struct RelativePositions {
    /// `buckets x heads`, as T5 stores it.
    slot: Slot,
    heads: usize,
    buckets: usize,
    max_distance: usize,
    direction: Direction,
}

impl RelativePositions {
    pub(crate) fn new(
        params: &mut Params,
        name: &str,
        heads: usize,
        buckets: usize,
        max_distance: usize,
        direction: Direction,
    ) -> Self {
        let slot = params.add(name, &[buckets, heads], Init::Normal(1.0));
        RelativePositions { slot, heads, buckets, max_distance, direction }
    }

    /// Bucket of a key at `distance` = key position - query position.
    pub(crate) fn bucket(&self, distance: isize) -> usize {
        let (buckets, base, steps) = match self.direction {
            Direction::Both => {
                let half = self.buckets / 2;
                (half, if distance > 0 { half } else { 0 }, distance.unsigned_abs())
            }
            Direction::Past => (self.buckets, 0, (-distance).max(0) as usize),
        };
        let exact = buckets / 2;
        if steps < exact {
            return base + steps;
        }
        // f32 like the reference, so that boundaries fall on the same distances.
        let ratio =
            (steps as f32 / exact as f32).ln() / (self.max_distance as f32 / exact as f32).ln();
        base + (exact + (ratio * (buckets - exact) as f32) as usize).min(buckets - 1)
    }

    /// `heads x (2 reach + 1)`: the bias of every distance in `-reach..=reach`.
    pub(crate) fn table(&self, weights: &[f32], reach: usize, out: &mut Vec<f32>) {
        let columns = 2 * reach + 1;
        sidereal_nn::kernels::math::size(out, self.heads * columns);
        let w = self.slot.of(weights);
        for c in 0..columns {
            let b = self.bucket(c as isize - reach as isize);
            for h in 0..self.heads {
                out[h * columns + c] = w[b * self.heads + h];
            }
        }
    }

    /// Adds the gradient of a table of [`RelativePositions::table`]'s shape.
    pub(crate) fn backward(&self, dtable: &[f32], reach: usize, grads: &mut [f32]) {
        let columns = 2 * reach + 1;
        let g = self.slot.of_mut(grads);
        for c in 0..columns {
            let b = self.bucket(c as isize - reach as isize);
            for h in 0..self.heads {
                g[b * self.heads + h] += dtable[h * columns + c];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(direction: Direction) -> RelativePositions {
        RelativePositions::new(&mut Params::new(0), "b", 1, 32, 128, direction)
    }

    #[test]
    fn buckets_of_the_reference() {
        // Computed with the formula of the T5 paper's code for 32 buckets, maximum distance 128.
        let both = positions(Direction::Both);
        let near: Vec<_> = (-9..=9).map(|d| both.bucket(d)).collect();
        assert_eq!(near, [8, 8, 7, 6, 5, 4, 3, 2, 1, 0, 17, 18, 19, 20, 21, 22, 23, 24, 24]);
        assert_eq!((both.bucket(-16), both.bucket(64), both.bucket(500)), (10, 30, 31));
        let past = positions(Direction::Past);
        assert_eq!((past.bucket(3), past.bucket(0), past.bucket(-15)), (0, 0, 15));
        assert_eq!((past.bucket(-16), past.bucket(-64), past.bucket(-500)), (16, 26, 31));
    }

    #[test]
    fn backward_is_the_transpose_of_the_table() {
        let mut params = Params::new(3);
        let p = RelativePositions::new(&mut params, "b", 2, 8, 16, Direction::Both);
        let mut table = Vec::new();
        p.table(params.values(), 10, &mut table);
        let probe: Vec<f32> = (0..table.len()).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut grads = vec![0.0; params.len()];
        p.backward(&probe, 10, &mut grads);
        let left: f32 = table.iter().zip(&probe).map(|(a, b)| a * b).sum();
        let right: f32 = params.values().iter().zip(&grads).map(|(a, b)| a * b).sum();
        assert!((left - right).abs() < 1e-4, "{left} {right}");
    }
}
