//! Loss and gradients against differences of the equations, written out in f64.
//!
//! Stop-gradients are values held fixed at the point where the slope is taken: `reference` computes
//! them when it is given none, and takes them as constants when it is.

use super::chunk::gumbel;
use super::*;
use rand::Rng;
use sidereal_core::{Code, MatrixRef, Result, seed};
use sidereal_nn::kernels::activation::Activation;
use sidereal_nn::{Init, Mlp, Slot};

const ALL: [Estimator; 5] = [
    Estimator::StraightThrough,
    Estimator::ResidualPath,
    Estimator::CodePath,
    Estimator::Rotation,
    Estimator::Gumbel,
];

fn model(levels: &[u32]) -> RqVaeModel {
    formed(levels, 4, EncoderForm::Plain, Activation::Relu)
}

fn formed(levels: &[u32], latent: usize, encoder: EncoderForm, decoder: Activation) -> RqVaeModel {
    let (hidden, levels) = (vec![7, 5], levels.to_vec());
    let shape = RqVaeShape {
        input: 6,
        hidden,
        latent,
        levels,
        activation: Activation::Relu,
        decoder_activation: decoder,
        encoder,
    };
    let mut model = RqVaeModel::new(shape, 3).unwrap();
    // Codes as large as the latents, so that rows choose different ones.
    let mut rng = seed::stream(4, "test-codes", 0);
    for l in 0..levels_of(&model) {
        let slot = model.level_slot(l);
        let codes = slot.of_mut(model.params_mut().values_mut());
        codes.iter_mut().for_each(|c| *c = rng.random_range(-0.8..0.8));
    }
    if let Some(last) = model.encoder.layers().last().copied()
        && encoder == EncoderForm::Residual
    {
        let layer = last.weight.join(last.bias).of_mut(model.params_mut().values_mut());
        layer.iter_mut().for_each(|w| *w = rng.random_range(-0.5..0.5));
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

fn perceptron(mlp: &Mlp, activation: Activation, w: &[f64], x: &[f64]) -> Vec<f64> {
    let mut h = x.to_vec();
    for (i, layer) in mlp.layers().iter().enumerate() {
        let last = i + 1 == mlp.layers().len();
        let out = (0..layer.outputs).map(|o| {
            let row = &w[layer.weight.offset + o * layer.inputs..][..layer.inputs];
            let y = w[layer.bias.offset + o] + dot(row, &h);
            match activation {
                _ if last => y,
                Activation::Sigmoid => 1.0 / (1.0 + (-y).exp()),
                _ => y.max(0.0),
            }
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

/// What a batch-wide loss makes of latents and quantized latents.
type BatchLoss<'a> = &'a dyn Fn(&[f64], &[Vec<f64>], &[Vec<f64>]) -> f64;

/// What the reference is to compute.
#[derive(Clone, Copy)]
struct Case<'a> {
    loss: RqVaeLoss,
    key: u64,
    /// Given codes, row after row.
    codes: Option<&'a [Code]>,
    /// A loss of parameters, `z` and `z^` of all rows.
    auxiliary: BatchLoss<'a>,
}

impl Case<'_> {
    fn plain(loss: RqVaeLoss, key: u64) -> Self {
        Case { loss, key, codes: None, auxiliary: &|_, _, _| 0.0 }
    }
}

/// The loss at the parameters `w`, and what its stop-gradients held fixed.
fn reference(
    model: &RqVaeModel,
    w: &[f64],
    x: &[f32],
    case: Case<'_>,
    fixed: Option<&[Fixed]>,
) -> (f64, Vec<Fixed>) {
    let Case { loss, key, .. } = case;
    let shape = model.shape();
    let (mut all_z, mut all_hat) = (Vec::new(), Vec::new());
    let d = model.shape().latent;
    let n = x.len() / 6;
    let count = levels_of(model);
    let (mut total, mut out) = (0.0, Vec::new());
    for i in 0..n {
        let x: Vec<f64> = x[i * 6..(i + 1) * 6].iter().map(|v| f64::from(*v)).collect();
        let mut z = perceptron(&model.encoder, shape.activation, w, &x);
        if shape.encoder == EncoderForm::Residual {
            z = combine(&z, &x, 1.0);
        }
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
                let first = case.codes.map_or(first, |c| c[i * count + l] as usize);
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
        let y = perceptron(&model.decoder, shape.decoder_activation, w, &z_hat);
        total += square(&y, &x) / (n * 6) as f64;
        all_z.push(z);
        all_hat.push(z_hat);
    }
    total += (case.auxiliary)(w, &all_z, &all_hat);
    (total, out)
}

fn check(loss: RqVaeLoss) {
    check_model(model(&[6, 4, 3]), loss);
}

/// Gradients against differences of the reference at the same codes.
fn compare(model: &RqVaeModel, x: &[f32], case: Case<'_>, total: f64, grads: &[f32]) {
    let w: Vec<f64> = model.params().values().iter().map(|v| f64::from(*v)).collect();
    let (want, fixed) = reference(model, &w, x, case, None);
    assert!((total - want).abs() < 1e-5 * want, "{total} {want}");
    for (i, &got) in grads.iter().enumerate() {
        let at = |h: f64| {
            let mut w = w.clone();
            w[i] += h;
            reference(model, &w, x, case, Some(&fixed)).0
        };
        let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
        let got = f64::from(got);
        let close = (slope - got).abs() < 2e-5 * (1.0 + slope.abs());
        let (estimator, name) = (case.loss.estimator, model.params().name_at(i));
        assert!(close, "{estimator:?} {name}: {got}, differences {slope}");
    }
}

fn check_model(mut model: RqVaeModel, loss: RqVaeLoss) {
    let (x, key) = (rows(9), 77);
    let mut step = RqVaeStep::new(&model);
    let losses = step.run(&model, BatchRows::all(&x, 6), loss, key).unwrap();
    let case = Case::plain(loss, key);
    let w: Vec<f64> = model.params().values().iter().map(|v| f64::from(*v)).collect();
    let (want, fixed) = reference(&model, &w, &x, case, None);
    let largest = step.grads().iter().fold(0f32, |m, g| m.max(g.abs()));
    assert!(largest > 0.01, "{largest}");
    compare(&model, &x, case, losses.total(), step.grads());
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
    assert!(reference(&model, &w, &x, case, Some(&fixed)).0 < want);
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
fn gradients_of_the_other_forms() {
    for estimator in [Estimator::StraightThrough, Estimator::CodePath] {
        let loss = RqVaeLoss { estimator, weight: 0.7, ..Default::default() };
        check_model(formed(&[6, 4], 6, EncoderForm::Residual, Activation::Relu), loss);
        check_model(formed(&[6, 4], 4, EncoderForm::Plain, Activation::Sigmoid), loss);
    }
    let shape = formed(&[2], 6, EncoderForm::Residual, Activation::Relu).shape().clone();
    let fresh = RqVaeModel::new(shape.clone(), 1).unwrap();
    let x = rows(5);
    assert_eq!(super::codebook::encode(&fresh, &x).data(), x); // the identity to begin with
    let narrow = RqVaeShape { latent: 4, ..shape };
    assert!(RqVaeModel::new(narrow, 1).unwrap_err().to_string().contains("width 6, not 4"));
}

#[test]
fn straight_through_gradients_of_the_reconstruction() {
    // Without level terms the codes get nothing, and latents what the decoder's input gets: so the
    // encoder's last bias has the sum of it, which differences of an added constant show.
    for estimator in [Estimator::StraightThrough, Estimator::ResidualPath, Estimator::CodePath] {
        let (model, x) = (model(&[6, 4, 3]), rows(9));
        let loss = RqVaeLoss { estimator, weight: 0.0, ..Default::default() };
        let mut step = RqVaeStep::new(&model);
        step.run(&model, BatchRows::all(&x, 6), loss, 0).unwrap();
        for l in 0..3 {
            assert!(model.level_slot(l).of(step.grads()).iter().all(|g| *g == 0.0));
        }
        let w: Vec<f64> = model.params().values().iter().map(|v| f64::from(*v)).collect();
        let (_, fixed) = reference(&model, &w, &x, Case::plain(loss, 0), None);
        let bias = model.encoder.layers().last().unwrap().bias;
        for (j, got) in bias.of(step.grads()).iter().enumerate() {
            let at = |h: f64| -> f64 {
                let row = |i: usize| {
                    let mut sum = vec![0.0; 4];
                    (0..3).for_each(|l| sum = combine(&sum, &fixed[i * 3 + l].q, 1.0));
                    sum[j] += h;
                    let y = perceptron(&model.decoder, Activation::Relu, &w, &sum);
                    let x: Vec<f64> = x[i * 6..(i + 1) * 6].iter().map(|v| f64::from(*v)).collect();
                    square(&y, &x) / 54.0
                };
                (0..9).map(row).sum()
            };
            let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!((slope - f64::from(*got)).abs() < 2e-5, "{estimator:?} {slope} {got}");
        }
    }
}

/// Codes that Sinkhorn's iteration gives to latents, level after level.
fn balanced(model: &RqVaeModel, x: &[f32], balance: &Balance) -> Vec<Code> {
    let mut r = super::codebook::encode(model, x);
    let count = levels_of(model);
    let mut out = vec![0; r.rows() * count];
    for l in 0..count {
        let codes: Vec<&[f32]> = model.level(l).chunks(r.cols()).collect();
        let mut distances = Vec::new();
        for i in 0..r.rows() {
            let to = |c: &&[f32]| r.row(i).iter().zip(*c).map(|(a, b)| (a - b) * (a - b)).sum();
            distances.extend(codes.iter().map(to).collect::<Vec<f32>>());
        }
        let distances = MatrixRef::new(r.rows(), codes.len(), &distances).unwrap();
        let found = crate::sinkhorn::assign(distances, balance.epsilons[l], balance.iterations);
        for (i, &code) in found.iter().enumerate() {
            out[i * count + l] = code;
            let q = codes[code as usize];
            r.row_mut(i).iter_mut().zip(q).for_each(|(r, q)| *r -= q);
        }
    }
    out
}

#[test]
fn balanced_codes_take_the_place_of_the_nearest() {
    let (model, x) = (model(&[6, 4, 3]), rows(24));
    let balance = Balance { epsilons: vec![0.003, 0.0, 0.05], iterations: 100 };
    let codes = balanced(&model, &x, &balance);
    for estimator in [Estimator::StraightThrough, Estimator::CodePath, Estimator::Rotation] {
        let loss = RqVaeLoss { estimator, ..Default::default() };
        let mut step = RqVaeStep::new(&model);
        let balance = Some(&balance);
        let plan = StepPlan { loss, key: 3, levels: 3, balance, auxiliaries: &[] };
        let losses = step.run_plan(&model, BatchRows::all(&x, 6), plan).unwrap();
        let counts = |l: usize| {
            let mut out = vec![0; model.shape().levels[l] as usize];
            codes.chunks(3).for_each(|row| out[row[l] as usize] += 1);
            out
        };
        assert!((0..3).all(|l| step.counts(l) == counts(l)));
        assert!(step.counts(0).iter().all(|n| (3..=5).contains(n)), "{:?}", step.counts(0));
        let case = Case { codes: Some(&codes), ..Case::plain(loss, 3) };
        compare(&model, &x, case, losses.total(), step.grads());
        // Nearest codes are others.
        step.run(&model, BatchRows::all(&x, 6), loss, 3).unwrap();
        assert!(step.counts(0).iter().any(|n| !(3..=5).contains(n)));
    }
}

/// `a sum_ij w_ij z_ij^2 / B + b sum_ij w_ij z^_ij^3 / B + c p`, with an own parameter `p`.
struct Toy(Slot);

impl Auxiliary for Toy {
    fn evaluate(&self, s: &AuxiliaryBatch<'_>, into: &mut AuxiliaryGradients) -> Result<f64> {
        let b = s.rows.len() as f32;
        let mut total = 0.0;
        for (k, &row) in s.rows.iter().enumerate() {
            let w = row as f32 / b;
            for (j, (z, h)) in s.latents.row(k).iter().zip(s.quantized.row(k)).enumerate() {
                total += f64::from(w * (0.3 * z * z + 0.2 * h * h * h));
                into.latents[k * 4 + j] += 0.6 * w * z;
                into.quantized[k * 4 + j] += 0.6 * w * h * h;
            }
        }
        let p = self.0.of(s.model.params().values())[0];
        into.params[self.0.offset] += 1.5;
        Ok(total + 1.5 * f64::from(p))
    }
}

#[test]
fn losses_over_the_batch_reach_everything() {
    let mut model = model(&[6, 4, 3]);
    let slot = model.add("auxiliary.toy", &[1], Init::Ones);
    let x = rows(9);
    let numbers: Vec<u32> = vec![3, 8, 1, 0, 2, 5, 7, 4, 6];
    let listed: Vec<f32> =
        numbers.iter().flat_map(|&i| &x[i as usize * 6..][..6]).copied().collect();
    let auxiliary = |w: &[f64], z: &[Vec<f64>], h: &[Vec<f64>]| {
        let mut total = 1.5 * w[slot.offset];
        for (k, &row) in numbers.iter().enumerate() {
            let weight = f64::from(row) / 9.0;
            for (z, h) in z[k].iter().zip(&h[k]) {
                total += weight * (0.3 * z * z + 0.2 * h * h * h);
            }
        }
        total
    };
    for estimator in ALL {
        let loss = RqVaeLoss { estimator, ..Default::default() };
        let auxiliaries: [Box<dyn Auxiliary>; 1] = [Box::new(Toy(slot))];
        let plan = StepPlan { loss, key: 5, levels: 3, balance: None, auxiliaries: &auxiliaries };
        let mut step = RqVaeStep::new(&model);
        let batch = BatchRows::listed(&x, 6, &numbers);
        let losses = step.run_plan(&model, batch, plan).unwrap();
        assert!(losses.auxiliary > 1.5);
        let case = Case { auxiliary: &auxiliary, ..Case::plain(loss, 5) };
        compare(&model, &listed, case, losses.total(), step.grads());
    }
}

#[test]
fn levels_that_are_not_in_use_get_nothing() {
    let (three, x) = (model(&[6, 4, 3]), rows(50));
    let mut one = model(&[6]);
    let decoder = |m: &RqVaeModel| m.level_slot(levels_of(m) - 1);
    let tail = |m: &RqVaeModel, v: &[f32]| v[decoder(m).offset + decoder(m).len..].to_vec();
    let from = tail(&three, three.params().values());
    let at = decoder(&one);
    one.params_mut().values_mut()[at.offset + at.len..].copy_from_slice(&from);
    let loss = RqVaeLoss::default();
    let mut step = RqVaeStep::new(&three);
    let plan = StepPlan { loss, key: 0, levels: 1, balance: None, auxiliaries: &[] };
    let mut alone = RqVaeStep::new(&one);
    // A full step before, so that old gradients would be seen.
    step.run(&three, BatchRows::all(&x, 6), loss, 0).unwrap();
    let got = step.run_plan(&three, BatchRows::all(&x, 6), plan).unwrap();
    assert_eq!(got, alone.run(&one, BatchRows::all(&x, 6), loss, 0).unwrap());
    for l in 1..3 {
        assert!(three.level_slot(l).of(step.grads()).iter().all(|g| *g == 0.0));
    }
    assert_eq!(three.level_slot(0).of(step.grads()), one.level_slot(0).of(alone.grads()));
    assert_eq!(tail(&three, step.grads()), tail(&one, alone.grads()));
    let none = StepPlan { levels: 0, ..plan };
    assert!(step.run_plan(&three, BatchRows::all(&x, 6), none).is_err());
}

#[test]
fn linear_codebooks_by_hand() {
    let mut model = model(&[3]);
    let linear = LinearCodes::new(&mut model, 0);
    let c: Vec<f32> = model.level(0).to_vec();
    linear.push(model.params_mut().values_mut());
    assert_eq!(model.level(0), c); // W is the identity
    let mut grads: Vec<f32> = (0..model.params().len()).map(|i| (i % 7) as f32 - 3.0).collect();
    let g = model.level_slot(0).of(&grads).to_vec();
    linear.pull(&mut grads);
    assert!(model.level_slot(0).of(&grads).iter().all(|g| *g == 0.0));
    for i in 0..4 {
        for j in 0..4 {
            let want: f32 = (0..3).map(|k| c[k * 4 + i] * g[k * 4 + j]).sum();
            let got = linear.weight().of(&grads)[i * 4 + j];
            assert!((got - want).abs() < 1e-5);
        }
    }
    let w = linear.weight().of_mut(model.params_mut().values_mut());
    w.fill(0.0);
    (w[1], w[4]) = (2.0, -1.0); // swaps and scales the first two columns, drops the rest
    linear.push(model.params_mut().values_mut());
    for k in 0..3 {
        let row = &c[k * 4..k * 4 + 4];
        assert_eq!(model.level(0)[k * 4..k * 4 + 4], [-row[1], 2.0 * row[0], 0.0, 0.0]);
    }
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
        let balance = Balance { epsilons: vec![0.0, 0.01], iterations: 10 };
        let balanced = estimator == Estimator::CodePath;
        let balance = balanced.then_some(&balance);
        let plan = StepPlan { loss, key: 9, levels: 2, balance, auxiliaries: &[] };
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut step = RqVaeStep::new(&model);
                // A run before, so that what is left in the buffers is heard.
                step.run(&model, BatchRows::all(&x[6..600], 6), loss, 8).unwrap();
                let losses = step.run_plan(&model, BatchRows::all(&x, 6), plan).unwrap();
                let bits: Vec<u32> = step.grads().iter().map(|g| g.to_bits()).collect();
                (losses, bits, step.counts(0).to_vec(), step.grads().to_vec())
            })
        };
        let one = on(1);
        for threads in [2, 3, 5] {
            assert!(on(threads) == one, "{threads} threads");
        }
        if estimator == Estimator::Gumbel || balanced {
            continue; // noise and balance follow the batch
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
