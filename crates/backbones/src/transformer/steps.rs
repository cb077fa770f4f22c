//! What every decoding session keeps: caches of generated codes and which row led to which.

use super::{Head, StackState, StepCache};
use sidereal_decoding::Row;
use sidereal_nn::kernels::embedding;
use sidereal_nn::kernels::math::size;
use std::ops::Range;

/// Book-keeping of the steps of one session.
#[derive(Default)]
pub(crate) struct Steps {
    /// Keys and values of generated codes.
    pub(crate) cache: StepCache,
    pub(crate) state: StackState,
    /// For each row, the row of every step so far that leads to it: `rows x steps`.
    pub(crate) chain: Vec<u32>,
    /// Rows of each request.
    pub(crate) groups: Vec<Range<usize>>,
    /// Table rows of the new position of each hypothesis.
    pub(crate) ids: Vec<u32>,
}

impl Steps {
    /// Prepares step `step` for `rows`, whose new table rows are `ids`: extends chains, groups rows
    /// by request and gathers the residual stream from `table`. Step 0 starts the session again.
    pub(crate) fn begin(
        &mut self,
        step: usize,
        rows: &[Row],
        requests: usize,
        ids: impl Iterator<Item = u32>,
        table: &[f32],
        width: usize,
    ) {
        if step == 0 {
            self.cache = StepCache::default();
        }
        self.ids.clear();
        self.ids.extend(ids);
        let mut next = Vec::with_capacity(rows.len() * (step + 1));
        for (r, row) in rows.iter().enumerate() {
            let parent = row.parent as usize;
            if step > 0 {
                next.extend_from_slice(&self.chain[parent * step..(parent + 1) * step]);
            }
            next.push(r as u32);
        }
        self.chain = next;
        self.groups.clear();
        let mut start = 0;
        for request in 0..requests as u32 {
            let len = rows[start..].iter().take_while(|r| r.request == request).count();
            self.groups.push(start..start + len);
            start += len;
        }
        size(&mut self.state.x, rows.len() * width);
        embedding::gather(table, width, &self.ids, &mut self.state.x);
    }

    /// Logits of all rows.
    pub(crate) fn score(
        &mut self,
        w: &[f32],
        head: &Head,
        level: usize,
        rows: usize,
        width: usize,
        logits: &mut Vec<f32>,
    ) {
        head.scale(&mut self.state.output);
        logits.clear();
        logits.resize(rows * head.cols(level), 0.0);
        head.scores(w, level, &self.state.output, width, rows, logits);
    }
}
