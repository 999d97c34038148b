//! Admission: who is answered when not all can be. Calls of one serving thread
//! take turns ([`Turns`]), by class; a turn lasts as long as the call computes,
//! and is over when it waits for the store. How many calls of a class are under
//! way at all is bounded by [`Shares`].

mod allowance;
mod book;
mod class;
mod deadline;
mod shares;
#[cfg(test)]
mod tests;

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::http::HeaderMap;
use tokio::sync::{Notify, oneshot};

use crate::{
    app::{Fullness, Terms},
    telemetry::{Admission, CallClass, metrics},
};

pub use book::Cause;
pub use class::{Urgency, of_message, of_path, of_question};
pub use shares::Shares;

use book::{Book, Lane, Ruling, Rulings};
use shares::Share;

/// The turns of one serving thread, or of the threads that share a runtime.
pub struct Turns {
    /// Whether calls take turns at all.
    is_on: bool,
    started: Instant,
    /// When the thread looked for new calls last.
    round_ns: AtomicU64,
    book: Mutex<Book<Ticket>>,
    /// Somebody has to give turns.
    due: Notify,
    shares: Arc<Shares>,
}

/// How a call that waits hears.
type Ticket = oneshot::Sender<Result<Held, Cause>>;

/// A call as the gate found it.
#[derive(Clone)]
pub struct Entering {
    /// Of the thread it came to.
    pub turns: Arc<Turns>,
    /// When it came.
    pub arrived: Instant,
    /// Until when its caller waits, as its headers say.
    pub deadline: Option<Instant>,
}

/// A call that is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnedAway {
    /// Its class.
    pub class: CallClass,
    /// Why.
    pub cause: Cause,
}

/// What may become of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It is answered whole or not at all.
    Whole,
    /// It may get an answer that costs little.
    OrShort,
}

impl Turns {
    /// Of so many threads. In a burst a call may wait as long as `age_max`; where
    /// that is nothing, nobody waits for a turn.
    pub fn new(threads: usize, age_max: Duration, shares: Arc<Shares>) -> Self {
        Self {
            is_on: !age_max.is_zero(),
            started: Instant::now(),
            round_ns: AtomicU64::new(0),
            book: Mutex::new(Book::new(threads, nanoseconds(age_max))),
            due: Notify::new(),
            shares,
        }
    }

    /// Notes that the thread looked for new calls.
    pub fn looked(&self) {
        self.round_ns.store(self.at(Instant::now()), Relaxed);
    }

    /// Gives turns to who waits. Runs as long as the runtime.
    pub async fn give(self: Arc<Self>) {
        loop {
            self.due.notified().await;
            // what has come is read, and lined up, before anybody gets a turn
            tokio::task::yield_now().await;
            let now_ns = self.at(Instant::now());
            self.round_ns.store(now_ns, Relaxed);
            let mut rulings = Rulings::new();
            self.with(|book| book.begin_round(now_ns, &mut rulings));
            self.tell(now_ns, rulings);
        }
    }

    fn at(&self, moment: Instant) -> u64 {
        nanoseconds(moment.saturating_duration_since(self.started))
    }

