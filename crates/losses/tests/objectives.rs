//! Objectives against hand-computed values, identities, differences and candle.
#![allow(clippy::unwrap_used)] // Helpers of tests are not inside #[test] functions.

use candle_core::{Device, Tensor};
use proptest::prelude::*;
use sidereal_core::{Catalog, ItemId, Spec};
use sidereal_losses::*;
use sidereal_nn::bag::ItemMatrix;
use sidereal_nn::{Bag, Batch, Objective, ObjectiveInput, Slot, Target, Terms};

/// One row a target; `sids` are the codes of the targets.
fn batch(sids: &[&[u32]]) -> Batch {
    let mut b = Batch { target_code_offsets: vec![0], ..Batch::default() };
    for (i, sid) in sids.iter().enumerate() {
        b.targets.push(Target { row: i as u32, position: 1, item: ItemId(i as u32) });
        b.target_codes.extend_from_slice(sid);
        b.target_code_offsets.push(b.target_codes.len() as u32);
    }
    b
}

fn to_items(items: &[u32]) -> Batch {
    let mut b = batch(&vec![&[][..]; items.len()]);
    b.targets.iter_mut().zip(items).for_each(|(t, &i)| t.item = ItemId(i));
    b
}

fn logits(level: usize, values: &[f32], cols: usize, bag: &mut Bag) {
    bag.put("logits", level, values.len() / cols, cols).value.copy_from_slice(values);
}

fn run(
    objective: &dyn Objective,
    batch: &Batch,
    weights: &[f32],
    scale: f32,
    bag: &mut Bag,
    grads: Option<&mut [f32]>,
) -> sidereal_core::Result<Terms> {
    let mut terms = Terms::default();
    let input = ObjectiveInput { batch, weights, scale, key: 0 };
    objective.evaluate(&input, bag, grads, &mut terms)?;
    Ok(terms)
}

fn means(terms: &Terms) -> Vec<(String, f64)> {
    terms.means().map(|(n, v)| (n.to_string(), v)).collect()
}

fn waves(n: usize, phase: f32) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * 1.7 + phase).sin() * 1.5).collect()
}

fn ce(options: CrossEntropyOptions) -> CrossEntropy {
    CrossEntropy::new(options).unwrap()
}

#[test]
fn by_hand() {
    // Level 0: softmax (1/4, 3/4); level 1: uniform over four codes.
    let mut bag = Bag::default();
    logits(0, &[0.0, 3f32.ln()], 2, &mut bag);
    logits(1, &[0.5; 4], 4, &mut bag);
    let b = batch(&[&[1, 2]]);
    let terms = run(&ce(Default::default()), &b, &[], 2.0, &mut bag, Some(&mut [])).unwrap();
    let got = means(&terms);
    let want =
        [("loss", (16f64 / 3.0).ln()), ("level_0", (4f64 / 3.0).ln()), ("level_1", 4f64.ln())];
    for ((name, value), (n, v)) in got.iter().zip(want) {
        assert!(name == n && (value - v).abs() < 1e-6, "{got:?}");
    }
    assert_eq!(got.len(), 3);
    // scale * (softmax - onehot)
    let g = &bag.get("logits", 0).unwrap().grad;
    assert!((g[0] - 0.5).abs() < 1e-6 && (g[1] + 0.5).abs() < 1e-6, "{g:?}");
    assert_eq!(bag.get("logits", 1).unwrap().grad, [0.5, 0.5, -1.5, 0.5]);
}

#[test]
fn an_untrained_model_starts_at_levels_times_log_codes() {
    let mut bag = Bag::default();
    (0..4).for_each(|l| logits(l, &[0.0; 2 * 256], 256, &mut bag));
    let b = batch(&[&[0, 1, 2, 3], &[255, 9, 7, 0]]);
    let terms = run(&ce(Default::default()), &b, &[], 0.5, &mut bag, None).unwrap();
    assert!((terms.loss() - 22.180_71).abs() < 1e-4, "{}", terms.loss());
}

#[test]
fn the_sum_over_levels_is_the_joint_log_likelihood() {
    let widths = [3usize, 4, 2];
    let values: Vec<Vec<f32>> = widths.iter().map(|&w| waves(w, w as f32)).collect();
    let mut joint_total = 0.0;
    for code in 0..24u32 {
        let sid = [code % 3, code / 3 % 4, code / 12];
        let mut bag = Bag::default();
        (0..3).for_each(|l| logits(l, &values[l], widths[l], &mut bag));
        let terms =
            run(&ce(Default::default()), &batch(&[&sid]), &[], 1.0, &mut bag, None).unwrap();
        let joint: f64 = (0..3)
            .map(|l| {
                let e = |x: &f32| f64::from(*x).exp();
                e(&values[l][sid[l] as usize]) / values[l].iter().map(e).sum::<f64>()
            })
            .product();
        assert!((terms.loss() + joint.ln()).abs() < 1e-5);
        joint_total += (-terms.loss()).exp();
    }
    // Over all identifiers the likelihoods are a distribution.
    assert!((joint_total - 1.0).abs() < 1e-5, "{joint_total}");
}

