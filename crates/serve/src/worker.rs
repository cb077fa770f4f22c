//! A thread that runs the model: takes a batch, leaves out what came too late, answers the rest.

use crate::answer::Timing;
use crate::fault::Fault;
use crate::live::{Live, Wanted};
use crate::metrics::Metrics;
use crate::queue::{Pace, Queue};
use sidereal_core::{Request, Response, Run};
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
        let done = answer.map(|mut response| {
            response.items.truncate(job.wanted.k);
            Done { response, timing }
        });
        // A client that has gone needs no answer.
        let _ = job.reply.send(done);
    }
}

/// One answer a job. Where the batch fails, each of it is asked alone, so that no request fails
/// for another one's fault.
fn recommend(batch: &[Job]) -> Vec<Result<Response, Fault>> {
    match call(batch) {
        Ok(responses) => responses.into_iter().map(Ok).collect(),
        Err(fault) if batch.len() == 1 => vec![Err(fault)],
        Err(_) => batch.chunks(1).flat_map(recommend).collect(),
    }
}

fn call(batch: &[Job]) -> Result<Vec<Response>, Fault> {
    let Some(first) = batch.first() else { return Ok(Vec::new()) };
    let served = &first.live.served;
    let requests: Vec<Request<'_>> = batch.iter().map(|j| j.wanted.request()).collect();
    let k = batch.iter().map(|j| j.wanted.k).max().unwrap_or(1);
    let run = Run::quiet(served.seed);
    // A panic is a bug of the model; the next request must be answered all the same.
    let called =
        catch_unwind(AssertUnwindSafe(|| served.recommender.recommend(&requests, k, &run)));
    match called {
        Ok(Ok(responses)) if responses.len() == batch.len() => Ok(responses),
        Ok(Ok(_)) => Err(Fault::new(500, "model_failed", "the model left out an answer")),
        Ok(Err(e)) => Err(Fault::new(500, "model_failed", format!("the model failed: {e}"))),
        Err(_) => Err(Fault::new(500, "model_failed", "the model failed")),
    }
}

fn millis(d: Duration) -> f64 {
    (d.as_secs_f64() * 1e6).round() / 1e3
}
