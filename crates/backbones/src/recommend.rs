//! Recommenders: a backbone with a decoder, a dense retriever, and popularity.

use crate::{Backbone, Output};
use rayon::prelude::*;
use sidereal_core::{
    Code, Error, ItemId, ItemSet, Recommendation, Recommender, Request, Response, Result, Run,
    SidTable, seed,
};
use sidereal_decoding::explain::Path;
use sidereal_decoding::{Constraint, Decoder, Hypothesis, ItemIndex, Rows, explain};
use sidereal_nn::{Batch, BatchBuilder, parallel};
use std::sync::Arc;

/// Requests answered together: enough for the first step, which has one row each; few enough that
/// their keys and values stay near and that threads find work until the end.
const GROUP: usize = 8;

/// Generates semantic IDs under a trie and maps them back to items.
pub struct GenerativeRecommender {
    backbone: Arc<dyn Backbone>,
    decoder: Box<dyn Decoder>,
    index: ItemIndex,
    builder: BatchBuilder,
}

impl GenerativeRecommender {
    /// Puts a trained backbone, a decoder and the table it was trained with together.
    pub fn new(
        backbone: Arc<dyn Backbone>,
        decoder: Box<dyn Decoder>,
        sids: Arc<SidTable>,
    ) -> Result<Self> {
        if backbone.output() != Output::Codes {
            return Err(Error::mismatch(
                "a generative recommender needs a backbone that scores codes",
            ));
        }
        let builder = BatchBuilder::new(Some(sids.clone()), backbone.max_history());
        let index = ItemIndex::new(sids)?;
        Ok(GenerativeRecommender { backbone, decoder, index, builder })
    }

