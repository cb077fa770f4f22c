//! Swaps: another run or SID table takes over while requests are answered.
//!
//! The new one is read and tried out beside the old one, so both are in memory for a while. The
//! admin interface listens on a loopback address; a request needs `Content-Type: application/json`
//! and a local `Host`, so that no web page in a browser on this machine can send one.

use crate::answer::Swapped;
use crate::fault::Fault;
use crate::http::{body, json};
use crate::request::{Limits, object, text};
use crate::routes::{no_method, no_route};
use crate::state::Shared;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use sidereal_core::Result;
use sidereal_experiment::Served;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Routes of the admin interface.
pub const ADMIN_ROUTES: [&str; 1] = ["/admin/swap"];
/// Fields of the body of a swap.
pub const SWAP_FIELDS: [&str; 2] = ["run", "table"];

/// What is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The run folder.
    pub run: PathBuf,
    /// A SID table in the place of the run's own.
    pub table: Option<PathBuf>,
}

impl Target {
    /// What answers call it: the folder's name, and that of its parent where it is a seed's.
    pub fn name(&self) -> String {
        let name = |p: &Path| p.file_name().map(|n| n.to_string_lossy().into_owned());
        let own = name(&self.run).unwrap_or_else(|| self.run.display().to_string());
        match self.run.parent().and_then(name) {
            Some(parent) if own.starts_with("seed-") => format!("{parent}/{own}"),
            _ => own,
        }
    }
}

/// Opens a target.
pub type Loader = dyn Fn(&Target) -> Result<Served> + Send + Sync;

/// Replaces what is served.
pub struct Swapper {
    shared: Arc<Shared>,
    loader: Arc<Loader>,
    /// What is served now; locked while a swap runs.
    target: tokio::sync::Mutex<Target>,
}

impl Swapper {
    /// Swaps by `loader`; `target` is what is served now.
    pub fn new(shared: Arc<Shared>, loader: Arc<Loader>, target: Target) -> Self {
        Swapper { shared, loader, target: tokio::sync::Mutex::new(target) }
    }

    /// Opens what `change` makes of the present target and puts it in its place.
    ///
    /// Errors: 409 while another swap runs, 422 for what cannot be opened or does not answer; the
    /// old one goes on.
    pub async fn swap(&self, change: impl FnOnce(&Target) -> Target) -> Result<Swapped, Fault> {
        let Ok(mut target) = self.target.try_lock() else {
            return Err(Fault::new(409, "swap_runs", "another swap runs"));
        };
        let wanted = change(&target);
        let (shared, loader, open) = (self.shared.clone(), self.loader.clone(), wanted.clone());
        let work = move || {
            let old = shared.slot.replace(loader(&open)?)?;
            Ok::<_, sidereal_core::Error>(old.version.clone())
        };
        let outcome = match tokio::task::spawn_blocking(work).await {
            Ok(Ok(previous)) => Ok(previous),
            Ok(Err(e)) => Err(Fault::new(422, "does_not_fit", e.to_string())),
            Err(_) => Err(Fault::new(500, "swap_failed", "the swap failed")),
        };
        let metrics = &self.shared.metrics;
        match outcome {
            Ok(previous) => {
                *target = wanted;
                metrics.swaps.fetch_add(1, Relaxed);
                Ok(Swapped { version: self.shared.slot.current().version.clone(), previous })
            }
            Err(fault) => {
                metrics.failed_swaps.fetch_add(1, Relaxed);
                Err(fault)
            }
        }
    }
}

/// The admin router.
pub fn router(swapper: Arc<Swapper>) -> Router {
    Router::new()
        .route("/admin/swap", post(swap))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .with_state(swapper)
}

async fn swap(State(swapper): State<Arc<Swapper>>, request: Request) -> Response {
    match answer(&swapper, request).await {
        Ok(swapped) => json(&swapped),
        Err(fault) => fault.into_response(),
    }
}

async fn answer(swapper: &Swapper, request: Request) -> Result<Swapped, Fault> {
    let (head, content) = request.into_parts();
    from_this_machine(&head.headers)?;
    let options = &swapper.shared.options;
    // A path is longer than an id.
    let limits = Limits { text: 4096, ..Limits::new(options, None) };
    let bytes = body(&head.headers, content, &limits, options).await?;
    let object = object(&bytes, &limits, &SWAP_FIELDS)?;
    let path = |field: &str| -> Result<Option<PathBuf>, Fault> {
        object.get(field).map(|v| text(v, field, &limits).map(PathBuf::from)).transpose()
    };
    let (run, table) = (path("run")?, path("table")?);
    let change = move |now: &Target| match (run, table) {
        // Nothing named: the same again, as it lies there now.
        (None, None) => now.clone(),
        (None, table) => Target { run: now.run.clone(), table },
        (Some(run), table) => Target { run, table },
    };
    swapper.swap(change).await
}

fn from_this_machine(headers: &HeaderMap) -> Result<(), Fault> {
    let get = |name| headers.get(name).and_then(|v: &axum::http::HeaderValue| v.to_str().ok());
    let json = get(header::CONTENT_TYPE)
        .is_some_and(|t| t.split(';').next().unwrap_or_default().trim() == "application/json");
    if !json {
        let mut fault = Fault::new(415, "no_json", "expected `Content-Type: application/json`");
        fault.detail.allowed = Some("application/json".into());
        return Err(fault);
    }
    let host = get(header::HOST).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let address = name.parse::<std::net::IpAddr>();
    match name == "localhost" || address.is_ok_and(|a| a.is_loopback()) {
        true => Ok(()),
        false => Err(Fault::new(403, "no_local_host", "expected a `Host` of this machine")),
    }
}
