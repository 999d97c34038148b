//! Events over HTTP: an event a line in (NDJSON), acknowledgements a line out,
//! while the body comes.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, BodyDataStream, Bytes},
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::Response,
    routing::{MethodRouter, post},
};
use bytes::{Buf, BytesMut};
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Status};

use crate::{
    grpc::{
        Api, MESSAGE_BYTES_MAX,
        convert::problem,
        ingest::{self, BATCH_EVENTS_MAX, Source, Taken, Took, Unread},
        status,
    },
    proto,
};

use super::{json, path};

/// Most bytes of a line.
pub const LINE_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// The route.
pub fn route(api: &Api) -> MethodRouter {
    let api = api.clone();
    post(move |request: Request| async move { answer(&api, request) })
}

fn answer(api: &Api, request: Request) -> Response {
    if !json::is_kind(request.headers(), "application/x-ndjson") {
        let message = "the content type is not `application/x-ndjson`: send an event a line";
        let status = status::with_info(Code::InvalidArgument, "CONTENT_TYPE", message);
        return json::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, &status);
    }
    let acks = match ingest::open(api, Lines::new(request.into_body().into_data_stream())) {
        Ok(acks) => acks,
        Err(status) => return json::refused(&status),
    };
    let mut response = Response::new(Body::from_stream(acks.map(line)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    // asks proxies to pass each line on as it comes
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// A line. One with a problem is the last.
fn line(said: Result<proto::RecordStreamResponse, Status>) -> Result<Bytes, Infallible> {
    let said = said.unwrap_or_else(|status| proto::RecordStreamResponse {
        problem: Some(problem::of_status(&status)),
        ..proto::RecordStreamResponse::default()
    });
    // INVARIANT: every message can be written as JSON
    let mut line = serde_json::to_vec(&said).unwrap_or_default();
    line.push(b'\n');
    Ok(line.into())
}

/// Lines of a body as they arrive.
pub struct Lines<S> {
    body: S,
    /// What arrived and was not read.
    rest: BytesMut,
    /// How much of it has no end of a line.
    searched: usize,
    /// Lines begun.
    number: u64,
    /// Bytes of what is being taken.
    taken_bytes: usize,
    /// Whether the line at hand is too long: it is passed over to its end.
    skips: bool,
    ended: bool,
}

impl Lines<BodyDataStream> {
    fn new(body: BodyDataStream) -> Self {
        Self::of(body)
    }
}

impl<S> Lines<S> {
    fn of(body: S) -> Self {
        Self { body, rest: BytesMut::new(), searched: 0, number: 0, taken_bytes: 0, skips: false, ended: false }
    }

    /// A line that has arrived whole; `None` when there is none.
    fn take(&mut self) -> Option<Taken> {
        loop {
            let end = self.rest.get(self.searched..)?.iter().position(|byte| *byte == b'\n');
            let Some(end) = end.map(|at| at + self.searched) else {
                self.searched = self.rest.len();
                if self.searched > LINE_BYTES_MAX {
                    self.rest.clear();
                    self.searched = 0;
                    if !std::mem::replace(&mut self.skips, true) {
                        return Some(Taken { line: self.number + 1, event: Err(too_long()) });
                    }
                }
                return None;
            };
            let line = self.rest.split_to(end);
            self.rest.advance(1);
            self.taken_bytes += end + 1;
            self.searched = 0;
            self.number += 1;
            if std::mem::take(&mut self.skips) {
                continue;
            }
            if let Some(taken) = read(&line, self.number) {
                return Some(taken);
            }
        }
    }

    /// The last line, which needs no end.
    fn take_last(&mut self) -> Option<Taken> {
        let line = std::mem::take(&mut self.rest);
        self.searched = 0;
        if std::mem::take(&mut self.skips) || line.is_empty() {
            return None;
        }
        self.number += 1;
        self.taken_bytes += line.len();
        read(&line, self.number)
    }

    fn gather(&mut self, events: &mut Vec<Taken>) {
        while events.len() < BATCH_EVENTS_MAX {
            match self.take() {
                Some(taken) => events.push(taken),
                None => return,
            }
        }
    }
}

impl<S, E> Source for Lines<S>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    E: std::fmt::Display,
{
    const UNREAD: Unread = Unread::Count;

    fn poll_next(&mut self, ctx: &mut Context<'_>) -> Poll<Result<Option<Took>, Status>> {
        let mut events = Vec::new();
        self.taken_bytes = 0;
        self.gather(&mut events);
        while events.is_empty() && !self.ended {
            match ready!(Pin::new(&mut self.body).poll_next(ctx)) {
                Some(Ok(data)) => self.rest.extend_from_slice(&data),
                Some(Err(error)) => {
                    let message = format!("reading line {} of the body: {error}", self.number + 1);
                    return Poll::Ready(Err(status::with_info(Code::Aborted, "BODY", &message)));
                }
                None => {
                    self.ended = true;
                    events.extend(self.take_last());
                }
            }
            self.gather(&mut events);
        }
        Poll::Ready(Ok((!events.is_empty()).then_some(Took { events, bytes: self.taken_bytes })))
    }
}

/// What a line holds; `None` for a blank one.
fn read(line: &[u8], number: u64) -> Option<Taken> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return None;
    }
    if line.len() > LINE_BYTES_MAX {
        return Some(Taken { line: number, event: Err(too_long()) });
    }
    let event = serde_json::from_slice(line).map_err(|why| format!("not an event: {}", path::explain(line, &why)));
    Some(Taken { line: number, event })
}

