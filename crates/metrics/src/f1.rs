//! F1@k = 2 P R / (P + R) of Precision@k and Recall@k = 2 hits / (k + |targets|), mean over
//! requests: the mean of F1s, not the F1 of means.

use crate::metric::at_k;
use crate::{Form, Formula, Judged};

at_k! {
    /// F1 at a cut-off.
    F1, "f1", HigherIsBetter, [],
    |name: &str, k, _| Ok(Form::mean(name, k, F1At))
}

struct F1At;

impl Formula for F1At {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        let targets = judged.n_targets();
        judged.by_hits(cut_offs, values, |hits, k| 2.0 * hits / (k as f64 + targets));
    }
}
