//! Loss and gradient of one batch of pairs.
//!
//! Rows of `vectors` are N centres, then N contexts. A derivative `s` of the score of centre `c` and
//! context `o` reaches `v_c` as `s u_o` and `u_o` as `s v_c`, so the gradient is one product with the
//! sparse symmetric matrix of all derivatives. The loss is the mean over pairs.

use super::pairs::Draws;
use crate::collaborative::{logistic, softplus};
use rayon::prelude::*;
use sidereal_nn::algebra::sparse::{Csr, Pair};
use sidereal_nn::kernels::math::dot;

/// Pairs in a piece of work.
const CHUNK: usize = 512;

/// Buffers of a step; works on the current pool.
pub struct Step {
    items: usize,
    width: usize,
    grads: Vec<f32>,
}

impl Step {
    /// For `items` items and vectors of `width` values.
    pub fn new(items: usize, width: usize) -> Self {
        Step { items, width, grads: vec![0.0; 2 * items * width] }
    }

    /// The loss; its gradient is then in [`Step::grads`]. Without a pair both are zero.
    pub fn run(&mut self, vectors: &[f32], draws: &Draws) -> f64 {
        let (d, count) = (self.width, draws.pairs.len());
        if count == 0 {
            self.grads.fill(0.0);
            return 0.0;
        }
        let negatives = draws.negatives.len() / count;
        let share = 1.0 / count as f64;
        let row = |i: u32| &vectors[i as usize * d..][..d];
        let pieces =
            draws.pairs.par_chunks(CHUNK).zip(draws.negatives.par_chunks(CHUNK * negatives));
        let pieces: Vec<(f64, Vec<Pair>)> = pieces
            .map(|(pairs, others)| {
                let (mut sum, mut slopes) =
                    (0.0, Vec::with_capacity(pairs.len() * (negatives + 1)));
                for (&[center, context], others) in pairs.iter().zip(others.chunks_exact(negatives))
                {
                    let v = row(center);
                    let mut score = |item: u32, sign: f64| {
                        let b = self.items as u32 + item;
                        let x = sign * f64::from(dot(v, row(b)));
                        sum += softplus(x);
                        let value = (sign * logistic(x) * share) as f32;
                        slopes.push(Pair { a: center, b, value });
                    };
                    score(context, -1.0);
                    others.iter().filter(|&&k| k != context).for_each(|&k| score(k, 1.0));
                }
                (sum, slopes)
            })
            .collect();
        let slopes: Vec<Pair> = pieces.iter().flat_map(|(_, p)| p).copied().collect();
        let slopes = Csr::symmetric(2 * self.items, &slopes);
        slopes.times_f32(vectors, d, &[], 1.0, &mut self.grads);
        pieces.iter().map(|(sum, _)| sum).sum::<f64>() * share
    }

    /// Gradient of the last run, laid out as the vectors.
    pub fn grads(&self) -> &[f32] {
        &self.grads
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use sidereal_core::seed::stream;

    /// The loss in f64, from its definition.
    fn loss(x: &[f64], n: usize, d: usize, draws: &Draws) -> f64 {
        let score = |c: u32, o: u32| -> f64 {
            (0..d).map(|k| x[c as usize * d + k] * x[(n + o as usize) * d + k]).sum()
        };
        let mut sum = 0.0;
        for (p, &[c, o]) in draws.pairs.iter().enumerate() {
            sum -= (1.0 / (1.0 + (-score(c, o)).exp())).ln();
            for &k in &draws.negatives[2 * p..2 * p + 2] {
                if k != o {
                    sum -= (1.0 / (1.0 + score(c, k).exp())).ln();
                }
            }
        }
        sum / draws.pairs.len() as f64
    }

    #[test]
    fn gradient_equals_differences() {
        let (n, d) = (4, 3);
        let draws = Draws {
            pairs: vec![[0, 1], [1, 0], [2, 3], [0, 1]],
            negatives: vec![2, 3, 2, 2, 3, 0, 1, 1],
        };
        let mut rng = stream(2, "item2vec-test", 0);
        let vectors: Vec<f32> = (0..2 * n * d).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect();
        let mut step = Step::new(n, d);
        let got = step.run(&vectors, &draws);
        let wide: Vec<f64> = vectors.iter().map(|&v| f64::from(v)).collect();
        assert!((got - loss(&wide, n, d, &draws)).abs() < 1e-6);
        for i in 0..wide.len() {
            let (mut up, mut down) = (wide.clone(), wide.clone());
            up[i] += 1e-5;
            down[i] -= 1e-5;
            let want = (loss(&up, n, d, &draws) - loss(&down, n, d, &draws)) / 2e-5;
            assert!((f64::from(step.grads()[i]) - want).abs() < 1e-6, "{i}");
        }
        let none = Draws { pairs: vec![], negatives: vec![] };
        assert_eq!(step.run(&vectors, &none), 0.0);
        assert!(step.grads().iter().all(|g| *g == 0.0));
    }
}
