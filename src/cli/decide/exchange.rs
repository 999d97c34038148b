//! One stream to the service: questions out, answers in. A stream that breaks is
//! opened again and asked what it has not answered.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context as _;
use axum::http::{HeaderValue, Request, header::CONTENT_TYPE};
use bytes::{Buf, Bytes, BytesMut};
use http_body::Frame;
use tokio::sync::{Mutex, mpsc, watch};
use tonic::{Code, Status, body::Body};
use tower::Service;

use crate::{cli::client::Target, grpc::stream::DECIDE_STREAM};

use super::{
    Told,
    on_the_way::{Broke, OnTheWay, TRIES_MAX},
    questions::Pack,
};

/// Packs that wait for the transport, of one stream.
const PACKS_MAX: usize = 4;
/// The wait before the first of these; doubled each time up to [`WAIT_MAX`].
const WAIT: Duration = Duration::from_millis(100);
/// The longest wait before a stream is opened again.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Bytes before a message: a flag and its length.
const PREFIX_BYTES: usize = 5;

/// One stream.
pub struct Exchange {
    /// The service.
    pub target: Target,
    /// Questions for whoever has room.
    pub packs: Arc<Mutex<mpsc::Receiver<Pack>>>,
    /// Where answers go.
    pub told: mpsc::Sender<Told>,
    /// Says that a stream broke.
    pub broke: Arc<dyn Fn(String) + Send + Sync>,
    /// What it knows of the other streams.
    pub others: Arc<Others>,
}

/// What the streams of a run know of each other.
#[derive(Default)]
pub struct Others {
    /// Whether one of them could be opened.
    opened: AtomicBool,
    /// Turns true when one of them found no more questions.
    finished: watch::Sender<bool>,
}

impl Exchange {
    /// Exchanges until there are no more questions and all are answered.
    ///
    /// # Errors
    /// The service refuses, or cannot be reached any more.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut on_the_way = OnTheWay::default();
        let (mut tries, mut answered) = (0, 0);
        loop {
            let why = match self.stream(&mut on_the_way).await {
                Ok(()) => {
                    self.others.finished.send_replace(true);
                    return Ok(());
                }
                Err(Broke::For(error)) => return Err(error),
                Err(Broke::Again(why)) => why,
            };
            if on_the_way.answered > answered {
                (tries, answered) = (0, on_the_way.answered);
            }
            tries += 1;
            // the others do without one that the service has no room for
            if tries > TRIES_MAX && !on_the_way.opened && self.others.opened.load(Relaxed) {
                (self.broke)(format!("{why}; it is done without"));
                return Ok(());
            }
            anyhow::ensure!(
                tries <= TRIES_MAX,
                "the stream broke `{tries}` times in a row: {why}; run the command again to go on where it ended"
            );
            (self.broke)(why);
            let mut finished = self.others.finished.subscribe();
            tokio::select! {
                () = tokio::time::sleep((WAIT * 2_u32.pow(tries - 1)).min(WAIT_MAX)) => {}
                // it has no questions, and none are left
                _ = finished.wait_for(|finished| *finished), if on_the_way.questions.is_empty() => return Ok(()),
            }
        }
    }

    async fn stream(&self, on_the_way: &mut OnTheWay) -> Result<(), Broke> {
        let mut connection = self.target.connect().await.map_err(|error| Broke::Again(format!("{error:#}")))?;
        let (sender, packs) = mpsc::channel::<Bytes>(PACKS_MAX);
        let again = on_the_way.again();
        if !again.is_empty() {
            // there is room for the first of them
            sender.try_send(again).ok();
        }
        let mut request = Request::new(Body::new(Sent { packs }));
        *request.method_mut() = axum::http::Method::POST;
        *request.uri_mut() = axum::http::Uri::from_static(DECIDE_STREAM);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        let lost = |error: &dyn std::fmt::Display| Broke::Again(format!("the connection was lost: {error}"));
        poll_fn(|ctx| connection.poll_ready(ctx)).await.map_err(|error| lost(&error))?;
        let response = connection.call(request).await.map_err(|error| lost(&error))?;
        if let Some(status) = Status::from_header_map(response.headers()) {
            return Err(Broke::of(&status));
        }
        on_the_way.opened = true;
        self.others.opened.store(true, Relaxed);
        let body = std::pin::pin!(response.into_body());
        Open { exchange: self, on_the_way, sender: Some(sender), received: BytesMut::new() }.run(body).await
    }
}

