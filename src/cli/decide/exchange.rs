//! One stream to the service: questions out, answers in. A stream that breaks is
//! opened again and asked what it has not answered.

use std::{
    collections::HashMap,
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
use prost::Message;
use tokio::sync::{Mutex, mpsc, watch};
use tonic::{Code, Status, body::Body};
use tower::Service;

use crate::{
    cli::client::{self, Target},
    grpc::stream::DECIDE_STREAM,
    proto::{DecideStreamResponse, Problem, decide_stream_response::Result as Settled},
};

use super::{Told, answers::Answer, questions::Pack};

/// Most questions on the way of one stream.
const ON_THE_WAY_MAX: usize = 1_024;
/// Most bytes of questions on the way of one stream, beyond one pack.
const ON_THE_WAY_BYTES_MAX: usize = 4 << 20;
/// Packs that wait for the transport, of one stream.
const PACKS_MAX: usize = 4;
/// How often a stream is opened again without an answer in between, and how
/// often a question is asked again that the service puts off.
const TRIES_MAX: u32 = 10;
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

/// Why a stream ended.
enum Broke {
    /// It may be opened again.
    Again(String),
    /// It would be the same again.
    For(anyhow::Error),
}

/// Questions on the way.
#[derive(Default)]
struct OnTheWay {
    questions: HashMap<Box<str>, Question>,
    bytes: usize,
    /// Answers taken so far.
    answered: u64,
    /// Whether the stream was ever open.
    opened: bool,
}

struct Question {
    message: Bytes,
    line: u64,
    line_bytes: u32,
    /// How often the service put it off.
    put_off: u32,
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

impl Broke {
    fn of(status: &Status) -> Self {
        match status.code() {
            Code::Unavailable
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal => Broke::Again(format!("{:?}: {}", status.code(), status.message())),
            _ => Broke::For(client::refused("asking on a stream", status)),
        }
    }
}

impl OnTheWay {
    fn add(&mut self, pack: &Pack) {
        let mut at = 0;
        for one in &pack.asked {
            let message = pack.messages.slice(at..one.end);
            at = one.end;
            self.bytes += message.len();
            let question = Question { message, line: one.line, line_bytes: one.line_bytes, put_off: 0 };
            self.questions.insert(one.request_id.clone(), question);
        }
    }

    fn has_room(&self) -> bool {
        self.questions.len() < ON_THE_WAY_MAX && self.bytes < ON_THE_WAY_BYTES_MAX
    }

    /// What has no answer, in order of its lines.
    fn again(&self) -> Bytes {
        let mut questions: Vec<&Question> = self.questions.values().collect();
        questions.sort_unstable_by_key(|question| question.line);
        let mut messages = BytesMut::with_capacity(self.bytes);
        questions.iter().for_each(|question| messages.extend_from_slice(&question.message));
        messages.freeze()
    }

    /// A problem of the moment, not of the question, ends the stream: it is asked
    /// again on the next one, a bounded number of times.
    fn passing(&mut self, request_id: &str, problem: &Problem) -> Result<(), Broke> {
        let code = Code::from_i32(problem.code);
        if !matches!(code, Code::Unavailable | Code::ResourceExhausted | Code::Aborted) {
            return Ok(());
        }
        let why = format!("{code:?}: {}", problem.message);
        let Some(question) = self.questions.get_mut(request_id) else { return Err(Broke::Again(why)) };
        question.put_off += 1;
        if question.put_off <= TRIES_MAX {
            return Err(Broke::Again(why));
        }
        let line = question.line;
        Err(Broke::For(anyhow::anyhow!(
            "the service put line {line} off `{TRIES_MAX}` times: {why}; run the command again to go on where it ended"
        )))
    }

    /// Whose answer a message is.
    fn take(&mut self, message: Bytes) -> Result<Option<Answer>, Broke> {
        let unreadable = || Broke::For(anyhow::anyhow!("the service sent an answer that cannot be read"));
        let (request_id, kind) = glance(&message).ok_or_else(unreadable)?;
        if kind == Glance::Problem {
            let decoded = DecideStreamResponse::decode(message.clone()).map_err(|_| unreadable())?;
            if let Some(Settled::Problem(problem)) = decoded.result {
                self.passing(request_id, &problem)?;
            }
        }
        let Some(question) = self.questions.remove(request_id) else {
            return match request_id {
                "" => Err(Broke::For(anyhow::anyhow!("the service could not read a question: {}", told(&message)))),
                _ => Ok(None),
            };
        };
        self.bytes -= question.message.len();
        self.answered += 1;
        Ok(Some(Answer { message, kind, line: question.line, line_bytes: question.line_bytes }))
    }
}

fn told(message: &Bytes) -> String {
    match DecideStreamResponse::decode(message.clone()).ok().and_then(|decoded| decoded.result) {
        Some(Settled::Problem(problem)) => problem.message,
        _ => String::new(),
    }
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// An answer.
    Answer,
    /// A problem.
    Problem,
}

/// The request id of an answer and what it is, without decoding the rest.
fn glance(message: &[u8]) -> Option<(&str, Glance)> {
    const REQUEST_ID: u8 = 1 << 3 | 2;
    const ANSWER: u8 = 2 << 3 | 2;
    const PROBLEM: u8 = 3 << 3 | 2;
    let mut rest = message;
    let mut request_id = "";
    if rest.first() == Some(&REQUEST_ID) {
        rest.advance(1);
        let len = usize::try_from(prost::encoding::decode_varint(&mut rest).ok()?).ok()?;
        let (id, after) = rest.split_at_checked(len)?;
        (request_id, rest) = (std::str::from_utf8(id).ok()?, after);
    }
    match rest.first() {
        Some(&ANSWER) => Some((request_id, Glance::Answer)),
        Some(&PROBLEM) => Some((request_id, Glance::Problem)),
        _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::DecideResponse;

    fn settled(request_id: &str, result: Settled) -> Bytes {
        DecideStreamResponse { request_id: request_id.to_owned(), result: Some(result) }.encode_to_vec().into()
    }

    #[test]
    fn a_glance_tells_whose_answer_it_is() {
        let answer = Settled::Answer(DecideResponse { decision_id: "x".repeat(200), ..DecideResponse::default() });
        for id in ["a", "", &"y".repeat(300)] {
            assert_eq!(glance(&settled(id, answer.clone())), Some((id, Glance::Answer)));
            let problem = Settled::Problem(Problem { code: 3, ..Problem::default() });
            assert_eq!(glance(&settled(id, problem)), Some((id, Glance::Problem)));
        }
        assert_eq!(glance(&[]), None);
        assert_eq!(glance(&[10, 200, 1]), None);
    }

    #[test]
    fn what_the_moment_is_to_blame_for_is_asked_again() {
        let mut on_the_way = OnTheWay::default();
        let asked = vec![super::super::questions::Asked { request_id: "a".into(), line: 1, line_bytes: 9, end: 3 }];
        on_the_way.add(&Pack { messages: Bytes::from_static(b"abc"), asked });
        let problem = |code: Code| Settled::Problem(Problem { code: code as i32, ..Problem::default() });
        assert!(matches!(on_the_way.take(settled("a", problem(Code::Unavailable))), Err(Broke::Again(_))));
        assert_eq!(on_the_way.again(), "abc");
        for _ in 1..TRIES_MAX {
            assert!(matches!(on_the_way.take(settled("a", problem(Code::Unavailable))), Err(Broke::Again(_))));
        }
        assert!(matches!(on_the_way.take(settled("a", problem(Code::Unavailable))), Err(Broke::For(_))));
        assert!(matches!(on_the_way.take(settled("b", problem(Code::InvalidArgument))), Ok(None)));
        let answer = on_the_way.take(settled("a", problem(Code::InvalidArgument))).ok().flatten();
        assert_eq!(answer.map(|a| (a.line, a.line_bytes)), Some((1, 9)));
        assert!(on_the_way.questions.is_empty() && on_the_way.bytes == 0);
        assert!(matches!(on_the_way.take(settled("", problem(Code::InvalidArgument))), Err(Broke::For(_))));
    }
}
