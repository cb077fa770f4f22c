//! Forms of the RQ-VAE: balanced codes, phases, kept states, linear codebooks, the start from
//! another quantizer.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

use rand::Rng;
use serde_json::json;
use sidereal_core::{
    Catalog, Codebook, Codes, Event, Matrix, Observer, Quantizer, QuantizerInput, Run, Spec, seed,
};
use sidereal_quantizers::rq_vae::{CodebookStart, CodebookUpdate, Keep, Schedule};
use sidereal_quantizers::{
    RqKMeans, RqKMeansOptions, RqVae, RqVaeCodebook, RqVaeOptions, load_codebook, save_codebook,
};
use std::sync::Mutex;

fn draws(rows: usize, cols: usize, s: u64) -> Matrix {
    let mut rng = seed::stream(s, "test", 0);
    let mut draw = || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
    Matrix::new(rows, cols, (0..rows * cols).map(|_| draw()).collect()).unwrap()
}

fn small() -> RqVaeOptions {
    RqVaeOptions {
        levels: vec![8, 4, 4],
        hidden: vec![24],
        latent: 8,
        epochs: 60,
        batch: 128,
        lr: 3e-3,
        ..Default::default()
    }
}

fn fit(options: RqVaeOptions, x: &Matrix, run: &Run<'_>) -> RqVaeCodebook {
    RqVae::new(options).unwrap().fit_rq_vae(&QuantizerInput::vectors(x.view()), run).unwrap()
}

fn quantize(book: &dyn Codebook, x: &Matrix) -> Codes {
    book.quantize(&QuantizerInput::vectors(x.view())).unwrap()
}

fn error(book: &dyn Codebook, x: &Matrix, levels: usize) -> f64 {
    let hat = book.reconstruct(&quantize(book, x), levels).unwrap();
    let square = |(a, b): (&f32, &f32)| f64::from(a - b) * f64::from(a - b);
    x.data().iter().zip(hat.data()).map(square).sum::<f64>() / x.data().len() as f64
}

fn used(codes: &Codes, level: usize) -> usize {
    let mut seen: Vec<_> = (0..codes.rows()).map(|i| codes.row(i)[level]).collect();
    seen.sort_unstable();
    seen.dedup();
    seen.len()
}

fn bits(book: &dyn Codebook) -> Vec<(String, Vec<u32>)> {
    let bits = |m: &Matrix| m.data().iter().map(|v| v.to_bits()).collect();
    book.tensors().iter().map(|(n, m)| (n.clone(), bits(m))).collect()
}

fn build(spec: &Spec) -> sidereal_core::Result<Box<dyn Quantizer>> {
    let mut catalog: Catalog<dyn Quantizer> = Catalog::new("quantizer");
    sidereal_quantizers::register(&mut catalog).unwrap();
    catalog.resolve(spec)?;
    catalog.build(spec, &())
}

fn says(spec: Spec, x: &Matrix) -> String {
    let input = QuantizerInput::vectors(x.view());
    build(&spec).and_then(|q| q.fit(&input, &Run::quiet(1))).err().unwrap().to_string()
}

#[test]
fn balanced_training_uses_codes_that_would_die() {
    // All codes start near zero, far from the latents.
    let x = draws(300, 8, 4);
    let o = |sinkhorn: Vec<f64>| RqVaeOptions {
        levels: vec![32, 8],
        start: CodebookStart::Uniform,
        epochs: 30,
        sinkhorn,
        ..small()
    };
    let on = |epsilon, threads| {
        let run = Run { threads, ..Run::quiet(3) };
        fit(o(vec![epsilon, 0.0]), &x, &run)
    };
    let (off, with) = (on(0.0, 1), on(0.003, 1));
    let (off, codes) = (used(&quantize(&off, &x), 0), used(&quantize(&with, &x), 0));
    assert!(codes > 20 && codes > off + 5, "{off} {codes}");
    assert!(bits(&on(0.003, 2)) == bits(&with) && bits(&on(0.003, 3)) == bits(&with));
    let every = fit(o(vec![0.003]), &x, &Run::quiet(3));
    let each = fit(o(vec![0.003, 0.003]), &x, &Run::quiet(3));
    assert!(bits(&every) == bits(&each) && bits(&every) != bits(&with));
}

#[test]
fn levels_one_after_the_other() {
    let x = draws(400, 10, 6);
    for codebook in [CodebookUpdate::Gradient, CodebookUpdate::Average, CodebookUpdate::Linear] {
        let o = |epochs, weight_decay| RqVaeOptions {
            schedule: Schedule::LayerWise,
            levels: vec![8, 6],
            codebook,
            epochs,
            weight_decay,
            ..small()
        };
        // The second epoch is the second level's: the first level stays as the first epoch left it.
        let (one, two) = (fit(o(1, 0.1), &x, &Run::quiet(2)), fit(o(2, 0.1), &x, &Run::quiet(2)));
        assert_eq!(one.model().level(0), two.model().level(0), "{codebook:?}");
        assert_ne!(one.model().level(1), two.model().level(1));
        let start = fit(o(0, 0.1), &x, &Run::quiet(2));
        assert_eq!(start.model().level(1), one.model().level(1));
        let book = fit(o(80, 0.0), &x, &Run::quiet(2));
        let left: Vec<f64> = (0..=2).map(|l| error(&book, &x, l)).collect();
        assert!(left[2] < left[1] && left[1] < left[0], "{codebook:?} {left:?}");
        let again = fit(o(80, 0.0), &x, &Run { threads: 3, ..Run::quiet(2) });
        assert!(bits(&book) == bits(&again));
    }
}

