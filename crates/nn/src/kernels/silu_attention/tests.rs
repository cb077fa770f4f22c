//! All instruction sets, and any number of threads.

use super::*;
use crate::kernels::isa;

fn values(n: usize, key: u32) -> Vec<f32> {
    let mut state = key.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// Output and all gradients of one problem, one after the other.
fn run(isa: Isa, lengths: &[usize], heads: usize, width: Widths, threads: usize) -> Vec<Vec<f32>> {
    let (mut row, mut spans) = (0, Vec::new());
    for &n in lengths {
        spans.push(Span { q: row, q_len: n, k: row, k_len: n });
        row += n;
    }
    let inner = [heads * width.key, heads * width.key, heads * width.value];
    let ld = inner.iter().sum::<usize>() + 3;
    let place = |offset| Place { ld, offset };
    let (qp, kp, vp) = (place(1), place(1 + inner[0]), place(1 + inner[0] + inner[1]));
    let op = Place { ld: inner[2], offset: 0 };
    let x: Vec<f32> = values(row * ld, 1).iter().map(|v| 3.0 * v).collect();
    let dout = values(row * inner[2], 2);
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let (position, time) = (values(longest, 3), values(129, 4));
    let keys: Vec<i64> = (0..row as i64).map(|i| i * i * 977 + (i % 7) * 100_000).collect();
    let mut queries = keys.clone();
    next_times(&mut queries, &spans);
    let layer = SiluAttention {
        heads,
        width: width.key,
        value_width: width.value,
        scale: 0.5,
        divisor: 7.0,
        position: Some(PositionBias { table: &position }),
        time: Some(TimeBias { table: &time, queries: &queries, keys: &keys }),
    };
    let input = Input { layer: &layer, isa, q: &x, qp, kv: &x, kp, vp };
    let mut scratch = Scratch::default();
    let mut out = vec![0.0; row * inner[2]];
    input.forward(&spans, &mut out, op, threads, &mut scratch);
    let mut dx = vec![0.0; x.len()];
    let (mut dp, mut dt) = (vec![0.0; position.len()], vec![0.0; time.len()]);
    let tables = BiasGrads { position: Some(&mut dp), time: Some(&mut dt) };
    let grads = Grads::Joint(&mut dx);
    input.backward(&spans, &dout, op, grads, tables, threads, &mut scratch);
    vec![out, dx, dp, dt]
}

#[test]
fn instruction_sets_agree() {
    let sets: Vec<Isa> = match isa() {
        Isa::V4 => vec![Isa::V4, Isa::V3],
        Isa::V3 => vec![Isa::V3],
        Isa::Plain => vec![],
    };
    for (key, value) in [(32, 32), (1, 5), (16, 48), (33, 20)] {
        let width = Widths { key, value };
        let lengths = [130, 0, 1, 47, 48, 49];
        let want = run(Isa::Plain, &lengths, 2, width, 1);
        for &set in &sets {
            let got = run(set, &lengths, 2, width, 1);
            for (got, want) in got.iter().zip(&want) {
                let size = want.iter().fold(1f32, |m, x| m.max(x.abs()));
                let off = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off <= 2e-5 * size, "{set:?} {width:?}: off by {off} of {size}");
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let width = Widths { key: 8, value: 16 };
    for lengths in [&[700, 3, 90][..], &[30, 0, 1, 80]] {
        let one = run(isa(), lengths, 3, width, 1);
        for threads in [2, 3, 9] {
            assert_eq!(run(isa(), lengths, 3, width, threads), one, "{threads} threads");
        }
    }
}

#[test]
fn extreme_scores_stay_finite() {
    let sets = match isa() {
        Isa::V4 => vec![Isa::V4, Isa::V3, Isa::Plain],
        Isa::V3 => vec![Isa::V3, Isa::Plain],
        Isa::Plain => vec![Isa::Plain],
    };
    let n = 20;
    let spans = [Span { q: 0, q_len: n, k: 0, k_len: n }];
    let place = Place { ld: 1, offset: 0 };
    // Scores of plus and minus ten thousand.
    let q: Vec<f32> = (0..n).map(|i| if i % 2 == 0 { 100.0 } else { -100.0 }).collect();
    let layer = SiluAttention {
        heads: 1,
        width: 1,
        value_width: 1,
        scale: 1.0,
        divisor: 1.0,
        position: None,
        time: None,
    };
    for isa in sets {
        let kv = vec![100.0; n];
        let input = Input { layer: &layer, isa, q: &q, qp: place, kv: &kv, kp: place, vp: place };
        let mut out = vec![0.0; n];
        input.forward(&spans, &mut out, place, 1, &mut Scratch::default());
        for (i, o) in out.iter().enumerate() {
            // SiLU is the identity far above zero and nothing far below.
            let want = if i % 2 == 0 { 1e6 * (i + 1) as f32 } else { 0.0 };
            assert!((o - want).abs() <= 1e-6 * want + 1e-20, "{isa:?} at {i}: {o}, not {want}");
        }
        let (mut dq, mut dkv) = (vec![0.0; n], vec![0.0; n]);
        let grads = Grads::Split { dq: &mut dq, dkv: &mut dkv };
        let dout = vec![1.0; n];
        let tables = BiasGrads::default();
        input.backward(&spans, &dout, place, grads, tables, 1, &mut Scratch::default());
        assert!(dq.iter().chain(&dkv).all(|x| x.is_finite()), "{isa:?}: {dq:?} {dkv:?}");
    }
}
