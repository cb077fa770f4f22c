//! Truncated SVD of the normalised user-item matrix.
//!
//! `A = D_i^-1/2 R^T D_u^-1/2` (N x U) for the binary `R`, the same normalisation as in LightGCN;
//! `A ~ U S V^T` by a random sketch (Halko, Martinsson and Tropp 2011, arXiv 0909.4061; see
//! [`sidereal_nn::algebra::svd`]). Item vectors are `U S^p`, user vectors `V S^(1 - p)`, so a dot product
//! is the entry of the best approximation of rank `dim` (Eckart and Young) whatever `p`. PureSVD
//! (Cremonesi et al., RecSys 2010) is the same without the normalisation. The first direction is
//! `sqrt(degree)`, popularity, with singular value 1.
//!
//! Cost: `4 (q + 1) nnz(R) l` operations for the products and `2 (q + 1) (U + N) l^2` for the bases,
//! with `l = dim + oversampling` and `q` power iterations. Items without interactions have the zero
//! vector.

use crate::collaborative::{Factors, inverse_roots, user_items, warn_of_cold};
use crate::threads::with_threads;
use crate::{check_number, check_range, key, rows};
use sidereal_core::{EncoderInput, Error, ItemEncoder, Matrix, Result, Run};
use sidereal_nn::algebra::dense::Dense;
use sidereal_nn::algebra::sparse::Csr;
use sidereal_nn::algebra::svd::{Sketch, truncated};

sidereal_core::options! {
    /// Options of `svd`.
    pub struct SvdOptions {
        /// Width of the vectors, 1 to the rank of the user-item matrix.
        pub dim: usize = 64,
        /// Share p of the singular values that item vectors carry, 0 to 1; users have the rest.
        pub power: f32 = 0.5,
        /// Extra directions of the random sketch, 0 to 4096 (arXiv 0909.4061, section 4.2).
        pub oversampling: usize = 16,
        /// Passes that sharpen the sketch, 0 to 64 (arXiv 0909.4061, section 4.5).
        pub power_iterations: usize = 6,
        /// Whether item vectors are scaled to length 1.
        pub normalize: bool = false,
    }
}

/// Collaborative vectors by a truncated SVD.
#[derive(Debug, Clone)]
pub struct InteractionSvd {
    options: SvdOptions,
}

impl InteractionSvd {
    /// Checks the options.
    pub fn new(options: SvdOptions) -> Result<Self> {
        check_range("dim", options.dim, 1, 1 << 16)?;
        check_number("power", options.power, 0.0, 1.0)?;
        check_range("oversampling", options.oversampling, 0, 4096)?;
        check_range("power_iterations", options.power_iterations, 0, 64)?;
        Ok(InteractionSvd { options })
    }

