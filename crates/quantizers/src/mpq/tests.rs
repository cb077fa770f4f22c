//! Checks of the reconstruction: limiting cases, hand-made balances, gradients against differences.

use super::*;
use crate::autoencoder::Bottleneck;
use crate::rq_vae::{
    BatchRows, CodebookUpdate, EncoderForm, Estimator, RqVaeLoss, RqVaeModel, RqVaeShape, RqVaeStep,
};
use crate::{Pq, PqOptions};
use rand::Rng;
use sidereal_core::{Code, Matrix};
use sidereal_nn::kernels::activation::Activation;

const LOSS: MpqLoss = MpqLoss { beta: 0.25, balance: 0.3, diversity: 0.2 };

fn uniform(n: usize, index: u64) -> Vec<f32> {
    let mut rng = seed::stream(9, "mpq-test", index);
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Experts that are slices of the vector and gates that are sure: product quantization.
#[test]
fn hard_gates_on_slices_are_product_quantization() {
    let (d, parts, c) = (6, 3, 2);
    let x = Matrix::new(200, d, uniform(200 * d, 0)).unwrap();
    let input = QuantizerInput::vectors(x.view());
    let options = PqOptions { levels: vec![8, 4, 16], ..Default::default() };
    let pq = Pq::new(options).unwrap().fit_pq(&input, &Run::quiet(3)).unwrap();
    let row = |data: Vec<f32>| Matrix::new(1, data.len(), data).unwrap();
    let outputs = parts * c + parts * parts;
    let mut encoder = Matrix::zeros(outputs, d);
    (0..d).for_each(|i| encoder.row_mut(i)[i] = 1.0);
    let mut bias = vec![0.0; outputs];
    (0..parts).for_each(|m| bias[parts * c + m * parts + m] = 50.0);
    let mut decoder = Matrix::zeros(d, d);
    (0..d).for_each(|i| decoder.row_mut(i)[i] = 1.0);
    let mut tensors = vec![
        ("mpq".to_string(), row(vec![3.0, 1.0, 2.0, 8.0, 4.0, 16.0])),
        ("encoder.0.weight".into(), encoder),
        ("encoder.0.bias".into(), row(bias)),
        ("decoder.0.weight".into(), decoder),
        ("decoder.0.bias".into(), row(vec![0.0; d])),
        ("center.mean".into(), row(vec![0.0; d])),
        ("center.scale".into(), row(vec![1.0])),
        ("mean".into(), row(vec![0.0; d])),
    ];
    for (m, part) in pq.parts().iter().enumerate() {
        tensors.push((format!("codebook_{m}"), part.level(0).clone()));
    }
    let book = MpqCodebook::from_tensors(tensors).unwrap();
    let codes = book.quantize(&input).unwrap();
    assert_eq!(codes, pq.quantize(&input).unwrap());
    for levels in 0..=3 {
        assert_eq!(book.reconstruct(&codes, levels), pq.reconstruct(&codes, levels));
    }
}

#[test]
fn balance_is_1_for_even_routing_and_n_for_one_expert() {
    let experts = Experts::new(&[2], 4, 1, 1, LOSS).unwrap();
    let mut slopes = Vec::new();
    let hot = |e: usize| (0..4).map(move |i| if i == e { 1.0f32 } else { 0.0 });
    let even: Vec<f32> = (0..12).flat_map(|i| hot(i % 4)).collect();
    assert!((experts.balance(&even, &mut slopes) - 1.0).abs() < 1e-6);
    let one: Vec<f32> = (0..12).flat_map(|_| hot(2)).collect();
    assert!((experts.balance(&one, &mut slopes) - 4.0).abs() < 1e-6);
    // All of F is on expert 2: a gate there costs N_e / pairs.
    assert!((slopes[2] - 4.0 / 12.0).abs() < 1e-6 && slopes[0] == 0.0);
}

/// One codebook and one expert: the loss and the gradients of an RQ-VAE of one level.
#[test]
fn one_codebook_is_a_plain_vq_autoencoder() {
    let (d, hidden, c, k, n) = (5, 7, 3, 6, 90);
    let x = uniform(n * d, 1);
    let shape = RqVaeShape {
        input: d,
        hidden: vec![hidden],
        latent: c,
        levels: vec![k as u32],
        activation: Activation::Relu,
        decoder_activation: Activation::Relu,
        encoder: EncoderForm::Plain,
    };
    let mut plain = RqVaeModel::new(shape, 4).unwrap();
    plain.set_level(0, &Matrix::new(k, c, uniform(k * c, 2)).unwrap()).unwrap();
    let loss = MpqLoss { balance: 0.0, ..LOSS };
    let experts = Experts::new(&[k as u32], 1, 1, c as u32, loss).unwrap();
    let mut network = Autoencoder::new(experts, d, &[hidden], 4);
    let name = |theirs: &str| theirs.replace("level_0", "codebook_0");
    let slots: Vec<_> = (plain.params().infos().iter())
        .map(|info| (info.slot, network.params().info(&name(&info.name)).unwrap().slot))
        .collect();
    network.update(|values| {
        for (from, to) in &slots {
            // The last layer of the trunk has one output more: the gate, which is always 1.
            let from = from.of(plain.params().values());
            to.of_mut(values)[..from.len()].copy_from_slice(from);
        }
    });
    let mut step = RqVaeStep::new(&plain);
    let theirs = RqVaeLoss {
        beta: LOSS.beta,
        weight: 1.0,
        estimator: Estimator::StraightThrough,
        temperature: 1.0,
        codebook: CodebookUpdate::Gradient,
    };
    let want = step.run(&plain, BatchRows::all(&x, d), theirs, 0).unwrap();
    let (got, grads) = network.loss_and_gradients(&x);
    assert!((got - want.total()).abs() < 1e-6, "{got} {}", want.total());
    for (from, to) in &slots {
        let pairs = from.of(step.grads()).iter().zip(&to.of(&grads)[..from.len]);
        pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-6, "{a} {b}"));
    }
}