#[test]
fn equals_candle_in_value_and_gradient() {
    let (rows, cols) = (7, 33);
    let values = waves(rows * cols, 0.3);
    let targets: Vec<u32> = (0..rows as u32).map(|i| i * 5 % 33).collect();
    let sids: Vec<[u32; 1]> = targets.iter().map(|&t| [t]).collect();
    let sids: Vec<&[u32]> = sids.iter().map(|s| &s[..]).collect();
    let mut bag = Bag::default();
    logits(0, &values, cols, &mut bag);
    let scale = 1.0 / rows as f32;
    let terms =
        run(&ce(Default::default()), &batch(&sids), &[], scale, &mut bag, Some(&mut [])).unwrap();
    let dev = Device::Cpu;
    let var = candle_core::Var::from_tensor(&Tensor::from_vec(values, (rows, cols), &dev).unwrap())
        .unwrap();
    let target = Tensor::new(&targets[..], &dev).unwrap();
    let loss = candle_nn::loss::cross_entropy(var.as_tensor(), &target).unwrap();
    assert!((terms.loss() - f64::from(loss.to_scalar::<f32>().unwrap())).abs() < 1e-5);
    let theirs = loss.backward().unwrap().get(&var).unwrap().flatten_all().unwrap();
    let theirs: Vec<f32> = theirs.to_vec1().unwrap();
    let ours = &bag.get("logits", 0).unwrap().grad;
    assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-6));
}

/// Checks the bag's gradients by central differences in f64 on the loss.
fn check_bag(
    objective: &dyn Objective,
    batch: &Batch,
    weights: &[f32],
    name: &'static str,
    levels: usize,
    bag: &mut Bag,
) {
    let n = batch.targets.len() as f32;
    let mut sink = vec![0.0; weights.len()];
    run(objective, batch, weights, 1.0 / n, bag, Some(&mut sink)).unwrap();
    for level in 0..levels {
        let grad = bag.get(name, level).unwrap().grad.clone();
        for i in 0..grad.len() {
            let mut at = |delta: f32| {
                bag.get_mut(name, level).unwrap().value[i] += delta;
                let loss = run(objective, batch, weights, 1.0 / n, bag, None).unwrap().loss();
                bag.get_mut(name, level).unwrap().value[i] -= delta;
                loss
            };
            let numeric = (at(4e-3) - at(-4e-3)) / 8e-3;
            let got = f64::from(grad[i]);
            assert!((numeric - got).abs() < 2e-4, "{name} {level} [{i}]: {numeric} {got}");
        }
    }
}

#[test]
fn gradients_with_weights_smoothing_and_identifiers_of_several_lengths() {
    let options =
        CrossEntropyOptions { level_weights: vec![1.0, 0.5, 0.0, 2.0], label_smoothing: 0.2 };
    let b = batch(&[&[1, 2, 0, 1], &[0, 1], &[2, 0, 1, 0]]);
    let mut bag = Bag::default();
    logits(0, &waves(9, 0.1), 3, &mut bag);
    logits(1, &waves(9, 0.2), 3, &mut bag);
    // Levels 2 and 3 exist for targets 0 and 2 only, in any order.
    for level in [2, 3] {
        logits(level, &waves(4, level as f32), 2, &mut bag);
        bag.get_mut("logits", level).unwrap().target_of = vec![2, 0];
    }
    check_bag(&ce(options), &b, &[], "logits", 4, &mut bag);
    let terms = run(&ce(Default::default()), &b, &[], 1.0, &mut bag, None).unwrap();
    let m = means(&terms);
    // The loss is a mean over targets, a level's term over its own rows.
    let sum = m[1].1 + m[2].1 + (m[3].1 + m[4].1) * 2.0 / 3.0;
    assert!((m[0].1 - sum).abs() < 1e-9, "{m:?}");
}

