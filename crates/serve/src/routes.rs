//! The public interface: which path does what.

use crate::answer::{Health, Timing};
use crate::fault::Fault;
use crate::http::{body, json, of_type};
use crate::log::{Line, Written, now};
use crate::metrics::Gauges;
use crate::options::millis;
use crate::queue::Refused;
use crate::request::{self, Limits};
use crate::state::Shared;
use crate::worker::Job;
use axum::Router;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{MatchedPath, Path, RawQuery, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;
use tokio::sync::oneshot;

/// All public routes, as the interface description names them.
pub const ROUTES: [&str; 8] = [
    "/",
    "/health",
    "/metrics",
    "/openapi.json",
    "/ready",
    "/v1/items",
    "/v1/recommend",
    "/v1/users/{id}",
];

/// The interface description, kept by hand; a test compares it with routes and types.
pub const OPENAPI: &str = include_str!("openapi.json");
const PAGE: &str = include_str!("page.html");
/// The page loads nothing and speaks to this service alone; `'unsafe-inline'` is its own script.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
     script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

/// Most items of a search or a shown history.
const MOST_SHOWN: usize = 100;
const SHOWN: usize = 10;

/// The public router.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(async || of_type("application/json", OPENAPI)))
        .route("/v1/items", get(items))
        .route("/v1/recommend", post(recommend))
        .route("/v1/users/{id}", get(user))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(shared.clone(), around))
        .with_state(shared)
}

/// Counts, logs, and says what all answers say.
async fn around(State(s): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let since = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map(|p| p.as_str().to_string());
    let route = route.unwrap_or_else(|| "other".into());
    let method = s.log.wanted().then(|| request.method().to_string());
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    let took = since.elapsed().as_secs_f64();
    s.metrics.answered(&route, status);
    if route == "/v1/recommend" {
        s.metrics.seconds.observe(took);
    }
    if status == 504 {
        s.metrics.timed_out.fetch_add(1, Relaxed);
    }
    if let Some(method) = method {
        let said = response.extensions().get::<Said>();
        let line = Line {
            time: now(),
            method,
            route,
            status,
            ms: (took * 1e6).round() / 1e3,
            generation: said.map(|s| s.generation),
            timing: said.map(|s| s.timing),
        };
        if s.log.write(line) == Written::Lost {
            s.metrics.lost_lines.fetch_add(1, Relaxed);
        }
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if s.draining() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What the log says of an answer beside its status.
#[derive(Debug, Clone, Copy)]
struct Said {
    generation: u64,
    timing: Timing,
}

async fn recommend(State(s): State<Arc<Shared>>, request: Request) -> Response {
    match answer(&s, request).await {
        Ok(response) => response,
        Err(fault) => fault.into_response(),
    }
}

async fn answer(s: &Shared, request: Request) -> Result<Response, Fault> {
    let since = Instant::now();
    let deadline = since + millis(s.options.timeout);
    let (head, content) = request.into_parts();
    let limits = s.slot.current().limits(&s.options);
    let bytes = body(&head.headers, content, &limits, &s.options).await?;
    // The body may have taken its time: what answers now is looked up behind it.
    let live = s.slot.current();
    let ask = request::parse(&bytes, &live.limits(&s.options))?;
    let wanted = Arc::new(live.look_up(&ask)?);
    let (reply, answer) = oneshot::channel();
    let job = Job { live: live.clone(), wanted: wanted.clone(), since, deadline, reply };
    s.queue.push(job).map_err(|refused| match refused {
        Refused::Full => {
            s.metrics.queue_full.fetch_add(1, Relaxed);
            Fault::busy("queue_full", "too many requests wait; come back in a second")
        }
        Refused::Closed => Fault::busy("stopping", "the service stops"),
    })?;
    let done = match tokio::time::timeout_at(deadline.into(), answer).await {
        Ok(Ok(done)) => done?,
        Ok(Err(_)) => return Err(Fault::new(500, "model_failed", "the model gave no answer")),
        Err(_) => return Err(Fault::timed_out()),
    };
    let mut response = json(&live.answer(&wanted, &done));
    let said = Said { generation: live.version.generation, timing: done.timing };
    response.extensions_mut().insert(said);
    Ok(response)
}

async fn items(State(s): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let live = s.slot.current();
    let limits = live.limits(&s.options);
    let asked = parameters(query.as_deref(), &["query", "limit"], &limits);
    let (query, limit) = match asked.and_then(|p| Ok((p.text("query")?, p.limit()?))) {
        Ok(asked) => asked,
        Err(fault) => return fault.into_response(),
    };
    // A scan over all titles is no work for the threads that serve connections.
    let Ok(_permit) = s.searches.try_acquire() else {
        return Fault::busy("too_many_searches", "too many searches run").into_response();
    };
    match tokio::task::spawn_blocking(move || live.search(&query, limit)).await {
        Ok(found) => json(&found),
        Err(_) => Fault::new(500, "search_failed", "the search failed").into_response(),
    }
}

async fn user(
    State(s): State<Arc<Shared>>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Response {
    let live = s.slot.current();
    let limits = live.limits(&s.options);
    let history = id.map_err(|e| no_path(&e)).and_then(|Path(id)| {
        let limit = parameters(query.as_deref(), &["limit"], &limits)?.limit()?;
        let id = request::text(&id.into(), "id", &limits)?;
        live.history(&id, limit)
    });
    match history {
        Ok(history) => json(&history),
        Err(fault) => fault.into_response(),
    }
}

fn no_path(rejection: &PathRejection) -> Fault {
    let utf8 = matches!(rejection, PathRejection::FailedToDeserializePathParams(e)
        if matches!(e.kind(), ErrorKind::InvalidUtf8InPathParam { .. }));
    match utf8 {
        true => Fault::field("id", "wrong_type", "bytes that are no UTF-8", "a source id"),
        false => Fault::new(400, "no_path", "the path cannot be read"),
    }
}

/// Parameters behind the question mark, each once.
struct Parameters<'a> {
    given: Vec<Parameter>,
    limits: &'a Limits,
}

struct Parameter {
    name: String,
    value: String,
}

fn parameters<'a>(
    query: Option<&str>,
    known: &[&str],
    limits: &'a Limits,
) -> Result<Parameters<'a>, Fault> {
    let mut given: Vec<Parameter> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if !known.contains(&name.as_ref()) {
            return Err(request::unknown_field(&name, limits, known));
        }
        if given.iter().any(|p| p.name == name) {
            return Err(Fault::field(&name, "conflict", "it twice", "it once"));
        }
        given.push(Parameter { name: name.into_owned(), value: value.into_owned() });
    }
    Ok(Parameters { given, limits })
}

