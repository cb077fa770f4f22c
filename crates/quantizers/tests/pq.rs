//! Product quantization: optimality, independence of parts, determinism, bad input.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests may panic

use rand::Rng;
use sidereal_core::{Catalog, Codebook, Matrix, Quantizer, QuantizerInput, Run, Spec, seed};
use sidereal_quantizers::{
    Pq, PqCodebook, PqOptions, RqKMeans, RqKMeansOptions, load_codebook, save_codebook,
};

fn uniform(rows: usize, cols: usize, s: u64) -> Matrix {
    let mut rng = seed::stream(s, "test-data", 0);
    let data = (0..rows * cols).map(|_| rng.random_range(-1.0..1.0)).collect();
    Matrix::new(rows, cols, data).unwrap()
}

fn fit(levels: &[u32], x: &Matrix, threads: usize) -> PqCodebook {
    let options = PqOptions { levels: levels.to_vec(), ..Default::default() };
    let run = Run { threads, ..Run::quiet(3) };
    Pq::new(options).unwrap().fit_pq(&QuantizerInput::vectors(x.view()), &run).unwrap()
}

fn error(book: &dyn Codebook, x: &Matrix, levels: usize) -> f64 {
    let codes = book.quantize(&QuantizerInput::vectors(x.view())).unwrap();
    let hat = book.reconstruct(&codes, levels).unwrap();
    let square = |(a, b): (&f32, &f32)| f64::from(a - b) * f64::from(a - b);
    x.data().iter().zip(hat.data()).map(square).sum()
}

#[test]
fn a_grid_is_found_exactly_and_one_part_is_k_means() {
    // Every pair of three left and four right halves: seven centroids stand for twelve rows.
    let (left, right) = (uniform(3, 5, 1), uniform(4, 4, 2));
    let mut data = Vec::new();
    for i in 0..240 {
        data.extend_from_slice(left.row(i % 3));
        data.extend_from_slice(right.row(i / 3 % 4));
    }
    let x = Matrix::new(240, 9, data).unwrap();
    let book = fit(&[3, 4], &x, 1);
    assert!(error(&book, &x, 2) < 1e-8);
    assert!(error(&book, &x, 1) > 1.0);

    let x = uniform(500, 6, 4);
    let seed = seed::key(3, "pq-part", 0);
    let options = RqKMeansOptions { levels: vec![16], iterations: 50, ..Default::default() };
    let input = QuantizerInput::vectors(x.view());
    let plain = RqKMeans::new(options).unwrap().fit(&input, &Run::quiet(seed)).unwrap();
    let codes = plain.quantize(&input).unwrap();
    assert_eq!(fit(&[16], &x, 2).quantize(&input).unwrap(), codes);
}

#[test]
fn a_part_sees_its_own_columns_alone() {
    let x = uniform(300, 7, 5);
    let mut other = x.clone();
    for i in 0..300 {
        other.row_mut(i)[5] *= 100.0;
    }
    let codes =
        |x: &Matrix| fit(&[8, 8, 8], x, 1).quantize(&QuantizerInput::vectors(x.view())).unwrap();
    let (a, b) = (codes(&x), codes(&other));
    assert!((0..300).all(|i| a.row(i)[..2] == b.row(i)[..2]));
    assert!((0..300).any(|i| a.row(i)[2] != b.row(i)[2]));
    let left: Vec<f64> = (0..=3).map(|l| error(&fit(&[8, 8, 8], &x, 1), &x, l)).collect();
    assert!(left.windows(2).all(|w| w[1] < w[0]), "{left:?}");
}

#[test]
fn threads_change_no_byte_and_files_keep_everything() {
    let x = uniform(3000, 10, 6);
    let one = fit(&[16, 9, 4], &x, 1);
    for threads in [2, 3] {
        assert!(fit(&[16, 9, 4], &x, threads) == one);
    }
    let path = tempfile::tempdir().unwrap();
    let path = path.path().join("codebook.safetensors");
    save_codebook(&path, &one).unwrap();
    let read = load_codebook(&path).unwrap();
    let input = QuantizerInput::vectors(x.view());
    assert_eq!(read.quantize(&input).unwrap(), one.quantize(&input).unwrap());
    assert_eq!(read.widths(), [16, 9, 4]);
}

#[test]
fn degenerate_and_bad_input() {
    let one = uniform(1, 4, 1);
    assert!(error(&fit(&[1, 1], &one, 1), &one, 2) < 1e-12);
    let constant = Matrix::new(50, 2, [5.0, -5.0].repeat(50)).unwrap();
    assert!(error(&fit(&[1, 1], &constant, 1), &constant, 2) < 1e-12);

    let refused = |spec: Spec, x: &Matrix| {
        let mut catalog: Catalog<dyn Quantizer> = Catalog::new("quantizer");
        sidereal_quantizers::register(&mut catalog).unwrap();
        let input = QuantizerInput::vectors(x.view());
        let result = catalog.build(&spec, &()).and_then(|q| q.fit(&input, &Run::quiet(1)));
        result.err().expect("must be refused").to_string()
    };
    let spec = |levels: &[u32]| Spec::new("quantizer", "pq").with("levels", levels.to_vec());
    let ten = uniform(10, 2, 1);
    for (spec, part) in [
        (spec(&[]), "0 levels"),
        (spec(&[4, 0]), "level 2 has 0 codes"),
        (spec(&[4, 4, 4]), "3 parts of vectors of width 2"),
        (spec(&[4, 11]), "11 codes, but the 10 items"),
        (spec(&[4]).with("iterations", 0), "quantizer.iterations"),
        (spec(&[4]).with("start_rows", 3), "quantizer.start_rows"),
    ] {
        let message = refused(spec, &ten);
        assert!(message.contains(part), "{message}");
    }
    let mut bad = ten.clone();
    bad.row_mut(7)[1] = f32::NAN;
    assert!(refused(spec(&[4, 4]), &bad).contains("row 7"));
    assert!(refused(spec(&[1]), &Matrix::zeros(0, 2)).contains("0 vectors"));
    let book = fit(&[2, 2], &ten, 1);
    let wide = uniform(3, 5, 1);
    let message = book.quantize(&QuantizerInput::vectors(wide.view())).unwrap_err().to_string();
    assert!(message.contains("width 2, got width 5"), "{message}");
}
