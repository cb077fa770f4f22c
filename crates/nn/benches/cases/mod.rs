//! One case a kernel: forward and backward of the fused kernel, and the same in straightforward
//! candle operations with candle's own differentiation. Sizes are those of a TIGER micro-batch:
//! 640 rows, width 128, feed-forward 1024, 6 heads of 64. One thread each.

use candle_core::{D, Device, Result, Tensor, Var};
use candle_nn::{AdamW as CandleAdamW, Dropout as CandleDropout, Optimizer as _, ParamsAdamW};
use sidereal_nn::kernels::activation::Activation;
use sidereal_nn::kernels::attention::{Attention, Grads, Mask, Place, RelativeBias, Scratch, Span};
use sidereal_nn::kernels::cross_entropy::{softmax_cross_entropy, streamed_cross_entropy};
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::embedding;
use sidereal_nn::kernels::gemm::Write;
use sidereal_nn::kernels::norm;
use sidereal_nn::layers::{Bias, FeedForward, FeedForwardShape, FeedForwardState, Linear};
use sidereal_nn::optim::{AdamW, AdamWOptions, Optimizer, clip_by_norm};
use sidereal_nn::{Init, Params, Pass};

/// Work that can be repeated.
pub type Work = Box<dyn FnMut()>;

/// A kernel, its work, and its plain composition.
pub struct Case {
    pub name: &'static str,
    /// Floating-point operations of matrix products; 0 where there is none.
    pub flop: f64,
    /// Bytes that must be read and written at least once.
    pub bytes: f64,
    pub fused: Work,
    pub plain: Work,
}

const ROWS: usize = 640;
const WIDTH: usize = 128;
const HIDDEN: usize = 1024;
const RATE: f32 = 0.1;

pub fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 2_654_435_761) % 1024) as f32 / 512.0 - 1.0).collect()
}

fn var(n: usize, shape: &[usize]) -> Var {
    let tensor = Tensor::from_vec(values(n), shape, &Device::Cpu).expect("a shape of n values");
    Var::from_tensor(&tensor).expect("a variable")
}

/// Repeats a composition and its backward pass.
fn plain(forward: impl Fn() -> Result<Tensor> + 'static) -> Work {
    Box::new(move || {
        let loss = forward().and_then(|y| y.sum_all()).expect("candle computes");
        std::hint::black_box(loss.backward().expect("candle differentiates"));
    })
}

fn dropped() -> Dropout {
    Dropout::new(RATE, Pass::Train { key: 1 })
}

fn drop(x: &Tensor) -> Result<Tensor> {
    CandleDropout::new(RATE).forward(x, true)
}

fn f32s(n: usize) -> f64 {
    4.0 * n as f64
}

fn linear() -> Case {
    let mut params = Params::new(0);
    let init = Init::Uniform(0.1);
    let layer = Linear::new(&mut params, "w", WIDTH, HIDDEN, Bias::Without, init);
    let (x, dy) = (values(ROWS * WIDTH), values(ROWS * HIDDEN));
    let (mut y, mut dx) = (vec![0.0; ROWS * HIDDEN], vec![0.0; ROWS * WIDTH]);
    let mut grads = vec![0.0; params.len()];
    let (xv, wv) = (var(ROWS * WIDTH, &[ROWS, WIDTH]), var(HIDDEN * WIDTH, &[HIDDEN, WIDTH]));
    Case {
        name: "linear 128 to 1024",
        flop: 6.0 * (ROWS * WIDTH * HIDDEN) as f64,
        bytes: f32s(2 * ROWS * (WIDTH + HIDDEN) + 2 * WIDTH * HIDDEN),
        fused: Box::new(move || {
            layer.forward(params.values(), &x, ROWS, &mut y);
            let dx = Some((&mut dx[..], Write::Set));
            layer.backward(params.values(), &x, &dy, ROWS, dx, &mut grads);
        }),
        plain: plain(move || xv.matmul(&wv.t()?)),
    }
}

