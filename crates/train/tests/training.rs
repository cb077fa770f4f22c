//! The loop with a small model: it learns, is the same on any number of threads, stops when it
//! should, and says what went wrong.

#![allow(clippy::unwrap_used)] // Helpers of tests are not inside #[test] functions.

mod common;

use common::*;
use sidereal_core::{Error, Result, Run};
use sidereal_losses::{CrossEntropy, CrossEntropyOptions};
use sidereal_nn::gradcheck::{GradCheck, check_gradients};
use sidereal_nn::{Batch, Model, Objective, ObjectiveInput};
use sidereal_train::source::NoValidation;
use sidereal_train::{Examples, Goal, Stop, TrainOptions, Validate, train};

fn objective() -> CrossEntropy {
    CrossEntropy::new(CrossEntropyOptions::default()).unwrap()
}

#[test]
fn it_learns_and_keeps_the_best_weights() {
    let (weights, summary, watch) = fresh(&TrainOptions { epochs: 30, ..options() }, 1);
    let loss = watch.values("train", "loss");
    assert!((loss[0] - (ITEMS as f64).ln()).abs() < 1.0, "{}", loss[0]);
    assert!(loss[loss.len() - 1] < 0.5 * loss[0], "{loss:?}");
    let best = summary.best.unwrap();
    assert!(best.metrics[0].1 > 0.9, "{best:?}");
    assert_eq!(summary.select.as_deref(), Some("accuracy"));
    // The first of all validations with the highest value, whose weights the model holds.
    let top = summary.validations.iter().map(|v| v.metrics[0].1).fold(0.0, f64::max);
    let first = summary.validations.iter().find(|v| v.metrics[0].1 == top).unwrap();
    assert_eq!(&best, first);
    let mut model = Tiny::new(0);
    model.params_mut().values_mut().copy_from_slice(&weights);
    assert_eq!(Accuracy.validate(&model, &quiet()).unwrap(), best.metrics);
    assert!(summary.peak_memory.is_none_or(|b| b > 0));
    assert_eq!(watch.group("process").len(), 1);
    // 150 examples in steps of 16.
    assert_eq!(summary.validations[0].step, 10);
    assert_eq!(summary.validations[0].epoch, 1.0);
}

#[test]
fn threads_change_nothing() {
    let one = fresh(&options(), 1);
    for threads in [2, 3, 8] {
        let other = fresh(&options(), threads);
        assert_eq!(one.0, other.0);
        assert_eq!(one.1.validations, other.1.validations);
        assert_eq!(one.2.group("train"), other.2.group("train"));
    }
    assert_ne!(one.0, fresh(&TrainOptions { lr: 0.01, ..options() }, 1).0);
}

#[test]
fn the_model_of_these_tests_has_right_gradients() {
    let rule = Rule::new(20);
    let mut batch = Batch::default();
    rule.fill(&(0..20).collect::<Vec<_>>(), &mut batch).unwrap();
    let check = GradCheck { samples: 60, ..GradCheck::default() };
    let n = check_gradients(&mut Tiny::new(1), &objective(), &batch, check).unwrap();
    assert!(n > 50, "{n}");
}

/// Without dropout, whose masks depend on the micro-batch.
fn plain(options: &TrainOptions) -> Vec<f32> {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Tiny::new(3);
    model.dropout = 0.0;
    let mut none = NoValidation;
    train(&mut model, &objective(), &Rule::new(150), &mut none, options, dir.path(), &quiet())
        .unwrap();
    model.weights().to_vec()
}

fn close(a: &[f32], b: &[f32], tolerance: f32) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() < tolerance)
}

#[test]
fn accumulation_and_micro_batches_equal_the_larger_batch() {
    let whole = plain(&TrainOptions { batch: 32, micro_batch: 10_000, lanes: 1, ..options() });
    let accumulated = plain(&TrainOptions { batch: 8, accumulate: 4, ..options() });
    assert!(close(&whole, &accumulated, 1e-4));
    let cut = plain(&TrainOptions { batch: 32, micro_batch: 3, lanes: 5, ..options() });
    assert!(close(&whole, &cut, 1e-4));
    assert!(!close(&whole, &plain(&TrainOptions { batch: 8, ..options() }), 1e-3));
}

#[test]
fn the_rate_follows_the_schedule() {
    let cosine = serde_json::from_str("\"cosine\"").unwrap();
    let (.., watch) = fresh(&TrainOptions { schedule: cosine, ..options() }, 1);
    let lr = watch.values("train", "lr");
    assert_eq!(lr.len(), 60);
    for (i, want) in [0.02 / 3.0, 0.04 / 3.0, 0.02, 0.02].into_iter().enumerate() {
        assert!((lr[i] - want).abs() < 1e-12, "{i}: {}", lr[i]);
    }
    let at = |i: f64| 0.01 * (1.0 + (std::f64::consts::PI * (i - 3.0) / 57.0).cos());
    assert!((lr[30] - at(30.0)).abs() < 1e-9 && lr[59] < 1e-4);
}

