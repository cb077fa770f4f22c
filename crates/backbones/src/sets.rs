//! Set decoding: an item is a set of K real vectors, a model gives K query vectors in one pass, and
//! real items are ranked by a weighted sum of K dot products (SETRec, arXiv 2502.10833).
//!
//! `score(v) = sum_k w_k h_k . t_vk`, SETRec's weights being `1 - beta` for the first token and
//! `beta` for each of the others. No prefix, no trie, no beam, nothing to ground: only items of the
//! catalogue are scored. With weighted queries this is one product of width `K d` with the
//! catalogue, `2 B N K d`, in blocks ([`sidereal_nn::retrieval`]).
//!
//! [`SetModel`] is any model with K queries. [`QueryDecoder`] is the smallest one that has SETRec's
//! query-guided decoding: K learnt queries attend to the tokens of the history, in one pass, never
//! to each other, and all stand at one place; the K tokens of an item share a place too, so that
//! renaming the slots changes no score. It is one cross-attention without the paper's backbone (T5,
//! Qwen) in front, and it only runs forward: training (mean of K full-softmax losses, reconstruction
//! loss of the tokenizer) is not here. The public T5 code adds the K x K identity to the queries'
//! self-attention where a mask is meant; here there is none to mask.

use crate::recommend::{batch_of, in_groups};
use sidereal_core::{Error, Matrix, Recommendation, Recommender, Request, Response, Result, Run};
use sidereal_nn::kernels::gemm::{Mat, Write, gemm};
use sidereal_nn::kernels::math::{exp_in_place, max, sum};
use sidereal_nn::retrieval::{scores_of, top_items};
use sidereal_nn::{Batch, BatchBuilder, Init, Params, Slot};
use std::sync::Arc;

/// A model that gives K query vectors of width d a user.
pub trait SetModel: Send + Sync {
    /// Query vectors a user, K.
    fn slots(&self) -> usize;

    /// Width of each, d.
    fn width(&self) -> usize;

    /// The longest history it can read, in items.
    fn max_history(&self) -> usize;

    /// All queries of every row of `batch` in one pass: `B x K d`.
    fn set_queries(&self, batch: &Batch) -> Result<Matrix>;
}

/// Ranks real items by their sets.
pub struct SetRecommender<M> {
    model: M,
    tokens: Arc<Matrix>,
    weights: Vec<f32>,
    builder: BatchBuilder,
}

impl<M: SetModel> SetRecommender<M> {
    /// With the tokens of N items, `N x K d`, token after token, and a weight a token.
    ///
    /// Errors: shapes that do not fit the model, values that are not finite.
    pub fn new(model: M, tokens: Arc<Matrix>, weights: Vec<f32>) -> Result<Self> {
        let (slots, width) = (model.slots(), model.width());
        check_tokens(&tokens, slots, width)?;
        if weights.len() != slots || weights.iter().any(|w| !w.is_finite()) {
            let message = format!("weights {weights:?}; expected {slots} finite numbers");
            return Err(Error::mismatch(message));
        }
        let builder = BatchBuilder::new(None, model.max_history());
        Ok(SetRecommender { model, tokens, weights, builder })
    }

    fn answer(&self, requests: &[Request<'_>], k: usize, run: &Run<'_>) -> Result<Vec<Response>> {
        requests.iter().try_for_each(|r| r.check(self.tokens.rows()))?;
        let batch = batch_of(&self.builder, requests)?;
        let mut queries = self.model.set_queries(&batch)?;
        if (queries.rows(), queries.cols()) != (requests.len(), self.tokens.cols()) {
            return Err(Error::mismatch(format!(
                "set queries of {} x {} for {} requests and tokens of {} values",
                queries.rows(),
                queries.cols(),
                requests.len(),
                self.tokens.cols()
            )));
        }
        for row in queries.data_mut().chunks_exact_mut(self.tokens.cols().max(1)) {
            for (part, weight) in row.chunks_exact_mut(self.model.width()).zip(&self.weights) {
                part.iter_mut().for_each(|q| *q *= weight);
            }
        }
        // A group is one thread's work.
        let run = Run { threads: 1, ..run.clone() };
        let allowed = |q: usize, item| requests[q].allows(item);
        let top = top_items(queries.view(), self.tokens.view(), k, allowed, &run)?;
        let response = |q: usize| {
            let items = top.get(q).iter().map(|s| Recommendation {
                item: s.item,
                score: f64::from(s.score),
                sid: None,
            });
            Response { items: items.collect(), invalid: 0 }
        };
        Ok((0..requests.len()).map(response).collect())
    }
}

impl<M: SetModel> Recommender for SetRecommender<M> {
    fn recommend(
        &self,
        requests: &[Request<'_>],
        k: usize,
        run: &Run<'_>,
    ) -> Result<Vec<Response>> {
        in_groups(requests, run, |_, group| self.answer(group, k, run))
    }
}

fn check_tokens(tokens: &Matrix, slots: usize, width: usize) -> Result<()> {
    if slots == 0 || width == 0 || tokens.cols() != slots * width {
        return Err(Error::mismatch(format!(
            "tokens of {} values an item; expected {slots} of width {width}, each at least 1",
            tokens.cols()
        )));
    }
    match tokens.view().first_not_finite() {
        Some(row) => Err(Error::NotFinite {
            what: format!("a token of item {row}"),
            step: None,
            help: "tokens must be finite".into(),
        }),
        None => Ok(()),
    }
}

/// K learnt queries over the tokens of a history: `h_k = q_k + W_o sum_t a_kt W_v x_t`, with
/// `a_k = softmax_t((W_q q_k) . (W_k x_t) / sqrt d)` and `x_t` a token plus the place of its item,
/// counted from the most recent. Without history `h_k = q_k`.
pub struct QueryDecoder {
    tokens: Arc<Matrix>,
    slots: usize,
    width: usize,
    max_history: usize,
    params: Params,
    queries: Slot,
    places: Slot,
    /// W_q, W_k, W_v, W_o, each `d x d`.
    projections: [Slot; 4],
}

impl QueryDecoder {
    /// Fresh weights over the tokens of N items, `N x K d`. Queries start at N(0, 0.02), as the
    /// reference sets them.
    ///
    /// Errors: tokens that are not `slots` of one width, no place for a history.
    pub fn new(tokens: Arc<Matrix>, slots: usize, max_history: usize, seed: u64) -> Result<Self> {
        let width = tokens.cols() / slots.max(1);
        check_tokens(&tokens, slots, width)?;
        crate::at_least_one("max_history", max_history)?;
        let mut params = Params::new(seed);
        let queries = params.add("queries.weight", &[slots, width], Init::Normal(0.02));
        let places = params.add("places.weight", &[max_history, width], Init::Normal(0.02));
        let spread = Init::Uniform((3.0 / width as f32).sqrt());
        let projections = ["query", "key", "value", "output"]
            .map(|name| params.add(&format!("{name}.weight"), &[width, width], spread));
        Ok(QueryDecoder { tokens, slots, width, max_history, params, queries, places, projections })
    }

