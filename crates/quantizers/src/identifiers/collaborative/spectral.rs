//! Spectral clustering of a weighted graph without an `n x n` matrix.
//!
//! With `S = D^-1/2 A D^-1/2` the k smallest eigenvalues of `L = I - S` are the k largest of S (Shi
//! and Malik 2000; Ng, Jordan and Weiss 2001). A block of `k + 8` or more vectors is filtered by
//! Chebyshev polynomials of S that are small on the unwanted part of the spectrum (Zhou, Saad, Tiago
//! and Chelikowsky 2006), made orthonormal, and rotated to Ritz vectors, until the residuals of the
//! first k are below 1e-4. A block finds eigenvalues that occur several times. Row `i` of the k
//! vectors is divided by `sqrt(deg_i)`, and labels come from cluster-QR (Damle, Minden and Ying
//! 2016): k rows chosen by pivoted QR, the orthogonal matrix nearest to them, and for each row the
//! largest entry in size. No random start of k-means decides a label.
//!
//! A node without an edge counts as joined to itself: a component of its own.
//!
//! Cost: a product of S with `n x (k + 8)` for each degree of each filter (about a hundred in all),
//! `O(n k^2)` for each of at most 15 rounds.

use rand::Rng;
use rayon::prelude::*;
use sidereal_core::{Result, Run, seed};
use sidereal_nn::algebra::dense::{Dense, eigen};
use sidereal_nn::algebra::polar::nearest_orthogonal;
use sidereal_nn::algebra::sparse::Csr;

/// Graphs up to this size are solved exactly in one round.
const EXACT: usize = 96;
const ROUNDS: usize = 15;
const TOLERANCE: f64 = 1e-4;
/// Most by which a filter may blow one vector up against another.
const GROWTH: f64 = 1e4;
const DEGREE: usize = 12;
/// Pivots below this share of the first count as zero.
const RANK: f64 = 1e-6;

/// A group of each of the n nodes, below k; some groups may be empty.
///
/// `graph` is symmetric with values above 0.
pub fn labels(graph: &Csr, k: usize, run: &Run<'_>, index: u64) -> Result<Vec<u32>> {
    Ok(cluster_qr(&embed(graph, k.min(graph.rows()).max(1), run, index)?))
}

/// `n x k`: the k leading eigenvectors of S, rows divided by the roots of the degrees.
fn embed(graph: &Csr, k: usize, run: &Run<'_>, index: u64) -> Result<Dense> {
    let n = graph.rows();
    let roots: Vec<f64> = (0..n).map(|i| degree(graph, i).sqrt()).collect();
    let s = scaled(graph, &roots);
    let wide = k + (k / 2).max(8);
    let mut x =
        if n <= EXACT || wide >= n { identity(n) } else { random(n, wide, run.seed, index) };
    x.orthonormalize();
    for round in 0..ROUNDS {
        run.check()?;
        let mut y = s.times(&x);
        // S has eigenvalues from -1 to 1; the small problem must not have negative ones.
        let mut h = cross(&x, &y);
        (0..h.rows()).for_each(|i| h.row_mut(i)[i] += 1.0);
        let (values, vectors) = eigen(&h);
        (x, y) = (x.times(&vectors), y.times(&vectors));
        if x.cols() == n || round + 1 == ROUNDS {
            break;
        }
        let ritz: Vec<f64> = values.iter().map(|v| v - 1.0).collect();
        if residuals(&x, &y, &ritz).iter().take(k).all(|r| *r < TOLERANCE) {
            break;
        }
        let edge = ritz.last().copied().unwrap_or(0.0).clamp(-0.9, 0.999);
        x = filter(&s, x, y, edge);
        x.orthonormalize();
        refill(&mut x, run.seed, index);
    }
    let mut out = Dense::zeros(n, k);
    for (i, root) in roots.iter().enumerate() {
        out.row_mut(i).iter_mut().zip(x.row(i)).for_each(|(o, x)| *o = x / root);
    }
    Ok(out)
}

