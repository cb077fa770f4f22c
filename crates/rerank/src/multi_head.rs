//! Several heads as one recommender: their lists are merged under compatibility masks and weights.
//!
//! Multi-head decoding with human priors (arXiv 2511.10492): each output head belongs to a group of
//! items (a category, an event, a cluster) and may score items of its group alone. `combine` takes
//! the best k of every head, sorts by score and keeps an item's first place, which is the best k by
//! `score(v) = max over heads h with v in their group of (s_h(v) + ln w_h)`: exact, because an item
//! among the best k of all is among the best k of the head that it has its score from. `average`
//! takes the mean over the heads that list the item, exact where [`Merge::Average`]'s depth reaches
//! the end of every head's items.
//!
//! A head is any [`Recommender`]: a retriever with its own query vector, a decoder with its own
//! model; the mask goes to it as [`Request::among`], cut with the request's own. The paper has no
//! weight in the merge; here `ln w_h` is added, so that heads whose scores are log-probabilities
//! form a mixture with priors w_h, and `w_h = 1` is the paper's rule. Heads that a request's prior
//! switches off (the paper's classifier, here a function of the caller) are not asked. Scores of
//! heads are compared as they are: nothing calibrates them. Training of heads is not here.

use sidereal_core::{
    Error, ItemId, ItemSet, Recommendation, Recommender, Request, Response, Result, Run,
};
use std::collections::BTreeMap;

/// A recommender for a group of items.
pub struct Head {
    /// Ranks items.
    pub recommender: Box<dyn Recommender>,
    /// Items that it may rank; none for all.
    pub group: Option<ItemSet>,
    /// Its prior, above 0; 1 leaves scores alone.
    pub weight: f64,
}

/// How scores of several heads for one item become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// The largest.
    Combine,
    /// The mean over heads that list the item.
    Average {
        /// Items that each head is asked for.
        depth: usize,
    },
}

/// Whether a head, by its number, takes part in a request.
pub type Switch = Box<dyn Fn(&Request<'_>, usize) -> bool + Send + Sync>;

/// The heads as one recommender.
pub struct MultiHead {
    heads: Vec<Head>,
    merge: Merge,
    switch: Option<Switch>,
}

impl MultiHead {
    /// Errors: no head, a weight that is not above 0.
    pub fn new(heads: Vec<Head>, merge: Merge) -> Result<Self> {
        if heads.is_empty() {
            return Err(Error::input("a recommender of several heads needs at least one"));
        }
        if let Some(head) = heads.iter().find(|h| !(h.weight > 0.0 && h.weight.is_finite())) {
            let message = format!("weight {} of a head; allowed: above 0", head.weight);
            return Err(Error::input(message));
        }
        Ok(MultiHead { heads, merge, switch: None })
    }

    /// With a prior switch.
    pub fn with_switch(mut self, switch: Switch) -> Self {
        self.switch = Some(switch);
        self
    }

    /// Adds one head's lists to `found`, a list a request.
    fn ask(
        &self,
        number: usize,
        requests: &[Request<'_>],
        k: usize,
        run: &Run<'_>,
        found: &mut [Found],
    ) -> Result<()> {
        let head = &self.heads[number];
        let on = |r: &Request<'_>| self.switch.as_ref().is_none_or(|s| s(r, number));
        let asked: Vec<usize> = (0..requests.len()).filter(|&r| on(&requests[r])).collect();
        let masks: Vec<Option<ItemSet>> = asked
            .iter()
            .map(|&r| match (&head.group, requests[r].among) {
                (Some(group), Some(among)) => group.clone().and(among).map(Some),
                _ => Ok(None),
            })
            .collect::<Result<_>>()?;
        let own: Vec<Request<'_>> = asked
            .iter()
            .zip(&masks)
            .map(|(&r, mask)| {
                let request = requests[r];
                let among = mask.as_ref().or(head.group.as_ref()).or(request.among);
                Request { among, ..request }
            })
            .collect();
        let depth = match self.merge {
            Merge::Combine => k,
            Merge::Average { depth } => depth.max(k),
        };
        let lists = head.recommender.recommend(&own, depth, run)?;
        if lists.len() != own.len() {
            let message = format!("{} responses to {} requests", lists.len(), own.len());
            return Err(Error::mismatch(message));
        }
        for (list, &r) in lists.into_iter().zip(&asked) {
            found[r].invalid += list.invalid;
            for mut item in list.items {
                item.score += head.weight.ln();
                found[r].items.push(item);
            }
        }
        Ok(())
    }
}

/// What the heads listed for a request.
#[derive(Default)]
struct Found {
    items: Vec<Recommendation>,
    invalid: usize,
}

impl Found {
    fn merged(mut self, merge: Merge, k: usize) -> Response {
        if let Merge::Average { .. } = merge {
            let mut sums: BTreeMap<ItemId, Mean> = BTreeMap::new();
            for item in &self.items {
                let mean = sums.entry(item.item).or_default();
                mean.sum += item.score;
                mean.heads += 1.0;
            }
            for item in &mut self.items {
                if let Some(mean) = sums.get(&item.item) {
                    item.score = mean.sum / mean.heads;
                }
            }
        }
        // Stable: of one item's equal places the first head's stays.
        self.items.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
        let mut seen = std::collections::BTreeSet::new();
        self.items.retain(|item| seen.insert(item.item));
        self.items.truncate(k);
        Response { items: self.items, invalid: self.invalid }
    }
}

#[derive(Default)]
struct Mean {
    sum: f64,
    heads: f64,
}

impl Recommender for MultiHead {
    fn recommend(
        &self,
        requests: &[Request<'_>],
        k: usize,
        run: &Run<'_>,
    ) -> Result<Vec<Response>> {
        let mut found: Vec<Found> = requests.iter().map(|_| Found::default()).collect();
        for head in 0..self.heads.len() {
            run.check()?;
            self.ask(head, requests, k, run, &mut found)?;
        }
        Ok(found.into_iter().map(|f| f.merged(self.merge, k)).collect())
    }
}
