//! What is being answered, by class, so that streams of questions can give way
//! to single calls.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::watch;
use tonic::Status;

use super::status;
use crate::telemetry::metrics;

/// Most streams of questions that are open at the same time.
pub const STREAMS_MAX: usize = 32;
/// Most questions of streams that wait for a profile at the same time, over all
/// streams: loads of single calls must find room.
pub const WAITING_MAX: usize = 64;
/// While more single calls than this are being answered, streams pause.
pub const INTERACTIVE_MAX: u64 = 8;
/// The place of the count of arrivals beside that of calls being answered.
const ARRIVAL: u64 = 1 << 24;

/// What a service is answering.
pub struct Traffic {
    /// Single calls: how many came (upper bits), how many are being answered.
    /// One word, so that a call costs one access.
    interactive: AtomicU64,
    /// Questions of streams taken and not answered.
    batch: AtomicUsize,
    /// Those of them that wait for a profile.
    waiting: AtomicUsize,
    streams: AtomicUsize,
    stop: watch::Sender<bool>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            interactive: AtomicU64::default(),
            batch: AtomicUsize::default(),
            waiting: AtomicUsize::default(),
            streams: AtomicUsize::default(),
            stop: watch::Sender::new(false),
        }
    }
}

impl Traffic {
    /// Counts a single call until it is dropped.
    pub fn call(self: &Arc<Self>) -> Call {
        self.interactive.fetch_add(ARRIVAL + 1, Relaxed);
        Call(Arc::clone(self))
    }

    /// Single calls being answered.
    pub fn interactive(&self) -> u64 {
        self.interactive.load(Relaxed) % ARRIVAL
    }

    /// Single calls that ever came; only a change says something.
    pub fn arrivals(&self) -> u64 {
        self.interactive.load(Relaxed) / ARRIVAL
    }

    /// Questions of streams being answered.
    pub fn batch(&self) -> usize {
        self.batch.load(Relaxed)
    }

    /// Tells streams to end: the service stops.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// Too many are open, or the service stops.
    pub fn open(self: &Arc<Self>) -> Result<Place, Status> {
        if *self.stop.borrow() {
            return Err(status::stopping());
        }
        let before = self.streams.fetch_add(1, Relaxed);
        metrics().streams.increment(1.0);
        let place = Place { traffic: Arc::clone(self), stop: self.stop.subscribe() };
        if before < STREAMS_MAX {
            return Ok(place);
        }
        metrics().shed.increment(1);
        Err(status::overloaded(STREAMS_MAX))
    }

    /// Counts a question of a stream until it is dropped.
    pub fn question(self: &Arc<Self>) -> Question {
        self.batch.fetch_add(1, Relaxed);
        Question(Arc::clone(self))
    }

    /// Counts a question that waits for a profile; `None` when too many do.
    pub fn wait(self: &Arc<Self>) -> Option<Waiting> {
        let before = self.waiting.fetch_add(1, Relaxed);
        let waiting = Waiting(Arc::clone(self));
        (before < WAITING_MAX).then_some(waiting)
    }
}

/// A single call being answered.
pub struct Call(Arc<Traffic>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.interactive.fetch_sub(1, Relaxed);
    }
}

/// An open stream.
pub struct Place {
    /// Of which it is a part.
    pub traffic: Arc<Traffic>,
    /// Turns true when the service stops.
    pub stop: watch::Receiver<bool>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.traffic.streams.fetch_sub(1, Relaxed);
        metrics().streams.decrement(1.0);
    }
}

/// A question of a stream being answered.
pub struct Question(Arc<Traffic>);

impl Drop for Question {
    fn drop(&mut self) {
        self.0.batch.fetch_sub(1, Relaxed);
    }
}

/// A question that waits for a profile.
pub struct Waiting(Arc<Traffic>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_arrivals_are_counted_side_by_side() {
        let traffic = Arc::new(Traffic::default());
        let calls: Vec<Call> = (0..100).map(|_| traffic.call()).collect();
        assert_eq!((traffic.interactive(), traffic.arrivals()), (100, 100));
        drop(calls);
        let _one = traffic.call();
        assert_eq!((traffic.interactive(), traffic.arrivals()), (1, 101));
    }

    #[test]
    fn streams_and_those_who_wait_are_bounded() {
        let traffic = Arc::new(Traffic::default());
        let places: Vec<_> = (0..STREAMS_MAX).map(|_| traffic.open()).collect();
        assert!(places.iter().all(Result::is_ok) && traffic.open().is_err());
        drop(places);
        assert!(traffic.open().is_ok());
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| traffic.wait()).collect();
        assert!(waiting.iter().all(Option::is_some) && traffic.wait().is_none());
        drop(waiting);
        assert!(traffic.wait().is_some());
        traffic.stop();
        assert_eq!(traffic.open().err().map(|status| status.code()), Some(tonic::Code::Unavailable));
    }
}
