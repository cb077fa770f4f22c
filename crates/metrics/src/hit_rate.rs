//! HitRate@k = 1 if any target is among the first k items, else 0; mean over requests.

use crate::metric::at_k;
use crate::{Form, Formula, Judged};

at_k! {
    /// Share of requests with a hit.
    HitRate, "hit-rate", HigherIsBetter, [],
    |name: &str, k, _| Ok(Form::mean(name, k, HitAt))
}

struct HitAt;

impl Formula for HitAt {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        judged.by_hits(cut_offs, values, |hits, _| hits.min(1.0));
    }
}
