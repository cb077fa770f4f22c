//! Residual k-means as a whole: identities, optimality on tiny sets, determinism, bad input.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests may panic

use rand::Rng;
use sidereal_core::{Catalog, Codebook, Codes, Matrix, Quantizer, QuantizerInput, Run, Spec, seed};
use sidereal_quantizers::{
    ResidualCodebook, ResidualScale, RqKMeans, RqKMeansOptions, kmeans::Start, rq_kmeans::Method,
};

fn matrix(cols: usize, data: Vec<f32>) -> Matrix {
    Matrix::new(data.len() / cols, cols, data).unwrap()
}

/// About normal: the sum of twelve uniform draws.
fn normal(rng: &mut impl Rng) -> f32 {
    (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0
}

fn gaussian(rows: usize, cols: usize, s: u64) -> Matrix {
    let mut rng = seed::stream(s, "test-data", 0);
    matrix(cols, (0..rows * cols).map(|_| normal(&mut rng)).collect())
}

fn exact() -> RqKMeansOptions {
    RqKMeansOptions { iterations: 500, tolerance: 0.0, ..Default::default() }
}

fn run(threads: usize, seed: u64) -> Run<'static> {
    Run { threads, ..Run::quiet(seed) }
}

fn fit(options: RqKMeansOptions, x: &Matrix, seed: u64) -> ResidualCodebook {
    let quantizer = RqKMeans::new(options).unwrap();
    quantizer.fit_residual(&QuantizerInput::vectors(x.view()), &run(2, seed)).unwrap()
}

fn quantize(book: &ResidualCodebook, x: &Matrix) -> Codes {
    book.quantize(&QuantizerInput::vectors(x.view())).unwrap()
}

fn square(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|v| f64::from(v) * f64::from(v)).sum()
}

/// `||x - x_hat_l||_F^2` after each number of levels.
fn residuals(book: &ResidualCodebook, x: &Matrix) -> Vec<f64> {
    let codes = quantize(book, x);
    let left = |l| {
        let hat = book.reconstruct(&codes, l).unwrap();
        square(x.data().iter().zip(hat.data()).map(|(a, b)| a - b))
    };
    (0..=book.len()).map(left).collect()
}

#[test]
fn vectors_are_the_sum_of_centroids_and_the_last_residual() {
    let x = gaussian(700, 10, 1);
    let book = fit(RqKMeansOptions { levels: vec![16, 8, 4], ..exact() }, &x, 3);
    let codes = quantize(&book, &x);
    let hat = book.reconstruct(&codes, 3).unwrap();
    for i in 0..x.rows() {
        let mut r = x.row(i).to_vec();
        for (l, &code) in codes.row(i).iter().enumerate() {
            // The code is the nearest centroid, by distances written out.
            let distance =
                |k: usize| square(book.level(l).row(k).iter().zip(&r).map(|(c, v)| c - v));
            let best = (0..book.level(l).rows()).map(distance).fold(f64::INFINITY, f64::min);
            assert!(distance(code as usize) <= best + 1e-4);
            r.iter_mut().zip(book.level(l).row(code as usize)).for_each(|(v, c)| *v -= c);
        }
        for d in 0..x.cols() {
            assert!((x.row(i)[d] - hat.row(i)[d] - r[d]).abs() < 1e-5);
        }
    }
    // Converged: every level leaves no more than it found.
    let left = residuals(&book, &x);
    assert!(left.windows(2).all(|w| w[1] <= w[0]), "{left:?}");
    assert!(left[3] < 0.75 * left[0], "{left:?}");
}

#[test]
fn eight_gaussian_clusters_are_the_codes_of_the_first_level() {
    let (rows, dim) = (200, 16);
    let centers = gaussian(8, dim, 5);
    let mut rng = seed::stream(5, "test-noise", 0);
    let mut data = Vec::new();
    for i in 0..rows {
        data.extend(centers.row(i % 8).iter().map(|c| c + 0.1 * normal(&mut rng)));
    }
    let x = matrix(dim, data);
    for normalize_residuals in [false, true] {
        for method in [Method::Lloyd, Method::MiniBatch] {
            let levels = vec![8, 4];
            let o = RqKMeansOptions { levels, method, normalize_residuals, ..exact() };
            for seed in 0..5 {
                let codes = quantize(&fit(o.clone(), &x, seed), &x);
                for i in 0..rows {
                    assert_eq!(codes.row(i)[0], codes.row(i % 8)[0], "row {i}");
                }
                let mut first: Vec<_> = (0..8).map(|i| codes.row(i)[0]).collect();
                first.sort_unstable();
                assert_eq!(first, (0..8).collect::<Vec<u32>>());
            }
        }
    }
}