/// Losses and collisions of all epochs.
#[derive(Default)]
struct Curve(Mutex<Vec<[f64; 2]>>);

impl Observer for Curve {
    fn observe(&self, event: &Event<'_>) {
        if let Event::Advanced { task: "rq-vae", numbers, .. } = event {
            let find =
                |name| numbers.iter().find(|(n, _)| *n == name).map_or(f64::NAN, |(_, v)| *v);
            self.0.lock().unwrap().push([find("loss"), find("collisions")]);
        }
    }
}

#[test]
fn the_state_to_keep() {
    let x = draws(200, 10, 7);
    let fit = |keep, check_every, epochs| {
        let curve = Curve::default();
        let run = Run { observer: &curve, ..Run::quiet(3) };
        let o = RqVaeOptions { keep, check_every, epochs, lr: 0.03, ..small() };
        let book = fit(o, &x, &run);
        (bits(&book), quantize(&book, &x), curve.0.into_inner().unwrap())
    };
    let (last, _, curve) = fit(Keep::Last, 1, 12);
    assert!(last == fit(Keep::Collisions, 0, 12).0);
    let first_least = |column: usize| {
        (0..12).fold(0, |b, i| if curve[i][column] < curve[b][column] { i } else { b })
    };
    let (loss, collisions) = (first_least(0), first_least(1));
    assert!(collisions != 11 || loss != 11, "{curve:?}");
    assert!(fit(Keep::Loss, 1, 12).0 == fit(Keep::Last, 0, loss as u32 + 1).0);
    let (kept, codes, _) = fit(Keep::Collisions, 1, 12);
    assert!(kept == fit(Keep::Last, 0, collisions as u32 + 1).0);
    let mut rows: Vec<_> = (0..200).map(|i| codes.row(i)).collect();
    rows.sort_unstable();
    rows.dedup();
    assert!(((200 - rows.len()) as f64 / 200.0 - curve[collisions][1]).abs() < 1e-9);
}

#[test]
fn linear_codebooks_are_the_frozen_one_times_a_matrix() {
    let x = draws(300, 6, 8);
    let spec = |epochs: u32| {
        let vae = json!({"type": "rq-vae", "levels": [16, 9], "hidden": [12], "latent": 3,
            "epochs": epochs, "batch": 64, "lr": 5e-3});
        Spec::new("quantizer", "sim-vq").with("vae", vae)
    };
    let input = QuantizerInput::vectors(x.view());
    let fit = |epochs, threads| {
        let run = Run { threads, ..Run::quiet(5) };
        build(&spec(epochs)).unwrap().fit(&input, &run).unwrap()
    };
    let (before, after) = (fit(0, 1), fit(40, 1));
    assert!(bits(&*after) == bits(&*fit(40, 3)));
    let level = |book: &dyn Codebook, l: usize| {
        let name = format!("level_{l}");
        book.tensors().into_iter().find(|(n, _)| *n == name).unwrap().1
    };
    for (l, k) in [(0, 16), (1, 9)] {
        let (c, moved) = (level(&*before, l), level(&*after, l));
        assert!(c.data().iter().zip(moved.data()).all(|(a, b)| a != b)); // no code stays behind
        // W from the first three rows, by Cramer's rule; then it must explain all others.
        let m = |i: usize, j: usize| f64::from(c.row(i)[j]);
        let det = |a: [[f64; 3]; 3]| {
            a[0][0] * (a[1][1] * a[2][2] - a[1][2] * a[2][1])
                - a[0][1] * (a[1][0] * a[2][2] - a[1][2] * a[2][0])
                + a[0][2] * (a[1][0] * a[2][1] - a[1][1] * a[2][0])
        };
        let base: [[f64; 3]; 3] = std::array::from_fn(|i| std::array::from_fn(|j| m(i, j)));
        let w = |i: usize, j: usize| {
            let mut a = base;
            (0..3).for_each(|r| a[r][i] = f64::from(moved.row(r)[j]));
            det(a) / det(base)
        };
        for row in 3..k {
            for j in 0..3 {
                let want: f64 = (0..3).map(|i| m(row, i) * w(i, j)).sum();
                let got = f64::from(moved.row(row)[j]);
                assert!((want - got).abs() < 1e-3 * (1.0 + want.abs()), "{want} {got}");
            }
        }
    }
    let hit = error(&*after, &x, 2) / error(&*before, &x, 2);
    assert!(hit < 0.9, "{hit}");
    assert!(after.tensors().iter().all(|(n, _)| !n.contains("auxiliary")));
}

