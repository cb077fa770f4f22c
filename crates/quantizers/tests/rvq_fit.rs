//! R-VQ as a whole: fixed points, what a level adds, determinism, bad input.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

use rand::Rng;
use sidereal_core::{Catalog, Codebook, Codes, Matrix, Quantizer, QuantizerInput, Run, Spec, seed};
use sidereal_quantizers::kmeans::Centroids;
use sidereal_quantizers::rvq::{RvqOptimizer, level_loss};
use sidereal_quantizers::{ResidualCodebook, Rvq, RvqOptions};

/// Rows around sixteen centres.
fn clusters(rows: usize, cols: usize, s: u64) -> Matrix {
    let mut rng = seed::stream(s, "test-data", 0);
    let centers: Vec<f32> = (0..16 * cols).map(|_| rng.random_range(-2.0..2.0)).collect();
    let mut data = Vec::new();
    for i in 0..rows {
        let c = &centers[i % 16 * cols..][..cols];
        data.extend(c.iter().map(|c| c + rng.random_range(-0.5f32..0.5)));
    }
    Matrix::new(rows, cols, data).unwrap()
}

fn small() -> RvqOptions {
    RvqOptions {
        levels: vec![16, 8],
        steps: 200,
        batch: 128,
        lr: 0.02,
        normalize_residuals: false,
        ..Default::default()
    }
}

fn fit(options: RvqOptions, x: &Matrix, run: &Run<'_>) -> ResidualCodebook {
    Rvq::new(options).unwrap().fit_residual(&QuantizerInput::vectors(x.view()), run).unwrap()
}

fn quantize(book: &ResidualCodebook, x: &Matrix) -> Codes {
    book.quantize(&QuantizerInput::vectors(x.view())).unwrap()
}

fn error(book: &ResidualCodebook, x: &Matrix, levels: usize) -> f64 {
    let hat = book.reconstruct(&quantize(book, x), levels).unwrap();
    let square = |(a, b): (&f32, &f32)| f64::from(a - b) * f64::from(a - b);
    x.data().iter().zip(hat.data()).map(square).sum::<f64>() / x.rows() as f64
}

#[test]
fn steps_lower_the_distortion_and_so_do_levels() {
    let x = clusters(800, 6, 1);
    for optimizer in [RvqOptimizer::Adamw, RvqOptimizer::Sgd] {
        // The sum over eight rows a code: a rate of 1 / 32 goes half of the way.
        let lr = if optimizer == RvqOptimizer::Sgd { 1.0 / 32.0 } else { 0.02 };
        let o = RvqOptions { optimizer, lr, ..small() };
        let start = fit(RvqOptions { steps: 0, ..o.clone() }, &x, &Run::quiet(2));
        let book = fit(o, &x, &Run::quiet(2));
        let left: Vec<f64> = (0..=2).map(|l| error(&book, &x, l)).collect();
        assert!(left.windows(2).all(|w| w[1] < w[0]), "{optimizer:?} {left:?}");
        assert!(left[1] < 0.9 * error(&start, &x, 1), "{optimizer:?} {left:?}");
    }
}

#[test]
fn full_batches_end_at_a_fixed_point_of_k_means() {
    // 50 rows a code and a rate of 1 / 100: every step moves a code onto the mean of its rows.
    let x = clusters(800, 6, 1);
    let o = RvqOptions {
        levels: vec![16],
        optimizer: RvqOptimizer::Sgd,
        lr: 0.008,
        batch: 800,
        ..small()
    };
    let book = fit(o.clone(), &x, &Run::quiet(2));
    let level = Centroids::new(book.level(0).clone());
    let at = level_loss(x.view(), &level, 0.25).unwrap();
    let norm = |m: &Matrix| m.data().iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let (g, size) = (norm(&at.codebook_gradient), norm(&at.commitment_gradient));
    assert!(g < 1e-3 * size, "{g} {size}");
    // Steps from there change no code, whatever the weight of the commitment.
    let more = fit(RvqOptions { steps: 220, beta: 3.0, ..o }, &x, &Run::quiet(2));
    assert_eq!(quantize(&more, &x), quantize(&book, &x));
}

#[test]
fn lower_levels_stay_and_threads_change_no_byte() {
    let x = clusters(700, 5, 3);
    let (one, two) = (RvqOptions { levels: vec![16], steps: 60, ..small() }, small());
    let first = fit(one, &x, &Run::quiet(4));
    let o = RvqOptions { steps: 120, ..two };
    let both = fit(o.clone(), &x, &Run::quiet(4));
    assert_eq!(first.level(0), both.level(0));
    for threads in [2, 5] {
        let run = Run { threads, ..Run::quiet(4) };
        assert_eq!(fit(o.clone(), &x, &run), both);
    }
    assert_ne!(fit(o, &x, &Run::quiet(5)), both);
}

#[test]
fn normalised_residuals_as_grid_has_them() {
    let x = clusters(400, 6, 5);
    let book = fit(RvqOptions { normalize_residuals: true, ..small() }, &x, &Run::quiet(1));
    let codes = quantize(&book, &x);
    assert!(book.reconstruct(&codes, 2).is_none());
    // Lengths of the vectors change nothing.
    let mut scaled = x.clone();
    scaled.data_mut().iter_mut().for_each(|v| *v *= 4.0);
    assert_eq!(quantize(&book, &scaled), codes);
}

#[test]
fn degenerate_vectors_and_bad_options() {
    let says = |spec: Spec, x: &Matrix| {
        let mut catalog: Catalog<dyn Quantizer> = Catalog::new("quantizer");
        sidereal_quantizers::register(&mut catalog).unwrap();
        let input = QuantizerInput::vectors(x.view());
        let result = catalog.build(&spec, &()).and_then(|q| q.fit(&input, &Run::quiet(1)));
        result.err().unwrap().to_string()
    };
    let x = clusters(20, 3, 1);
    let s = || Spec::new("quantizer", "rvq").with("levels", vec![4]).with("steps", 5);
    for (spec, key, part) in [
        (s().with("levels", vec![0]), "quantizer.levels", "0 codes"),
        (s().with("levels", vec![21]), "quantizer.levels", "21 codes, but the 20"),
        (s().with("batch", 0), "quantizer.batch", "at least 1"),
        (s().with("lr", -1.0), "quantizer.lr", "from 0"),
        (s().with("beta", -1.0), "quantizer.beta", "from 0"),
        (s().with("start_rows", 2), "quantizer.start_rows", "4"),
        (s().with("optimizer", "adam"), "quantizer.optimizer", "`adamw`"),
        (s().with("optimizer", "sgd").with("lr", 1e38), "not finite", "lower quantizer.lr"),
    ] {
        let message = says(spec, &x);
        assert!(message.contains(key) && message.contains(part), "{message}");
    }
    let nan = Matrix::new(2, 1, vec![1.0, f32::NAN]).unwrap();
    assert!(says(s(), &nan).contains("row 1"));
    assert!(says(s(), &Matrix::zeros(0, 2)).contains("0 vectors"));
    let constant = Matrix::new(30, 2, [3.0, -4.0].repeat(30)).unwrap();
    let o = RvqOptions { levels: vec![1, 1], steps: 10, ..small() };
    for normalize_residuals in [true, false] {
        let book = fit(RvqOptions { normalize_residuals, ..o.clone() }, &constant, &Run::quiet(1));
        assert_eq!(quantize(&book, &constant).data(), [0; 60]);
    }
}
