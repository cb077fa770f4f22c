//! One test for all quantizers: whatever is registered must pass.
//!
//! Options are the defaults, made small by their names (`levels`, `epochs`, `hidden`, ...), so a new
//! quantizer joins by being registered. Every one gets the side inputs `domain` and `collaborative`
//! and a catalogue with histories. Vectors are the text embeddings of Amazon Beauty where they are at
//! hand, otherwise a mixture of Gaussians.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests may panic

mod inputs;

use inputs::{Given, real_or_mixture, uniform};
use serde_json::{Map, Value, json};
use sidereal_core::{
    Catalog, Category, Codebook, Codes, Error, Matrix, Quantizer, QuantizerInput, Result, Run, Spec,
};
use sidereal_quantizers::{load_codebook, register, save_codebook};
use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

fn catalog() -> Catalog<dyn Quantizer> {
    let mut catalog = Catalog::new("quantizer");
    register(&mut catalog).unwrap();
    catalog
}

fn names() -> Vec<String> {
    catalog().entries().map(|e| e.name.clone()).collect()
}

/// How large the codebooks are made.
#[derive(Clone, Copy, PartialEq)]
enum Size {
    /// Several codes a level.
    Small,
    /// One code a level, where widths are an option.
    One,
}

/// The defaults of a quantizer, made small.
fn spec(name: &str, size: Size) -> Spec {
    Spec { options: small(&catalog(), name, size), ..Spec::new("quantizer", name) }
}

fn small(catalog: &Catalog<dyn Quantizer>, name: &str, size: Size) -> Map<String, Value> {
    let width = if size == Size::Small { 16 } else { 1 };
    let table = |inner: &Value| {
        let name = inner.as_str().unwrap_or_else(|| inner["type"].as_str().unwrap());
        let mut table = small(catalog, name, size);
        table.insert("type".into(), name.into());
        Value::Object(table)
    };
    let mut options = Map::new();
    for option in &catalog.get(name).unwrap().options {
        let value = match (option.name, &option.default) {
            // Quantizers inside: those of the default, made small.
            (_, inner) if option.ty.replace(' ', "") == "Inner" => table(inner),
            // One level in every group, so that codes of reconstructions are known.
            ("parts", _) => json!(vec![json!({"type": "rq-kmeans", "levels": [width]}); 4]),
            (_, Value::Array(inner)) if option.ty.replace(' ', "") == "Vec<Inner>" => {
                inner.iter().map(table).collect()
            }
            // Values of a latent's dimensions, which have no smaller form.
            ("levels", _) if name.ends_with("fsq") => continue,
            ("levels", _) => json!([width, width, width]),
            ("hidden", Value::Array(_)) => json!([32]),
            ("graph_epochs", _) => json!(3),
            // A normal start needs more epochs than there are here.
            ("start", _) if name == "sim-vq" => json!("k-means"),
            ("latent" | "code_width", _) => json!(8),
            ("epochs", _) => json!(40),
            ("steps", _) => json!(120),
            ("batch", _) => json!(256),
            ("rotations", _) => json!(3),
            _ => continue,
        };
        options.insert(option.name.into(), value);
    }
    options
}

fn fit(spec: &Spec, x: &Given, threads: usize) -> Result<Box<dyn Codebook>> {
    let run = Run { threads, ..Run::quiet(5) };
    catalog().build(spec, &())?.fit(&x.input(), &run)
}

/// Mean squared distance of a row to what its first codes stand for.
fn distortion(book: &dyn Codebook, codes: &Codes, levels: usize, x: &Matrix) -> Option<f64> {
    let hat = book.reconstruct(codes, levels)?;
    assert_eq!((hat.rows(), hat.cols()), (x.rows(), x.cols()));
    assert!(hat.view().first_not_finite().is_none());
    let square = |(a, b): (&f32, &f32)| f64::from(a - b) * f64::from(a - b);
    Some(x.data().iter().zip(hat.data()).map(square).sum::<f64>() / x.rows() as f64)
}

#[test]
fn every_level_lowers_the_distortion_and_codes_are_in_range() {
    let x = real_or_mixture(1500);
    let mut silent = Vec::new();
    for name in names() {
        let book = fit(&spec(&name, Size::Small), &x, 2).unwrap_or_else(|e| panic!("{name}: {e}"));
        let codes = book.quantize(&x.input()).unwrap();
        let levels = codes.levels();
        assert_eq!((codes.rows(), levels), (1500, book.widths().len()), "{name}");
        check_range(&name, book.as_ref(), &codes);
        let all: Option<Vec<f64>> =
            (0..=levels).map(|l| distortion(book.as_ref(), &codes, l, &x.vectors)).collect();
        let Some(all) = all else {
            silent.push(name);
            continue;
        };
        println!("{name}: {all:.4?}");
        // Levels that a network decodes may help the one after; a thousandth is left for them.
        let falls = all.windows(2).all(|w| w[1] <= w[0] * 1.001);
        assert!(falls && all[levels] < 0.9 * all[0], "{name}: {all:?}");
        assert!(book.reconstruct(&codes, levels + 1).is_none(), "{name}");
    }
    println!("without vectors: {silent:?}");
    assert!(silent.iter().any(|n| n == "random"));
}

