//! Metrics from sampled candidates, and what is wrong with them (Krichene and Rendle, KDD 2020).
//!
//! A target of rank r among n items that is ranked against m items drawn with replacement from the
//! n - 1 others has the sampled rank 1 + X, X ~ Binomial(m, (r - 1)/(n - 1)). A metric f of that rank
//! is not f(r): [`expected`] gives E f(1 + X), which is what sampled metrics measure. Such figures
//! depend on m and can order two recommenders the wrong way round; they do not compare with full
//! rankings. [`corrected`] gives the function g of the sampled rank that minimises
//! sum_r p(r) [(E g - f(r))^2 + gamma Var g] with p uniform over ranks: their least squares of bias
//! and variance (gamma 0.1 in the paper). Where candidates can be ranked in full, do that.

use sidereal_core::{Error, Result};

/// How candidates were drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// Items of the catalogue, 2 and up.
    pub n_items: usize,
    /// Candidates beside the target, 1 and up.
    pub samples: usize,
}

impl Sampling {
    fn check(&self) -> Result<()> {
        if self.n_items < 2 || self.samples == 0 {
            return Err(Error::input(format!(
                "{} candidates of {} items; expected at least one of at least two",
                self.samples, self.n_items
            )));
        }
        Ok(())
    }

    /// P(sampled rank = 1 + j | rank r) for j = 0..=samples.
    fn chances(&self, rank: usize) -> Vec<f64> {
        let p = (rank - 1) as f64 / (self.n_items - 1) as f64;
        let m = self.samples;
        let mut out = vec![0.0; m + 1];
        if p == 0.0 || p == 1.0 {
            out[if p == 0.0 { 0 } else { m }] = 1.0;
            return out;
        }
        // From the mode outwards: no term under- or overflows before it is negligible.
        let mode = (((m + 1) as f64 * p) as usize).min(m);
        out[mode] = 1.0;
        let odds = p / (1.0 - p);
        for j in mode..m {
            out[j + 1] = out[j] * odds * (m - j) as f64 / (j + 1) as f64;
        }
        for j in (0..mode).rev() {
            out[j] = out[j + 1] * (j + 1) as f64 / (odds * (m - j) as f64);
        }
        let total: f64 = out.iter().sum();
        out.iter_mut().for_each(|c| *c /= total);
        out
    }
}

/// E f(sampled rank) for a target of `rank` (from 1). Fails for fewer than two items, no candidate
/// or a rank outside the catalogue.
pub fn expected(sampling: &Sampling, rank: usize, metric: impl Fn(usize) -> f64) -> Result<f64> {
    sampling.check()?;
    if rank == 0 || rank > sampling.n_items {
        return Err(Error::input(format!("rank {rank}; allowed: 1 to {}", sampling.n_items)));
    }
    let chances = sampling.chances(rank);
    Ok(chances.iter().enumerate().map(|(j, p)| p * metric(j + 1)).sum())
}

/// The corrected metric: its value for each sampled rank 1..=samples + 1. `gamma`, above 0 and at
/// most 1, weighs variance against bias. Cost: n m^2 / 2 + m^3 / 6 multiplications. Fails outside of
/// ranges and when the equations cannot be solved in f64 (a `gamma` too near 0).
pub fn corrected(
    sampling: &Sampling,
    gamma: f64,
    metric: impl Fn(usize) -> f64,
) -> Result<Vec<f64>> {
    sampling.check()?;
    if !(gamma > 0.0 && gamma <= 1.0) {
        return Err(Error::config("gamma", format!("{gamma}; allowed: above 0, at most 1")));
    }
    let size = sampling.samples + 1;
    // ((1 - gamma) A'A + gamma diag(A'1)) g = A'f, rows of A being chances given a rank.
    let (mut matrix, mut side) = (vec![0.0; size * size], vec![0.0; size]);
    for rank in 1..=sampling.n_items {
        let (chances, value) = (sampling.chances(rank), metric(rank));
        for (i, &c) in chances.iter().enumerate().filter(|(_, c)| **c > 1e-18) {
            side[i] += c * value;
            matrix[i * size + i] += gamma * c;
            for (entry, &d) in matrix[i * size..].iter_mut().zip(&chances[..=i]) {
                *entry += (1.0 - gamma) * c * d;
            }
        }
    }
    solve(&mut matrix, &mut side)?;
    Ok(side)
}