    fn answer(&self, requests: &[Request<'_>], k: usize, run: &Run<'_>) -> Result<Vec<Response>> {
        let batch = batch_of(&self.builder, requests)?;
        let mut session = self.backbone.session(&batch)?;
        let filters = self.constraints(requests)?;
        let constraints: Vec<&dyn Constraint> = filters.iter().map(|c| c.as_ref()).collect();
        let found = self.decoder.decode(session.as_mut(), &constraints, run)?;
        Ok(found.iter().zip(requests).map(|(h, r)| self.to_items(h, r, k)).collect())
    }

    /// The ways of the recommended IDs through the levels, for each request those of its response in
    /// order. One more pass of the model over the histories.
    ///
    /// Errors: responses of another recommender, which have no IDs.
    pub fn explain(
        &self,
        requests: &[Request<'_>],
        responses: &[Response],
        run: &Run<'_>,
    ) -> Result<Vec<Vec<Path>>> {
        let batch = batch_of(&self.builder, requests)?;
        let mut session = self.backbone.session(&batch)?;
        let filters = self.constraints(requests)?;
        let constraints: Vec<&dyn Constraint> = filters.iter().map(|c| c.as_ref()).collect();
        let sids = |r: &Response| -> Vec<Vec<Code>> {
            r.items.iter().map(|i| i.sid.clone().unwrap_or_default()).collect()
        };
        let sids: Vec<Vec<Vec<Code>>> = responses.iter().map(sids).collect();
        explain(session.as_mut(), &constraints, &sids, run)
    }

    /// One constraint a request: the whole trie, or what its items leave of it. Requests that
    /// follow each other with the same set share the pass over it.
    fn constraints(&self, requests: &[Request<'_>]) -> Result<Vec<Box<dyn Constraint>>> {
        let mut last: Option<(&ItemSet, Rows)> = None;
        let mut constraints: Vec<Box<dyn Constraint>> = Vec::with_capacity(requests.len());
        for r in requests {
            if r.among.is_none() && r.exclude.is_empty() {
                constraints.push(Box::new(self.index.trie().clone()));
                continue;
            }
            let rows = match (&last, r.among) {
                (Some((set, rows)), Some(among)) if std::ptr::eq(*set, among) => rows.clone(),
                _ => self.index.rows_among(r.among)?,
            };
            if let Some(among) = r.among {
                last = Some((among, rows.clone()));
            }
            constraints.push(Box::new(self.index.allowed_of(rows, r.among, r.exclude)?));
        }
        Ok(constraints)
    }

    /// Items of the hypotheses in order; items that share an ID follow each other by number.
    fn to_items(&self, hypotheses: &[Hypothesis], request: &Request<'_>, k: usize) -> Response {
        let mut response = Response::default();
        for h in hypotheses {
            if !h.valid {
                response.invalid += 1;
                continue;
            }
            for item in self.index.table().items_of(&h.codes) {
                // An item can have several IDs; its best one counts.
                let known = response.items.iter().any(|x| x.item == item);
                if response.items.len() < k && !known && request.allows(item) {
                    let sid = Some(h.codes.clone());
                    response.items.push(Recommendation { item, score: h.score, sid });
                }
            }
        }
        response
    }
}

impl Recommender for GenerativeRecommender {
    fn recommend(
        &self,
        requests: &[Request<'_>],
        k: usize,
        run: &Run<'_>,
    ) -> Result<Vec<Response>> {
        in_groups(requests, run, |n, group| {
            // Each group draws from streams of its own, whichever thread answers it.
            let run = Run { seed: seed::key(run.seed, "decode", n), ..run.clone() };
            self.answer(group, k, &run)
        })
    }
}

/// Ranks all items by the dot product of a query vector with the item vectors.
pub struct DenseRecommender {
    backbone: Arc<dyn Backbone>,
    builder: BatchBuilder,
}

impl DenseRecommender {
    /// Wraps a trained dense retriever.
    pub fn new(backbone: Arc<dyn Backbone>) -> Result<Self> {
        if backbone.output() != Output::Items {
            return Err(Error::mismatch("a dense recommender needs a backbone with item vectors"));
        }
        let builder = BatchBuilder::new(None, backbone.max_history());
        Ok(DenseRecommender { backbone, builder })
    }

    fn answer(&self, requests: &[Request<'_>], k: usize) -> Result<Vec<Response>> {
        let batch = batch_of(&self.builder, requests)?;
        let queries = self.backbone.queries(&batch)?;
        let items = self.backbone.item_vectors()?;
        let (b, d) = (queries.rows(), queries.cols());
        let n = items.len() / d.max(1);
        let mut scores = vec![0f32; b * n];
        sidereal_nn::kernels::gemm::gemm(
            b,
            n,
            d,
            sidereal_nn::kernels::gemm::Mat::rows(queries.data(), d),
            sidereal_nn::kernels::gemm::Mat::rows(items, d).t(),
            &mut scores,
            n,
            sidereal_nn::kernels::gemm::Write::Set,
        );
        requests.iter().zip(scores.chunks(n.max(1))).map(|(r, s)| top_items(s, r, k)).collect()
    }
}

impl Recommender for DenseRecommender {
    fn recommend(
        &self,
        requests: &[Request<'_>],
        k: usize,
        run: &Run<'_>,
    ) -> Result<Vec<Response>> {
        in_groups(requests, run, |_, group| self.answer(group, k))
    }
}

/// The items with the most training interactions, the same for everyone: the baseline that every
/// table should show.
pub struct MostPopular {
    scores: Vec<f32>,
}

impl MostPopular {
    /// Ranks by these training counts.
    pub fn new(popularity: &[u32]) -> Self {
        MostPopular { scores: popularity.iter().map(|&c| c as f32).collect() }
    }
}

impl Recommender for MostPopular {
    fn recommend(
        &self,
        requests: &[Request<'_>],
        k: usize,
        run: &Run<'_>,
    ) -> Result<Vec<Response>> {
        in_groups(requests, run, |_, group| {
            group.iter().map(|r| top_items(&self.scores, r, k)).collect()
        })
    }
}

/// One row a request, with its user, and with its times where all requests have them.
pub(crate) fn batch_of(builder: &BatchBuilder, requests: &[Request<'_>]) -> Result<Batch> {
    let mut batch = Batch::default();
    builder.clear(&mut batch);
    let timed = requests.iter().all(|r| r.times.is_some());
    for r in requests {
        builder.push_history(&mut batch, r.history)?;
        if let Some(times) = r.times.filter(|_| timed) {
            builder.push_times(&mut batch, times)?;
        }
        builder.push_user(&mut batch, r.user);
    }
    Ok(batch)
}

/// The `k` best items that the request allows; ties go to the lower item.
fn top_items(scores: &[f32], request: &Request<'_>, k: usize) -> Result<Response> {
    request.check(scores.len())?;
    let mut order: Vec<u32> = match request.among {
        Some(among) => among.iter().map(|i| i.0).collect(),
        None => (0..scores.len() as u32).collect(),
    };
    let better =
        |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
    // Excluded items take places in the partial sort, then drop out.
    let keep = k.saturating_add(request.exclude.len()).min(order.len());
    if keep < order.len() {
        order.select_nth_unstable_by(keep, better);
        order.truncate(keep);
    }
    order.sort_unstable_by(better);
    let items = order
        .into_iter()
        .map(ItemId)
        .filter(|i| !request.exclude.contains(i))
        .take(k)
        .map(|item| Recommendation { item, score: f64::from(scores[item.index()]), sid: None })
        .collect();
    Ok(Response { items, invalid: 0 })
}

/// Answers in fixed groups on the run's threads, with progress; order and results do not depend on
/// the number of threads.
pub(crate) fn in_groups(
    requests: &[Request<'_>],
    run: &Run<'_>,
    answer: impl Fn(u64, &[Request<'_>]) -> Result<Vec<Response>> + Sync,
) -> Result<Vec<Response>> {
    let done = std::sync::atomic::AtomicU64::new(0);
    let group = |(i, g): (usize, &[Request<'_>])| -> Result<Vec<Response>> {
        run.check()?;
        let out = answer(i as u64, g)?;
        let n = done.fetch_add(g.len() as u64, std::sync::atomic::Ordering::Relaxed);
        run.emit(sidereal_core::Event::Advanced {
            task: "recommend",
            done: n + g.len() as u64,
            numbers: &[],
        });
        Ok(out)
    };
    let total = requests.len() as u64;
    run.emit(sidereal_core::Event::Started { task: "recommend", total, unit: "users" });
    // Also on one thread: what a group splits further must find this pool.
    let pool = parallel::shared(run.threads)?;
    let answers: Vec<Vec<Response>> =
        pool.install(|| requests.par_chunks(GROUP).enumerate().map(group).collect::<Result<_>>())?;
    run.emit(sidereal_core::Event::Finished { task: "recommend" });
    Ok(answers.into_iter().flatten().collect())
}
