//! Watching a customer over HTTP: a message a line (NDJSON), sent at once.

use std::{io, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderValue, header},
    response::Response,
    routing::{MethodRouter, post},
};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{
    grpc::{Api, MESSAGE_BYTES_MAX, Sight},
    proto,
};

use super::json;

/// An empty line is sent after this long without a change, so that proxies keep
/// the connection and a reader that has gone is noticed.
pub const SILENCE_MAX: Duration = Duration::from_secs(15);

/// What a body is made of.
pub(super) type Line = io::Result<Bytes>;

/// The route.
pub fn route(api: &Api) -> MethodRouter {
    let api = api.clone();
    post(move |request: Request| async move { answer(&api, request).await })
}

async fn answer(api: &Api, request: Request) -> Response {
    let sight = Sight::of(request.extensions());
    let message = match json::read(request, MESSAGE_BYTES_MAX).await {
        Ok(message) => message,
        Err(refused) => return refused,
    };
    let watch = match api.watch_customer(sight, message).await {
        Ok(watch) => watch,
        Err(status) => return json::refused(&status),
    };
    lines(watch.feed(SILENCE_MAX, line))
}

/// An answer of lines as they come.
pub(super) fn lines(lines: mpsc::Receiver<Line>) -> Response {
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(lines)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    // asks proxies to pass each line on as it comes
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// A line. The stream has no place for an error: it ends instead, and what is
/// wrong is told to who watches again.
fn line(change: Option<Result<proto::WatchCustomerResponse, Status>>) -> Option<Line> {
    message_line(change.transpose().ok()?.as_ref())
}

/// A message as a line; an empty one for none.
pub(super) fn message_line<T: Serialize>(message: Option<&T>) -> Option<Line> {
    let mut line = match message {
        None => Vec::new(),
        Some(message) => serde_json::to_vec(message).ok()?,
    };
    line.push(b'\n');
    Some(Ok(line.into()))
}
