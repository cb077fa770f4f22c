//! MRR@k = 1 / rank of the first target (ranks from 1), 0 beyond k; mean over requests.

use crate::metric::at_k;
use crate::{Form, Formula, Judged};

at_k! {
    /// Mean reciprocal rank, cut at k.
    Mrr, "mrr", HigherIsBetter, [],
    |name: &str, k, _| Ok(Form::mean(name, k, ReciprocalRank))
}

struct ReciprocalRank;

impl Formula for ReciprocalRank {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        let first = judged.ranks.first().copied().unwrap_or(u32::MAX);
        let reciprocal = 1.0 / (f64::from(first) + 1.0);
        for (&k, value) in cut_offs.iter().zip(values) {
            let found = !judged.ranks.is_empty() && (first as usize) < k;
            *value = if found { reciprocal } else { 0.0 };
        }
    }
}
