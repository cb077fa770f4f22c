//! Levels with bounded sizes: shares, planted clusters, identities, what new vectors get.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests may panic

use proptest::prelude::*;
use rand::Rng;
use sidereal_core::{Catalog, Codebook, Codes, Matrix, Quantizer, QuantizerInput, Run, Spec, seed};
use sidereal_quantizers::{
    Assignment, BalancedRqKMeans, BalancedRqKMeansOptions, CapacityCodebook, ConstrainedRqKMeans,
    ConstrainedRqKMeansOptions, RqKMeans, RqKMeansOptions, load_codebook, save_codebook,
};

fn gaussian(rows: usize, cols: usize, s: u64) -> Matrix {
    let mut rng = seed::stream(s, "test-data", 0);
    let normal = |_| (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
    Matrix::new(rows, cols, (0..rows * cols).map(normal).collect()).unwrap()
}

fn run(threads: usize, seed: u64) -> Run<'static> {
    Run { threads, ..Run::quiet(seed) }
}

fn balanced(levels: &[u32], x: &Matrix, run: &Run<'_>) -> CapacityCodebook {
    let o = BalancedRqKMeansOptions { levels: levels.to_vec(), ..Default::default() };
    let input = QuantizerInput::vectors(x.view());
    BalancedRqKMeans::new(o).unwrap().fit_capacity(&input, run).unwrap()
}

fn constrained(levels: &[u32], x: &Matrix, run: &Run<'_>) -> CapacityCodebook {
    let o = ConstrainedRqKMeansOptions { levels: levels.to_vec(), ..Default::default() };
    let input = QuantizerInput::vectors(x.view());
    ConstrainedRqKMeans::new(o).unwrap().fit_capacity(&input, run).unwrap()
}

fn quantize(book: &dyn Codebook, x: &Matrix) -> Codes {
    book.quantize(&QuantizerInput::vectors(x.view())).unwrap()
}

fn counts(codes: &Codes, level: usize, width: usize) -> Vec<usize> {
    let mut counts = vec![0; width];
    (0..codes.rows()).for_each(|i| counts[codes.row(i)[level] as usize] += 1);
    counts
}

/// `||x - x_hat_l||_F^2` after each number of levels.
fn left(book: &dyn Codebook, codes: &Codes, x: &Matrix) -> Vec<f64> {
    let square = |l| {
        let hat = book.reconstruct(codes, l).unwrap();
        x.data().iter().zip(hat.data()).map(|(a, b)| f64::from(a - b).powi(2)).sum()
    };
    (0..=codes.levels()).map(square).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_code_has_its_share(rows in 1usize..90, w in 1u32..9, seed in 0u64..1000, copies: bool) {
        let mut x = gaussian(rows, 3, seed);
        if copies {
            x.data_mut().iter_mut().for_each(|v| *v = v.round());
        }
        let widths = [w.min(rows as u32), 2.min(rows as u32), w.min(rows as u32)];
        for (bounded, book) in [
            (false, balanced(&widths, &x, &run(2, seed))),
            (true, constrained(&widths, &x, &run(2, seed))),
        ] {
            let codes = quantize(&book, &x);
            prop_assert_eq!(book.fitted(), Some(&codes));
            for (l, &width) in widths.iter().enumerate() {
                let mean = rows / width as usize;
                let (least, most) = if bounded {
                    (mean.saturating_sub(1).max(1), mean + 1)
                } else {
                    (mean, rows.div_ceil(width as usize))
                };
                let counts = counts(&codes, l, width as usize);
                prop_assert!(counts.iter().all(|c| (least..=most).contains(c)), "{counts:?}");
            }
            // Centroids are the means of their rows, so no level adds to the error.
            let left = left(&book, &codes, &x);
            prop_assert!(left.windows(2).all(|w| w[1] <= w[0] * (1.0 + 1e-5) + 1e-9), "{left:?}");
        }
    }
}

