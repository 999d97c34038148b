//! Bodies in and out, and errors as `google.rpc.Status` in JSON.

use std::time::Duration;

use axum::{
    body::{self, Body},
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::grpc::{BROWSER_BYTES_MAX, Caller, status};

use super::{finish, path};

/// The longest a page's message may take to arrive: at most 64 KiB.
pub const PAGE_BODY_WITHIN: Duration = Duration::from_secs(5);

/// Reads a message of at most so many bytes, and of fewer from a browser. The
/// nesting is bounded by the parser (128 levels).
///
/// # Errors
/// The answer that says what is wrong with the body.
pub async fn read<Q: DeserializeOwned>(request: Request, bytes_max: usize) -> Result<Q, Response> {
    if !is_json(request.headers()) && !is_text_of_a_page(request.headers()) {
        let message = "the content type is not `application/json`: send JSON";
        let status = status::with_info(Code::InvalidArgument, "CONTENT_TYPE", message);
        return Err(error(StatusCode::UNSUPPORTED_MEDIA_TYPE, &status));
    }
    let bytes_max = match Caller::of(request.extensions()) {
        Caller::Service => bytes_max,
        Caller::Browser(_) => bytes_max.min(BROWSER_BYTES_MAX),
    };
    let within = match Caller::of(request.extensions()) {
        Caller::Service => Duration::MAX,
        Caller::Browser(_) => PAGE_BODY_WITHIN,
    };
    let Ok(read) = timeout(within, body::to_bytes(request.into_body(), bytes_max)).await else {
        return Err(error(StatusCode::REQUEST_TIMEOUT, &slow_page()));
    };
    let Ok(bytes) = read else {
        let message = format!("the body is incomplete, or longer than {bytes_max} bytes");
        let status = status::with_info(Code::InvalidArgument, "BODY", &message);
        return Err(error(StatusCode::PAYLOAD_TOO_LARGE, &status));
    };
    serde_json::from_slice(&bytes).map_err(|why| refused(&status::undecodable(&path::explain(&bytes, &why))))
}

/// A page holds its place while its message arrives.
pub fn slow_page() -> Status {
    let message = format!("the message did not arrive within {} s: send it again", PAGE_BODY_WITHIN.as_secs());
    status::with_info(Code::DeadlineExceeded, "BODY", &message)
}

fn is_json(headers: &HeaderMap) -> bool {
    !headers.contains_key(header::CONTENT_TYPE) || is_kind(headers, "application/json")
}

/// What a page can send to another origin without asking first, as a beacon
/// does. Pages name their origin, and only origins that may call come this far.
fn is_text_of_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) && is_kind(headers, "text/plain")
}

/// Whether a body is of a kind.
pub fn is_kind(headers: &HeaderMap, wanted: &str) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}

/// The answer of a call.
pub fn answer<A: Serialize>(result: Result<A, Status>) -> Response {
    let message = match result {
        Ok(message) => message,
        Err(status) => return refused(&status),
    };
    match serde_json::to_vec(&message) {
        Ok(bytes) => respond(StatusCode::OK, bytes),
        Err(why) => refused(&Status::internal(format!("writing the answer: {why}"))),
    }
}

/// A status with the HTTP code that goes with it.
pub fn refused(status: &Status) -> Response {
    let code = StatusCode::from_u16(status::http_status(status.code())).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    error(code, status)
}

/// A status with an HTTP code.
pub fn error(code: StatusCode, status: &Status) -> Response {
    let body = json!({
        "code": status.code() as i32,
        "message": status.message(),
        "details": details(status),
    });
    let mut response = respond(code, body.to_string().into_bytes());
    if let Some(delay) = status.get_details_retry_info().and_then(|info| info.retry_delay) {
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    // For the counter of errors; it never leaves the process.
    response.extensions_mut().insert(status.code());
    response
}

fn details(status: &Status) -> Vec<Value> {
    let details = status.get_error_details();
    let mut out = Vec::new();
    if let Some(info) = details.error_info() {
        out.push(json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": info.reason,
            "domain": info.domain,
            "metadata": info.metadata,
        }));
    }
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        let delay = format!("{}.{:03}s", delay.as_secs(), delay.subsec_millis());
        out.push(json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}));
    }
    if let Some(bad) = details.bad_request() {
        let violations = bad.field_violations.iter();
        let violations: Vec<Value> =
            violations.map(|v| json!({"field": v.field, "description": v.description})).collect();
        out.push(json!({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}));
    }
    out
}

fn respond(code: StatusCode, bytes: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, finish::PRIVATE);
    response
}
