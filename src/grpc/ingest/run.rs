//! The task of one stream of events.

use std::{future::poll_fn, sync::Arc, time::Duration};

use tokio::sync::mpsc::{self, OwnedPermit};
use tonic::Status;

use super::{
    Said,
    source::{Source, Taken, Took},
    told::Told,
    window::{BATCH_EVENTS_MAX, Recorded, Window},
};
use crate::{
    grpc::{Api, record::Sender, status, stream::pace::Pace, traffic::Place},
    telemetry::metrics,
};

/// A stream on which nothing moves for so many minutes ends, so that it keeps
/// none of the few places.
const IDLE_MINUTES_MAX: u64 = 5;
const IDLE_MAX: Duration = Duration::from_secs(60 * IDLE_MINUTES_MAX);
/// How long a stream waits for its refusals to be read: who reads nothing before
/// everything is sent must not wait for ever.
const UNREAD_SECONDS_MAX: u64 = 20;
const UNREAD_MAX: Duration = Duration::from_secs(UNREAD_SECONDS_MAX);
/// How long what is under way may take once the service stops.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// How often a stream looks whether the store has caught up.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// One stream.
pub struct Run<S> {
    api: Arc<Api>,
    place: Place,
    source: S,
    said: mpsc::Sender<Said>,
    window: Window,
    told: Told,
    pace: Pace,
    /// Taken from the source, and not begun.
    taken: std::vec::IntoIter<Taken>,
    /// Bytes of each of them on the wire.
    bytes_each: usize,
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

/// What happened while a stream waited.
enum Event {
    Recorded(Recorded),
    Took(Option<Took>),
    Told,
    Looked,
}

impl<S: Source> Run<S> {
    /// Ready to take events.
    pub fn new(api: Api, source: S, said: mpsc::Sender<Said>, place: Place) -> Self {
        Self {
            pace: Pace::new(&place.traffic),
            api: Arc::new(api),
            place,
            source,
            said,
            window: Window::default(),
            told: Told::new(S::UNREAD),
            taken: Vec::new().into_iter(),
            bytes_each: 0,
        }
    }

    /// Takes events to the end, then tells how it ended, for which there is
    /// always room.
    pub async fn run(mut self, ending: OwnedPermit<Said>) {
        let ended = match self.take_all().await {
            Ok(()) => self.finish().await,
            Err(Ended::Gone) => Err(Ended::Gone),
            Err(ended) => self.finish().await.and(Err(ended)),
        };
        let status = match ended {
            Ok(()) => Status::ok(""),
            Err(Ended::Gone) => return,
            Err(Ended::With(status)) => {
                metrics().request_error(status.code() as i32);
                status
            }
        };
        ending.send(Said::End(status));
    }

    async fn take_all(&mut self) -> Result<(), Ended> {
        loop {
            if *self.place.stop.borrow() {
                return Err(status::stopping().into());
            }
            if !self.taken.as_slice().is_empty() && self.may_take() {
                self.begin().await?;
                continue;
            }
            match self.wait().await? {
                Event::Recorded(batch) => self.told.add(batch),
                Event::Took(None) => return Ok(()),
                Event::Took(Some(took)) => {
                    self.bytes_each = took.bytes / took.events.len().max(1);
                    self.taken = took.events.into_iter();
                }
                Event::Told | Event::Looked => {}
            }
        }
    }

    /// Whether more may get under way.
    fn may_take(&self) -> bool {
        self.window.has_room() && !self.told.is_full() && self.api.app().store_keeps_up()
    }

    /// Begins a batch of what was taken, then gives way to others.
    async fn begin(&mut self) -> Result<(), Ended> {
        let batch: Vec<Taken> = self.taken.by_ref().take(BATCH_EVENTS_MAX).collect();
        let lines: Vec<u64> = batch.iter().map(|taken| taken.line).collect();
        let bytes = self.bytes_each * batch.len();
        let api = Arc::clone(&self.api);
        self.window.push(
            lines,
            bytes,
            Box::pin(async move {
                let events = batch.into_iter().map(|taken| taken.event).collect();
                api.record_each(&Sender::default(), events).await.0
            }),
        );
        let window = &mut self.window;
        if let std::task::Poll::Ready(done) = poll_fn(|ctx| std::task::Poll::Ready(window.poll_next(ctx))).await {
            self.told.add(done);
        }
        if self.pace.over(&self.place.traffic) {
            let (stop, said) = (&self.place.stop, &self.said);
            self.pace.rest(&self.place.traffic, self.api.app(), || *stop.borrow() || said.is_closed()).await;
            if said.is_closed() {
                return Err(Ended::Gone);
            }
        }
        Ok(())
    }

    /// Waits until something moves.
    async fn wait(&mut self) -> Result<Event, Ended> {
        let (takes, full) = (self.may_take() && self.taken.as_slice().is_empty(), self.told.is_full());
        let behind = !self.api.app().store_keeps_up();
        if behind || full {
            metrics().event_streams_waited.increment(1);
        }
        let idle = if full { UNREAD_MAX } else { IDLE_MAX };
        let Self { source, window, said, told, place, .. } = self;
        tokio::select! {
            biased;
            _ = place.stop.changed() => Ok(Event::Looked),
            () = said.closed() => Err(Ended::Gone),
            recorded = poll_fn(|ctx| window.poll_next(ctx)) => Ok(Event::Recorded(recorded)),
            permit = said.reserve(), if told.has_news() => {
                permit.map_err(|_| Ended::Gone)?.send(Said::Ack(told.take()));
                Ok(Event::Told)
            }
            took = poll_fn(|ctx| source.poll_next(ctx)), if takes => Ok(Event::Took(took?)),
            () = tokio::time::sleep(LOOK_EVERY), if behind => Ok(Event::Looked),
            () = tokio::time::sleep(idle) => Err(if full { unread() } else { status::idle(IDLE_MINUTES_MAX) }.into()),
        }
    }

    /// Waits for what is under way and tells it.
    async fn finish(&mut self) -> Result<(), Ended> {
        let Self { window, said, told, place, .. } = self;
        let mut stop = place.stop.clone();
        let stopped = async move {
            // who tells it lives as long as the place
            stop.wait_for(|stop| *stop).await.ok();
            tokio::time::sleep(STOP_GRACE).await;
        };
        let finished = async {
            while !window.is_empty() {
                told.add(poll_fn(|ctx| window.poll_next(ctx)).await);
            }
            let permit = said.reserve().await.map_err(|_| Ended::Gone)?;
            permit.send(Said::Ack(told.take()));
            Ok(())
        };
        tokio::select! {
            biased;
            finished = finished => finished,
            () = said.closed() => Err(Ended::Gone),
            () = stopped => Err(status::stopping().into()),
            () = tokio::time::sleep(IDLE_MAX) => Err(status::idle(IDLE_MINUTES_MAX).into()),
        }
    }
}

/// Nobody reads what was refused.
fn unread() -> Status {
    let message = format!(
        "so many events were refused that more would have to be kept, and none of it was read for \
         `{UNREAD_SECONDS_MAX}` s: read the answers while you send, or correct what is refused, and send the rest again"
    );
    status::with_info(tonic::Code::ResourceExhausted, "REFUSALS_UNREAD", &message)
}
