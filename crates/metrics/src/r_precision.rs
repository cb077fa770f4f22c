//! R-precision: |targets among the first |targets| items| / |targets|, mean over requests
//! (trec_eval's `Rprec`).
//!
//! It has no cut-off of its own. `k` says how many items of a list are looked at (and how many a
//! run asks for); targets beyond count as missed, as with any list that is too short.

use crate::metric::at_k;
use crate::{Form, Formula, Judged};

at_k! {
    /// Precision at the number of targets.
    RPrecision, "r-precision", HigherIsBetter, [],
    |name: &str, k, _| Ok(Form::mean(name, k, AtTargets))
}

struct AtTargets;

impl Formula for AtTargets {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        let targets = judged.targets.len();
        for (&k, value) in cut_offs.iter().zip(values) {
            *value = judged.hits_within(targets.min(k)) as f64 / targets as f64;
        }
    }
}
