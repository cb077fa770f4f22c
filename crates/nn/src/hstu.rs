//! The HSTU block (Zhai et al., arXiv 2402.17152, equations 1 to 3), forward and backward.
//!
//! `[U, V, Q, K] = silu(norm(X) W)`, `O = silu_attention(Q, K, V)`,
//! `Y = X + dropout(norm(O) * U) W_o + b_o`, with `X: rows x d`, `W: d x h (2 d_v + 2 d_qk)` and
//! norms over whole rows without weights (eps 1e-6), as in the reference's research code. There is
//! no feed-forward. Cost a row: `2 d h (3 d_v + 2 d_qk)` operations forward for the projections,
//! beside attention; see [`crate::kernels::silu_attention`].
//!
//! Deviations: none known from the research code beyond those of the attention kernel. Dropout on
//! attention weights, which the reference accepts but never applies, does not exist.

mod candidates;

pub use candidates::{CandidateTimes, HistoryKeys};

use crate::kernels::activation::Activation;
use crate::kernels::dropout::Dropout;
use crate::kernels::gemm::Write;
use crate::kernels::math::{axpy, size, zeros};
use crate::kernels::norm::{layer_norm, layer_norm_backward};
use crate::kernels::silu_attention::{
    BiasGrads, Grads, Place, PositionBias, Scratch, SiluAttention, Span, TimeBias,
};
use crate::layers::{Bias, Linear};
use crate::{Init, Params, Slot};

/// Buckets of the reference's time table.
pub const TIME_BUCKETS: usize = 129;

/// Added to variances.
const EPS: f32 = 1e-6;

/// Which relative biases a block learns, each block its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelativeTables {
    /// None.
    None,
    /// By distance.
    Position,
    /// By distance and by time; the caller brings times.
    PositionAndTime,
}

/// Shape of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HstuShape {
    /// Width d of the model.
    pub width: usize,
    /// Number of heads h.
    pub heads: usize,
    /// Width of a head's queries and keys.
    pub qk_width: usize,
    /// Width of a head's values and gates.
    pub value_width: usize,
    /// Length that sequences are padded to in the reference: divides attention weights and bounds
    /// the length of a span.
    pub max_length: usize,
    /// Relative biases.
    pub tables: RelativeTables,
}

impl HstuShape {
    fn gate(&self) -> usize {
        self.heads * self.value_width
    }

    fn fused(&self) -> usize {
        2 * self.heads * (self.value_width + self.qk_width)
    }
}

/// Seconds of each row, as the attention's queries and keys have them; see
/// [`crate::kernels::silu_attention::next_times`].
#[derive(Debug, Clone, Copy)]
pub struct Times<'a> {
    /// Of query rows.
    pub queries: &'a [i64],
    /// Of key rows.
    pub keys: &'a [i64],
}

/// What a pass over packed rows needs beside weights and activations.
#[derive(Debug, Clone, Copy)]
pub struct HstuPass<'a> {
    /// Rows of each sequence; queries and keys are the same rows.
    pub spans: &'a [Span],
    /// Times of all rows; without them the time table is passed over.
    pub times: Option<Times<'a>>,
    /// Dropout on what the output projection takes.
    pub dropout: Dropout,
    /// Dropout site.
    pub site: u32,
    /// Threads of attention, for long sequences; changes no bit.
    pub threads: usize,
}

/// One block.
#[derive(Debug, Clone, Copy)]
pub struct HstuBlock {
    shape: HstuShape,
    uvqk: Linear,
    output: Linear,
    position: Option<Slot>,
    time: Option<Slot>,
}

