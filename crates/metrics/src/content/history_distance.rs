//! Novelty as distance from the user's history: the mean over the items within k of the smallest
//! 1 - cos to any item that the user had; mean over requests. An empty list has 0, a user without
//! history 1 an item. Cost: O(k H D) for a history of H items.

use super::{inside, inverse_lengths};
use crate::metric::at_k;
use crate::{EvalContext, Form, Formula, Judged, Need, Reads};
use sidereal_core::{ItemId, MatrixRef, Sequences, UserId};

at_k! {
    /// Mean distance to the nearest item of the history.
    HistoryDistance, "history-distance", HigherIsBetter, [Need::Vectors, Need::Histories],
    |name: &str, k, context: &EvalContext<'a>| {
        let (vectors, histories) = (context.vectors(name)?, context.histories(name)?);
        inside(name, histories, context.n_items)?;
        let scales = inverse_lengths(name, vectors)?;
        Ok(Form::mean(name, k, Nearest { vectors, scales, histories }))
    }
}

struct Nearest<'a> {
    vectors: MatrixRef<'a>,
    scales: Vec<f64>,
    histories: &'a Sequences,
}

impl Nearest<'_> {
    fn cosine(&self, a: ItemId, b: ItemId) -> f64 {
        let (x, y) = (self.vectors.row(a.index()), self.vectors.row(b.index()));
        let dot: f64 = x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
        dot * self.scales[a.index()] * self.scales[b.index()]
    }
}

impl Formula for Nearest<'_> {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        let history = match judged.request < self.histories.len() {
            true => self.histories.items(UserId(judged.request as u32)),
            false => &[],
        };
        let nearest = |item| {
            let cosines = history.iter().map(|&h| self.cosine(item, h));
            1.0 - cosines.fold(f64::NEG_INFINITY, f64::max)
        };
        let distance = |item| if history.is_empty() { 1.0 } else { nearest(item) };
        judged.over_items(
            cut_offs,
            values,
            0.0,
            |sum, _, item| *sum += distance(item),
            |sum, _, n| sum / n.max(1) as f64,
        );
    }

    fn reads(&self) -> Reads {
        Reads::Items
    }
}