fn too_long() -> String {
    format!("the line is longer than {LINE_BYTES_MAX} bytes: an event has at most that; leave out what is not needed")
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Line and event id, or that it is refused, of a body in pieces.
    async fn read_all(text: &[u8], piece_bytes: usize) -> Vec<(u64, Option<String>)> {
        let pieces: Vec<Result<Bytes, String>> =
            text.chunks(piece_bytes).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let body = tokio_stream::iter(pieces);
        let mut lines = Lines::of(body);
        let mut all = Vec::new();
        while let Some(took) = poll_fn(|ctx| lines.poll_next(ctx)).await.unwrap() {
            assert!(took.events.len() <= BATCH_EVENTS_MAX);
            all.extend(took.events.into_iter().map(|taken| (taken.line, taken.event.ok().map(|e| e.event_id))));
        }
        all
    }

    #[tokio::test]
    async fn lines_are_read_from_any_pieces() {
        let text =
            b"{\"eventId\":\"a\"}\n\n  \r\n{\"eventId\":\r\n{\"eventId\":\"b\"}\r\n\xff\xfe\n[]\n{\"eventId\":\"c\"}";
        let wanted = [(1, Some("a")), (4, None), (5, Some("b")), (6, None), (7, None), (8, Some("c"))];
        for piece_bytes in 1..=text.len() {
            let all = read_all(text, piece_bytes).await;
            assert_eq!(all.iter().map(|(n, id)| (*n, id.as_deref())).collect::<Vec<_>>(), wanted, "{piece_bytes}");
        }
        assert!(read_all(b"", 1).await.is_empty());
        let many = b"{}\n".repeat(3 * BATCH_EVENTS_MAX + 1);
        assert_eq!(read_all(&many, 64 << 10).await.len(), 3 * BATCH_EVENTS_MAX + 1);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_refused_once_and_passed_over() {
        let mut text = b"{\"eventId\":\"a\"}\n{\"eventId\":\"".to_vec();
        text.extend(std::iter::repeat_n(b'x', 3 * LINE_BYTES_MAX));
        text.extend_from_slice(b"\"}\n{\"eventId\":\"b\"}\n");
        for piece_bytes in [4_096, 100_000, text.len()] {
            let all = read_all(&text, piece_bytes).await;
            assert_eq!(all, [(1, Some("a".to_owned())), (2, None), (3, Some("b".to_owned()))], "{piece_bytes}");
        }
    }
}