/// Codes below their widths; [`Codes::NONE`] behind the last code of a row only.
fn check_range(name: &str, book: &dyn Codebook, codes: &Codes) {
    for i in 0..codes.rows() {
        let sid = codes.sid(i);
        assert!(!sid.is_empty(), "{name}: row {i} has no code");
        assert!(sid.iter().zip(book.widths()).all(|(c, w)| c < w), "{name}: row {i}: {sid:?}");
    }
}

/// What quantizing a reconstruction gives.
#[derive(Debug, PartialEq)]
enum Again {
    /// The same codes: every code is the nearest of the vector that it stands for.
    Same,
    /// The same first code: `C_0[c]` is its own nearest centroid. A sum of centroids of several
    /// levels may lie nearer to another first centroid, so the rest may differ.
    First,
    /// Anything: the decoder is no inverse of the encoder, or codes stand for no vectors.
    Open,
}

fn again(name: &str) -> Again {
    match name {
        "pq" | "opq" | "grouped" => Again::Same,
        "rq-kmeans"
        | "balanced-rq-kmeans"
        | "constrained-rq-kmeans"
        | "hierarchical-kmeans"
        | "residual" => Again::First,
        _ => Again::Open,
    }
}

#[test]
fn codes_of_what_codes_stand_for() {
    let x = real_or_mixture(1500);
    for name in names() {
        let book = fit(&spec(&name, Size::Small), &x, 2).unwrap();
        let codes = book.quantize(&x.input()).unwrap();
        let levels = if again(&name) == Again::Same { codes.levels() } else { 1 };
        let Some(hat) = book.reconstruct(&codes, levels) else {
            assert_eq!(again(&name), Again::Open, "{name} stands for no vectors");
            continue;
        };
        let second = book.quantize(&QuantizerInput { vectors: hat.view(), ..x.input() }).unwrap();
        let same = (0..1500).filter(|&i| codes.row(i)[..levels] == second.row(i)[..levels]).count();
        println!("{name}: {same} of 1500 have the same first {levels}");
        if again(&name) != Again::Open {
            assert_eq!(same, 1500, "{name}");
        }
    }
}

#[test]
fn a_seed_gives_the_same_bytes_with_1_2_and_3_threads() {
    let x = real_or_mixture(900);
    let dir = tempfile::tempdir().unwrap();
    for name in names() {
        let spec = spec(&name, Size::Small);
        let made = |threads: usize| {
            let book = fit(&spec, &x, threads).unwrap();
            let path = dir.path().join(format!("{name}-{threads}.safetensors"));
            save_codebook(&path, book.as_ref()).unwrap();
            (fs::read(&path).unwrap(), book.quantize(&x.input()).unwrap())
        };
        let one = made(1);
        for threads in [1, 2, 3] {
            assert!(made(threads) == one, "{name} with {threads} threads");
        }
    }
}

#[test]
fn files_give_the_same_codebook_back() {
    let x = real_or_mixture(300);
    let dir = tempfile::tempdir().unwrap();
    for name in names() {
        let book = fit(&spec(&name, Size::Small), &x, 2).unwrap();
        let path = |n: &str| dir.path().join(format!("{name}-{n}.safetensors"));
        save_codebook(&path("a"), book.as_ref()).unwrap();
        let back = load_codebook(&path("a")).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(back.widths(), book.widths(), "{name}");
        let codes = book.quantize(&x.input()).unwrap();
        assert_eq!(back.quantize(&x.input()).unwrap(), codes, "{name}");
        for levels in 0..=codes.levels() {
            let both = [&book, &back].map(|b| b.reconstruct(&codes, levels));
            assert_eq!(both[0], both[1], "{name}");
        }
        save_codebook(&path("b"), back.as_ref()).unwrap();
        assert!(fs::read(path("a")).unwrap() == fs::read(path("b")).unwrap(), "{name}");
        // A missing tensor is an error that names the file, never a panic.
        for left_out in 0..book.tensors().len() {
            save_codebook(&path("c"), &Without { book: book.as_ref(), left_out }).unwrap();
            if let Err(error) = load_codebook(&path("c")) {
                assert!(error.to_string().contains("-c.safetensors"), "{name}: {error}");
            }
        }
    }
}

/// A codebook whose file lacks one tensor.
struct Without<'a> {
    book: &'a dyn Codebook,
    left_out: usize,
}

