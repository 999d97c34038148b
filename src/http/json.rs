//! Bodies in and out, and errors as `google.rpc.Status` in JSON.

use axum::{
    body::{self, Body},
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::grpc::status;

use super::path;

/// Reads a message of at most so many bytes. The nesting is bounded by the parser (128 levels).
///
/// # Errors
/// The answer that says what is wrong with the body.
pub async fn read<Q: DeserializeOwned>(request: Request, bytes_max: usize) -> Result<Q, Response> {
    if !is_json(request.headers()) {
        let message = "the content type is not `application/json`: send JSON";
        let status = status::with_info(Code::InvalidArgument, "CONTENT_TYPE", message);
        return Err(error(StatusCode::UNSUPPORTED_MEDIA_TYPE, &status));
    }
    let Ok(bytes) = body::to_bytes(request.into_body(), bytes_max).await else {
        let message = format!("the body is incomplete, or longer than {bytes_max} bytes");
        let status = status::with_info(Code::InvalidArgument, "BODY", &message);
        return Err(error(StatusCode::PAYLOAD_TOO_LARGE, &status));
    };
    serde_json::from_slice(&bytes).map_err(|why| refused(&status::undecodable(&path::explain(&bytes, &why))))
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return true };
    let Ok(kind) = kind.to_str() else { return false };
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
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
    response
}
