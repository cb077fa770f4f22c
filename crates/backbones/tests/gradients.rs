//! Gradients of whole models against differences, and rows of a batch that do not see each other.

#![allow(clippy::unwrap_used)] // Helpers of tests are not inside #[test] functions.

mod common;

use common::{batch_of, fixed_table};
use rand::Rng;
use sidereal_backbones::Backbone;
use sidereal_backbones::causal::{Causal, CausalOptions};
use sidereal_backbones::hstu::{Hstu, HstuOptions};
use sidereal_backbones::rpg::{Rpg, RpgOptions};
use sidereal_backbones::sasrec::{Sasrec, SasrecOptions};
use sidereal_backbones::tiger::{Tiger, TigerOptions};
use sidereal_core::{ItemId, UserId, seed};
use sidereal_losses::{
    CrossEntropy, CrossEntropyOptions, FullSoftmax, FullSoftmaxOptions, Normalize,
};
use sidereal_nn::gradcheck::{GradCheck, check_gradients};
use sidereal_nn::{Batch, BatchBuilder, Model, Objective, Pass};

const WIDTHS: [u32; 3] = [5, 6, 4];
const ITEMS: usize = 40;
const SEQUENCES: [&[u32]; 4] = [&[1, 2, 3, 30, 9], &[5, 6], &[9, 8, 7, 6, 5, 4, 3], &[2, 2, 39]];

fn tiger(change: impl FnOnce(&mut TigerOptions)) -> Tiger {
    let mut options = TigerOptions {
        d_model: 8,
        d_ff: 12,
        layers: 2,
        decoder_layers: 2,
        heads: 2,
        d_kv: 4,
        buckets: 8,
        max_distance: 20,
        dropout: 0.0,
        ..Default::default()
    };
    change(&mut options);
    moved(Tiger::new(options, 3, 6, 1).unwrap(), 0.1)
}

fn causal(change: impl FnOnce(&mut CausalOptions)) -> Causal {
    let mut options = CausalOptions {
        d_model: 8,
        d_ff: 12,
        layers: 2,
        heads: 2,
        d_kv: 4,
        buckets: 8,
        max_distance: 20,
        dropout: 0.0,
        ..Default::default()
    };
    change(&mut options);
    moved(Causal::new(options, &WIDTHS, 2).unwrap(), 0.1)
}

fn rpg(dropout: f32) -> Rpg {
    let (d_model, d_ff, layers, heads, max_history) = (8, 12, 2, 2, 10);
    let temperature = 0.5;
    let options = RpgOptions { d_model, d_ff, layers, heads, temperature, dropout, max_history };
    moved(Rpg::new(options, &WIDTHS, 3).unwrap(), 0.3)
}

fn sasrec(dropout: f32) -> Sasrec {
    let options =
        SasrecOptions { d_model: 8, d_ff: 12, layers: 2, heads: 2, dropout, max_history: 10 };
    moved(Sasrec::new(options, ITEMS, 3).unwrap(), 0.3)
}

fn hstu(dropout: f32) -> Hstu {
    let (d_model, layers, heads, d_qk, d_v, max_history) = (8, 2, 2, 5, 4, 10);
    let options = HstuOptions { d_model, layers, heads, d_qk, d_v, dropout, max_history };
    moved(Hstu::new(options, ITEMS, 3).unwrap(), 0.3)
}

/// Moves all weights, so that no norm is one, no bias zero and no item vector tiny.
fn moved<M: Model>(mut model: M, by: f32) -> M {
    let mut rng = seed::stream(4, "test-weights", 0);
    model.params_mut().values_mut().iter_mut().for_each(|w| *w += by * rng.random_range(-1.7..1.7));
    model
}

fn cross_entropy() -> CrossEntropy {
    // Different weights, so that levels cannot be swapped.
    let level_weights = vec![1.0, 0.5, 2.0];
    CrossEntropy::new(CrossEntropyOptions { level_weights, label_smoothing: 0.1 }).unwrap()
}

/// Sets the hidden biases so that every second unit is on and the others off whatever comes in:
/// then no step reaches a kink of a ReLU and differences are as exact as f32 allows.
fn without_kinks(model: &mut dyn Model) {
    let hidden = |name: &str| name.ends_with(".wi.bias") || name.contains(".wm.");
    let infos = model.params().infos().to_vec();
    for info in infos.iter().filter(|i| hidden(&i.name) && i.name.ends_with(".bias")) {
        let size = if info.name.ends_with(".wi.bias") { 5.0 } else { 20.0 };
        let biases = info.slot.of_mut(model.params_mut().values_mut());
        biases.iter_mut().enumerate().for_each(|(i, b)| *b += [size, -size][i % 2]);
    }
}