impl Codebook for Without<'_> {
    fn widths(&self) -> &[u32] {
        self.book.widths()
    }
    fn quantize(&self, input: &QuantizerInput<'_>) -> Result<Codes> {
        self.book.quantize(input)
    }
    fn reconstruct(&self, codes: &Codes, levels: usize) -> Option<Matrix> {
        self.book.reconstruct(codes, levels)
    }
    fn tensors(&self) -> Vec<(String, Matrix)> {
        let mut tensors = self.book.tensors();
        tensors.remove(self.left_out);
        tensors
    }
}

/// Longest that a fit on a few rows may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fits on a thread of its own: a panic or a hang is a failure of that quantizer alone.
fn guarded(name: &str, spec: Spec, x: &Given, what: &str) -> Result<(), Error> {
    let (send, receive) = mpsc::channel();
    let (x, name_there) = (x.clone(), name.to_string());
    thread::spawn(move || {
        let outcome = fit(&spec, &x, 1).and_then(|book| {
            let codes = book.quantize(&x.input())?;
            check_range(&name_there, book.as_ref(), &codes);
            if let Some(hat) = book.reconstruct(&codes, codes.levels()) {
                assert!(hat.view().first_not_finite().is_none(), "{name_there}: not finite");
            }
            Ok(())
        });
        let _ = send.send(outcome);
    });
    match receive.recv_timeout(PATIENCE) {
        Ok(outcome) => outcome,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{name} on {what}: hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => panic!("{name} on {what}: panics"),
    }
}

#[test]
fn degenerate_vectors_give_codes_or_a_clear_error() {
    let flat_column = {
        let mut x = uniform(60, 10, 1);
        (0..60).for_each(|i| x.row_mut(i)[3..7].fill(2.0));
        x
    };
    let twice = {
        let half = uniform(30, 10, 2);
        Matrix::new(60, 10, half.data().repeat(2)).unwrap()
    };
    let huge = {
        let mut x = uniform(60, 10, 3);
        x.data_mut().iter_mut().for_each(|v| *v *= 1e12);
        x
    };
    let cases = [
        ("constant vectors", Matrix::new(60, 10, vec![0.5; 600]).unwrap()),
        ("zeros", Matrix::zeros(60, 10)),
        ("fewer points than codes", uniform(7, 10, 4)),
        ("duplicates", twice),
        ("columns without variance", flat_column),
        ("huge numbers", huge),
        ("one item", uniform(1, 10, 5)),
    ];
    for name in names() {
        for (what, vectors) in &cases {
            let x = Given::new(vectors.clone());
            // One code a level is always possible where widths are an option.
            let one = guarded(&name, spec(&name, Size::One), &x, what);
            one.unwrap_or_else(|e| panic!("{name} on {what} with one code a level: {e}"));
            match guarded(&name, spec(&name, Size::Small), &x, what) {
                Ok(()) => {}
                Err(error) => {
                    let clear = matches!(error.category(), Category::Config | Category::Data);
                    assert!(clear, "{name} on {what}: {error}");
                    println!("{name} on {what}: {error}");
                }
            }
        }
        for bad in [f32::NAN, f32::INFINITY] {
            let mut vectors = uniform(60, 10, 6);
            vectors.row_mut(41)[2] = bad;
            let outcome = guarded(&name, spec(&name, Size::Small), &Given::new(vectors), "NaN");
            match outcome {
                Err(error) => assert!(error.to_string().contains("row 41"), "{name}: {error}"),
                Ok(()) => assert_eq!(name, "random", "{name} takes {bad}"), // reads no vectors
            }
        }
        let none = guarded(&name, spec(&name, Size::Small), &Given::new(Matrix::zeros(0, 10)), "");
        assert!(none.is_err() || name == "random", "{name} takes no vectors at all");
    }
}

#[test]
fn what_was_fitted_refuses_other_vectors() {
    let x = real_or_mixture(200);
    for name in names() {
        let book = fit(&spec(&name, Size::Small), &x, 1).unwrap();
        let narrow = Given::new(uniform(4, x.vectors.cols() - 1, 7));
        let refused = book.quantize(&narrow.input());
        assert!(refused.is_err() || name == "random", "{name}");
        let mut bad = x.vectors.clone();
        bad.row_mut(17)[0] = f32::NAN;
        let input = QuantizerInput { vectors: bad.view(), ..x.input() };
        match book.quantize(&input) {
            Err(error) => assert!(error.to_string().contains("row 17"), "{name}: {error}"),
            Ok(_) => assert_eq!(name, "random"),
        }
        // No rows: no codes.
        let none = Given::new(Matrix::zeros(0, x.vectors.cols()));
        assert_eq!(book.quantize(&none.input()).unwrap().rows(), 0, "{name}");
    }
}
