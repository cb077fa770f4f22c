//! A thread that runs the model: takes a batch, leaves out what came too late, answers the rest.

use crate::answer::Timing;
use crate::fault::Fault;
use crate::live::{Live, Wanted};
use crate::metrics::Metrics;
use crate::queue::{Pace, Queue};
use crate::request::Explain;
use sidereal_core::{Request, Response, Run};
use sidereal_decoding::explain::Path;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A request on its way to the model.
pub struct Job {
    /// What it was looked up in; it is answered by no other.
    pub live: Arc<Live>,
    /// The request.
    pub wanted: Arc<Wanted>,
    /// When it came.
    pub since: Instant,
    /// When its client stops waiting.
    pub deadline: Instant,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Done, Fault>>,
}

/// What the model said.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// The items.
    pub response: Response,
    /// How they came about, in their order, where the request asked for it and the model can say.
    pub paths: Option<Vec<Path>>,
    /// Where the time went.
    pub timing: Timing,
}

fn together(a: &Job, b: &Job) -> bool {
    Arc::ptr_eq(&a.live, &b.live) && a.wanted.goes_with(&b.wanted)
}

/// Answers until the queue is closed and empty.
pub fn work(queue: &Queue<Job>, metrics: &Metrics) {
    let mut pace = Pace::default();
    while let Some(batch) = queue.take(&mut pace, together) {
        let now = Instant::now();
        // The client of a closed reply has gone or was told that its time is over.
        let late = |job: &Job| job.deadline <= now || job.reply.is_closed();
        let (late, batch): (Vec<Job>, Vec<Job>) = batch.into_iter().partition(late);
        metrics.dropped.fetch_add(late.len() as u64, Relaxed);
        for job in late {
            let _ = job.reply.send(Err(Fault::timed_out()));
        }
        if !batch.is_empty() {
            answer(batch, metrics);
        }
    }
}

fn answer(batch: Vec<Job>, metrics: &Metrics) {
    let began = Instant::now();
    let answers = recommend(&batch);
    let took = began.elapsed();
    metrics.batches.observe(batch.len() as f64);
    metrics.model_seconds.observe(took.as_secs_f64());
    let n = batch.len();
    for (job, answer) in batch.into_iter().zip(answers) {
        let timing = Timing {
            queue_ms: millis(began.saturating_duration_since(job.since)),
            model_ms: millis(took),
            batch: n,
        };
        let done = answer.map(|Said { response, paths }| Done { response, paths, timing });
        // A client that has gone needs no answer.
        let _ = job.reply.send(done);
    }
}

struct Said {
    response: Response,
    paths: Option<Vec<Path>>,
}

/// One answer a job. Where the batch fails, each of it is asked alone, so that no request fails
/// for another one's fault.
fn recommend(batch: &[Job]) -> Vec<Result<Said, Fault>> {
    // A panic is a bug of the model; the next request must be answered all the same.
    let called = catch_unwind(AssertUnwindSafe(|| call(batch)));
    let failed = |why: String| Fault::new(500, "model_failed", why);
    let called = match called {
        Ok(Ok(said)) if said.len() == batch.len() => return said.into_iter().map(Ok).collect(),
        Ok(Ok(_)) => failed("the model left out an answer".into()),
        Ok(Err(e)) => failed(format!("the model failed: {e}")),
        Err(_) => failed("the model failed".into()),
    };
    match batch.len() {
        1 => vec![Err(called)],
        _ => batch.chunks(1).flat_map(recommend).collect(),
    }
}

fn call(batch: &[Job]) -> sidereal_core::Result<Vec<Said>> {
    let Some(first) = batch.first() else { return Ok(Vec::new()) };
    let served = &first.live.served;
    let requests: Vec<Request<'_>> = batch.iter().map(|j| j.wanted.request()).collect();
    let k = batch.iter().map(|j| j.wanted.k).max().unwrap_or(1);
    let run = Run::quiet(served.seed);
    let mut responses = served.recommender.recommend(&requests, k, &run)?;
    for (response, job) in responses.iter_mut().zip(batch) {
        response.items.truncate(job.wanted.k);
    }
    let mut paths: Vec<Option<Vec<Path>>> = responses.iter().map(|_| None).collect();
    if let Some(explainer) = &served.explainer {
        // A reranker may bring items in that no search found: they have no ID to explain.
        let found = |r: &Response| r.items.iter().all(|item| item.sid.is_some());
        let asked = |&i: &usize| batch[i].wanted.explain == Explain::Path && found(&responses[i]);
        let asked: Vec<usize> = (0..responses.len().min(batch.len())).filter(asked).collect();
        if !asked.is_empty() {
            let requests: Vec<Request<'_>> = asked.iter().map(|&i| requests[i]).collect();
            let of: Vec<Response> = asked.iter().map(|&i| responses[i].clone()).collect();
            for (i, path) in asked.iter().zip(explainer.explain(&requests, &of, &run)?) {
                paths[*i] = Some(path);
            }
        }
    }
    let said = |(response, paths)| Said { response, paths };
    Ok(responses.into_iter().zip(paths).map(said).collect())
}

fn millis(d: Duration) -> f64 {
    (d.as_secs_f64() * 1e6).round() / 1e3
}