/// Smallest distortion over all ways to put the rows into `k` groups.
fn exhaustive(x: &Matrix, k: usize) -> f64 {
    let n = x.rows();
    let mut best = f64::INFINITY;
    for code in 0..k.pow(n as u32 - 1) {
        let group = |i: usize| if i == 0 { 0 } else { code / k.pow(i as u32 - 1) % k };
        let mut sum = 0.0;
        for g in 0..k {
            let rows: Vec<_> = (0..n).filter(|&i| group(i) == g).collect();
            for d in 0..x.cols() {
                let v: Vec<f64> = rows.iter().map(|&i| f64::from(x.row(i)[d])).collect();
                let mean = v.iter().sum::<f64>() / v.len().max(1) as f64;
                sum += v.iter().map(|a| (a - mean) * (a - mean)).sum::<f64>();
            }
        }
        best = best.min(sum);
    }
    best
}

#[test]
fn tiny_sets_reach_the_exhaustive_optimum() {
    for (s, k) in [(1, 2), (2, 3), (3, 3), (4, 2)] {
        let x = gaussian(8, 2, s);
        let best = exhaustive(&x, k);
        let o = RqKMeansOptions { levels: vec![k as u32], ..exact() };
        let got: Vec<f64> =
            (0..20).map(|seed| residuals(&fit(o.clone(), &x, seed), &x)[1]).collect();
        assert!(got.iter().all(|d| *d >= best * (1.0 - 1e-5)), "{best} {got:?}");
        let low = got.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(low <= best * (1.0 + 1e-5), "{best} {got:?}");
    }
}

#[test]
fn the_spread_start_keeps_its_promise() {
    // Arthur and Vassilvitskii: the mean start is within 8 (ln k + 2) of the optimum.
    let (x, k) = (gaussian(8, 2, 9), 3);
    let best = exhaustive(&x, k);
    let mean = |start| {
        let o = RqKMeansOptions {
            levels: vec![k as u32],
            method: Method::MiniBatch,
            iterations: 1,
            batch: 1, // one row moves one centroid at most onto it, and costs little
            start,
            start_candidates: 1,
            ..Default::default()
        };
        (0..200).map(|s| residuals(&fit(o.clone(), &x, s), &x)[1]).sum::<f64>() / 200.0
    };
    assert!(mean(Start::PlusPlus) <= 8.0 * ((k as f64).ln() + 2.0) * best);
    assert!(mean(Start::PlusPlus) < mean(Start::Random));
}

#[test]
fn lloyd_never_raises_the_distortion() {
    let x = gaussian(1500, 8, 2);
    for start in [Start::PlusPlus, Start::Random] {
        let left = |iterations| {
            let o = RqKMeansOptions { levels: vec![40], iterations, start, ..exact() };
            residuals(&fit(o, &x, 4), &x)[1]
        };
        let curve: Vec<f64> = (1..15).map(left).collect();
        assert!(curve.windows(2).all(|w| w[1] <= w[0] * (1.0 + 1e-6)), "{curve:?}");
        assert!(curve[13] < curve[0]);
    }
}

#[test]
fn converged_centroids_are_the_means_of_their_rows() {
    let x = gaussian(900, 4, 6);
    let book = fit(RqKMeansOptions { levels: vec![12], ..exact() }, &x, 1);
    let codes = quantize(&book, &x);
    for k in 0..12 {
        let rows: Vec<_> = (0..900).filter(|&i| codes.row(i)[0] == k).collect();
        assert!(!rows.is_empty());
        for d in 0..4 {
            let mean =
                rows.iter().map(|&i| f64::from(x.row(i)[d])).sum::<f64>() / rows.len() as f64;
            assert!((f64::from(book.level(0).row(k as usize)[d]) - mean).abs() < 1e-5);
        }
    }
}

