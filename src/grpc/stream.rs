//! `DecideStream`: many questions on one stream, an answer or a problem each.
//!
//! As in [`super::unary`] messages are read where they arrived and answers are
//! encoded by hand, as many as are ready into one piece. A task of its own
//! answers; the transport takes pieces from it as fast as the caller reads, and
//! while nobody reads nothing is answered and no question is taken.

pub(super) mod pace;
mod run;
mod source;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use bytes::{Buf, Bytes};
use http_body::Frame;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::{Status, body::Body};

use crate::{proto, telemetry::metrics};

use super::{Api, Caller, Entering, admission::Turns, status, unary::PREFIX_BYTES};

use run::Run;
use source::Source;

/// The path of `DecideStream`.
pub const DECIDE_STREAM: &str = "/rapport.v1.DecisionService/DecideStream";
/// Pieces of answers that wait for the transport, of one stream.
const PIECES_MAX: usize = 2;
/// Room beside them for how the stream ended.
const ENDING: usize = 1;

/// A piece of answers; at last how the stream ended.
type Piece = Result<Bytes, Status>;

/// Answers a call of `DecideStream` that is plain.
pub fn open(api: &Api, entering: Entering, request: Request<Body>) -> Response<Body> {
    let caller = Caller::of(request.extensions());
    match start(api, (caller, Some(entering.turns)), Source::plain(request.into_body())) {
        Ok(pieces) => {
            let mut response = Response::new(Body::new(Answers { pieces, ended: false }));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            response
        }
        Err(status) => status.into_http(),
    }
}

/// Answers any other call of `DecideStream`.
///
/// # Errors
/// Too many streams are open, or the service stops.
pub fn decoded(
    api: &Api,
    request: tonic::Request<tonic::Streaming<proto::DecideStreamRequest>>,
) -> Result<Decoded, Status> {
    let caller = Caller::of(request.extensions());
    let turns = Entering::of(request.extensions()).map(|entering| entering.turns);
    let pieces = start(api, (caller, turns), Source::Decoded(Box::new(request.into_inner())))?;
    Ok(Decoded { pieces, piece: Bytes::new() })
}

/// Who opens a stream, and the turns of the thread it is answered on.
type OpenedBy = (Caller, Option<Arc<Turns>>);

fn start(api: &Api, opened_by: OpenedBy, source: Source) -> Result<mpsc::Receiver<Piece>, Status> {
    let place = api.traffic().open()?;
    let (sender, pieces) = mpsc::channel(PIECES_MAX + ENDING);
    // INVARIANT: the channel is new, there is room
    let ending = sender.clone().try_reserve_owned().map_err(|_| status::stopping())?;
    tokio::spawn(Run::new(api.clone(), opened_by, (source, sender), place).run(ending));
    Ok(pieces)
}

/// How a stream ended whose task has gone without a word: it panicked.
fn lost() -> Status {
    metrics().panics.increment(1);
    status::panicked()
}

/// The answers as the body of a response.
struct Answers {
    pieces: mpsc::Receiver<Piece>,
    ended: bool,
}

impl http_body::Body for Answers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let status = match ready!(self.pieces.poll_recv(ctx)) {
            Some(Ok(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
            Some(Err(status)) => status,
            None => lost(),
        };
        self.ended = true;
        let mut trailers = HeaderMap::with_capacity(3);
        if status.add_header(&mut trailers).is_err() {
            // only a message that no header takes
            trailers.insert("grpc-status", HeaderValue::from_static("13"));
        }
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

/// The answers as messages.
pub struct Decoded {
    pieces: mpsc::Receiver<Piece>,
    /// Messages that are left of a piece.
    piece: Bytes,
}

impl Stream for Decoded {
    type Item = Result<proto::DecideStreamResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while self.piece.is_empty() {
            match ready!(self.pieces.poll_recv(ctx)) {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(status)) if status.code() == tonic::Code::Ok => return Poll::Ready(None),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(Some(Err(lost()))),
            }
        }
        // INVARIANT: a piece holds whole messages
        self.piece.advance(1);
        let len = self.piece.get_u32() as usize;
        let end = len.min(self.piece.len());
        let message = self.piece.split_to(end);
        let decoded = proto::DecideStreamResponse::decode(message);
        Poll::Ready(Some(decoded.map_err(|error| Status::internal(format!("encoding the answer: {error}")))))
    }
}

/// Appends a message with what stands before one.
fn push(into: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = into.len();
    into.extend_from_slice(&[0; PREFIX_BYTES]);
    write(into);
    // INVARIANT: an answer is far shorter than 4 GiB
    let len = u32::try_from(into.len() - at - PREFIX_BYTES).unwrap_or_default();
    into[at + 1..at + PREFIX_BYTES].copy_from_slice(&len.to_be_bytes());
}
