//! Loss and gradients against differences of the equations, written out in f64.
//!
//! Stop-gradients are values held fixed at the point where the slope is taken: `reference` computes
//! them when it is given none, and takes them as constants when it is.

use super::chunk::gumbel;
use super::*;
use rand::Rng;
use sidereal_core::seed;
use sidereal_nn::Mlp;
use sidereal_nn::kernels::activation::Activation;

const ALL: [Estimator; 5] = [
    Estimator::StraightThrough,
    Estimator::ResidualPath,
    Estimator::CodePath,
    Estimator::Rotation,
    Estimator::Gumbel,
];

fn model(levels: &[u32]) -> RqVaeModel {
    let (hidden, levels) = (vec![7, 5], levels.to_vec());
    let shape = RqVaeShape {
        input: 6,
        hidden,
        latent: 4,
        levels,
        activation: Activation::Relu,
        decoder_activation: Activation::Relu,
        encoder: EncoderForm::Plain,
    };
    let mut model = RqVaeModel::new(shape, 3).unwrap();
    // Codes as large as the latents, so that rows choose different ones.
    let mut rng = seed::stream(4, "test-codes", 0);
    for l in 0..levels_of(&model) {
        let slot = model.level_slot(l);
        let codes = slot.of_mut(model.params_mut().values_mut());
        codes.iter_mut().for_each(|c| *c = rng.random_range(-0.8..0.8));
    }
    model
}

fn levels_of(model: &RqVaeModel) -> usize {
    model.shape().levels.len()
}

fn rows(n: usize) -> Vec<f32> {
    let mut rng = seed::stream(8, "test-rows", 0);
    (0..n * 6).map(|_| rng.random_range(-2.0..2.0)).collect()
}

/// What stop-gradients hold fixed for one row and level.
#[derive(Clone)]
struct Fixed {
    code: usize,
    r: Vec<f64>,
    q: Vec<f64>,
}

fn perceptron(mlp: &Mlp, w: &[f64], x: &[f64]) -> Vec<f64> {
    let mut h = x.to_vec();
    for (i, layer) in mlp.layers().iter().enumerate() {
        let last = i + 1 == mlp.layers().len();
        let out = (0..layer.outputs).map(|o| {
            let row = &w[layer.weight.offset + o * layer.inputs..][..layer.inputs];
            let y = w[layer.bias.offset + o] + dot(row, &h);
            if last { y } else { y.max(0.0) }
        });
        h = out.collect();
    }
    h
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn square(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

fn combine(a: &[f64], b: &[f64], factor: f64) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + factor * b).collect()
}

/// `r` turned and scaled by the rotation from `at` to `q`.
fn turned(r: &[f64], at: &[f64], q: &[f64]) -> Vec<f64> {
    let unit = |v: &[f64]| v.iter().map(|x| x / dot(v, v).sqrt()).collect::<Vec<_>>();
    let (u, v) = (unit(at), unit(q));
    let s = unit(&combine(&u, &v, 1.0));
    let a = (dot(q, q) / dot(at, at)).sqrt();
    (0..r.len()).map(|i| a * (r[i] - 2.0 * dot(r, &s) * s[i] + 2.0 * dot(r, &u) * v[i])).collect()
}

