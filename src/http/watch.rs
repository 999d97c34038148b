//! Watching a customer over HTTP: a message a line (NDJSON), sent at once.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderValue, header},
    response::Response,
    routing::{MethodRouter, post},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{
    grpc::{Api, MESSAGE_BYTES_MAX},
    proto,
};

use super::json;

/// An empty line is sent after this long without a change, so that proxies keep
/// the connection and a reader that has gone is noticed.
pub const SILENCE_MAX: Duration = Duration::from_secs(15);

/// The route.
pub fn route(api: &Api) -> MethodRouter {
    let api = api.clone();
    post(move |request: Request| async move { answer(&api, request).await })
}

async fn answer(api: &Api, request: Request) -> Response {
    let message = match json::read(request, MESSAGE_BYTES_MAX).await {
        Ok(message) => message,
        Err(refused) => return refused,
    };
    let watch = match api.watch_customer(message).await {
        Ok(watch) => watch,
        Err(status) => return json::refused(&status),
    };
    let lines = ReceiverStream::new(watch.feed(SILENCE_MAX, line));
    let mut response = Response::new(Body::from_stream(lines));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    // asks proxies to pass each line on as it comes
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// A line. The stream has no place for an error: it ends instead, and what is
/// wrong is told to who watches again.
fn line(change: Option<Result<proto::WatchCustomerResponse, Status>>) -> Option<Result<Bytes, Infallible>> {
    let mut line = match change {
        None => Vec::new(),
        Some(change) => serde_json::to_vec(&change.ok()?).ok()?,
    };
    line.push(b'\n');
    Some(Ok(line.into()))
}