fn degree(graph: &Csr, i: usize) -> f64 {
    let sum: f64 = graph.row(i).1.iter().map(|v| f64::from(*v)).sum();
    if sum > 0.0 { sum } else { 1.0 }
}

/// S; a node without an edge has 1 on the diagonal.
fn scaled(graph: &Csr, roots: &[f64]) -> Csr {
    let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
    for (i, root) in roots.iter().enumerate() {
        let (cs, vs) = graph.row(i);
        if cs.is_empty() {
            columns.push(i as u32);
            values.push(1.0);
        }
        columns.extend_from_slice(cs);
        let scale = |(&c, &v): (&u32, &f32)| (f64::from(v) / (root * roots[c as usize])) as f32;
        values.extend(cs.iter().zip(vs).map(scale));
        offsets.push(columns.len());
    }
    Csr::from_parts(graph.rows(), offsets, columns, values)
}

fn identity(n: usize) -> Dense {
    let mut out = Dense::zeros(n, n);
    (0..n).for_each(|i| out.row_mut(i)[i] = 1.0);
    out
}

fn random(n: usize, cols: usize, seed: u64, index: u64) -> Dense {
    let mut out = Dense::zeros(n, cols);
    let mut rng = seed::stream(seed, "spectral-start", index);
    out.data_mut().iter_mut().for_each(|v| *v = rng.random::<f64>() - 0.5);
    out
}

/// Columns that depended on others, and became zero, begin again at random.
fn refill(x: &mut Dense, seed: u64, index: u64) {
    let norms = columns(x, x);
    if norms.iter().all(|v| *v > 0.5) {
        return;
    }
    let fresh = random(x.rows(), x.cols(), seed, !index);
    for i in 0..x.rows() {
        let row = x.row_mut(i).iter_mut().zip(fresh.row(i)).zip(&norms);
        row.filter(|(_, norm)| **norm <= 0.5).for_each(|((x, f), _)| *x = *f);
    }
    x.orthonormalize();
}

/// `T(S) x` for the Chebyshev polynomial that is at most 1 on `[-1, edge]`, of the highest degree
/// that keeps what it does to the eigenvalue 1 below [`GROWTH`]. `y` is `S x`.
fn filter(s: &Csr, x: Dense, y: Dense, edge: f64) -> Dense {
    let (centre, half) = ((edge - 1.0) / 2.0, (edge + 1.0) / 2.0);
    let top = (1.0 - centre) / half;
    let degree = (GROWTH.acosh() / top.acosh()).floor().clamp(2.0, DEGREE as f64) as usize;
    // From (T_{j-1}, T_j) and S T_j to T_{j+1}; the first step has no T_{j-1}.
    let step = |before: Option<Dense>, now: &Dense, product: Dense| {
        let mut next = product;
        let factor = if before.is_some() { 2.0 / half } else { 1.0 / half };
        let chunk = 4096;
        let before = before.unwrap_or_else(|| Dense::zeros(now.rows(), now.cols()));
        let parts = next.data_mut().par_chunks_mut(chunk);
        parts.zip(now.data().par_chunks(chunk)).zip(before.data().par_chunks(chunk)).for_each(
            |((next, now), before)| {
                for ((y, x), b) in next.iter_mut().zip(now).zip(before) {
                    *y = factor * (*y - centre * x) - b;
                }
            },
        );
        next
    };
    let mut now = step(None, &x, y);
    let mut before = x;
    for _ in 1..degree {
        let product = s.times(&now);
        let next = step(Some(before), &now, product);
        before = std::mem::replace(&mut now, next);
    }
    now
}

/// Rows that are summed as one piece.
const PIECE: usize = 512;