/// Every tensor along its gradient, and a dozen coordinates of each: closely where the ReLUs have
/// no kinks within reach, and with masks that differ from row to row as closely as kinks allow.
fn check(what: &str, model: &mut dyn Model, objective: &dyn Objective, batch: &Batch) {
    let tensors = model.params().infos().len();
    let samples = 12;
    // The shorter the step, the fewer kinks and the more rounding.
    let rough =
        GradCheck { samples, step: 2e-4, absolute: 5e-3, relative: 5e-2, may_fail: 0.02, key: 1 };
    let close =
        GradCheck { samples, step: 4e-3, absolute: 1e-3, relative: 5e-3, may_fail: 0.0, key: 2 };
    let run = |model: &mut dyn Model, check| match check_gradients(model, objective, batch, check) {
        Ok(n) => assert_eq!(n, samples * tensors, "{what}"),
        Err(e) => panic!("{what}, {check:?}: {e}"),
    };
    run(model, rough);
    without_kinks(model);
    run(model, close);
}

fn with_users(mut batch: Batch) -> Batch {
    // Two users share a token, one is unknown.
    batch.users = vec![Some(UserId(1)), None, Some(UserId(4)), Some(UserId(2))];
    batch
}

#[test]
fn tiger_with_one_target_a_row() {
    let batch = with_users(batch_of(&fixed_table(ITEMS, &WIDTHS), &SEQUENCES, false));
    for dropout in [0.0, 0.3] {
        for mlp_layers in [1, 2] {
            for (separator, user_tokens) in [(true, 0), (false, 0), (true, 3), (false, 3)] {
                let mut model = tiger(|o| {
                    (o.dropout, o.mlp_layers) = (dropout, mlp_layers);
                    (o.separator, o.user_tokens) = (separator, user_tokens);
                });
                let what = format!("dropout {dropout}, {mlp_layers} {separator} {user_tokens}");
                check(&what, &mut model, &cross_entropy(), &batch);
            }
        }
    }
}

#[test]
fn tiger_with_every_item_a_target() {
    let batch = with_users(batch_of(&fixed_table(ITEMS, &WIDTHS), &SEQUENCES, true));
    for dropout in [0.0, 0.3] {
        for (mlp_layers, separator, user_tokens) in [(1, true, 0), (2, false, 3), (2, true, 3)] {
            let mut model = tiger(|o| {
                o.encoder = "causal".to_string();
                (o.dropout, o.mlp_layers) = (dropout, mlp_layers);
                (o.separator, o.user_tokens) = (separator, user_tokens);
            });
            let what = format!("dropout {dropout}, {mlp_layers} {separator} {user_tokens}");
            check(&what, &mut model, &cross_entropy(), &batch);
        }
    }
}

#[test]
fn causal_with_every_item_or_the_last_a_target() {
    let table = fixed_table(ITEMS, &WIDTHS);
    for every in [true, false] {
        let batch = batch_of(&table, &SEQUENCES, every);
        for dropout in [0.0, 0.3] {
            for mlp_layers in [1, 2] {
                let mut model = causal(|o| (o.dropout, o.mlp_layers) = (dropout, mlp_layers));
                let what = format!("every {every}, dropout {dropout}, {mlp_layers}");
                check(&what, &mut model, &cross_entropy(), &batch);
            }
        }
    }
}

#[test]
fn rpg_with_every_item_or_the_last_a_target() {
    let table = fixed_table(ITEMS, &WIDTHS);
    for every in [true, false] {
        let batch = batch_of(&table, &SEQUENCES, every);
        for dropout in [0.0, 0.3] {
            let what = format!("every {every}, dropout {dropout}");
            check(&what, &mut rpg(dropout), &cross_entropy(), &batch);
        }
    }
}

#[test]
fn sasrec_with_the_full_softmax() {
    let table = fixed_table(ITEMS, &WIDTHS);
    for every in [true, false] {
        let batch = batch_of(&table, &SEQUENCES, every);
        for dropout in [0.0, 0.3] {
            for normalize in [Normalize::None, Normalize::Cosine] {
                let temperature = if normalize == Normalize::None { 2.0 } else { 0.3 };
                let o = FullSoftmaxOptions { temperature, normalize };
                let what = format!("every {every}, dropout {dropout}, {normalize:?}");
                check(&what, &mut sasrec(dropout), &FullSoftmax::new(o).unwrap(), &batch);
            }
        }
    }
}

fn with_times(mut batch: Batch) -> Batch {
    batch.times = (0..batch.items.len() as i64).map(|i| 1000 * i * i).collect();
    batch
}

#[test]
fn hstu_with_the_full_softmax() {
    let table = fixed_table(ITEMS, &WIDTHS);
    let o = FullSoftmaxOptions { temperature: 0.3, normalize: Normalize::Cosine };
    let objective = FullSoftmax::new(o).unwrap();
    for dropout in [0.0, 0.3] {
        let batch = batch_of(&table, &SEQUENCES, true);
        check(&format!("dropout {dropout}"), &mut hstu(dropout), &objective, &batch);
        let what = format!("dropout {dropout}, with times");
        check(&what, &mut hstu(dropout), &objective, &with_times(batch));
    }
}

