//! Candidates of one history through a block: M-FALCON's mask (HSTU, arXiv 2402.17152, section 4).
//!
//! Every candidate attends to the n rows of the history and to itself, never to another candidate,
//! and stands at the place behind the history. So the history's keys and values are computed once,
//! and m candidates cost a head two products, `m x n x d_qk` and `m x n x d_v`, beside their own
//! projections. All candidates have one place and one time: the bias is one row of n + 1 values.

use super::{HstuBlock, HstuPass, HstuState};
use crate::kernels::activation::Activation;
use crate::kernels::dropout::Dropout;
use crate::kernels::gemm::{Mat, Write, gemm};
use crate::kernels::math::{size, zeros};
use crate::kernels::silu_attention::time_bucket;

/// Seconds of a history's rows and of the candidates.
#[derive(Debug, Clone, Copy)]
pub struct CandidateTimes<'a> {
    /// Of the history's rows.
    pub history: &'a [i64],
    /// Of the candidates: the time of the request.
    pub now: i64,
}

/// Keys and values of a history in one block.
#[derive(Debug, Clone)]
pub struct HistoryKeys {
    rows: usize,
    /// `n x h d_qk`.
    keys: Vec<f32>,
    /// `n x h d_v`.
    values: Vec<f32>,
    /// Bias of a candidate to each row of the history, and to itself.
    bias: Vec<f32>,
}

impl HstuBlock {
    /// Takes keys and values of `rows` rows from the state of their [`HstuBlock::forward`].
    ///
    /// # Panics
    /// When the history and one candidate are longer than `max_length`, or times are not one a row:
    /// a mistake of the caller.
    pub fn remember(
        &self,
        weights: &[f32],
        rows: usize,
        times: Option<CandidateTimes<'_>>,
        state: &HstuState,
    ) -> HistoryKeys {
        let [_, vp, _, kp] = self.places();
        let copy = |offset: usize, width: usize| -> Vec<f32> {
            let fused = state.after.chunks_exact(kp.ld).take(rows);
            fused.flat_map(|row| &row[offset..offset + width]).copied().collect()
        };
        let mut bias = vec![0.0; rows + 1];
        if let Some(table) = self.position.map(|s| s.of(weights)) {
            bias.copy_from_slice(&table[table.len() - 1 - rows..]);
        }
        if let Some((table, times)) = self.time.map(|s| s.of(weights)).zip(times) {
            let keys = times.history.iter().chain([&times.now]);
            assert_eq!(times.history.len(), rows, "one time a row");
            for (bias, &key) in bias.iter_mut().zip(keys) {
                *bias += table[time_bucket(times.now, key, table.len())];
            }
        }
        HistoryKeys {
            rows,
            keys: copy(kp.offset, self.shape.heads * self.shape.qk_width),
            values: copy(vp.offset, self.shape.gate()),
            bias,
        }
    }

    /// `out` = the block's output for `rows` candidates `x` behind a history.
    pub fn candidates(
        &self,
        weights: &[f32],
        x: &[f32],
        rows: usize,
        history: &HistoryKeys,
        state: &mut HstuState,
        out: &mut [f32],
    ) {
        let (shape, n) = (self.shape, history.rows);
        let (gate, qk, v) = (shape.gate(), shape.qk_width, shape.value_width);
        self.project(weights, x, rows, state);
        zeros(&mut state.attended, rows * gate);
        let [_, vp, qp, kp] = self.places();
        let share = (shape.max_length as f32).recip();
        size(&mut state.weights, rows * n);
        size(&mut state.own, rows);
        for head in 0..shape.heads {
            let s = &mut *state;
            let fused = s.after.as_slice();
            let query = Mat::rows(&fused[qp.offset + head * qk..], qp.ld);
            if n > 0 {
                let keys = Mat::rows(&history.keys[head * qk..], shape.heads * qk).t();
                gemm(rows, n, qk, query, keys, &mut s.weights, n, Write::Set);
                for row in s.weights.chunks_exact_mut(n) {
                    row.iter_mut().zip(&history.bias).for_each(|(w, b)| *w += b);
                }
                Activation::Silu.forward(&mut s.weights);
                s.weights.iter_mut().for_each(|w| *w *= share);
                let values = Mat::rows(&history.values[head * v..], gate);
                let weights = Mat::rows(&s.weights, n);
                let attended = &mut s.attended[head * v..];
                gemm(rows, v, n, weights, values, attended, gate, Write::Set);
            }
            let row_of = |row: usize, offset: usize, width: usize| {
                &fused[row * kp.ld + offset..row * kp.ld + offset + width]
            };
            for (row, own) in s.own.iter_mut().enumerate() {
                let q = row_of(row, qp.offset + head * qk, qk);
                let k = row_of(row, kp.offset + head * qk, qk);
                *own = q.iter().zip(k).map(|(q, k)| q * k).sum::<f32>() + history.bias[n];
            }
            Activation::Silu.forward(&mut s.own);
            for (row, own) in s.own.iter().enumerate() {
                let attended = &mut s.attended[row * gate + head * v..][..v];
                let value = row_of(row, vp.offset + head * v, v);
                attended.iter_mut().zip(value).for_each(|(a, x)| *a += own * share * x);
            }
        }
        let pass =
            HstuPass { spans: &[], times: None, dropout: Dropout::none(), site: 0, threads: 1 };
        self.finish(weights, x, rows, &pass, state, out);
    }
}
