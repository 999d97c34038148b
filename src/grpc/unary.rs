//! `Decide` over gRPC without the stream machinery of a general call: one
//! message in, read where it arrived; one out, encoded once, then the status.
//! Everything unusual is left to the generated service.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header::CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use prost::Message;
use tonic::{Code, Status, body::Body};

use crate::app::Terms;

use super::{
    Api, Caller, Entering, MESSAGE_BYTES_MAX,
    admission::{self, Offered},
    status,
};

/// The path of `Decide`.
pub const DECIDE: &str = "/rapport.v1.DecisionService/Decide";
/// Bytes before a message: a flag and its length.
pub(super) const PREFIX_BYTES: usize = 5;
/// What an answer takes as a rule, bytes.
const ANSWER_BYTES: usize = 2_048;

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Whether a call is one message as it is, not compressed.
pub fn is_plain<B>(request: &Request<B>) -> bool {
    let as_it_is = request.headers().get(GRPC_ENCODING).is_none_or(|encoding| encoding == "identity");
    as_it_is && request.method() == Method::POST
}

/// Answers a call of `Decide` that [`is_plain`], once it is its turn.
pub async fn decide(api: &Api, entering: Entering, request: Request<Body>) -> Response<Body> {
    let caller = Caller::of(request.extensions());
    let received = match receive(request.into_body()).await {
        Ok(received) => received,
        Err(status) => return status.into_http(),
    };
    let message = received.get(PREFIX_BYTES..).unwrap_or_default();
    let urgency = admission::of_message(&api.app().current().ruleset, caller, message);
    let turn = match entering.turn(urgency, Offered::OrShort).await {
        Ok(turn) => turn,
        Err(away) => return status::turned_away_plain(&away),
    };
    let terms = turn.terms();
    match turn.run(pin!(answer(api, caller, message, terms))).await {
        Ok(message) => {
            let mut response = Response::new(Body::new(Unary { message: Some(message), ended: false }));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            response
        }
        Err(status) => status.into_http(),
    }
}

async fn answer(api: &Api, caller: Caller, message: &[u8], terms: Terms) -> Result<Bytes, Status> {
    let question = Message::decode(message).map_err(|error| status::undecodable(&error.to_string()))?;
    let mut buffer = Vec::with_capacity(ANSWER_BYTES);
    buffer.extend_from_slice(&[0; PREFIX_BYTES]);
    let mut answer = api.decide_into(caller, question, (terms, buffer)).await?;
    let len = u32::try_from(answer.len() - PREFIX_BYTES)
        .map_err(|_| Status::resource_exhausted("the answer is longer than 4 GiB; ask for less"))?;
    answer[1..PREFIX_BYTES].copy_from_slice(&len.to_be_bytes());
    Ok(answer.into())
}

/// The one message of a call with what is before it. What follows it is not
/// looked at, as in any unary call.
async fn receive(mut body: Body) -> Result<Bytes, Status> {
    let mut received = Bytes::new();
    let mut wanted = None;
    while wanted.is_none_or(|wanted| received.len() < wanted) {
        let Some(frame) = next(&mut body).await? else {
            return Err(Status::internal(match received.is_empty() {
                true => "Missing request message.",
                false => "Unexpected EOF decoding stream.",
            }));
        };
        let Ok(data) = frame.into_data() else { continue };
        received = joined(received, data);
        if wanted.is_none() {
            wanted = message_end(&received)?;
        }
    }
    while !body.is_end_stream() && next(&mut body).await?.is_some() {}
    received.truncate(wanted.unwrap_or_default());
    Ok(received)
}

async fn next(body: &mut Body) -> Result<Option<Frame<Bytes>>, Status> {
    poll_fn(|ctx| Pin::new(&mut *body).poll_frame(ctx)).await.transpose()
}

/// Both one after the other; a copy only when there was something before.
pub(super) fn joined(before: Bytes, data: Bytes) -> Bytes {
    if before.is_empty() {
        return data;
    }
    let mut both = BytesMut::from(before);
    both.extend_from_slice(&data);
    both.freeze()
}

/// Where the message ends, once its length is there.
pub(super) fn message_end(received: &[u8]) -> Result<Option<usize>, Status> {
    let Some(([flag, length @ ..], _)) = received.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    if *flag != 0 {
        return Err(Status::internal(format!(
            "reading the request: its message has the flag `{flag}` without a `grpc-encoding`: send it as it is"
        )));
    }
    let len = u32::from_be_bytes(*length) as usize;
    if len > MESSAGE_BYTES_MAX {
        return Err(Status::new(
            Code::OutOfRange,
            format!(
                "Error, decoded message length too large: found {len} bytes, the limit is: {MESSAGE_BYTES_MAX} bytes"
            ),
        ));
    }
    Ok(Some(PREFIX_BYTES + len))
}

/// One message, then the status.
struct Unary {
    message: Option<Bytes>,
    ended: bool,
}

impl http_body::Body for Unary {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if std::mem::replace(&mut self.ended, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body that arrives in pieces.
    struct Pieces(Vec<Bytes>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop().map(|piece| Ok(Frame::data(piece))))
        }
    }

    async fn received(bytes: &[u8], piece_bytes: usize) -> Result<Bytes, Status> {
        let pieces = bytes.chunks(piece_bytes).rev().map(Bytes::copy_from_slice).collect();
        receive(Body::new(Pieces(pieces))).await
    }

    #[tokio::test]
    async fn a_message_is_put_together_from_any_pieces() {
        let mut call = vec![0, 0, 0, 0, 9];
        call.extend_from_slice(b"a message");
        for piece_bytes in 1..=call.len() {
            assert_eq!(received(&call, piece_bytes).await.unwrap(), call, "{piece_bytes}");
        }
        let mut longer = call.clone();
        longer.extend_from_slice(b"and more");
        assert_eq!(received(&longer, 3).await.unwrap(), call);
    }

    #[tokio::test]
    async fn half_a_message_a_large_one_and_a_compressed_one_are_refused() {
        let code = async |bytes: &[u8]| received(bytes, 4).await.unwrap_err().code();
        assert_eq!(code(&[]).await, Code::Internal);
        assert_eq!(code(&[0, 0, 0, 0, 2, 1]).await, Code::Internal);
        assert_eq!(code(&[1, 0, 0, 0, 1, 1]).await, Code::Internal);
        let len = (MESSAGE_BYTES_MAX as u32 + 1).to_be_bytes();
        assert_eq!(code(&[0, len[0], len[1], len[2], len[3]]).await, Code::OutOfRange);
    }
}
