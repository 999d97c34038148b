//! The links people follow.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::Response,
};

use crate::{
    app::{Click, Followed},
    grpc::Api,
    grpc::convert::reading::TOKEN_BYTES_MAX,
};

use super::agents;

/// Sends a person to the URL of the ruleset behind a token; counts a click
/// when it was a person who asked, not a browser that asks ahead, a scanner of
/// mails or a preview. The gate tells what a click from there counts as.
pub async fn follow(api: &Api, request: &Parts) -> Response {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "follow a link with GET\n");
    }
    let token = request.uri.path().strip_prefix("/c/").unwrap_or_default();
    if token.len() > TOKEN_BYTES_MAX {
        return plain(StatusCode::NOT_FOUND, "there is no such link\n");
    }
    let person = agents::program(&request.headers).is_none();
    let counts = request.method == Method::GET && person && !is_prefetch(&request.headers);
    let click: Click = request.extensions.get().copied().filter(|_| counts).unwrap_or_default();
    match api.app().follow(token, click).await {
        Followed::To(url) => redirect(&url),
        Followed::Unknown => plain(StatusCode::NOT_FOUND, "there is no such link\n"),
        Followed::Gone => plain(StatusCode::GONE, "this link is no longer valid\n"),
    }
}

/// Whether a browser asks ahead of the person.
pub fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-moz", "x-purpose"].iter().any(|name| {
        let value = headers.get(*name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.to_ascii_lowercase().contains("prefetch") || value.eq_ignore_ascii_case("preview")
    })
}

fn redirect(url: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(url) else {
        return plain(StatusCode::NOT_FOUND, "there is no such link\n");
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(header::LOCATION, location);
    no_store(response)
}

fn plain(code: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    no_store(response)
}

fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
