//! Losses over the batch: by hand, against differences, and what they do to codes.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

use rand::Rng;
use sidereal_core::{
    Catalog, Code, Codebook, Codes, Event, Matrix, Observer, Quantizer, QuantizerInput, Run, Spec,
    seed,
};
use sidereal_nn::kernels::activation::Activation;
use sidereal_quantizers::contrastive::{
    CollaborativeAlignment, Diversity, DomainContrast, Representation, balanced_order, domain,
    prefix_sharing,
};
use sidereal_quantizers::rq_vae::{
    Auxiliary, AuxiliaryBatch, AuxiliaryGradients, EncoderForm, RqVaeModel, RqVaeShape,
};
use std::collections::BTreeMap;
use std::sync::Mutex;

fn matrix(cols: usize, data: Vec<f32>) -> Matrix {
    Matrix::new(data.len() / cols, cols, data).unwrap()
}

fn draws(rows: usize, cols: usize, s: u64) -> Matrix {
    let mut rng = seed::stream(s, "test", 0);
    matrix(cols, (0..rows * cols).map(|_| rng.random_range(-1.0..1.0)).collect())
}

fn model(latent: usize, levels: &[u32]) -> RqVaeModel {
    let mut model = RqVaeModel::new(
        RqVaeShape {
            input: 3,
            hidden: vec![4],
            latent,
            levels: levels.to_vec(),
            activation: Activation::Relu,
            decoder_activation: Activation::Relu,
            encoder: EncoderForm::Plain,
        },
        1,
    )
    .unwrap();
    for (l, &k) in levels.iter().enumerate() {
        model.set_level(l, &draws(k as usize, latent, 90 + l as u64)).unwrap();
    }
    model
}

fn gradients(rows: usize, model: &RqVaeModel) -> AuxiliaryGradients {
    let d = model.shape().latent;
    AuxiliaryGradients {
        latents: vec![0.0; rows * d],
        quantized: vec![0.0; rows * d],
        params: vec![0.0; model.params().len()],
    }
}

/// Loss and gradients of one batch whose latents and quantized latents are `z` and `hat`.
fn evaluate(
    loss: &dyn Auxiliary,
    model: &RqVaeModel,
    rows: &[u32],
    z: &Matrix,
    hat: &Matrix,
    codes: &[Code],
) -> (f64, AuxiliaryGradients) {
    let mut into = gradients(rows.len(), model);
    let (latents, quantized) = (z.view(), hat.view());
    let batch = AuxiliaryBatch { rows, latents, quantized, codes, model, key: 7 };
    (loss.evaluate(&batch, &mut into).unwrap(), into)
}

fn of_domains(labels: &[u32], u: &Matrix, tau: f32, on: Representation) -> f64 {
    let loss = DomainContrast { labels: labels.to_vec(), on, alpha: 1.0, tau };
    let rows: Vec<u32> = (0..labels.len() as u32).collect();
    let zero = Matrix::zeros(u.rows(), u.cols());
    let (z, hat) = if on == Representation::Latent { (u, &zero) } else { (&zero, u) };
    evaluate(&loss, &model(u.cols(), &[2]), &rows, z, hat, &[]).0
}

#[test]
fn domains_by_hand() {
    let same = matrix(2, [0.6, -0.8].repeat(4));
    let apart = matrix(1, vec![1.0, 3.0, -1.0, -0.2]);
    for on in [Representation::Latent, Representation::Quantized] {
        // All alike: every softmax is uniform over the three others.
        let got = of_domains(&[0, 0, 1, 1], &same, 0.3, on);
        assert!((got - 3f64.ln()).abs() < 1e-6, "{got}");
        // e1 and -e1, whatever their lengths: ln(1 + 2 e^-2).
        let got = of_domains(&[0, 0, 1, 1], &apart, 1.0, on);
        assert!((got - 0.239_545).abs() < 1e-6, "{got}");
        // Every domain once: nothing, and no NaN.
        assert_eq!(of_domains(&[0, 1, 2, 3], &same, 0.1, on), 0.0);
        // Rows without direction.
        assert!(of_domains(&[0, 0, 1], &Matrix::zeros(3, 2), 0.1, on).is_finite());
    }
}