#[test]
fn a_query_of_hstu_is_that_of_its_row_alone() {
    let model = hstu(0.3);
    let all = model.queries(&requests(&SEQUENCES)).unwrap();
    for (row, sequence) in SEQUENCES.iter().enumerate() {
        let alone = model.queries(&requests(&[sequence])).unwrap();
        assert!(close(all.row(row), alone.row(0)), "row {row}");
        let other = model.queries(&requests(&[&[17, 3], &[], sequence, &[11; 10]])).unwrap();
        assert!(close(other.row(2), alone.row(0)), "row {row}");
        assert!(other.row(1).iter().all(|q| *q == 0.0));
    }
    assert!(!close(all.row(0), all.row(1)));
    // Times take part where a batch has them, and only whole.
    let mut timed = with_times(requests(&SEQUENCES));
    assert!(!close(model.queries(&timed).unwrap().row(0), all.row(0)));
    timed.times.pop();
    let error = model.queries(&timed).unwrap_err().to_string();
    assert!(error.contains("16 times for 17 history items"), "{error}");
}

#[test]
fn a_time_of_hstu_reaches_the_row_before_it() {
    let model = hstu(0.0);
    let batch = batch_of(&fixed_table(ITEMS, &WIDTHS), &[&[1, 2, 3, 30, 9, 4]], true);
    let queries = |batch: &Batch| {
        let mut ws = model.workspace();
        model.forward(batch, Pass::Evaluate, &mut ws).unwrap();
        ws.bag.get("query", 0).unwrap().value.clone()
    };
    let before = queries(&with_times(batch.clone()));
    let mut changed = with_times(batch);
    // The history is the first five items; the fourth moves by years.
    changed.times[3] += 200_000_000;
    let after = queries(&changed);
    let same = |row: usize| close(&before[row * 8..][..8], &after[row * 8..][..8]);
    // A row asks with the time of the next item, so the change shows one row early.
    assert_eq!((0..5).map(same).collect::<Vec<_>>(), [true, true, false, false, false]);
}

fn requests(histories: &[&[u32]]) -> Batch {
    let builder = BatchBuilder::new(None, 10);
    let mut batch = Batch::default();
    builder.clear(&mut batch);
    for h in histories {
        let ids: Vec<ItemId> = h.iter().map(|&i| ItemId(i)).collect();
        builder.push_history(&mut batch, &ids).unwrap();
    }
    batch
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5 * (1.0 + b.abs()))
}

#[test]
fn a_query_of_sasrec_is_that_of_its_row_alone() {
    let model = sasrec(0.3);
    let all = model.queries(&requests(&SEQUENCES)).unwrap();
    for (row, sequence) in SEQUENCES.iter().enumerate() {
        let alone = model.queries(&requests(&[sequence])).unwrap();
        assert!(close(all.row(row), alone.row(0)), "row {row}");
        // Other neighbours on both sides, one of them empty.
        let other = model.queries(&requests(&[&[17, 3], &[], sequence, &[11; 10]])).unwrap();
        assert!(close(other.row(2), alone.row(0)), "row {row}");
        assert!(other.row(1).iter().all(|q| *q == 0.0));
    }
    assert!(!close(all.row(0), all.row(1)));
}

#[test]
fn packed_queries_of_sasrec_see_only_what_came_before() {
    let model = sasrec(0.3);
    let batch = batch_of(&fixed_table(ITEMS, &WIDTHS), &SEQUENCES, true);
    let mut ws = model.workspace();
    model.forward(&batch, Pass::Evaluate, &mut ws).unwrap();
    let field = ws.bag.get("query", 0).unwrap();
    assert_eq!(field.rows, SEQUENCES.iter().map(|s| s.len() - 1).sum::<usize>());
    for (t, target) in batch.targets.iter().enumerate() {
        let seen = &SEQUENCES[target.row as usize][..target.position as usize];
        let alone = model.queries(&requests(&[seen])).unwrap();
        assert!(close(&field.value[t * field.cols..][..field.cols], alone.row(0)), "target {t}");
    }
}

/// Logits of all levels, target after target.
fn logits(model: &dyn Model, batch: &Batch) -> Vec<Vec<f32>> {
    let mut ws = model.workspace();
    model.forward(batch, Pass::Evaluate, &mut ws).unwrap();
    let levels: Vec<_> = (0..3).map(|h| ws.bag.get("logits", h).unwrap()).collect();
    let row = |t: usize| levels.iter().flat_map(move |f| &f.value[t * f.cols..(t + 1) * f.cols]);
    (0..batch.targets.len()).map(|t| row(t).copied().collect()).collect()
}

#[test]
fn logits_of_a_row_are_those_of_the_row_alone() {
    let table = fixed_table(ITEMS, &WIDTHS);
    let models: [Box<dyn Backbone>; 3] = [
        Box::new(tiger(|o| o.mlp_layers = 1)),
        Box::new(tiger(|o| o.encoder = "causal".to_string())),
        Box::new(causal(|_| ())),
    ];
    for (m, model) in models.iter().enumerate() {
        let all = logits(model.as_model(), &batch_of(&table, &SEQUENCES, false));
        for (row, sequence) in SEQUENCES.iter().enumerate() {
            let alone = logits(model.as_model(), &batch_of(&table, &[sequence], false));
            assert!(close(&all[row], &alone[0]), "model {m}, row {row}");
        }
        assert!(!close(&all[0], &all[1]));
    }
}