/// The gradient of `sum ||r - C[c]||^2` in the codebook is `2 sum (C[c] - r)`: at a converged level
/// it is zero, and a step along it changes no code.
#[test]
fn a_converged_level_is_a_fixed_point_of_the_gradient() {
    let x = gaussian(900, 4, 6);
    let book = fit(RqKMeansOptions { levels: vec![12], ..exact() }, &x, 1);
    let codes = quantize(&book, &x);
    let mut gradient = Matrix::zeros(12, 4);
    for i in 0..900 {
        let k = codes.row(i)[0] as usize;
        for d in 0..4 {
            gradient.row_mut(k)[d] += 2.0 * (book.level(0).row(k)[d] - x.row(i)[d]);
        }
    }
    assert!(gradient.data().iter().all(|g| g.abs() < 1e-3), "{gradient:?}");
    let mut stepped = book.level(0).clone();
    stepped.data_mut().iter_mut().zip(gradient.data()).for_each(|(c, g)| *c -= 1e-3 * g);
    let stepped = ResidualCodebook::new(vec![stepped], ResidualScale::Raw).unwrap();
    assert_eq!(quantize(&stepped, &x), codes);
}

#[test]
fn mini_batches_come_near_lloyd() {
    let x = gaussian(6000, 8, 8);
    let with = |method, iterations| {
        let levels = vec![32, 32];
        let o = RqKMeansOptions { levels, method, iterations, batch: 512, ..Default::default() };
        *residuals(&fit(o, &x, 1), &x).last().unwrap()
    };
    let (lloyd, batches) = (with(Method::Lloyd, 0), with(Method::MiniBatch, 60));
    assert!(batches < 1.05 * lloyd, "{batches} {lloyd}");
}

#[test]
fn threads_change_no_byte_and_seeds_do() {
    // Several chunks, a last one that is not full, and a width that is no multiple of 16.
    let x = gaussian(9001, 19, 7);
    for (method, normalize_residuals) in
        [(Method::Lloyd, false), (Method::Lloyd, true), (Method::MiniBatch, true)]
    {
        let levels = vec![33, 16];
        let iterations = 6;
        let o = RqKMeansOptions { levels, method, iterations, normalize_residuals, ..exact() };
        let quantizer = RqKMeans::new(o).unwrap();
        let input = QuantizerInput::vectors(x.view());
        let bits = |threads, seed| {
            let book = quantizer.fit(&input, &run(threads, seed)).unwrap();
            let bits = |m: &Matrix| m.data().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            let tensors: Vec<_> =
                book.tensors().iter().map(|(n, m)| (n.clone(), bits(m))).collect();
            (tensors, book.quantize(&input).unwrap())
        };
        let one = bits(1, 1);
        for threads in [2, 3, 5] {
            assert!(bits(threads, 1) == one, "{threads} threads");
        }
        assert!(bits(2, 2) != one);
    }
}

#[test]
fn dead_codes_are_revived() {
    // All starts fall on the heavy point but one; the far points then need codes of their own.
    let mut data = vec![0.0f32; 4000];
    data.extend([100.0, 200.0, 300.0]);
    let x = matrix(1, data);
    let o = |dead: &str| {
        let spec = Spec::new("quantizer", "rq-kmeans")
            .with("levels", vec![4])
            .with("start", "random")
            .with("start_rows", 0)
            .with("dead", dead);
        let mut catalog: Catalog<dyn Quantizer> = Catalog::new("quantizer");
        sidereal_quantizers::register(&mut catalog).unwrap();
        let quantizer = catalog.build(&spec, &()).unwrap();
        let input = QuantizerInput::vectors(x.view());
        let book = quantizer.fit(&input, &Run::quiet(1)).unwrap();
        let codes = book.quantize(&input).unwrap();
        let hat = book.reconstruct(&codes, 1).unwrap();
        square(x.data().iter().zip(hat.data()).map(|(a, b)| a - b))
    };
    assert!(o("farthest") < 1e-6);
    assert!(o("keep") > 1000.0);
}

