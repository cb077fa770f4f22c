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
        let hit = |hits: &mut f64, _, _| *hits += 1.0;
        judged.over_hits(cut_offs, values, 0.0, hit, |hits, _| hits / judged.n_targets());
    }
}