/// Activations kept for backward, and buffers.
#[derive(Debug, Default)]
pub struct HstuState {
    normed: Vec<f32>,
    stats: Vec<f32>,
    /// U, V, Q, K before and after SiLU.
    before: Vec<f32>,
    after: Vec<f32>,
    attended: Vec<f32>,
    attended_stats: Vec<f32>,
    attended_normed: Vec<f32>,
    gated: Vec<f32>,
    d_gated: Vec<f32>,
    d_attended: Vec<f32>,
    d_fused: Vec<f32>,
    d_normed: Vec<f32>,
    /// Weights of the norms, which have none: ones, and zeros.
    ones: Vec<f32>,
    nothing: Vec<f32>,
    /// Weights of candidates on a history, and on themselves.
    weights: Vec<f32>,
    own: Vec<f32>,
    /// Gradients of those, which nobody reads.
    unused: Vec<f32>,
    attention: Scratch,
}

impl HstuBlock {
    /// Adds `{name}.uvqk.weight`, `{name}.output.{weight, bias}` and the tables
    /// `{name}.position.weight` (`max_length` values) and `{name}.time.weight`.
    ///
    /// The fused matrix and the tables start at N(0, 0.02), the output projection as Xavier's
    /// uniform; its bias, too small to matter, alike.
    pub fn new(params: &mut Params, name: &str, shape: HstuShape) -> Self {
        let (d, gate, fused) = (shape.width, shape.gate(), shape.fused());
        let normal = Init::Normal(0.02);
        let uvqk = Linear::new(params, &format!("{name}.uvqk"), d, fused, Bias::Without, normal);
        let xavier = Init::Uniform((6.0 / (d + gate) as f32).sqrt());
        let output = Linear::new(params, &format!("{name}.output"), gate, d, Bias::With, xavier);
        let mut table = |kind: &str, n: usize| {
            params.add(&format!("{name}.{kind}.weight"), &[n], Init::Normal(0.02))
        };
        let position =
            (shape.tables != RelativeTables::None).then(|| table("position", shape.max_length));
        let time =
            (shape.tables == RelativeTables::PositionAndTime).then(|| table("time", TIME_BUCKETS));
        HstuBlock { shape, uvqk, output, position, time }
    }

    fn attention<'a>(&self, weights: &'a [f32], times: Option<Times<'a>>) -> SiluAttention<'a> {
        SiluAttention {
            heads: self.shape.heads,
            width: self.shape.qk_width,
            value_width: self.shape.value_width,
            scale: 1.0,
            divisor: self.shape.max_length as f32,
            position: self.position.map(|s| PositionBias { table: s.of(weights) }),
            time: self.time.zip(times).map(|(slot, t)| TimeBias {
                table: slot.of(weights),
                queries: t.queries,
                keys: t.keys,
            }),
        }
    }

    /// Places of U, V, Q and K in the fused rows.
    fn places(&self) -> [Place; 4] {
        let (v, q) = (self.shape.gate(), self.shape.heads * self.shape.qk_width);
        [0, v, 2 * v, 2 * v + q].map(|offset| Place { ld: self.shape.fused(), offset })
    }

    /// `out` = the block's output for `rows` rows of `x`.
    ///
    /// # Panics
    /// When a span is longer than `max_length`: a mistake of the caller.
    pub fn forward(
        &self,
        weights: &[f32],
        x: &[f32],
        rows: usize,
        pass: &HstuPass<'_>,
        state: &mut HstuState,
        out: &mut [f32],
    ) {
        let gate = self.shape.gate();
        self.project(weights, x, rows, state);
        // Rows outside of all spans have nothing to attend to.
        zeros(&mut state.attended, rows * gate);
        let [_, vp, qp, kp] = self.places();
        let op = Place { ld: gate, offset: 0 };
        let (x_fused, scratch) = (&state.after, &mut state.attention);
        self.attention(weights, pass.times).forward(
            pass.spans,
            x_fused,
            qp,
            x_fused,
            kp,
            vp,
            &mut state.attended,
            op,
            pass.threads,
            scratch,
        );
        self.finish(weights, x, rows, pass, state, out);
    }