#[test]
fn gradients_of_domains_agree_with_differences() {
    let labels = [0u32, 2, 1, 0, 0, 1, 2, 5];
    let rows = [3u32, 1, 0, 6, 2, 5, 7];
    let (model, z) = (model(3, &[2]), draws(7, 3, 4));
    let (tau, alpha) = (0.5, 0.7);
    // In f64, from the definition.
    let value = |z: &[f64]| -> f64 {
        let u: Vec<Vec<f64>> = z
            .chunks(3)
            .map(|r| {
                let n = r.iter().map(|v| v * v).sum::<f64>().sqrt();
                r.iter().map(|v| v / n).collect()
            })
            .collect();
        let s =
            |i: usize, j: usize| -> f64 { (0..3).map(|c| u[i][c] * u[j][c]).sum::<f64>() / tau };
        let label = |i: usize| labels[rows[i] as usize];
        let mut total = 0.0;
        for i in 0..7 {
            let same: Vec<usize> = (0..7).filter(|&j| j != i && label(j) == label(i)).collect();
            let sum: f64 = (0..7).filter(|&k| k != i).map(|k| s(i, k).exp()).sum();
            let terms: f64 = same.iter().map(|&j| (s(i, j).exp() / sum).ln()).sum();
            total -= if same.is_empty() { 0.0 } else { terms / same.len() as f64 };
        }
        alpha * total / 7.0
    };
    let at: Vec<f64> = z.data().iter().map(|v| f64::from(*v)).collect();
    for on in [Representation::Latent, Representation::Quantized] {
        let (alpha, tau) = (alpha as f32, tau as f32);
        let loss = DomainContrast { labels: labels.to_vec(), on, alpha, tau };
        let (got, into) = evaluate(&loss, &model, &rows, &z, &z, &[]);
        assert!((got - value(&at)).abs() < 1e-6);
        let (own, other) = match on {
            Representation::Latent => (&into.latents, &into.quantized),
            Representation::Quantized => (&into.quantized, &into.latents),
        };
        assert!(other.iter().chain(&into.params).all(|g| *g == 0.0));
        for (i, &got) in own.iter().enumerate() {
            let moved = |h: f64| {
                let mut at = at.clone();
                at[i] += h;
                value(&at)
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - f64::from(got)).abs() < 1e-5 * (1.0 + slope.abs()));
        }
    }
}

#[test]
fn gradients_of_the_alignment_agree_with_differences() {
    for own in [3usize, 5] {
        let (vectors, hat) = (draws(9, own, 2), draws(4, 3, 3));
        let mut model = model(3, &[2]);
        let loss = CollaborativeAlignment::new(&mut model, &vectors, 0.5, 2.0);
        let rows = [8u32, 0, 3, 5];
        let zero = Matrix::zeros(4, 3);
        let (got, into) = evaluate(&loss, &model, &rows, &zero, &hat, &[]);
        let slot = model.params().info("auxiliary.collaborative").map(|i| i.slot);
        assert_eq!(slot.is_some(), own != 3);
        let value = |hat: &[f64], v: &[f64]| -> f64 {
            let key = |i: usize| -> Vec<f64> {
                let c: Vec<f64> =
                    vectors.row(rows[i] as usize).iter().map(|v| f64::from(*v)).collect();
                match slot {
                    None => c,
                    Some(_) => {
                        (0..3).map(|r| (0..own).map(|j| v[r * own + j] * c[j]).sum()).collect()
                    }
                }
            };
            let s = |i: usize, j: usize| -> f64 {
                hat[i * 3..i * 3 + 3].iter().zip(key(j)).map(|(a, b)| a * b).sum::<f64>() / 2.0
            };
            let row = |i: usize| (0..4).map(|j| s(i, j).exp()).sum::<f64>().ln() - s(i, i);
            0.5 * (0..4).map(row).sum::<f64>() / 4.0
        };
        let wide = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        let hat = wide(hat.data());
        let v = slot.map_or(Vec::new(), |s| wide(s.of(model.params().values())));
        assert!((got - value(&hat, &v)).abs() < 1e-6, "{got} {}", value(&hat, &v));
        for (i, &got) in into.quantized.iter().enumerate() {
            let moved = |h: f64| {
                let mut hat = hat.clone();
                hat[i] += h;
                value(&hat, &v)
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - f64::from(got)).abs() < 1e-5);
        }
        for i in 0..v.len() {
            let moved = |h: f64| {
                let mut v = v.clone();
                v[i] += h;
                value(&hat, &v)
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            let got = slot.unwrap().of(&into.params)[i];
            assert!((slope - f64::from(got)).abs() < 1e-5);
        }
        assert!(into.latents.iter().all(|g| *g == 0.0));
    }
}

