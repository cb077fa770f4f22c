//! Continuous identifiers: an item is a set of K real vectors.
//!
//! SETRec (arXiv 2502.10833): one token of collaborative and K - 1 of semantic origin, `t_vk` in
//! R^d, unordered. A model gives K query vectors `h_k` for a user, each scores the whole catalogue by
//! its own token, `s_k(v) = h_k . t_vk`, and the item's score is
//! `(1 - beta) s_0(v) + beta sum_{k>0} s_k(v)`. No trie, no beam, no collisions to resolve.
//!
//! With weights `w_k` the score is `(w_0 h_0, ..., w_{K-1} h_{K-1}) . (t_v0, ..., t_{v,K-1})`: one
//! product of the weighted queries, `B x K d`, with the catalogue, `K d x N`. Cost `2 B N K d`;
//! [`ContinuousIds::top`] keeps a tile of scores, never `B x N`.
//!
//! Weighted sums are added in another order than K separate products are: scores differ by rounding.

use rayon::prelude::*;
use sidereal_core::{Error, ItemId, Matrix, MatrixRef, Result, Run};
pub use sidereal_nn::retrieval::ScoredItem;
use sidereal_nn::retrieval::{scores_of, top_items};

/// Queries of one task.
const QUERIES: usize = 32;

/// K vectors of width d for each of N items.
#[derive(Debug, Clone, PartialEq)]
pub struct ContinuousIds {
    /// `N x K d`: token after token.
    values: Matrix,
    slots: usize,
}

/// SETRec's weights of `slots` tokens: `1 - beta` for the first, `beta` for each of the others.
///
/// Errors: no token, `beta` outside 0 to 1.
pub fn set_weights(slots: usize, beta: f32) -> Result<Vec<f32>> {
    if slots == 0 || !(0.0..=1.0).contains(&beta) {
        return Err(Error::mismatch(format!(
            "{slots} tokens with beta {beta}; expected at least one token and beta from 0 to 1"
        )));
    }
    let mut weights = vec![beta; slots];
    weights[0] = 1.0 - beta;
    Ok(weights)
}

impl ContinuousIds {
    /// From `values` of shape `N x K d`, token after token.
    ///
    /// Errors: a width that K does not divide, values that are not finite.
    pub fn new(values: Matrix, slots: usize) -> Result<Self> {
        if slots == 0 || values.cols() == 0 || !values.cols().is_multiple_of(slots) {
            return Err(Error::mismatch(format!(
                "continuous IDs: {} columns are not {slots} tokens of one width",
                values.cols()
            )));
        }
        if let Some(row) = values.view().first_not_finite() {
            return Err(Error::input(format!(
                "continuous IDs: the tokens of item {row} have a value that is not finite"
            )));
        }
        Ok(ContinuousIds { values, slots })
    }

