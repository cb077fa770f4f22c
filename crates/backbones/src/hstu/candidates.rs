//! Scores of many candidates for one user with the history's keys and values computed once:
//! M-FALCON (HSTU, arXiv 2402.17152).
//!
//! The candidates stand behind the history, see it and themselves and never each other, so a
//! candidate's state is that of one full forward over (history, candidate). Per block and user the
//! history costs one pass, and m candidates, in micro-batches of b, `m n (d_qk + d_v)` a head instead
//! of m passes over n + 1 rows.
//!
//! The `hstu` backbone is trained as a retriever. Its target-aware score here is the product of the
//! candidate's state with the candidate's item vector; the paper's ranker puts an MLP with a head
//! for each task on `h * e`, interleaves actions with items and is trained on both, none of which is
//! here: [`Candidates::states`] gives such a head what it needs. Deviations: places count from the
//! oldest item, as the retriever's do, where the production ranker counts back from the end; the
//! history is cut to `max_history - 1` items, so that a candidate has a place.

use super::{Hidden, Hstu, Rows};
use rayon::prelude::*;
use sidereal_core::{Error, ItemId, Matrix, Result, Run};
use sidereal_nn::Batch;
use sidereal_nn::hstu::{CandidateTimes, HistoryKeys, HstuState};
use sidereal_nn::kernels::dropout::Dropout;
use sidereal_nn::kernels::embedding;
use sidereal_nn::kernels::math::size;
use sidereal_nn::parallel::pool;

/// A user's history, ready for candidates.
pub struct Candidates<'a> {
    model: &'a Hstu,
    blocks: Vec<HistoryKeys>,
    /// Place of the candidates: the length of the history.
    place: usize,
}

impl Hstu {
    /// Reads a history, oldest first, of which the most recent `max_history - 1` items count; with
    /// `times` of the history and of the request, or without any.
    ///
    /// Errors: an item outside the catalogue, times that are not one an item.
    pub fn candidates(
        &self,
        history: &[ItemId],
        times: Option<CandidateTimes<'_>>,
    ) -> Result<Candidates<'_>> {
        if let Some(t) = times.filter(|t| t.history.len() != history.len()) {
            let (times, n) = (t.history.len(), history.len());
            return Err(Error::mismatch(format!("{times} times for {n} history items")));
        }
        let start = history.len().saturating_sub(self.options.max_history - 1);
        let history = &history[start..];
        let times = times.map(|t| CandidateTimes { history: &t.history[start..], now: t.now });
        let batch = Batch {
            item_offsets: vec![0, history.len() as u32],
            items: history.to_vec(),
            times: times.map_or_else(Vec::new, |t| t.history.to_vec()),
            ..Batch::default()
        };
        let (mut rows, mut hidden) = (Rows::default(), Hidden::default());
        self.input(&batch, &mut rows)?;
        // The time of a row's query is that of the next item, which for the last is a candidate.
        if let (Some(last), Some(t)) = (rows.queries.last_mut(), times) {
            *last = t.now;
        }
        self.run(Dropout::none(), &rows, &mut hidden);
        let (w, n) = (self.params.values(), history.len());
        let states = self.blocks.iter().zip(&hidden.blocks);
        let blocks = states.map(|(block, state)| block.remember(w, n, times, state)).collect();
        Ok(Candidates { model: self, blocks, place: n })
    }
}

#[derive(Default)]
struct Buffers {
    x: Vec<f32>,
    y: Vec<f32>,
    places: Vec<f32>,
    state: HstuState,
}

impl Candidates<'_> {
    /// States of the candidates, `m x d`, in micro-batches of `micro_batch` items. The number of
    /// threads changes no bit; another micro-batch changes rounding.
    ///
    /// Errors: a micro-batch of 0, an item outside the catalogue, a cancelled run.
    pub fn states(&self, items: &[ItemId], micro_batch: usize, run: &Run<'_>) -> Result<Matrix> {
        if micro_batch == 0 {
            return Err(Error::input("a micro-batch of 0 candidates; allowed: 1 and up"));
        }
        let n_items = self.model.n_items;
        if let Some(bad) = items.iter().find(|i| i.index() >= n_items) {
            return Err(Error::mismatch(format!("item {} of {n_items} items", bad.0)));
        }
        let d = self.model.options.d_model;
        let mut out = Matrix::zeros(items.len(), d);
        let parts = items.par_chunks(micro_batch);
        let parts = parts.zip(out.data_mut().par_chunks_mut(micro_batch * d));
        let answer = |b: &mut Buffers, (items, out): (&[ItemId], &mut [f32])| {
            run.check()?;
            self.micro_batch(items, b, out);
            Ok(())
        };
        pool(run.threads)?.install(|| parts.try_for_each_init(Buffers::default, answer))?;
        Ok(out)
    }

    /// Scores of the candidates, higher is better: the product of state and item vector.
    ///
    /// Errors: as [`Candidates::states`].
    pub fn scores(&self, items: &[ItemId], micro_batch: usize, run: &Run<'_>) -> Result<Vec<f32>> {
        let (states, d) = (self.states(items, micro_batch, run)?, self.model.options.d_model);
        let vectors = self.model.items.of(self.model.params.values());
        let score = |(i, item): (usize, &ItemId)| {
            let vector = &vectors[item.index() * d..(item.index() + 1) * d];
            states.row(i).iter().zip(vector).map(|(h, e)| h * e).sum()
        };
        Ok(items.iter().enumerate().map(score).collect())
    }

    fn micro_batch(&self, items: &[ItemId], b: &mut Buffers, out: &mut [f32]) {
        let (model, d) = (self.model, self.model.options.d_model);
        let (w, m) = (model.params.values(), items.len());
        let ids: Vec<u32> = items.iter().map(|i| i.0).collect();
        size(&mut b.x, m * d);
        size(&mut b.y, m * d);
        size(&mut b.places, d);
        embedding::gather(model.items.of(w), d, &ids, &mut b.x);
        embedding::gather(model.positions.of(w), d, &[self.place as u32], &mut b.places);
        let factor = (d as f32).sqrt();
        for x in b.x.chunks_exact_mut(d) {
            x.iter_mut().zip(&b.places).for_each(|(x, p)| *x = *x * factor + p);
        }
        for (block, history) in model.blocks.iter().zip(&self.blocks) {
            block.candidates(w, &b.x, m, history, &mut b.state, &mut b.y);
            std::mem::swap(&mut b.x, &mut b.y);
        }
        out.copy_from_slice(&b.x);
    }
}