#[test]
fn a_residual_quantizer_to_start_from() {
    let x = draws(300, 6, 9);
    let input = QuantizerInput::vectors(x.view());
    let levels = json!([8, 4, 4]);
    let spec = |epochs: u32| {
        let start = json!({"type": "rq-kmeans", "levels": levels});
        let vae = json!({"type": "rq-vae", "hidden": [20], "epochs": epochs, "batch": 64});
        Spec::new("quantizer", "rq-kmeans-plus").with("start", start).with("vae", vae)
    };
    let run = Run::quiet(4);
    let o = RqKMeansOptions { levels: vec![8, 4, 4], ..Default::default() };
    let k_means = RqKMeans::new(o).unwrap().fit_residual(&input, &run).unwrap();
    // At the start z = x and codes are those of the nearest centroids.
    let start = build(&spec(0)).unwrap().fit(&input, &run).unwrap();
    assert_eq!(quantize(&*start, &x), quantize(&k_means, &x));
    for l in 0..3 {
        let name = format!("level_{l}");
        let tensors = start.tensors();
        let level = &tensors.iter().find(|(n, _)| *n == name).unwrap().1;
        assert_eq!(level, k_means.level(l));
    }
    // The same from constrained k-means, whose own codes are bounded: the nearest ones count.
    let bounded = || Spec::new("quantizer", "constrained-rq-kmeans").with("levels", vec![8, 4, 4]);
    let nearest = build(&bounded().with("assignment", "nearest")).unwrap();
    let nearest = nearest.fit(&input, &run).unwrap();
    let table = json!({"type": "constrained-rq-kmeans", "levels": levels});
    let plus = build(&spec(0).with("start", table)).unwrap().fit(&input, &run).unwrap();
    assert_eq!(quantize(&*plus, &x), quantize(&*nearest, &x));
    // Training keeps most codes: the rate is small.
    let book = build(&spec(30)).unwrap().fit(&input, &run).unwrap();
    let (a, b) = (quantize(&*book, &x), quantize(&k_means, &x));
    let same = (0..300).filter(|&i| a.row(i)[0] == b.row(i)[0]).count();
    assert!((200..=300).contains(&same) && bits(&*book) != bits(&*start), "{same}");
    assert!(error(&*book, &x, 3) < error(&*start, &x, 3));
    let threads = Run { threads: 3, ..Run::quiet(4) };
    assert!(bits(&*build(&spec(30)).unwrap().fit(&input, &threads).unwrap()) == bits(&*book));
    // Files keep the form of the encoder.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("codebook.safetensors");
    save_codebook(&path, &*book).unwrap();
    let read = load_codebook(&path).unwrap();
    assert_eq!(quantize(&*read, &x), a);
    assert_eq!(read.reconstruct(&a, 2), book.reconstruct(&a, 2));

    let s = || spec(1);
    for (spec, key, part) in [
        (s().with("start", "pq"), "quantizer.start", "residual"),
        (s().with("start", "rq-kmans"), "rq-kmeans", "did you mean"),
        (s().with("start", json!({"type": "rvq", "levels": [4]})), "quantizer.start", "normalise"),
        (s().with("lr", -1.0), "quantizer.lr", "from 0"),
        (
            s().with("vae", json!({"type": "rq-vae", "input": "standardized"})),
            "quantizer.vae.input",
            "raw",
        ),
        (
            s().with("vae", json!({"type": "rq-vae", "schedule": "layer-wise"})),
            "quantizer.vae.schedule",
            "joint",
        ),
        (
            s().with("vae", json!({"type": "rq-vae", "hiden": [3]})),
            "quantizer.vae.hiden",
            "did you mean `hidden`",
        ),
    ] {
        let spec = if key == "quantizer.start" && part == "residual" {
            spec.with("start", json!({"type": "pq", "levels": [4, 4]}))
        } else {
            spec
        };
        let message = says(spec, &x);
        assert!(message.contains(key) && message.contains(part), "{message}");
    }
}

#[test]
fn bad_options_are_named() {
    let x = draws(10, 2, 1);
    let s = || Spec::new("quantizer", "rq-vae").with("levels", vec![4, 4]).with("epochs", 1);
    for (spec, key, part) in [
        (s().with("sinkhorn", vec![-0.1]), "quantizer.sinkhorn", "from 0"),
        (s().with("sinkhorn", vec![0.1, 0.1, 0.1]), "quantizer.sinkhorn", "each of the 2 levels"),
        (s().with("sinkhorn", Vec::<f64>::new()), "quantizer.sinkhorn", "one finite number"),
        (s().with("sinkhorn_iterations", 0), "quantizer.sinkhorn_iterations", "at least 1"),
        (
            s().with("sinkhorn", vec![0.1]).with("estimator", "gumbel"),
            "quantizer.sinkhorn",
            "gumbel",
        ),
        (
            s().with("codebook", "linear").with("restart_after", 1),
            "quantizer.restart_after",
            "linear",
        ),
        (s().with("schedule", "layers"), "quantizer.schedule", "`layer-wise`"),
        (s().with("keep", "best"), "quantizer.keep", "`collisions`"),
    ] {
        let message = says(spec, &x);
        assert!(message.contains(key) && message.contains(part), "{message}");
    }
}
