//! Connections: how many, how slow, and how they end.
//!
//! To stop, in this order: what the kernel has accepted already is taken; the listener closes;
//! answers say `Connection: close`; after 100 ms connections without a request close; the others
//! close behind their answer. So a request that was sent before the listener closed is answered.
//! A request sent later on a connection kept from before may find it closed, as with any server.

use crate::options::{ServeOptions, millis};
use crate::state::Shared;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};

/// How long a connection without a request stays open once the service stops, for requests that
/// are on their way.
const GRACE: Duration = Duration::from_millis(100);
/// Bytes of the head of a request.
const MAX_HEAD: usize = 16 * 1024;
/// How long `accept` rests when the process has no file left.
const REST: Duration = Duration::from_millis(50);

/// How far the service has come with stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not at all.
    Running,
    /// It answers what it has.
    Draining,
    /// It answers nothing more.
    Ended,
}

/// Serves `router` on `listener` until `phase` says to stop and the last connection is closed.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shared: Arc<Shared>,
    mut phase: watch::Receiver<Phase>,
) {
    let places = Arc::new(Semaphore::new(shared.options.connections as usize));
    let (close, closing) = watch::channel(false);
    // Every connection holds a sender; the receiver hears of the end of the last one.
    let (open, mut gone) = mpsc::channel::<()>(1);
    let take = |stream: TcpStream| {
        let Ok(place) = places.clone().try_acquire_owned() else {
            shared.metrics.too_many_connections.fetch_add(1, Relaxed);
            refuse(&stream);
            return;
        };
        let (router, shared, closing) = (router.clone(), shared.clone(), closing.clone());
        let open = open.clone();
        tokio::spawn(async move {
            shared.metrics.connections.fetch_add(1, Relaxed);
            one(stream, router, &shared.options, closing).await;
            shared.metrics.connections.fetch_sub(1, Relaxed);
            drop((place, open));
        });
    };
    loop {
        tokio::select! {
            biased;
            _ = reach(&mut phase, |p| *p >= Phase::Draining) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => take(stream),
                // The client has gone, or there is no file left for it.
                Err(_) => tokio::time::sleep(REST).await,
            },
        }
    }
    while let Ok(Ok((stream, _))) =
        tokio::time::timeout(Duration::from_millis(1), listener.accept()).await
    {
        take(stream);
    }
    drop(listener);
    drop(open);
    tokio::time::sleep(GRACE).await;
    let _ = close.send(true);
    tokio::select! {
        _ = gone.recv() => {}
        _ = reach(&mut phase, |p| *p >= Phase::Ended) => {}
    }
}

/// Waits until the value is as wanted, or will not change any more.
async fn reach<T>(value: &mut watch::Receiver<T>, wanted: impl FnMut(&T) -> bool) {
    let _ = value.wait_for(wanted).await;
}

/// One connection until its end.
async fn one(
    stream: TcpStream,
    router: Router,
    options: &ServeOptions,
    mut closing: watch::Receiver<bool>,
) {
    // Answers are small: they must not wait for the client's acknowledgement.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(millis(options.head_timeout))
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    // Faults of a connection concern its client alone, who sees them.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = reach(&mut closing, |c| *c) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Says 503 as far as the socket takes it at once.
fn refuse(stream: &TcpStream) {
    let body = br#"{"error":{"code":"too_many_connections","message":"too many connections"}}"#;
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nretry-after: 1\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.try_write(&[head.as_bytes(), body].concat());
}
