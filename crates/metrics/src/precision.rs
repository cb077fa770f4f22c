//! Precision@k = |targets in the first k items| / k, mean over requests (trec_eval's `P`).
//!
//! The divisor is k even where the list is shorter.

use crate::metric::at_k;
use crate::{Form, Formula, Judged};

at_k! {
    /// Precision at a cut-off.
    Precision, "precision", HigherIsBetter, [],
    |name: &str, k, _| Ok(Form::mean(name, k, PrecisionAt))
}

struct PrecisionAt;

impl Formula for PrecisionAt {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        judged.by_hits(cut_offs, values, |hits, k| hits / k as f64);
    }
}
