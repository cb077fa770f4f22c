//! Every kernel and layer equals the plain candle composition, forward and backward.

#![allow(clippy::unwrap_used)]

use candle_core::{D, Device, Tensor, Var};
use proptest::prelude::*;
use rand::Rng;
use sidereal_core::seed;
use sidereal_nn::kernels::activation::Activation;
use sidereal_nn::kernels::attention::{Attention, Grads, Mask, Place, RelativeBias, Scratch, Span};
use sidereal_nn::kernels::cross_entropy::{softmax_cross_entropy, streamed_cross_entropy};
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::gemm::Write;
use sidereal_nn::kernels::norm;
use sidereal_nn::layers::{
    Bias, FeedForward, FeedForwardShape, FeedForwardState, LayerNorm, Linear, RmsNorm,
};
use sidereal_nn::optim::{AdamW, AdamWOptions, Optimizer};
use sidereal_nn::{Init, Params, Pass};

fn random(n: usize, key: u64) -> Vec<f32> {
    let mut rng = seed::stream(key, "test", n as u64);
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn var(v: &[f32], shape: (usize, usize)) -> Var {
    Var::from_tensor(&tensor(v, shape)).unwrap()
}

fn tensor(v: &[f32], shape: (usize, usize)) -> Tensor {
    Tensor::from_slice(v, shape, &Device::Cpu).unwrap()
}

fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

/// Gradients of `vars` for the output gradient `dy`.
fn gradients(y: &Tensor, dy: &[f32], vars: &[&Var]) -> Vec<Vec<f32>> {
    let dy = Tensor::from_slice(dy, y.shape(), &Device::Cpu).unwrap();
    let grads = (y * dy).unwrap().sum_all().unwrap().backward().unwrap();
    let of = |v: &&Var| grads.get(v).map_or(vec![0.0; v.elem_count()], flat);
    vars.iter().map(of).collect()
}

#[track_caller]
fn close(got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * (1.0 + w.abs()), "at {i}: {g}, candle has {w}");
    }
}