fn feed_forward(name: &'static str, shape: FeedForwardShape) -> Case {
    let mut params = Params::new(0);
    let layer = FeedForward::new(&mut params, "ff", WIDTH, shape);
    let (x, dy) = (values(ROWS * WIDTH), values(ROWS * WIDTH));
    let (mut y, mut dx) = (vec![0.0; ROWS * WIDTH], vec![0.0; ROWS * WIDTH]);
    let mut grads = vec![0.0; params.len()];
    let mut state = FeedForwardState::default();
    let matrix = |rows: usize, cols: usize| var(rows * cols, &[rows, cols]);
    let (xv, w0, w1, wo) =
        (matrix(ROWS, WIDTH), matrix(HIDDEN, WIDTH), matrix(HIDDEN, WIDTH), matrix(WIDTH, HIDDEN));
    let matrices = if shape.gate.is_some() { 3 } else { 2 };
    Case {
        name,
        flop: 6.0 * (matrices * ROWS * WIDTH * HIDDEN) as f64,
        bytes: f32s(4 * ROWS * WIDTH + 2 * ROWS * HIDDEN + 2 * matrices * WIDTH * HIDDEN),
        fused: Box::new(move || {
            let w = params.values();
            layer.forward(w, &x, ROWS, dropped(), 7, &mut state, &mut y);
            layer.backward(w, &x, &dy, ROWS, dropped(), 7, &mut state, &mut dx, &mut grads);
        }),
        plain: plain(move || {
            let a = xv.matmul(&w0.t()?)?;
            let h = match shape.gate {
                Some(_) => (a.silu()? * xv.matmul(&w1.t()?)?)?,
                None => a.relu()?,
            };
            drop(&h)?.matmul(&wo.t()?)
        }),
    }
}

fn rms_norm() -> Case {
    let (x, w) = (values(ROWS * WIDTH), values(WIDTH));
    let (mut y, mut inv, mut dw) = (x.clone(), vec![0.0; ROWS], vec![0.0; WIDTH]);
    let mut dx = x.clone();
    let (xv, wv) = (var(ROWS * WIDTH, &[ROWS, WIDTH]), var(WIDTH, &[WIDTH]));
    Case {
        name: "rms norm",
        flop: 0.0,
        bytes: f32s(6 * ROWS * WIDTH),
        fused: Box::new(move || {
            norm::rms_norm(&x, &w, 1e-6, &mut y, &mut inv);
            norm::rms_norm_backward(&x, &w, &inv, &y, &mut dx, &mut dw, Write::Set);
        }),
        plain: plain(move || {
            let scale = (xv.sqr()?.mean_keepdim(D::Minus1)? + 1e-6)?.sqrt()?;
            xv.broadcast_div(&scale)?.broadcast_mul(&wv)
        }),
    }
}

fn layer_norm() -> Case {
    let (x, w, b) = (values(ROWS * WIDTH), values(WIDTH), values(WIDTH));
    let (mut y, mut stats) = (x.clone(), vec![0.0; 2 * ROWS]);
    let (mut dx, mut dw, mut db) = (x.clone(), w.clone(), b.clone());
    let (xv, wv, bv) =
        (var(ROWS * WIDTH, &[ROWS, WIDTH]), var(WIDTH, &[WIDTH]), var(WIDTH, &[WIDTH]));
    Case {
        name: "layer norm",
        flop: 0.0,
        bytes: f32s(6 * ROWS * WIDTH),
        fused: Box::new(move || {
            norm::layer_norm(&x, &w, &b, 1e-6, &mut y, &mut stats);
            norm::layer_norm_backward(&x, &w, &stats, &y, &mut dx, &mut dw, &mut db, Write::Set);
        }),
        plain: plain(move || {
            let centred = xv.broadcast_sub(&xv.mean_keepdim(D::Minus1)?)?;
            let scale = (centred.sqr()?.mean_keepdim(D::Minus1)? + 1e-6)?.sqrt()?;
            centred.broadcast_div(&scale)?.broadcast_mul(&wv)?.broadcast_add(&bv)
        }),
    }
}

