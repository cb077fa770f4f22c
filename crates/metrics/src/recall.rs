//! Recall@k = |targets in the first k items| / |targets|, mean over requests.
//!
//! The denominator is the number of targets even where it exceeds k.

use crate::metric::at_k;
use crate::{Form, Formula, Judged};

at_k! {
    /// Recall at a cut-off.
    Recall, "recall", HigherIsBetter, [],
    |name: &str, k, _| Ok(Form::mean(name, k, RecallAt))
}

struct RecallAt;

impl Formula for RecallAt {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        let targets = judged.n_targets();
        judged.by_hits(cut_offs, values, |hits, _| hits / targets);
    }
}