    /// Vectors of both sides; item vectors keep their lengths, which scores need.
    ///
    /// Errors: no item, no interaction, more directions than the matrix has, or a request to stop.
    pub fn fit(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Factors> {
        with_threads(run.threads, || self.run(input, run))
    }

    fn run(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Factors> {
        let o = &self.options;
        let users = user_items(input)?;
        let a = normalized(&users);
        let most = a.rows().min(a.cols());
        if o.dim > most {
            let message = format!(
                "{} is outside 1..={most}: there are {} items and {} users",
                o.dim,
                a.rows(),
                a.cols()
            );
            return Err(Error::config(key("dim"), message));
        }
        let sketch = Sketch {
            task: "svd",
            dim: o.dim,
            oversampling: o.oversampling,
            power_iterations: o.power_iterations,
        };
        let svd = truncated(&a, &sketch, run)?;
        let rank = svd.rank();
        if o.dim > rank {
            let message = format!(
                "{} is outside 1..={rank}: the user-item matrix has rank {rank} or a little more",
                o.dim
            );
            return Err(Error::config(key("dim"), message));
        }
        warn_of_cold("svd", &a, "such vectors are zero", run);
        let p = f64::from(o.power);
        // A^T U = V S.
        let right = a.transpose().times(&svd.u);
        let scaled = |m: &Dense, power: f64| {
            let scales: Vec<f64> = svd.s.iter().map(|s| s.powf(power)).collect();
            let values = m.data().chunks_exact(o.dim);
            let values =
                values.flat_map(|row| row.iter().zip(&scales).map(|(v, s)| (v * s) as f32));
            Matrix::new(m.rows(), o.dim, values.collect())
        };
        Ok(Factors { users: scaled(&right, -p)?, items: scaled(&svd.u, p)? })
    }
}

/// `D_i^-1/2 R^T D_u^-1/2`, shape `N x U`.
fn normalized(user_items: &Csr) -> Csr {
    let mut a = user_items.transpose();
    let (ri, ru) = (inverse_roots(&a), inverse_roots(user_items));
    let values: Vec<f32> = (0..a.rows())
        .flat_map(|i| a.row(i).0.iter().map(move |&u| (i, u)))
        .map(|(i, u)| (ri[i] * ru[u as usize]) as f32)
        .collect();
    a.values_mut().copy_from_slice(&values);
    a
}

impl ItemEncoder for InteractionSvd {
    fn encode(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Matrix> {
        let mut items = self.fit(input, run)?.items;
        if self.options.normalize {
            rows::normalize_all(&mut items);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidereal_core::{ItemId, ItemTable, Sequences, UserId};

    fn world(histories: &[&[u32]], n: usize) -> (ItemTable, Sequences) {
        let mut train = Sequences::default();
        for h in histories {
            train.push(&h.iter().map(|&i| ItemId(i)).collect::<Vec<_>>());
        }
        (ItemTable::new((0..n).map(|i| i.to_string()).collect()), train)
    }

    #[test]
    fn full_rank_gives_the_matrix_back_and_popularity_comes_first() {
        // Degrees: users 3, 2, 1, 2; items 2, 3, 1, 2.
        let (items, train) = world(&[&[0, 1, 2], &[1, 3], &[3], &[0, 1]], 4);
        let input = EncoderInput { items: &items, train: &train };
        let (du, di) = ([3f32, 2.0, 1.0, 2.0], [2f32, 3.0, 1.0, 2.0]);
        for power in [0.0, 0.3, 1.0] {
            let encoder =
                InteractionSvd::new(SvdOptions { dim: 4, power, ..Default::default() }).unwrap();
            let f = encoder.fit(&input, &Run::quiet(1)).unwrap();
            for u in 0..4u32 {
                for i in 0..4u32 {
                    let met = train.items(UserId(u)).contains(&ItemId(i));
                    let scale = (du[u as usize] * di[i as usize]).sqrt();
                    let want = if met { 1.0 / scale } else { 0.0 };
                    let got = f.score(UserId(u), ItemId(i));
                    assert!((got - want).abs() < 1e-5, "{u} {i}: {got} {want}");
                }
            }
            // The first left vector is sqrt(degree) over its length.
            for i in 0..4 {
                let want = (di[i] / 8.0).sqrt();
                assert!((f.items.row(i)[0] - want).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn the_best_single_direction_and_errors() {
        // Two separate blocks: item 0 with users 0, 1; items 1, 2 with user 2.
        let (items, train) = world(&[&[0], &[0], &[1, 2]], 4);
        let input = EncoderInput { items: &items, train: &train };
        let fit = |dim| {
            let options = SvdOptions { dim, ..Default::default() };
            InteractionSvd::new(options).and_then(|e| e.encode(&input, &Run::quiet(1)))
        };
        let two = fit(2).unwrap();
        assert_eq!(two.row(3), [0.0, 0.0]);
        let message = fit(3).unwrap_err().to_string();
        assert!(message.contains("1..=2") && message.contains("rank"), "{message}");
        assert!(fit(4).unwrap_err().to_string().contains("4 items and 3 users"));
        let bad = InteractionSvd::new(SvdOptions { power: f32::NAN, ..Default::default() });
        assert!(bad.err().unwrap().to_string().contains("encoder.power"));
    }
}