/// `spans` sequences of `q_len` queries and `k_len` keys with bias and dropout on weights.
fn attention(name: &'static str, spans: usize, q_len: usize, k_len: usize, mask: Mask) -> Case {
    let (heads, width) = (6, 64);
    let inner = heads * width;
    let places: Vec<Span> =
        (0..spans).map(|i| Span { q: i * q_len, q_len, k: i * k_len, k_len }).collect();
    let (q, kv) = (values(spans * q_len * inner), values(spans * k_len * 2 * inner));
    let (qp, kp) = (Place { ld: inner, offset: 0 }, Place { ld: 2 * inner, offset: 0 });
    let vp = Place { ld: 2 * inner, offset: inner };
    let reach = q_len.max(k_len);
    let table = values(heads * (2 * reach + 1));
    let (mut out, mut dq) = (q.clone(), q.clone());
    let (mut dkv, mut dbias) = (kv.clone(), table.clone());
    let mut scratch = Scratch::default();
    let shape = |len| [spans, heads, len, width];
    let queries = var(spans * q_len * inner, &shape(q_len));
    let keys = var(spans * k_len * inner, &shape(k_len));
    let vals = var(spans * k_len * inner, &shape(k_len));
    let bias = var(heads * q_len * k_len, &[1, heads, q_len, k_len]);
    let hidden: Vec<f32> = (0..q_len * k_len)
        .map(|i| {
            let later = i % k_len + q_len > i / q_len.max(1) + k_len;
            if mask == Mask::Causal && later { f32::NEG_INFINITY } else { 0.0 }
        })
        .collect();
    let hidden =
        Tensor::from_vec(hidden, (1, 1, q_len, k_len), &Device::Cpu).expect("a mask of that shape");
    let pairs = match mask {
        Mask::Causal => q_len * (q_len + 1) / 2,
        Mask::Full => q_len * k_len,
    };
    Case {
        name,
        // Two products forward and five backward.
        flop: 14.0 * (spans * pairs * inner) as f64,
        bytes: f32s(4 * spans * (q_len + k_len) * inner),
        fused: Box::new(move || {
            let attention = Attention {
                heads,
                width,
                scale: 1.0,
                mask,
                bias: Some(RelativeBias { table: &table, reach }),
                dropout: dropped(),
                site: 1,
            };
            attention.forward(&places, &q, qp, &kv, kp, vp, &mut out, qp, &mut scratch);
            attention.backward(
                &places,
                &q,
                qp,
                &kv,
                kp,
                vp,
                &out,
                qp,
                Grads::Split { dq: &mut dq, dkv: &mut dkv },
                Some(&mut dbias),
                &mut scratch,
            );
        }),
        plain: plain(move || {
            let scores = queries.matmul(&keys.t()?)?.broadcast_add(&bias)?;
            let scores = scores.broadcast_add(&hidden)?;
            let weights = drop(&candle_nn::ops::softmax(&scores, D::Minus1)?)?;
            weights.matmul(&vals)
        }),
    }
}

fn cross_entropy() -> Case {
    let (rows, cols) = (256, 1026);
    let logits = values(rows * cols);
    let targets: Vec<u32> = (0..rows as u32).collect();
    let mut grad = logits.clone();
    let lv = var(rows * cols, &[rows, cols]);
    let tv = Tensor::from_vec(targets.clone(), rows, &Device::Cpu).expect("targets");
    Case {
        name: "cross-entropy 256 x 1026",
        flop: 0.0,
        bytes: f32s(2 * rows * cols),
        fused: Box::new(move || {
            std::hint::black_box(softmax_cross_entropy(
                &logits,
                cols,
                &targets,
                1.0,
                Some(&mut grad),
            ));
        }),
        plain: plain(move || candle_nn::loss::cross_entropy(&lv, &tv)),
    }
}

fn item_cross_entropy() -> Case {
    let (t, n, d) = (256, 12_101, 64);
    let (q, items) = (values(t * d), values(n * d));
    let (mut dq, mut di) = (q.clone(), items.clone());
    let targets: Vec<u32> = (0..t as u32).collect();
    let mut scratch = Vec::new();
    let (qv, iv) = (var(t * d, &[t, d]), var(n * d, &[n, d]));
    let tv = Tensor::from_vec(targets.clone(), t, &Device::Cpu).expect("targets");
    Case {
        name: "cross-entropy over 12,101 items",
        flop: 6.0 * (t * n * d) as f64,
        bytes: f32s(2 * (t + n) * d),
        fused: Box::new(move || {
            let grads = Some((&mut dq[..], &mut di[..]));
            let s = &mut scratch;
            std::hint::black_box(streamed_cross_entropy(
                &q, &items, d, &targets, 1.0, 1.0, grads, s,
            ));
        }),
        plain: plain(move || candle_nn::loss::cross_entropy(&qv.matmul(&iv.t()?)?, &tv)),
    }
}