    /// From one matrix of shape `N x d` a token.
    ///
    /// Errors: no matrix, shapes that differ.
    pub fn from_tokens(tokens: &[MatrixRef<'_>]) -> Result<Self> {
        let shape = |m: &MatrixRef<'_>| (m.rows(), m.cols());
        let Some((rows, dim)) = tokens.first().map(shape) else {
            return Err(Error::mismatch("continuous IDs: no token"));
        };
        if let Some(other) = tokens.iter().find(|m| shape(m) != (rows, dim)) {
            return Err(Error::mismatch(format!(
                "continuous IDs: tokens of {rows} x {dim} and of {} x {}",
                other.rows(),
                other.cols()
            )));
        }
        let mut values = Matrix::zeros(rows, dim * tokens.len());
        for i in 0..rows {
            let parts = values.row_mut(i).chunks_exact_mut(dim.max(1)).zip(tokens);
            parts.for_each(|(out, token)| out.copy_from_slice(token.row(i)));
        }
        ContinuousIds::new(values, tokens.len())
    }

    /// Number of items N.
    pub fn len(&self) -> usize {
        self.values.rows()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens of each item, K.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Width of a token, d.
    pub fn dim(&self) -> usize {
        self.values.cols() / self.slots
    }

    /// A token of an item.
    pub fn token(&self, item: ItemId, slot: usize) -> &[f32] {
        &self.values.row(item.index())[slot * self.dim()..(slot + 1) * self.dim()]
    }

    /// All tokens, `N x K d`.
    pub fn values(&self) -> &Matrix {
        &self.values
    }

    /// Scores of all items for each row of `queries` (`B x K d`): `B x N`.
    ///
    /// Errors: shapes that do not fit, weights that are not one a token.
    pub fn scores(&self, queries: MatrixRef<'_>, weights: &[f32]) -> Result<Matrix> {
        let queries = self.weighted(queries, weights)?;
        let n = self.len();
        let mut out = Matrix::zeros(queries.rows(), n);
        let width = self.values.cols();
        let rows = out.data_mut().par_chunks_mut((QUERIES * n).max(1));
        rows.zip(queries.data().par_chunks(QUERIES * width)).for_each(|(out, queries)| {
            scores_of(queries, self.values.data(), width, out);
        });
        Ok(out)
    }

    /// The best `k` items for each row of `queries`, best first, ties to the lower item: `min(k, N)`
    /// of them a row, one row after the other.
    ///
    /// Errors: as [`ContinuousIds::scores`]; a cancelled run.
    pub fn top(
        &self,
        queries: MatrixRef<'_>,
        weights: &[f32],
        k: usize,
        run: &Run<'_>,
    ) -> Result<Vec<ScoredItem>> {
        let queries = self.weighted(queries, weights)?;
        Ok(top_items(queries.view(), self.values.view(), k, |_, _| true, run)?.into_items())
    }

    fn weighted(&self, queries: MatrixRef<'_>, weights: &[f32]) -> Result<Matrix> {
        if queries.cols() != self.values.cols() || weights.len() != self.slots {
            return Err(Error::mismatch(format!(
                "queries of width {} with {} weights for {} tokens of width {}",
                queries.cols(),
                weights.len(),
                self.slots,
                self.dim()
            )));
        }
        let mut out = queries.to_owned();
        for i in 0..out.rows() {
            for (part, weight) in out.row_mut(i).chunks_exact_mut(self.dim()).zip(weights) {
                part.iter_mut().for_each(|v| *v *= weight);
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::Rng;
    use sidereal_core::seed;

    fn random(rows: usize, cols: usize, index: u64) -> Matrix {
        let mut rng = seed::stream(2, "continuous-test", index);
        let data = (0..rows * cols).map(|_| rng.random_range(-1.0..1.0)).collect();
        Matrix::new(rows, cols, data).unwrap()
    }

    fn order(items: &[ScoredItem]) -> Vec<u32> {
        items.iter().map(|s| s.item.0).collect()
    }

    #[test]
    fn half_and_half_is_the_mean_of_the_logits() {
        let (a, b) = (random(7, 3, 0), random(7, 3, 1));
        let ids = ContinuousIds::from_tokens(&[a.view(), b.view()]).unwrap();
        assert_eq!(ids.token(ItemId(4), 1), b.row(4));
        let queries = random(3, 6, 2);
        let scores = ids.scores(queries.view(), &set_weights(2, 0.5).unwrap()).unwrap();
        for q in 0..3 {
            let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
            for v in 0..7 {
                let (h, k) = queries.row(q).split_at(3);
                let mean = (dot(h, a.row(v)) + dot(k, b.row(v))) / 2.0;
                assert!((scores.row(q)[v] - mean).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn the_order_of_the_tokens_says_nothing() {
        let tokens: Vec<Matrix> = (0..4).map(|k| random(50, 5, k)).collect();
        let queries: Vec<Matrix> = (0..4).map(|k| random(6, 5, 10 + k)).collect();
        let weights = set_weights(4, 0.3).unwrap();
        let scores = |slots: &[usize]| {
            let tokens: Vec<_> = slots.iter().map(|&k| tokens[k].view()).collect();
            let weights: Vec<f32> = slots.iter().map(|&k| weights[k]).collect();
            let joined: Vec<_> = slots.iter().map(|&k| queries[k].view()).collect();
            let joined = ContinuousIds::from_tokens(&joined).unwrap();
            let ids = ContinuousIds::from_tokens(&tokens).unwrap();
            ids.scores(joined.values().view(), &weights).unwrap()
        };
        for (a, b) in scores(&[0, 1, 2, 3]).data().iter().zip(scores(&[2, 0, 3, 1]).data()) {
            assert!((a - b).abs() < 1e-5);
        }
    }

    /// Item A has a rare first token and the right second one; B and C share a common first token.
    /// The best first token leads to B and C, the best set is A.
    #[test]
    fn a_set_finds_what_greedy_decoding_misses() {
        let first = Matrix::new(3, 2, vec![1.0, 0.0, 0.0, 1.0, 0.0, 1.0]).unwrap();
        let second = Matrix::new(3, 2, vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.0]).unwrap();
        let ids = ContinuousIds::from_tokens(&[first.view(), second.view()]).unwrap();
        let query = Matrix::new(1, 4, vec![0.9, 1.0, 5.0, 0.1]).unwrap();
        let run = Run::quiet(1);
        let weights = set_weights(2, 0.5).unwrap();
        let best = ids.top(query.view(), &weights, 3, &run).unwrap();
        assert_eq!(order(&best), [0, 1, 2]);
        let greedy = ids.top(query.view(), &set_weights(2, 0.0).unwrap(), 1, &run).unwrap();
        assert_eq!(order(&greedy), [1]);
    }

    #[test]
    fn refused_shapes() {
        let ids = ContinuousIds::new(random(3, 4, 0), 2).unwrap();
        assert!(ContinuousIds::new(random(3, 4, 0), 3).is_err());
        assert!(ContinuousIds::new(random(3, 4, 0), 0).is_err());
        assert!(ContinuousIds::from_tokens(&[]).is_err());
        assert!(ContinuousIds::new(Matrix::new(1, 1, vec![f32::NAN]).unwrap(), 1).is_err());
        assert!(ids.scores(random(1, 3, 0).view(), &[0.5, 0.5]).is_err());
        assert!(ids.scores(random(1, 4, 0).view(), &[0.5]).is_err());
        assert!(set_weights(0, 0.5).is_err() && set_weights(2, 1.5).is_err());
        let none = ContinuousIds::new(random(0, 4, 0), 2).unwrap();
        let lists = none.top(random(2, 4, 0).view(), &[0.5, 0.5], 3, &Run::quiet(1)).unwrap();
        assert!(lists.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_best_are_the_first_of_all_scores(
            n in 1usize..2500, b in 1usize..40, k in 0usize..12, s in 0u64..9, threads in 1usize..4,
        ) {
            // Few distinct values: many equal scores.
            let mut values = random(n, 4, s);
            values.data_mut().iter_mut().for_each(|v| *v = (*v * 2.0).round());
            let ids = ContinuousIds::new(values, 2).unwrap();
            let mut queries = random(b, 4, 50 + s);
            queries.data_mut().iter_mut().for_each(|v| *v = (*v * 2.0).round());
            let weights = set_weights(2, 0.5).unwrap();
            let scores = ids.scores(queries.view(), &weights).unwrap();
            let run = Run { threads, ..Run::quiet(1) };
            let top = ids.top(queries.view(), &weights, k, &run).unwrap();
            prop_assert_eq!(top.len(), b * k.min(n));
            for (q, list) in top.chunks(k.min(n).max(1)).enumerate() {
                let mut all: Vec<u32> = (0..n as u32).collect();
                let score = |i: &u32| scores.row(q)[*i as usize];
                all.sort_by(|a, b| score(b).total_cmp(&score(a)).then(a.cmp(b)));
                all.truncate(k);
                prop_assert_eq!(order(list), all);
            }
        }
    }
}
