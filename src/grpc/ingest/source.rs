//! Where the events of a stream come from.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use prost::Message as _;
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use crate::{app::Violation, grpc::status, proto};

/// Most events of one message.
pub const MESSAGE_EVENTS_MAX: usize = 1_000;

/// An event that was taken, or why it cannot be read.
pub struct Taken {
    /// Its line, from 1; 0 where there are no lines.
    pub line: u64,
    /// What it is.
    pub event: Result<proto::Event, String>,
}

/// Events that were taken together.
pub struct Took {
    /// In order.
    pub events: Vec<Taken>,
    /// What they take on the wire.
    pub bytes: usize,
}

/// What becomes of refusals that nobody reads, once there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Nothing is taken until they are read.
    Wait,
    /// They are counted and not listed: who sends everything before reading
    /// anything would wait for ever.
    Count,
}

/// Where events come from.
pub trait Source: Send + 'static {
    /// What becomes of refusals that nobody reads.
    const UNREAD: Unread;

    /// The next events; `None` at the end.
    ///
    /// # Errors
    /// What ends the stream.
    fn poll_next(&mut self, ctx: &mut Context<'_>) -> Poll<Result<Option<Took>, Status>>;
}

/// Messages of `RecordStream`.
pub struct Messages {
    stream: Streaming<proto::RecordStreamRequest>,
    /// Messages taken.
    taken: u64,
}

impl Messages {
    /// Of a call.
    pub fn new(stream: Streaming<proto::RecordStreamRequest>) -> Self {
        Self { stream, taken: 0 }
    }
}

impl Source for Messages {
    const UNREAD: Unread = Unread::Wait;

    fn poll_next(&mut self, ctx: &mut Context<'_>) -> Poll<Result<Option<Took>, Status>> {
        let Some(message) = ready!(Pin::new(&mut self.stream).poll_next(ctx)) else {
            return Poll::Ready(Ok(None));
        };
        self.taken += 1;
        let message = message.map_err(|status| {
            let why = format!("message {} of the stream: {}", self.taken, status.message());
            // a message over the size limit is the caller's mistake
            let code =
                if status.code() == tonic::Code::OutOfRange { tonic::Code::InvalidArgument } else { status.code() };
            Status::with_details(code, why, status.details().to_vec().into())
        })?;
        let count = message.events.len();
        if count == 0 || count > MESSAGE_EVENTS_MAX {
            let description = format!("of message {} has {count} entries: give 1 to {MESSAGE_EVENTS_MAX}", self.taken);
            return Poll::Ready(Err(status::invalid(vec![Violation { field: "events".to_owned(), description }])));
        }
        let bytes = message.encoded_len();
        let events = message.events.into_iter().map(|event| Taken { line: 0, event: Ok(event) }).collect();
        Poll::Ready(Ok(Some(Took { events, bytes })))
    }
}