fn gather() -> Case {
    let vocabulary = 1026;
    let table = values(vocabulary * WIDTH);
    let ids: Vec<u32> = (0..ROWS).map(|i| (i * 37 % vocabulary) as u32).collect();
    let (mut out, mut grads) = (vec![0.0; ROWS * WIDTH], table.clone());
    let tv = var(vocabulary * WIDTH, &[vocabulary, WIDTH]);
    let iv = Tensor::from_vec(ids.clone(), ROWS, &Device::Cpu).expect("ids");
    Case {
        name: "embedding",
        flop: 0.0,
        bytes: f32s(5 * ROWS * WIDTH),
        fused: Box::new(move || {
            embedding::gather(&table, WIDTH, &ids, &mut out);
            embedding::scatter_add(&mut grads, WIDTH, &ids, &out);
        }),
        plain: plain(move || tv.index_select(&iv, 0)),
    }
}

fn activation() -> Case {
    let (x, mut y) = (values(ROWS * HIDDEN), values(ROWS * HIDDEN));
    let mut dy = y.clone();
    let xv = var(ROWS * HIDDEN, &[ROWS, HIDDEN]);
    Case {
        name: "gelu",
        flop: 0.0,
        bytes: f32s(5 * ROWS * HIDDEN),
        fused: Box::new(move || {
            y.copy_from_slice(&x);
            Activation::Gelu.forward(&mut y);
            Activation::Gelu.backward(&x, &mut dy);
        }),
        plain: plain(move || xv.gelu_erf()),
    }
}

fn dropout() -> Case {
    let (x, mut y) = (values(ROWS * HIDDEN), values(ROWS * HIDDEN));
    let mut dx = y.clone();
    let xv = var(ROWS * HIDDEN, &[ROWS, HIDDEN]);
    Case {
        name: "dropout",
        flop: 0.0,
        bytes: f32s(4 * ROWS * HIDDEN),
        fused: Box::new(move || {
            dropped().apply_to(3, &x, &mut y);
            dropped().apply_to(3, &y, &mut dx);
        }),
        plain: plain(move || drop(&xv)),
    }
}

fn adamw() -> Case {
    let n = 4 << 20;
    let (mut weights, grads) = (values(n), values(n));
    let mut adam = AdamW::new(AdamWOptions::default(), n, "optimizer").expect("defaults");
    let wv = var(n, &[n]);
    let store = wv.sum_all().and_then(|s| s.backward()).expect("gradients of one");
    let mut theirs = CandleAdamW::new(vec![wv], ParamsAdamW::default()).expect("an optimiser");
    Case {
        name: "adamw, 4 M values",
        flop: 0.0,
        bytes: f32s(7 * n),
        fused: Box::new(move || adam.step(&mut weights, &grads, 1e-3, 1)),
        plain: Box::new(move || theirs.step(&store).expect("candle steps")),
    }
}

fn clip() -> Case {
    let n = 4 << 20;
    let mut grads = values(n);
    let gv = var(n, &[n]);
    Case {
        name: "gradient norm, 4 M values",
        flop: 0.0,
        bytes: f32s(n),
        fused: Box::new(move || {
            std::hint::black_box(clip_by_norm(&mut grads, f64::INFINITY));
        }),
        plain: Box::new(move || {
            let norm = gv.sqr().and_then(|s| s.sum_all()).and_then(|s| s.sqrt());
            std::hint::black_box(norm.expect("candle computes"));
        }),
    }
}

/// All cases.
pub fn all() -> Vec<Case> {
    vec![
        linear(),
        feed_forward("feed-forward, plain", FeedForwardShape::plain(HIDDEN)),
        feed_forward("feed-forward, gated", FeedForwardShape::gated(HIDDEN, Activation::Silu)),
        attention("attention, 8 x 80", 8, 80, 80, Mask::Full),
        attention("attention, causal 8 x 80", 8, 80, 80, Mask::Causal),
        attention("attention, 8 x 4 to 80", 8, 4, 80, Mask::Full),
        cross_entropy(),
        item_cross_entropy(),
        rms_norm(),
        layer_norm(),
        activation(),
        dropout(),
        gather(),
        adamw(),
        clip(),
    ]
}
