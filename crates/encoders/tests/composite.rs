//! Encoders made of encoders: smoothed, joined, aligned.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Listener, catalogue, encode};
use rand::Rng;
use serde_json::json;
use sidereal_core::seed::stream;
use sidereal_core::{
    Cancel, Catalog, EncoderInput, ItemEncoder, ItemId, Matrix, Result, Run, Sequences, Spec,
};
use sidereal_encoders::{Fused, FusedMode, FusedOptions, Fusion, register};

/// Vectors that stand already.
#[derive(Clone)]
struct Fixed(Matrix);

impl ItemEncoder for Fixed {
    fn encode(&self, _: &EncoderInput<'_>, _: &Run<'_>) -> Result<Matrix> {
        Ok(self.0.clone())
    }
}

fn all() -> Catalog<dyn ItemEncoder> {
    let mut catalog = Catalog::new("encoder");
    register(&mut catalog).unwrap();
    catalog
}

fn fuse(options: FusedOptions, parts: &[&Matrix], run: &Run<'_>) -> Result<Matrix> {
    let n = parts[0].rows();
    let build = |m: &&Matrix| Box::new(Fixed((*m).clone())) as Box<dyn ItemEncoder>;
    let fused = Fused::of(options, parts.iter().map(build).collect())?;
    encode(&fused, &catalogue(&vec!["x"; n]), run)
}

/// 320 items: semantic vectors of 8 clusters, long and wide; collaborative ones of 8 others, short
/// and narrow. Item i is of semantic cluster i mod 8 and of collaborative cluster i / 8 mod 8.
fn planted() -> [Matrix; 2] {
    let clusters = |index, width, scale: f32, of: fn(usize) -> usize| {
        let mut rng = stream(7, "composite-test", index);
        let mut value = || rng.random::<f32>() * 2.0 - 1.0;
        let centers: Vec<f32> = (0..8 * width).map(|_| value()).collect();
        let mut out = Matrix::zeros(320, width);
        for i in 0..320 {
            for k in 0..width {
                out.row_mut(i)[k] = scale * (centers[of(i) * width + k] + 0.3 * value());
            }
        }
        out
    };
    [clusters(0, 96, 20.0, |i| i % 8), clusters(1, 16, 0.1, |i| i / 8 % 8)]
}

/// Share of items whose nearest neighbour has the same label.
fn agreement(m: &Matrix, label: fn(usize) -> usize) -> f64 {
    let distance = |i: usize, j: usize| -> f32 {
        m.row(i).iter().zip(m.row(j)).map(|(a, b)| (a - b).powi(2)).sum()
    };
    let agrees = |&i: &usize| {
        let others = (0..m.rows()).filter(|&j| j != i);
        let nearest = others.min_by(|&a, &b| distance(i, a).total_cmp(&distance(i, b))).unwrap();
        label(nearest) == label(i)
    };
    (0..m.rows()).filter(agrees).count() as f64 / m.rows() as f64
}

