//! Softmax contrast of queries against keys, with gradients: the one loss behind all others here.
//!
//! For queries `q_i` (`B x D`), keys `k_j` (`M x D`), positives `P(i)` and excluded keys `X(i)`:
//!
//! ```text
//! loss = -weight / B  sum_{i: P(i) not empty}  mean_{j in P(i)}
//!        log( exp(q_i.k_j / t) / sum_{k not in X(i)} exp(q_i.k_k / t) )
//! ```
//!
//! InfoNCE (arXiv 1807.03748) has one positive a query; the supervised form (arXiv 2004.11362) has
//! queries for keys, excludes a query itself and takes all keys of its label for positives.
//!
//! Queries are done in blocks: `BLOCK x M` similarities are all that is ever written. Keys are done
//! in blocks of their own from the queries' normalisers, so no sum is shared between threads and
//! their number changes no bit. Cost: `4 B M D` operations, and the same again for the keys.

use rayon::prelude::*;
use sidereal_core::MatrixRef;
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::kernels::math::{exp_in_place, max, size};

/// Queries or keys that one task works on.
const BLOCK: usize = 128;

/// What a key is to a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// To be near.
    Positive,
    /// To be far.
    Negative,
    /// Not there.
    Excluded,
}

/// Whose gradients are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Those of the queries.
    Queries,
    /// Those of queries and keys.
    Both,
}

/// Loss and gradients.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Contrast {
    /// The weighted loss.
    pub loss: f64,
    /// Gradient in the queries, `B x D`.
    pub d_queries: Vec<f32>,
    /// Gradient in the keys, `M x D`, or nothing where it was not wanted.
    pub d_keys: Vec<f32>,
}

/// What the keys' pass needs to know of a query.
#[derive(Clone, Copy, Default)]
struct Normaliser {
    /// Logarithm of the sum.
    log: f32,
    /// `1 / |P(i)|`; 0 for queries without positives, which take no part.
    share: f32,
    loss: f64,
}

/// Loss and gradients for temperature `tau`; `relation(i, j)` tells what key `j` is to query `i`.
///
/// Queries without a positive add nothing. Works on the current rayon pool.
///
/// # Panics
/// When queries and keys differ in width: a mistake of the caller.
pub fn contrast(
    queries: MatrixRef<'_>,
    keys: MatrixRef<'_>,
    tau: f32,
    weight: f64,
    wanted: Wanted,
    relation: impl Fn(usize, usize) -> Relation + Sync,
) -> Contrast {
    let (b, m, d) = (queries.rows(), keys.rows(), queries.cols());
    assert_eq!(d, keys.cols(), "queries and keys have one width");
    let mut out = Contrast { d_queries: vec![0.0; b * d], ..Default::default() };
    if b == 0 || m == 0 || d == 0 {
        return out;
    }
    let factor = (weight / (b as f64 * f64::from(tau))) as f32;
    let mut known = vec![Normaliser::default(); b];
    let blocks = queries.data().par_chunks(BLOCK * d).zip(out.d_queries.par_chunks_mut(BLOCK * d));
    blocks.zip(known.par_chunks_mut(BLOCK)).enumerate().for_each_init(
        Vec::new,
        |scores, (block, ((q, dq), known))| {
            let n = known.len();
            similarities(q, keys, tau, scores);
            for (i, (row, known)) in scores.chunks_exact_mut(m).zip(&mut *known).enumerate() {
                normalise(row, known, |j| relation(block * BLOCK + i, j));
                row.iter_mut().for_each(|w| *w *= factor);
            }
            gemm(n, d, m, Mat::rows(scores, m), Mat::rows(keys.data(), d), dq, d, Write::Set);
        },
    );
    out.loss = weight / b as f64 * known.iter().map(|k| k.loss).sum::<f64>();
    if wanted == Wanted::Queries {
        return out;
    }
    out.d_keys = vec![0.0; m * d];
    let blocks = keys.data().par_chunks(BLOCK * d).zip(out.d_keys.par_chunks_mut(BLOCK * d));
    blocks.enumerate().for_each_init(Vec::new, |scores, (block, (k, dk))| {
        similarities(k, queries, tau, scores);
        for (j, row) in scores.chunks_exact_mut(b).enumerate() {
            row.iter_mut().zip(&known).for_each(|(s, q)| *s -= q.log);
            exp_in_place(row);
            for (i, (w, q)) in row.iter_mut().zip(&known).enumerate() {
                let own = match relation(i, block * BLOCK + j) {
                    Relation::Excluded => 0.0,
                    Relation::Negative => *w,
                    Relation::Positive => *w - q.share,
                };
                *w = if q.share > 0.0 { own * factor } else { 0.0 };
            }
        }
        let n = dk.len() / d;
        gemm(n, d, b, Mat::rows(scores, b), Mat::rows(queries.data(), d), dk, d, Write::Set);
    });
    out
}

/// `a_i.b_j / t` for a block of rows.
fn similarities(block: &[f32], others: MatrixRef<'_>, tau: f32, out: &mut Vec<f32>) {
    let (m, d) = (others.rows(), others.cols());
    let n = block.len() / d;
    size(out, n * m);
    gemm(n, m, d, Mat::rows(block, d), Mat::rows(others.data(), d).t(), out, m, Write::Set);
    out.iter_mut().for_each(|s| *s /= tau);
}