/// `start + x`: what a kernel that adds to `start` must give.
fn plus(start: f32, x: &[f32]) -> Vec<f32> {
    x.iter().map(|v| v + start).collect()
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn norms(rows in 0usize..5, d in 1usize..70, key: u64, add: bool) {
        let (x, w, b, dy) = (random(rows * d, key), random(d, key ^ 1), random(d, key ^ 2), random(rows * d, key ^ 3));
        let write = if add { Write::Add } else { Write::Set };
        let start = if add { 0.5 } else { 0.0 };
        let (xv, wv, bv) = (var(&x, (rows, d)), var(&w, (1, d)), var(&b, (1, d)));
        let (mut y, mut inv, mut stats) = (vec![9.0; rows * d], vec![0.0; rows], vec![0.0; 2 * rows]);
        let (mut dx, mut dw, mut db) = (vec![0.5; rows * d], vec![0.25; d], vec![-0.5; d]);

        norm::rms_norm(&x, &w, 1e-3, &mut y, &mut inv);
        norm::rms_norm_backward(&x, &w, &inv, &dy, &mut dx, &mut dw, write);
        if rows > 0 {
            let square = xv.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
            let r = (square + 1e-3).unwrap().sqrt().unwrap();
            let want = xv.broadcast_div(&r).unwrap().broadcast_mul(&wv).unwrap();
            close(&y, &flat(&want), 1e-5);
            let g = gradients(&want, &dy, &[&xv, &wv]);
            close(&dx, &plus(start, &g[0]), 1e-4);
            close(&dw, &plus(0.25, &g[1]), 1e-4);
        } else {
            prop_assert!(dw.iter().all(|v| *v == 0.25));
        }

        dx.fill(0.5);
        dw.fill(0.25);
        norm::layer_norm(&x, &w, &b, 1e-3, &mut y, &mut stats);
        norm::layer_norm_backward(&x, &w, &stats, &dy, &mut dx, &mut dw, &mut db, write);
        if rows > 0 {
            let centred = xv.broadcast_sub(&xv.mean_keepdim(D::Minus1).unwrap()).unwrap();
            let square = centred.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
            let r = (square + 1e-3).unwrap().sqrt().unwrap();
            let want = centred.broadcast_div(&r).unwrap().broadcast_mul(&wv).unwrap();
            let want = want.broadcast_add(&bv).unwrap();
            close(&y, &flat(&want), 1e-5);
            let g = gradients(&want, &dy, &[&xv, &wv, &bv]);
            close(&dx, &plus(start, &g[0]), 1e-4);
            close(&dw, &plus(0.25, &g[1]), 1e-4);
            close(&db, &plus(-0.5, &g[2]), 1e-4);
        }
    }

    #[test]
    fn activations(n in 1usize..70, key: u64) {
        let x: Vec<f32> = random(n, key).iter().map(|v| v * 6.0).collect();
        let dy = random(n, key ^ 1);
        let v = var(&x, (1, n));
        // candle has no gradient for its exact GELU: x (1 + erf(x / sqrt 2)) / 2 written out.
        let erf = (v.as_tensor() * std::f64::consts::FRAC_1_SQRT_2).unwrap().erf().unwrap();
        let exact = ((erf + 1.0).unwrap() * v.as_tensor()).unwrap() * 0.5;
        for (f, want) in [
            (Activation::Relu, v.relu().unwrap()),
            (Activation::Gelu, exact.unwrap()),
            (Activation::GeluTanh, v.gelu().unwrap()),
            (Activation::Silu, v.silu().unwrap()),
        ] {
            let mut y = x.clone();
            f.forward(&mut y);
            close(&y, &flat(&want), 3e-6);
            let mut g = dy.clone();
            f.backward(&x, &mut g);
            close(&g, &gradients(&want, &dy, &[&v])[0], 1e-4);
        }
    }

    #[test]
    fn cross_entropy(rows in 1usize..6, cols in 1usize..90, key: u64) {
        let x: Vec<f32> = random(rows * cols, key).iter().map(|v| v * 5.0).collect();
        let targets: Vec<u32> = (0..rows).map(|r| ((key >> r) % cols as u64) as u32).collect();
        let v = var(&x, (rows, cols));
        let ids = Tensor::from_slice(&targets, rows, &Device::Cpu).unwrap();
        let want = (candle_nn::loss::cross_entropy(&v, &ids).unwrap() * rows as f64).unwrap();
        let mut g = vec![9.0; rows * cols];
        let loss = softmax_cross_entropy(&x, cols, &targets, 0.3, Some(&mut g));
        let want_loss = want.to_scalar::<f32>().unwrap();
        close(&[loss as f32], &[want_loss], 1e-5);
        close(&[softmax_cross_entropy(&x, cols, &targets, 0.3, None) as f32], &[want_loss], 1e-5);
        close(&g, &gradients(&want, &[0.3], &[&v])[0], 1e-5);
    }

    #[test]
    fn retrieval(rows in 1usize..40, n in 1usize..50, d in 1usize..20, key: u64) {
        let (q, e) = (random(rows * d, key), random(n * d, key ^ 1));
        let targets: Vec<u32> = (0..rows).map(|r| ((key >> (r % 60)) % n as u64) as u32).collect();
        let (qv, ev) = (var(&q, (rows, d)), var(&e, (n, d)));
        let ids = Tensor::from_slice(&targets, rows, &Device::Cpu).unwrap();
        let logits = (qv.matmul(&ev.t().unwrap()).unwrap() * 3.0).unwrap();
        let want = (candle_nn::loss::cross_entropy(&logits, &ids).unwrap() * rows as f64).unwrap();
        let (mut dq, mut de) = (vec![0.5; rows * d], vec![0.25; n * d]);
        let grads = Some((&mut dq[..], &mut de[..]));
        let loss = streamed_cross_entropy(&q, &e, d, &targets, 3.0, 0.1, grads, &mut Vec::new());
        close(&[loss as f32], &[want.to_scalar::<f32>().unwrap()], 1e-5);
        let g = gradients(&want, &[0.1], &[&qv, &ev]);
        close(&dq, &plus(0.5, &g[0]), 1e-4);
        close(&de, &plus(0.25, &g[1]), 1e-4);
    }

    #[test]
    fn linear(rows in 0usize..6, i in 1usize..40, o in 1usize..40, key: u64, bias: bool, add: bool) {
        let mut params = Params::new(key);
        let kind = if bias { Bias::With } else { Bias::Without };
        let layer = Linear::new(&mut params, "l", i, o, kind, Init::Uniform(0.5));
        let (x, dy) = (random(rows * i, key), random(rows * o, key ^ 1));
        let mut y = vec![9.0; rows * o];
        layer.forward(params.values(), &x, rows, &mut y);
        let (mut dx, mut grads) = (vec![0.5; rows * i], vec![0.25; params.len()]);
        let write = if add { Write::Add } else { Write::Set };
        layer.backward(params.values(), &x, &dy, rows, Some((&mut dx, write)), &mut grads);
        if rows == 0 {
            prop_assert!(grads.iter().all(|g| *g == 0.25));
            return Ok(());
        }
        let w = var(&params.values()[..i * o], (o, i));
        let b = var(&if bias { params.values()[i * o..].to_vec() } else { vec![0.0; o] }, (1, o));
        let xv = var(&x, (rows, i));
        let want = xv.matmul(&w.t().unwrap()).unwrap().broadcast_add(&b).unwrap();
        close(&y, &flat(&want), 1e-5);
        let g = gradients(&want, &dy, &[&xv, &w, &b]);
        close(&dx, &plus(if add { 0.5 } else { 0.0 }, &g[0]), 1e-4);
        close(&grads[..i * o], &plus(0.25, &g[1]), 1e-4);
        if bias {
            close(&grads[i * o..], &plus(0.25, &g[2]), 1e-4);
        }
    }

    #[test]
    fn feed_forward(rows in 1usize..6, d in 1usize..20, hidden in 1usize..40, layers in 1usize..4,
                    key: u64, bias: bool, rate in prop::sample::select(vec![0.0f32, 0.4])) {
        let mut params = Params::new(key);
        let kind = if bias { Bias::With } else { Bias::Without };
        let shape = FeedForwardShape { hidden, hidden_layers: layers, bias: kind, gate: None };
        let ff = FeedForward::new(&mut params, "ff", d, shape);
        let dropout = Dropout::new(rate, Pass::Train { key });
        let (x, dy) = (random(rows * d, key), random(rows * d, key ^ 1));
        let (mut y, mut dx) = (vec![9.0; rows * d], vec![9.0; rows * d]);
        let (mut state, mut grads) = (FeedForwardState::default(), vec![0.0; params.len()]);
        ff.forward(params.values(), &x, rows, dropout, 7, &mut state, &mut y);
        ff.backward(params.values(), &x, &dy, rows, dropout, 7, &mut state, &mut dx, &mut grads);

        let mask: Vec<f32> = (0..rows * hidden).map(|i| dropout.keep(7, i as u32)).collect();
        let vars: Vec<Var> = params.infos().iter().map(|info| {
            let cols = *info.shape.last().unwrap();
            var(info.slot.of(params.values()), (info.slot.len / cols, cols))
        }).collect();
        let xv = var(&x, (rows, d));
        let mut h = xv.as_tensor().clone();
        let step = if bias { 2 } else { 1 };
        for l in 0..=layers {
            h = h.matmul(&vars[l * step].t().unwrap()).unwrap();
            if bias {
                h = h.broadcast_add(&vars[l * step + 1]).unwrap();
            }
            if l + 1 == layers {
                h = (h * tensor(&mask, (rows, hidden))).unwrap();
            }
            if l < layers {
                h = h.relu().unwrap();
            }
        }
        close(&y, &flat(&h), 1e-5);
        close(&dx, &gradients(&h, &dy, &[&xv])[0], 1e-4);
        let refs: Vec<&Var> = vars.iter().collect();
        close(&grads, &gradients(&h, &dy, &refs).concat(), 1e-4);
    }

    #[test]
    fn attention(
        heads in 1usize..4,
        width in prop::sample::select(vec![1usize, 5, 16, 24, 64]),
        lengths in prop::collection::vec((0usize..12, 0usize..20), 1..5),
        long in prop::sample::select(vec![0usize, 0, 70, 150]),
        causal: bool, with_bias: bool, joint: bool, shared: bool,
        rate in prop::sample::select(vec![0.0f32, 0.4]),
        key: u64,
    ) {
        check_attention(heads, width, lengths, long, causal, with_bias, joint, shared, rate, key);
    }
}