fn aligned() -> FusedOptions {
    FusedOptions { mode: FusedMode::Aligned, epochs: 60, batch: 160, ..Default::default() }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn raw_concatenation_hears_the_semantic_half_alone() {
    let [s, c] = planted();
    let rho = |options| {
        let listener = Listener::default();
        let run = Run { seed: 1, observer: &listener, cancel: Cancel::default(), threads: 1 };
        let out = fuse(options, &[&s, &c], &run).unwrap();
        let part = |p: usize| -> f64 {
            let text = listener.text();
            let of = format!("those of part {p} ");
            let line = text.lines().find(|l| l.contains(&of)).unwrap().to_string();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        (out, [part(0), part(1)])
    };
    let (raw, [raw_s, raw_c]) = rho(FusedOptions { normalize: false, ..Default::default() });
    let (unit, [unit_s, unit_c]) = rho(FusedOptions::default());
    let (fused, [fused_t, fused_c]) = rho(aligned());
    println!("correlation of distances with semantic and collaborative parts:");
    println!(
        "raw {raw_s:.3} {raw_c:.3}, unit {unit_s:.3} {unit_c:.3}, aligned {fused_t:.3} {fused_c:.3}"
    );
    assert!(raw_s > 0.99 && raw_c < 0.2);
    assert!(unit_s > 0.4 && unit_c > 0.4);
    assert!(fused_t > 0.3 && fused_c > 0.3);
    let behaviour = |m: &Matrix| agreement(m, |i| i / 8 % 8);
    let meaning = |m: &Matrix| agreement(m, |i| i % 8);
    println!(
        "nearest neighbour of the same behaviour: raw {:.3}, aligned {:.3}; meaning {:.3}, {:.3}",
        behaviour(&raw),
        behaviour(&fused),
        meaning(&raw),
        meaning(&fused)
    );
    assert!(behaviour(&raw) < 0.4 && behaviour(&fused) > 0.8 && behaviour(&unit) > 0.8);
    assert!(meaning(&raw) > 0.9 && meaning(&fused) > 0.3);
}

#[test]
fn distances_of_halves_add_up_and_the_scale_of_a_part_is_forgotten() {
    let [s, c] = planted();
    let run = Run::quiet(3);
    let z = fuse(aligned(), &[&s, &c], &run).unwrap();
    assert_eq!(z.cols(), 32);
    for (i, j) in [(0, 1), (5, 200), (17, 319)] {
        let square: f32 = z.row(i).iter().zip(z.row(j)).map(|(a, b)| (a - b).powi(2)).sum();
        let want =
            4.0 - 2.0 * cosine(c.row(i), c.row(j)) - 2.0 * cosine(&z.row(i)[16..], &z.row(j)[16..]);
        assert!((square - want).abs() < 1e-5, "{square} {want}");
    }
    let mut large = s.clone();
    large.data_mut().iter_mut().for_each(|v| *v *= 1024.0);
    assert_eq!(fuse(aligned(), &[&large, &c], &run).unwrap(), z);
    let plain = |s: &Matrix, normalize| {
        fuse(FusedOptions { normalize, ..Default::default() }, &[s, &c], &run).unwrap()
    };
    assert_eq!(plain(&large, true), plain(&s, true));
    assert_ne!(plain(&large, false), plain(&s, false));
    // The mean of both halves.
    let mean = FusedOptions { fusion: Fusion::Mean, weights: vec![1.0, 3.0], ..aligned() };
    let mean = fuse(mean, &[&s, &c], &run).unwrap();
    for i in [0, 100] {
        for k in 0..16 {
            let want = 0.75 * z.row(i)[k] + 0.25 * z.row(i)[16 + k];
            assert!((mean.row(i)[k] - want).abs() < 1e-6);
        }
    }
    let three = Run { threads: 3, ..Run::quiet(3) };
    assert_eq!(fuse(aligned(), &[&s, &c], &three).unwrap(), z);
}

#[test]
fn weights_components_and_refusals() {
    let a = Matrix::new(3, 2, vec![3.0, 4.0, 0.0, 0.0, 5.0, 12.0]).unwrap();
    let b = Matrix::new(3, 1, vec![-2.0, 7.0, 1.0]).unwrap();
    let run = Run::quiet(1);
    let options = FusedOptions { weights: vec![1.0, 2.0], ..Default::default() };
    let got = fuse(options.clone(), &[&a, &b], &run).unwrap();
    let want = [0.6, 0.8, -2.0, 0.0, 0.0, 2.0, 5.0 / 13.0, 12.0 / 13.0, 2.0];
    assert!(got.data().iter().zip(want).all(|(x, y)| (x - y).abs() < 1e-6), "{got:?}");
    let two = fuse(FusedOptions { pca: 2, ..options.clone() }, &[&a, &b], &run).unwrap();
    // Three points span a plane: two components keep their distances.
    let distance = |m: &Matrix, i: usize, j: usize| -> f32 {
        m.row(i).iter().zip(m.row(j)).map(|(a, b)| (a - b).powi(2)).sum()
    };
    for (i, j) in [(0, 1), (0, 2), (1, 2)] {
        assert!((distance(&two, i, j) - distance(&got, i, j)).abs() < 1e-5);
    }
    let message =
        |o: FusedOptions, parts: &[&Matrix]| fuse(o, parts, &run).unwrap_err().to_string();
    let wide = FusedOptions { pca: 3, ..options.clone() };
    assert!(message(wide, &[&a, &b]).contains("encoder.pca"));
    assert!(message(options.clone(), &[&a]).contains("2 weights for 1 parts"));
    assert!(message(aligned(), &[&a, &b, &b]).contains("`aligned` takes two"));
    let none = Fused::of(FusedOptions::default(), vec![]).err().unwrap().to_string();
    assert!(none.contains("encoder.parts"), "{none}");
    let cold = FusedOptions { temperature: 0.001, ..aligned() };
    assert!(message(cold, &[&a, &b]).contains("encoder.temperature"));
    let broken = Matrix::new(3, 1, vec![0.0, f32::NAN, 1.0]).unwrap();
    assert!(message(options, &[&a, &broken]).contains("part 1"));
}

#[test]
fn by_name_with_parts_in_tables() {
    let items = catalogue(&["red shoe", "red hat", "blue hat", "blue coat"]);
    let mut train = Sequences::default();
    train.push(&[ItemId(0), ItemId(3)]);
    let input = EncoderInput { items: &items, train: &train };
    let run = Run::quiet(1);
    let build = |spec: &Spec| all().build(spec, &()).unwrap();
    let lsa = json!({"type": "lsa", "dim": 2, "min_df": 1});
    let plain = Spec::new("encoder", "lsa").with("dim", 2).with("min_df", 1);
    let plain = build(&plain).encode(&input, &run).unwrap();
    let smoothed = |alpha: f64| {
        let spec = Spec::new("encoder", "graph-smoothed").with("inner", lsa.clone());
        build(&spec.with("alpha", alpha)).encode(&input, &run).unwrap()
    };
    assert_eq!(smoothed(0.0), plain);
    let moved = smoothed(0.5);
    assert_ne!(moved.row(0), plain.row(0));
    assert_eq!((moved.row(1), moved.row(2)), (plain.row(1), plain.row(2)));
    let svd = json!({"type": "svd", "dim": 1});
    let fused = Spec::new("encoder", "fused").with("parts", json!([lsa, svd]));
    let got = build(&fused).encode(&input, &run).unwrap();
    assert_eq!((got.rows(), got.cols()), (4, 3));
    assert_eq!(got.row(1)[2], 0.0);
    let resolved = all().resolve(&fused).unwrap();
    assert_eq!(resolved["parts"][1]["power_iterations"], 6);
    let wrong = Spec::new("encoder", "fused").with("parts", json!([{"type": "lsaa"}]));
    assert!(all().build(&wrong, &()).err().unwrap().to_string().contains("did you mean `lsa`"));
    let wrong = Spec::new("encoder", "fused").with("mode", "align");
    assert!(all().build(&wrong, &()).err().unwrap().to_string().contains("encoder.mode"));
    // Only what draws numbers depends on the seed.
    let labels = json!([{"type": "labels", "column": "title"}]);
    let fused = Spec::new("encoder", "fused").with("parts", labels);
    assert!(!build(&fused).seeded() && build(&fused.clone()).files().is_empty());
}
