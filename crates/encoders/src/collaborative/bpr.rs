//! Bayesian personalised ranking (arXiv 1205.2618) over triples, and its gradient.
//!
//! `L = (1 / B) sum softplus(e_u . e_j - e_u . e_i)`. A score's derivative `s` reaches `e_u` as
//! `s e_i` and `e_i` as `s e_u`, so the gradient of all vectors is one product `S E` with the sparse
//! symmetric matrix of the scores' derivatives. Cost: `12 B D` operations and one pass over the
//! gradient.
//!
//! Threads take pieces of [`CHUNK`] triples and whole rows of the product; losses are added in the
//! order of pieces.

use super::{Triple, logistic, softplus};
use rayon::prelude::*;
use sidereal_nn::algebra::sparse::{Csr, Pair};
use sidereal_nn::kernels::math::dot;

/// Triples in a piece of work.
const CHUNK: usize = 1024;

/// The loss over `vectors` of `width` values, one a node; sets `grads`, laid out as they are. On the
/// current pool. Without a triple both are zero.
///
/// # Panics
/// When a triple holds a node that has no vector, or the slices differ in length: a mistake of the
/// caller.
pub fn bpr(vectors: &[f32], width: usize, triples: &[Triple], grads: &mut [f32]) -> f64 {
    let share = 1.0 / triples.len().max(1) as f64;
    let row = |i: u32| &vectors[i as usize * width..][..width];
    let mut pairs = vec![Pair { a: 0, b: 0, value: 0.0 }; 2 * triples.len()];
    let pieces = triples.par_chunks(CHUNK).zip(pairs.par_chunks_mut(2 * CHUNK));
    let losses: Vec<f64> = pieces
        .map(|(triples, pairs)| {
            let mut sum = 0.0;
            for (t, pair) in triples.iter().zip(pairs.as_chunks_mut::<2>().0) {
                let e = row(t.user);
                let x = f64::from(dot(e, row(t.other)) - dot(e, row(t.liked)));
                let slope = (logistic(x) * share) as f32;
                sum += softplus(x);
                pair[0] = Pair { a: t.user, b: t.liked, value: -slope };
                pair[1] = Pair { a: t.user, b: t.other, value: slope };
            }
            sum
        })
        .collect();
    let slopes = Csr::symmetric(vectors.len() / width.max(1), &pairs);
    slopes.times_f32(vectors, width, &[], 1.0, grads);
    losses.iter().sum::<f64>() * share
}