/// A stream that is open.
struct Open<'a> {
    exchange: &'a Exchange,
    on_the_way: &'a mut OnTheWay,
    /// Takes packs; `None` once there are no more.
    sender: Option<mpsc::Sender<Bytes>>,
    received: BytesMut,
}

impl Open<'_> {
    async fn run<B>(mut self, mut body: Pin<&mut B>) -> Result<(), Broke>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        loop {
            let room = self.on_the_way.has_room();
            let (sender, packs) = (self.sender.clone(), &self.exchange.packs);
            let frame = tokio::select! {
                biased;
                frame = poll_fn(|ctx| body.as_mut().poll_frame(ctx)) => frame,
                next = next(sender, packs), if room && self.sender.is_some() => {
                    match next {
                        Some((permit, pack)) => {
                            self.on_the_way.add(&pack);
                            permit.send(pack.messages);
                        }
                        // the service ends the stream once it has answered
                        None => self.sender = None,
                    }
                    continue;
                }
            };
            match frame {
                None => return Err(Broke::Again("the stream ended without a word".to_owned())),
                Some(Err(error)) => return Err(Broke::Again(format!("the stream broke: {error}"))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.receive(&data).await?,
                    Err(frame) => return self.end(&frame),
                },
            }
        }
    }

    async fn receive(&mut self, data: &[u8]) -> Result<(), Broke> {
        self.received.extend_from_slice(data);
        let mut answers = Vec::new();
        let mut broke = Ok(());
        while let Some(([_, len @ ..], _)) = self.received.split_first_chunk::<PREFIX_BYTES>() {
            let end = PREFIX_BYTES + u32::from_be_bytes(*len) as usize;
            if self.received.len() < end {
                break;
            }
            let mut message = self.received.split_to(end);
            message.advance(PREFIX_BYTES);
            match self.on_the_way.take(message.freeze()) {
                Ok(answer) => answers.extend(answer),
                Err(why) => {
                    broke = Err(why);
                    break;
                }
            }
        }
        if !answers.is_empty() && self.exchange.told.send(Told::Answers(answers)).await.is_err() {
            return Err(Broke::For(anyhow::anyhow!("the answers cannot be written")));
        }
        broke
    }

    fn end(&self, frame: &Frame<Bytes>) -> Result<(), Broke> {
        let status = frame.trailers_ref().and_then(Status::from_header_map);
        match status {
            Some(status) if status.code() != Code::Ok => Err(Broke::of(&status)),
            _ if self.sender.is_none() && self.on_the_way.questions.is_empty() => Ok(()),
            _ => Err(Broke::Again("the stream ended before everything was answered".to_owned())),
        }
    }
}

/// Room for a pack, and the next one; `None` when there are no more.
async fn next(
    sender: Option<mpsc::Sender<Bytes>>,
    packs: &Mutex<mpsc::Receiver<Pack>>,
) -> Option<(mpsc::OwnedPermit<Bytes>, Pack)> {
    let permit = sender?.reserve_owned().await.ok()?;
    Some((permit, packs.lock().await.recv().await?))
}

/// Packs as the body of a request.
struct Sent {
    packs: mpsc::Receiver<Bytes>,
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.packs.poll_recv(ctx).map(|pack| pack.map(|pack| Ok(Frame::data(pack))))
    }
}

/// Connects once, so that a wrong address is told before anything is read.
///
/// # Errors
/// Nothing listens there.
pub async fn try_out(target: &Target) -> anyhow::Result<()> {
    target.connect().await.map(|_| ()).context("trying the service out")
}