#[test]
fn gradients_of_the_diversity_agree_with_differences() {
    let mut model = model(3, &[6, 5]);
    let loss = Diversity { beta: 2.0, clusters: 2 };
    let rows: Vec<u32> = (0..8).collect();
    let codes: Vec<Code> = (0..16).map(|i| if i % 2 == 0 { i % 6 } else { i % 5 }).collect();
    let zero = Matrix::zeros(8, 3);
    let (got, into) = evaluate(&loss, &model, &rows, &zero, &zero, &codes);
    assert!(got > 0.1, "{got}");
    assert!(into.latents.iter().chain(&into.quantized).all(|g| *g == 0.0));
    let mut compared = 0;
    for l in 0..2 {
        let slot = model.level_slot(l);
        for i in slot.offset..slot.offset + slot.len {
            let before = model.params().values()[i];
            let mut moved = |h: f32| {
                model.params_mut().values_mut()[i] = before + h;
                evaluate(&loss, &model, &rows, &zero, &zero, &codes).0
            };
            let slope = (moved(5e-3) - moved(-5e-3)) / 1e-2;
            model.params_mut().values_mut()[i] = before;
            let got = f64::from(into.params[i]);
            assert!((slope - got).abs() < 1e-3 * (1.0 + slope.abs()), "{i}: {slope} {got}");
            compared += usize::from(got.abs() > 1e-3);
        }
    }
    assert!(compared > 20);
    // As many clusters as codes: no code has a partner.
    let alone = Diversity { beta: 2.0, clusters: 100 };
    assert_eq!(evaluate(&alone, &model, &rows, &zero, &zero, &codes).0, 0.0);
}

#[test]
fn shared_prefixes_by_hand() {
    let codes = Codes::new(4, 2, vec![0, 1, 0, 1, 0, 2, 5, 0]).unwrap();
    // Prefix 0 has domains 0 and 1, prefix 5 domain 1; of the pairs only (0, 1) is shared.
    assert_eq!(prefix_sharing(&codes, &[0, 1, 0, 1]), [0.5, 1.0 / 3.0]);
    assert_eq!(prefix_sharing(&codes, &[3, 3, 3, 3]), [0.0, 0.0]);
    assert_eq!(prefix_sharing(&Codes::new(0, 2, vec![]).unwrap(), &[]), [0.0, 0.0]);
}

#[test]
fn balanced_batches() {
    // 90 rows of one domain, 9 and 1 of the others.
    let labels: Vec<u32> =
        (0..100).map(|i| if i < 90 { 1 } else { u32::from(i < 99) * 2 }).collect();
    let order = balanced_order(&labels, 30, 4, 2);
    assert_eq!(order.len(), 120);
    for batch in order.chunks(30) {
        let mut counts = [0; 3];
        batch.iter().for_each(|&r| counts[labels[r as usize] as usize] += 1);
        assert_eq!(counts, [10; 3]);
        let mut large: Vec<_> = batch.iter().filter(|&&r| r < 90).collect();
        large.sort_unstable();
        large.dedup();
        assert_eq!(large.len(), 10);
    }
    assert_eq!(order, balanced_order(&labels, 30, 4, 2));
    assert_ne!(order, balanced_order(&labels, 30, 4, 3));
    assert!(balanced_order(&[], 30, 4, 3).is_empty());
    assert_eq!(balanced_order(&[0], 30, 4, 3), [0]);
    assert_eq!(
        domain::labels(&matrix(1, vec![7.0, -2.0, 7.0, 0.0, -0.0])).unwrap(),
        [2, 0, 2, 1, 1]
    );
    assert!(domain::labels(&Matrix::zeros(2, 3)).unwrap_err().to_string().contains("3 columns"));
    let nan = domain::labels(&matrix(1, vec![0.0, f32::NAN])).unwrap_err().to_string();
    assert!(nan.contains("row 1"), "{nan}");
}

