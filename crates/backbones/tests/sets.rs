//! Set decoding against plain loops, and the sheet's checks of order and independence.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use sidereal_backbones::{QueryDecoder, SetModel, SetRecommender};
use sidereal_core::{ItemId, ItemSet, Matrix, Recommender, Request, Run, seed};
use sidereal_nn::Batch;
use std::sync::Arc;

const D: usize = 5;

fn noise(rows: usize, cols: usize, salt: u64) -> Matrix {
    let value = |i: u64| (seed::mix(i ^ salt << 32) >> 40) as f32 / (1u32 << 23) as f32 - 1.0;
    Matrix::new(rows, cols, (0..(rows * cols) as u64).map(value).collect()).unwrap()
}

/// A decoder with weights large enough to matter.
fn decoder(tokens: &Arc<Matrix>, slots: usize) -> QueryDecoder {
    let mut decoder = QueryDecoder::new(tokens.clone(), slots, 6, 1).unwrap();
    let values = decoder.params_mut().values_mut();
    let n = values.len();
    values.copy_from_slice(noise(1, n, 9).data());
    decoder
}

fn batch(histories: &[&[u32]]) -> Batch {
    let mut batch = Batch { item_offsets: vec![0], ..Batch::default() };
    for history in histories {
        batch.items.extend(history.iter().copied().map(ItemId));
        batch.item_offsets.push(batch.items.len() as u32);
    }
    batch
}

/// `h_k` of one history by loops in f64.
fn plain(decoder: &QueryDecoder, tokens: &Matrix, slots: usize, history: &[u32]) -> Vec<f64> {
    let w: Vec<f64> = decoder.params().values().iter().map(|&w| f64::from(w)).collect();
    let (queries, rest) = w.split_at(slots * D);
    let (places, maps) = rest.split_at(6 * D);
    let map = |which: usize, x: &[f64]| -> Vec<f64> {
        let w = &maps[which * D * D..];
        (0..D).map(|o| (0..D).map(|i| x[i] * w[i * D + o]).sum()).collect()
    };
    let mut inputs: Vec<Vec<f64>> = Vec::new();
    for (at, &item) in history.iter().enumerate() {
        let ago = history.len() - 1 - at;
        for k in 0..slots {
            let token = &tokens.row(item as usize)[k * D..(k + 1) * D];
            inputs.push((0..D).map(|i| f64::from(token[i]) + places[ago * D + i]).collect());
        }
    }
    let mut out = Vec::new();
    for q in queries.chunks(D) {
        let asked = map(0, q);
        let score = |x: &Vec<f64>| -> f64 {
            map(1, x).iter().zip(&asked).map(|(k, q)| k * q).sum::<f64>() / (D as f64).sqrt()
        };
        let e: Vec<f64> = inputs.iter().map(|x| score(x).exp()).collect();
        let mut mixed = vec![0.0; D];
        for (x, e_t) in inputs.iter().zip(&e) {
            let share = e_t / e.iter().sum::<f64>();
            mixed.iter_mut().zip(map(2, x)).for_each(|(m, v)| *m += share * v);
        }
        out.extend(map(3, &mixed).iter().zip(q).map(|(h, q)| h + q));
    }
    out
}

#[test]
fn queries_equal_plain_loops() {
    let tokens = Arc::new(noise(9, 3 * D, 2));
    let decoder = decoder(&tokens, 3);
    let histories: [&[u32]; 4] = [&[1, 2, 3], &[], &[8], &[0, 1, 2, 3, 4, 5]];
    let all = decoder.set_queries(&batch(&histories)).unwrap();
    assert_eq!((all.rows(), all.cols()), (4, 3 * D));
    for (row, history) in histories.iter().enumerate() {
        for (got, want) in all.row(row).iter().zip(plain(&decoder, &tokens, 3, history)) {
            assert!((f64::from(*got) - want).abs() < 1e-5, "{got} {want}");
        }
    }
    // Without history the learnt queries themselves.
    assert_eq!(all.row(1), &decoder.params().values()[..3 * D]);
}

fn request<'a>(history: &'a [ItemId]) -> Request<'a> {
    Request { history, ..Request::default() }
}

#[test]
fn lists_are_the_best_sums_of_dot_products() {
    let n = 1500;
    let tokens = Arc::new(noise(n, 3 * D, 3));
    let weights = vec![0.7, 0.3, 0.3];
    let decoder = decoder(&tokens, 3);
    let history = [4, 9, 2].map(ItemId);
    let queries = decoder.set_queries(&batch(&[&[4, 9, 2]])).unwrap();
    let score = |v: usize| -> f64 {
        (0..3)
            .map(|k| {
                let (h, t) = (&queries.row(0)[k * D..], &tokens.row(v)[k * D..]);
                let dot: f64 = (0..D).map(|i| f64::from(h[i]) * f64::from(t[i])).sum();
                f64::from(weights[k]) * dot
            })
            .sum()
    };
    let recommender = SetRecommender::new(decoder, tokens.clone(), weights.clone()).unwrap();
    let among = ItemSet::from_items(n, (0..n as u32).step_by(3).map(ItemId)).unwrap();
    let exclude = [ItemId(0), ItemId(300), ItemId(301)];
    let requests = [
        request(&history),
        Request { among: Some(&among), exclude: &exclude, ..request(&history) },
        Request { among: Some(&ItemSet::none(n)), ..request(&history) },
    ];
    let lists = recommender.recommend(&requests, 20, &Run::quiet(0)).unwrap();
    for (request, list) in requests.iter().zip(&lists) {
        let mut want: Vec<usize> = (0..n).filter(|&v| request.allows(ItemId(v as u32))).collect();
        want.sort_by(|&a, &b| score(b).total_cmp(&score(a)).then(a.cmp(&b)));
        want.truncate(20);
        let got: Vec<usize> = list.items.iter().map(|r| r.item.index()).collect();
        assert_eq!(got, want);
        for r in &list.items {
            assert!((r.score - score(r.item.index())).abs() < 1e-4);
        }
    }
    let many: Vec<Request<'_>> = (0..100).map(|i| requests[i % 3]).collect();
    let one = recommender.recommend(&many, 7, &Run::quiet(0)).unwrap();
    for threads in [2, 5] {
        let run = Run { threads, ..Run::quiet(0) };
        assert_eq!(recommender.recommend(&many, 7, &run).unwrap(), one);
    }
}