/// What the choices hold fixed: codes, their vectors, the mixed experts, the mixtures.
struct Fixed {
    codes: Vec<Code>,
    open: Vec<bool>,
    mixed: Vec<f64>,
    books: Vec<Vec<f64>>,
}

/// Mixtures and gates of all rows, in f64; `z` rows of experts and logits.
fn mixtures(z: &[f64], open: &[bool], count: usize, n: usize, c: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut mixed, mut gates) = (Vec::new(), Vec::new());
    for (i, row) in z.chunks(n * (c + count)).enumerate() {
        for m in 0..count {
            let logit = |e: usize| row[n * (c + m) + e];
            let is_open = |e: usize| open[(i * count + m) * n + e];
            let weight = |e: usize| if is_open(e) { logit(e).exp() } else { 0.0 };
            let sum: f64 = (0..n).map(weight).sum();
            gates.extend((0..n).map(|e| weight(e) / sum));
            let g = &gates[(i * count + m) * n..];
            mixed.extend((0..c).map(|j| (0..n).map(|e| g[e] * row[e * c + j]).sum::<f64>()));
        }
    }
    (mixed, gates)
}

#[test]
fn gradients_are_differences_of_the_terms_written_out() {
    let (levels, n, c, rows) = ([4u32, 5, 3], 4usize, 2usize, 9usize);
    let count = levels.len();
    let mut experts = Experts::new(&levels, n as u32, 2, c as u32, LOSS).unwrap();
    let mut params = sidereal_nn::Params::new(1);
    experts.add_params(&mut params);
    let start = uniform(params.len(), 3);
    params.values_mut().copy_from_slice(&start);
    experts.prepare(params.values());
    let z = uniform(rows * experts.inputs(), 4);
    let w = uniform(rows * experts.outputs(), 5);
    let (mut q, mut codes) = (vec![0.0; w.len()], vec![0; rows * count]);
    let mut state = Default::default();
    experts.forward(&z, rows, &mut q, &mut codes, &mut state);
    let (mut dz, mut grads) = (vec![9.0; z.len()], vec![0.0; params.len()]);
    let own = experts.backward(&z, rows, 1.0, &w, &mut dz, &mut grads, &mut state);

    let wide = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
    // The two largest logits of every gate, found by sorting.
    let mut open = vec![false; rows * count * n];
    for (i, row) in z.chunks(experts.inputs()).enumerate() {
        for m in 0..count {
            let logits = &row[n * (c + m)..][..n];
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
            order[..2].iter().for_each(|e| open[(i * count + m) * n + e] = true);
        }
    }
    let books = |flat: &[f64]| -> Vec<Vec<f64>> {
        (0..count).map(|m| experts.slot(m)).map(|s| flat[s.offset..][..s.len].to_vec()).collect()
    };
    let (mixed, gates) = mixtures(&wide(&z), &open, count, n, c);
    let fixed = Fixed { codes, open, mixed, books: books(&wide(&start)) };
    for (i, m) in (0..rows).flat_map(|i| (0..count).map(move |m| (i, m))) {
        // The code is the nearest of all.
        let z = &fixed.mixed[(i * count + m) * c..][..c];
        let to =
            |k: usize| -> f64 { (0..c).map(|j| (z[j] - fixed.books[m][k * c + j]).powi(2)).sum() };
        let chosen = fixed.codes[i * count + m] as usize;
        assert!((0..levels[m] as usize).all(|k| to(chosen) <= to(k) + 1e-6));
    }
    let first = |gates: &[f64]| (1..n).fold(0, |b, e| if gates[e] > gates[b] { e } else { b });
    let share: Vec<f64> = (0..n)
        .map(|e| gates.chunks(n).filter(|g| first(g) == e).count() as f64 / (rows * count) as f64)
        .collect();
    let value = |z: &[f64], flat: &[f64], with_q: f64| -> f64 {
        let (mixed, gates) = mixtures(z, &fixed.open, count, n, c);
        let now = books(flat);
        let mut total = 0.0;
        for (i, m) in (0..rows).flat_map(|i| (0..count).map(move |m| (i, m))) {
            let code = fixed.codes[i * count + m] as usize;
            for j in 0..c {
                let at = (i * count + m) * c + j;
                let (held, q) = (fixed.books[m][code * c + j], now[m][code * c + j]);
                total += with_q * f64::from(w[at]) * mixed[at];
                let both = (fixed.mixed[at] - q).powi(2) + 0.25 * (mixed[at] - held).powi(2);
                total += both / (rows * c) as f64;
            }
        }
        for e in 0..n {
            let mean = gates.iter().skip(e).step_by(n).sum::<f64>() / (rows * count) as f64;
            total += 0.3 * n as f64 * share[e] * mean;
        }
        for row in gates.chunks(count * n) {
            for (a, b) in (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))) {
                let product: f64 = (0..n).map(|e| row[a * n + e] * row[b * n + e]).sum();
                total += 0.2 * product / rows as f64;
            }
        }
        total
    };
    let (z, flat) = (wide(&z), wide(&start));
    assert!((own - value(&z, &flat, 0.0)).abs() < 1e-5, "{own} {}", value(&z, &flat, 0.0));
    let slope = |f: &dyn Fn(f64) -> f64| (f(1e-5) - f(-1e-5)) / 2e-5;
    for i in 0..z.len() {
        let numeric = slope(&|h| {
            let mut moved = z.clone();
            moved[i] += h;
            value(&moved, &flat, 1.0)
        });
        assert!((numeric - f64::from(dz[i])).abs() < 1e-5, "z {i}: {numeric} {}", dz[i]);
    }
    for i in 0..flat.len() {
        let numeric = slope(&|h| {
            let mut moved = flat.clone();
            moved[i] += h;
            value(&z, &moved, 1.0)
        });
        assert!((numeric - f64::from(grads[i])).abs() < 1e-5, "code {i}: {numeric} {}", grads[i]);
    }
}

