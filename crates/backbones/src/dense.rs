//! What the dense retrievers share, fused ones and networks alike: rows of histories, the state
//! that stands for a target, the last state of a row as its query.

use crate::transformer::{NormKind, Shape};
use sidereal_core::{Error, Matrix, Result};
use sidereal_nn::Batch;
use sidereal_nn::kernels::attention::{Mask, Span};
use sidereal_nn::layers::FeedForwardShape;

/// The blocks of SASRec: causal attention over items, LayerNorm before each sublayer.
///
/// Errors: a width that is no multiple of the heads, of which there is at least one.
pub(crate) fn item_shape(width: usize, d_ff: usize, layers: usize, heads: usize) -> Result<Shape> {
    if !width.is_multiple_of(heads) {
        let message = format!("{width}; allowed: multiples of heads = {heads}");
        return Err(Error::config("backbone.d_model", message));
    }
    let head_width = width / heads;
    Ok(Shape {
        layers,
        width,
        heads,
        head_width,
        feed_forward: FeedForwardShape::biased(d_ff, 1),
        norm: NormKind::Layer,
        scale: 1.0 / (head_width as f32).sqrt(),
        mask: Mask::Causal,
        relative: None,
        cross: false,
    })
}

/// Packed rows of all histories: item, place counted from the oldest, and span of each row.
#[derive(Default)]
pub(crate) struct Histories {
    pub(crate) ids: Vec<u32>,
    pub(crate) places: Vec<u32>,
    pub(crate) spans: Vec<Span>,
}

impl Histories {
    /// Fills the rows from a batch, which must fit the model.
    pub(crate) fn fill(&mut self, batch: &Batch, max_history: usize, n_items: usize) -> Result<()> {
        self.ids.clear();
        self.places.clear();
        self.spans.clear();
        for row in 0..batch.rows() {
            let (start, history) = (self.ids.len(), batch.history(row));
            let len = history.len();
            if len > max_history {
                return Err(Error::mismatch("a history is longer than backbone.max_history"));
            }
            self.ids.extend(history.iter().map(|i| i.0));
            self.places.extend(0..len as u32);
            self.spans.push(Span { q: start, q_len: len, k: start, k_len: len });
        }
        if let Some(bad) = self.ids.iter().find(|i| **i as usize >= n_items) {
            return Err(Error::mismatch(format!("item {bad} of {n_items} items")));
        }
        Ok(())
    }

    /// Length of each history.
    pub(crate) fn lens(&self) -> Vec<usize> {
        self.spans.iter().map(|s| s.q_len).collect()
    }
}

/// The packed row whose state is compared for each target.
pub(crate) fn target_rows(batch: &Batch, rows: &mut Vec<u32>) -> Result<()> {
    rows.clear();
    for t in &batch.targets {
        if t.position == 0 {
            return Err(Error::mismatch("a dense query needs at least one history item"));
        }
        rows.push(batch.item_offsets[t.row as usize] + t.position - 1);
    }
    Ok(())
}

/// One query a row of the batch: the state of its last item, zero without history, so that all
/// items tie. `place` finds a packed row in `states`, rows of `width` values.
pub(crate) fn last_states(
    batch: &Batch,
    states: &[f32],
    width: usize,
    place: impl Fn(usize) -> usize,
) -> Matrix {
    let mut queries = Matrix::zeros(batch.rows(), width);
    for row in (0..batch.rows()).filter(|&r| !batch.history(r).is_empty()) {
        let at = place(batch.history_range(row).end - 1) * width;
        queries.row_mut(row).copy_from_slice(&states[at..at + width]);
    }
    queries
}