/// OneRec's check: K tight clusters of size w are recovered, given one first centroid a cluster.
#[test]
fn tight_clusters_are_recovered() {
    let (k, w, dim) = (8, 25, 6);
    let centers = gaussian(k, dim, 3);
    let mut x = Matrix::zeros(k * w, dim);
    let noise = gaussian(k * w, dim, 4);
    for i in 0..k * w {
        let pairs = centers.row(i % k).iter().zip(noise.row(i));
        let row: Vec<f32> = pairs.map(|(c, e)| 10.0 * c + 0.01 * e).collect();
        x.row_mut(i).copy_from_slice(&row);
    }
    let recovered = |codes: &Codes| {
        let of = |i: usize| codes.row(i)[0];
        let mut first: Vec<_> = (0..k).map(of).collect();
        first.sort_unstable();
        first.dedup();
        first.len() == k && (0..k * w).all(|i| of(i) == of(i % k))
    };
    // Spread starts put one first centroid into each cluster.
    let o = BalancedRqKMeansOptions {
        levels: vec![k as u32],
        start: sidereal_quantizers::kmeans::Start::PlusPlus,
        ..Default::default()
    };
    let input = QuantizerInput::vectors(x.view());
    let book = BalancedRqKMeans::new(o).unwrap().fit_capacity(&input, &run(1, 5)).unwrap();
    assert!(recovered(&quantize(&book, &x)));
    assert!(recovered(&quantize(&constrained(&[k as u32], &x, &run(1, 5)), &x)));
}

#[test]
fn as_many_codes_as_rows_is_a_bijection_without_residuals() {
    let x = gaussian(40, 5, 6);
    for book in [balanced(&[40, 1], &x, &run(1, 1)), constrained(&[40, 1], &x, &run(1, 1))] {
        let codes = quantize(&book, &x);
        assert!(counts(&codes, 0, 40).iter().all(|&c| c == 1));
        let left = left(&book, &codes, &x);
        assert_eq!(&left[1..], [0.0, 0.0], "{left:?}");
    }
}

/// Bounds that do not bind leave the optimum of plain k-means where it is: on well separated groups
/// of nearly equal sizes both find the same codes.
#[test]
fn bounds_that_do_not_bind_change_nothing() {
    let mut x = gaussian(120, 2, 8);
    for i in 0..120 {
        x.row_mut(i)[0] += 100.0 * (i % 4) as f32;
    }
    let book = constrained(&[4], &x, &run(1, 2));
    let o = RqKMeansOptions { levels: vec![4], tolerance: 0.0, ..Default::default() };
    let plain = RqKMeans::new(o).unwrap();
    let plain = plain.fit_residual(&QuantizerInput::vectors(x.view()), &run(1, 2)).unwrap();
    let (a, b) = (quantize(&book, &x), quantize(&plain, &x));
    for i in 0..120 {
        assert_eq!(a.row(i) == a.row(0), b.row(i) == b.row(0), "row {i}");
    }
    let (a, b) = (left(&book, &a, &x)[1], left(&plain, &b, &x)[1]);
    assert!((a / b - 1.0).abs() < 1e-5, "{a} {b}");
}

#[test]
fn new_vectors_get_the_nearest_centroids_and_files_keep_both() {
    let x = gaussian(60, 4, 9);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("book.safetensors");
    for book in [balanced(&[6, 5], &x, &run(1, 1)), constrained(&[6, 5], &x, &run(1, 1))] {
        let fitted = quantize(&book, &x);
        let nearest = quantize(book.residual(), &x);
        assert_ne!(fitted, nearest); // greedy and bounded assignments are not the nearest
        let part = Matrix::new(59, 4, x.data()[..59 * 4].to_vec()).unwrap();
        assert_eq!(quantize(&book, &part).data(), &nearest.data()[..59 * 2]);
        save_codebook(&path, &book).unwrap();
        let back = load_codebook(&path).unwrap();
        assert_eq!(quantize(back.as_ref(), &x), fitted);
        assert_eq!(quantize(back.as_ref(), &part), quantize(&book, &part));
        assert_eq!(CapacityCodebook::from_tensors(book.tensors()).unwrap(), book);
    }
    let o = BalancedRqKMeansOptions {
        levels: vec![6, 5],
        assignment: Assignment::Nearest,
        ..Default::default()
    };
    let input = QuantizerInput::vectors(x.view());
    let book = BalancedRqKMeans::new(o).unwrap().fit_capacity(&input, &run(1, 1)).unwrap();
    assert_eq!(quantize(&book, &x), quantize(book.residual(), &x));
    assert_eq!(book.fitted(), None);
    let mut tensors = balanced(&[6], &x, &run(1, 1)).tensors();
    tensors[0].1 = Matrix::zeros(3, 4); // fewer centroids than codes in use
    assert!(CapacityCodebook::from_tensors(tensors).is_err());
}