    /// All weights: `queries`, `places`, and the projections `query`, `key`, `value`, `output`.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// All weights, writable.
    pub fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    /// `out = x W`, rows of width d.
    fn project(&self, x: &[f32], which: usize) -> Vec<f32> {
        let d = self.width;
        let mut out = vec![0.0; x.len()];
        let weights = Mat::rows(self.projections[which].of(self.params.values()), d);
        gemm(x.len() / d, d, d, Mat::rows(x, d), weights, &mut out, d, Write::Set);
        out
    }

    /// Tokens of a row's history with their places, `L K x d`.
    fn input(&self, batch: &Batch, row: usize, x: &mut Vec<f32>) -> Result<()> {
        let history = batch.history(row);
        if history.len() > self.max_history {
            return Err(Error::mismatch("a history is longer than backbone.max_history"));
        }
        let places = self.places.of(self.params.values());
        for (ago, item) in (0..history.len()).rev().zip(history) {
            if item.index() >= self.tokens.rows() {
                let n = self.tokens.rows();
                return Err(Error::mismatch(format!("item {} of {n} items", item.0)));
            }
            let place = &places[ago * self.width..(ago + 1) * self.width];
            for token in self.tokens.row(item.index()).chunks_exact(self.width) {
                x.extend(token.iter().zip(place).map(|(t, p)| t + p));
            }
        }
        Ok(())
    }
}

impl SetModel for QueryDecoder {
    fn slots(&self) -> usize {
        self.slots
    }

    fn width(&self) -> usize {
        self.width
    }

    fn max_history(&self) -> usize {
        self.max_history
    }

    fn set_queries(&self, batch: &Batch) -> Result<Matrix> {
        let (k, d) = (self.slots, self.width);
        let learnt = self.queries.of(self.params.values());
        let mut asked = self.project(learnt, 0);
        let scale = (d as f32).sqrt().recip();
        asked.iter_mut().for_each(|q| *q *= scale);
        let mut x = Vec::new();
        let mut ends = Vec::with_capacity(batch.rows());
        for row in 0..batch.rows() {
            self.input(batch, row, &mut x)?;
            ends.push(x.len() / d);
        }
        let (keys, values) = (self.project(&x, 1), self.project(&x, 2));
        let mut mixed = vec![0.0; batch.rows() * k * d];
        let mut weights = Vec::new();
        let mut start = 0;
        for (&end, mixed) in ends.iter().zip(mixed.chunks_exact_mut(k * d)) {
            let n = end - start;
            if n > 0 {
                weights.clear();
                weights.resize(k * n, 0.0);
                scores_of(&asked, &keys[start * d..end * d], d, &mut weights);
                weights.chunks_exact_mut(n).for_each(softmax);
                let (a, b) = (Mat::rows(&weights, n), Mat::rows(&values[start * d..end * d], d));
                gemm(k, d, n, a, b, mixed, d, Write::Set);
            }
            start = end;
        }
        let mut out = self.project(&mixed, 3);
        for row in out.chunks_exact_mut(k * d) {
            row.iter_mut().zip(learnt).for_each(|(h, q)| *h += q);
        }
        Matrix::new(batch.rows(), k * d, out)
    }
}

fn softmax(row: &mut [f32]) {
    let largest = max(row);
    row.iter_mut().for_each(|x| *x -= largest);
    exp_in_place(row);
    let share = sum(row).recip();
    row.iter_mut().for_each(|x| *x *= share);
}