#[test]
fn steps_and_intervals() {
    let o = TrainOptions { max_steps: 7, validate_steps: 3, log_every: 4, ..options() };
    let (_, summary, watch) = fresh(&o, 1);
    assert_eq!((summary.steps, summary.stop), (7, Stop::Done));
    let steps: Vec<u64> = watch.group("valid").iter().map(|v| v.0).collect();
    assert_eq!(steps, [3, 6, 7]);
    let logged: Vec<u64> = watch.group("train").iter().map(|v| v.0).collect();
    assert_eq!(logged, [4]);
    // A line is the mean over its steps.
    let (.., every) = fresh(&TrainOptions { log_every: 1, ..o }, 1);
    let mean = every.values("train", "loss")[..4].iter().sum::<f64>() / 4.0;
    assert!((watch.values("train", "loss")[0] - mean).abs() < 1e-12);
    let names: Vec<String> = watch.group("train")[0].1.iter().map(|n| n.0.clone()).collect();
    assert_eq!(names, ["loss", "level_0", "grad_norm", "lr", "epoch"]);
    assert_eq!(watch.values("train", "epoch"), [64.0 / 150.0]);
}

/// Gives the values of a list, one a call.
struct Scripted(Vec<f64>, Goal);

impl Validate for Scripted {
    fn validate(&mut self, _: &dyn Model, _: &Run<'_>) -> Result<Vec<(String, f64)>> {
        Ok(vec![("other".into(), f64::NAN), ("score".into(), self.0.remove(0))])
    }

    fn goal(&self, _metric: &str) -> Goal {
        self.1
    }
}

fn scripted(
    values: &[f64],
    goal: Goal,
    select: &str,
) -> Result<(Vec<f32>, sidereal_train::TrainSummary)> {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Tiny::new(3);
    let mut validate = Scripted(values.to_vec(), goal);
    let o = TrainOptions { patience: 2, select: select.into(), validate_steps: 1, ..options() };
    let rule = Rule::new(150);
    let summary = train(&mut model, &objective(), &rule, &mut validate, &o, dir.path(), &quiet())?;
    Ok((model.weights().to_vec(), summary))
}

#[test]
fn patience_stops_and_the_best_is_kept() {
    let (weights, s) = scripted(&[0.1, 0.3, 0.3, 0.2], Goal::Maximize, "score").unwrap();
    assert_eq!((s.stop, s.steps, s.best.as_ref().unwrap().step), (Stop::Patience, 4, 2));
    let two = TrainOptions { max_steps: 2, ..options() };
    let dir = tempfile::tempdir().unwrap();
    let mut model = Tiny::new(3);
    let rule = Rule::new(150);
    train(&mut model, &objective(), &rule, &mut NoValidation, &two, dir.path(), &quiet()).unwrap();
    assert_eq!(weights, model.weights());
    let (_, s) = scripted(&[0.1, 0.3, 0.4], Goal::Minimize, "score").unwrap();
    assert_eq!((s.steps, s.best.unwrap().step), (3, 1));
}

#[test]
fn a_metric_that_cannot_choose_is_an_error() {
    let e = scripted(&[0.1], Goal::Maximize, "recall").unwrap_err().to_string();
    assert!(e.contains("train.select") && e.contains("other, score"), "{e}");
    let e = scripted(&[0.1], Goal::Maximize, "").unwrap_err();
    assert!(matches!(e, Error::NotFinite { .. }) && e.to_string().contains("`other`"), "{e}");
}

#[test]
fn time_is_a_limit_over_all_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let o = TrainOptions { epochs: 1_000_000, patience: 0, ..options() };
    let short = TrainOptions { max_minutes: Some(0.002), ..o.clone() };
    let first = go(&mut Tiny::new(3), &short, dir.path(), &quiet()).unwrap();
    assert_eq!(first.stop, Stop::Time);
    assert!(first.steps > 0 && first.seconds < 30.0, "{first:?}");
    assert_eq!(first.validations.last().unwrap().step, first.steps);
    // The budget is used up: nothing more happens.
    let again = go(&mut Tiny::new(3), &short, dir.path(), &quiet()).unwrap();
    assert_eq!((again.steps, again.resumed_from), (first.steps, Some(first.steps)));
    // More budget goes on.
    let budget = Some(again.seconds / 60.0 + 0.002);
    let longer = TrainOptions { max_minutes: budget, ..o };
    let more = go(&mut Tiny::new(3), &longer, dir.path(), &quiet()).unwrap();
    assert!(more.steps > first.steps);
}

/// Poisons the weights, gradients or loss from a step on.
struct Poison {
    inner: CrossEntropy,
    gradient: bool,
    left: std::sync::atomic::AtomicI64,
}