/// Two domains over the same eight clusters, a little apart; row `i` is of domain `i mod 2`.
fn two_domains(rows: usize) -> (Matrix, Matrix) {
    let (centers, offset) = (draws(8, 10, 3), draws(2, 10, 4));
    let mut rng = seed::stream(5, "test-noise", 0);
    let mut data = Vec::new();
    for i in 0..rows {
        let row = centers.row(i / 2 % 8).iter().zip(offset.row(i % 2));
        data.extend(row.map(|(c, o)| c + 0.1 * o + rng.random_range(-0.1f32..0.1)));
    }
    (matrix(10, data), matrix(1, (0..rows).map(|i| (i % 2) as f32).collect()))
}

fn vae() -> serde_json::Value {
    serde_json::json!({
        "type": "rq-vae", "levels": [8, 4, 4], "hidden": [24], "latent": 8, "epochs": 60,
        "batch": 64, "lr": 3e-3,
    })
}

fn build(spec: &Spec) -> sidereal_core::Result<Box<dyn Quantizer>> {
    let mut catalog: Catalog<dyn Quantizer> = Catalog::new("quantizer");
    sidereal_quantizers::register(&mut catalog).unwrap();
    catalog.resolve(spec)?;
    catalog.build(spec, &())
}

fn contrastive() -> Spec {
    Spec::new("quantizer", "contrastive-rq-vae").with("vae", vae())
}

fn bits(book: &dyn Codebook) -> Vec<(String, Vec<u32>)> {
    let bits = |m: &Matrix| m.data().iter().map(|v| v.to_bits()).collect();
    book.tensors().iter().map(|(n, m)| (n.clone(), bits(m))).collect()
}

#[test]
fn without_weights_it_is_rq_vae_and_threads_change_no_bit() {
    let (x, labels) = two_domains(300);
    let side = BTreeMap::from([
        ("domain".to_string(), labels),
        ("collaborative".to_string(), draws(300, 5, 8)),
    ]);
    let input = QuantizerInput { vectors: x.view(), side: &side, catalogue: None };
    let fit = |spec: &Spec, threads| {
        let run = Run { threads, ..Run::quiet(3) };
        bits(&*build(spec).unwrap().fit(&input, &run).unwrap())
    };
    let plain = Spec::from_table("quantizer", vae().as_object().unwrap().clone()).unwrap();
    let off = contrastive().with("alpha", 0.0);
    assert!(fit(&off, 2) == fit(&plain, 1));
    let all = contrastive()
        .with("alpha", 0.2)
        .with("collaborative", 0.05)
        .with("diversity", 0.01)
        .with("clusters", 2)
        .with("batches", "balanced")
        .with("on", "quantized");
    let one = fit(&all, 1);
    assert!(one != fit(&off, 1));
    assert!(one.iter().all(|(n, _)| !n.contains("auxiliary")));
    assert!(fit(&all, 2) == one && fit(&all, 3) == one);
}

/// Keeps what is told of an epoch, and the numbers at the end.
#[derive(Default)]
struct Heard {
    auxiliary: Mutex<Vec<f64>>,
    shared: Mutex<Vec<f64>>,
}

impl Observer for Heard {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::Advanced { numbers, .. } => {
                let found = numbers.iter().filter(|(n, _)| *n == "auxiliary").map(|(_, v)| *v);
                self.auxiliary.lock().unwrap().extend(found);
            }
            Event::Scalars { group: "quantizer", numbers, .. } => {
                self.shared.lock().unwrap().extend(numbers.iter().map(|(_, v)| *v));
            }
            _ => {}
        }
    }
}

