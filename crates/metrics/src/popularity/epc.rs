//! EPC@k and EFD@k (Vargas and Castells 2011): novelty of the relevant items, discounted by rank.
//!
//! sum over hits of disc(rank) nov(item) / sum over the places in use, min(k, length), of
//! disc(rank), with disc(rank) = 1 / log2(rank + 1); mean over requests. An empty list has 0.
//! - EPC, expected popularity complement: nov = 1 - audience / training users; items unseen in
//!   training have 1 (Elliot v0.3.1).
//! - EFD, expected free discovery: nov = -log2(audience / sum of audiences); items unseen in training
//!   get the novelty of the least known item that was seen (Elliot v0.3.1).

use super::Audience;
use crate::metric::at_k;
use crate::ndcg::DISCOUNTS;
use crate::{EvalContext, Form, Formula, Judged, Need, Reads};

at_k! {
    /// Expected popularity complement.
    Epc, "epc", HigherIsBetter, [Need::Train],
    |name: &str, k, context: &EvalContext<'a>| {
        let audience = Audience::of(context.train(name)?, context.n_items)?;
        let users = audience.users.max(1) as f64;
        let novelty = audience.of_item.iter().map(|&c| 1.0 - f64::from(c) / users).collect();
        Ok(Form::mean(name, k, Discovery { novelty }))
    }
}

at_k! {
    /// Expected free discovery, in bits.
    Efd, "efd", HigherIsBetter, [Need::Train],
    |name: &str, k, context: &EvalContext<'a>| {
        let audience = Audience::of(context.train(name)?, context.n_items)?;
        let total = audience.total().max(1) as f64;
        let least = audience.of_item.iter().copied().filter(|&c| c > 0).min().unwrap_or(1);
        let bits = |&c: &u32| (total / f64::from(c.max(least))).log2();
        let novelty = audience.of_item.iter().map(bits).collect();
        Ok(Form::mean(name, k, Discovery { novelty }))
    }
}

struct Discovery {
    novelty: Vec<f64>,
}

impl Formula for Discovery {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        let table = &*DISCOUNTS;
        let novelty = |hit: usize, rank: u32| {
            table.at(rank as usize) * self.novelty[judged.hits[hit].index()]
        };
        judged.over_hits(cut_offs, values, novelty, |sum, k| match k.min(judged.head.len()) {
            0 => 0.0,
            places => sum / table.sum(places),
        });
    }

    fn reads(&self) -> Reads {
        Reads::Items
    }
}
