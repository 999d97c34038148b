//! What happens over HTTP: a message a line (NDJSON), sent at once.
//!
//! The lines have no place for an error: when everything that was wanted is told,
//! the answer ends; when it cannot go on, it breaks off, so that nobody takes a
//! part for the whole. Why is told to who subscribes again.

use std::io;

use axum::{
    extract::Request,
    response::Response,
    routing::{MethodRouter, post},
};

use tonic::Status;

use crate::{
    grpc::{Api, MESSAGE_BYTES_MAX},
    proto::SubscribeResponse,
};

use super::{
    json,
    watch::{Line, SILENCE_MAX, lines, message_line},
};

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
    match api.subscribe(message).await {
        Ok(subscription) => lines(subscription.feed(SILENCE_MAX, line)),
        Err(status) => json::refused(&status),
    }
}

fn line(message: Option<Result<SubscribeResponse, Status>>) -> Option<Line> {
    match message.transpose() {
        Ok(message) => message_line(message.as_ref()),
        Err(status) => Some(Err(io::Error::other(status.message().to_owned()))),
    }
}