    /// U, V, Q and K of `rows` rows of `x` into `state.after`.
    fn project(&self, weights: &[f32], x: &[f32], rows: usize, s: &mut HstuState) {
        let (d, gate, fused) = (self.shape.width, self.shape.gate(), self.shape.fused());
        s.ones.clear();
        s.ones.resize(d.max(gate), 1.0);
        zeros(&mut s.nothing, d.max(gate));
        size(&mut s.normed, rows * d);
        size(&mut s.stats, rows * 2);
        layer_norm(x, &s.ones[..d], &s.nothing[..d], EPS, &mut s.normed, &mut s.stats);
        size(&mut s.before, rows * fused);
        self.uvqk.forward(weights, &s.normed, rows, &mut s.before);
        s.after.clear();
        s.after.extend_from_slice(&s.before);
        Activation::Silu.forward(&mut s.after);
    }

    /// The block's output from `state.attended`.
    fn finish(
        &self,
        weights: &[f32],
        x: &[f32],
        rows: usize,
        pass: &HstuPass<'_>,
        s: &mut HstuState,
        out: &mut [f32],
    ) {
        let gate = self.shape.gate();
        let [up, ..] = self.places();
        size(&mut s.attended_stats, rows * 2);
        size(&mut s.attended_normed, rows * gate);
        layer_norm(
            &s.attended,
            &s.ones[..gate],
            &s.nothing[..gate],
            EPS,
            &mut s.attended_normed,
            &mut s.attended_stats,
        );
        size(&mut s.gated, rows * gate);
        multiply(&s.attended_normed, gate, &s.after[up.offset..], up.ld, &mut s.gated);
        pass.dropout.apply(pass.site, &mut s.gated);
        self.output.forward(weights, &s.gated, rows, out);
        axpy(1.0, x, out);
    }

    /// Sets `dx` from `dy` and adds the gradients of all parameters. Follows a forward with the
    /// same state.
    pub fn backward(
        &self,
        weights: &[f32],
        x: &[f32],
        dy: &[f32],
        rows: usize,
        pass: &HstuPass<'_>,
        state: &mut HstuState,
        dx: &mut [f32],
        grads: &mut [f32],
    ) {
        let (d, gate, fused) = (self.shape.width, self.shape.gate(), self.shape.fused());
        let s = state;
        size(&mut s.d_gated, rows * gate);
        let to_gated = Some((&mut s.d_gated[..], Write::Set));
        self.output.backward(weights, &s.gated, dy, rows, to_gated, grads);
        pass.dropout.apply(pass.site, &mut s.d_gated);

        zeros(&mut s.d_fused, rows * fused);
        let [up, vp, qp, kp] = self.places();
        let op = Place { ld: gate, offset: 0 };
        // Through the gate: first U's gradient, then that of the normed output in place.
        spread(&s.d_gated, &s.attended_normed, gate, &mut s.d_fused[up.offset..], up.ld);
        gate_in_place(&mut s.d_gated, gate, &s.after[up.offset..], up.ld);
        size(&mut s.d_attended, rows * gate);
        zeros(&mut s.unused, 2 * d.max(gate));
        let (dw, db) = s.unused.split_at_mut(d.max(gate));
        layer_norm_backward(
            &s.attended,
            &s.ones[..gate],
            &s.attended_stats,
            &s.d_gated,
            &mut s.d_attended,
            &mut dw[..gate],
            &mut db[..gate],
            Write::Set,
        );

        // The position table lies before the time table, both behind the projections.
        let (position, time) = match (self.position, self.time.filter(|_| pass.times.is_some())) {
            (Some(p), Some(t)) => {
                let (p, t) = p.join(t).of_mut(grads).split_at_mut(p.len);
                (Some(p), Some(t))
            }
            (p, _) => (p.map(|p| p.of_mut(grads)), None),
        };
        self.attention(weights, pass.times).backward(
            pass.spans,
            &s.after,
            qp,
            &s.after,
            kp,
            vp,
            &s.d_attended,
            op,
            Grads::Joint(&mut s.d_fused),
            BiasGrads { position, time },
            pass.threads,
            &mut s.attention,
        );
        Activation::Silu.backward(&s.before, &mut s.d_fused);
        size(&mut s.d_normed, rows * d);
        let to_normed = Some((&mut s.d_normed[..], Write::Set));
        self.uvqk.backward(weights, &s.normed, &s.d_fused, rows, to_normed, grads);
        let (dw, db) = s.unused.split_at_mut(d.max(gate));
        let (ones, dw, db) = (&s.ones[..d], &mut dw[..d], &mut db[..d]);
        layer_norm_backward(x, ones, &s.stats, &s.d_normed, dx, dw, db, Write::Set);
        axpy(1.0, dy, dx);
    }
}

