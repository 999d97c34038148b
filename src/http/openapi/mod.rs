//! `GET /openapi.json`: what the JSON routes take and answer, as OpenAPI 3.1,
//! made from the compiled descriptors.

mod descriptors;
pub mod operations;
mod paths;
mod schemas;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::LazyLock};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::{Value as Json, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::http::ROUTES;

use descriptors::Descriptors;
use operations::Operation;
use schemas::Schemas;

/// How long a copy is good for without asking again, seconds.
pub const MAX_AGE_SECONDS: u32 = 300;

/// The document and its entity tag; made once.
static DOCUMENT: LazyLock<(Vec<u8>, String)> = LazyLock::new(|| {
    let text = document().to_string().into_bytes();
    let tag = format!("\"{:016x}\"", xxh3_64(&text));
    (text, tag)
});

/// Answers with the document, or that the copy of who asks is still good.
pub fn serve(asked: &HeaderMap) -> Response {
    let (text, tag) = &*DOCUMENT;
    let known = asked.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_known =
        known.split(',').any(|known| matches!(known.trim().trim_start_matches("W/"), one if one == tag || one == "*"));
    let body = if is_known { Body::empty() } else { Body::from(text.as_slice()) };
    let mut response = Response::new(body);
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let age = format!("public, max-age={MAX_AGE_SECONDS}");
    for (name, value) in [(header::CACHE_CONTROL, age.as_str()), (header::ETAG, tag.as_str())] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    response
}

/// The document.
pub fn document() -> Json {
    let descriptors = Descriptors::compiled();
    let operations = ROUTES.iter().filter_map(|(method, path)| Operation::of(method, path));
    let calls: Vec<_> = operations.filter_map(|one| Some((one, descriptors.call(one.call()?)?))).collect();
    // The query of a look is told by itself.
    let read = calls.iter().filter(|(one, _)| !matches!(one, Operation::Look(_)));
    let read: BTreeSet<&str> = read.map(|(_, call)| call.request.as_str()).collect();
    let written: BTreeSet<&str> = calls.iter().map(|(_, call)| call.answer.as_str()).collect();
    let mut schemas = Schemas::new(&descriptors, &read, &written);
    let paths = paths::paths(&descriptors, &mut schemas);
    let mut schemas = schemas.finish();
    schemas.insert("Status".to_owned(), status());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Rapport",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Which message, through which channel, and why.",
            "description": ABOUT,
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {"Error": {
                "description": "What went wrong, and what to do about it.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Status"}}},
            }},
            "securitySchemes": security(),
        },
    })
}

const ABOUT: &str = "The canonical JSON of the protobuf messages in `rapport.v1`, on the port of gRPC.\n\n\
    Read: field names in lowerCamelCase or as in the `.proto` files (one of them, not both), enums by name or number, \
    numbers also as text, moments in RFC 3339; a field that is not known is refused. Written: names in lowerCamelCase, \
    enums by name, 64-bit integers as text, moments in UTC with `Z`; every field, but for messages that are not set. \
    Messages that go both ways have a second schema, `...Input`, for what is read.\n\n\
    A page in a browser may call `decide` and `events` with a publishable key: as `text/plain` with the key in the \
    query, so that no preflight is needed, or as JSON with the key in `x-api-key`. What it may send is less than what \
    is described here.";

fn security() -> Json {
    json!({
        "bearer": {"type": "http", "scheme": "bearer", "description": "A secret key. Never in a browser."},
        "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same secret key."},
        "publishableKey": {
            "type": "apiKey", "in": "query", "name": "key",
            "description": "A publishable key, of a page of an origin that is allowed.",
        },
        "publishableHeader": {
            "type": "apiKey", "in": "header", "name": "x-api-key",
            "description": "The same publishable key.",
        },
    })
}

/// `google.rpc.Status`, with the details that this service gives.
fn status() -> Json {
    let kind = |name: &str| json!({"const": format!("type.googleapis.com/google.rpc.{name}")});
    json!({
        "type": "object",
        "description": "google.rpc.Status: what went wrong, and what to do about it.",
        "required": ["code", "message", "details"],
        "additionalProperties": false,
        "properties": {
            "code": {
                "type": "integer", "format": "int32",
                "description": "The gRPC status code, for example 3 for INVALID_ARGUMENT.",
            },
            "message": {"type": "string", "description": "What is wrong and what to do."},
            "details": {"type": "array", "items": {"oneOf": [
                {
                    "type": "object",
                    "description": "The machine-readable reason.",
                    "required": ["@type", "reason", "domain", "metadata"],
                    "additionalProperties": false,
                    "properties": {
                        "@type": kind("ErrorInfo"),
                        "reason": {"type": "string", "description": "For example `INVALID_FIELDS`."},
                        "domain": {"type": "string"},
                        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
                    },
                },
                {
                    "type": "object",
                    "description": "Every field that is wrong.",
                    "required": ["@type", "fieldViolations"],
                    "additionalProperties": false,
                    "properties": {
                        "@type": kind("BadRequest"),
                        "fieldViolations": {"type": "array", "items": {
                            "type": "object",
                            "required": ["field", "description"],
                            "additionalProperties": false,
                            "properties": {
                                "field": {"type": "string", "description": "Its path: `placements[1].count`."},
                                "description": {"type": "string", "description": "What is wrong and what to do."},
                            },
                        }},
                    },
                },
            ]}},
        },
    })
}
