//! M-FALCON against one full forward a candidate.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use sidereal_backbones::Backbone;
use sidereal_backbones::hstu::{Hstu, HstuOptions};
use sidereal_core::{ItemId, Run, seed};
use sidereal_nn::hstu::CandidateTimes;
use sidereal_nn::{Batch, Model};

const N_ITEMS: usize = 90;

fn model(heads: usize, max_history: usize) -> Hstu {
    let options = HstuOptions {
        d_model: 12,
        layers: 3,
        heads,
        d_qk: 5,
        d_v: 7,
        max_history,
        ..HstuOptions::default()
    };
    let mut model = Hstu::new(options, N_ITEMS, 3).unwrap();
    // Fresh weights are small; larger ones make every part of a block count.
    for (i, w) in model.params_mut().values_mut().iter_mut().enumerate() {
        let noise = seed::mix(i as u64) >> 40;
        *w = *w * 3.0 + (noise as f32 / (1u32 << 24) as f32 - 0.5) * 0.4;
    }
    model
}

fn history(n: usize) -> (Vec<ItemId>, Vec<i64>) {
    let items = (0..n).map(|i| ItemId((i * 7 % N_ITEMS) as u32)).collect();
    let times = (0..n).map(|i| 1_000 + (i * i * 37) as i64).collect();
    (items, times)
}

/// One full forward over history and candidate: the state of the last row.
fn full(
    model: &Hstu,
    history: &[ItemId],
    times: Option<CandidateTimes<'_>>,
    candidate: ItemId,
) -> Vec<f32> {
    let items = [history, &[candidate]].concat();
    let times = times.map_or_else(Vec::new, |t| [t.history, &[t.now]].concat());
    let item_offsets = vec![0, items.len() as u32];
    let batch = Batch { item_offsets, items, times, ..Batch::default() };
    model.queries(&batch).unwrap().row(0).to_vec()
}

#[test]
fn candidates_equal_one_full_forward_each() {
    let run = Run { threads: 2, ..Run::quiet(0) };
    let candidates: Vec<ItemId> = (0..64).map(|i| ItemId(89 - i)).collect();
    for (heads, n) in [(1, 1), (2, 23), (3, 49), (2, 0)] {
        let model = model(heads, 50);
        let (items, seconds) = history(n);
        for timed in [true, false] {
            let given = timed.then_some(CandidateTimes { history: &seconds, now: 123_456 });
            let session = model.candidates(&items, given).unwrap();
            let vectors = model.item_vectors().unwrap();
            for micro_batch in [64, 7, 1] {
                let states = session.states(&candidates, micro_batch, &run).unwrap();
                let scores = session.scores(&candidates, micro_batch, &run).unwrap();
                for (i, &candidate) in candidates.iter().enumerate() {
                    let want = full(&model, &items, given, candidate);
                    for (got, want) in states.row(i).iter().zip(&want) {
                        assert!(
                            (got - want).abs() < 1e-5 * want.abs().max(1.0),
                            "{heads} heads, {n} items, timed {timed}, {micro_batch}: {got} {want}"
                        );
                    }
                    let vector = &vectors[candidate.index() * 12..][..12];
                    let score: f32 = want.iter().zip(vector).map(|(h, e)| h * e).sum();
                    assert!((scores[i] - score).abs() < 1e-5 * score.abs().max(1.0));
                }
            }
        }
    }
}

#[test]
fn candidates_do_not_see_each_other_and_threads_change_no_bit() {
    let model = model(2, 50);
    let (items, _) = history(30);
    let session = model.candidates(&items, None).unwrap();
    let mut candidates: Vec<ItemId> = (0..20).map(ItemId).collect();
    let one = session.scores(&candidates, 6, &Run::quiet(0)).unwrap();
    for threads in [2, 5] {
        let run = Run { threads, ..Run::quiet(0) };
        assert_eq!(session.scores(&candidates, 6, &run).unwrap(), one);
    }
    candidates[3] = ItemId(77);
    let other = session.scores(&candidates, 6, &Run::quiet(0)).unwrap();
    assert_ne!(one[3], other[3]);
    for i in (0..20).filter(|&i| i != 3) {
        assert_eq!(one[i].to_bits(), other[i].to_bits());
    }
}

#[test]
fn the_candidate_and_the_request_time_count() {
    let model = model(2, 50);
    let (items, times) = history(30);
    let candidates: Vec<ItemId> = (0..20).map(ItemId).collect();
    let scores = |now| {
        let times = CandidateTimes { history: &times, now };
        let session = model.candidates(&items, Some(times)).unwrap();
        session.scores(&candidates, 8, &Run::quiet(0)).unwrap()
    };
    assert_ne!(scores(40_000), scores(4_000_000));
    // More than a product with a state of the history alone: the states of two candidates differ.
    let session = model.candidates(&items, None).unwrap();
    let states = session.states(&candidates[..2], 8, &Run::quiet(0)).unwrap();
    assert_ne!(states.row(0), states.row(1));
}

#[test]
fn long_histories_keep_their_end_and_wrong_input_is_refused() {
    let model = model(1, 10);
    let (items, times) = history(25);
    let candidates = [ItemId(1), ItemId(2)];
    let of = |items: &[ItemId], times: &[i64]| {
        let times = CandidateTimes { history: times, now: 99_999 };
        let session = model.candidates(items, Some(times)).unwrap();
        session.scores(&candidates, 2, &Run::quiet(0)).unwrap()
    };
    assert_eq!(of(&items, &times), of(&items[16..], &times[16..]));
    let session = model.candidates(&items, None).unwrap();
    assert!(session.scores(&[], 2, &Run::quiet(0)).unwrap().is_empty());
    let error = |items: &[ItemId], b| session.scores(items, b, &Run::quiet(0)).unwrap_err();
    assert!(error(&candidates, 0).to_string().contains("1 and up"));
    assert!(error(&[ItemId(90)], 1).to_string().contains("item 90"));
    assert!(model.candidates(&[ItemId(90)], None).is_err());
    let short = CandidateTimes { history: &times[1..], now: 0 };
    let e = model.candidates(&items, Some(short)).err().unwrap();
    assert!(e.to_string().contains("24 times for 25"), "{e}");
    let run = Run::quiet(0);
    run.cancel.cancel();
    assert!(session.scores(&candidates, 1, &run).is_err());
}