/// `joint`: queries, keys and values in one buffer; otherwise queries apart. `shared`: all spans
/// see the same keys.
fn check_attention(
    heads: usize,
    width: usize,
    mut lengths: Vec<(usize, usize)>,
    long: usize,
    causal: bool,
    with_bias: bool,
    joint: bool,
    shared: bool,
    rate: f32,
    key: u64,
) {
    if long > 0 {
        lengths.push((long, long));
    }
    if joint {
        lengths.iter_mut().for_each(|l| l.1 = l.0);
    }
    if shared && !joint {
        let n = lengths[0].1;
        lengths.iter_mut().for_each(|l| l.1 = n);
    }
    let (mut rows, mut key_rows) = (1, 2);
    let mut spans = Vec::new();
    for &(q_len, k_len) in &lengths {
        let (q, k) = if joint { (rows, rows) } else { (rows, key_rows) };
        spans.push(Span { q, q_len, k, k_len });
        rows += q_len;
        if !shared {
            key_rows += k_len;
        }
    }
    let key_rows = if joint { rows } else { key_rows + lengths[0].1 };
    let inner = heads * width;
    // Odd offsets and gaps, so that nothing works by luck.
    let (qp, kp, vp, q_cols, kv_cols) = if joint {
        let ld = 3 * inner + 7;
        let place = |i| Place { ld, offset: i * inner + 2 * i + 1 };
        (place(2), place(0), place(1), ld, ld)
    } else {
        let ld = 2 * inner + 5;
        let q_ld = inner + 3;
        (
            Place { ld: q_ld, offset: 2 },
            Place { ld, offset: inner + 4 },
            Place { ld, offset: 1 },
            q_ld,
            ld,
        )
    };
    let op = Place { ld: inner + 1, offset: 1 };
    let kv = random(key_rows * kv_cols, key);
    let q = if joint { kv.clone() } else { random(rows * q_cols, key ^ 1) };
    let dout = random(rows * op.ld, key ^ 2);
    let reach = lengths.iter().map(|l| l.0.max(l.1)).max().unwrap();
    let table = random(heads * (2 * reach + 1), key ^ 3);
    let dropout = Dropout::new(rate, Pass::Train { key });
    let attention = Attention {
        heads,
        width,
        scale: 0.7,
        mask: if causal { Mask::Causal } else { Mask::Full },
        bias: with_bias.then_some(RelativeBias { table: &table, reach }),
        dropout,
        site: 11,
    };
    let mut scratch = Scratch::default();
    let mut out = vec![9.0; rows * op.ld];
    attention.forward(&spans, &q, qp, &kv, kp, vp, &mut out, op, &mut scratch);
    let (mut dq, mut dkv) = (vec![0.5; q.len()], vec![0.5; kv.len()]);
    let mut dbias = vec![0.5; table.len()];
    let grads =
        if joint { Grads::Joint(&mut dkv) } else { Grads::Split { dq: &mut dq, dkv: &mut dkv } };
    let db = with_bias.then_some(&mut dbias[..]);
    attention.backward(&spans, &q, qp, &kv, kp, vp, &dout, op, grads, db, &mut scratch);

    // The plain composition, one span and head at a time.
    let kv_var = var(&kv, (key_rows, kv_cols));
    let q_var = if joint { kv_var.clone() } else { var(&q, (rows, q_cols)) };
    let table_var = var(&table, (heads, 2 * reach + 1));
    let mut want_out = vec![9.0; rows * op.ld];
    let mut total = Tensor::zeros((), candle_core::DType::F32, &Device::Cpu).unwrap();
    for (n, s) in spans.iter().enumerate().filter(|(_, s)| s.q_len > 0) {
        for h in 0..heads {
            let cut = |v: &Var, row: usize, len: usize, p: Place| {
                let rows = v.narrow(0, row, len).unwrap();
                rows.narrow(1, p.offset + h * width, width).unwrap().contiguous().unwrap()
            };
            let o = if s.k_len == 0 {
                Tensor::zeros((s.q_len, width), candle_core::DType::F32, &Device::Cpu).unwrap()
            } else {
                let (qs, ks) = (cut(&q_var, s.q, s.q_len, qp), cut(&kv_var, s.k, s.k_len, kp));
                let v = cut(&kv_var, s.k, s.k_len, vp);
                let mut scores = (qs.matmul(&ks.t().unwrap()).unwrap() * 0.7).unwrap();
                let cells = || (0..s.q_len).flat_map(|i| (0..s.k_len).map(move |j| (i, j)));
                let distance = |i: usize, j: usize| (j + s.q_len) as isize - (i + s.k_len) as isize;
                if with_bias {
                    let at: Vec<u32> =
                        cells().map(|(i, j)| (reach as isize + distance(i, j)) as u32).collect();
                    let at = Tensor::from_slice(&at, at.len(), &Device::Cpu).unwrap();
                    let row = table_var.get(h).unwrap().index_select(&at, 0).unwrap();
                    scores = (scores + row.reshape((s.q_len, s.k_len)).unwrap()).unwrap();
                }
                let sees = |i, j| !causal || distance(i, j) <= 0;
                let block: Vec<f32> =
                    cells().map(|(i, j)| if sees(i, j) { 0.0 } else { -1e9 }).collect();
                let scores = (scores + tensor(&block, (s.q_len, s.k_len))).unwrap();
                let p = candle_nn::ops::softmax(&scores, D::Minus1).unwrap();
                // Rows that see nothing give nothing; the rest is dropout.
                let part = (n * heads + h) as u64;
                let keep: Vec<f32> = cells()
                    .map(|(i, j)| {
                        let k = dropout.keep_part(11, part, (i * s.k_len + j) as u32);
                        if sees(i, j) { k } else { 0.0 }
                    })
                    .collect();
                (p * tensor(&keep, (s.q_len, s.k_len))).unwrap().matmul(&v).unwrap()
            };
            let rows: Vec<Vec<f32>> = o.to_vec2().unwrap();
            let mut d = Vec::new();
            for (i, row) in rows.iter().enumerate() {
                let at = (s.q + i) * op.ld + op.offset + h * width;
                want_out[at..at + width].copy_from_slice(row);
                d.extend_from_slice(&dout[at..at + width]);
            }
            let part = (o * tensor(&d, (s.q_len, width))).unwrap().sum_all().unwrap();
            total = (total + part).unwrap();
        }
    }
    close(&out, &want_out, 1e-5);
    let g = gradients(&total, &[1.0], &[&q_var, &kv_var, &table_var]);
    close(&dkv, &plus(0.5, &g[1]), 1e-4);
    if !joint {
        close(&dq, &plus(0.5, &g[0]), 1e-4);
    }
    if with_bias {
        close(&dbias, &plus(0.5, &g[2]), 1e-4);
    }
}

