//! Loss and gradient of one batch of triples.
//!
//! `L = (1 / B) sum [ softplus(y_uj - y_ui) + (w / 2) (|e0_u|^2 + |e0_i|^2 + |e0_j|^2) ]` with
//! `y_ui = e_u . e_i`, `e = P e0`. With `G` the gradient of all `e` ([`bpr`]), that of `E_0` is `P G`
//! plus the penalty's. Penalties are added in the order of pieces of `ROWS` nodes.

use super::propagation::Propagation;
use crate::collaborative::{Triple, bpr};
use rayon::prelude::*;
use sidereal_nn::kernels::math::{axpy, dot};

/// Nodes whose penalty a thread adds at a time.
const ROWS: usize = 512;

/// Buffers of a step, kept between steps; works on the current pool.
pub struct Step<'a> {
    propagation: &'a Propagation,
    width: usize,
    decay: f32,
    vectors: Vec<f32>,
    grads: Vec<f32>,
    spare: Vec<f32>,
    of_vectors: Vec<f32>,
}

impl<'a> Step<'a> {
    /// For vectors of `width` values; `decay` is the weight of the penalty.
    pub fn new(propagation: &'a Propagation, width: usize, decay: f32) -> Self {
        let buffer = || vec![0f32; propagation.nodes() * width];
        Step {
            propagation,
            width,
            decay,
            vectors: buffer(),
            grads: buffer(),
            spare: buffer(),
            of_vectors: buffer(),
        }
    }

    /// `P E_0`.
    pub fn propagate(&mut self, start: &[f32]) -> &[f32] {
        self.propagation.apply(start, self.width, &mut self.spare, &mut self.vectors);
        &self.vectors
    }

    /// The loss; its gradient is then in [`Step::grads`].
    pub fn run(&mut self, start: &[f32], triples: &[Triple]) -> f64 {
        self.propagate(start);
        let d = self.width;
        let loss = bpr(&self.vectors, d, triples, &mut self.of_vectors);
        self.propagation.apply(&self.of_vectors, d, &mut self.spare, &mut self.grads);
        if self.decay == 0.0 {
            return loss;
        }
        let mut counts = vec![0u32; self.propagation.nodes()];
        for t in triples {
            for node in [t.user, t.liked, t.other] {
                counts[node as usize] += 1;
            }
        }
        let factor = f64::from(self.decay) / triples.len().max(1) as f64;
        let penalties: Vec<f64> = self
            .grads
            .par_chunks_mut(ROWS * d)
            .enumerate()
            .map(|(chunk, block)| {
                let mut sum = 0.0;
                for (r, g) in block.chunks_exact_mut(d).enumerate() {
                    let node = chunk * ROWS + r;
                    if counts[node] > 0 {
                        let (row, weight) =
                            (&start[node * d..][..d], factor * f64::from(counts[node]));
                        sum += 0.5 * weight * f64::from(dot(row, row));
                        axpy(weight as f32, row, g);
                    }
                }
                sum
            })
            .collect();
        loss + penalties.iter().sum::<f64>()
    }

    /// Gradient of the last run, laid out as `E_0`.
    pub fn grads(&self) -> &[f32] {
        &self.grads
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use sidereal_core::seed::stream;
    use sidereal_nn::algebra::sparse::Csr;

    fn case() -> (Csr, Vec<Triple>, Vec<f32>) {
        let r = Csr::from_parts(4, vec![0, 2, 3, 6], vec![0, 1, 1, 1, 2, 3], vec![1.0; 6]);
        let t =
            |user: u32, liked: u32, other: u32| Triple { user, liked: 3 + liked, other: 3 + other };
        let triples = vec![t(0, 0, 2), t(0, 1, 3), t(2, 3, 0), t(1, 1, 2), t(0, 0, 2)];
        let mut rng = stream(5, "step-test", 0);
        let start = (0..7 * 3).map(|_| rng.random::<f32>() - 0.5).collect();
        (r, triples, start)
    }

    /// The loss in f64 from its definition, over dense matrices.
    fn loss(r: &Csr, layers: usize, decay: f64, triples: &[Triple], start: &[f64]) -> f64 {
        let (u, nodes, d) = (r.rows(), r.rows() + r.cols(), 3);
        let mut a = vec![0f64; nodes * nodes];
        for user in 0..u {
            for &i in r.row(user).0 {
                let item = u + i as usize;
                a[user * nodes + item] = 1.0;
                a[item * nodes + user] = 1.0;
            }
        }
        let degree = |i: usize| a[i * nodes..(i + 1) * nodes].iter().sum::<f64>();
        let (mut x, mut sum) = (start.to_vec(), start.to_vec());
        for _ in 0..layers {
            let mut next = vec![0f64; nodes * d];
            for i in 0..nodes {
                for j in (0..nodes).filter(|&j| a[i * nodes + j] > 0.0) {
                    for k in 0..d {
                        next[i * d + k] += x[j * d + k] / (degree(i) * degree(j)).sqrt();
                    }
                }
            }
            x = next;
            sum.iter_mut().zip(&x).for_each(|(s, v)| *s += v);
        }
        let e = |i: u32, k: usize| sum[i as usize * d + k] / (layers + 1) as f64;
        let score = |a, b| (0..d).map(|k| e(a, k) * e(b, k)).sum::<f64>();
        let length = |i: u32| (0..d).map(|k| start[i as usize * d + k].powi(2)).sum::<f64>();
        let term = |t: &Triple| {
            let x: f64 = score(t.user, t.other) - score(t.user, t.liked);
            let penalty = length(t.user) + length(t.liked) + length(t.other);
            (1.0 + x.exp()).ln() + 0.5 * decay * penalty
        };
        triples.iter().map(term).sum::<f64>() / triples.len() as f64
    }

    #[test]
    fn gradient_equals_differences_of_the_dense_loss() {
        let (r, triples, start) = case();
        for layers in [0, 1, 3] {
            let decay = 0.3f32;
            let propagation = Propagation::new(&r, layers);
            let mut step = Step::new(&propagation, 3, decay);
            let got = step.run(&start, &triples);
            let wide: Vec<f64> = start.iter().map(|&v| f64::from(v)).collect();
            let at = |x: &[f64]| loss(&r, layers, f64::from(decay), &triples, x);
            assert!((got - at(&wide)).abs() < 1e-6, "{got} {}", at(&wide));
            for i in 0..wide.len() {
                let (mut up, mut down) = (wide.clone(), wide.clone());
                up[i] += 1e-5;
                down[i] -= 1e-5;
                let want = (at(&up) - at(&down)) / 2e-5;
                let g = f64::from(step.grads()[i]);
                assert!((g - want).abs() < 1e-6, "{layers} layers, {i}: {g} {want}");
            }
        }
    }

    #[test]
    fn equal_scores_cost_ln_2() {
        let (r, triples, _) = case();
        let propagation = Propagation::new(&r, 2);
        let mut step = Step::new(&propagation, 3, 0.5);
        assert!((step.run(&[0.0; 21], &triples) - 2f64.ln()).abs() < 1e-12);
    }
}
