//! SiLU attention of one HSTU layer over one sequence, forward and backward, beside plain PyTorch
//! or its fused softmax attention. Time buckets are computed anew in every step; the peer has them.

use crate::arm;
use safetensors::SafeTensors;
use sidereal::nn::kernels::silu_attention::{
    BiasGrads, Grads, Place, PositionBias, Scratch, SiluAttention, Span, TimeBias, next_times,
};
use std::error::Error;
use std::path::Path;

const HEADS: usize = 4;
const WIDTH: usize = 32;

/// What stands on the other side.
#[derive(Clone, Copy, PartialEq)]
pub enum Peer {
    /// The same mathematics in plain operations.
    Plain,
    /// Fused softmax attention without bias: another operator, with no results to compare.
    Softmax,
}

pub fn run(work: &Path, threads: usize, n: usize, peer: Peer) -> Result<(), Box<dyn Error>> {
    let name = if peer == Peer::Softmax { "hstu-softmax" } else { "hstu" };
    let bytes = std::fs::read(work.join(format!("{name}-{n}.safetensors")))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let (x, dout) = (arm::values(&file, "x")?, arm::values(&file, "dout")?);
    let (position, time) = (arm::values(&file, "position")?, arm::values(&file, "time")?);
    let keys = arm::integers(&file, "times")?;
    let want = if peer == Peer::Softmax {
        None
    } else {
        let results = ["out", "dx", "dposition", "dtime"].map(|name| arm::values(&file, name));
        Some(results.into_iter().collect::<Result<Vec<_>, _>>()?)
    };
    drop(bytes);

    let spans = [Span { q: 0, q_len: n, k: 0, k_len: n }];
    let mut queries = keys.clone();
    next_times(&mut queries, &spans);
    let layer = SiluAttention {
        heads: HEADS,
        width: WIDTH,
        value_width: WIDTH,
        scale: 1.0,
        divisor: n as f32,
        position: Some(PositionBias { table: &position }),
        time: Some(TimeBias { table: &time, queries: &queries, keys: &keys }),
    };
    let inner = HEADS * WIDTH;
    // Rows hold u, v, q and k.
    let [vp, qp, kp] = [1, 2, 3].map(|i| Place { ld: 4 * inner, offset: i * inner });
    let op = Place { ld: inner, offset: 0 };
    let mut scratch = Scratch::default();
    let mut got = [vec![0.0; n * inner], vec![0.0; x.len()], vec![0.0; n], vec![0.0; time.len()]];
    let mut step = |got: &mut [Vec<f32>; 4]| {
        let [out, dx, dposition, dtime] = got;
        layer.forward(&spans, &x, qp, &x, kp, vp, out, op, threads, &mut scratch);
        dx.fill(0.0);
        dposition.fill(0.0);
        dtime.fill(0.0);
        let (grads, scratch) = (Grads::Joint(dx), &mut scratch);
        let tables = BiasGrads { position: Some(dposition), time: Some(dtime) };
        layer.backward(&spans, &x, qp, &x, kp, vp, &dout, op, grads, tables, threads, scratch);
    };
    step(&mut got);
    let told = match want {
        None => serde_json::Map::new(),
        Some(want) => {
            let off = got.iter().zip(&want).map(|(g, w)| arm::difference(g, w));
            arm::agreed(off.fold(0.0, f64::max), 1e-4)?
        }
    };
    arm::serve(told, || {
        step(&mut got);
        Ok(())
    })
}