#[test]
fn attention_in_many_blocks() {
    // 300 x 300 scores are more than one block under both masks.
    check_attention(1, 8, vec![(300, 300)], 0, true, true, false, false, 0.3, 1);
    check_attention(2, 8, vec![(300, 300), (3, 3)], 0, false, true, true, false, 0.0, 2);
}

#[test]
fn norm_layers_use_their_slots() {
    let mut params = Params::new(1);
    params.add("before", &[3], Init::Ones);
    let rms = RmsNorm::new(&mut params, "rms", 4, 1e-6);
    let layer = LayerNorm::new(&mut params, "layer", 4, 1e-6);
    let values: Vec<f32> = random(params.len(), 3);
    params.values_mut().copy_from_slice(&values);
    let (x, dy) = (random(8, 4), random(8, 5));
    let (mut y, mut want) = (vec![0.0; 8], vec![0.0; 8]);
    let (mut inv, mut stats) = ([0.0; 2], [0.0; 4]);
    let mut grads = vec![0.0; params.len()];
    rms.forward(&values, &x, &mut y, &mut inv);
    norm::rms_norm(&x, &values[3..7], 1e-6, &mut want, &mut inv);
    assert_eq!(y, want);
    rms.backward(&values, &x, &inv, &dy, &mut y, Write::Set, &mut grads);
    layer.forward(&values, &x, &mut y, &mut stats);
    norm::layer_norm(&x, &values[7..11], &values[11..15], 1e-6, &mut want, &mut stats);
    assert_eq!(y, want);
    layer.backward(&values, &x, &stats, &dy, &mut y, Write::Set, &mut grads);
    let mut parts = [[0.0; 4]; 3];
    let [a, b, c] = &mut parts;
    let mut dx = vec![0.0; 8];
    norm::rms_norm_backward(&x, &values[3..7], &inv, &dy, &mut dx, a, Write::Set);
    norm::layer_norm_backward(&x, &values[7..11], &stats, &dy, &mut dx, b, c, Write::Set);
    assert_eq!(grads[..3], [0.0; 3]);
    assert_eq!(grads[3..], parts.concat());
}

#[test]
fn adamw_equals_candle() {
    use candle_nn::Optimizer as _;
    let w = random(50, 1);
    let v = var(&w, (1, 50));
    let params = candle_nn::ParamsAdamW { lr: 0.01, weight_decay: 0.1, ..Default::default() };
    let mut theirs = candle_nn::AdamW::new(vec![v.clone()], params).unwrap();
    let options = AdamWOptions { weight_decay: 0.1, ..Default::default() };
    let mut ours = AdamW::new(options, 50, "optimizer").unwrap();
    let mut mine = w;
    for step in 0..20 {
        let g = random(50, 100 + step);
        let loss = (v.as_tensor() * tensor(&g, (1, 50))).unwrap().sum_all().unwrap();
        theirs.backward_step(&loss).unwrap();
        ours.step(&mut mine, &g, 0.01, 2);
        close(&mine, &flat(&v), 1e-5);
    }
}