    fn with<R>(&self, change: impl FnOnce(&mut Book<Ticket>) -> R) -> R {
        change(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells who waits what becomes of it. INVARIANT: the book is not locked: a
    /// call that has gone gives its turn back at once.
    fn tell(self: &Arc<Self>, now_ns: u64, rulings: Rulings<Ticket>) {
        for (ticket, caller, ruling) in rulings {
            if let Lane::Of(class) = caller.lane {
                metrics().admission_waited(class, Duration::from_nanos(now_ns.saturating_sub(caller.since_ns)));
            }
            let told = match ruling {
                Ruling::Turn => Ok(Held::new(self, Kind::Turn)),
                Ruling::Short => Ok(Held::new(self, Kind::Short)),
                Ruling::Refused(cause) => Err(cause),
            };
            ticket.send(told).ok();
        }
    }

    /// Waits for a turn; at once when it may go ahead.
    async fn take(self: &Arc<Self>, caller: book::Caller) -> Result<(Held, Admission), Cause> {
        let now_ns = self.at(Instant::now());
        let round_ns = now_ns.saturating_sub(self.round_ns.load(Relaxed));
        let late = caller.until_ns <= now_ns;
        if !self.is_on {
            let mut held = Held::new(self, Kind::Turn);
            // nobody counts it
            held.ended = true;
            return if late { Err(Cause::Late) } else { Ok((held, Admission::Admitted)) };
        }
        if !late && self.with(|book| book.goes_ahead((now_ns, round_ns))) {
            return Ok((Held::new(self, Kind::Turn), Admission::Admitted));
        }
        let (ticket, told) = oneshot::channel();
        let mut rulings = Rulings::new();
        if self.with(|book| book.line_up(now_ns, (ticket, caller), &mut rulings)) {
            self.due.notify_one();
        }
        self.tell(now_ns, rulings);
        // INVARIANT: a ticket is told about before it is dropped
        let held = told.await.unwrap_or(Err(Cause::Overload))?;
        let outcome = if held.kind == Kind::Short { Admission::Degraded } else { Admission::Waited };
        Ok((held, outcome))
    }

    /// A turn of a stream of questions; waits as long as it has to.
    pub async fn turn_of_stream(self: &Arc<Self>) -> Option<StreamTurn> {
        let since_ns = self.at(Instant::now());
        let caller = book::Caller { lane: Lane::Stream, since_ns, until_ns: u64::MAX, may_be_short: false };
        let (mut held, _) = self.take(caller).await.ok()?;
        held.begin();
        Some(StreamTurn(held))
    }
}

/// A stream computes until this is dropped.
pub struct StreamTurn(#[expect(dead_code, reason = "it counts until it is dropped")] Held);

impl Entering {
    /// A call that comes now.
    pub fn now(turns: &Arc<Turns>, headers: &HeaderMap) -> Self {
        let arrived = Instant::now();
        let deadline = deadline::timeout(headers).map(|timeout| arrived + timeout);
        Self { turns: Arc::clone(turns), arrived, deadline }
    }

    /// From the extensions of a request; none when it came past the gate.
    pub fn of(extensions: &axum::http::Extensions) -> Option<Self> {
        extensions.get().cloned()
    }

    /// Waits until the call may be answered.
    ///
    /// # Errors
    /// It is not: there is too much to do, or its caller has stopped waiting.
    pub async fn turn(&self, urgency: Urgency, offered: Offered) -> Result<Turn, TurnedAway> {
        let class = urgency.class;
        let turned_away = |cause| {
            let outcome = if cause == Cause::Late { Admission::Late } else { Admission::Refused };
            metrics().admission(class, outcome);
            TurnedAway { class, cause }
        };
        let budget = Duration::from_millis(urgency.time_budget_ms.into());
        let budgeted = (!budget.is_zero()).then(|| self.arrived + budget);
        let until = [self.deadline, budgeted].into_iter().flatten().min();
        let share = self.turns.shares.enter(class).ok_or_else(|| turned_away(Cause::Overload))?;
        let caller = book::Caller {
            lane: Lane::Of(class),
            since_ns: self.turns.at(self.arrived),
            until_ns: until.map_or(u64::MAX, |until| self.turns.at(until)),
            may_be_short: class == CallClass::Web && offered == Offered::OrShort,
        };
        let (held, outcome) = self.turns.take(caller).await.map_err(turned_away)?;
        metrics().admission(class, outcome);
        let fullness = if held.kind == Kind::Short { Fullness::Short } else { Fullness::Whole };
        let terms = Terms { arrived: Some(self.arrived), deadline: self.deadline, fullness };
        Ok(Turn { held, terms, _share: share })
    }
}

/// A call that may be answered.
pub struct Turn {
    held: Held,
    terms: Terms,
    _share: Share,
}

impl Turn {
    /// On what terms.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// Answers it. The turn is over when the answer is there, or when it waits
    /// for something: others compute meanwhile, and what is left goes on when it
    /// can. The answer is pinned by the caller, so that it is not moved.
    pub async fn run<F: Future + ?Sized>(mut self, mut answer: Pin<&mut F>) -> F::Output {
        self.held.begin();
        poll_fn(|ctx| {
            let polled = answer.as_mut().poll(ctx);
            if polled.is_pending() {
                self.held.end();
            }
            polled
        })
        .await
    }
}

/// What a call was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A turn.
    Turn,
    /// Time for an answer without ranking.
    Short,
}

/// A turn, or the time of an answer without ranking; over when dropped.
struct Held {
    turns: Arc<Turns>,
    kind: Kind,
    began: Option<Instant>,
    ended: bool,
}

impl Held {
    fn new(turns: &Arc<Turns>, kind: Kind) -> Self {
        Self { turns: Arc::clone(turns), kind, began: None, ended: false }
    }

    fn begin(&mut self) {
        self.began = Some(Instant::now());
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let now = Instant::now();
        let took_ns = self.began.map(|began| nanoseconds(now.saturating_duration_since(began)));
        let now_ns = self.turns.at(now);
        match (self.kind, took_ns) {
            (Kind::Turn, took_ns) => {
                if self.turns.with(|book| book.end_turn(now_ns, took_ns)) {
                    self.turns.due.notify_one();
                }
            }
            (Kind::Short, Some(took_ns)) => self.turns.with(|book| book.end_short(took_ns)),
            (Kind::Short, None) => {}
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.end();
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
