//! SiLU attention equals the plain candle composition, forward and backward.

#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor, Var};
use proptest::prelude::*;
use rand::Rng;
use sidereal_core::seed;
use sidereal_nn::kernels::silu_attention::{
    BiasGrads, Grads, Place, PositionBias, Scratch, SiluAttention, Span, TimeBias, next_times,
    time_bucket,
};

fn random(n: usize, key: u64) -> Vec<f32> {
    let mut rng = seed::stream(key, "test", n as u64);
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn tensor(v: &[f32], shape: (usize, usize)) -> Tensor {
    Tensor::from_slice(v, shape, &Device::Cpu).unwrap()
}

fn var(v: &[f32], shape: (usize, usize)) -> Var {
    Var::from_tensor(&tensor(v, shape)).unwrap()
}

/// Times of one row of history.
#[derive(Debug, Clone, Copy)]
enum Clock {
    /// All the same.
    Still,
    /// Rising by minutes to days.
    Rising,
    /// In no order, with gaps up to what 64 bits hold.
    Wild,
}

fn times(clock: Clock, n: usize, key: u64) -> Vec<i64> {
    let mut rng = seed::stream(key, "times", 0);
    let mut now = 1_500_000_000;
    let mut next = || match clock {
        Clock::Still => now,
        Clock::Rising => {
            now += rng.random_range(0..200_000);
            now
        }
        Clock::Wild => rng.random::<i64>() >> rng.random_range(0..60),
    };
    (0..n).map(|_| next()).collect()
}

#[derive(Debug, Clone)]
struct Case {
    heads: usize,
    width: usize,
    value_width: usize,
    /// Query and key rows of each span.
    lengths: Vec<(usize, usize)>,
    position: bool,
    time: Option<Clock>,
    /// Queries, keys and values in one buffer.
    joint: bool,
    threads: usize,
    key: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let widths = || prop::sample::select(vec![1usize, 5, 16, 24, 32, 40]);
    let lengths = prop::collection::vec((0usize..60, 0usize..60), 1..5);
    let clock = prop::sample::select(vec![None, Some(0), Some(1), Some(2)]);
    let long = prop::sample::select(vec![0usize, 0, 1, 97, 150]);
    let flags = (any::<bool>(), any::<bool>(), 1usize..4, any::<u64>());
    (1usize..4, widths(), widths(), lengths, long, clock, flags).prop_map(
        |(heads, width, value_width, mut lengths, long, clock, (position, joint, threads, key))| {
            lengths.push((long, long));
            if joint {
                lengths.iter_mut().for_each(|l| l.1 = l.0);
            }
            let time = clock.map(|c| [Clock::Still, Clock::Rising, Clock::Wild][c]);
            Case { heads, width, value_width, lengths, position, time, joint, threads, key }
        },
    )
}

#[track_caller]
fn close(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * (1.0 + w.abs()), "{what} at {i}: {g}, candle has {w}");
    }
}

