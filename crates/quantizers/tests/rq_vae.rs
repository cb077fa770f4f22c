//! RQ-VAE as a whole: what it learns, determinism, files, bad input.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests may panic

use rand::Rng;
use sidereal_core::{
    Catalog, Codebook, Codes, Event, Matrix, Observer, Quantizer, QuantizerInput, Run, Spec, seed,
};
use sidereal_quantizers::rq_vae::{CodebookStart, CodebookUpdate, Estimator, InputScale};
use sidereal_quantizers::{RqVae, RqVaeCodebook, RqVaeOptions, load_codebook, save_codebook};
use std::sync::Mutex;

const ALL: [Estimator; 5] = [
    Estimator::StraightThrough,
    Estimator::ResidualPath,
    Estimator::CodePath,
    Estimator::Rotation,
    Estimator::Gumbel,
];

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

/// Rows around eight centres, row `i` at centre `i mod 8`.
fn clusters(rows: usize, cols: usize, s: u64) -> Matrix {
    let centers = gaussian(8, cols, s);
    let mut rng = seed::stream(s, "test-noise", 0);
    let mut data = Vec::new();
    for i in 0..rows {
        data.extend(centers.row(i % 8).iter().map(|c| c + 0.1 * normal(&mut rng)));
    }
    matrix(cols, data)
}

fn small() -> RqVaeOptions {
    RqVaeOptions {
        levels: vec![8, 4, 4],
        hidden: vec![24],
        latent: 8,
        epochs: 150,
        batch: 128,
        lr: 3e-3,
        ..Default::default()
    }
}

fn run(threads: usize, seed: u64) -> Run<'static> {
    Run { threads, ..Run::quiet(seed) }
}

fn fit(options: RqVaeOptions, x: &Matrix, seed: u64) -> RqVaeCodebook {
    let quantizer = RqVae::new(options).unwrap();
    quantizer.fit_rq_vae(&QuantizerInput::vectors(x.view()), &run(2, seed)).unwrap()
}

fn quantize(book: &dyn Codebook, x: &Matrix) -> Codes {
    book.quantize(&QuantizerInput::vectors(x.view())).unwrap()
}

fn error(book: &dyn Codebook, x: &Matrix, levels: usize) -> f64 {
    let hat = book.reconstruct(&quantize(book, x), levels).unwrap();
    let square = |(a, b): (&f32, &f32)| f64::from(a - b) * f64::from(a - b);
    x.data().iter().zip(hat.data()).map(square).sum::<f64>() / x.data().len() as f64
}

fn distinct(codes: &Codes) -> usize {
    let mut rows: Vec<_> = (0..codes.rows()).map(|i| codes.row(i)).collect();
    rows.sort_unstable();
    rows.dedup();
    rows.len()
}

#[test]
fn rows_of_a_cluster_share_a_code_and_clusters_do_not() {
    let x = clusters(400, 16, 5);
    for estimator in ALL {
        for codebook in [CodebookUpdate::Gradient, CodebookUpdate::Average] {
            if (estimator, codebook) == (Estimator::Gumbel, CodebookUpdate::Average) {
                continue;
            }
            let weight = if estimator == Estimator::Gumbel { 0.01 } else { 1.0 };
            let o = RqVaeOptions { estimator, codebook, weight, ..small() };
            let start = fit(RqVaeOptions { epochs: 0, ..o.clone() }, &x, 1);
            let book = fit(o, &x, 1);
            let codes = quantize(&book, &x);
            let same = (0..400).filter(|&i| codes.row(i)[0] == codes.row(i % 8)[0]).count();
            assert!(same >= 390, "{estimator:?}: {same} of 400 rows");
            let mut tuples: Vec<_> = (0..8).map(|i| codes.row(i)).collect();
            tuples.sort_unstable();
            tuples.dedup();
            assert_eq!(tuples.len(), 8, "{estimator:?}");
            let (before, after) = (error(&start, &x, 3), error(&book, &x, 3));
            assert!(after < 0.1 * before, "{estimator:?} {codebook:?}: {before} {after}");
        }
    }
}