/// The loss at the parameters `w`, and what its stop-gradients held fixed.
fn reference(
    model: &RqVaeModel,
    w: &[f64],
    x: &[f32],
    loss: RqVaeLoss,
    key: u64,
    fixed: Option<&[Fixed]>,
) -> (f64, Vec<Fixed>) {
    let d = model.shape().latent;
    let n = x.len() / 6;
    let count = levels_of(model);
    let (mut total, mut out) = (0.0, Vec::new());
    for i in 0..n {
        let x: Vec<f64> = x[i * 6..(i + 1) * 6].iter().map(|v| f64::from(*v)).collect();
        let z = perceptron(&model.encoder, w, &x);
        let (mut r, mut z_hat) = (z.clone(), vec![0.0; d]);
        let mut constant = vec![0.0; d];
        for l in 0..count {
            let k = model.shape().levels[l] as usize;
            let at = model.level_slot(l).offset;
            let c = |j: usize| &w[at + j * d..at + (j + 1) * d];
            let noise = seed::key(key, "gumbel", (i * count + l) as u64);
            let score = |j: usize| {
                let soft = loss.estimator == Estimator::Gumbel;
                let g = if soft { f64::from(gumbel(noise, j as u64)) } else { 0.0 };
                (g - square(&r, c(j))) / f64::from(loss.temperature)
            };
            let scores: Vec<f64> = (0..k).map(score).collect();
            let now = || {
                let first = (0..k).fold(0, |b, j| if scores[j] > scores[b] { j } else { b });
                Fixed { code: first, r: r.clone(), q: c(first).to_vec() }
            };
            let f = fixed.map_or_else(now, |f| f[i * count + l].clone());
            let q = c(f.code);
            let beta = f64::from(loss.beta);
            let own = if loss.codebook == CodebookUpdate::Average { 0.0 } else { 1.0 };
            let term = own * square(&f.r, q) + beta * square(&r, &f.q);
            total += f64::from(loss.weight) * term / (n * d) as f64;
            let tilde = match loss.estimator {
                Estimator::StraightThrough => combine(&r, &combine(&f.q, &f.r, -1.0), 1.0),
                Estimator::ResidualPath | Estimator::CodePath => f.q.clone(),
                Estimator::Rotation => turned(&r, &f.r, &f.q),
                Estimator::Gumbel => {
                    let high = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let e: Vec<f64> = scores.iter().map(|s| (s - high).exp()).collect();
                    let sum: f64 = e.iter().sum();
                    (0..d).map(|i| (0..k).map(|j| e[j] / sum * c(j)[i]).sum()).collect()
                }
            };
            let passed = if loss.estimator == Estimator::CodePath { q } else { &tilde };
            r = combine(&r, passed, -1.0);
            z_hat = combine(&z_hat, &tilde, 1.0);
            if l == 0 {
                constant = f.r.clone();
            }
            out.push(f);
        }
        if matches!(loss.estimator, Estimator::ResidualPath | Estimator::CodePath) {
            // z + sg(sum q - z)
            z_hat = combine(&z_hat, &combine(&z, &constant, -1.0), 1.0);
        }
        total += square(&perceptron(&model.decoder, w, &z_hat), &x) / (n * 6) as f64;
    }
    (total, out)
}

fn check(loss: RqVaeLoss) {
    let (mut model, x, key) = (model(&[6, 4, 3]), rows(9), 77);
    let mut step = RqVaeStep::new(&model);
    let losses = step.run(&model, BatchRows::all(&x, 6), loss, key).unwrap();
    let w: Vec<f64> = model.params().values().iter().map(|v| f64::from(*v)).collect();
    let (want, fixed) = reference(&model, &w, &x, loss, key, None);
    assert!((losses.total() - want).abs() < 1e-5 * want, "{losses:?} {want}");
    let largest = step.grads().iter().fold(0f32, |m, g| m.max(g.abs()));
    assert!(largest > 0.01, "{largest}");
    for i in 0..w.len() {
        let at = |h: f64| {
            let mut w = w.clone();
            w[i] += h;
            reference(&model, &w, &x, loss, key, Some(&fixed)).0
        };
        let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
        let got = f64::from(step.grads()[i]);
        let close = (slope - got).abs() < 2e-5 * (1.0 + slope.abs());
        assert!(
            close,
            "{:?} {}: {got}, differences {slope}",
            loss.estimator,
            model.params().name_at(i)
        );
    }
    // Rows by number, in another order: the same sums up to rounding.
    let back: Vec<u32> = (0..9).rev().collect();
    if loss.estimator != Estimator::Gumbel {
        let before = step.grads().to_vec();
        let listed = step.run(&model, BatchRows::listed(&x, 6, &back), loss, key).unwrap();
        assert!((listed.total() - losses.total()).abs() < 1e-6);
        let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
        assert!(step.grads().iter().zip(&before).all(close));
    }
    // A step down the gradient lowers the loss.
    let moved = step.grads().to_vec();
    for (w, g) in model.params_mut().values_mut().iter_mut().zip(moved) {
        *w -= 1e-3 * g;
    }
    let w: Vec<f64> = model.params().values().iter().map(|v| f64::from(*v)).collect();
    assert!(reference(&model, &w, &x, loss, key, Some(&fixed)).0 < want);
}

#[test]
fn gradients_are_the_slopes_of_the_equations() {
    for estimator in ALL {
        check(RqVaeLoss { estimator, beta: 0.4, weight: 1.5, ..Default::default() });
        check(RqVaeLoss { estimator, temperature: 0.3, ..Default::default() });
    }
    let average = CodebookUpdate::Average;
    check(RqVaeLoss { codebook: average, beta: 2.0, ..Default::default() });
}