#[test]
fn the_order_of_the_slots_says_nothing() {
    let order = [2, 0, 3, 1];
    let permuted = |m: &Matrix| {
        let mut out = m.clone();
        for row in 0..m.rows() {
            for (new, &old) in order.iter().enumerate() {
                let part = &m.row(row)[old * D..(old + 1) * D];
                out.row_mut(row)[new * D..(new + 1) * D].copy_from_slice(part);
            }
        }
        out
    };
    let tokens = Arc::new(noise(60, 4 * D, 4));
    let weights = [0.4, 0.6, 0.5, 0.1];
    let plain = decoder(&tokens, 4);
    let other_tokens = Arc::new(permuted(&tokens));
    let mut other = decoder(&other_tokens, 4);
    let queries = Matrix::new(1, 4 * D, plain.params().values()[..4 * D].to_vec()).unwrap();
    other.params_mut().values_mut()[..4 * D].copy_from_slice(permuted(&queries).data());
    let history = [5, 17, 33, 2].map(ItemId);
    let scores = |model: QueryDecoder, tokens: Arc<Matrix>, weights: Vec<f32>| {
        let recommender = SetRecommender::new(model, tokens, weights).unwrap();
        let lists = recommender.recommend(&[request(&history)], 60, &Run::quiet(0)).unwrap();
        let mut scores = vec![0.0; 60];
        lists[0].items.iter().for_each(|r| scores[r.item.index()] = r.score);
        scores
    };
    let a = scores(plain, tokens, weights.to_vec());
    let b = scores(other, other_tokens, order.iter().map(|&k| weights[k]).collect());
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?}\n{b:?}");
    assert!(a.iter().any(|a| a.abs() > 0.1));
}

#[test]
fn queries_do_not_see_each_other_but_see_every_token() {
    let tokens = noise(9, 3 * D, 5);
    let mut model = decoder(&Arc::new(tokens.clone()), 3);
    let input = batch(&[&[1, 2, 3]]);
    let before = model.set_queries(&input).unwrap();
    model.params_mut().values_mut()[D] += 0.5;
    let after = model.set_queries(&input).unwrap();
    assert_eq!(before.row(0)[..D], after.row(0)[..D]);
    assert_eq!(before.row(0)[2 * D..], after.row(0)[2 * D..]);
    assert_ne!(before.row(0)[D..2 * D], after.row(0)[D..2 * D]);
    let mut changed = tokens;
    changed.row_mut(3)[2 * D] += 0.5;
    let model = decoder(&Arc::new(changed), 3);
    let other = model.set_queries(&input).unwrap();
    for k in 0..3 {
        assert_ne!(before.row(0)[k * D..(k + 1) * D], other.row(0)[k * D..(k + 1) * D]);
    }
    // The order of the history counts.
    let model = decoder(&Arc::new(noise(9, 3 * D, 5)), 3);
    assert_ne!(model.set_queries(&batch(&[&[2, 1, 3]])).unwrap(), before);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let tokens = Arc::new(noise(9, 2 * D, 6));
    assert!(QueryDecoder::new(tokens.clone(), 3, 5, 0).is_err());
    assert!(QueryDecoder::new(tokens.clone(), 0, 5, 0).is_err());
    assert!(QueryDecoder::new(tokens.clone(), 2, 0, 0).is_err());
    let bad = Arc::new(Matrix::new(1, 2, vec![0.0, f32::NAN]).unwrap());
    assert!(QueryDecoder::new(bad, 2, 5, 0).err().unwrap().to_string().contains("item 0"));
    let model = || decoder(&tokens, 2);
    let new =
        |tokens: Arc<Matrix>, weights: Vec<f32>| SetRecommender::new(model(), tokens, weights);
    assert!(new(tokens.clone(), vec![1.0]).is_err());
    assert!(new(tokens.clone(), vec![1.0, f32::NAN]).is_err());
    assert!(new(Arc::new(noise(9, 3, 0)), vec![1.0, 1.0]).is_err());
    assert!(model().set_queries(&batch(&[&[9]])).unwrap_err().to_string().contains("item 9"));
    assert!(model().set_queries(&batch(&[&[0; 7]])).is_err());
    let recommender = new(tokens.clone(), vec![1.0, 1.0]).unwrap();
    let other = ItemSet::all(8);
    let request = Request { among: Some(&other), ..Request::default() };
    assert!(recommender.recommend(&[request], 1, &Run::quiet(0)).is_err());
    assert!(recommender.recommend(&[], 1, &Run::quiet(0)).unwrap().is_empty());
}
