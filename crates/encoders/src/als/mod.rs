//! Matrix factorisation of implicit feedback by alternating least squares.
//!
//! Hu, Koren and Volinsky, ICDM 2008. With counts `r` (U x N), preferences `p = [r > 0]` and
//! confidences `c = 1 + alpha r`, it minimises
//! `sum_ui c_ui (p_ui - x_u . y_i)^2 + lambda (|X|^2 + |Y|^2)` over `X` (U x d) and `Y` (N x d), one
//! side at a time; each half step is exact ([`half`]). An item without interactions has the zero
//! vector, which is its optimum. Numbers are f64 inside.
//!
//! Deviations: `alpha` is the paper's, `lambda` it chooses by cross-validation and the default was
//! chosen on Amazon Beauty; every row is solved exactly, by the smaller of two systems, where the
//! paper always solves the `d x d` one.

pub mod half;

use crate::collaborative::{Factors, user_items, warn_of_cold};
use crate::threads::with_threads;
use crate::{check_number, check_range, rows};
use sidereal_core::{EncoderInput, Error, Event, ItemEncoder, Matrix, Result, Run};
use sidereal_nn::algebra::dense::Dense;
use sidereal_nn::algebra::svd::gaussian;

sidereal_core::options! {
    /// Options of `als`.
    pub struct AlsOptions {
        /// Width of the vectors, 1 to 2048.
        pub dim: usize = 64,
        /// Sweeps over both sides, 1 to 10000 (paper: 10).
        pub iterations: usize = 10,
        /// Confidence of one interaction above that of none, above 0 (paper: 40).
        pub alpha: f32 = 40.0,
        /// Weight lambda of the L2 penalty, above 0 (paper: by cross-validation).
        pub regularization: f32 = 30.0,
        /// Whether item vectors are scaled to length 1.
        pub normalize: bool = false,
    }
}

/// Standard deviation of the start; the first half step forgets its scale up to lambda.
const START: f64 = 0.1;

/// Collaborative vectors by alternating least squares.
#[derive(Debug, Clone)]
pub struct Als {
    options: AlsOptions,
}

impl Als {
    /// Checks the options.
    pub fn new(options: AlsOptions) -> Result<Self> {
        check_range("dim", options.dim, 1, 2048)?;
        check_range("iterations", options.iterations, 1, 10_000)?;
        check_number("alpha", options.alpha, f32::MIN_POSITIVE, f32::MAX)?;
        check_number("regularization", options.regularization, f32::MIN_POSITIVE, f32::MAX)?;
        Ok(Als { options })
    }

    /// Vectors of both sides; item vectors keep their lengths, which scores need.
    ///
    /// Errors: no item, no interaction, or a request to stop.
    pub fn fit(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Factors> {
        with_threads(run.threads, || self.run(input, run))
    }

    fn run(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Factors> {
        let o = &self.options;
        let (alpha, lambda) = (f64::from(o.alpha), f64::from(o.regularization));
        let users = user_items(input)?;
        let items = users.transpose();
        let mut x = Dense::zeros(users.rows(), o.dim);
        let mut y = gaussian(items.rows(), o.dim, run.seed, "als-start");
        y.data_mut().iter_mut().for_each(|v| *v *= START);
        let task = "als";
        run.emit(Event::Started { task, total: o.iterations as u64, unit: "sweeps" });
        for i in 0..o.iterations {
            half::solve_rows(&users, &y, alpha, lambda, &mut x);
            run.check()?;
            half::solve_rows(&items, &x, alpha, lambda, &mut y);
            run.check()?;
            let numbers = [("loss", half::loss(&users, &x, &y, alpha, lambda))];
            run.emit(Event::Advanced { task, done: i as u64 + 1, numbers: &numbers });
        }
        run.emit(Event::Finished { task });
        warn_of_cold(task, &items, "such vectors are zero", run);
        Ok(Factors { users: narrow("user", &x)?, items: narrow("item", &y)? })
    }
}

fn narrow(side: &str, x: &Dense) -> Result<Matrix> {
    let out = Matrix::new(x.rows(), x.cols(), x.data().iter().map(|&v| v as f32).collect())?;
    match out.view().first_not_finite() {
        None => Ok(out),
        Some(row) => Err(Error::NotFinite {
            what: format!("the vector of {side} {row} in als"),
            step: None,
            help: "raise encoder.regularization or lower encoder.alpha".into(),
        }),
    }
}

impl ItemEncoder for Als {
    fn encode(&self, input: &EncoderInput<'_>, run: &Run<'_>) -> Result<Matrix> {
        let mut items = self.fit(input, run)?.items;
        if self.options.normalize {
            rows::normalize_all(&mut items);
        }
        Ok(items)
    }
}