/// `y = x * g` row by row; rows of `g` lie `ld` apart.
fn multiply(x: &[f32], width: usize, g: &[f32], ld: usize, y: &mut [f32]) {
    let rows = x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(g.chunks(ld));
    for ((x, y), g) in rows {
        y.iter_mut().zip(x).zip(g).for_each(|((y, x), g)| *y = x * g);
    }
}

/// `y = x * n` row by row; rows of `y` lie `ld` apart.
fn spread(x: &[f32], n: &[f32], width: usize, y: &mut [f32], ld: usize) {
    let rows = x.chunks_exact(width).zip(n.chunks_exact(width)).zip(y.chunks_mut(ld));
    for ((x, n), y) in rows {
        y.iter_mut().zip(x).zip(n).for_each(|((y, x), n)| *y = x * n);
    }
}

/// `x *= g` row by row; rows of `g` lie `ld` apart.
fn gate_in_place(x: &mut [f32], width: usize, g: &[f32], ld: usize) {
    for (x, g) in x.chunks_exact_mut(width).zip(g.chunks(ld)) {
        x.iter_mut().zip(g).for_each(|(x, g)| *x *= g);
    }
}

/// Stochastic Length (section 3.2): long sequences are cut at random while training, so that
/// attention costs `O(max^alpha)` a sequence instead of `O(max^2)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StochasticLength {
    /// Longest sequence N, 1 and up.
    pub max: usize,
    /// Exponent, above 1 up to 2; 2 keeps everything. The paper uses 1.6 to 1.8.
    pub alpha: f64,
}

impl StochasticLength {
    /// Length of what is kept of a sequence of `n`, with `draw` uniform in 0 to below 1: all of it
    /// up to `N^(alpha/2)`, else all with probability `N^alpha / n^2`, else `N^(alpha/2)` rounded
    /// down. Which rows are kept is the caller's: the most recent, or a sample.
    pub fn length(&self, n: usize, draw: f64) -> usize {
        let short = (self.max as f64).powf(self.alpha / 2.0);
        if n as f64 <= short || draw < (short / n as f64).powi(2) { n } else { short as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn stochastic_length_keeps_its_expected_cost() {
        let (max, alpha, n) = (1000, 1.6, 800);
        let rule = StochasticLength { max, alpha };
        assert_eq!(rule.length(251, 0.999), 251);
        assert_eq!(rule.length(252, 0.999), 251);
        assert_eq!(rule.length(252, 0.0), 252);
        assert_eq!(StochasticLength { max, alpha: 2.0 }.length(1000, 0.999), 1000);
        let mut rng = sidereal_core::seed::stream(1, "test", 0);
        let draws = 100_000;
        let square = |_| (rule.length(n, rng.random()) as f64).powi(2);
        let mean = (0..draws).map(square).sum::<f64>() / f64::from(draws);
        // All of it with probability p = N^a / n^2, else N^(a / 2).
        let cost = (max as f64).powf(alpha);
        let want = cost + (1.0 - cost / (n * n) as f64) * cost;
        assert!((mean / want - 1.0).abs() < 0.02, "{mean} {want}");
    }
}