fn check(case: &Case) {
    let Case { heads, width, value_width, joint, key, .. } = *case;
    // Odd offsets and gaps, so that nothing works by luck.
    let (mut q_rows, mut k_rows, mut spans) = (1, 2, Vec::new());
    for &(q_len, k_len) in &case.lengths {
        let k = if joint { q_rows } else { k_rows };
        spans.push(Span { q: q_rows, q_len, k, k_len });
        q_rows += q_len;
        k_rows += k_len;
    }
    if joint {
        k_rows = q_rows;
    }
    let (wk, wv) = (heads * width, heads * value_width);
    let (q_cols, kv_cols) =
        if joint { (2 * wk + wv + 6, 2 * wk + wv + 6) } else { (wk + 3, wk + wv + 4) };
    let (qp, kp, vp) = (
        Place { ld: q_cols, offset: if joint { wk + wv + 4 } else { 2 } },
        Place { ld: kv_cols, offset: 1 },
        Place { ld: kv_cols, offset: wk + 3 },
    );
    let op = Place { ld: wv + 1, offset: 1 };
    let kv = random(k_rows * kv_cols, key);
    let q = if joint { kv.clone() } else { random(q_rows * q_cols, key ^ 1) };
    let dout = random(q_rows * op.ld, key ^ 2);
    let reach = case.lengths.iter().map(|l| l.0.max(l.1)).max().unwrap() + (key % 3) as usize;
    let (table, buckets) = (random(reach.max(1), key ^ 3), random(129, key ^ 4));
    let key_times = times(case.time.unwrap_or(Clock::Still), k_rows, key);
    let query_times = match joint {
        true => {
            let mut times = key_times.clone();
            next_times(&mut times, &spans);
            times
        }
        false => times(case.time.unwrap_or(Clock::Still), q_rows, key ^ 5),
    };
    let layer = SiluAttention {
        heads,
        width,
        value_width,
        scale: 0.7,
        divisor: 3.0,
        position: case.position.then_some(PositionBias { table: &table }),
        time: case.time.map(|_| TimeBias {
            table: &buckets,
            queries: &query_times,
            keys: &key_times,
        }),
    };
    let mut scratch = Scratch::default();
    let mut out = vec![9.0; q_rows * op.ld];
    layer.forward(&spans, &q, qp, &kv, kp, vp, &mut out, op, case.threads, &mut scratch);
    let (mut dq, mut dkv) = (vec![0.5; q.len()], vec![0.5; kv.len()]);
    let (mut dp, mut dt) = (vec![0.5; table.len()], vec![0.5; buckets.len()]);
    let grads =
        if joint { Grads::Joint(&mut dkv) } else { Grads::Split { dq: &mut dq, dkv: &mut dkv } };
    let tables = BiasGrads {
        position: case.position.then_some(&mut dp[..]),
        time: case.time.map(|_| &mut dt[..]),
    };
    layer.backward(
        &spans,
        &q,
        qp,
        &kv,
        kp,
        vp,
        &dout,
        op,
        grads,
        tables,
        case.threads,
        &mut scratch,
    );

    let kv_var = var(&kv, (k_rows, kv_cols));
    let q_var = if joint { kv_var.clone() } else { var(&q, (q_rows, q_cols)) };
    let (table_var, bucket_var) = (var(&table, (1, table.len())), var(&buckets, (1, 129)));
    let mut want_out = vec![9.0; q_rows * op.ld];
    let mut total = Tensor::zeros((), candle_core::DType::F32, &Device::Cpu).unwrap();
    for s in spans.iter().filter(|s| s.q_len > 0) {
        for h in 0..heads {
            let cut = |v: &Var, row: usize, len: usize, p: Place, w: usize| {
                let rows = v.narrow(0, row, len).unwrap();
                rows.narrow(1, p.offset + h * w, w).unwrap().contiguous().unwrap()
            };
            let o = if s.k_len == 0 {
                Tensor::zeros((s.q_len, value_width), candle_core::DType::F32, &Device::Cpu)
                    .unwrap()
            } else {
                let qs = cut(&q_var, s.q, s.q_len, qp, width);
                let ks = cut(&kv_var, s.k, s.k_len, kp, width);
                let v = cut(&kv_var, s.k, s.k_len, vp, value_width);
                let mut scores = (qs.matmul(&ks.t().unwrap()).unwrap() * 0.7).unwrap();
                let cells = || (0..s.q_len).flat_map(|i| (0..s.k_len).map(move |j| (i, j)));
                let distance = |i: usize, j: usize| (j + s.q_len) as isize - (i + s.k_len) as isize;
                let mut add = |var: &Var, at: Vec<u32>| {
                    let at = Tensor::from_slice(&at, at.len(), &Device::Cpu).unwrap();
                    let row = var.get(0).unwrap().index_select(&at, 0).unwrap();
                    scores = (&scores + row.reshape((s.q_len, s.k_len)).unwrap()).unwrap();
                };
                if case.position {
                    // Hidden pairs read entry 0: their weight is zero anyway.
                    let last = table.len() as isize - 1;
                    let place = |(i, j)| match distance(i, j) {
                        d if d <= 0 => (last + d) as u32,
                        _ => 0,
                    };
                    add(&table_var, cells().map(place).collect());
                }
                if case.time.is_some() {
                    let bucket = |(i, j)| {
                        let (a, b) = (query_times[s.q + i], key_times[s.k + j]);
                        time_bucket(a, b, 129) as u32
                    };
                    add(&bucket_var, cells().map(bucket).collect());
                }
                let mask: Vec<f32> =
                    cells().map(|(i, j)| f32::from(distance(i, j) <= 0) / 3.0).collect();
                let a = (scores.silu().unwrap() * tensor(&mask, (s.q_len, s.k_len))).unwrap();
                a.matmul(&v).unwrap()
            };
            let rows: Vec<Vec<f32>> = o.to_vec2().unwrap();
            let mut d = Vec::new();
            for (i, row) in rows.iter().enumerate() {
                let at = (s.q + i) * op.ld + op.offset + h * value_width;
                want_out[at..at + value_width].copy_from_slice(row);
                d.extend_from_slice(&dout[at..at + value_width]);
            }
            let part = (o * tensor(&d, (s.q_len, value_width))).unwrap().sum_all().unwrap();
            total = (total + part).unwrap();
        }
    }
    close("output", &out, &want_out, 1e-5);
    let all = total.backward().unwrap();
    let gradient = |v: &Var| -> Vec<f32> {
        let g = all.get(v).map(|g| g.flatten_all().unwrap().to_vec1().unwrap());
        g.unwrap_or(vec![0.0; v.elem_count()]).iter().map(|x| x + 0.5).collect()
    };
    close("keys and values", &dkv, &gradient(&kv_var), 1e-4);
    if !joint {
        close("queries", &dq, &gradient(&q_var), 1e-4);
    }
    close("position", &dp, &gradient(&table_var), 2e-4);
    close("time", &dt, &gradient(&bucket_var), 2e-4);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn equals_the_plain_composition(case in case()) {
        check(&case);
    }
}