/// `a^T b` for tall matrices of one shape.
fn cross(a: &Dense, b: &Dense) -> Dense {
    let l = a.cols();
    let pieces: Vec<Vec<f64>> = (0..a.rows().div_ceil(PIECE))
        .into_par_iter()
        .map(|piece| {
            let mut sum = vec![0.0; l * l];
            for i in piece * PIECE..((piece + 1) * PIECE).min(a.rows()) {
                for (out, x) in sum.chunks_exact_mut(l).zip(a.row(i)) {
                    out.iter_mut().zip(b.row(i)).for_each(|(o, y)| *o += x * y);
                }
            }
            sum
        })
        .collect();
    let mut out = Dense::zeros(l, l);
    for piece in pieces {
        out.data_mut().iter_mut().zip(piece).for_each(|(o, v)| *o += v);
    }
    for i in 0..l {
        for j in 0..i {
            let mean = (out.row(i)[j] + out.row(j)[i]) / 2.0;
            out.row_mut(i)[j] = mean;
            out.row_mut(j)[i] = mean;
        }
    }
    out
}

/// Sum of the products of each column of `a` with the same one of `b`.
fn columns(a: &Dense, b: &Dense) -> Vec<f64> {
    let mut sums = vec![0.0; a.cols()];
    for i in 0..a.rows() {
        sums.iter_mut().zip(a.row(i).iter().zip(b.row(i))).for_each(|(s, (x, y))| *s += x * y);
    }
    sums
}

/// `|S x_j - theta_j x_j|` of each column.
fn residuals(x: &Dense, y: &Dense, ritz: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; x.cols()];
    for i in 0..x.rows() {
        let row = x.row(i).iter().zip(y.row(i)).zip(ritz);
        sums.iter_mut().zip(row).for_each(|(s, ((x, y), t))| *s += (y - t * x).powi(2));
    }
    sums.into_iter().map(f64::sqrt).collect()
}

/// Labels of the rows of `u`, `n x k`.
fn cluster_qr(u: &Dense) -> Vec<u32> {
    let (n, k) = (u.rows(), u.cols());
    let (pivots, basis) = pivots(u);
    let rank = pivots.len();
    // Rows in the basis of the chosen ones: as many columns as rows that are independent.
    let mut turn = Dense::zeros(k, rank);
    for (j, direction) in basis.chunks_exact(k).enumerate() {
        direction.iter().enumerate().for_each(|(i, v)| turn.row_mut(i)[j] = *v);
    }
    let u = u.times(&turn);
    let mut chosen = Dense::zeros(rank, rank);
    for (j, &pivot) in pivots.iter().enumerate() {
        (0..rank).for_each(|i| chosen.row_mut(i)[j] = u.row(pivot)[i]);
    }
    let scores = u.times(&nearest_orthogonal(&chosen, &identity(rank)));
    let best = |i: usize| {
        let row = scores.row(i);
        let larger = |b: usize, j: usize| if row[j].abs() > row[b].abs() { j } else { b };
        (0..rank).fold(0, larger) as u32
    };
    (0..n).map(best).collect()
}