#[test]
fn every_level_lowers_the_distortion() {
    // Eight centres, each with the same four points around it: more than one level can tell.
    let (outer, inner) = (gaussian(8, 12, 2), gaussian(4, 12, 3));
    let mut rng = seed::stream(2, "test-noise", 0);
    let mut data = Vec::new();
    for i in 0..640 {
        let both = outer.row(i % 8).iter().zip(inner.row(i / 8 % 4));
        data.extend(both.map(|(a, b)| a + 0.5 * b + 0.02 * normal(&mut rng)));
    }
    let x = matrix(12, data);
    for estimator in ALL {
        let weight = if estimator == Estimator::Gumbel { 0.01 } else { 1.0 };
        let o = RqVaeOptions { estimator, weight, levels: vec![8, 4], ..small() };
        let book = fit(o, &x, 4);
        let left: Vec<f64> = (0..=2).map(|l| error(&book, &x, l)).collect();
        assert!(left.windows(2).all(|w| w[1] < 0.95 * w[0]), "{estimator:?} {left:?}");
        // In the space of the latents too.
        let codes = quantize(&book, &x);
        let mut r = book.encode(x.view()).unwrap();
        let norm = |m: &Matrix| m.data().iter().map(|v| f64::from(v * v)).sum::<f64>();
        let mut before = norm(&r);
        for l in 0..2 {
            for i in 0..r.rows() {
                let at = codes.row(i)[l] as usize * 8;
                let q = &book.model().level(l)[at..at + 8];
                r.row_mut(i).iter_mut().zip(q).for_each(|(r, q)| *r -= q);
            }
            let now = norm(&r);
            assert!(now < before, "{estimator:?} level {l}: {now} {before}");
            before = now;
        }
    }
}

#[test]
fn rows_alone_and_together_have_the_same_codes() {
    let x = gaussian(300, 10, 3);
    let book = fit(RqVaeOptions { epochs: 5, ..small() }, &x, 2);
    let codes = quantize(&book, &x);
    assert_eq!(codes, quantize(&book, &x));
    for i in (0..300).step_by(37) {
        let one = matrix(10, x.row(i).to_vec());
        assert_eq!(quantize(&book, &one).row(0), codes.row(i));
    }
    let none = book.quantize(&QuantizerInput::vectors(Matrix::zeros(0, 10).view())).unwrap();
    assert_eq!(none.rows(), 0);
}

#[test]
fn threads_change_no_byte_and_seeds_do() {
    // Several chunks, a last one that is not full, and widths that are no multiples of 16.
    let x = gaussian(1301, 19, 7);
    for estimator in ALL {
        let average = estimator == Estimator::Rotation;
        let codebook = if average { CodebookUpdate::Average } else { CodebookUpdate::Gradient };
        let quantizer = RqVae::new(RqVaeOptions {
            estimator,
            codebook,
            levels: vec![33, 16],
            hidden: vec![150, 21],
            batch: 700,
            epochs: 3,
            restart_after: 1,
            check_every: 2,
            warmup: 2,
            ..small()
        })
        .unwrap();
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
            assert!(bits(threads, 1) == one, "{estimator:?}, {threads} threads");
        }
        assert!(bits(2, 2) != one);
    }
}