#[test]
fn degenerate_vectors() {
    let one = matrix(3, vec![1.0, 2.0, 3.0]);
    let book = fit(RqKMeansOptions { levels: vec![1, 1], ..exact() }, &one, 1);
    assert_eq!(book.level(0).data(), one.data());
    assert_eq!(residuals(&book, &one), [14.0, 0.0, 0.0]);

    let constant = matrix(2, [5.0, -5.0].repeat(50));
    let book = fit(RqKMeansOptions { levels: vec![1, 1], ..exact() }, &constant, 1);
    assert_eq!(residuals(&book, &constant)[1], 0.0);

    // Two distinct rows, many copies: the second level starts from residuals that are all zero.
    for normalize_residuals in [false, true] {
        for method in [Method::Lloyd, Method::MiniBatch] {
            let copies = matrix(2, [1.0, 0.0, 0.0, 1.0].repeat(30));
            let o = RqKMeansOptions { levels: vec![2, 2], method, normalize_residuals, ..exact() };
            let codes = quantize(&fit(o, &copies, 1), &copies);
            assert_ne!(codes.row(0)[0], codes.row(1)[0]);
            assert!((0..60).all(|i| codes.row(i) == codes.row(i % 2)));
        }
    }
    let zeros = Matrix::zeros(4, 3);
    let o = RqKMeansOptions { levels: vec![1], normalize_residuals: true, ..exact() };
    assert_eq!(quantize(&fit(o, &zeros, 1), &zeros).data(), [0; 4]);
}

fn refused(spec: Spec, x: &Matrix) -> String {
    let mut catalog: Catalog<dyn Quantizer> = Catalog::new("quantizer");
    sidereal_quantizers::register(&mut catalog).unwrap();
    let input = QuantizerInput::vectors(x.view());
    let result = catalog.build(&spec, &()).and_then(|q| q.fit(&input, &Run::quiet(1)));
    result.err().expect("must be refused").to_string()
}

#[test]
fn bad_options_and_vectors_are_named() {
    let spec = || Spec::new("quantizer", "rq-kmeans");
    let ten = gaussian(10, 2, 1);
    let cases = [
        (spec().with("levels", vec![4, 0]), "quantizer.levels", "level 2 has 0 codes"),
        (spec().with("levels", Vec::<u32>::new()), "quantizer.levels", "0 levels"),
        (spec().with("levels", 256), "quantizer.levels", "Vec<u32>"),
        (spec().with("levels", vec![4, 11]), "quantizer.levels", "11 codes, but the 10 items"),
        (spec().with("levels", vec![4, 11]), "quantizer.levels", "allowed: 1 to 10"),
        (spec().with("method", "loyd"), "quantizer.method", "`lloyd` or `mini-batch`"),
        (spec().with("start", "kmeans"), "quantizer.start", "k-means++"),
        (spec().with("batch", 0), "quantizer.batch", "at least 1"),
        (spec().with("tolerance", 1.0), "quantizer.tolerance", "from 0"),
        (spec().with("start_rows", 7), "quantizer.start_rows", "at least 256"),
        (spec().with("widths", 7), "quantizer.widths", "known: levels"),
    ];
    for (spec, key, part) in cases {
        let message = refused(spec, &ten);
        assert!(message.contains(key) && message.contains(part), "{message}");
    }
    let four = || spec().with("levels", vec![4]);
    let copies = matrix(2, [1.0, 0.0, 0.0, 1.0, -0.0, 1.0].repeat(30));
    let message = refused(four(), &copies);
    assert!(message.contains("90 items have 2 distinct"), "{message}");
    for bad in [f32::NAN, f32::INFINITY] {
        let mut x = ten.clone();
        x.row_mut(7)[1] = bad;
        let message = refused(four(), &x);
        assert!(message.contains("row 7") && message.contains("column 1"), "{message}");
    }
    let mut x = ten.clone();
    x.row_mut(3)[0] = 1e30;
    assert!(refused(four(), &x).contains("row 3"));
    assert!(refused(four(), &Matrix::zeros(0, 2)).contains("0 vectors"));
    assert!(refused(four(), &Matrix::zeros(5, 0)).contains("width 0"));
}

#[test]
fn a_stop_is_heard() {
    let run = run(1, 1);
    run.cancel.cancel();
    let x = gaussian(300, 4, 1);
    for method in [Method::Lloyd, Method::MiniBatch] {
        let o = RqKMeansOptions { levels: vec![8], method, ..exact() };
        let quantizer = RqKMeans::new(o).unwrap();
        let result = quantizer.fit(&QuantizerInput::vectors(x.view()), &run);
        assert!(result.err().unwrap().to_string().contains("stopped"));
    }
}