/// Solves a symmetric positive definite system, given by its lower triangle, by Cholesky.
fn solve(matrix: &mut [f64], side: &mut [f64]) -> Result<()> {
    let n = side.len();
    for i in 0..n {
        for j in 0..=i {
            let (rows, own) = matrix.split_at_mut(i * n);
            let other = if j < i { &rows[j * n..j * n + j] } else { &[] };
            let dot: f64 = match j < i {
                true => own[..j].iter().zip(other).map(|(a, b)| a * b).sum(),
                false => own[..i].iter().map(|a| a * a).sum(),
            };
            let rest = own[j] - dot;
            if j < i {
                own[j] = rest / rows[j * n + j];
            } else if rest > 0.0 {
                own[i] = rest.sqrt();
            } else {
                return Err(Error::config("gamma", "too near 0 to solve for a correction"));
            }
        }
    }
    for i in 0..n {
        let dot: f64 = (0..i).map(|j| matrix[i * n + j] * side[j]).sum();
        side[i] = (side[i] - dot) / matrix[i * n + i];
    }
    for i in (0..n).rev() {
        let dot: f64 = (i + 1..n).map(|j| matrix[j * n + i] * side[j]).sum();
        side[i] = (side[i] - dot) / matrix[i * n + i];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recall_at_5(rank: usize) -> f64 {
        if rank <= 5 { 1.0 } else { 0.0 }
    }

    #[test]
    fn expectations_by_hand() {
        let two = Sampling { n_items: 5, samples: 2 };
        // r = 2: X ~ Binomial(2, 1/4).
        let reciprocal = |r: usize| 1.0 / r as f64;
        let by_hand = 9.0 / 16.0 + 6.0 / 16.0 / 2.0 + 1.0 / 16.0 / 3.0;
        assert!((expected(&two, 2, reciprocal).unwrap() - by_hand).abs() < 1e-15);
        assert_eq!(expected(&two, 1, reciprocal).unwrap(), 1.0);
        assert_eq!(expected(&two, 5, reciprocal).unwrap(), 1.0 / 3.0);
        for bad in [0, 6] {
            assert!(expected(&two, bad, reciprocal).is_err());
        }
        assert!(expected(&Sampling { n_items: 1, samples: 2 }, 1, reciprocal).is_err());
        assert!(corrected(&Sampling { n_items: 5, samples: 0 }, 0.1, reciprocal).is_err());
        assert!(corrected(&two, 0.0, reciprocal).unwrap_err().to_string().contains("gamma"));
    }

    #[test]
    fn the_correction_is_the_minimum() {
        let sampling = Sampling { n_items: 60, samples: 8 };
        let gamma = 0.1;
        let loss = |g: &[f64]| {
            let of = |rank| {
                let chances = sampling.chances(rank);
                let mean: f64 = chances.iter().zip(g).map(|(p, g)| p * g).sum();
                let square: f64 = chances.iter().zip(g).map(|(p, g)| p * g * g).sum();
                (mean - recall_at_5(rank)).powi(2) + gamma * (square - mean * mean)
            };
            (1..=60).map(of).sum::<f64>()
        };
        let g = corrected(&sampling, gamma, recall_at_5).unwrap();
        let least = loss(&g);
        for i in 0..g.len() {
            for step in [-1e-3, 1e-3] {
                let mut other = g.clone();
                other[i] += step;
                assert!(loss(&other) > least, "{i}");
            }
        }
        let naive: Vec<f64> = (1..=9).map(recall_at_5).collect();
        assert!(least < 0.2 * loss(&naive));
    }

    #[test]
    fn with_all_weight_on_variance_it_is_a_conditional_mean() {
        let sampling = Sampling { n_items: 30, samples: 4 };
        let g = corrected(&sampling, 1.0, recall_at_5).unwrap();
        for (j, got) in g.iter().enumerate() {
            let chance = |rank: usize| sampling.chances(rank)[j];
            let all: f64 = (1..=30).map(chance).sum();
            let right: f64 = (1..=5).map(chance).sum();
            assert!((got - right / all).abs() < 1e-12);
        }
    }
}
