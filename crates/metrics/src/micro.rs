//! Micro averages: totals over all requests, so that requests with many targets count more. The
//! plain metrics are macro averages, one request one vote.
//!
//! `recall-micro@k` = all hits / all targets; `precision-micro@k` = all hits / all places in use
//! (at most k a request, fewer for shorter lists); `f1-micro@k` is RIGHT's F1: the harmonic mean
//! of `recall-micro` and of `precision`, which divides by k for every request, so that its micro and
//! macro means are one: 2 hits / (k requests + targets). None has per-request values.

use crate::form::Counter;
use crate::metric::at_k;
use crate::{Form, Judged};

at_k! {
    /// Hits of all requests over targets of all requests.
    RecallMicro, "recall-micro", HigherIsBetter, [],
    |_, k, _| Ok(Form::counts("micro", k, Totals, |c| c[0] as f64 / c[1].max(1) as f64))
}

at_k! {
    /// Hits of all requests over recommended items of all requests.
    PrecisionMicro, "precision-micro", HigherIsBetter, [],
    |_, k, _| Ok(Form::counts("micro", k, Totals, |c| c[0] as f64 / c[2].max(1) as f64))
}

at_k! {
    /// Twice the hits of all requests over their places and targets.
    F1Micro, "f1-micro", HigherIsBetter, [],
    |_, k, _| Ok(Form::counts("micro", k, Totals, move |c| {
        2.0 * c[0] as f64 / (c[3] as f64 * k as f64 + c[1] as f64)
    }))
}

/// Hits, targets, recommended items, requests.
struct Totals;

impl Counter for Totals {
    fn counters(&self) -> usize {
        4
    }

    fn count(&self, judged: &Judged<'_>, k: usize, counts: &mut [u64]) {
        counts[0] += judged.hits_within(k) as u64;
        counts[1] += judged.targets.len() as u64;
        counts[2] += judged.first(k).len() as u64;
        counts[3] += 1;
    }
}
