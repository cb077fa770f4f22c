//! One HSTU block beside one Transformer block on a long history, forward and backward.
//!
//! `cargo run --release -p sidereal-nn --example hstu_layer -- [LENGTH] [THREADS]`
//!
//! Both have width d and heads of 32; the Transformer block has LayerNorm, causal softmax attention
//! and a feed-forward of 4 d. The HSTU block has both relative biases. Stochastic Length shortens a
//! full history to `N^(alpha / 2)` rows with probability `1 - N^(alpha - 2)`; its time is the mean
//! over that. The paper reports 5.3 to 15.2 times FlashAttention2's Transformer at 8,192 on GPUs.
//! Only the attention of HSTU uses more than one thread.

use sidereal_nn::hstu::{
    HstuBlock, HstuPass, HstuShape, HstuState, RelativeTables, StochasticLength, Times,
};
use sidereal_nn::kernels::attention::{Attention, Grads, Mask, Place, Scratch, Span};
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::gemm::Write;
use sidereal_nn::kernels::math::axpy;
use sidereal_nn::kernels::silu_attention::next_times;
use sidereal_nn::layers::{
    Bias, FeedForward, FeedForwardShape, FeedForwardState, LayerNorm, Linear,
};
use sidereal_nn::{Init, Params};
use std::time::Instant;

const HEAD: usize = 32;

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 2_654_435_761) % 1024) as f32 / 512.0 - 1.0).collect()
}

/// Milliseconds of the faster of two runs of `work`, after one unseen.
fn time(mut work: impl FnMut()) -> f64 {
    work();
    let mut once = || {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64() * 1e3
    };
    once().min(once())
}

fn hstu(n: usize, d: usize, max: usize, threads: usize) -> f64 {
    let mut params = Params::new(1);
    let shape = HstuShape {
        width: d,
        heads: d / HEAD,
        qk_width: HEAD,
        value_width: HEAD,
        max_length: max,
        tables: RelativeTables::PositionAndTime,
    };
    let block = HstuBlock::new(&mut params, "layer", shape);
    let spans = [Span { q: 0, q_len: n, k: 0, k_len: n }];
    let keys: Vec<i64> = (0..n as i64).map(|i| 1_500_000_000 + 3000 * i + i * 977 % 2999).collect();
    let mut queries = keys.clone();
    next_times(&mut queries, &spans);
    let pass = HstuPass {
        spans: &spans,
        times: Some(Times { queries: &queries, keys: &keys }),
        dropout: Dropout::none(),
        site: 0,
        threads,
    };
    let (x, mut y, mut dx) = (values(n * d), vec![0.0; n * d], vec![0.0; n * d]);
    let (mut state, mut grads) = (HstuState::default(), vec![0.0; params.len()]);
    let w = params.values();
    time(|| {
        block.forward(w, &x, n, &pass, &mut state, &mut y);
        block.backward(w, &x, &y, n, &pass, &mut state, &mut dx, &mut grads);
    })
}

fn transformer(n: usize, d: usize) -> f64 {
    let mut params = Params::new(1);
    let uniform = Init::Uniform(1.0 / (d as f32).sqrt());
    let norm1 = LayerNorm::new(&mut params, "norm1", d, 1e-6);
    let qkv = Linear::new(&mut params, "qkv", d, 3 * d, Bias::With, uniform);
    let out = Linear::new(&mut params, "out", d, d, Bias::With, uniform);
    let norm2 = LayerNorm::new(&mut params, "norm2", d, 1e-6);
    let ff = FeedForward::new(&mut params, "ff", d, FeedForwardShape::biased(4 * d, 1));
    let spans = [Span { q: 0, q_len: n, k: 0, k_len: n }];
    let attention = Attention {
        heads: d / HEAD,
        width: HEAD,
        scale: 1.0 / (HEAD as f32).sqrt(),
        mask: Mask::Causal,
        bias: None,
        dropout: Dropout::none(),
        site: 0,
    };
    let [qp, kp, vp] = [0, 1, 2].map(|i| Place { ld: 3 * d, offset: i * d });
    let op = Place { ld: d, offset: 0 };
    let none = Dropout::none();
    let (w, x) = (params.values(), values(n * d));
    let row = || vec![0f32; n * d];
    let (mut a, mut o, mut mid, mut b, mut y) = (row(), row(), row(), row(), row());
    let (mut da, mut dmid, mut dx) = (row(), row(), row());
    let (mut fused, mut dfused) = (vec![0.0; 3 * n * d], vec![0.0; 3 * n * d]);
    let (mut stats1, mut stats2) = (vec![0.0; 2 * n], vec![0.0; 2 * n]);
    let (mut state, mut scratch) = (FeedForwardState::default(), Scratch::default());
    let mut grads = vec![0.0; params.len()];
    time(|| {
        norm1.forward(w, &x, &mut a, &mut stats1);
        qkv.forward(w, &a, n, &mut fused);
        attention.forward(&spans, &fused, qp, &fused, kp, vp, &mut o, op, &mut scratch);
        out.forward(w, &o, n, &mut mid);
        axpy(1.0, &x, &mut mid);
        norm2.forward(w, &mid, &mut b, &mut stats2);
        ff.forward(w, &b, n, none, 0, &mut state, &mut y);
        axpy(1.0, &mid, &mut y);

        ff.backward(w, &b, &y, n, none, 0, &mut state, &mut da, &mut grads);
        dmid.copy_from_slice(&y);
        norm2.backward(w, &mid, &stats2, &da, &mut dmid, Write::Add, &mut grads);
        out.backward(w, &o, &dmid, n, Some((&mut da, Write::Set)), &mut grads);
        dfused.fill(0.0);
        let joint = Grads::Joint(&mut dfused);
        let s = &mut scratch;
        attention.backward(&spans, &fused, qp, &fused, kp, vp, &da, op, joint, None, s);
        qkv.backward(w, &a, &dfused, n, Some((&mut da, Write::Set)), &mut grads);
        dx.copy_from_slice(&dmid);
        norm1.backward(w, &x, &stats1, &da, &mut dx, Write::Add, &mut grads);
    })
}

fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (n, threads) =
        (arguments.first().copied().unwrap_or(8192), arguments.get(1).copied().unwrap_or(1));
    println!("{n} rows, forward and backward, one block, {threads} threads (HSTU's attention)");
    for d in [128, 256] {
        let (theirs, full) = (transformer(n, d), hstu(n, d, n, threads));
        println!(
            "d {d}: Transformer {theirs:.0} ms, HSTU {full:.0} ms, ratio {:.2}",
            theirs / full
        );
        for alpha in [1.6, 1.7, 1.8] {
            let rule = StochasticLength { max: n, alpha };
            // A draw of 1 never keeps a history that may be cut.
            let kept = rule.length(n, 1.0);
            let all = (kept as f64 / n as f64).powi(2);
            let mean = all * full + (1.0 - all) * hstu(kept, d, n, threads);
            println!(
                "d {d}: alpha {alpha}, {kept} rows or, one time in {:.0}, all: HSTU {mean:.1} ms, \
                 ratio {:.1} (paper 5.3 to 15.2)",
                1.0 / all,
                theirs / mean
            );
        }
    }
}
