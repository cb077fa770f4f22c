//! Accuracy at many cut-offs in one pass over the lists, without per-request values: a [`Panel`]
//! of the six metrics that everybody reports.

use crate::panel::{Keep, Panel};
use crate::{CutOff, EvalContext, HitRate, Map, Metric, Mrr, Ndcg, Precision, Recall, Truth};
use serde::{Deserialize, Serialize};
use sidereal_core::{Error, RankedLists, Result};

/// Mean accuracy over all requests at one cut-off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// The cut-off.
    pub k: usize,
    /// As [`Recall`].
    pub recall: f64,
    /// As [`Precision`].
    pub precision: f64,
    /// As [`Ndcg`].
    pub ndcg: f64,
    /// As [`HitRate`].
    pub hit_rate: f64,
    /// As [`Mrr`].
    pub mrr: f64,
    /// As [`Map`].
    pub map: f64,
}

/// Accuracy at each of the cut-offs, in their order, with up to `threads` threads; the same bits as
/// the single metrics. Fails as [`Metric::evaluate`] does and on a cut-off of 0.
pub fn sweep(
    lists: &RankedLists,
    truth: &Truth,
    n_items: usize,
    cut_offs: &[usize],
    threads: usize,
) -> Result<Vec<Accuracy>> {
    let mut metrics: Vec<Box<dyn Metric>> = Vec::with_capacity(6 * cut_offs.len());
    for &k in cut_offs {
        metrics.push(Box::new(Recall::new(CutOff { k })?));
        metrics.push(Box::new(Precision::new(CutOff { k })?));
        metrics.push(Box::new(Ndcg::new(CutOff { k })?));
        metrics.push(Box::new(HitRate::new(CutOff { k })?));
        metrics.push(Box::new(Mrr::new(CutOff { k })?));
        metrics.push(Box::new(Map::new(CutOff { k })?));
    }
    let panel = Panel::new(metrics.iter().map(AsRef::as_ref), &EvalContext::new(n_items, &[]))?;
    let mut tally = panel.tally(0, Keep::Means);
    panel.add(&mut tally, lists, truth, threads)?;
    let values: Vec<f64> = panel.scores(&tally)?.iter().map(|s| s.value).collect();
    let accuracy = |(&k, v): (&usize, &[f64])| match *v {
        [recall, precision, ndcg, hit_rate, mrr, map] => {
            Ok(Accuracy { k, recall, precision, ndcg, hit_rate, mrr, map })
        }
        _ => Err(Error::mismatch("a metric without score")),
    };
    cut_offs.iter().zip(values.chunks(6)).map(accuracy).collect()
}