#[test]
fn smoothing_is_cross_entropy_with_soft_labels() {
    let values = waves(5, 0.9);
    let log_sum = values.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
    let log_prob = |i: usize| f64::from(values[i]) - log_sum;
    let want = -0.7 * log_prob(3) - 0.06 * (0..5).map(log_prob).sum::<f64>();
    let mut bag = Bag::default();
    logits(0, &values, 5, &mut bag);
    let smoothed = ce(CrossEntropyOptions { label_smoothing: 0.3, ..Default::default() });
    let terms = run(&smoothed, &batch(&[&[3]]), &[], 1.0, &mut bag, None).unwrap();
    assert!((terms.loss() - want).abs() < 1e-5, "{} {want}", terms.loss());
}

fn dense(queries: &[f32], rows: usize, d: usize) -> Bag {
    let mut bag = Bag::default();
    bag.put("query", 0, queries.len() / d, d).value.copy_from_slice(queries);
    // Item vectors begin behind two other parameters.
    let slot = Slot { offset: 2, len: rows * d };
    bag.items = Some(ItemMatrix { slot, rows, cols: d });
    bag
}

fn softmax(temperature: f64, normalize: Normalize) -> FullSoftmax {
    FullSoftmax::new(FullSoftmaxOptions { temperature, normalize }).unwrap()
}

#[test]
fn full_softmax_by_hand() {
    // Scores of the query (1, 0) at temperature 1/2: 2 ln 2 and 0, so p = (4/5, 1/5).
    let weights = [9.0, 9.0, 2f32.ln(), 0.0, 0.0, 1.0];
    let mut bag = dense(&[1.0, 0.0], 2, 2);
    let mut grads = vec![0.0; 6];
    let objective = softmax(0.5, Normalize::None);
    let terms =
        run(&objective, &to_items(&[1]), &weights, 1.0, &mut bag, Some(&mut grads)).unwrap();
    assert!((terms.loss() - 5f64.ln()).abs() < 1e-6);
    let want = [0.0, 0.0, 1.6, 0.0, -1.6, 0.0];
    assert!(grads.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-5), "{grads:?}");
    let g = &bag.get("query", 0).unwrap().grad;
    assert!((g[0] - 1.6 * 2f32.ln()).abs() < 1e-5 && (g[1] + 1.6).abs() < 1e-5, "{g:?}");
}

#[test]
fn full_softmax_gradients_of_queries_and_items() {
    let (n, d) = (41, 3);
    for (temperature, normalize) in
        [(1.0, Normalize::None), (0.7, Normalize::None), (0.4, Normalize::Cosine)]
    {
        let objective = softmax(temperature, normalize);
        let mut weights = waves(2 + n * d, 0.4);
        let b = to_items(&(0..37).map(|i| i * 3 % 41).collect::<Vec<u32>>());
        let mut bag = dense(&waves(37 * d, 0.8), n, d);
        check_bag(&objective, &b, &weights, "query", 1, &mut bag);
        let mut bag = dense(&waves(37 * d, 0.8), n, d);
        let mut grads = vec![0.0; weights.len()];
        run(&objective, &b, &weights, 1.0 / 37.0, &mut bag, Some(&mut grads)).unwrap();
        for i in 0..weights.len() {
            let mut at = |delta: f32| {
                weights[i] += delta;
                let loss = run(&objective, &b, &weights, 1.0, &mut bag, None).unwrap().loss();
                weights[i] -= delta;
                loss
            };
            let numeric = (at(4e-3) - at(-4e-3)) / 8e-3;
            assert!((numeric - f64::from(grads[i])).abs() < 2e-4, "[{i}] {numeric} {}", grads[i]);
        }
    }
}

#[test]
fn cosine_ignores_lengths_and_survives_zeros() {
    let objective = softmax(0.1, Normalize::Cosine);
    let mut weights = waves(2 + 12, 0.4);
    let b = to_items(&[1, 2]);
    let loss = |weights: &[f32], q: &[f32]| {
        run(&objective, &b, weights, 1.0, &mut dense(q, 4, 3), None).unwrap().loss()
    };
    let q = waves(6, 1.0);
    let longer: Vec<f32> = q.iter().map(|x| x * 7.0).collect();
    assert!((loss(&weights, &q) - loss(&weights, &longer)).abs() < 1e-5);
    weights[2..5].fill(0.0);
    let mut bag = dense(&[0.0; 6], 4, 3);
    let mut grads = vec![0.0; weights.len()];
    let terms = run(&objective, &b, &weights, 1.0, &mut bag, Some(&mut grads)).unwrap();
    assert!((terms.loss() - 4f64.ln()).abs() < 1e-6);
    assert!(grads.iter().chain(&bag.get("query", 0).unwrap().grad).all(|g| *g == 0.0));
}

