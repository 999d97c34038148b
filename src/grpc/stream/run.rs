//! The task of one stream: takes questions, answers them, hands pieces over.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use prost::Message as _;
use tokio::{
    sync::mpsc::{self, OwnedPermit},
    task::JoinSet,
};
use tonic::{Code, Status};

use super::{
    OpenedBy, Piece,
    pace::Pace,
    push,
    source::{Message, Source},
};
use crate::{
    grpc::{
        Api, Caller,
        admission::{StreamTurn, Turns},
        api::Settled,
        convert::problem,
        status,
        traffic::{Place, Question, Waiting},
    },
    proto,
    telemetry::metrics,
};

/// Most questions of one stream that wait for profiles.
const WAITING_MAX: usize = 16;
/// A piece of answers is handed over when it has so many bytes, or when nothing
/// more can be answered at once.
const PIECE_BYTES: usize = 32 << 10;
/// Room beyond it, for the answer that fills the piece.
const PIECE_SPARE_BYTES: usize = 8 << 10;
/// Milliseconds a question waits for its profile when it does not say.
const TIME_BUDGET_MS: u32 = 10_000;

/// A stream on which nothing moves for so many minutes ends, so that it keeps
/// none of the few places; whoever still has questions opens it again.
const IDLE_MINUTES_MAX: u64 = 5;
const IDLE_MAX: Duration = Duration::from_secs(60 * IDLE_MINUTES_MAX);
/// How long what is under way may take once the service stops.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// A question being answered.
type Answering = Pin<Box<dyn Future<Output = Settled> + Send>>;

/// One stream.
pub struct Run {
    api: Arc<Api>,
    caller: Caller,
    place: Place,
    source: Source,
    pieces: mpsc::Sender<Piece>,
    /// Of the thread that answers.
    turns: Option<Arc<Turns>>,
    /// Held for a slice.
    turn: Option<StreamTurn>,
    /// Answers that were not handed over.
    piece: Vec<u8>,
    waiting: JoinSet<Settled>,
    pace: Pace,
    /// Questions taken.
    taken: u64,
}

/// Why a stream ends early.
enum Ended {
    /// The caller has gone.
    Gone,
    /// With this status.
    With(Status),
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        Ended::With(status)
    }
}

impl Run {
    /// Ready to answer.
    pub fn new(
        api: Api,
        (caller, turns): OpenedBy,
        (source, pieces): (Source, mpsc::Sender<Piece>),
        place: Place,
    ) -> Self {
        Self {
            pace: Pace::new(&place.traffic),
            api: Arc::new(api),
            caller,
            place,
            source,
            pieces,
            turns,
            turn: None,
            piece: Vec::new(),
            waiting: JoinSet::new(),
            taken: 0,
        }
    }

    /// Answers to the end, then tells how it ended, for which there is always
    /// room.
    pub async fn run(mut self, ending: OwnedPermit<Piece>) {
        let status = match self.answer_all().await {
            Ok(()) => Status::ok(""),
            Err(Ended::Gone) => return,
            Err(Ended::With(status)) => {
                metrics().request_error(status.code() as i32);
                // what was answered before goes out first, if it is read
                self.finish().await.ok();
                status
            }
        };
        ending.send(Err(status));
    }

    async fn answer_all(&mut self) -> Result<(), Ended> {
        loop {
            while let Some(done) = self.waiting.try_join_next() {
                self.write_joined(done);
            }
            if self.piece.len() >= PIECE_BYTES {
                self.hand_over().await?;
            }
            if *self.place.stop.borrow() {
                return Err(status::stopping().into());
            }
            let source = &mut self.source;
            let next = match poll_fn(|ctx| Poll::Ready(source.poll_next(ctx))).await {
                Poll::Ready(next) => next?,
                Poll::Pending => match self.wait().await? {
                    Some(next) => next,
                    None => continue,
                },
            };
            let Some(message) = next else { return self.finish().await };
            self.take_turn().await;
            self.ask(message).await?;
            if self.pace.over(&self.place.traffic) {
                self.turn = None;
                if !self.api.app().log_keeps_up() {
                    // the wait may be long: what is answered is told before
                    self.hand_over().await?;
                }
                let (stop, pieces) = (&self.place.stop, &self.pieces);
                let leaving = || *stop.borrow() || pieces.is_closed();
                self.pace.rest(&self.place.traffic, self.api.app(), leaving).await;
                if pieces.is_closed() {
                    return Err(Ended::Gone);
                }
            }
        }
    }

    /// Waits for a turn, once a slice.
    async fn take_turn(&mut self) {
        if let (Some(turns), None) = (&self.turns, &self.turn) {
            self.turn = turns.turn_of_stream().await;
        }
    }

    /// Waits for a question, the answer to one that waits, or the stop. `None`
    /// when it was not a question.
    async fn wait(&mut self) -> Result<Option<Option<Message>>, Ended> {
        self.turn = None;
        self.hand_over().await?;
        let Self { source, waiting, pieces, place, .. } = self;
        let idle = waiting.is_empty();
        let done = tokio::select! {
            biased;
            // whoever opened the stream looked at the stop before
            _ = place.stop.changed() => return Ok(None),
            () = pieces.closed() => return Err(Ended::Gone),
            Some(done) = waiting.join_next() => done,
            next = poll_fn(|ctx| source.poll_next(ctx)) => return Ok(Some(next?)),
            () = tokio::time::sleep(IDLE_MAX), if idle => return Err(status::idle(IDLE_MINUTES_MAX).into()),
        };
        self.write_joined(done);
        Ok(None)
    }