/// Enough rows for several lanes.
#[test]
fn long_spans() {
    let long = |position, time, joint, lengths| Case {
        heads: 1,
        width: 8,
        value_width: 16,
        lengths,
        position,
        time,
        joint,
        threads: 2,
        key: 5,
    };
    check(&long(true, Some(Clock::Rising), true, vec![(600, 600), (5, 5)]));
    check(&long(true, Some(Clock::Wild), false, vec![(500, 640)]));
    check(&long(false, None, false, vec![(640, 500)]));
}

/// `silu(q k + p) v / N` by hand: two rows, one head of width one.
#[test]
fn by_hand() {
    let span = [Span { q: 0, q_len: 2, k: 0, k_len: 2 }];
    let place = |offset| Place { ld: 3, offset };
    // Rows of query, key, value.
    let x = [1.0, 1.0, 2.0, 1.0, -2.0, 3.0];
    let table = [1.0, 0.0];
    let layer = SiluAttention {
        heads: 1,
        width: 1,
        value_width: 1,
        scale: 1.0,
        divisor: 2.0,
        position: Some(PositionBias { table: &table }),
        time: None,
    };
    let mut out = [0.0; 2];
    let op = Place { ld: 1, offset: 0 };
    let s = &mut Scratch::default();
    layer.forward(&span, &x, place(0), &x, place(1), place(2), &mut out, op, 1, s);
    // Row 0: silu(1) 2 / 2. Row 1: (silu(1 + 1) 2 + silu(-2) 3) / 2, with silu(2) = 1.761594 and
    // silu(-2) = -0.238406.
    assert!((out[0] - 0.731_059).abs() < 1e-6, "{out:?}");
    assert!((out[1] - (1.761_594 - 0.238_406 * 1.5)).abs() < 1e-6, "{out:?}");
}

/// Unlike softmax, the weights count: equal keys add up.
#[test]
fn counts_survive() {
    let n = 100;
    let span = [Span { q: 0, q_len: n, k: 0, k_len: n }];
    let (x, place, op) = (vec![1.0; n], Place { ld: 1, offset: 0 }, Place { ld: 1, offset: 0 });
    let layer = SiluAttention {
        heads: 1,
        width: 1,
        value_width: 1,
        scale: 1.0,
        divisor: 1.0,
        position: None,
        time: None,
    };
    let mut out = vec![0.0; n];
    let s = &mut Scratch::default();
    layer.forward(&span, &x, place, &x, place, place, &mut out, op, 1, s);
    for (i, o) in out.iter().enumerate() {
        assert!((o - 0.731_058_6 * (i + 1) as f32).abs() < 1e-5 * (i + 1) as f32, "{i}: {o}");
    }
}
