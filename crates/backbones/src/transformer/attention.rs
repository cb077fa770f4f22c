//! Attention sublayers: `x += dropout(out(attention(norm(x))))`.

use super::{Norm, NormKind};
use sidereal_nn::kernels::attention::{Attention, Grads, Place, Scratch, Span};
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::gemm::Write;
use sidereal_nn::kernels::math::size;
use sidereal_nn::layers::{Bias, Linear};
use sidereal_nn::{Init, Params, Slot};

/// What a sublayer keeps between forward and backward, and its work space.
#[derive(Default)]
pub(crate) struct SublayerState {
    /// Input of the sublayer, `rows x width`.
    pub(crate) x: Vec<f32>,
    /// Normalised input.
    pub(crate) normed: Vec<f32>,
    pub(crate) stats: Vec<f32>,
    /// Queries (and keys and values, in self-attention).
    pub(crate) q: Vec<f32>,
    /// Keys and values of cross-attention.
    pub(crate) kv: Vec<f32>,
    /// Attended values, before the output projection.
    pub(crate) attended: Vec<f32>,
}

/// Buffers that all sublayers share.
#[derive(Default)]
pub(crate) struct Buffers {
    pub(crate) scratch: Scratch,
    pub(crate) out: Vec<f32>,
    pub(crate) d_attended: Vec<f32>,
    pub(crate) dq: Vec<f32>,
    pub(crate) dkv: Vec<f32>,
    pub(crate) d_normed: Vec<f32>,
}

/// Adds `q`, `k`, ... one after the other and returns them as one fused matrix.
fn fused(params: &mut Params, prefix: &str, names: &[&str], inner: usize, width: usize) -> Slot {
    let init = Init::Uniform(1.0 / (width as f32).sqrt());
    let mut slots =
        names.iter().map(|n| params.add(&format!("{prefix}.{n}.weight"), &[inner, width], init));
    let first = slots.next().unwrap_or(Slot { offset: 0, len: 0 });
    slots.fold(first, Slot::join)
}

/// Self-attention with fused query, key and value projections.
#[derive(Debug, Clone)]
pub(crate) struct SelfAttention {
    pub(crate) norm: Norm,
    pub(crate) qkv: Linear,
    pub(crate) out: Linear,
    /// Heads times head width.
    pub(crate) inner: usize,
}

impl SelfAttention {
    pub(crate) fn new(
        params: &mut Params,
        prefix: &str,
        kind: NormKind,
        width: usize,
        inner: usize,
    ) -> Self {
        let norm = Norm::new(kind, params, &format!("{prefix}.layer_norm"), width);
        let prefix = format!("{prefix}.SelfAttention");
        let qkv =
            Linear::fused(fused(params, &prefix, &["q", "k", "v"], inner, width), width, 3 * inner);
        let init = Init::Uniform(1.0 / (inner as f32).sqrt());
        let out = Linear::new(params, &format!("{prefix}.o"), inner, width, Bias::Without, init);
        SelfAttention { norm, qkv, out, inner }
    }

    /// Places of queries, keys, values and attended values.
    pub(crate) fn places(&self) -> [Place; 4] {
        let (e, ld) = (self.inner, 3 * self.inner);
        [
            Place { ld, offset: 0 },
            Place { ld, offset: e },
            Place { ld, offset: 2 * e },
            Place { ld: e, offset: 0 },
        ]
    }

    pub(crate) fn forward(
        &self,
        w: &[f32],
        x: &mut [f32],
        rows: usize,
        core: &Attention<'_>,
        spans: &[Span],
        state: &mut SublayerState,
        buffers: &mut Buffers,
    ) {
        state.x.clear();
        state.x.extend_from_slice(x);
        self.norm.forward(w, &state.x, &mut state.normed, &mut state.stats);
        size(&mut state.q, rows * 3 * self.inner);
        self.qkv.forward(w, &state.normed, rows, &mut state.q);
        size(&mut state.attended, rows * self.inner);
        let [q, k, v, o] = self.places();
        core.forward(
            spans,
            &state.q,
            q,
            &state.q,
            k,
            v,
            &mut state.attended,
            o,
            &mut buffers.scratch,
        );
        size(&mut buffers.out, x.len());
        self.out.forward(w, &state.attended, rows, &mut buffers.out);
        core.dropout.add_to(core.site + 1, &buffers.out, x);
    }

    /// `dx` holds the gradient of the output on entry and that of the input on return.
    pub(crate) fn backward(
        &self,
        w: &[f32],
        dx: &mut [f32],
        rows: usize,
        core: &Attention<'_>,
        spans: &[Span],
        dbias: Option<&mut [f32]>,
        state: &SublayerState,
        buffers: &mut Buffers,
        grads: &mut [f32],
    ) {
        let b = buffers;
        size(&mut b.out, dx.len());
        core.dropout.apply_to(core.site + 1, dx, &mut b.out);
        size(&mut b.d_attended, rows * self.inner);
        let d_attended = Some((&mut b.d_attended[..], Write::Set));
        self.out.backward(w, &state.attended, &b.out, rows, d_attended, grads);
        b.dq.clear();
        b.dq.resize(rows * 3 * self.inner, 0.0);
        let [q, k, v, o] = self.places();
        let joint = Grads::Joint(&mut b.dq);
        core.backward(
            spans,
            &state.q,
            q,
            &state.q,
            k,
            v,
            &b.d_attended,
            o,
            joint,
            dbias,
            &mut b.scratch,
        );
        size(&mut b.d_normed, dx.len());
        let d_normed = Some((&mut b.d_normed[..], Write::Set));
        self.qkv.backward(w, &state.normed, &b.dq, rows, d_normed, grads);
        self.norm.backward(w, &state.x, &state.stats, &b.d_normed, dx, Write::Add, grads);
    }
}