/// From similarities of one query to `p_j - [j in P] / |P|`.
fn normalise(row: &mut [f32], known: &mut Normaliser, relation: impl Fn(usize) -> Relation) {
    let (mut positives, mut near) = (0usize, 0.0f64);
    for (j, s) in row.iter_mut().enumerate() {
        match relation(j) {
            Relation::Positive => {
                positives += 1;
                near += f64::from(*s);
            }
            Relation::Negative => {}
            Relation::Excluded => *s = f32::NEG_INFINITY,
        }
    }
    if positives == 0 {
        row.fill(0.0);
        return;
    }
    let high = max(row);
    row.iter_mut().for_each(|s| *s -= high);
    exp_in_place(row);
    let mut total = 0.0f64;
    for (j, e) in row.iter_mut().enumerate() {
        if relation(j) == Relation::Excluded {
            *e = 0.0;
        }
        total += f64::from(*e);
    }
    let share = 1.0 / positives as f32;
    for (j, e) in row.iter_mut().enumerate() {
        *e = (f64::from(*e) / total) as f32;
        if relation(j) == Relation::Positive {
            *e -= share;
        }
    }
    let log = f64::from(high) + total.ln();
    *known = Normaliser { log: log as f32, share, loss: log - near / positives as f64 };
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use sidereal_core::{Matrix, seed};

    fn draws(rows: usize, cols: usize, s: u64) -> Matrix {
        let mut rng = seed::stream(s, "test", 0);
        let data = (0..rows * cols).map(|_| rng.random_range(-1.0..1.0)).collect();
        Matrix::new(rows, cols, data).unwrap()
    }

    /// The header's formula in f64.
    fn plain(
        q: &[f64],
        k: &[f64],
        d: usize,
        tau: f64,
        relation: impl Fn(usize, usize) -> Relation,
    ) -> f64 {
        let (b, m) = (q.len() / d, k.len() / d);
        let mut total = 0.0;
        for i in 0..b {
            let s = |j: usize| -> f64 { (0..d).map(|c| q[i * d + c] * k[j * d + c]).sum() };
            let there = || (0..m).filter(|&j| relation(i, j) != Relation::Excluded);
            let sum: f64 = there().map(|j| (s(j) / tau).exp()).sum();
            let near: Vec<f64> = (0..m)
                .filter(|&j| relation(i, j) == Relation::Positive)
                .map(|j| s(j) / tau - sum.ln())
                .collect();
            if !near.is_empty() {
                total -= near.iter().sum::<f64>() / near.len() as f64;
            }
        }
        total / b as f64
    }

    fn relation(i: usize, j: usize) -> Relation {
        match (i * 7 + j * 3) % 5 {
            _ if i % 11 == 4 => Relation::Negative, // no positive
            0 => Relation::Excluded,
            1 | 2 => Relation::Positive,
            _ => Relation::Negative,
        }
    }

    #[test]
    fn gradients_agree_with_differences() {
        let (q, k, tau) = (draws(23, 3, 1), draws(9, 3, 2), 0.2f32);
        let got = contrast(q.view(), k.view(), tau, 2.0, Wanted::Both, relation);
        let wide = |m: &Matrix| m.data().iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        let (q64, k64) = (wide(&q), wide(&k));
        let loss = |q: &[f64], k: &[f64]| 2.0 * plain(q, k, 3, f64::from(tau), relation);
        assert!((got.loss - loss(&q64, &k64)).abs() < 1e-6);
        let check = |at: &[f64], got: &[f32], f: &dyn Fn(&[f64]) -> f64| {
            for (i, &got) in got.iter().enumerate() {
                let moved = |h: f64| {
                    let mut at = at.to_vec();
                    at[i] += h;
                    f(&at)
                };
                let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((slope - f64::from(got)).abs() < 1e-5, "{i}: {slope} {got}");
            }
        };
        check(&q64, &got.d_queries, &|q| loss(q, &k64));
        check(&k64, &got.d_keys, &|k| loss(&q64, k));
        assert_eq!(got.d_queries[4 * 3..5 * 3], [0.0; 3]);
        let less = contrast(q.view(), k.view(), tau, 2.0, Wanted::Queries, relation);
        assert_eq!((less.loss, &less.d_queries), (got.loss, &got.d_queries));
        assert!(less.d_keys.is_empty());
    }

    #[test]
    fn blocks_and_threads_change_no_bit() {
        let (q, k) = (draws(3 * BLOCK + 7, 5, 3), draws(2 * BLOCK + 1, 5, 4));
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| contrast(q.view(), k.view(), 0.1, 1.0, Wanted::Both, relation))
        };
        let one = on(1);
        assert!(on(2) == one && on(5) == one);
        let wide = |m: &Matrix| m.data().iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        let want = plain(&wide(&q), &wide(&k), 5, f64::from(0.1f32), relation);
        assert!((one.loss - want).abs() < 1e-5 * want, "{} {want}", one.loss);
    }

    #[test]
    fn nothing_to_compare() {
        let (none, some) = (draws(0, 3, 1), draws(2, 3, 1));
        let run = |q: &Matrix, k: &Matrix, relation: Relation| {
            contrast(q.view(), k.view(), 1.0, 1.0, Wanted::Both, |_, _| relation)
        };
        assert_eq!(run(&none, &some, Relation::Positive).loss, 0.0);
        assert_eq!(run(&some, &none, Relation::Positive).loss, 0.0);
        for relation in [Relation::Negative, Relation::Excluded] {
            let got = run(&some, &some, relation);
            assert_eq!(got.loss, 0.0);
            assert!(got.d_queries.iter().chain(&got.d_keys).all(|g| *g == 0.0));
        }
        // One positive and nothing else: certain.
        let got = run(&draws(1, 3, 1), &draws(1, 3, 2), Relation::Positive);
        assert!(got.loss.abs() < 1e-7 && got.d_queries.iter().all(|g| g.abs() < 1e-7));
    }
}