#[test]
fn files_keep_everything() {
    let x = gaussian(200, 10, 3);
    let dir = tempfile::tempdir().unwrap();
    for input in [InputScale::Raw, InputScale::Standardized] {
        let book = fit(RqVaeOptions { input, hidden: vec![20, 9], epochs: 3, ..small() }, &x, 2);
        let path = dir.path().join("codebook.safetensors");
        save_codebook(&path, &book).unwrap();
        let read = load_codebook(&path).unwrap();
        assert_eq!(read.widths(), book.widths());
        let codes = quantize(&book, &x);
        assert_eq!(quantize(&*read, &x), codes);
        assert_eq!(read.reconstruct(&codes, 2), book.reconstruct(&codes, 2));
        assert_eq!(read.reconstruct(&codes, 2).is_none(), input == InputScale::Standardized);
        assert!(read.reconstruct(&codes, 4).is_none());

        for missing in ["encoder.0.weight", "level_1", "decoder.2.bias", "inverse_deviation"] {
            let mut tensors = book.tensors();
            let before = tensors.len();
            tensors.retain(|(n, _)| n != missing);
            let result = RqVaeCodebook::from_tensors(tensors.clone());
            // A model of fewer levels is a model too; nothing else may be missing.
            let fine = missing == "level_1" || tensors.len() == before;
            assert!(fine || result.is_err(), "{missing}");
        }
        let mut more = book.tensors();
        more.push(("level_7".into(), Matrix::zeros(1, 8)));
        let message = RqVaeCodebook::from_tensors(more).err().unwrap().to_string();
        assert!(message.contains("level_7"), "{message}");
    }
}

#[test]
fn standardised_rows_ignore_the_scale_of_columns() {
    let x = clusters(200, 6, 9);
    let mut wide = x.clone();
    for i in 0..x.rows() {
        wide.row_mut(i)[2] = 1000.0 * x.row(i)[2] + 5000.0;
    }
    let o = RqVaeOptions { input: InputScale::Standardized, ..small() };
    let (a, b) = (fit(o.clone(), &x, 1), fit(o, &wide, 1));
    let first = |c: Codes| (0..200).map(|i| c.row(i)[0]).collect::<Vec<_>>();
    let (a, b) = (first(quantize(&a, &x)), first(quantize(&b, &wide)));
    let same = a.iter().zip(&b).filter(|(a, b)| a == b).count();
    assert!(same > 190, "{same}");
}

#[test]
fn unused_codes_are_restarted() {
    // All codes start near zero and the latents lie far from them: most are never chosen.
    let x = clusters(300, 8, 4);
    let o = |restart_after| RqVaeOptions {
        levels: vec![32],
        start: CodebookStart::Uniform,
        epochs: 20,
        restart_after,
        ..small()
    };
    let used = |n| {
        let codes = quantize(&fit(o(n), &x, 3), &x);
        distinct(&codes)
    };
    let (never, often) = (used(0), used(2));
    assert!(often > 2 * never, "{never} {often}");
}

#[test]
fn the_state_with_the_fewest_collisions_is_kept() {
    let x = gaussian(300, 10, 6);
    let o = |check_every| RqVaeOptions { check_every, epochs: 12, lr: 0.05, ..small() };
    for seed in 0..3 {
        let (last, best) = (fit(o(0), &x, seed), fit(o(1), &x, seed));
        assert!(distinct(&quantize(&best, &x)) >= distinct(&quantize(&last, &x)));
    }
}