#[test]
fn moving_averages_leave_the_codes_without_gradients() {
    let (model, x) = (model(&[6, 4]), rows(20));
    let mut step = RqVaeStep::new(&model);
    let loss = RqVaeLoss { codebook: CodebookUpdate::Average, ..Default::default() };
    step.run(&model, BatchRows::all(&x, 6), loss, 0).unwrap();
    for l in 0..2 {
        assert!(model.level_slot(l).of(step.grads()).iter().all(|g| *g == 0.0));
        let usage = step.usage(l);
        assert_eq!(usage.counts.iter().sum::<u32>(), 20);
        let unused = usage.sums.chunks(4).zip(&usage.counts).filter(|(_, n)| **n == 0);
        assert!(unused.clone().count() < usage.counts.len());
        unused.for_each(|(s, _)| assert_eq!(s, [0.0; 4]));
    }
}

#[test]
fn the_reference_feels_what_stops_a_gradient() {
    // The estimators differ in their slopes, or the test above would show little.
    let (model, x) = (model(&[6, 4, 3]), rows(9));
    let mut grads: Vec<Vec<f32>> = Vec::new();
    for estimator in ALL {
        let mut step = RqVaeStep::new(&model);
        let loss = RqVaeLoss { estimator, ..Default::default() };
        step.run(&model, BatchRows::all(&x, 6), loss, 1).unwrap();
        // The code path and the residual path reach the encoder alike and the codes differently.
        let own = step.grads().to_vec();
        let far = |other: &Vec<f32>| other.iter().zip(&own).any(|(a, b)| (a - b).abs() > 1e-3);
        assert!(grads.iter().all(far), "{estimator:?}");
        grads.push(own);
    }
}

#[test]
fn several_waves_add_up_as_one_batch_and_threads_change_no_bit() {
    let n = WAVE * CHUNK + CHUNK + 37;
    let (model, x) = (model(&[6, 4]), rows(n));
    for estimator in ALL {
        let loss = RqVaeLoss { estimator, ..Default::default() };
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut step = RqVaeStep::new(&model);
                // A run before, so that what is left in the buffers is heard.
                step.run(&model, BatchRows::all(&x[6..600], 6), loss, 8).unwrap();
                let losses = step.run(&model, BatchRows::all(&x, 6), loss, 9).unwrap();
                let bits: Vec<u32> = step.grads().iter().map(|g| g.to_bits()).collect();
                (losses, bits, step.counts(0).to_vec(), step.grads().to_vec())
            })
        };
        let one = on(1);
        for threads in [2, 3, 5] {
            assert!(on(threads) == one, "{threads} threads");
        }
        if estimator == Estimator::Gumbel {
            continue; // its noise follows the place in the batch
        }
        // The mean over the batch is the weighted mean of the means over two parts.
        let cut = WAVE * CHUNK - 100;
        let mut sum = vec![0f64; one.3.len()];
        for part in [&x[..cut * 6], &x[cut * 6..]] {
            let mut step = RqVaeStep::new(&model);
            step.run(&model, BatchRows::all(part, 6), loss, 9).unwrap();
            let share = part.len() as f64 / x.len() as f64;
            sum.iter_mut().zip(step.grads()).for_each(|(s, g)| *s += share * f64::from(*g));
        }
        let close = |(s, g): (&f64, &f32)| (s - f64::from(*g)).abs() < 1e-5;
        assert!(sum.iter().zip(&one.3).all(close));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let m = model(&[2]);
    let mut step = RqVaeStep::new(&m);
    let mut says = |x: &[f32], width| {
        step.run(&m, BatchRows::all(x, width), RqVaeLoss::default(), 0).unwrap_err().to_string()
    };
    assert!(says(&[], 6).contains("0 rows"));
    assert!(says(&[1.0; 10], 5).contains("width 5"));
    let shape = m.shape().clone();
    for wrong in [
        RqVaeShape { latent: 0, ..shape.clone() },
        RqVaeShape { levels: vec![], ..shape.clone() },
        RqVaeShape { levels: vec![3, 0], ..shape.clone() },
        RqVaeShape { hidden: vec![4, 0], ..shape.clone() },
    ] {
        assert!(RqVaeModel::new(wrong, 0).is_err());
    }
}
