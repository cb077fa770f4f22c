//! Bytes of requests and answers: bodies within their size and time, JSON, faults.

use crate::fault::Fault;
use crate::options::{ServeOptions, millis};
use crate::request::{Limits, too_large};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;

/// The whole body.
///
/// Errors: 413 above the limit, without reading on; 408 when it comes too slowly; 400 when the
/// client breaks off.
pub async fn body(
    headers: &HeaderMap,
    body: Body,
    limits: &Limits,
    options: &ServeOptions,
) -> Result<Bytes, Fault> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    if announced.and_then(|v| v.parse::<u64>().ok()).is_some_and(|n| n > limits.body as u64) {
        return Err(too_large(limits));
    }
    let collected = Limited::new(body, limits.body).collect();
    match tokio::time::timeout(millis(options.body_timeout), collected).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(e)) if e.downcast_ref::<LengthLimitError>().is_some() => Err(too_large(limits)),
        Ok(Err(_)) => Err(Fault::new(400, "broken_body", "the body broke off")),
        Err(_) => {
            let text =
                format!("the body did not come within {} milliseconds", options.body_timeout);
            Err(Fault::new(408, "slow_body", text))
        }
    }
}

/// An answer in JSON.
pub fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => of_type("application/json", bytes),
        Err(e) => Fault::new(500, "no_json", format!("writing JSON: {e}")).into_response(),
    }
}

/// An answer of a content type.
pub fn of_type(content_type: &'static str, body: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], body.into()).into_response()
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = of_type("application/json", self.body());
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
