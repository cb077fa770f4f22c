//! Optimized product quantization: orthogonality, descent, the limiting case, determinism.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests may panic

use rand::Rng;
use sidereal_core::{Codebook, Matrix, QuantizerInput, Run, seed};
use sidereal_quantizers::{
    Opq, OpqCodebook, OpqOptions, Pq, PqCodebook, PqOptions, RotationStart, load_codebook,
    save_codebook,
};

/// Rows whose columns hang together: the first half has all the variance, mixed over neighbours.
fn correlated(rows: usize, cols: usize) -> Matrix {
    let mut rng = seed::stream(5, "opq-data", 0);
    let mut data = Vec::with_capacity(rows * cols);
    for _ in 0..rows {
        let free: Vec<f32> = (0..cols).map(|_| rng.random_range(-1.0..1.0)).collect();
        data.extend((0..cols).map(|j| {
            let scale = if j < cols / 2 { 3.0 } else { 0.3 };
            scale * (free[j] + 0.7 * free[j / 2])
        }));
    }
    Matrix::new(rows, cols, data).unwrap()
}

fn fit(
    x: &Matrix,
    levels: &[u32],
    start: RotationStart,
    rotations: u32,
    threads: usize,
) -> OpqCodebook {
    let options = OpqOptions { levels: levels.to_vec(), start, rotations, ..Default::default() };
    let run = Run { threads, ..Run::quiet(3) };
    Opq::new(options).unwrap().fit_opq(&QuantizerInput::vectors(x.view()), &run).unwrap()
}

fn pq(x: &Matrix, levels: &[u32]) -> PqCodebook {
    let options = PqOptions { levels: levels.to_vec(), ..Default::default() };
    let input = QuantizerInput::vectors(x.view());
    Pq::new(options).unwrap().fit_pq(&input, &Run::quiet(3)).unwrap()
}

fn error(book: &dyn Codebook, x: &Matrix) -> f64 {
    let codes = book.quantize(&QuantizerInput::vectors(x.view())).unwrap();
    let hat = book.reconstruct(&codes, codes.levels()).unwrap();
    let square = |(a, b): (&f32, &f32)| f64::from(a - b) * f64::from(a - b);
    x.data().iter().zip(hat.data()).map(square).sum::<f64>() / x.rows() as f64
}

#[test]
fn the_rotation_is_orthogonal_and_the_distortion_below_that_of_pq() {
    let x = correlated(1500, 12);
    let levels = [16, 16, 16];
    let plain = error(&pq(&x, &levels), &x);
    for start in [RotationStart::Identity, RotationStart::Balanced] {
        let book = fit(&x, &levels, start, 20, 1);
        let r = book.rotation();
        for i in 0..12 {
            for j in 0..12 {
                let dot: f64 =
                    (0..12).map(|k| f64::from(r.row(k)[i]) * f64::from(r.row(k)[j])).sum();
                let want = f64::from(u8::from(i == j));
                assert!((dot - want).abs() < 1e-5, "{start:?} {i} {j}: {dot}");
            }
        }
        let got = error(&book, &x);
        assert!(got < 0.9 * plain, "{start:?}: {got}, pq {plain}");
    }
    // More turns never make it worse than the start they share.
    let errors: Vec<f64> =
        [0, 1, 5, 20].map(|n| error(&fit(&x, &levels, RotationStart::Identity, n, 1), &x)).into();
    assert!(errors.windows(2).all(|w| w[1] <= w[0] * (1.0 + 1e-3)), "{errors:?}");
}

#[test]
fn without_turns_the_identity_is_pq() {
    let x = correlated(400, 7);
    let book = fit(&x, &[8, 8], RotationStart::Identity, 0, 2);
    let plain = pq(&x, &[8, 8]);
    assert_eq!(*book.pq(), plain);
    let input = QuantizerInput::vectors(x.view());
    let codes = book.quantize(&input).unwrap();
    assert_eq!(codes, plain.quantize(&input).unwrap());
    for levels in 0..=2 {
        assert_eq!(book.reconstruct(&codes, levels), plain.reconstruct(&codes, levels));
    }
    assert!(book.reconstruct(&codes, 3).is_none());
}

#[test]
fn a_hidden_rotation_is_found() {
    // Two independent coordinates of a few values each, turned by 30 degrees: after the turn back
    // 2 x 3 centroids stand for all rows exactly.
    let (sin, cos) = (0.5f32, 0.75f32.sqrt());
    let data: Vec<f32> = (0..300)
        .flat_map(|i| {
            let (a, b) = ([-1.0, 1.0][i % 2], [-2.0, 0.0, 2.5][i / 2 % 3]);
            [cos * a - sin * b, sin * a + cos * b]
        })
        .collect();
    let x = Matrix::new(300, 2, data).unwrap();
    let plain = error(&pq(&x, &[2, 3]), &x);
    let best = [RotationStart::Identity, RotationStart::Balanced]
        .map(|start| error(&fit(&x, &[2, 3], start, 100, 1), &x));
    assert!(plain > 0.1 && best.iter().any(|e| *e < 1e-6), "{plain} {best:?}");
}

#[test]
fn threads_change_no_byte_and_files_keep_everything() {
    let x = correlated(5000, 9);
    let one = fit(&x, &[16, 8], RotationStart::Balanced, 4, 1);
    for threads in [2, 3] {
        assert!(fit(&x, &[16, 8], RotationStart::Balanced, 4, threads) == one);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("codebook.safetensors");
    save_codebook(&path, &one).unwrap();
    let input = QuantizerInput::vectors(x.view());
    let back = load_codebook(&path).unwrap();
    assert_eq!(back.quantize(&input).unwrap(), one.quantize(&input).unwrap());
}

#[test]
fn degenerate_and_bad_input() {
    for x in [
        Matrix::new(1, 4, vec![1.0, -2.0, 0.5, 9.0]).unwrap(),
        Matrix::new(30, 3, vec![2.5; 90]).unwrap(),
    ] {
        for start in [RotationStart::Identity, RotationStart::Balanced] {
            assert!(error(&fit(&x, &[1, 1], start, 3, 1), &x) < 1e-8);
        }
    }
    let x = correlated(50, 4);
    let refused = |options: OpqOptions, x: &Matrix| {
        let input = QuantizerInput::vectors(x.view());
        let fitted = Opq::new(options).and_then(|q| q.fit_opq(&input, &Run::quiet(1)));
        fitted.unwrap_err().to_string()
    };
    let with = |levels: &[u32]| OpqOptions { levels: levels.to_vec(), ..Default::default() };
    assert!(refused(with(&[]), &x).contains("quantizer.levels"));
    assert!(refused(with(&[2; 5]), &x).contains("5 parts of vectors of width 4"));
    assert!(refused(with(&[51]), &x).contains("51 codes, but the 50 items"));
    let mut bad = x.clone();
    bad.row_mut(7)[1] = f32::NAN;
    assert!(refused(with(&[2]), &bad).contains("row 7"));
    let book = fit(&x, &[4, 4], RotationStart::Balanced, 1, 1);
    let wide = correlated(3, 5);
    let message = book.quantize(&QuantizerInput::vectors(wide.view())).unwrap_err().to_string();
    assert!(message.contains("width 4, got width 5"), "{message}");
    let skewed = Matrix::new(4, 4, vec![1.0; 16]).unwrap();
    assert!(OpqCodebook::new(skewed, book.pq().clone()).is_err());
}
