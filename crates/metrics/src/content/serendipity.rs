//! Serendipity@k (Ge, Delgado-Battenfeld and Jannach 2010): hits within k that a primitive
//! recommender does not give, over the items of the list within k; mean over requests.
//!
//! The primitive recommender gives everybody the k items of the largest audience in training, ties
//! to the lower item. An empty list has 0.

use crate::metric::at_k;
use crate::popularity::Audience;
use crate::{EvalContext, Form, Formula, Judged, Need, Reads};

at_k! {
    /// Share of hits that popularity would not give.
    Serendipity, "serendipity", HigherIsBetter, [Need::Train],
    |name: &str, k, context: &EvalContext<'a>| {
        let audience = Audience::of(context.train(name)?, context.n_items)?.of_item;
        let mut order: Vec<u32> = (0..audience.len() as u32).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(audience[i as usize]));
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(rank, &i)| place[i as usize] = rank as u32);
        Ok(Form::mean(name, k, Unexpected { place }))
    }
}

struct Unexpected {
    /// Rank of each item by popularity.
    place: Vec<u32>,
}

impl Formula for Unexpected {
    fn values(&self, judged: &Judged<'_>, cut_offs: &[usize], values: &mut [f64]) {
        for (&k, value) in cut_offs.iter().zip(values) {
            let hits = &judged.hits[..judged.hits_within(k)];
            let unexpected = hits.iter().filter(|h| self.place[h.index()] as usize >= k).count();
            *value = unexpected as f64 / judged.head.len().min(k).max(1) as f64;
        }
    }

    fn reads(&self) -> Reads {
        Reads::Items
    }
}