impl Objective for Poison {
    fn evaluate(
        &self,
        input: &ObjectiveInput<'_>,
        bag: &mut sidereal_nn::Bag,
        grads: Option<&mut [f32]>,
        terms: &mut sidereal_nn::Terms,
    ) -> Result<()> {
        use std::sync::atomic::Ordering;
        let bad = self.left.fetch_sub(1, Ordering::Relaxed) <= 0;
        let mut grads = grads;
        self.inner.evaluate(input, bag, grads.as_deref_mut(), terms)?;
        match (bad, self.gradient, grads) {
            // The head is the second parameter.
            (true, true, Some(g)) => g[150] = f32::INFINITY,
            (true, false, _) => terms.add("level_0", f64::NAN, 0),
            _ => {}
        }
        Ok(())
    }
}

#[test]
fn numbers_that_blow_up_are_named_and_the_checkpoint_stays() {
    for (gradient, says) in [(true, "gradient of `head.weight`"), (false, "`level_0`")] {
        let dir = tempfile::tempdir().unwrap();
        let poison = Poison { inner: objective(), gradient, left: 3.into() };
        let o = TrainOptions { micro_batch: 1000, lanes: 1, checkpoint_steps: 1, ..options() };
        let mut model = Tiny::new(3);
        let rule = Rule::new(150);
        let e = train(&mut model, &poison, &rule, &mut Accuracy, &o, dir.path(), &quiet());
        let e = e.unwrap_err();
        assert!(matches!(e, Error::NotFinite { step: Some(4), .. }), "{e}");
        assert!(e.to_string().contains(says) && e.to_string().contains("step 4"), "{e}");
        assert!(model.weights().iter().all(|w| w.is_finite()));
        let kept = sidereal_train::checkpoint::list(dir.path()).unwrap();
        assert_eq!(kept[0].0, 3);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut model = Tiny::new(3);
    model.params_mut().values_mut()[5] = f32::NAN;
    let e = go(&mut model, &options(), dir.path(), &quiet()).unwrap_err().to_string();
    assert!(e.contains("parameter `items.weight`"), "{e}");
}

struct Nothing(usize);

impl Examples for Nothing {
    fn len(&self) -> usize {
        self.0
    }
    fn cost(&self, _: usize) -> usize {
        0
    }
    fn fill(&self, _: &[usize], batch: &mut Batch) -> Result<()> {
        *batch = Batch::default();
        Ok(())
    }
}

#[test]
fn nothing_to_learn() {
    let dir = tempfile::tempdir().unwrap();
    let go = |n, seed| {
        let mut model = Tiny::new(seed);
        let before = model.weights().to_vec();
        let mut none = NoValidation;
        let o = options();
        train(&mut model, &objective(), &Nothing(n), &mut none, &o, dir.path(), &quiet())
            .map(|s| (s.steps, before == model.weights()))
    };
    assert!(go(0, 1).unwrap_err().to_string().contains("no training example"));
    // Rows without targets pass by without an update.
    assert_eq!(go(20, 1).unwrap(), (12, true));
}

#[test]
fn a_folder_that_cannot_be_written_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"in the way").unwrap();
    let e = go(&mut Tiny::new(3), &options(), &file.join("sub"), &quiet()).unwrap_err();
    assert!(matches!(e, Error::Write { .. } | Error::Read { .. }), "{e}");
    assert!(e.to_string().contains("file"), "{e}");
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let o = TrainOptions { checkpoint_steps: 5, ..options() };
    // A folder where the temporary file of step 10 would be, as a full disk would refuse it.
    let name = format!(".checkpoint-0000000010.safetensors.{}.tmp", std::process::id());
    let blocked = dir.path().join(name);
    std::fs::create_dir(&blocked).unwrap();
    let e = go(&mut Tiny::new(3), &o, dir.path(), &quiet()).unwrap_err();
    assert!(matches!(e, Error::Write { .. }) && e.to_string().contains("0000000010"), "{e}");
    let kept = sidereal_train::checkpoint::list(dir.path()).unwrap();
    assert_eq!(kept.iter().map(|c| c.0).collect::<Vec<_>>(), [5, 0]);
    std::fs::remove_dir(&blocked).unwrap();
    let mut model = Tiny::new(4);
    let end = go(&mut model, &o, dir.path(), &quiet()).unwrap();
    assert_eq!(end.resumed_from, Some(5));
    assert_eq!(model.weights(), fresh(&o, 1).0);
}

#[test]
fn options_are_checked_before_anything_happens() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("checkpoints");
    let bad = TrainOptions { batch: 0, ..options() };
    let e = go(&mut Tiny::new(3), &bad, &at, &quiet()).unwrap_err().to_string();
    assert!(e.contains("train.batch"), "{e}");
    assert!(!at.exists());
}