impl Parameters<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.given.iter().find(|p| p.name == name).map(|p| p.value.as_str())
    }

    fn text(&self, name: &str) -> Result<String, Fault> {
        request::text(&self.get(name).unwrap_or_default().into(), name, self.limits)
    }

    fn limit(&self) -> Result<usize, Fault> {
        let Some(text) = self.get("limit") else { return Ok(SHOWN) };
        match text.parse::<u64>() {
            Ok(n) => request::number(&n.into(), "limit", MOST_SHOWN),
            Err(_) => request::number(&text.into(), "limit", MOST_SHOWN),
        }
    }
}

async fn health(State(s): State<Arc<Shared>>) -> Response {
    json(&state(&s))
}

async fn ready(State(s): State<Arc<Shared>>) -> Response {
    match s.draining() {
        true => Fault::busy("stopping", "the service stops").into_response(),
        false => json(&state(&s)),
    }
}

fn state(s: &Shared) -> Health {
    let status = if s.draining() { "draining" } else { "ok" };
    Health { status: status.into(), version: s.slot.current().version.clone() }
}

async fn metrics(State(s): State<Arc<Shared>>) -> Response {
    let live = s.slot.current();
    let gauges =
        Gauges { queue: s.queue.len(), capacity: s.options.queue as usize, version: &live.version };
    of_type("text/plain; version=0.0.4; charset=utf-8", s.metrics.text(&gauges))
}

async fn page() -> Response {
    let mut response = of_type("text/html; charset=utf-8", PAGE);
    let policy = HeaderValue::from_static(PAGE_POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

pub(crate) async fn no_route(request: Request) -> Response {
    let path: String = request.uri().path().chars().take(80).collect();
    let mut fault = Fault::new(404, "no_route", format!("there is no `{path}`"));
    fault.detail.allowed = Some(ROUTES.join(", "));
    fault.into_response()
}

pub(crate) async fn no_method(request: Request) -> Response {
    let text = format!("the path does not take {}", request.method());
    Fault::new(405, "no_method", text).into_response()
}
