//! Questions of a stream as they arrive.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::Body as _;
use prost::Message as _;
use tokio_stream::Stream;
use tonic::{Status, Streaming, body::Body};

use super::super::{
    status,
    unary::{PREFIX_BYTES, joined, message_end},
};
use crate::proto::DecideStreamRequest;

/// A question, or a message that is none.
pub type Message = Result<DecideStreamRequest, Status>;

/// Where questions come from.
pub enum Source {
    /// Messages as they are.
    Plain(Plain),
    /// Messages that the transport decoded.
    Decoded(Box<Streaming<DecideStreamRequest>>),
}

/// A body of messages as they are.
pub struct Plain {
    body: Body,
    /// What arrived and was not read.
    rest: Bytes,
    ended: bool,
}

impl Source {
    /// Messages as they are.
    pub fn plain(body: Body) -> Self {
        Source::Plain(Plain { body, rest: Bytes::new(), ended: false })
    }

    /// The next question; `None` at the end.
    ///
    /// # Errors
    /// What ends the stream: it broke, or a message has no end that could be
    /// found.
    pub fn poll_next(&mut self, ctx: &mut Context<'_>) -> Poll<Result<Option<Message>, Status>> {
        match self {
            Source::Plain(plain) => plain.poll_next(ctx),
            Source::Decoded(stream) => {
                let next = ready!(Pin::new(stream).poll_next(ctx));
                Poll::Ready(next.transpose().map(|message| message.map(Ok)))
            }
        }
    }
}

impl Plain {
    fn poll_next(&mut self, ctx: &mut Context<'_>) -> Poll<Result<Option<Message>, Status>> {
        loop {
            if let Some(message) = self.take()? {
                return Poll::Ready(Ok(Some(message)));
            }
            if self.ended {
                return Poll::Ready(match self.rest.is_empty() {
                    true => Ok(None),
                    false => Err(Status::internal("Unexpected EOF decoding stream.")),
                });
            }
            match ready!(Pin::new(&mut self.body).poll_frame(ctx)).transpose()? {
                None => self.ended = true,
                Some(frame) => {
                    if let Ok(data) = frame.into_data() {
                        self.rest = joined(std::mem::take(&mut self.rest), data);
                    }
                }
            }
        }
    }

    /// A message that has arrived whole.
    fn take(&mut self) -> Result<Option<Message>, Status> {
        let Some(end) = message_end(&self.rest)?.filter(|end| *end <= self.rest.len()) else { return Ok(None) };
        let message = self.rest.get(PREFIX_BYTES..end).unwrap_or_default();
        let message = DecideStreamRequest::decode(message).map_err(|error| status::undecodable(&error.to_string()));
        self.rest.advance(end);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible, future::poll_fn};

    use http_body::Frame;

    use super::*;
    use crate::proto::DecideRequest;

    struct Pieces(VecDeque<Bytes>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
        }
    }

    fn question(id: &str) -> DecideStreamRequest {
        DecideStreamRequest { question: Some(DecideRequest { request_id: id.to_owned(), ..Default::default() }) }
    }

    async fn read(bytes: &[u8], piece_bytes: usize) -> Result<Vec<Option<String>>, Status> {
        let pieces = bytes.chunks(piece_bytes).map(Bytes::copy_from_slice).collect();
        let mut source = Source::plain(Body::new(Pieces(pieces)));
        let mut ids = Vec::new();
        while let Some(message) = poll_fn(|ctx| source.poll_next(ctx)).await? {
            ids.push(message.ok().and_then(|m| m.question).map(|q| q.request_id));
        }
        Ok(ids)
    }

    #[tokio::test]
    async fn questions_are_read_from_any_pieces_and_a_bad_one_is_passed_over() {
        let mut bytes = Vec::new();
        for id in ["first", "second", "third"] {
            super::super::push(&mut bytes, |out| question(id).encode_raw(out));
            // a field that is cut off
            super::super::push(&mut bytes, |out| out.extend_from_slice(&[10, 9, 1]));
        }
        let wanted = [Some("first"), None, Some("second"), None, Some("third"), None];
        for piece_bytes in 1..=bytes.len() {
            let ids = read(&bytes, piece_bytes).await.unwrap();
            assert_eq!(ids.iter().map(Option::as_deref).collect::<Vec<_>>(), wanted, "{piece_bytes}");
        }
        assert!(read(&bytes[..bytes.len() - 1], 7).await.is_err());
        assert!(read(&[0, 255, 255, 255, 255], 7).await.is_err());
        assert!(read(&[1, 0, 0, 0, 0], 7).await.is_err());
        assert!(read(&[], 7).await.unwrap().is_empty());
    }
}