#[test]
fn domains_move_apart_and_share_fewer_prefixes() {
    let (x, labels) = two_domains(400);
    let side = BTreeMap::from([("domain".to_string(), labels)]);
    let input = QuantizerInput { vectors: x.view(), side: &side, catalogue: None };
    let shared = |alpha: f64, batches: &str| {
        let heard = Heard::default();
        let run = Run { observer: &heard, ..Run::quiet(1) };
        let spec = contrastive().with("alpha", alpha).with("batches", batches);
        build(&spec).unwrap().fit(&input, &run).unwrap();
        let losses = heard.auxiliary.lock().unwrap();
        assert!(alpha == 0.0 || losses[losses.len() - 1] < losses[0]);
        heard.shared.lock().unwrap().clone()
    };
    let (none, little, much) =
        (shared(0.0, "balanced"), shared(0.02, "shuffled"), shared(1.0, "shuffled"));
    assert_eq!(none.len(), 3);
    let falls = none[0] > 0.7 && much[0] < 0.5 && little[0] > much[0];
    assert!(falls, "{none:?} {little:?} {much:?}");
}

#[test]
fn collaborative_neighbours_come_together() {
    // Vectors know little of the groups that the collaborative model sees.
    let mut x = draws(240, 12, 5);
    let (groups, hint) = (draws(6, 8, 6), draws(6, 12, 9));
    for i in 0..240 {
        x.row_mut(i).iter_mut().zip(hint.row(i % 6)).for_each(|(x, h)| *x += 0.5 * h);
    }
    let mut rng = seed::stream(7, "test-noise", 0);
    let mut cf = Vec::new();
    for i in 0..240 {
        cf.extend(groups.row(i % 6).iter().map(|v| 2.0 * v + rng.random_range(-0.1f32..0.1)));
    }
    let side = BTreeMap::from([("collaborative".to_string(), matrix(8, cf))]);
    let input = QuantizerInput { vectors: x.view(), side: &side, catalogue: None };
    // Pairs of a group with one first code, as a share of all pairs with one first code.
    let pure = |weight: f64| {
        let spec = contrastive().with("alpha", 0.0).with("collaborative", weight);
        let book = build(&spec).unwrap().fit(&input, &Run::quiet(1)).unwrap();
        let codes = book.quantize(&input).unwrap();
        let (mut all, mut same) = (0.0, 0.0);
        for i in 0..240 {
            for j in 0..i {
                if codes.row(i)[0] == codes.row(j)[0] {
                    all += 1.0;
                    same += if i % 6 == j % 6 { 1.0 } else { 0.0 };
                }
            }
        }
        same / all
    };
    let (without, with) = (pure(0.0), pure(1.0));
    assert!(without < 0.4 && with > 1.5 * without, "{without} {with}");
}

#[test]
fn bad_options_and_sides_are_named() {
    let says = |spec: Spec| build(&spec).err().unwrap().to_string();
    let s = || Spec::new("quantizer", "contrastive-rq-vae");
    for (spec, parts) in [
        (s().with("alpha", -1.0), ["quantizer.alpha", "from 0"]),
        (s().with("tau", 0.0), ["quantizer.tau", "above 0"]),
        (s().with("collaborative_tau", -2.0), ["quantizer.collaborative_tau", "above 0"]),
        (s().with("clusters", 0), ["quantizer.clusters", "at least 1"]),
        (s().with("vae", "rq-kmeans"), ["quantizer.vae.type", "expected `rq-vae`"]),
        (
            s().with("vae", serde_json::json!({"type": "rq-vae", "batch": 0})),
            ["quantizer.vae.batch", "at least 1"],
        ),
    ] {
        let message = says(spec);
        assert!(parts.iter().all(|p| message.contains(p)), "{message}");
    }
    let x = draws(20, 4, 1);
    let fit = |spec: Spec, side: &BTreeMap<String, Matrix>| {
        let input = QuantizerInput { vectors: x.view(), side, catalogue: None };
        build(&spec).unwrap().fit(&input, &Run::quiet(1)).err().unwrap().to_string()
    };
    let small = || contrastive().with("vae", serde_json::json!({"type": "rq-vae", "levels": [2]}));
    assert!(fit(small(), &BTreeMap::new()).contains("`domain`"));
    let short = BTreeMap::from([("domain".to_string(), Matrix::zeros(3, 1))]);
    assert!(fit(small(), &short).contains("3 rows for 20"));
    let nan = BTreeMap::from([("collaborative".into(), matrix(1, vec![f32::NAN; 20]))]);
    let message = fit(small().with("alpha", 0.0).with("collaborative", 1.0), &nan);
    assert!(message.contains("`collaborative`") && message.contains("row 0"), "{message}");
}