#[test]
fn threads_change_no_byte_and_seeds_do() {
    let x = gaussian(2500, 19, 7);
    for fit in [balanced, constrained] {
        let one = fit(&[12, 9], &x, &run(1, 1));
        for threads in [2, 3] {
            assert!(fit(&[12, 9], &x, &run(threads, 1)) == one, "{threads} threads");
        }
        assert!(fit(&[12, 9], &x, &run(1, 2)) != one);
    }
}

#[test]
fn degenerate_vectors() {
    let constant = Matrix::new(10, 2, [3.0, -1.0].repeat(10)).unwrap();
    let one = Matrix::new(1, 2, vec![1.0, 2.0]).unwrap();
    for fit in [balanced, constrained] {
        let book = fit(&[4, 3], &constant, &run(2, 1));
        let codes = quantize(&book, &constant);
        assert!(counts(&codes, 0, 4).iter().all(|c| (1..=3).contains(c)));
        assert_eq!(left(&book, &codes, &constant)[1..], [0.0, 0.0]);
        assert_eq!(quantize(&fit(&[1, 1], &one, &run(1, 1)), &one).data(), [0, 0]);
    }
}

#[test]
fn refused_options_and_vectors_are_named() {
    let mut catalog: Catalog<dyn Quantizer> = Catalog::new("quantizer");
    sidereal_quantizers::register(&mut catalog).unwrap();
    let mut nan = gaussian(10, 2, 1);
    nan.row_mut(4)[1] = f32::NAN;
    let ten = gaussian(10, 2, 1);
    for name in ["balanced-rq-kmeans", "constrained-rq-kmeans"] {
        let message = |key: &str, value: serde_json::Value, x: &Matrix| {
            let spec = Spec::new("quantizer", name).with(key, value);
            let input = QuantizerInput::vectors(x.view());
            let result = catalog.build(&spec, &()).and_then(|q| q.fit(&input, &Run::quiet(1)));
            result.err().expect("must be refused").to_string()
        };
        let cases = [
            ("levels", serde_json::json!([4, 11]), &ten, "there are 10 items"),
            ("levels", serde_json::json!([]), &ten, "0 levels"),
            ("levels", serde_json::json!([2]), &nan, "row 4"),
            ("iterations", 0.into(), &ten, "quantizer.iterations"),
            ("assignment", "near".into(), &ten, "nearest"),
            ("start", "x".into(), &ten, "quantizer.start"),
        ];
        for (key, value, x, part) in cases {
            let message = message(key, value, x);
            assert!(message.contains(part), "{name}: {message}");
        }
        if name == "constrained-rq-kmeans" {
            assert!(message("restarts", 0.into(), &ten).contains("quantizer.restarts"));
            assert!(message("tolerance", 1.into(), &ten).contains("quantizer.tolerance"));
        }
        let stopped = run(1, 1);
        stopped.cancel.cancel();
        let spec = Spec::new("quantizer", name).with("levels", vec![2]);
        let quantizer = catalog.build(&spec, &()).unwrap();
        let input = QuantizerInput::vectors(ten.view());
        let message = quantizer.fit(&input, &stopped).err().unwrap().to_string();
        assert!(message.contains("stopped"), "{message}");
    }
}
