//! The loss of a level of residual vector quantization: its fixed points and its gradients.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

use rand::Rng;
use sidereal_core::{Code, Matrix, QuantizerInput, Run, seed};
use sidereal_quantizers::kmeans::Centroids;
use sidereal_quantizers::rvq::{LevelLoss, level_loss};
use sidereal_quantizers::{ResidualCodebook, RqKMeans, RqKMeansOptions};

/// About normal, shifted: the sum of twelve uniform draws, and `shift`.
fn gaussian(rows: usize, cols: usize, shift: f32, s: u64) -> Matrix {
    let mut rng = seed::stream(s, "test-data", 0);
    let mut draw = || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0 + shift;
    Matrix::new(rows, cols, (0..rows * cols).map(|_| draw()).collect()).unwrap()
}

/// Lloyd until nothing changes.
fn converged(x: &Matrix, levels: &[u32], normalize_residuals: bool) -> ResidualCodebook {
    let options = RqKMeansOptions {
        levels: levels.to_vec(),
        iterations: 1000,
        tolerance: 0.0,
        normalize_residuals,
        ..Default::default()
    };
    let quantizer = RqKMeans::new(options).unwrap();
    quantizer.fit_residual(&QuantizerInput::vectors(x.view()), &Run::quiet(1)).unwrap()
}

fn normalize(x: &mut Matrix) {
    for i in 0..x.rows() {
        let n = x.row(i).iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt() as f32;
        x.row_mut(i).iter_mut().for_each(|v| *v /= n);
    }
}

fn norm(v: impl Iterator<Item = f32>) -> f64 {
    v.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

fn stepped(level: &Matrix, gradient: &Matrix, rate: f32) -> Centroids {
    let mut out = Centroids::new(level.clone());
    out.update(|c| c.data_mut().iter_mut().zip(gradient.data()).for_each(|(c, g)| *c -= rate * g));
    out
}

/// Size that the codebook gradient could have: twice the summed distances of the rows of a code.
fn scale(x: &Matrix, level: &Matrix, codes: &[Code]) -> f64 {
    let distance = |i: usize| {
        let c = level.row(codes[i] as usize);
        norm(x.row(i).iter().zip(c).map(|(r, c)| r - c))
    };
    2.0 * (0..x.rows()).map(distance).sum::<f64>() / level.rows() as f64
}

#[test]
fn converged_levels_of_k_means_are_fixed_points() {
    for (shift, normalized) in [(0.0, false), (0.0, true), (50.0, false)] {
        let x = gaussian(900, 6, shift, 6);
        let book = converged(&x, &[12, 8], normalized);
        let mut r = x.clone();
        for l in 0..2 {
            if normalized {
                normalize(&mut r);
            }
            let level = book.level(l);
            let at = level_loss(r.view(), &Centroids::new(level.clone()), 0.25).unwrap();
            let (g, s) =
                (norm(at.codebook_gradient.data().iter().copied()), scale(&r, level, &at.codes));
            assert!(g <= 1e-4 * s, "level {l}: {g:e} of {s:e}");
            assert!(norm(at.commitment_gradient.data().iter().copied()) > 1.0);
            // A step from there (GRID's rate is 1e-3) changes no code and does not lower the loss.
            let step = stepped(level, &at.codebook_gradient, 1e-3);
            let after = level_loss(r.view(), &step, 0.25).unwrap();
            assert_eq!(after.codes, at.codes);
            assert!((after.loss / at.loss - 1.0).abs() < 1e-6);
            for i in 0..r.rows() {
                let c = level.row(at.codes[i] as usize);
                r.row_mut(i).iter_mut().zip(c).for_each(|(r, c)| *r -= c);
            }
        }
    }
}

/// Away from a fixed point the gradient is large and a step along it lowers the loss.
#[test]
fn other_levels_are_not() {
    let x = gaussian(900, 6, 0.0, 6);
    let level = gaussian(12, 6, 0.0, 7);
    let at = level_loss(x.view(), &Centroids::new(level.clone()), 0.25).unwrap();
    let g = norm(at.codebook_gradient.data().iter().copied());
    assert!(g > 0.1 * scale(&x, &level, &at.codes));
    let after = level_loss(x.view(), &stepped(&level, &at.codebook_gradient, 1e-3), 0.25).unwrap();
    assert!(after.loss < 0.99 * at.loss, "{} {}", after.loss, at.loss);
}

/// `sum |r - C[c]|^2` for given codes, in f64.
fn distortion(r: &Matrix, c: &Matrix, codes: &[Code]) -> f64 {
    (0..r.rows())
        .map(|i| norm(r.row(i).iter().zip(c.row(codes[i] as usize)).map(|(r, c)| r - c)).powi(2))
        .sum()
}

#[test]
fn gradients_agree_with_differences() {
    let (r, level, beta) = (gaussian(300, 5, 0.5, 2), gaussian(7, 5, 0.0, 3), 0.25);
    let LevelLoss { loss, codes, codebook_gradient, commitment_gradient } =
        level_loss(r.view(), &Centroids::new(level.clone()), beta).unwrap();
    assert!((loss / ((1.0 + beta) * distortion(&r, &level, &codes)) - 1.0).abs() < 1e-6);
    let step = 1.0 / 128.0; // a power of two, so that little is lost in f32
    let moved = |m: &Matrix, at: usize, by: f32| {
        let mut m = m.clone();
        m.data_mut()[at] += by;
        m
    };
    // The stop-gradients: the codebook term moves only C, the commitment term only r. The codes
    // are constants: the loss is continuous where they change.
    for at in 0..level.data().len() {
        let loss = |by| distortion(&r, &moved(&level, at, by), &codes);
        let numeric = (loss(step) - loss(-step)) / f64::from(2.0 * step);
        let analytic = f64::from(codebook_gradient.data()[at]);
        assert!((numeric - analytic).abs() < 1e-4 * (1.0 + analytic.abs()), "{numeric} {analytic}");
    }
    for at in (0..r.data().len()).step_by(11) {
        let loss = |by| beta * distortion(&moved(&r, at, by), &level, &codes);
        let numeric = (loss(step) - loss(-step)) / f64::from(2.0 * step);
        let analytic = f64::from(commitment_gradient.data()[at]);
        assert!((numeric - analytic).abs() < 1e-4 * (1.0 + analytic.abs()), "{numeric} {analytic}");
    }
}

#[test]
fn threads_change_no_bit() {
    let (x, level) = (gaussian(5001, 9, 0.0, 4), Centroids::new(gaussian(33, 9, 0.0, 5)));
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| level_loss(x.view(), &level, 0.25).unwrap())
    };
    let one = with(1);
    for threads in [2, 5] {
        assert_eq!(with(threads), one);
    }
}