proptest! {
    #[test]
    fn splitting_a_batch_changes_nothing(rows in 2usize..9, cut in 1usize..8, cols in 1usize..20) {
        let cut = cut.min(rows - 1);
        let values = waves(rows * cols, 0.5);
        let sids: Vec<[u32; 1]> = (0..rows).map(|i| [(i * 7 % cols) as u32]).collect();
        let sids: Vec<&[u32]> = sids.iter().map(|s| &s[..]).collect();
        let objective = ce(Default::default());
        let mut whole = Bag::default();
        logits(0, &values, cols, &mut whole);
        let all = run(&objective, &batch(&sids), &[], 0.1, &mut whole, Some(&mut [])).unwrap();
        let (mut parts, mut grad) = (Terms::default(), Vec::new());
        for (sids, values) in [(&sids[..cut], &values[..cut * cols]), (&sids[cut..], &values[cut * cols..])] {
            let mut bag = Bag::default();
            logits(0, values, cols, &mut bag);
            parts.merge(&run(&objective, &batch(sids), &[], 0.1, &mut bag, Some(&mut [])).unwrap());
            grad.extend_from_slice(&bag.get("logits", 0).unwrap().grad);
        }
        prop_assert!((parts.loss() - all.loss()).abs() < 1e-9);
        prop_assert_eq!(&grad, &whole.get("logits", 0).unwrap().grad);
    }
}

#[test]
fn what_does_not_fit_is_an_error_not_a_panic() {
    let objective = ce(Default::default());
    let fails = |b: &Batch, cols: usize, rows: usize, target_of: Vec<u32>, says: &str| {
        let mut bag = Bag::default();
        logits(0, &vec![0.0; rows * cols], cols, &mut bag);
        bag.get_mut("logits", 0).unwrap().target_of = target_of;
        let e = run(&objective, b, &[], 1.0, &mut bag, None).unwrap_err().to_string();
        assert!(e.contains(says), "{e}");
    };
    fails(&batch(&[&[4]]), 4, 1, vec![], "code 4 at level 0, but the model has 4");
    fails(&batch(&[&[1]]), 4, 2, vec![], "2 rows for 1 targets");
    fails(&batch(&[&[1]]), 4, 2, vec![0], "names the targets of 1");
    fails(&batch(&[&[1]]), 4, 1, vec![3], "target 3 of 1");
    fails(&batch(&[&[]]), 4, 1, vec![], "identifier of 0 codes");
    let mut none = to_items(&[0]);
    none.target_code_offsets.clear();
    fails(&none, 4, 1, vec![], "no SIDs");
    let e = run(&objective, &batch(&[&[0]]), &[], 1.0, &mut Bag::default(), None).unwrap_err();
    assert!(e.to_string().contains("`logits`"), "{e}");
    let two = ce(CrossEntropyOptions { level_weights: vec![1.0, 1.0], label_smoothing: 0.0 });
    let mut bag = Bag::default();
    logits(0, &[0.0; 4], 4, &mut bag);
    let e = run(&two, &batch(&[&[0]]), &[], 1.0, &mut bag, None).unwrap_err().to_string();
    assert!(e.contains("objective.level_weights") && e.contains("2 weights"), "{e}");

    let dot = softmax(1.0, Normalize::None);
    let e = run(&dot, &to_items(&[4]), &[0.0; 10], 1.0, &mut dense(&[0.0; 2], 4, 2), None);
    assert!(e.unwrap_err().to_string().contains("target item 4 of 4"));
    let mut no_items = dense(&[0.0; 2], 4, 2);
    no_items.items = None;
    let e = run(&dot, &to_items(&[0]), &[], 1.0, &mut no_items, None).unwrap_err().to_string();
    assert!(e.contains("item vectors"), "{e}");
}

#[test]
fn options_by_name_with_their_ranges() {
    let mut catalog = Catalog::new("objective");
    register(&mut catalog).unwrap();
    let spec = |name| Spec::new("objective", name);
    assert!(catalog.build(&spec("cross-entropy"), &()).is_ok());
    assert!(catalog.build(&spec("full-softmax").with("normalize", "cosine"), &()).is_ok());
    for (spec, key) in [
        (spec("cross-entropy").with("label_smoothing", 1.0), "objective.label_smoothing"),
        (spec("cross-entropy").with("level_weights", vec![-1.0]), "objective.level_weights"),
        (spec("cross-entropy").with("level_weights", vec![0.0]), "objective.level_weights"),
        (spec("full-softmax").with("temperature", 0.0), "objective.temperature"),
        (spec("full-softmax").with("temperature", 1e300), "objective.temperature"),
        (spec("full-softmax").with("normalize", "l2"), "objective.normalize"),
    ] {
        let e = catalog.build(&spec, &()).err().unwrap().to_string();
        assert!(e.contains(key), "{e}");
    }
}