    /// Answers a question, or begins to.
    async fn ask(&mut self, message: Message) -> Result<(), Ended> {
        self.taken += 1;
        let question = match self.read(message) {
            Ok(question) => question,
            Err(refused) => {
                self.write(&refused);
                return Ok(());
            }
        };
        let counted = self.place.traffic.question();
        let mut answering: Answering = Box::pin(caught(Arc::clone(&self.api), self.caller, question));
        match poll_fn(|ctx| Poll::Ready(answering.as_mut().poll(ctx))).await {
            Poll::Ready(settled) => self.write(&settled),
            Poll::Pending => self.let_wait(answering, counted).await?,
        }
        Ok(())
    }

    /// A question whose profile is not in memory: others go on meanwhile.
    async fn let_wait(&mut self, answering: Answering, counted: Question) -> Result<(), Ended> {
        let place = self.place.traffic.wait();
        if self.waiting.len() < WAITING_MAX && place.is_some() {
            self.waiting.spawn(waiting(answering, (counted, place)));
            return Ok(());
        }
        self.turn = None;
        let settled = tokio::select! {
            settled = answering => settled,
            ended = impatience(&self.place, &self.pieces) => return Err(ended),
        };
        self.write(&settled);
        drop(counted);
        Ok(())
    }

    fn read(&self, message: Message) -> Result<proto::DecideRequest, Settled> {
        let nth = self.taken;
        let refused = |request_id: String, problem| Err(Settled { request_id, result: Err(problem) });
        let question = match message {
            Ok(message) => message.question,
            Err(status) => {
                let mut problem = problem::of_status(&status);
                problem.message = format!("question {nth} of the stream: {}", problem.message);
                return refused(String::new(), problem);
            }
        };
        let Some(mut question) = question.filter(|question| !question.request_id.is_empty()) else {
            let description = "is missing: give each question one, its answer is named by it".to_owned();
            let problem = proto::Problem {
                code: Code::InvalidArgument as i32,
                reason: "INVALID_FIELDS".to_owned(),
                message: format!("question {nth} of the stream has no `request_id`"),
                fields: vec![proto::FieldProblem { field: "request_id".to_owned(), description }],
            };
            return refused(String::new(), problem);
        };
        if question.time_budget_ms == 0 {
            question.time_budget_ms = TIME_BUDGET_MS;
        }
        Ok(question)
    }

    fn write_joined(&mut self, done: Result<Settled, tokio::task::JoinError>) {
        // INVARIANT: a task of a question catches its panics and is not aborted
        if let Ok(settled) = done {
            self.write(&settled);
        }
    }

    fn write(&mut self, settled: &Settled) {
        if self.piece.capacity() == 0 {
            self.piece.reserve(PIECE_BYTES + PIECE_SPARE_BYTES);
        }
        if let Err(problem) = &settled.result {
            metrics().request_error(problem.code);
        }
        push(&mut self.piece, |out| settled.write(out));
    }

    /// Waits for what is under way and hands everything over.
    async fn finish(&mut self) -> Result<(), Ended> {
        self.turn = None;
        loop {
            let done = tokio::select! {
                done = self.waiting.join_next() => done,
                ended = impatience(&self.place, &self.pieces) => return Err(ended),
            };
            let Some(done) = done else { break };
            self.write_joined(done);
        }
        self.hand_over().await
    }

    /// Hands the piece over once there is room for it.
    async fn hand_over(&mut self) -> Result<(), Ended> {
        if self.piece.is_empty() {
            return Ok(());
        }
        // the reader may be slow
        self.turn = None;
        let piece = Bytes::from(std::mem::take(&mut self.piece));
        tokio::select! {
            biased;
            sent = self.pieces.send(Ok(piece)) => sent.map_err(|_| Ended::Gone),
            ended = impatience(&self.place, &self.pieces) => Err(ended),
        }
    }
}

/// Ends when waiting has to: the caller has gone, the service stops and the grace
/// is over, or nothing moved for too long.
async fn impatience(place: &Place, pieces: &mpsc::Sender<Piece>) -> Ended {
    let mut stop = place.stop.clone();
    let stopped = async move {
        // who tells it lives as long as the place
        stop.wait_for(|stop| *stop).await.ok();
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        () = pieces.closed() => Ended::Gone,
        () = stopped => Ended::With(status::stopping()),
        () = tokio::time::sleep(IDLE_MAX) => Ended::With(status::idle(IDLE_MINUTES_MAX)),
    }
}

async fn waiting(answering: Answering, counted: (Question, Option<Waiting>)) -> Settled {
    let settled = answering.await;
    drop(counted);
    settled
}

/// Answers a question; one that panics is a problem of its own.
async fn caught(api: Arc<Api>, caller: Caller, question: proto::DecideRequest) -> Settled {
    let request_id = question.request_id.clone();
    let mut answering = std::pin::pin!(api.settle(caller, question));
    let caught = poll_fn(|ctx| match catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(ctx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    });
    caught.await.unwrap_or_else(|| {
        metrics().panics.increment(1);
        Settled { request_id, result: Err(problem::of_status(&status::panicked())) }
    })
}

impl Settled {
    /// Appends the message.
    fn write(&self, into: &mut Vec<u8>) {
        match &self.result {
            Ok(answered) => answered.write(&self.request_id, into),
            Err(problem) => {
                let result = Some(proto::decide_stream_response::Result::Problem(problem.clone()));
                proto::DecideStreamResponse { request_id: self.request_id.clone(), result }.encode_raw(into);
            }
        }
    }
}