/// Attention of decoder rows to encoder states.
#[derive(Debug, Clone)]
pub(crate) struct CrossAttention {
    pub(crate) norm: Norm,
    pub(crate) q: Linear,
    pub(crate) kv: Linear,
    pub(crate) out: Linear,
    pub(crate) inner: usize,
}

impl CrossAttention {
    pub(crate) fn new(
        params: &mut Params,
        prefix: &str,
        kind: NormKind,
        width: usize,
        inner: usize,
    ) -> Self {
        let norm = Norm::new(kind, params, &format!("{prefix}.layer_norm"), width);
        let prefix = format!("{prefix}.EncDecAttention");
        let q = Linear::fused(fused(params, &prefix, &["q"], inner, width), width, inner);
        let kv = Linear::fused(fused(params, &prefix, &["k", "v"], inner, width), width, 2 * inner);
        let init = Init::Uniform(1.0 / (inner as f32).sqrt());
        let out = Linear::new(params, &format!("{prefix}.o"), inner, width, Bias::Without, init);
        CrossAttention { norm, q, kv, out, inner }
    }

    /// Places of queries, keys, values and attended values.
    pub(crate) fn places(&self) -> [Place; 4] {
        let (e, ld) = (self.inner, 2 * self.inner);
        [
            Place { ld: e, offset: 0 },
            Place { ld, offset: 0 },
            Place { ld, offset: e },
            Place { ld: e, offset: 0 },
        ]
    }

    pub(crate) fn forward(
        &self,
        w: &[f32],
        x: &mut [f32],
        rows: usize,
        memory: &[f32],
        memory_rows: usize,
        core: &Attention<'_>,
        spans: &[Span],
        state: &mut SublayerState,
        buffers: &mut Buffers,
    ) {
        state.x.clear();
        state.x.extend_from_slice(x);
        self.norm.forward(w, &state.x, &mut state.normed, &mut state.stats);
        size(&mut state.q, rows * self.inner);
        self.q.forward(w, &state.normed, rows, &mut state.q);
        size(&mut state.kv, memory_rows * 2 * self.inner);
        self.kv.forward(w, memory, memory_rows, &mut state.kv);
        size(&mut state.attended, rows * self.inner);
        let [q, k, v, o] = self.places();
        core.forward(
            spans,
            &state.q,
            q,
            &state.kv,
            k,
            v,
            &mut state.attended,
            o,
            &mut buffers.scratch,
        );
        size(&mut buffers.out, x.len());
        self.out.forward(w, &state.attended, rows, &mut buffers.out);
        core.dropout.add_to(core.site + 1, &buffers.out, x);
    }

    /// Also adds to the gradient of the memory.
    pub(crate) fn backward(
        &self,
        w: &[f32],
        dx: &mut [f32],
        rows: usize,
        memory: &[f32],
        memory_rows: usize,
        d_memory: &mut [f32],
        core: &Attention<'_>,
        spans: &[Span],
        state: &SublayerState,
        buffers: &mut Buffers,
        grads: &mut [f32],
    ) {
        let b = buffers;
        size(&mut b.out, dx.len());
        core.dropout.apply_to(core.site + 1, dx, &mut b.out);
        size(&mut b.d_attended, rows * self.inner);
        let d_attended = Some((&mut b.d_attended[..], Write::Set));
        self.out.backward(w, &state.attended, &b.out, rows, d_attended, grads);
        b.dq.clear();
        b.dq.resize(rows * self.inner, 0.0);
        b.dkv.clear();
        b.dkv.resize(memory_rows * 2 * self.inner, 0.0);
        let [q, k, v, o] = self.places();
        let split = Grads::Split { dq: &mut b.dq, dkv: &mut b.dkv };
        core.backward(
            spans,
            &state.q,
            q,
            &state.kv,
            k,
            v,
            &b.d_attended,
            o,
            split,
            None,
            &mut b.scratch,
        );
        self.kv.backward(w, memory, &b.dkv, memory_rows, Some((d_memory, Write::Add)), grads);
        size(&mut b.d_normed, dx.len());
        let d_normed = Some((&mut b.d_normed[..], Write::Set));
        self.q.backward(w, &state.normed, &b.dq, rows, d_normed, grads);
        self.norm.backward(w, &state.x, &state.stats, &b.d_normed, dx, Write::Add, grads);
    }
}

/// Dropout rate that a whole stack shares, at one site.
pub(crate) fn drop_in_place(dropout: Dropout, site: u32, x: &mut [f32]) {
    if dropout.is_active() {
        dropout.apply(site, x);
    }
}