#[test]
fn refused_options() {
    let o = MpqOptions::default;
    for (options, part) in [
        (MpqOptions { levels: vec![], ..o() }, "quantizer.levels"),
        (MpqOptions { experts: 0, ..o() }, "quantizer.experts"),
        (MpqOptions { top: 9, ..o() }, "quantizer.top"),
        (MpqOptions { code_width: 0, ..o() }, "quantizer.code_width"),
        (MpqOptions { beta: -0.5, ..o() }, "quantizer.beta"),
        (MpqOptions { balance: f32::NAN, ..o() }, "quantizer.balance"),
        (MpqOptions { diversity: -1.0, ..o() }, "quantizer.diversity"),
        (MpqOptions { start_rows: 299, ..o() }, "quantizer.start_rows"),
        (MpqOptions { lr: f32::INFINITY, ..o() }, "quantizer.lr"),
    ] {
        let message = Mpq::new(options).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
    let ten = Matrix::new(10, 2, uniform(20, 6)).unwrap();
    let options = MpqOptions { levels: vec![4, 11], start_rows: 0, ..o() };
    let input = QuantizerInput::vectors(ten.view());
    let message = Mpq::new(options).unwrap().fit_mpq(&input, &Run::quiet(1)).unwrap_err();
    assert!(message.to_string().contains("11 codes, but the 10 items"), "{message}");
}