/// Rows chosen one after the other, each the longest outside the span of those before, and an
/// orthonormal basis of them, `rank x k`.
fn pivots(u: &Dense) -> (Vec<usize>, Vec<f64>) {
    let (n, k) = (u.rows(), u.cols());
    let mut rest = u.clone();
    let (mut chosen, mut basis) = (Vec::new(), Vec::new());
    let mut first = 0.0;
    for _ in 0..k.min(n) {
        let norm = |i: usize| rest.row(i).iter().map(|v| v * v).sum::<f64>();
        let mut best = (0, -1.0);
        for i in 0..n {
            let norm = norm(i);
            if norm > best.1 {
                best = (i, norm);
            }
        }
        if chosen.is_empty() {
            first = best.1;
        }
        if best.1 <= RANK * RANK * first || best.1 <= 0.0 {
            break;
        }
        let length = best.1.sqrt();
        let direction: Vec<f64> = rest.row(best.0).iter().map(|v| v / length).collect();
        rest.data_mut().par_chunks_mut(PIECE * k).for_each(|rows| {
            for row in rows.chunks_exact_mut(k) {
                let along: f64 = row.iter().zip(&direction).map(|(x, d)| x * d).sum();
                row.iter_mut().zip(&direction).for_each(|(x, d)| *x -= along * d);
            }
        });
        chosen.push(best.0);
        basis.extend(direction);
    }
    (chosen, basis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(n: usize, edges: &[(usize, usize, f32)]) -> Csr {
        let (mut offsets, mut columns, mut values) = (vec![0], vec![], vec![]);
        for i in 0..n {
            let mut row: Vec<(u32, f32)> = edges
                .iter()
                .filter_map(|&(a, b, v)| match (a == i, b == i) {
                    (true, _) => Some((b as u32, v)),
                    (_, true) => Some((a as u32, v)),
                    _ => None,
                })
                .collect();
            row.sort_by_key(|e| e.0);
            columns.extend(row.iter().map(|e| e.0));
            values.extend(row.iter().map(|e| e.1));
            offsets.push(columns.len());
        }
        Csr::from_parts(n, offsets, columns, values)
    }

    /// `blocks` cliques of `size`, node `i` in block `i mod blocks`, with weak ties between them.
    fn cliques(blocks: usize, size: usize, tie: f32) -> Csr {
        let n = blocks * size;
        let mut edges = Vec::new();
        for i in 0..n {
            for j in i + 1..n {
                if i % blocks == j % blocks {
                    edges.push((i, j, 1.0));
                } else if tie > 0.0 && (i * 7 + j * 3) % 11 == 0 {
                    edges.push((i, j, tie));
                }
            }
        }
        graph(n, &edges)
    }

    fn recovers(labels: &[u32], block: impl Fn(usize) -> usize) {
        for i in 0..labels.len() {
            for j in 0..labels.len() {
                assert_eq!(labels[i] == labels[j], block(i) == block(j), "{i} {j} {labels:?}");
            }
        }
    }

    #[test]
    fn equal_cliques_come_back_exactly() {
        let run = Run::quiet(1);
        // Exact solve, and the filtered block; without ties the first eigenvalue occurs k times.
        for (blocks, size) in [(2, 4), (5, 6), (6, 40), (10, 30)] {
            for tie in [0.0, 0.05] {
                let graph = cliques(blocks, size, tie);
                recovers(&labels(&graph, blocks, &run, 0).unwrap(), |i| i % blocks);
            }
        }
    }

    #[test]
    fn nodes_without_edges_are_groups() {
        let lone = graph(7, &[(0, 1, 2.0), (1, 2, 1.0), (0, 2, 1.0), (3, 4, 1.0)]);
        let block = |i: usize| [0, 0, 0, 1, 1, 2, 3][i];
        recovers(&labels(&lone, 4, &Run::quiet(1), 0).unwrap(), block);
        assert_eq!(labels(&graph(1, &[]), 3, &Run::quiet(1), 0).unwrap(), [0]);
        assert_eq!(labels(&graph(3, &[]), 1, &Run::quiet(1), 0).unwrap(), [0, 0, 0]);
    }

    /// Eigenvalues of S by the dense solver, against those of the filtered block.
    #[test]
    fn the_block_finds_the_leading_eigenvectors() {
        let n = 150;
        let edges: Vec<_> = (0..n)
            .flat_map(|i| {
                (1..6).map(move |d| (i, (i + d * d * 3 + i % 4) % n, 1.0 + (i % 3) as f32))
            })
            .filter(|e| e.0 < e.1)
            .collect();
        let graph = graph(n, &edges);
        let (k, run) = (6, Run::quiet(4));
        let roots: Vec<f64> = (0..n).map(|i| degree(&graph, i).sqrt()).collect();
        let s = scaled(&graph, &roots);
        let mut h = s.times(&identity(n));
        (0..n).for_each(|i| h.row_mut(i)[i] += 1.0);
        let exact = eigen(&h).0;
        let mut u = embed(&graph, k, &run, 0).unwrap();
        for (i, root) in roots.iter().enumerate() {
            u.row_mut(i).iter_mut().for_each(|v| *v *= root);
        }
        let ritz = columns(&u, &s.times(&u));
        for j in 0..k {
            assert!((ritz[j] - (exact[j] - 1.0)).abs() < 1e-6, "{j}: {ritz:?}");
        }
        assert!(residuals(&u, &s.times(&u), &ritz).iter().all(|r| *r < 2.0 * TOLERANCE));
    }
}
