//! The best items by dot product with a query: blocked products with a running selection.
//!
//! For queries `B x d` and items `N x d`, both row-major: a task takes a few queries and walks the
//! items in tiles, so that `32 x 1024` scores exist at a time and never `B x N`. Cost `2 B N d`
//! operations and one comparison a score. Tiles are fixed, so the number of threads changes no bit.

use crate::kernels::gemm::{Mat, Write, gemm};
use crate::parallel::pool;
use rayon::prelude::*;
use sidereal_core::{Error, ItemId, MatrixRef, Result, Run};

/// Queries of one task.
const QUERIES: usize = 32;
/// Items scored at a time.
const ITEMS: usize = 1024;

/// An item and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredItem {
    /// The item.
    pub item: ItemId,
    /// Its score.
    pub score: f32,
}

/// Ranked items of several queries: query `q` owns `items[offsets[q]..offsets[q + 1]]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TopItems {
    offsets: Vec<usize>,
    items: Vec<ScoredItem>,
}

impl TopItems {
    /// The list of a query, best first.
    pub fn get(&self, query: usize) -> &[ScoredItem] {
        &self.items[self.offsets[query]..self.offsets[query + 1]]
    }

    /// All lists, one after the other.
    pub fn into_items(self) -> Vec<ScoredItem> {
        self.items
    }
}

/// The best `k` items for each query, best first, ties to the lower item, among those that
/// `allowed(query, item)` lets through; it is asked only of items that would get in.
///
/// Errors: widths that differ, a cancelled run.
pub fn top_items(
    queries: MatrixRef<'_>,
    items: MatrixRef<'_>,
    k: usize,
    allowed: impl Fn(usize, ItemId) -> bool + Sync,
    run: &Run<'_>,
) -> Result<TopItems> {
    let (n, width) = (items.rows(), items.cols());
    if queries.cols() != width || width == 0 {
        return Err(Error::mismatch(format!(
            "queries of width {} for items of width {width}; expected one width above 0",
            queries.cols()
        )));
    }
    let lists = |(part, queries): (usize, &[f32])| {
        let rows = queries.len() / width;
        let mut best: Vec<Best> = (0..rows).map(|_| Best::new(k)).collect();
        let mut scores = vec![0.0; rows * ITEMS.min(n)];
        for first in (0..n).step_by(ITEMS) {
            run.check()?;
            let count = ITEMS.min(n - first);
            let tile = &items.data()[first * width..(first + count) * width];
            let scores = &mut scores[..rows * count];
            scores_of(queries, tile, width, scores);
            for (q, (best, scores)) in best.iter_mut().zip(scores.chunks_exact(count)).enumerate() {
                let allowed = |item| allowed(part * QUERIES + q, item);
                for (item, &score) in (first as u32..).zip(scores) {
                    best.offer(ItemId(item), score, &allowed);
                }
            }
        }
        Ok(best)
    };
    let chunks = queries.data().par_chunks((QUERIES * width).max(1)).enumerate();
    let found = || chunks.map(lists).collect::<Result<Vec<_>>>();
    let found = if run.threads <= 1 && rayon::current_thread_index().is_some() {
        // Already on a thread of a pool: the caller's.
        found()?
    } else {
        pool(run.threads)?.install(found)?
    };
    let mut top = TopItems { offsets: vec![0], items: Vec::new() };
    for best in found.into_iter().flatten() {
        top.items.extend(best.finish());
        top.offsets.push(top.items.len());
    }
    Ok(top)
}

/// `out = queries items^T`: `rows x count`.
pub fn scores_of(queries: &[f32], items: &[f32], width: usize, out: &mut [f32]) {
    let (rows, count) = (queries.len() / width.max(1), items.len() / width.max(1));
    let (a, b) = (Mat::rows(queries, width), Mat::rows(items, width).t());
    gemm(rows, count, width, a, b, out, count, Write::Set);
}

/// The best k, with a threshold that rises whenever twice as many have come.
struct Best {
    k: usize,
    kept: Vec<ScoredItem>,
    threshold: f32,
}

impl Best {
    fn new(k: usize) -> Self {
        Best { k, kept: Vec::new(), threshold: f32::NEG_INFINITY }
    }

    /// Items come in ascending order: an equal score comes too late.
    #[inline]
    fn offer(&mut self, item: ItemId, score: f32, allowed: &impl Fn(ItemId) -> bool) {
        if (self.kept.len() < self.k || score > self.threshold) && allowed(item) {
            self.kept.push(ScoredItem { item, score });
            if self.kept.len() >= 2 * self.k + 32 {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        self.kept.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
        self.kept.truncate(self.k);
        if let Some(last) = self.kept.last().filter(|_| self.kept.len() == self.k) {
            self.threshold = last.score;
        }
    }

    fn finish(mut self) -> Vec<ScoredItem> {
        self.cut();
        self.kept
    }
}