#[test]
fn degenerate_vectors() {
    let one = matrix(3, vec![1.0, 2.0, 3.0]);
    let o = RqVaeOptions { levels: vec![1, 1], epochs: 300, lr: 0.01, ..small() };
    let book = fit(o.clone(), &one, 1);
    assert_eq!(quantize(&book, &one).data(), [0, 0]);
    assert!(error(&book, &one, 2) < 1e-3);
    let constant = matrix(2, [5.0, -5.0].repeat(50));
    for input in [InputScale::Raw, InputScale::Standardized] {
        let book = fit(RqVaeOptions { input, epochs: 3, ..o.clone() }, &constant, 1);
        assert_eq!(quantize(&book, &constant).data(), [0; 100]);
    }
    // Two distinct rows, many copies.
    let copies = matrix(2, [1.0, 0.0, 0.0, 1.0].repeat(30));
    let o = RqVaeOptions { levels: vec![2, 2], epochs: 5, ..small() };
    let codes = quantize(&fit(o, &copies, 1), &copies);
    assert_ne!(codes.row(0)[0], codes.row(1)[0]);
    assert!((0..60).all(|i| codes.row(i) == codes.row(i % 2)));
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
    let spec = || Spec::new("quantizer", "rq-vae");
    let four = || spec().with("levels", vec![4]).with("epochs", 2);
    let ten = gaussian(10, 2, 1);
    let cases = [
        (spec().with("levels", vec![4, 0]), "quantizer.levels", "level 2 has 0 codes"),
        (spec().with("levels", Vec::<u32>::new()), "quantizer.levels", "0 levels"),
        (spec().with("levels", vec![4, 11]), "quantizer.levels", "11 codes, but the 10 items"),
        (four().with("hidden", vec![4, 0]), "quantizer.hidden", "each at least 1"),
        (four().with("latent", 0), "quantizer.latent", "at least 1"),
        (four().with("batch", 0), "quantizer.batch", "at least 1"),
        (four().with("beta", -0.5), "quantizer.beta", "from 0"),
        (four().with("lr", -1.0), "quantizer.lr", "from 0"),
        (four().with("temperature", 0.0), "quantizer.temperature", "above 0"),
        (four().with("decay", 1.0), "quantizer.decay", "not including, 1"),
        (four().with("start_rows", 3), "quantizer.start_rows", "at least the 4 codes"),
        (four().with("estimator", "ste"), "quantizer.estimator", "`straight-through`"),
        (four().with("input", "l2"), "quantizer.input", "`standardized`"),
        (
            four().with("estimator", "gumbel").with("codebook", "average"),
            "quantizer.codebook",
            "gumbel",
        ),
        (four().with("width", 7), "quantizer.width", "known: levels"),
    ];
    for (spec, key, part) in cases {
        let message = refused(spec, &ten);
        assert!(message.contains(key) && message.contains(part), "{message}");
    }
    for bad in [f32::NAN, f32::INFINITY] {
        let mut x = ten.clone();
        x.row_mut(7)[1] = bad;
        let message = refused(four(), &x);
        assert!(message.contains("row 7") && message.contains("column 1"), "{message}");
    }
    assert!(refused(four(), &Matrix::zeros(0, 2)).contains("0 vectors"));
    assert!(refused(four(), &Matrix::zeros(5, 0)).contains("width 0"));
    // A rate that throws the weights out of range is told, not hidden.
    let message = refused(four().with("lr", 1e30).with("clip", 0.0), &ten);
    assert!(message.contains("not finite") && message.contains("quantizer.lr"), "{message}");
    let book = fit(RqVaeOptions { levels: vec![4], epochs: 1, ..small() }, &ten, 1);
    let three = gaussian(4, 3, 1);
    let other = book.quantize(&QuantizerInput::vectors(three.view())).unwrap_err();
    assert!(other.to_string().contains("width 2, got width 3"));
}

/// Keeps the losses of all epochs.
#[derive(Default)]
struct Curve(Mutex<Vec<f64>>);

impl Observer for Curve {
    fn observe(&self, event: &Event<'_>) {
        if let Event::Advanced { task: "rq-vae", numbers, .. } = event {
            let loss = numbers.iter().find(|(n, _)| *n == "loss").unwrap().1;
            self.0.lock().unwrap().push(loss);
        }
    }
}

#[test]
fn progress_is_told_and_a_stop_is_heard() {
    let x = clusters(300, 8, 1);
    let curve = Curve::default();
    let run = Run { observer: &curve, ..Run::quiet(1) };
    let quantizer = RqVae::new(small()).unwrap();
    let input = QuantizerInput::vectors(x.view());
    quantizer.fit(&input, &run).unwrap();
    let losses = curve.0.lock().unwrap().clone();
    assert_eq!(losses.len(), 150);
    assert!(losses[149] < 0.2 * losses[0], "{losses:?}");
    run.cancel.cancel();
    let result = quantizer.fit(&input, &run);
    assert!(result.err().unwrap().to_string().contains("stopped"));
}
